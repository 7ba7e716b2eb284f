// A server that does what nginx will not: each path has a script that writes bytes to the socket, now
// or later. It runs in the test's own process and keeps what it was sent.

export interface Asked {
  readonly path: string;
  /** As they came, names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly method: string;
  /** Which connection, from 0. */
  readonly connection: number;
}

export interface Reply {
  /** What was asked before on this server, this one last. */
  readonly asked: readonly Asked[];
  readonly now: Asked;
  write(bytes: string | Uint8Array): void;
  /** Closes in an orderly way, or by a reset. */
  end(): void;
  reset(): void;
  /** The other end does not take what was written to it. */
  isBehind(): boolean;
  /** Resolves true after a while, false when the other end has gone. */
  wait(milliseconds: number): Promise<boolean>;
}

export type Script = (reply: Reply) => void | Promise<void>;

export interface Unruly extends Disposable {
  readonly port: number;
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  readonly asked: readonly Asked[];
}

interface Client {
  text: string;
  number: number;
  isGone: boolean;
}

export function startUnruly(scripts: Readonly<Record<string, Script>>): Unruly {
  const asked: Asked[] = [];
  let connections = 0;
  const listener = Bun.listen<Client>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(socket) {
        socket.data = { text: "", number: connections++, isGone: false };
      },
      close(socket) {
        socket.data.isGone = true;
      },
      error(socket) {
        socket.data.isGone = true;
      },
      drain(socket) {
        flush(socket);
      },
      data(socket, bytes) {
        const client = socket.data;
        client.text += bytes.toString("latin1");
        for (;;) {
          const end = client.text.indexOf("\r\n\r\n");
          if (end < 0) return;
          const [first = "", ...lines] = client.text.slice(0, end).split("\r\n");
          client.text = client.text.slice(end + 4);
          const [method = "", path = ""] = first.split(" ");
          const headers = Object.fromEntries(
            lines.map((line) => {
              const at = line.indexOf(":");
              return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()];
            }),
          );
          const now = { method, path, headers, connection: client.number };
          asked.push(now);
          const script = scripts[path] ?? missing;
          void script({
            asked: asked.slice(),
            now,
            write: (bytes) => put(socket, bytes),
            end: () => {
              closing.add(socket);
              flush(socket);
            },
            reset: () => socket.terminate(),
            isBehind: () => (pending.get(socket) ?? []).length > 0,
            async wait(milliseconds) {
              await Bun.sleep(milliseconds);
              return !client.isGone;
            },
          });
        }
      },
    },
  });
  const { port } = listener;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    asked,
    [Symbol.dispose]: () => listener.stop(true),
  };
}

// What the system did not take yet.
const pending = new WeakMap<Bun.Socket<Client>, Uint8Array[]>();
const closing = new WeakSet<Bun.Socket<Client>>();

function put(socket: Bun.Socket<Client>, bytes: string | Uint8Array): void {
  if (socket.data.isGone) return;
  const queue = pending.get(socket) ?? [];
  queue.push(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  pending.set(socket, queue);
  flush(socket);
}

function flush(socket: Bun.Socket<Client>): void {
  const queue = pending.get(socket) ?? [];
  while (queue.length > 0 && !socket.data.isGone) {
    const [first] = queue as [Uint8Array];
    const written = Math.max(0, socket.write(first));
    if (written < first.length) {
      queue[0] = first.subarray(written);
      return;
    }
    queue.shift();
  }
  if (closing.has(socket)) socket.end();
}

function missing({ write }: Reply): void {
  write("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
}

/** An answer as it should be. */
export function answer(body: string | Uint8Array, more = "", status = "200 OK"): Script {
  return ({ now, write }) => {
    write(`HTTP/1.1 ${status}\r\nContent-Length: ${body.length}\r\n${more}\r\n`);
    if (now.method !== "HEAD") write(body);
  };
}

/** Head and body as they are given. */
export function raw(...parts: readonly (string | Uint8Array)[]): Script {
  return ({ write, end }) => {
    for (const part of parts) write(part);
    end();
  };
}

export function redirect(to: string, status = 302): Script {
  return ({ write }) =>
    write(`HTTP/1.1 ${status} Found\r\nLocation: ${to}\r\nContent-Length: 0\r\n\r\n`);
}
