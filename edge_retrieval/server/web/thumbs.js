// The drawings of a hit: its best figure, then all others, those that match marked.

import { h, icon, paper } from "./dom.js";
import { openZoom } from "./zoom.js";

/** The pictures of a design for the zoom. */
function drawingsOf(design, pictures) {
  return pictures.map(({ picture, figure, description }) => ({
    url: picture,
    name: `Figure ${figure} of ${design}${description ? `: ${description}` : ""}`,
  }));
}

/** Open the best figure of a hit, large. */
export function zoomHit(hit) {
  zoomAt(hit, hit.figure);
}

function zoomAt(hit, figure) {
  const place = hit.pictures.findIndex((one) => one.figure === figure);
  openZoom(drawingsOf(hit.design, hit.pictures), Math.max(0, place));
}

/** The best figure, large. */
export function best(hit) {
  const picture = hit.pictures.find((one) => one.figure === hit.figure) ?? hit.pictures[0];
  return h("div", { class: "best" }, picture && thumb(hit, picture, true));
}

/** All other figures; near repetitions stand behind a count. */
export function strip(hit) {
  const matched = new Set(hit.views.filter((view) => view.matches).map((view) => view.figure));
  const others = hit.pictures.filter((one) => one.figure !== hit.figure);
  const kept = others.filter((one) => one.same_as === null || matched.has(one.figure));
  const same = others.filter((one) => !kept.includes(one));
  const row = h(
    "div",
    { class: "strip" },
    kept.map((one) => thumb(hit, one)),
  );
  if (same.length) row.append(moreButton(hit, row, same));
  return row;
}

function moreButton(hit, row, same) {
  const more = h(
    "button",
    {
      type: "button",
      class: "more",
      title: "Views that repeat another one",
      "aria-label": `Show ${same.length} views of ${hit.design} that are nearly the same as others`,
      onclick: () => {
        more.remove();
        row.append(...same.map((one) => thumb(hit, one)));
      },
    },
    h("b", {}, `+${same.length}`),
    h("span", {}, "nearly the same"),
  );
  return more;
}

function thumb(hit, picture, large = false) {
  const like = hit.views.filter((view) => view.figure === picture.figure && view.matches !== false);
  const matches = like.some((view) => view.matches); // null: nobody measured what matches
  const name = `Figure ${picture.figure} of ${hit.design}`;
  const told = [name, picture.description, ...like.map((view) => pairInWords(hit, view))];
  return h(
    "button",
    {
      type: "button",
      class: `thumb${matches ? " matches" : ""}`,
      tabindex: large ? 0 : -1,
      onclick: () => zoomAt(hit, picture.figure),
      title: told.filter(Boolean).join(" · "),
      "aria-label": `Zoom ${told.filter(Boolean).join(", ")}`,
    },
    paper(picture.picture, ""),
    h(
      "span",
      { class: "caption" },
      h("span", {}, `Fig. ${picture.figure}`),
      like.length > 0 && mark(hit, like, large, matches),
    ),
  );
}

function pairInWords(hit, { view, score, mirrored }) {
  const what = hit.views.length > 1 ? `view ${view}` : "match";
  return `${what} ${score.toFixed(2)}${mirrored ? " mirrored" : ""}`;
}

function mark(hit, like, large, matches) {
  const mirrored = like.some((view) => view.mirrored);
  const views = like.map((view) => view.view).join(", ");
  const many = like.length > 1 ? "views" : "view";
  const one = matches ? "matches" : "nearest";
  const text = hit.views.length === 1 ? one : `${large ? many : "v."} ${views}`;
  return h(
    "span",
    { class: matches ? "mark" : "soft" },
    mirrored && icon("mirror"),
    mirrored && large ? `${text} mirrored` : text,
  );
}
