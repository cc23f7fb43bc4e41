// Begins the page: shows the right place, asks the server who it is, starts all modules.

import { get } from "./api.js";
import { showAnswer } from "./answer.js";
import { browseAgain, showBrowse } from "./browse.js";
import { $, button, counted, fill, h } from "./dom.js";
import { showFilters } from "./filters.js";
import { showFlags } from "./flags.js";
import { showHits } from "./hits.js";
import { listenForDrawings, readLost } from "./intake.js";
import { listenToKeys, openKeys } from "./keys.js";
import { complain, watchLine } from "./notices.js";
import { showQuery } from "./query.js";
import { followTheRegister, search, searchOnChange } from "./search.js";
import { fillStart, showStart } from "./start.js";
import { hasQuery, on, state, tell } from "./state.js";

const PROMISE =
  "Drawings go to the machine that serves this page and no further: they are kept in its memory " +
  "only, and are forgotten when the server ends.";
const KEPT =
  "Drawings are kept in the memory of this machine only, and are forgotten when the server ends.";
const SENT =
  "To the store that finds designs, on another machine, go the filters and the vectors of the " +
  "views, no drawing.";
const THEMES = ["system", "light", "dark"];

function place() {
  const name = { "#browse": "browse", "#flagged": "flagged" }[location.hash] ?? "search";
  $("start").hidden = name !== "search" || hasQuery();
  $("search").hidden = name !== "search" || !hasQuery();
  $("browse").hidden = name !== "browse";
  $("flagged").hidden = name !== "flagged";
  for (const one of ["search", "browse", "flagged"]) {
    if (one === name) $(`to-${one}`).setAttribute("aria-current", "page");
    else $(`to-${one}`).removeAttribute("aria-current");
  }
  if (name === "browse") showBrowse();
}

function tools() {
  fill(
    $("tools"),
    button("Keys and help", { quiet: true, title: "Keys (?)", class: "letter", onclick: openKeys }),
    themeButton(),
  );
  $("tools").firstChild.append("?");
}

function themeButton() {
  const now = document.documentElement.dataset.theme ?? "system";
  return button(`Colours: ${now}`, {
    name: "theme",
    quiet: true,
    onclick: () => {
      const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
      if (next === "system") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = next;
      try {
        localStorage.setItem("theme", next);
      } catch {
        // No storage: the choice lasts as long as the page.
      }
      tools();
      $("tools").lastChild.focus();
    },
  });
}

async function meet() {
  try {
    state.status = await get("/api/status");
  } catch (error) {
    complain(error);
    return;
  }
  const { name, designs, bundle, precision, version, snapshot, store, token } = state.status;
  fill(
    $("register"),
    h("b", {}, name),
    h("span", { class: "soft" }, ` ${counted(designs, "design")}`),
  );
  fill(
    $("versions"),
    [
      `edge-retrieval ${version}`,
      [bundle, precision].filter(Boolean).join(" "),
      `snapshot ${snapshot}`,
      ...(store ? [`store ${store.collection}${store.server ? ` (${store.server})` : ""}`] : []),
    ].join(" · "),
    " · ",
    h("a", { href: "/api", target: "_blank", rel: "noopener" }, "API"), // beside: the query stays
  );
  if (token) $("promise").textContent = PROMISE; // others use this server, too
  if (store && !store.local) $("promise").textContent = `${token ? PROMISE : KEPT} ${SENT}`;
  tell("status");
  await fillStart();
}

showStart();
showQuery();
showAnswer();
showHits();
showFilters();
showFlags();
searchOnChange();
followTheRegister();
listenForDrawings();
listenToKeys();
on("query", place);
window.addEventListener("hashchange", () => {
  place();
  window.scrollTo(0, 0);
});
watchLine(async () => {
  await meet();
  browseAgain();
  readLost();
  if (hasQuery() && (!state.result || state.failure)) search();
});
tools();
place();
meet();
