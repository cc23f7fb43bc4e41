// The one place that talks to the server: waits while the server is busy, tells if it is gone.

const TRIES = 12;

/** What the server refused, with its hint. Status 0: it did not answer. */
export class ApiError extends Error {
  constructor(status, error, hint) {
    super(error);
    this.status = status;
    this.hint = hint ?? "";
  }
}

export const line = new EventTarget(); // "busy", "calm", "gone": how the line to the server is

/** Return the answer as a Response; a busy server, which says when, is asked again then. */
async function ask(path, { method = "GET", body, type, signal } = {}) {
  for (let attempt = 1; ; attempt += 1) {
    const response = await send(path, {
      method,
      body,
      signal,
      headers: type ? { "Content-Type": type } : {},
    });
    const later = response.headers.get("Retry-After");
    if (response.status !== 503 || later === null || attempt === TRIES) {
      if (attempt > 1) line.dispatchEvent(new Event("calm"));
      if (!response.ok) throw await refusal(response);
      return response;
    }
    const wait = Math.min(10, Number(later) || 1);
    line.dispatchEvent(new CustomEvent("busy", { detail: wait }));
    await pause(wait * 1000, signal);
  }
}

/** GET an answer of the API. */
export async function get(path, signal) {
  return (await ask(path, { signal })).json();
}

/** POST data, get data. */
export async function post(path, data, signal) {
  return (
    await ask(path, {
      method: "POST",
      body: JSON.stringify(data),
      type: "application/json",
      signal,
    })
  ).json();
}

/** POST data, get a file: its bytes and the name that the server gave it. */
export async function download(path, data) {
  const response = await ask(path, {
    method: "POST",
    body: JSON.stringify(data),
    type: "application/json",
  });
  const named = /filename="?([^";]+)"?/.exec(response.headers.get("Content-Disposition") ?? "");
  return { name: named ? named[1] : "search", blob: await response.blob() };
}

/** Hand a file to the server, which keeps it in memory. */
export async function sendDrawing(file, whole) {
  const path = `/api/drawings?name=${encodeURIComponent(file.name)}&whole=${whole}`;
  return (await ask(path, { method: "POST", body: file, type: "application/octet-stream" })).json();
}

/** A picture as an address that lives as long as the page, whatever the server forgets. */
export async function pictureOf(path) {
  return URL.createObjectURL(await (await ask(path)).blob());
}

// What is not published must not lie in the browser's cache on disk.
async function send(path, request) {
  try {
    return await fetch(path, { ...request, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    line.dispatchEvent(new Event("gone"));
    throw new ApiError(
      0,
      "The server does not answer.",
      "See whether edge-ret serve is still running.",
    );
  }
}

async function refusal(response) {
  let told = {};
  try {
    told = await response.json();
  } catch {
    // Not ours: a proxy's page. The status is all there is to say.
  }
  return new ApiError(
    response.status,
    told.error ?? `The server answered ${response.status}.`,
    told.hint,
  );
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        reject(new DOMException("asked anew", "AbortError"));
      },
      { once: true },
    );
  });
}
