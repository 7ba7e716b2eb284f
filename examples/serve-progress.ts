// A server that copies a tree and tells how far it is, over Bun's own WebSocket.
//
//   bun examples/serve-progress.ts FROM TO       then open the address it prints
//
// Whoever connects to /progress hears `{ files, bytes }` about ten times a second and at last the
// result; GET /start begins. Closing the last connection cancels the copy.

import { CopseError, copy } from "copse";

const [from, to] = process.argv.slice(2);
if (from === undefined || to === undefined) {
  console.error("usage: bun examples/serve-progress.ts FROM TO");
  process.exit(2);
}

let running: AbortController | undefined;
let listeners = 0;

const page = `<!doctype html><title>copse</title><button onclick="fetch('/start')">copy</button><pre id="out"></pre>
<script>new WebSocket("ws://" + location.host + "/progress").onmessage = ({ data }) => (out.textContent = data)</script>`;

const server = Bun.serve({
  port: Number(process.env["PORT"] ?? 0),
  routes: {
    "/": () => new Response(page, { headers: { "content-type": "text/html" } }),
    "/start": () => {
      if (running) return new Response("it runs already", { status: 409 });
      void start();
      return new Response("started");
    },
  },
  fetch(request, server) {
    if (new URL(request.url).pathname === "/progress" && server.upgrade(request)) return undefined;
    return new Response("there is / and /start and /progress", { status: 404 });
  },
  websocket: {
    open(socket) {
      listeners++;
      socket.subscribe("progress");
    },
    close() {
      if (--listeners === 0) running?.abort(new Error("nobody listens any more"));
    },
    message() {},
  },
});
console.log(server.url.href);

function tell(what: object): void {
  server.publish("progress", JSON.stringify(what));
}

async function start(): Promise<void> {
  running = new AbortController();
  try {
    const { copied, transferred, errors } = await copy(from!, to!, {
      signal: running.signal,
      onProgress: ({ files, bytes }) => tell({ files, bytes }),
    });
    tell({ done: true, copied, transferred, errors });
  } catch (error) {
    const code = error instanceof CopseError ? error.code : "CANCELLED";
    tell({ done: false, code, message: error instanceof Error ? error.message : String(error) });
  } finally {
    running = undefined;
  }
}
