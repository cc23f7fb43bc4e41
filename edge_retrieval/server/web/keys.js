// The keyboard: everything that the mouse does.

import { $, button, h } from "./dom.js";
import { openCompare } from "./compare.js";
import { hears } from "./deaf.js";
import { openExport } from "./exports.js";
import { toggleFlag } from "./flags.js";
import { focusHit } from "./current.js";
import { asQuery } from "./hits.js";
import { orderedHits } from "./order.js";
import { zoomHit } from "./thumbs.js";
import { chooseFiles, searchWithDesign } from "./intake.js";
import { state } from "./state.js";

const KEYS = [
  ["/ or o", "Add drawings"],
  ["Ctrl V", "Paste a drawing"],
  ["j, ↓", "Next hit"],
  ["k, ↑", "Hit before"],
  ["Enter", "Open the hit"],
  ["c", "Compare it with your drawing; in there: o overlay, j and k turn"],
  ["f", "Flag it, or take the flag away"],
  ["n", "Write the note of a flagged hit"],
  ["z", "Zoom its best figure; in there: + − 0, arrows, [ and ]"],
  ["m", "More like this: search with it"],
  ["e", "Export"],
  ["s, b, l", "Search, browse, list of the flagged"],
  ["?", "These keys"],
  ["Esc", "Close"],
];

const dialog = h(
  "dialog",
  { class: "help", "aria-labelledby": "help-title" },
  h(
    "header",
    {},
    h("h2", { id: "help-title" }, "Keys"),
    button("Close", { name: "close", quiet: true, class: "last", onclick: () => dialog.close() }),
  ),
  h(
    "dl",
    {},
    KEYS.map(([key, told]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, told)]),
  ),
  h("h2", {}, "How to read an answer"),
  h(
    "p",
    {},
    "The score of a design is the mean of two: how close its best view is to one of yours, and " +
      "how close it is over all your views. 1 is the same drawing. What a score is worth is said " +
      "beside it: how many designs that have nothing to do with yours look as close.",
  ),
);
document.body.append(dialog);

/** Show the keys. */
export function openKeys() {
  dialog.showModal();
}

/** Listen to the keyboard, except where one types or a dialog is open. */
export function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.target.matches("textarea, select, input:not([type=checkbox])")) return leave(event);
    const action = ACTIONS[event.key] ?? (inHits(event.target) ? ARROWS[event.key] : null);
    if (!action || !hears()) return;
    event.preventDefault();
    action();
  });
}

// Esc in a field goes back to the hit or the page: the other keys work again.
function leave(event) {
  if (event.key === "Escape") (event.target.closest("article") ?? $("main")).focus();
}

const inHits = (element) => element.matches(".hit > article");
const hit = () =>
  location.hash === "#browse" || location.hash === "#flagged"
    ? undefined
    : orderedHits()[state.current];
const withHit = (act) => () => hit() && act(hit());
const focused = () => document.activeElement?.closest(".hit");
const step = (by) => focusHit(focused() ? state.current + by : state.current);

const ARROWS = { ArrowDown: () => step(1), ArrowUp: () => step(-1) };
const ACTIONS = {
  "/": chooseFiles,
  o: chooseFiles,
  j: () => step(1),
  k: () => step(-1),
  c: withHit((one) => openCompare(one.design)),
  f: withHit(toggleFlag),
  n: withHit(writeNote),
  z: withHit(zoomHit),
  m: withHit((one) => searchWithDesign(asQuery(one))),
  e: openExport,
  s: () => (location.hash = "#search"),
  b: () => (location.hash = "#browse"),
  l: () => (location.hash = "#flagged"),
  "?": openKeys,
};

function writeNote(one) {
  if (!state.flags.has(one.design)) toggleFlag(one);
  document.querySelector(`.hit[data-design="${CSS.escape(one.design)}"] textarea`)?.focus();
}
