// The designs found: each with all its views, those that match marked.

import { $, button, capital, classOf, datesOf, fill, h, titleOf } from "./dom.js";
import { deafen } from "./deaf.js";
import { focusHit, here } from "./current.js";
import { openCompare } from "./compare.js";
import { openDesign } from "./design.js";
import { flagButton, noteField } from "./flags.js";
import { searchWithDesign } from "./intake.js";
import { on, PAGE, state } from "./state.js";
import { showMore } from "./search.js";
import { isBestFirst, sortHits } from "./order.js";
import { best, strip } from "./thumbs.js";

let drawn = null; // the result that is on the page: flags and busy marks do not redraw it

/** Draw the hits whenever there is another answer. */
export function showHits() {
  on("result", draw);
}

function draw() {
  const place = $("hits");
  place.classList.toggle("stale", state.searching);
  if (drawn === state.result) return fill($("tail"), tail());
  const more =
    drawn &&
    state.result &&
    state.result.hits.length > drawn.hits.length &&
    sameStart(drawn, state.result);
  const typing =
    place.contains(document.activeElement) && document.activeElement.matches("textarea")
      ? document.activeElement.closest(".hit").dataset.design
      : null;
  const fresh = more ? state.result.hits.slice(drawn.hits.length) : (state.result?.hits ?? []);
  if (!more) fill(place);
  place.append(...fresh.map(card));
  drawn = state.result;
  if (!isBestFirst()) sortHits();
  else if (more) focusHit(place.children.length - fresh.length);
  if (typing) goOnTyping(typing);
  return fill($("tail"), tail());
}

// Who writes a note while an answer comes goes on writing; or no key acts until it is noticed.
function goOnTyping(design) {
  const field = document.querySelector(`.hit[data-design="${CSS.escape(design)}"] textarea`);
  if (!field) return deafen();
  field.focus();
  return field.setSelectionRange(field.value.length, field.value.length);
}

// "Show more" keeps what is there, and with it the place of the reader.
function sameStart(old, now) {
  return (
    old.statement === now.statement &&
    old.hits.every((hit, i) => hit.design === now.hits[i].design && hit.score === now.hits[i].score)
  );
}

function tail() {
  const { result, searching } = state;
  if (!result) return null;
  if (!result.hits.length)
    return h("p", { class: "none" }, "No design was left to compare with. Take a filter away.");
  const all = result.hits.length >= result.compared_designs;
  const most = state.k >= (state.status?.limits?.k ?? Infinity);
  if (all || most || result.hits.length < state.k)
    return h("p", { class: "soft" }, all ? "These are all designs that were compared." : "");
  return button(`Show ${PAGE} more`, { onclick: showMore, disabled: searching });
}

function card(hit) {
  const name = `hit-${hit.rank}`;
  const item = h(
    "li",
    { class: "hit", "data-design": hit.design },
    h(
      "article",
      {
        tabindex: hit.rank === 1 ? 0 : -1,
        "aria-labelledby": name,
        onfocus: () => here([...item.parentElement.children].indexOf(item)),
        onkeydown: (event) => openByKey(event, hit),
      },
      h("span", { class: "rank", "aria-label": `Rank ${hit.rank}` }, String(hit.rank)),
      best(hit),
      h(
        "div",
        { class: "about" },
        facts(hit, name),
        actions(hit),
        h("div", { class: "note-place" }),
        strip(hit),
      ),
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
      h(
        "button",
        {
          type: "button",
          class: "open",
          title: "Open (Enter)",
          onclick: () => openDesign(hit.design, hit),
        },
        hit.design,
      ),
      hit.title && h("span", { class: "title" }, titleOf(hit)),
    ),
    h(
      "p",
      { class: "score" },
      h("span", { class: "bar", "aria-hidden": "true" }, bar(hit.score)),
      h("span", { class: "figure", title: "Score: 1 is the same drawing" }, score),
      h("span", { class: "soft strength" }, strengthOf(hit)),
    ),
    hit.sentence && h("p", { class: "matches" }, capital(hit.sentence)),
    h("p", { class: "class" }, classOf(hit)),
    h(
      "p",
      { class: "soft" },
      [datesOf(hit), (hit.applicants ?? []).join("; ")].filter(Boolean).join(" · "),
    ),
  );
}

function bar(score) {
  const filled = h("span", {});
  filled.style.width = `${Math.max(2, Math.min(100, score * 100))}%`;
  return filled;
}

/** Say how rarely an unrelated design looks as close. */
function strengthOf({ strength }) {
  if (!strength) return "";
  if (strength === "most") return "most unrelated designs look this close";
  return `${strength} unrelated designs look${strength.startsWith("fewer") ? "" : "s"} this close`;
}

function actions(hit) {
  const of = hit.design;
  return h(
    "div",
    { class: "actions" },
    button("Compare", {
      name: "compare",
      class: "small",
      "aria-label": `Compare ${of}`,
      title: "Compare (c)",
      onclick: () => openCompare(of),
    }),
    flagButton(hit),
    button("More like this", {
      name: "like",
      class: "small",
      "aria-label": `Search with ${of}`,
      onclick: () => searchWithDesign(asQuery(hit)),
    }),
  );
}

/** A hit as the design to search with. */
export function asQuery({ design, title, applicants }) {
  return { number: design, title, applicants };
}
