// How the hits stand on the page: by what, and as a list or a grid.

import { here } from "./current.js";
import { $, button, classOf, h } from "./dom.js";
import { state } from "./state.js";

let layout = "list";
let order = "score";

const ORDERS = {
  score: ["Best first", (one, other) => one.rank - other.rank],
  newest: [
    "Newest first",
    (one, other) => dateOf(other).localeCompare(dateOf(one)) || one.rank - other.rank,
  ],
  oldest: [
    "Oldest first",
    (one, other) =>
      (dateOf(one) || "9").localeCompare(dateOf(other) || "9") || one.rank - other.rank,
  ],
  class: [
    "By class",
    (one, other) => classOf(one).localeCompare(classOf(other)) || one.rank - other.rank,
  ],
};
const dateOf = (hit) => hit.published ?? hit.filed ?? "";

/** The hits in the order in which they stand on the page. */
export function orderedHits() {
  return [...(state.result?.hits ?? [])].sort(ORDERS[order][1]);
}

/** Choose the order of the hits that are shown; their ranks stay. */
export function orderChoice() {
  return h(
    "select",
    { "aria-label": "Order", "data-key": "order", onchange: (event) => sortBy(event.target.value) },
    Object.entries(ORDERS).map(([name, [words]]) =>
      h("option", { value: name, selected: name === order }, words),
    ),
  );
}

export const isBestFirst = () => order === "score";

function sortBy(name) {
  order = name;
  sortHits();
}

/** Put the hits that are on the page in the chosen order. */
export function sortHits() {
  const items = new Map([...$("hits").children].map((item) => [item.dataset.design, item]));
  $("hits").append(...orderedHits().map((hit) => items.get(hit.design)));
  here(0);
}

/** Choose between the list with all views and the grid of best views. */
export function layoutSwitch() {
  const choice = (name, label) =>
    button(label, {
      name,
      quiet: true,
      class: "choice",
      "aria-pressed": String(layout === name),
      "data-key": name,
      onclick: () => choose(name),
    });
  return h(
    "div",
    { class: "choices", role: "group", "aria-label": "Layout" },
    choice("list", "List with all views"),
    choice("grid", "Grid of the best views"),
  );
}

function choose(name) {
  layout = name;
  $("hits").classList.toggle("grid", layout === "grid");
  document
    .querySelectorAll(".choices .choice")
    .forEach((one, i) =>
      one.setAttribute("aria-pressed", String((i === 1) === (layout === "grid"))),
    );
}
