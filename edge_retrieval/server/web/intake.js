// How drawings come in: dropped, pasted, chosen; sent to the server one after the other.

import { pictureOf, sendDrawing } from "./api.js";
import { $ } from "./dom.js";
import { notice, say } from "./notices.js";
import { state, tell } from "./state.js";

let queue = Promise.resolve();
let made = 0;

/** Listen to drop, paste and the file chooser, anywhere on the page. */
export function listenForDrawings() {
  const chooser = $("files");
  chooser.addEventListener("change", () => {
    addFiles([...chooser.files]);
    chooser.value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return; // text pasted into a field
    event.preventDefault();
    addFiles(files.map(named));
  });
  listenForDrops();
}

/** Open the file chooser. */
export function chooseFiles() {
  $("files").click();
}

/** Search with files, beside the drawings that are there. */
function addFiles(files) {
  const limits = state.status?.limits ?? {};
  const room = (limits.drawings ?? Infinity) - state.drawings.length;
  if (files.length > room) {
    notice(`A search takes ${limits.drawings} drawings at most.`, {
      hint: "The others are left out.",
      alarm: true,
    });
  }
  document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
  state.design = null;
  for (const file of files.slice(0, Math.max(0, room))) {
    const drawing = {
      key: (made += 1),
      file,
      whole: false,
      id: null,
      name: file.name,
      state: "reading",
      figures: [],
    };
    if (file.size > (limits.bytes ?? Infinity)) fail(drawing, tooLarge(file, limits.bytes));
    else queue = queue.then(() => read(drawing));
    state.drawings.push(drawing);
  }
  tell("query");
  location.hash = "#search";
}

/** Read a drawing anew as one view, or cut into its views. */
export function readAgain(drawing, whole) {
  Object.assign(drawing, { whole, state: "reading", lost: false });
  queue = queue.then(() => read(drawing));
  tell("query");
}

/** Take a drawing out of the query. */
export function removeDrawing(drawing) {
  state.drawings = state.drawings.filter((other) => other !== drawing);
  forget(drawing);
  say(`${drawing.name} removed.`);
  tell("query");
}

/** Take all drawings, or the design, out of the query. */
export function clearQuery() {
  state.drawings.forEach(forget);
  state.drawings = [];
  state.design = null;
  state.result = null;
  state.excludeSelf = false;
  tell("query");
}

/** Search with a registered design, {number, title, applicants}, in place of drawings. */
export function searchWithDesign(design) {
  state.drawings.forEach(forget);
  state.drawings = [];
  state.design = design;
  state.excludeSelf = false; // the server leaves the design itself out
  tell("query");
  location.hash = "#search";
  window.scrollTo(0, 0);
  $("main").focus({ preventScroll: true }); // what was pressed is gone
}

/** Send every drawing again: the server forgot one, and keeps them in memory only. */
export async function sendAgain() {
  for (const drawing of state.drawings.filter((one) => one.state === "ready")) {
    drawing.id = (await sendDrawing(drawing.file, drawing.whole)).id;
  }
}

/** Read what could not be sent while the server was gone. */
export function readLost() {
  state.drawings
    .filter((drawing) => drawing.lost)
    .forEach((drawing) => readAgain(drawing, drawing.whole));
}

async function read(drawing) {
  if (!state.drawings.includes(drawing)) return; // removed while it waited
  try {
    const answer = await sendDrawing(drawing.file, drawing.whole);
    const urls = await Promise.all(answer.figures.map((figure) => pictureOf(figure.picture)));
    forget(drawing);
    drawing.figures = answer.figures.map((figure, i) => ({ ...figure, url: urls[i], on: true }));
    Object.assign(drawing, { id: answer.id, sha256: answer.sha256, state: "ready" });
    if (state.drawings.some((other) => other !== drawing && other.sha256 === drawing.sha256)) {
      removeDrawing(drawing);
      notice(`${drawing.name} is here already.`);
    }
  } catch (error) {
    fail(drawing, error);
  }
  tell("query");
}

function fail(drawing, { message, hint, status }) {
  Object.assign(drawing, { state: "failed", error: message, hint, lost: status === 0 });
  say(`${drawing.name}: ${message} ${hint}`);
}

// Later, as the page may just be loading them.
function forget({ figures }) {
  setTimeout(() => figures.forEach((figure) => URL.revokeObjectURL(figure.url)), 60_000);
}

function tooLarge(file, limit) {
  const million = (bytes) => `${(bytes / 1e6).toFixed(0)} MB`;
  return {
    message: `The file has ${million(file.size)}; ${million(limit)} are read at most.`,
    hint: "Save it smaller: 300 dots an inch, black and white, are enough.",
  };
}

function named(file) {
  const extension = file.type.split("/")[1] ?? "png";
  return file.name && file.name !== "image.png"
    ? file
    : new File([file], `pasted ${made + 1}.${extension}`, { type: file.type });
}

function listenForDrops() {
  const veil = $("veil");
  const holdsFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    veil.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) veil.hidden = true; // out of the window
  });
  document.addEventListener("drop", (event) => {
    veil.hidden = true;
    if (!holdsFiles(event)) return;
    event.preventDefault();
    const files = [...event.dataTransfer.files];
    if (files.length) addFiles(files);
  });
}
