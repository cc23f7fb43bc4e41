// What the examiner marks as relevant, with a note; kept over searches until the page is closed.

import { $, button, classOf, datesOf, fill, h, paper, titleOf } from "./dom.js";
import { openCompare } from "./compare.js";
import { openDesign } from "./design.js";
import { openExport } from "./exports.js";
import { say } from "./notices.js";
import { hasQuery, on, state, tell } from "./state.js";

/** Keep the counts, the list and every button right. */
export function showFlags() {
  on("flags", draw);
  on("result", drawList);
  window.addEventListener("beforeunload", (event) => {
    if (state.unsaved && state.flags.size) event.preventDefault(); // notes are work
  });
  draw();
}

/** Flag a design, or take the flag away. `design` is a hit or what /api/designs says. */
export function toggleFlag(design) {
  const number = numberOf(design);
  const gone = state.flags.delete(number);
  if (!gone) state.flags.set(number, { note: "", design });
  state.unsaved = state.flags.size > 0;
  say(gone ? `${number} is no longer flagged.` : `${number} flagged as relevant.`);
  tell("flags");
  return !gone;
}

const numberOf = (design) => design.design ?? design.number;

/** What exports are told: number -> {relevant, note}. */
export function flagsForExport() {
  return Object.fromEntries(
    [...state.flags].map(([number, { note }]) => [number, { relevant: true, note }]),
  );
}

/** The button that flags a design. */
export function flagButton(design) {
  const number = numberOf(design);
  const flagged = state.flags.has(number);
  return button(flagged ? "Flagged" : "Flag", {
    name: "flag",
    class: "small flag",
    "data-flag": number,
    "aria-pressed": String(flagged),
    "aria-label": `Flag ${number} as relevant`,
    title: "Flag (f)",
    onclick: () => toggleFlag(design),
  });
}

/** Put the note's field into a card, where the design is flagged. */
export function noteField(item, design) {
  const place = item.querySelector(".note-place");
  const number = numberOf(design);
  const flag = state.flags.get(number);
  item.classList.toggle("marked", Boolean(flag));
  if (!flag) return fill(place);
  const field = place.querySelector("textarea");
  if (field) {
    if (field !== document.activeElement) field.value = flag.note;
    return undefined;
  }
  return fill(place, noteInput(number, flag));
}

function noteInput(number, flag) {
  return h("textarea", {
    class: "note",
    rows: 1,
    "aria-label": `Note on ${number}`,
    placeholder: "Note: why it is relevant",
    value: flag.note,
    oninput: (event) => {
      flag.note = event.target.value;
      state.unsaved = true;
      for (const other of document.querySelectorAll("textarea.note")) {
        if (other !== event.target && other.getAttribute("aria-label") === `Note on ${number}`)
          other.value = flag.note;
      }
    },
  });
}

function draw() {
  const count = $("flag-count");
  count.textContent = String(state.flags.size);
  count.hidden = !state.flags.size;
  for (const one of document.querySelectorAll("[data-flag]")) {
    const flagged = state.flags.has(one.dataset.flag);
    one.setAttribute("aria-pressed", String(flagged));
    one.querySelector("span").textContent = flagged ? "Flagged" : "Flag";
  }
  for (const item of document.querySelectorAll(".hit"))
    noteField(item, { design: item.dataset.design });
  drawList();
}

function drawList() {
  if ($("flagged").contains(document.activeElement) && document.activeElement.matches("textarea"))
    return;
  const flags = [...state.flags];
  fill(
    $("flagged"),
    h(
      "div",
      { class: "title-row" },
      h("h1", {}, "Flagged designs"),
      flags.length > 0 && state.result && button("Export", { name: "down", onclick: openExport }),
    ),
    flags.length
      ? h(
          "ul",
          { class: "flag-list" },
          flags.map(([number, flag]) => item(number, flag)),
        )
      : h(
          "p",
          { class: "none" },
          "Nothing is flagged yet. Flag a design with its button, or with the key f; flags and " +
            "notes go into what is exported.",
        ),
    flags.length > 0 &&
      !state.result &&
      h(
        "p",
        { class: "soft" },
        "Search with a drawing to export them: the record tells what was searched and found.",
      ),
  );
}

function item(number, flag) {
  const { design } = flag;
  const picture =
    design.pictures?.find((one) => one.figure === design.figure) ?? design.pictures?.[0];
  return h(
    "li",
    {},
    h(
      "button",
      {
        type: "button",
        class: "picture",
        "aria-label": `Open ${number}`,
        onclick: () => openDesign(number, design.rank ? design : null),
      },
      picture && paper(picture.picture, ""),
    ),
    h(
      "div",
      { class: "about" },
      h("h2", {}, h("b", {}, number), " ", h("span", { class: "title" }, titleOf(design))),
      h("p", {}, classOf(design)),
      h(
        "p",
        { class: "soft" },
        [
          datesOf(design),
          (design.applicants ?? []).join("; "),
          design.rank && `rank ${design.rank}, score ${design.score.toFixed(3)}`,
        ]
          .filter(Boolean)
          .join(" · "),
      ),
      noteInput(number, flag),
      h(
        "div",
        { class: "actions" },
        hasQuery() &&
          button("Compare", {
            name: "compare",
            class: "small",
            "aria-label": `Compare ${number}`,
            onclick: () => openCompare(number),
          }),
        button("Take the flag away", {
          class: "link",
          "aria-label": `Take the flag of ${number} away`,
          onclick: () => toggleFlag(design),
        }),
      ),
    ),
  );
}
