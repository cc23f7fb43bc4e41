// The panel of the filters; the answer and the counts follow every change at once.

import { post } from "./api.js";
import { classTree } from "./classes.js";
import { clearFilters } from "./chips.js";
import { dateField, showYears, years } from "./dates.js";
import { $, button, fill, h, refill } from "./dom.js";
import { changeFilters, on, setFilters, state, tell } from "./state.js";
import { complain } from "./notices.js";

let counting = null; // stops the counts that are under way

const tree = classTree({
  label: "Classes",
  excludes: true,
  choose: chooseClass,
  chosen: (code) =>
    state.filters.classes.includes(code)
      ? "in"
      : state.filters.not_classes.includes(code)
        ? "out"
        : "",
});
const from = dateField("From", "after", "on this day or later");
const before = dateField("Before", "before", "earlier than this day");
const names = h("datalist", { id: "applicants" });
const applicant = h("input", {
  type: "text",
  list: "applicants",
  "aria-label": "Applicant",
  placeholder: "Name, or a part of it",
  autocomplete: "off",
});
const own = h("div", { class: "sources" });
const sources = h("div", { class: "sources" });

/** Draw the panel once; keep its counts and choices right. */
export function showFilters() {
  const details = h(
    "details",
    { class: "filter-box", open: window.matchMedia("(min-width: 62rem)").matches },
    h("summary", {}, h("h2", {}, "Filters"), h("span", { class: "count", id: "filter-count" })),
    h(
      "div",
      { class: "filter-fields" },
      h("fieldset", {}, h("legend", {}, "Class"), tree.element),
      h(
        "fieldset",
        {},
        h("legend", {}, "Date of publication"),
        h("div", { class: "dates" }, from.element, before.element),
        years,
      ),
      h(
        "fieldset",
        { id: "applicant-box" },
        h("legend", {}, "Applicant"),
        applicant,
        names,
        h(
          "div",
          { class: "actions" },
          button("Only", {
            class: "small",
            "aria-label": "Only this applicant",
            onclick: () => addApplicant("applicants"),
          }),
          button("Leave out", {
            class: "small",
            "aria-label": "Leave this applicant out",
            onclick: () => addApplicant("not_applicants"),
          }),
        ),
      ),
      h("fieldset", { id: "source-box" }, h("legend", {}, "Source"), sources),
      h("fieldset", { id: "own-box" }, h("legend", {}, "My own"), own),
      button("Clear all filters", { class: "link", onclick: clearFilters }),
    ),
  );
  fill($("filters"), details);
  applicant.addEventListener(
    "keydown",
    (event) => event.key === "Enter" && addApplicant("applicants"),
  );
  for (const topic of ["filters", "query", "status"]) on(topic, draw);
}

function draw() {
  from.show(state.filters.after);
  before.show(state.filters.before);
  showOwn();
  const count = Object.values(setFilters()).reduce(
    (sum, value) => sum + (Array.isArray(value) ? value.length : 1),
    0,
  );
  $("filter-count").textContent = count ? String(count) : "";
  tree.show();
  return counts();
}

// A class stays in the tree when another is chosen: counts are those under all other filters.
async function counts() {
  counting?.abort();
  const mine = new AbortController();
  counting = mine;
  const set = setFilters();
  const answers = new Map(); // most questions are the same: few filters are set
  const count = (...gone) => {
    const filters = Object.fromEntries(
      Object.entries(set).filter(([name]) => !gone.includes(name)),
    );
    const asked = JSON.stringify(filters);
    if (!answers.has(asked)) answers.set(asked, post("/api/facets", { filters }, mine.signal));
    return answers.get(asked);
  };
  try {
    tree.show((await count("classes", "not_classes")).classes);
    showYears((await count("before", "after")).years);
    showNames(await count("applicants", "not_applicants", "sources", "not_sources"));
  } catch (error) {
    if (error.status !== 400) complain(error); // the search tells what is wrong with a filter
  }
}

function chooseClass(code, how) {
  const name = how === "in" ? "classes" : "not_classes";
  const other = how === "in" ? "not_classes" : "classes";
  const now = state.filters[name];
  changeFilters({
    [name]: now.includes(code)
      ? now.filter((one) => one !== code)
      : [...now.filter((one) => how === "out" || !related(one, code)), code],
    [other]: state.filters[other].filter((one) => one !== code),
  });
}

// "06" and "06-01" together say no more than "06": the last word counts.
const within = (one, other) => one === other || one.startsWith(`${other}-`);
const related = (one, other) => within(one, other) || within(other, one);

function showNames({ applicants, sources: from_ }) {
  $("applicant-box").hidden =
    !applicants.length && !state.filters.applicants.length && !state.filters.not_applicants.length;
  fill(
    names,
    applicants.map(({ name, count }) => h("option", { value: name, label: `${name} (${count})` })),
  );
  $("source-box").hidden = from_.length < 2;
  refill(
    sources,
    from_.length < 2
      ? []
      : from_.map(({ name, count }) =>
          h(
            "label",
            { class: "check" },
            h("input", {
              type: "checkbox",
              checked: state.filters.sources.includes(name),
              "data-key": name,
              onchange: (event) => toggleSource(name, event.target.checked),
            }),
            h("span", {}, name, " ", h("span", { class: "count" }, count.toLocaleString("en"))),
          ),
        ),
  );
}

function toggleSource(name, chosen) {
  const others = state.filters.sources.filter((one) => one !== name);
  changeFilters({ sources: chosen ? [...others, name] : others });
}

function addApplicant(list) {
  const name = applicant.value.trim();
  if (!name) return applicant.focus();
  const other = list === "applicants" ? "not_applicants" : "applicants";
  applicant.value = "";
  return changeFilters({
    [list]: [...new Set([...state.filters[list], name])],
    [other]: state.filters[other].filter((one) => one !== name),
  });
}

// Of drawings what the register has of the very same files; of a design what its owner has.
function showOwn() {
  const choices = (state.design?.applicants ?? []).map((name) => [
    `Leave out designs by ${name}`,
    state.filters.not_applicants.includes(name),
    (chosen) => leaveOutApplicant(name, chosen),
  ]);
  if (!state.design)
    choices.push([
      "Leave out designs cut from the very files I search with",
      state.excludeSelf,
      leaveOutSheets,
    ]);
  $("own-box").hidden = !choices.length;
  refill(
    own,
    choices.map(([text, checked, change]) =>
      h(
        "label",
        { class: "check" },
        h("input", {
          type: "checkbox",
          checked,
          "data-key": text,
          onchange: (event) => change(event.target.checked),
        }),
        h("span", {}, text),
      ),
    ),
  );
}

function leaveOutSheets(chosen) {
  state.excludeSelf = chosen;
  tell("filters");
}

function leaveOutApplicant(name, chosen) {
  const others = state.filters.not_applicants.filter((one) => one !== name);
  changeFilters({ not_applicants: chosen ? [...others, name] : others });
}
