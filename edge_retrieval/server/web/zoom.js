// One drawing, large: wheel, pinch and keys; the next figure of the same design beside it.

import { button, fill, h } from "./dom.js";
import { panzoom } from "./panzoom.js";

let shown = [];
let at = 0;
let view = null;

const image = h("img", { alt: "", draggable: "false" });
const stage = h(
  "div",
  {
    class: "stage",
    tabindex: 0,
    autofocus: true,
    role: "group",
    "aria-label": "Drawing: arrows move, + and - scale, 0 fits",
  },
  image,
);
const title = h("h2", { id: "zoom-title" });
const scale = h("output", { class: "soft", "aria-live": "off" });
const turns = h("div", { class: "turns" });
const dialog = h(
  "dialog",
  { class: "zoom", "aria-labelledby": "zoom-title" },
  h(
    "header",
    {},
    title,
    turns,
    h(
      "div",
      { class: "tools" },
      scale,
      button("Smaller", {
        name: "minus",
        quiet: true,
        title: "Smaller (-)",
        onclick: () => view.scaleBy(0.8),
      }),
      button("Larger", {
        name: "add",
        quiet: true,
        title: "Larger (+)",
        onclick: () => view.scaleBy(1.25),
      }),
      button("Fit", { name: "fit", quiet: true, title: "Fit (0)", onclick: () => view.fit() }),
      button("Close", {
        name: "close",
        quiet: true,
        title: "Close (Esc)",
        onclick: () => dialog.close(),
      }),
    ),
  ),
  stage,
);
document.body.append(dialog);
view = panzoom(stage, image, (factor) => {
  scale.textContent = `${Math.round(factor * 100)} %`;
});
dialog.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "[") turn(-1);
  else if (event.key === "]") turn(1);
  else if (!view.key(event.key)) return;
  event.preventDefault();
  event.stopPropagation();
});

/** Show drawings, `[{url, name}]`, beginning with one of them. */
export function openZoom(drawings, first = 0) {
  shown = drawings;
  at = first;
  draw();
  dialog.showModal();
}

function turn(by) {
  at = (at + by + shown.length) % shown.length;
  draw();
}

function draw() {
  const { url, name } = shown[at];
  title.textContent = name;
  image.src = url;
  image.alt = name;
  view.fit();
  fill(
    turns,
    shown.length > 1 && [
      button("Figure before", {
        name: "left",
        quiet: true,
        title: "Figure before ([)",
        onclick: () => turn(-1),
      }),
      h("span", { class: "soft" }, `${at + 1} of ${shown.length}`),
      button("Next figure", {
        name: "chevron",
        quiet: true,
        title: "Next figure (])",
        onclick: () => turn(1),
      }),
    ],
  );
}
