// Side by side, pair by pair; or one drawing laid over the other.

import { button, capital, classOf, fill, h, refill, titleOf } from "./dom.js";
import { flagButton } from "./flags.js";
import { complain } from "./notices.js";
import { overlay } from "./overlay.js";
import { pairsOf, QUERY } from "./pairs.js";
import { hasQuery, state } from "./state.js";
import { pairRows } from "./sides.js";

let left = QUERY;
let right = "";
let mode = "side";
let sides = null;
let chosen = 0; // the pair that lies in the overlay

const title = h("h2", { id: "compare-title" }, "Compare");
const bar = h("div", { class: "tools compare-bar" });
const told = h("p", { class: "soft told" });
const body = h("div", {
  class: "compare-body",
  tabindex: 0,
  autofocus: true,
  role: "group",
  "aria-label": "Drawings",
});
const dialog = h(
  "dialog",
  { class: "compare", "aria-labelledby": "compare-title" },
  h("header", {}, title, bar),
  told,
  body,
);
document.body.append(dialog);
dialog.addEventListener("keydown", keys);

/** Compare a design with the query, or with another design. */
export async function openCompare(design, { with: other = hasQuery() ? QUERY : design } = {}) {
  [left, right, mode, sides] = [other, design, "side", null];
  const loading = load(); // the bar is there before the dialog looks for what to focus
  if (!dialog.open) dialog.showModal();
  await loading;
}

async function load() {
  const asked = `${left}|${right}`;
  fill(body, h("p", { class: "soft" }, "Looking at the pairs…"));
  drawBar();
  try {
    const found = await pairsOf(left, right);
    if (asked !== `${left}|${right}`) return; // turned on meanwhile
    sides = found;
    chosen = bestPair();
    draw();
  } catch (error) {
    complain(error);
    fill(body, h("p", {}, error.message, " ", error.hint));
  }
}

const nameOf = (side) => (side === QUERY ? "Your drawing" : side);
const bestPair = () =>
  sides.pairs.reduce((best, pair, i) => (pair.score > sides.pairs[best].score ? i : best), 0);

function draw() {
  drawBar();
  told.textContent = [
    capital(sides.told),
    [classOf(sides.design), titleOf(sides.design)].filter(Boolean).join(", "),
  ]
    .filter(Boolean)
    .join(" · ");
  if (mode === "side") fill(body, pairRows(sides, [nameOf(left), right], lay));
  else
    fill(
      body,
      overlay(sides, chosen, { names: [nameOf(left), nameOf(right)], turned: (i) => (chosen = i) }),
    );
}

function drawBar() {
  const hits = state.result?.hits ?? [];
  const names = [
    ...new Set([
      ...hits.map((hit) => hit.design),
      ...state.flags.keys(),
      right,
      ...(left ? [left] : []),
    ]),
  ];
  const label = (number) => {
    const hit = hits.find((one) => one.design === number);
    return hit ? `${hit.rank}. ${number}` : number;
  };
  const choice = (name, value, values, change) =>
    h(
      "select",
      { "aria-label": name, "data-key": name, onchange: (event) => change(event.target.value) },
      values.map((one) =>
        h(
          "option",
          { value: one, selected: one === value },
          one === QUERY ? nameOf(one) : label(one),
        ),
      ),
    );
  const modeButton = (name, text) =>
    button(text, {
      class: "choice",
      "aria-pressed": String(mode === name),
      onclick: () => setMode(name),
      "data-key": name,
    });
  refill(
    bar,
    choice("Left", left, [...(hasQuery() ? [QUERY] : []), ...names], (value) =>
      change(value, right),
    ),
    h("span", { class: "soft" }, "with"),
    choice("Right", right, names, (value) => change(left, value)),
    h(
      "span",
      { class: "pair-buttons" },
      button("Hit before", {
        name: "left",
        quiet: true,
        title: "Hit before (k)",
        onclick: () => step(-1),
        disabled: hits.length < 2,
        "data-key": "before",
      }),
      button("Next hit", {
        name: "chevron",
        quiet: true,
        title: "Next hit (j)",
        onclick: () => step(1),
        disabled: hits.length < 2,
        "data-key": "next",
      }),
    ),
    h(
      "div",
      { class: "choices", role: "group", "aria-label": "How to compare" },
      modeButton("side", "Side by side"),
      modeButton("over", "Overlay"),
    ),
    sides && flagButton(hits.find((hit) => hit.design === right) ?? sides.design),
    button("Close", {
      name: "close",
      quiet: true,
      class: "last",
      title: "Close (Esc)",
      onclick: () => dialog.close(),
      "data-key": "close",
    }),
  );
}

function change(newLeft, newRight) {
  [left, right, sides] = [newLeft, newRight, null];
  return load();
}

function step(by) {
  const hits = state.result?.hits ?? [];
  if (!hits.length) return undefined;
  const at = hits.findIndex((hit) => hit.design === right);
  return change(left, hits[(at + by + hits.length) % hits.length].design);
}

function setMode(name) {
  mode = name;
  if (sides) draw();
}

function lay(pair) {
  chosen = pair;
  setMode("over");
}

function keys(event) {
  if (
    event.target.matches("input, select, textarea") ||
    event.ctrlKey ||
    event.metaKey ||
    event.altKey
  )
    return;
  const actions = {
    j: () => step(1),
    k: () => step(-1),
    o: () => setMode(mode === "side" ? "over" : "side"),
    f: () => bar.querySelector("[data-flag]")?.click(),
    c: () => dialog.close(),
  };
  if (!actions[event.key]) return;
  event.preventDefault();
  event.stopPropagation();
  actions[event.key]();
}
