// The panel of the query: every drawing with the views found on it.

import { button, counted, fill, h, icon, paper, refill, titleOf, $ } from "./dom.js";
import { chooseFiles, clearQuery, readAgain, removeDrawing } from "./intake.js";
import { activeFigures, on, state, tell } from "./state.js";
import { designOf, viewsOfDesign } from "./search.js";
import { openZoom } from "./zoom.js";

/** Draw the panel whenever the query or its answer changes. */
export function showQuery() {
  on("query", draw);
  on("result", draw);
}

function draw() {
  refill(
    $("query"),
    head(),
    h(
      "div",
      { class: "source-list" },
      state.design ? designCard() : state.drawings.map(drawingCard),
    ),
    foot(),
  );
}

function head() {
  const views = state.design ? (state.result?.views.length ?? 0) : activeFigures().length;
  return h(
    "div",
    { class: "panel-head" },
    h("h2", {}, "Searched with"),
    views > 0 && h("span", { class: "soft" }, counted(views, "view")),
    button("Clear", {
      class: "link",
      "aria-label": "Clear the query and start anew",
      onclick: clearQuery,
      "data-key": "clear",
    }),
  );
}

function foot() {
  return h(
    "div",
    { class: "panel-foot" },
    button(state.design ? "Use drawings instead" : "Add drawings", {
      name: "add",
      onclick: chooseFiles,
      "data-key": "add",
    }),
  );
}

function drawingCard(drawing) {
  const several = drawing.figures.length > 1;
  const told = several ? `${drawing.figures.length} views found` : "";
  const alone = state.drawings.length === 1;
  const off = drawing.state === "ready" && !drawing.figures.some((figure) => figure.on);
  return h(
    "div",
    {
      class: ["source", several ? "several" : "single", alone && "alone", off && "off"]
        .filter(Boolean)
        .join(" "),
      role: "group",
      "aria-label": drawing.name,
    },
    h(
      "div",
      { class: "source-head" },
      h("span", { class: "name", title: drawing.name }, drawing.name),
      told && h("span", { class: "soft" }, told),
      button(`Remove ${drawing.name}`, {
        name: "close",
        quiet: true,
        onclick: () => removeDrawing(drawing),
        "data-key": `remove-${drawing.key}`,
      }),
    ),
    drawing.state === "reading" && h("p", { class: "soft reading" }, "Reading…"),
    drawing.state === "failed" && problem(drawing),
    h(
      "div",
      { class: "views" },
      drawing.figures.map((figure) => view(drawing, figure, several)),
    ),
    drawing.state === "ready" && (several || drawing.whole) && cutting(drawing),
  );
}

function problem(drawing) {
  return h(
    "p",
    { class: "problem" },
    icon("warn"),
    h("span", {}, drawing.error, drawing.hint && h("span", { class: "hint" }, drawing.hint)),
  );
}

function cutting(drawing) {
  const text = drawing.whole ? "Cut into its views" : "Take the sheet as one view";
  return button(text, {
    class: "link",
    onclick: () => readAgain(drawing, !drawing.whole),
    "data-key": `cut-${drawing.key}`,
  });
}

function view(drawing, figure, several) {
  const place = activeFigures().findIndex((active) => active.figure === figure);
  const told = state.result?.views?.[place];
  const same = figure.on && !state.searching && told?.same_as ? told.same_as : null;
  const name = several ? `figure ${figure.figure} of ${drawing.name}` : drawing.name;
  const turn = () => {
    figure.on = !figure.on;
    tell("query");
  };
  return h(
    "div",
    { class: figure.on ? "view" : "view off" },
    h(
      "button",
      {
        type: "button",
        class: "picture",
        "aria-label": `Zoom ${name}`,
        onclick: () => openZoom([{ url: figure.url, name }]),
      },
      pictureOf(figure),
    ),
    h(
      "label",
      { class: "switch" },
      h("input", {
        type: "checkbox",
        checked: figure.on,
        onchange: turn,
        "aria-label": `Search with ${name}`,
        "data-key": `view-${drawing.key}-${figure.figure}`,
      }),
      h("span", {}, figure.on ? `View ${place + 1}` : "Off"),
    ),
    same && h("span", { class: "soft same" }, `like view ${same}: not counted`),
    figure.turned ? h("span", { class: "soft same" }, `turned by ${figure.turned}°`) : null,
  );
}

// Kept from drawing to drawing of the panel: a picture made anew flickers.
function pictureOf(figure) {
  figure.element ??= paper(figure.url, "");
  return figure.element;
}

function designCard() {
  const { design } = state;
  const place = h("div", { class: "views" });
  designOf(design.number).then(
    (whole) => {
      const views = viewsOfDesign(whole);
      const told = state.result?.views ?? [];
      fill(
        place,
        views.map((one, i) => designView(views, one, i, told[i])),
      );
    },
    () => {}, // the search tells it
  );
  return h(
    "div",
    { class: "source", role: "group", "aria-label": design.number },
    h(
      "div",
      { class: "source-head" },
      h("span", { class: "name" }, design.number),
      h("span", { class: "soft" }, "registered"),
    ),
    design.title && h("p", { class: "soft" }, titleOf(design)),
    place,
  );
}

function designView(views, one, i, told) {
  return h(
    "div",
    { class: "view" },
    h(
      "button",
      {
        type: "button",
        class: "picture",
        "aria-label": `Zoom ${one.name}`,
        onclick: () => openZoom(views, i),
      },
      paper(one.url, ""),
    ),
    h("span", { class: "switch" }, `View ${i + 1}`),
    told?.same_as && h("span", { class: "soft same" }, `like view ${told.same_as}: not counted`),
  );
}
