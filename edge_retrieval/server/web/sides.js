// Two designs side by side, the views that go together in a row.

import { button, h, icon, paper } from "./dom.js";
import { openZoom } from "./zoom.js";

/**
 * Make the rows of `sides` with the names of both; `lay(i)` is told which pair to lay over each
 * other.
 */
export function pairRows(sides, [left, right], lay) {
  const used = new Set(sides.pairs.map((pair) => pair.right));
  const others = sides.right.map((one, i) => ({ one, i })).filter(({ i }) => !used.has(i));
  return [
    h(
      "div",
      { class: "pair pair-names", "aria-hidden": "true" },
      h("span", {}, left),
      h("span", {}),
      h("span", {}, right),
    ),
    h(
      "ol",
      { class: "pairs", "aria-label": "Pairs of views" },
      sides.pairs.map((pair, i) => pairRow(sides, pair, () => lay(i))),
    ),
    others.length > 0 &&
      h(
        "section",
        { class: "rest" },
        h("h3", {}, `Other figures of ${right}`),
        h(
          "div",
          { class: "strip" },
          others.map(({ one, i }) => drawing(sides.right, i, one.name.replace(/ of .*/, ""))),
        ),
      ),
  ];
}

function pairRow(sides, pair, lay) {
  // Null where nobody measured what matches.
  const told = { true: "matches", false: "does not match" }[pair.matches];
  const words = [told, pair.mirrored && "mirrored"].filter(Boolean).join(", ");
  return h(
    "li",
    { class: pair.matches ? "pair matches" : "pair" },
    drawing(sides.left, pair.left, `View ${pair.view}`),
    h(
      "div",
      { class: "between" },
      h("b", { class: "figure" }, pair.score.toFixed(3)),
      words &&
        h(
          "span",
          { class: pair.matches ? "mark" : "soft" },
          pair.mirrored && icon("mirror"),
          words,
        ),
      button("Overlay", {
        class: "small",
        "aria-label": `Overlay view ${pair.view} and figure ${pair.figure}`,
        onclick: lay,
      }),
    ),
    drawing(sides.right, pair.right, `Figure ${pair.figure}`),
  );
}

function drawing(side, place, caption) {
  const one = side[place];
  return h(
    "button",
    {
      type: "button",
      class: "picture",
      "aria-label": `Zoom ${one?.name ?? caption}`,
      onclick: () => openZoom(side, place),
    },
    one && paper(one.url, ""),
    h("span", { class: "caption" }, caption),
  );
}
