// The designs found: each with all its views, those that match marked.

import { $, button, capital, classOf, datesOf, fill, h, icon, paper, titleOf } from "./dom.js";
import { openCompare } from "./compare.js";
import { openDesign } from "./design.js";
import { flagButton, noteField } from "./flags.js";
import { searchWithDesign } from "./intake.js";
import { on, PAGE, state } from "./state.js";
import { showMore } from "./search.js";
import { openZoom } from "./zoom.js";

let drawn = null; // the result that is on the page: flags and busy marks do not redraw it
let layout = "list";
let order = "score";

const ORDERS = {
  score: ["Best first", (one, other) => one.rank - other.rank],
  newest: ["Newest first", (one, other) => dateOf(other).localeCompare(dateOf(one)) || one.rank - other.rank],
  oldest: ["Oldest first", (one, other) => (dateOf(one) || "9").localeCompare(dateOf(other) || "9") || one.rank - other.rank],
  class: ["By class", (one, other) => classOf(one).localeCompare(classOf(other)) || one.rank - other.rank],
};
const dateOf = (hit) => hit.published ?? hit.filed ?? "";

/** Draw the hits whenever there is another answer. */
export function showHits() {
  on("result", draw);
}

/** The hits in the order in which they stand on the page. */
export function orderedHits() {
  return [...(state.result?.hits ?? [])].sort(ORDERS[order][1]);
}

/** Choose the order of the hits that are shown; their ranks stay. */
export function orderChoice() {
  return h("select", { "aria-label": "Order", "data-key": "order", onchange: (event) => sortBy(event.target.value) },
    Object.entries(ORDERS).map(([name, [words]]) => h("option", { value: name, selected: name === order }, words)));
}

function sortBy(name) {
  order = name;
  const items = new Map([...$("hits").children].map((item) => [item.dataset.design, item]));
  $("hits").append(...orderedHits().map((hit) => items.get(hit.design)));
  here(0);
}

/** Choose between the list with all views and the grid of best views. */
export function layoutSwitch() {
  const choice = (name, label) =>
    button(label, { name, quiet: true, class: "choice", "aria-pressed": String(layout === name), "data-key": name, onclick: () => choose(name) });
  return h("div", { class: "choices", role: "group", "aria-label": "Layout" }, choice("list", "List with all views"), choice("grid", "Grid of the best views"));
}

function choose(name) {
  layout = name;
  $("hits").classList.toggle("grid", layout === "grid");
  document.querySelectorAll(".choices .choice").forEach((one, i) => one.setAttribute("aria-pressed", String((i === 1) === (layout === "grid"))));
}

function draw() {
  const place = $("hits");
  place.classList.toggle("stale", state.searching);
  if (drawn === state.result) return fill($("tail"), tail());
  const more = drawn && state.result && state.result.hits.length > drawn.hits.length && sameStart(drawn, state.result);
  const fresh = more ? state.result.hits.slice(drawn.hits.length) : state.result?.hits ?? [];
  if (!more) fill(place);
  place.append(...fresh.map(card));
  drawn = state.result;
  if (order !== "score") sortBy(order);
  if (more && order === "score") focusHit(place.children.length - fresh.length);
  return fill($("tail"), tail());
}

// "Show more" keeps what is there, and with it the place of the reader.
function sameStart(old, now) {
  return old.statement === now.statement && old.hits.every((hit, i) => hit.design === now.hits[i].design && hit.score === now.hits[i].score);
}

function tail() {
  const { result, searching } = state;
  if (!result) return null;
  if (!result.hits.length) return h("p", { class: "none" }, "No design was left to compare with. Take a filter away.");
  const all = result.hits.length >= result.compared_designs;
  const most = state.k >= (state.status?.limits?.k ?? Infinity);
  if (all || most || result.hits.length < state.k) return h("p", { class: "soft" }, all ? "These are all designs that were compared." : "");
  return button(`Show ${PAGE} more`, { onclick: showMore, disabled: searching });
}

function card(hit) {
  const name = `hit-${hit.rank}`;
  const item = h(
    "li",
    { class: "hit", "data-design": hit.design },
    h(
      "article",
      { tabindex: hit.rank === 1 ? 0 : -1, "aria-labelledby": name, onfocus: () => here([...item.parentElement.children].indexOf(item)), onkeydown: (event) => openByKey(event, hit) },
      h("span", { class: "rank", "aria-label": `Rank ${hit.rank}` }, String(hit.rank)),
      best(hit),
      h("div", { class: "about" }, facts(hit, name), actions(hit), h("div", { class: "note-place" }), strip(hit)),
    ),
  );
  noteField(item, hit);
  return item;
}

function openByKey(event, hit) {
  if (event.key !== "Enter" || event.target !== event.currentTarget) return;
  event.preventDefault(); // else the same key presses the dialog's first button
  openDesign(hit.design, hit);
}

function facts(hit, name) {
  const score = hit.score.toFixed(3);
  return h(
    "div",
    { class: "facts" },
    h(
      "h3",
      { id: name },
      h("button", { type: "button", class: "open", title: "Open (Enter)", onclick: () => openDesign(hit.design, hit) }, hit.design),
      hit.title && h("span", { class: "title" }, titleOf(hit)),
    ),
    h("p", { class: "score" }, h("span", { class: "bar", "aria-hidden": "true" }, bar(hit.score)), h("span", { class: "figure", title: "Score: 1 is the same drawing" }, score), h("span", { class: "soft strength" }, strengthOf(hit))),
    hit.sentence && h("p", { class: "matches" }, capital(hit.sentence)),
    h("p", { class: "class" }, classOf(hit)),
    h("p", { class: "soft" }, [datesOf(hit), (hit.applicants ?? []).join("; ")].filter(Boolean).join(" · ")),
  );
}

function bar(score) {
  const filled = h("span", {});
  filled.style.width = `${Math.max(2, Math.min(100, score * 100))}%`;
  return filled;
}

/** Say how rarely an unrelated design looks as close. */
export function strengthOf({ strength }) {
  if (!strength) return "";
  if (strength === "most") return "most unrelated designs look this close";
  return `${strength} unrelated designs look${strength.startsWith("fewer") ? "" : "s"} this close`;
}

function actions(hit) {
  const of = hit.design;
  return h(
    "div",
    { class: "actions" },
    button("Compare", { name: "compare", class: "small", "aria-label": `Compare ${of}`, title: "Compare (c)", onclick: () => openCompare(of) }),
    flagButton(hit),
    button("More like this", { name: "like", class: "small", "aria-label": `Search with ${of}`, onclick: () => searchWithDesign(asQuery(hit)) }),
  );
}

/** A hit as the design to search with. */
export function asQuery({ design, title, applicants }) {
  return { number: design, title, applicants };
}

/** The pictures of a design for the zoom. */
export function drawingsOf(design, pictures) {
  return pictures.map(({ picture, figure, description }) => ({ url: picture, name: `Figure ${figure} of ${design}${description ? `: ${description}` : ""}` }));
}

/** Open the best figure of a hit, large. */
export function zoomHit(hit) {
  zoomAt(hit, hit.figure);
}

function zoomAt(hit, figure) {
  openZoom(drawingsOf(hit.design, hit.pictures), Math.max(0, hit.pictures.findIndex((one) => one.figure === figure)));
}

function best(hit) {
  const picture = hit.pictures.find((one) => one.figure === hit.figure) ?? hit.pictures[0];
  return h("div", { class: "best" }, picture && thumb(hit, picture, true));
}

function strip(hit) {
  const matched = new Set(hit.views.filter((view) => view.matches).map((view) => view.figure));
  const others = hit.pictures.filter((one) => one.figure !== hit.figure);
  const kept = others.filter((one) => one.same_as === null || matched.has(one.figure));
  const same = others.filter((one) => !kept.includes(one));
  const row = h("div", { class: "strip" }, kept.map((one) => thumb(hit, one)));
  if (same.length) row.append(moreButton(hit, row, same));
  return row;
}

function moreButton(hit, row, same) {
  const more = h("button", {
    type: "button", class: "more", title: "Views that repeat another one",
    "aria-label": `Show ${same.length} views of ${hit.design} that are nearly the same as others`,
    onclick: () => {
      more.remove();
      row.append(...same.map((one) => thumb(hit, one)));
    },
  }, h("b", {}, `+${same.length}`), h("span", {}, "nearly the same"));
  return more;
}

function thumb(hit, picture, large = false) {
  const like = hit.views.filter((view) => view.figure === picture.figure && (view.matches || large));
  const told = like.map((view) => `${hit.views.length > 1 ? `View ${view.view}` : "Match"} ${view.score.toFixed(2)}${view.mirrored ? ", mirrored" : ""}`);
  const matches = like.some((view) => view.matches);
  const name = `Figure ${picture.figure} of ${hit.design}`;
  return h(
    "button",
    {
      type: "button", class: `thumb${matches ? " matches" : ""}`, tabindex: large ? 0 : -1, onclick: () => zoomAt(hit, picture.figure),
      title: [name, picture.description, ...told].filter(Boolean).join(" · "), "aria-label": [`Zoom ${name}`, picture.description, ...(matches ? told : [])].filter(Boolean).join(", "),
    },
    paper(picture.picture, ""),
    h(
      "span",
      { class: "caption" },
      h("span", {}, `Fig. ${picture.figure}`),
      matches && h("span", { class: "mark" }, like.some((view) => view.mirrored) && icon("mirror"), marks(hit, like, large)),
    ),
  );
}

function marks(hit, like, large) {
  const mirrored = large && like.some((view) => view.mirrored) ? " mirrored" : "";
  if (hit.views.length === 1) return large ? `matches${mirrored}` : "like";
  return `${like.length > 1 && large ? "views" : large ? "view" : "v."} ${like.map((view) => view.view).join(", ")}${mirrored}`;
}

function here(place) {
  state.current = place;
  document.querySelectorAll(".hit > article").forEach((one, i) => (one.tabIndex = i === place ? 0 : -1));
}

/** Move the focus to a hit. */
export function focusHit(place) {
  const articles = document.querySelectorAll(".hit > article");
  if (!articles.length) return;
  const at = Math.max(0, Math.min(articles.length - 1, place));
  articles[at].focus({ preventScroll: true });
  articles[at].scrollIntoView({ block: "nearest" });
}
