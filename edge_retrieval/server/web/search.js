// Asks the server whenever the query or a filter changes; the last question wins.

import { ApiError, get, post } from "./api.js";
import { capital, counted } from "./dom.js";
import { sendAgain } from "./intake.js";
import { say } from "./notices.js";
import { activeFigures, on, PAGE, setFilters, state, tell } from "./state.js";

const PATIENCE = 20_000; // milliseconds between two searches for pictures that are gone
let asking = null; // stops the search that is under way

/** Search again on every change that can change the answer. */
export function searchOnChange() {
  on("query", () => {
    state.k = PAGE;
    search();
  });
  on("filters", search);
}

/** Ask again when the register was rewritten: its pictures have other addresses then. */
export function followTheRegister() {
  let last = -Infinity;
  const gone = (event) => {
    if (!event.target.matches?.("img[src^='/api/pictures/']")) return;
    if (event.timeStamp - last < PATIENCE || !state.result) return;
    last = event.timeStamp;
    search();
  };
  document.addEventListener("error", gone, true); // it does not bubble
}

/** Show more hits. */
export function showMore() {
  state.k = Math.min(state.k + PAGE, state.status?.limits?.k ?? Infinity);
  return search();
}

/** What is asked of the server now; null where there is nothing to search with. */
export function question() {
  const common = { k: state.k, filters: setFilters(), exclude_self: state.excludeSelf };
  if (state.design) return { design: state.design.number, ...common };
  const views = activeFigures().map(({ drawing, figure }) => ({
    drawing: drawing.id,
    figure: figure.figure,
  }));
  return views.length ? { views, ...common } : null;
}

/** Do what needs the drawings on the server; if it forgot them, send them again first. */
export async function withDrawings(act) {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404 || !state.drawings.length) throw error;
    await sendAgain();
    return act();
  }
}

/** Ask, and show the answer. */
export async function search() {
  asking?.abort();
  asking = null;
  if (state.drawings.some((drawing) => drawing.state === "reading")) return tell("result");
  if (!question()) {
    Object.assign(state, { result: null, failure: null, searching: false });
    return tell("result");
  }
  const mine = new AbortController();
  asking = mine;
  state.searching = true;
  tell("result");
  const started = performance.now();
  try {
    const result = await withDrawings(() => post("/api/search", question(), mine.signal));
    const views = await viewsOfQuery();
    if (asking !== mine) return undefined;
    Object.assign(state, { result, views, asked: question(), failure: null, current: 0 });
    forgetOldAddresses(result);
    state.took = (performance.now() - started) / 1000;
    say(`${counted(result.hits.length, "design")} found. ${capital(result.statement)}.`);
  } catch (error) {
    if (error.name === "AbortError" || asking !== mine) return undefined;
    Object.assign(state, { result: null, failure: error });
    say(`No answer. ${error.message} ${error.hint ?? ""}`);
  }
  asking = null;
  state.searching = false;
  return tell("result");
}

/** The pictures of the views, in the order of the question. */
async function viewsOfQuery() {
  if (!state.design) {
    return activeFigures().map(({ drawing, figure }) => ({
      url: figure.url,
      name: drawing.figures.length > 1 ? `${drawing.name}, figure ${figure.figure}` : drawing.name,
    }));
  }
  return viewsOfDesign(await designOf(state.design.number));
}

/** The pictures of a registered design as views, in their order. */
export function viewsOfDesign(design) {
  return design.pictures.map(({ picture, figure }) => ({
    url: picture,
    name: `Figure ${figure} of ${design.number}`,
  }));
}

const known = new Map();
let epoch = null; // addresses of pictures hold as long as the register is not rewritten

function forgetOldAddresses({ hits }) {
  if (!hits.length || hits[0].epoch === epoch) return;
  if (epoch !== null) known.clear();
  ({ epoch } = hits[0]);
}

/** All that is known of a registered design. */
export function designOf(number) {
  if (!known.has(number)) {
    const asked = get(`/api/designs/${encodeURIComponent(number)}`);
    known.set(number, asked);
    asked.catch(() => known.delete(number));
  }
  return known.get(number);
}
