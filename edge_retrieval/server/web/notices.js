// What the page says about itself: the line that is read aloud, short messages, the lost server.

import { line } from "./api.js";
import { $, button, fill, h, icon } from "./dom.js";

let lost = null; // the timer that looks for a lost server
let whenBack = () => {};

/** Say it to those who listen to the page. */
export function say(text) {
  $("live").textContent = text;
}

/** Show a message until it is closed, or for a while if it is no error. */
export function notice(text, { hint = "", lasting = false, alarm = false } = {}) {
  const shown = h(
    "div",
    { class: alarm ? "notice alarm" : "notice" },
    alarm && icon("warn"),
    h("p", {}, text, hint && h("span", { class: "hint" }, hint)),
    button("Close this message", { name: "close", quiet: true, onclick: () => shown.remove() }),
  );
  $("notices").append(shown);
  if (!lasting) setTimeout(() => shown.remove(), 8000);
  return shown;
}

/** Show why something did not work. */
export function complain(error) {
  if (error.name === "AbortError" || error.status === 0) return; // asked anew; or the banner tells
  notice(error.message, { hint: error.hint, lasting: true, alarm: true });
}

/** Watch the line to the server; `back` is called when a lost server answers again. */
export function watchLine(back) {
  whenBack = back;
  line.addEventListener("busy", (event) => {
    banner(`The server is busy with other searches. Trying again in ${event.detail} s.`);
  });
  line.addEventListener("calm", () => banner(""));
  line.addEventListener("gone", () => {
    banner(
      "The server does not answer. See whether edge-ret serve is still running; the page goes on " +
        "when it is back.",
    );
    lost ??= setInterval(look, 2000);
  });
}

async function look() {
  try {
    const response = await fetch("/api/status");
    if (!response.ok) return;
  } catch {
    return; // still gone
  }
  clearInterval(lost);
  lost = null;
  banner("");
  whenBack();
}

function banner(text) {
  const place = $("banner");
  place.hidden = !text;
  fill(place, text && icon("warn"), text && h("p", {}, text));
}
