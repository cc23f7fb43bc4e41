// All that the page knows. Modules change it, then tell the topic; others listen to the topic.

export const FILTERS = Object.freeze({
  classes: [],
  not_classes: [],
  before: null,
  after: null,
  applicants: [],
  not_applicants: [],
  sources: [],
  not_sources: [],
  designs: [],
  not_designs: [],
});
export const PAGE = 24; // hits shown at first, and added by "Show more"

export const state = {
  status: null, // what /api/status said
  drawings: [], // [{key, file, whole, id, name, state, figures: [{figure, url, on}]}]
  design: null, // the registered design that is searched with, in place of drawings
  filters: { ...FILTERS },
  excludeSelf: false,
  k: PAGE,
  asked: null, // the body of the search that `result` answers
  views: [], // the pictures of the views that were asked with: [{url, name}], in their order
  result: null,
  took: 0, // seconds from the question to the answer, as the page saw it
  searching: false,
  failure: null, // why there is no answer
  current: 0, // which hit the keys are at
  flags: new Map(), // number -> {note, design}: kept over searches, as an examiner collects
  notes: "",
  unsaved: false, // flags or notes that no export holds yet
};

const listeners = new Map();

/** Call `listener` whenever a topic is told: status, query, filters, result, flags, place. */
export function on(topic, listener) {
  listeners.set(topic, [...(listeners.get(topic) ?? []), listener]);
}

/** Tell that a part of the state changed. */
export function tell(topic) {
  for (const listener of listeners.get(topic) ?? []) listener();
}

/** The figures that are searched with, in order. */
export function activeFigures() {
  return state.drawings.flatMap((drawing) =>
    drawing.figures.filter((figure) => figure.on).map((figure) => ({ drawing, figure })),
  );
}

export const hasQuery = () => state.design !== null || state.drawings.length > 0;

/** The filters that are set, without the empty ones. */
export function setFilters() {
  return Object.fromEntries(
    Object.entries(state.filters).filter(([, value]) =>
      Array.isArray(value) ? value.length : value,
    ),
  );
}

/** Change filters and say so. */
export function changeFilters(changes) {
  state.filters = { ...state.filters, ...changes };
  state.k = PAGE;
  tell("filters");
}
