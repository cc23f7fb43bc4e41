// Which view of one design goes with which figure of another: the server's own best pairs.

import { post } from "./api.js";
import { state } from "./state.js";
import { designOf, question, viewsOfDesign, withDrawings } from "./search.js";

/** What can stand on the left: the query, or a registered design. */
export const QUERY = "";

/**
 * Return the two sides: `left` and `right` as [{url, name}], `pairs` as
 * [{left, right, score, matches, mirrored, same_as}] with places in them, and `told`, a sentence.
 */
export async function pairsOf(left, right) {
  const [hit, views, design] = await Promise.all([
    hitOf(left, right),
    viewsOf(left),
    designOf(right),
  ]);
  const figures = viewsOfDesign(design);
  const place = new Map(design.pictures.map(({ figure }, i) => [figure, i]));
  const pairs = (hit?.views ?? []).map((view) => ({
    ...view,
    left: view.view - 1,
    right: place.get(view.figure) ?? 0,
  }));
  return { left: views, right: figures, pairs, told: hit?.sentence ?? "", design };
}

async function viewsOf(left) {
  return left === QUERY ? state.views : viewsOfDesign(await designOf(left));
}

// A design that is not among the hits is compared alone: the same search, of this design only.
async function hitOf(left, right) {
  const there = left === QUERY && state.result?.hits.find((hit) => hit.design === right);
  if (there) return there;
  const filters = { designs: [right] };
  const common = { k: 1, filters, exclude_self: false };
  const body = left === QUERY ? { ...question(), ...common } : { design: left, ...common };
  const result = await withDrawings(() => post("/api/search", body));
  return result.hits[0];
}
