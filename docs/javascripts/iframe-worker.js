// Browsers start no workers from file://, where this page may be read from. The search's worker then
// runs in a frame of this page: a frame without an address of its own shares the page's origin.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      const script = `<script src="${new URL(url, location)}"></` + "script>";
      frame.hidden = true;
      frame.srcdoc = script;
      this.started = new Promise((resolve) => {
        frame.onload = () => {
          const worker = frame.contentWindow;
          worker.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
          resolve(worker);
        };
      });
      document.body.append(frame);
    }

    postMessage(data) {
      this.started.then((worker) => worker.dispatchEvent(new MessageEvent("message", { data })));
    }
  };
}
