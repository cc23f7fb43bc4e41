// Which hit the keys are at; it alone is in the order of the Tab key.

import { state } from "./state.js";

/** Note where the focus is. */
export function here(place) {
  state.current = place;
  document
    .querySelectorAll(".hit > article")
    .forEach((one, i) => (one.tabIndex = i === place ? 0 : -1));
}

/** Move the focus to a hit. */
export function focusHit(place) {
  const articles = document.querySelectorAll(".hit > article");
  if (!articles.length) return;
  const at = Math.max(0, Math.min(articles.length - 1, place));
  articles[at].focus({ preventScroll: true });
  articles[at].scrollIntoView({ block: "nearest" });
}
