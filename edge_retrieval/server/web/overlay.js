// One drawing over the other: each in its own colour, where both have ink it is black.

import { button, h } from "./dom.js";
import { panzoom } from "./panzoom.js";

const kept = { opacity: 50, tint: true }; // stays while one turns from pair to pair

/** Make the overlay of a pair of two `names`; `turned(i)` is told when another pair is chosen. */
export function overlay(sides, first, { names, turned }) {
  let pair = sides.pairs[first] ?? { left: 0, right: 0, mirrored: false };
  const under = h("img", { alt: "", draggable: "false" });
  const over = h("img", { alt: "", draggable: "false" });
  const ground = h("div", { class: "layer under" }, under);
  const sheet = h("div", { class: "layer over" }, over);
  const stage = h(
    "div",
    { class: "stage overlay-stage", tabindex: 0, role: "img" },
    ground,
    h("div", { class: "mover" }, sheet),
  );
  const mover = stage.lastChild;
  const view = panzoom(stage, mover);

  const opacity = h("input", {
    type: "range",
    id: "opacity",
    min: 0,
    max: 100,
    value: kept.opacity,
    oninput: show,
  });
  const tint = h("input", { type: "checkbox", checked: kept.tint, onchange: show });
  const flip = h("input", { type: "checkbox", onchange: show });
  const leftChoice = select("View of the left", sides.left, pair.left, () => chooseFree());
  const rightChoice = select("Figure of the right", sides.right, pair.right, () => chooseFree());
  const list = h("div", { class: "pair-list", role: "group", "aria-label": "Pairs" });

  function show() {
    Object.assign(kept, { opacity: Number(opacity.value), tint: tint.checked });
    const share = kept.opacity / 100;
    // Both are whole in the middle of the slider; towards an end the other one fades.
    ground.style.opacity = String(Math.min(1, 2 - 2 * share));
    sheet.style.opacity = String(Math.min(1, 2 * share));
    stage.classList.toggle("tint", tint.checked);
    over.classList.toggle("flip", flip.checked);
    opacity.setAttribute(
      "aria-valuetext",
      share === 0.5 ? "both alike" : `${Math.round(100 * share)} % towards ${names[1]}`,
    );
  }

  function load() {
    const [one, other] = [
      sides.left[Number(leftChoice.value)],
      sides.right[Number(rightChoice.value)],
    ];
    under.src = one?.url ?? "";
    over.src = other?.url ?? "";
    stage.setAttribute("aria-label", `${other?.name} laid over ${one?.name}`);
    view.fit();
    list
      .querySelectorAll("button")
      .forEach((item, i) => item.setAttribute("aria-pressed", String(sides.pairs[i] === pair)));
    show();
  }

  function choosePair(i) {
    pair = sides.pairs[i];
    turned(i);
    leftChoice.value = String(pair.left);
    rightChoice.value = String(pair.right);
    flip.checked = pair.mirrored;
    load();
  }

  function chooseFree() {
    pair = sides.pairs.find(
      (one) => one.left === Number(leftChoice.value) && one.right === Number(rightChoice.value),
    );
    flip.checked = pair?.mirrored ?? false;
    load();
  }

  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !view.key(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
  });
  list.append(...sides.pairs.map((one, i) => pairButton(sides, one, () => choosePair(i))));
  flip.checked = pair.mirrored;
  load();

  return h(
    "div",
    { class: "overlay" },
    list,
    stage,
    h(
      "div",
      { class: "controls" },
      h(
        "div",
        { class: "slider" },
        h("label", { for: "opacity", class: "end left" }, names[0]),
        opacity,
        h("span", { class: "end right", "aria-hidden": "true" }, names[1]),
      ),
      h("label", { class: "check" }, tint, h("span", {}, "Colour the differences")),
      h("label", { class: "check" }, flip, h("span", {}, `Flip ${names[1]}`)),
      h("div", { class: "choice-row" }, leftChoice, rightChoice),
      button("Put back", {
        name: "fit",
        class: "small",
        title: "Put back (0)",
        onclick: () => view.fit(),
      }),
      h(
        "p",
        { class: "soft" },
        "Drag the upper drawing, scale it by wheel or pinch; arrow keys, + and - do it, too.",
      ),
    ),
  );
}

function select(label, side, value, changed) {
  return h(
    "select",
    { "aria-label": label, onchange: changed },
    side.map((one, i) => h("option", { value: i, selected: i === value }, one.name)),
  );
}

function pairButton(sides, pair, chosen) {
  const words = `View ${pair.view} and figure ${pair.figure}`;
  return h(
    "button",
    {
      type: "button",
      class: pair.matches ? "pair-button matches" : "pair-button",
      "aria-label": `${words}, ${pair.score.toFixed(2)}`,
      onclick: chosen,
    },
    h("span", { class: "paper" }, h("img", { src: sides.left[pair.left]?.url, alt: "" })),
    h("span", { class: "paper" }, h("img", { src: sides.right[pair.right]?.url, alt: "" })),
    h(
      "span",
      { class: "caption" },
      `${pair.view} · ${pair.figure}`,
      h("span", { class: "figure" }, pair.score.toFixed(2)),
    ),
  );
}
