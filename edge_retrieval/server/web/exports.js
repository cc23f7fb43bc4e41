// What is kept of a search: the record, the report, the citations.

import { download } from "./api.js";
import { $, button, capital, counted, fill, h } from "./dom.js";
import { flagsForExport } from "./flags.js";
import { complain, notice } from "./notices.js";
import { withDrawings } from "./search.js";
import { state } from "./state.js";

const FORMATS = [
  [
    "record",
    "Record",
    "JSON: everything that is needed to repeat the search and prove the same ranks",
  ],
  ["html", "Report", "HTML: one page with drawings, to read, print and file"],
  ["csv", "Citations", "CSV: a line for each design, for tables and office actions"],
];

const notes = h("textarea", {
  id: "notes",
  rows: 4,
  autofocus: true,
  placeholder: "What was searched and why; what was found",
  oninput: () => {
    state.notes = notes.value;
    state.unsaved = true;
  },
});
const drawings = h("input", { type: "checkbox", id: "with-drawings", checked: true });
const summary = h("div", { class: "summary" });
const choices = h("div", { class: "formats" });
const dialog = h(
  "dialog",
  { class: "export", "aria-labelledby": "export-title" },
  h(
    "header",
    {},
    h("h2", { id: "export-title" }, "Export this search"),
    button("Close", {
      name: "close",
      quiet: true,
      class: "last",
      title: "Close (Esc)",
      onclick: () => dialog.close(),
    }),
  ),
  summary,
  h("div", { class: "field" }, h("label", { for: "notes" }, "Notes"), notes),
  h(
    "label",
    { class: "check", for: "with-drawings" },
    drawings,
    h(
      "span",
      {},
      "Put the drawings into the record",
      h(
        "span",
        { class: "hint" },
        "Then the search can be repeated from the file alone. Leave them out where the record " +
          "goes to others and the drawings are not published.",
      ),
    ),
  ),
  choices,
);
document.body.append(dialog);

/** Open the export of the answer that is shown. */
export function openExport() {
  if (!state.result) return;
  const flags = [...state.flags.keys()];
  fill(
    summary,
    h("p", {}, `${capital(state.result.statement)}.`),
    h(
      "p",
      { class: "soft" },
      flags.length
        ? `${counted(flags.length, "design")} flagged: ${flags.join(", ")}.`
        : "No design is flagged.",
    ),
  );
  fill(
    choices,
    FORMATS.map(([format, name, told]) =>
      h(
        "div",
        { class: "format" },
        h("div", {}, h("h3", {}, name), h("p", { class: "soft" }, told)),
        button(`Save ${name.toLowerCase()}`, {
          name: "down",
          onclick: (event) => save(format, event.currentTarget),
        }),
      ),
    ),
  );
  notes.value = state.notes;
  drawings.parentElement.hidden = state.design !== null;
  dialog.showModal();
}

async function save(format, pressed) {
  pressed.disabled = true;
  try {
    const { name, blob } = await withDrawings(() =>
      download("/api/export", {
        search: state.asked,
        format,
        flags: flagsForExport(),
        notes: notes.value,
        drawings: drawings.checked,
      }),
    );
    hand(name, blob);
    state.unsaved = false;
  } catch (error) {
    dialog.close(); // messages lie below a dialog
    complain(error);
    if (error.status === 0) notice("Nothing was saved.", { alarm: true });
  } finally {
    pressed.disabled = false;
  }
}

function hand(name, blob) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  $("live").textContent = `${name} saved.`;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
