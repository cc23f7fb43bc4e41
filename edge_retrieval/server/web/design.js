// One design: all that the register knows of it, all its drawings.

import { button, classOf, fill, h, paper, titleOf } from "./dom.js";
import { openCompare } from "./compare.js";
import { flagButton } from "./flags.js";
import { searchWithDesign } from "./intake.js";
import { complain } from "./notices.js";
import { designOf, viewsOfDesign } from "./search.js";
import { hasQuery } from "./state.js";
import { openZoom } from "./zoom.js";

let shown = null; // what the keys act on: {design, hit}

const body = h("div", { class: "design-body", tabindex: 0, autofocus: true });
const title = h("h2", { id: "design-title" });
const tools = h("div", { class: "tools" });
const dialog = h(
  "dialog",
  { class: "design", "aria-labelledby": "design-title" },
  h("header", {}, title, tools),
  body,
);
document.body.append(dialog);
dialog.addEventListener("keydown", keys);

/** Open a design; `hit` adds how it was found. */
export async function openDesign(number, hit = null) {
  fill(title, number);
  fill(tools, closeButton());
  fill(body, h("p", { class: "soft" }, "Opening…"));
  shown = null;
  if (!dialog.open) dialog.showModal();
  try {
    const design = await designOf(number);
    shown = { design, hit };
    draw(design, hit);
  } catch (error) {
    complain(error);
    fill(body, h("p", {}, error.message, " ", error.hint));
  }
}

function draw(design, hit) {
  fill(
    title,
    h("b", {}, design.number),
    design.title && h("span", { class: "title" }, titleOf(design)),
  );
  fill(
    tools,
    hasQuery() &&
      button("Compare", {
        name: "compare",
        class: "small",
        title: "Compare (c)",
        onclick: compare,
      }),
    flagButton(hit ?? design),
    button("More like this", { name: "like", class: "small", onclick: more }),
    closeButton(),
  );
  const views = viewsOfDesign(design);
  fill(
    body,
    h(
      "dl",
      {},
      facts(design, hit)
        .filter(([, value]) => value)
        .map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
    ),
    h(
      "div",
      { class: "gallery" },
      design.pictures.map((one, i) =>
        h(
          "button",
          {
            type: "button",
            class: "picture",
            "aria-label": `Zoom ${views[i].name}`,
            onclick: () => openZoom(views, i),
          },
          paper(one.picture, ""),
          h(
            "span",
            { class: "caption" },
            `Figure ${one.figure}`,
            one.same_as ? h("span", { class: "soft" }, `like figure ${one.same_as}`) : null,
          ),
          one.description && h("span", { class: "soft told" }, one.description),
        ),
      ),
    ),
  );
}

function facts(design, hit) {
  return [
    [
      "Found",
      hit &&
        [`Rank ${hit.rank}, score ${hit.score.toFixed(3)}`, hit.sentence]
          .filter(Boolean)
          .join("; "),
    ],
    ["Class", classOf(design)],
    ["US class", (design.uspc ?? []).join(", ")],
    ["Published", design.published],
    ["Filed", design.filed],
    ["Applicant", (design.applicants ?? []).join("; ")],
    ["Figures", String(design.pictures.length)],
    ["Source", design.source],
  ];
}

const closeButton = () =>
  button("Close", {
    name: "close",
    quiet: true,
    class: "last",
    title: "Close (Esc)",
    onclick: () => dialog.close(),
  });

function compare() {
  const { number } = shown.design;
  dialog.close();
  openCompare(number);
}

function more() {
  dialog.close();
  searchWithDesign(shown.design);
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !shown) return;
  const actions = {
    c: () => hasQuery() && compare(),
    f: () => tools.querySelector("[data-flag]").click(),
    m: more,
    z: () => openZoom(viewsOfDesign(shown.design), 0),
  };
  if (!actions[event.key]) return;
  event.preventDefault();
  event.stopPropagation();
  actions[event.key]();
}
