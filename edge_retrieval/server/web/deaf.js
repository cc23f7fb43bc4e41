// Keys that were meant for a field that is gone must not do what they do elsewhere.

const WHILE = 1500; // milliseconds
let until = 0;

/** Let no key act for a moment. */
export function deafen() {
  until = performance.now() + WHILE;
}

/** Whether keys act; one that does not makes the moment longer, as somebody still types. */
export function hears() {
  if (performance.now() > until) return true;
  deafen();
  return false;
}
