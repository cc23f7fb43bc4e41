// The filters that are set, each removable with one click.

import { button, h, icon } from "./dom.js";
import { changeFilters, FILTERS, state, tell } from "./state.js";

const WORDS = {
  classes: "In class",
  not_classes: "Not in",
  applicants: "By",
  not_applicants: "Not by",
  sources: "Source",
  not_sources: "Not source",
  designs: "Among",
  not_designs: "Without",
};

/** The chips, or nothing where no filter is set. */
export function chips() {
  const shown = [...lists(), ...dates(), ...self()];
  if (!shown.length) return null;
  return h(
    "ul",
    { class: "chips", "aria-label": "Active filters" },
    shown.map(([text, remove]) =>
      h(
        "li",
        {},
        h(
          "button",
          {
            type: "button",
            class: "chip",
            "aria-label": `Remove the filter: ${text}`,
            onclick: remove,
          },
          h("span", {}, text),
          icon("close"),
        ),
      ),
    ),
    shown.length > 1 && h("li", {}, button("Clear all", { class: "link", onclick: clearFilters })),
  );
}

/** Take all filters away. */
export function clearFilters() {
  state.excludeSelf = false;
  changeFilters({ ...FILTERS });
}

function lists() {
  return Object.entries(WORDS).flatMap(([name, words]) =>
    state.filters[name].map((value) => [
      `${words} ${value}`,
      () => changeFilters({ [name]: state.filters[name].filter((other) => other !== value) }),
    ]),
  );
}

function dates() {
  const { before, after } = state.filters;
  return [
    after && [`From ${after} on`, () => changeFilters({ after: null })],
    before && [`Before ${before}`, () => changeFilters({ before: null })],
  ].filter(Boolean);
}

function self() {
  if (!state.excludeSelf) return [];
  return [
    [
      "Without my own sheets",
      () => {
        state.excludeSelf = false;
        tell("filters");
      },
    ],
  ];
}
