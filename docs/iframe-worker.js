/* The search of these pages runs in a worker, and a browser starts none for a page that was opened
   as a file. An iframe takes its place then; with a server nothing of this is used. */
class FrameWorker extends EventTarget {
  constructor(url) {
    super();
    const frame = document.createElement("iframe");
    frame.hidden = true;
    document.body.append(frame);
    this.inside = frame.contentWindow;
    this.ready = new Promise((loaded) => { frame.onload = loaded; });
    addEventListener("message", (event) => {
      if (event.source !== this.inside) return;
      event.stopImmediatePropagation();
      const message = new MessageEvent("message", { data: event.data });
      this.dispatchEvent(message);
      if (this.onmessage) this.onmessage(message);
    });
    this.inside.document.open();
    this.inside.document.write(`<!doctype html><html><body><script>
      postMessage = parent.postMessage.bind(parent);
      importScripts = (...urls) => urls.reduce((before, url) => before.then(() => new Promise((done) => {
        const script = document.createElement("script");
        script.src = url;
        script.onload = done;
        document.body.append(script);
      })), Promise.resolve());
    <\/script><script src="${url}"><\/script></body></html>`);
    this.inside.document.close();
  }

  postMessage(data) {
    this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })));
  }

  terminate() {}
}

if (location.protocol === "file:") window.Worker = FrameWorker;
