// How the page makes elements: text is always text, so no name or title can become markup.

/** Make an element. `on...` listens, `true` is an empty attribute, null and false are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(
    ...children
      .flat(3)
      .filter((child) => child !== null && child !== undefined && child !== false && child !== ""),
  );
  return element;
}

/** Replace what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(
    ...children
      .flat(3)
      .filter((child) => child !== null && child !== undefined && child !== false && child !== ""),
  );
}

/** The same; the focus stays on what has the same `data-key`, else goes to what is left. */
export function refill(element, ...children) {
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  fill(element, ...children);
  if (!focused) return;
  const again =
    focused.dataset.key && element.querySelector(`[data-key="${CSS.escape(focused.dataset.key)}"]`);
  (again || element.querySelector("button, select, input") || $("main")).focus({
    preventScroll: true,
  });
}

export const $ = (id) => document.getElementById(id);

const PATHS = {
  add: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  compare: "M4 5h6v14H4zM14 5h6v14h-6z",
  flag: "M6 21V4h11l-2.5 4L17 12H6",
  like: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.5L21 21",
  chevron: "M9 6l6 6-6 6",
  left: "M15 6l-6 6 6 6",
  minus: "M5 12h14",
  fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  down: "M12 4v11M7 11l5 5 5-5M5 20h14",
  theme: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
  not: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM5.7 5.7l12.6 12.6",
  warn: "M12 4l9 16H3zM12 10v4M12 17v.2",
  mirror: "M12 3v18M9 7l-5 5 5 5zM15 7l5 5-5 5z",
  sheet: "M6 3h9l4 4v14H6zM15 3v4h4",
  list: "M4 6h3v3H4zM11 7.500h9M4 15h3v3H4zM11 16.500h9",
  grid: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
};

/** A line icon; always decoration, the words are beside it or in the label. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(path);
  return svg;
}

/** A button with an icon; `label` is said, and shown unless `quiet`. */
export function button(label, { name, quiet = false, ...attributes } = {}) {
  const said = quiet ? { "aria-label": label, title: attributes.title ?? label } : {};
  const kind = ["button", quiet ? "bare" : "", attributes.class ?? ""].join(" ").trim();
  return h(
    "button",
    { type: "button", ...said, ...attributes, class: kind },
    name && icon(name),
    !quiet && h("span", {}, label),
  );
}

/** A drawing on white paper. */
export function paper(source, alt, attributes = {}) {
  return h(
    "span",
    { ...attributes, class: `paper ${attributes.class ?? ""}`.trim() },
    source &&
      h("img", { src: source, alt, loading: "lazy", decoding: "async", draggable: "false" }),
  );
}

/** "1 figure", "1,200 figures". */
export function counted(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** The title as one reads it: offices write them in capitals. */
export function titleOf({ title }) {
  if (!title || title !== title.toUpperCase()) return title ?? "";
  return capital(title.toLowerCase());
}

/** The class with its heading. */
export function classOf(design) {
  const code = design.locarno ?? (design.labels ?? []).join(" / ");
  return [code, design.locarno ? design.locarno_title : ""].filter(Boolean).join(" ");
}

/** "Published 2021-06-08, filed 2020-05-01". */
export function datesOf(design) {
  const told = [
    ["published", design.published],
    ["filed", design.filed],
  ].filter(([, date]) => date);
  const text = told.map(([what, date]) => `${what} ${date}`).join(", ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Capital first letter: sentences of the server begin small, as they also stand inside others. */
export function capital(text) {
  return text ? text.charAt(0).toUpperCase() + text.slice(1) : "";
}
