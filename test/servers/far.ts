// A server that is far away: a proxy for TCP on loopback that hands on every byte, in both directions,
// half a round trip after it came, and no more than a window of them in a round trip over one
// connection, as a network does. Runs in the test's process, or as one of its own for benchmarks:
// `bun test/servers/far.ts PORT ROUND_TRIP_MS [WINDOW]` prints its port.

export interface Far extends Disposable {
  readonly port: number;
  /** Connections so far, and at once at most. */
  readonly connections: number;
  readonly most: number;
  roundTripMs: number;
  /** Breaks every connection that is open. */
  cut(): void;
}

interface End {
  /** What came and waits for its time, for the other end. */
  readonly pipe: Pipe;
  other?: Bun.Socket<End>;
}

/** One direction. */
class Pipe {
  #queue: { bytes: Uint8Array; due: number }[] = [];
  /** Handed on, and held against the window until the sender could know. */
  #unacknowledged = 0;
  #timer: Timer | undefined;
  #isEnded = false;
  to: Bun.Socket<End> | undefined;
  from: Bun.Socket<End> | undefined;
  #isPaused = false;

  readonly far: { readonly roundTripMs: number };
  readonly window: number;

  constructor(far: { readonly roundTripMs: number }, window: number) {
    this.far = far;
    this.window = window;
  }

  take(bytes: Uint8Array): void {
    this.#queue.push({ bytes: bytes.slice(), due: performance.now() + this.far.roundTripMs / 2 });
    this.#unacknowledged += bytes.length;
    if (this.#unacknowledged >= this.window && !this.#isPaused) {
      this.#isPaused = true;
      this.from?.pause();
    }
    this.pump();
  }

  end(): void {
    this.#isEnded = true;
    this.pump();
  }

  pump(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const now = performance.now();
    for (let first; (first = this.#queue[0]) && first.due <= now && this.to;) {
      const written = Math.max(0, this.to.write(first.bytes));
      this.#acknowledge(written);
      if (written < first.bytes.length) {
        first.bytes = first.bytes.subarray(written);
        return; // drain goes on
      }
      this.#queue.shift();
    }
    const [first] = this.#queue;
    if (first && this.to) {
      this.#timer = setTimeout(() => this.pump(), Math.max(0, first.due - now));
    } else if (!first && this.#isEnded) this.to?.end();
  }

  #acknowledge(bytes: number): void {
    if (bytes === 0) return;
    const settle = (): void => {
      this.#unacknowledged -= bytes;
      if (this.#isPaused && this.#unacknowledged < this.window) {
        this.#isPaused = false;
        this.from?.resume();
      }
    };
    if (this.far.roundTripMs > 0) setTimeout(settle, this.far.roundTripMs / 2);
    else settle();
  }
}

/** 4 MiB: about what Linux lets one connection have in flight. */
export function startFar(port: number, roundTripMs: number, window = 4 << 20): Far {
  const open = new Set<Bun.Socket<End>>();
  let connections = 0;
  let now = 0;
  let most = 0;
  const handlers: Bun.SocketHandler<End> = {
    data(socket, bytes) {
      socket.data.pipe.take(bytes);
    },
    drain(socket) {
      socket.data.other?.data.pipe.pump();
    },
    close(socket) {
      open.delete(socket);
      socket.data.pipe.end();
    },
    end(socket) {
      socket.data.pipe.end();
    },
    error(socket) {
      socket.data.other?.terminate();
    },
  };
  const far = {
    roundTripMs,
    get connections() {
      return connections;
    },
    get most() {
      return most;
    },
    get port() {
      return listener.port;
    },
    cut() {
      for (const socket of open) socket.terminate();
    },
    [Symbol.dispose]() {
      listener.stop(true);
      far.cut();
    },
  };
  const listener = Bun.listen<End>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      ...handlers,
      open(client) {
        connections++;
        most = Math.max(most, ++now);
        open.add(client);
        const up = new Pipe(far, window);
        up.from = client;
        client.data = { pipe: up };
        const down = new Pipe(far, window);
        down.to = client;
        const data: End = { pipe: down, other: client };
        // What the client says meanwhile waits in its pipe.
        Bun.connect<End>({
          hostname: "127.0.0.1",
          port,
          data,
          socket: {
            ...handlers,
            open(server) {
              open.add(server);
              down.from = server;
              up.to = server;
              client.data.other = server;
              up.pump();
            },
          },
        }).catch(() => client.terminate());
      },
      close(client) {
        now--;
        handlers.close?.(client);
      },
    },
  });
  return far;
}

if (import.meta.main) {
  const [port, roundTripMs, window] = process.argv.slice(2).map(Number);
  const far = startFar(port!, roundTripMs!, window);
  console.log(far.port);
}
