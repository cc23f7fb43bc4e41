// The first sight: where to drop the drawings, what is searched, and a way to try it at once.

import { get } from "./api.js";
import { $, counted, fill, h, icon, paper, titleOf } from "./dom.js";
import { chooseFiles, searchWithDesign } from "./intake.js";
import { complain } from "./notices.js";
import { state } from "./state.js";

const TRIED = 6; // so many designs are offered to try with

const samples = h("ul", { class: "samples", "aria-label": "Designs to try with" });
const size = h("p", { class: "soft size" });

/** Draw the first sight. */
export function showStart() {
  const drop = h(
    "button",
    {
      type: "button",
      class: "drop",
      "aria-label": "Add drawings: drop, paste or choose",
      onclick: chooseFiles,
    },
    icon("sheet"),
    h("strong", {}, "Drop the drawings here"),
    h("span", {}, "or paste them, or ", h("u", {}, "choose files")),
    h(
      "span",
      { class: "soft" },
      "PNG, TIFF, JPEG, PDF: one view, several, or whole sheets, which are cut into their views",
    ),
  );
  fill(
    $("start"),
    h("h1", {}, "Which registered designs look like this?"),
    size,
    drop,
    h(
      "div",
      { class: "try" },
      h("h2", {}, "No drawing at hand? Search with a design of the register"),
      samples,
      h("p", {}, h("a", { href: "#browse" }, "Browse the whole register")),
    ),
  );
}

/** Fill in what the server tells of its register. */
export async function fillStart() {
  const { designs, figures } = state.status;
  size.textContent = designs
    ? `All views of a product are compared with ${counted(designs, "registered design")} ` +
      `(${counted(figures, "figure")}).`
    : "The register is empty: add designs with edge-ret index.";
  try {
    const places = Array.from({ length: Math.min(TRIED, designs) }, (_, i) =>
      Math.floor((i * designs) / Math.min(TRIED, designs)),
    );
    const pages = await Promise.all(
      places.map((offset) => get(`/api/designs?offset=${offset}&limit=1`)),
    );
    fill(
      samples,
      pages
        .flatMap((page) => page.designs)
        .map((design) =>
          h(
            "li",
            {},
            h(
              "button",
              {
                type: "button",
                class: "picture",
                "aria-label": `Search with ${design.number} ${design.title ?? ""}`,
                onclick: () => searchWithDesign(design),
              },
              paper(design.picture, ""),
              h("span", { class: "caption" }, titleOf(design) || design.number),
            ),
          ),
        ),
    );
  } catch (error) {
    complain(error);
  }
}
