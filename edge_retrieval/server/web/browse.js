// The register itself, class by class and page by page.

import { get, post } from "./api.js";
import { classTree } from "./classes.js";
import { $, button, classOf, counted, fill, h, paper, titleOf } from "./dom.js";
import { openDesign } from "./design.js";
import { searchWithDesign } from "./intake.js";
import { complain, say } from "./notices.js";

const SIZE = 60;
let code = ""; // the class that is shown; "": all
let offset = 0;
let begun = false;

const tree = classTree({
  label: "Classes of the register",
  chosen: (one) => (one === code ? "in" : ""),
  choose: choose,
});
const title = h("h1", {}, "The register");
const pages = h("div", { class: "pages" });
const below = h("div", { class: "pages" });
const list = h("ul", { class: "designs", "aria-label": "Designs" });
const all = button("All classes", { class: "link", onclick: () => choose("") });

/** Show the register; the first time, ask for it. */
export async function showBrowse() {
  if (begun) return;
  begun = true;
  const box = h(
    "details",
    { class: "filter-box", open: window.matchMedia("(min-width: 62rem)").matches },
    h("summary", {}, h("h2", {}, "Classes")),
    all,
    tree.element,
  );
  fill(
    $("browse"),
    h("section", { class: "side filters", "aria-label": "Classes" }, box),
    h(
      "section",
      { class: "answer", "aria-label": "Designs of the register" },
      h("div", { class: "title-row" }, title, pages),
      list,
      below,
    ),
  );
  try {
    tree.show((await post("/api/facets", { filters: {} })).classes);
  } catch (error) {
    complain(error);
  }
  await load();
}

/** Ask again: the server was away. */
export function browseAgain() {
  if (begun && !list.children.length) load();
}

function choose(one) {
  code = one === code ? "" : one;
  offset = 0;
  tree.show();
  return load();
}

async function load() {
  try {
    const asked = new URLSearchParams({ offset, limit: SIZE, ...(code ? { class: code } : {}) });
    const { total, designs } = await get(`/api/designs?${asked}`);
    fill(
      title,
      code ? `Class ${code}` : "The register",
      h("span", { class: "soft" }, ` ${counted(total, "design")}`),
    );
    fill(list, designs.map(card));
    for (const place of [pages, below]) fill(place, paging(total, designs.length));
    all.hidden = !code;
    say(`${counted(total, "design")} ${code ? `in ${code}` : "in the register"}.`);
  } catch (error) {
    complain(error);
  }
}

function paging(total, shown) {
  if (total <= SIZE) return null;
  const turn = (by) => {
    offset = Math.max(0, offset + by);
    load().then(() => window.scrollTo({ top: 0 }));
  };
  return [
    button("Page before", {
      name: "left",
      quiet: true,
      disabled: offset === 0,
      onclick: () => turn(-SIZE),
    }),
    h(
      "span",
      { class: "soft" },
      `${(offset + 1).toLocaleString("en")} to ${(offset + shown).toLocaleString("en")}`,
    ),
    button("Next page", {
      name: "chevron",
      quiet: true,
      disabled: offset + shown >= total,
      onclick: () => turn(SIZE),
    }),
  ];
}

function card(design) {
  return h(
    "li",
    {},
    h(
      "button",
      {
        type: "button",
        class: "picture",
        "aria-label": `Open ${design.number}`,
        onclick: () => openDesign(design.number),
      },
      paper(design.picture, ""),
    ),
    h("h2", {}, design.number),
    design.title && h("p", { class: "title" }, titleOf(design)),
    h("p", { class: "soft clamp", title: classOf(design) }, classOf(design)),
    h(
      "p",
      { class: "soft" },
      [design.published ?? design.filed, counted(design.figures, "figure")]
        .filter(Boolean)
        .join(" · "),
    ),
    button("Search with it", {
      class: "link",
      "aria-label": `Search with ${design.number}`,
      onclick: () => searchWithDesign(design),
    }),
  );
}
