// The class tree with counts: opens level by level, narrows while one types.

import { button, h, icon, refill } from "./dom.js";

/**
 * Make a tree. `chosen(code)` tells "in", "out" or "", `choose(code, how)` is told a click;
 * with `excludes`, each class can be left out as well.
 */
export function classTree({ label, chosen, choose, excludes = false }) {
  const opened = new Set();
  let classes = [];
  const list = h("ul", { class: "tree", "aria-label": label });
  const sought = h("input", {
    type: "search",
    class: "seek",
    placeholder: "Find a class: 06-01 or seats",
    "aria-label": `${label}: find`,
    autocomplete: "off",
    spellcheck: "false",
    oninput: () => draw(),
  });

  const toggle = (code) => {
    if (!opened.delete(code)) opened.add(code);
    draw(code);
  };

  const node = (entry, level, text) => {
    const { code, title, count, children } = entry;
    const below = text
      ? children.filter((child) => found(child, text) || says(entry, text))
      : children;
    const open =
      below.length > 0 && (opened.has(code) || (text && below.some((child) => found(child, text))));
    const how = chosen(code);
    return h(
      "li",
      { class: `node level-${level} ${how}` },
      h(
        "div",
        { class: "node-row" },
        below.length
          ? h(
              "button",
              {
                type: "button",
                class: "bare twist",
                "aria-expanded": String(Boolean(open)),
                "aria-label": `Classes below ${code}`,
                onclick: () => toggle(code),
                "data-key": `twist-${code}`,
              },
              icon("chevron"),
            )
          : h("span", { class: "twist" }),
        h(
          "button",
          {
            type: "button",
            class: "pick",
            "aria-pressed": String(how === "in"),
            onclick: () => choose(code, "in"),
            title: title ?? code,
            "data-key": `pick-${code}`,
          },
          h("b", {}, code),
          " ",
          h("span", { class: "heading" }, title ?? ""),
          h("span", { class: "count" }, count.toLocaleString("en")),
        ),
        excludes &&
          button(`Leave out ${code}`, {
            name: "not",
            quiet: true,
            class: "leave",
            "aria-pressed": String(how === "out"),
            onclick: () => choose(code, "out"),
            "data-key": `leave-${code}`,
          }),
      ),
      open &&
        h(
          "ul",
          {},
          below.map((child) => node(child, level + 1, text)),
        ),
    );
  };

  const draw = () => {
    const text = sought.value.trim().toLowerCase();
    const shown = text ? classes.filter((entry) => found(entry, text)) : classes;
    refill(
      list,
      shown.length
        ? shown.map((entry) => node(entry, 1, text))
        : h("li", { class: "soft" }, text ? "No class is called so." : "No classes are known."),
    );
  };

  return {
    element: h("div", { class: "classes" }, sought, list),
    /** Show other counts, or other choices. */
    show(now = classes) {
      if (!opened.size && now.length === 1) opened.add(now[0].code);
      classes = now;
      draw();
    },
  };
}

const says = ({ code, title }, text) => `${code} ${title ?? ""}`.toLowerCase().includes(text);
const found = (entry, text) =>
  says(entry, text) || entry.children.some((child) => found(child, text));
