// The head of the answer: what was compared, the class it points to, alarms, active filters.

import {
  $,
  button,
  capital,
  classOf,
  counted,
  fill,
  h,
  icon,
  paper,
  refill,
  titleOf,
} from "./dom.js";
import { chips } from "./chips.js";
import { openCompare } from "./compare.js";
import { openDesign } from "./design.js";
import { openExport } from "./exports.js";
import { changeFilters, on, state } from "./state.js";
import { designOf, search } from "./search.js";
import { layoutSwitch, orderChoice } from "./order.js";

const AWAY = new Set([409, 503]); // what may have been mended since: a store that is filled again

/** Draw the head whenever the answer changes. */
export function showAnswer() {
  on("result", draw);
  on("filters", draw);
}

function draw() {
  const { result, searching, failure } = state;
  $("answer").setAttribute("aria-busy", String(searching));
  refill($("head"), titleRow());
  $("statement").textContent = result ? `${capital(result.statement)}.` : "";
  $("statement").hidden = !result;
  refill(
    $("more"),
    result ? about(result) : !failure && h("p", { class: "soft" }, waiting()),
    failure && failed(failure),
    chips(),
    result && predicted(result.predicted),
  );
  fill($("alarms"), result?.alarms?.length > 0 && alarms(result.alarms));
}

function waiting() {
  if (state.drawings.some((drawing) => drawing.state === "reading")) return "Reading…";
  return state.searching ? "Searching…" : "No view is there to search with: add a drawing.";
}

function titleRow() {
  return h(
    "div",
    { class: "title-row" },
    h("h1", {}, "Designs like ", h("em", {}, nameOfQuery())),
    h(
      "div",
      { class: "tools" },
      state.result?.hits.length > 1 && orderChoice(),
      state.result?.hits.length > 0 && layoutSwitch(),
      state.result &&
        button("Export", {
          name: "down",
          title: "Export (e)",
          onclick: openExport,
          "data-key": "export",
        }),
    ),
  );
}

function nameOfQuery() {
  if (state.design) return state.design.number;
  const [first, ...others] = state.drawings;
  if (!first) return "…";
  return others.length ? `${first.name} and ${counted(others.length, "more drawing")}` : first.name;
}

function about(result) {
  const told = [result.chance, ...(result.notes ?? []), `answered in ${state.took.toFixed(2)} s`];
  return h(
    "p",
    { class: "soft about-answer" },
    told
      .filter(Boolean)
      .map((one) => `${capital(one)}.`.replace("..", "."))
      .join(" "),
  );
}

function failed(failure) {
  return h(
    "div",
    { class: "failed" },
    icon("warn"),
    h("p", {}, failure.message, failure.hint && h("span", { class: "hint" }, failure.hint)),
    AWAY.has(failure.status) && button("Search again", { class: "small", onclick: search }),
  );
}

function predicted(told) {
  if (!told || state.filters.classes.includes(told.code)) return null; // it says what was asked for
  return h(
    "p",
    { class: "predicted" },
    h("span", {}, `${capital(told.sentence)}.`),
    told.clear !== false &&
      button(`Search only in ${told.code}`, {
        class: "link",
        onclick: () => changeFilters({ classes: [told.code] }),
      }),
  );
}

function alarms(told) {
  const outside = state.filters.classes.length > 0 || state.filters.not_classes.length > 0;
  return h(
    "section",
    { class: "alarms", "aria-label": "Alarms" },
    h(
      "h2",
      {},
      icon("warn"),
      outside ? "Very similar, outside the classes searched" : "Very similar, in another class",
    ),
    h("ul", {}, told.map(alarm)),
  );
}

function alarm(told) {
  const code = told.locarno ?? told.labels?.at(-1);
  const place = h("button", {
    type: "button",
    class: "picture",
    "aria-label": `Open ${told.design}`,
    onclick: () => openDesign(told.design),
  });
  designOf(told.design).then(
    (design) =>
      fill(
        place,
        paper(
          (design.pictures.find((one) => one.row === told.row) ?? design.pictures[0])?.picture,
          "",
        ),
      ),
    () => {},
  );
  return h(
    "li",
    {},
    place,
    h(
      "div",
      {},
      h("p", { class: "number" }, h("b", {}, told.design), " ", titleOf(told)),
      h("p", {}, classOf(told)),
      h(
        "p",
        { class: "soft" },
        `${capital(told.sentence)}${/[.!]$/.test(told.sentence) ? "" : "."}`,
      ),
      h(
        "div",
        { class: "actions" },
        button("Compare", {
          name: "compare",
          class: "small",
          "aria-label": `Compare ${told.design}`,
          onclick: () => openCompare(told.design),
        }),
        code &&
          told.filtered !== false &&
          button("Search there, too", {
            class: "link",
            "aria-label": `Search in ${code}, too`,
            onclick: () => searchThere(code),
          }),
      ),
    ),
  );
}

function searchThere(code) {
  const { classes, not_classes: without } = state.filters;
  changeFilters({
    classes: classes.length ? [...classes, code] : classes,
    not_classes: without.filter((one) => one !== code && !code.startsWith(`${one}-`)),
  });
}
