import { argumentError, CopseError, codeName } from "./errors.ts";
import { listPlace } from "./list.ts";
import { parseLocation, type Place } from "./location.ts";
import { Code, Verb as VerbNumber } from "./native/abi.ts";
import { decodeRows } from "./rows.ts";
import { checkOptions, placeRequest, type InPlace } from "./request.ts";
import { engineOf, type Engine, type Runtime } from "./runtime.ts";
import { NativeTask, type Verb } from "./task.ts";
import type { Entry, Failure, Found, Limits, Location, Options, Task } from "./types.ts";

/** What a store can do; each is one call or option. */
export type StoreCan = Readonly<
  Record<"list" | "range" | "write" | "delete" | "mtime" | "mode" | "links" | "hash" | "resume" | "atomic", boolean>
>;

const file: StoreCan = {
  list: true, range: true, write: true, delete: true, mtime: true, mode: true, links: true, hash: false, resume: false, atomic: true,
};
const able = new Map<string, StoreCan>([
  ["file", file],
  ["memory", { ...file, links: false }],
]);

function canOf(place: Place): StoreCan {
  const can = able.get(place.inner?.scheme ?? place.scheme);
  if (!can) throw new CopseError("UNSUPPORTED", `${place.scheme} locations are not built in`, { location: place.shown });
  return can;
}

function safePath(path: unknown): string {
  if (typeof path !== "string") throw argumentError("path", "must be a string");
  if (path.includes("\0")) throw argumentError("path", "must not hold a NUL byte");
  if (path === "") return path;
  const parts = path.split("/");
  if (parts.some((part) => part === "" || part === "." || part === ".."))
    throw new CopseError("UNSAFE_PATH", "a path inside a store is relative, without empty, \".\" or \"..\" parts", { path });
  return path;
}

export interface StoreOptions {
  signal?: AbortSignal;
  runtime?: Runtime;
  limits?: Partial<Limits>;
}

/** What can be written as a file's content. */
export type Body = string | Blob | Response | ReadableStream<Uint8Array> | ArrayBufferView | ArrayBuffer;

const PUSH_BYTES = 256 * 1024; // at once; the native side takes up to a megabyte before it asks to wait

/** One place, one file at a time. Holds nothing native; disposing it refuses later calls. */
export class Store implements AsyncDisposable {
  readonly scheme: string;
  readonly can: StoreCan;
  readonly #place: Place;
  readonly #options: StoreOptions;
  #closed = false;

  constructor(location: Location, options: StoreOptions = {}) {
    checkOptions(options);
    this.#place = parseLocation(location);
    this.scheme = this.#place.scheme;
    this.can = canOf(this.#place);
    this.#options = options;
    placeRequest(VerbNumber.LIST, this.#place, {}, options, false, 0); // the options are good
  }

  #check(path: string): string {
    if (this.#closed) throw new CopseError("CLOSED", "the store was closed", { location: this.#place.shown });
    return safePath(path);
  }

  #start<Whole, Part>(verb: number, what: InPlace, decode: Verb<Whole, Part>["decode"], whole: Verb<Whole, Part>["whole"]): {
    engine: Engine;
    task: NativeTask<Whole, Part>;
  } {
    const engine = engineOf(this.#options.runtime);
    engine.checkOpen();
    const token = engine.tokenOf(this.#options.signal);
    const request = placeRequest(verb, this.#place, what, this.#options, false, token);
    return { engine, task: new NativeTask(engine, { request, decode, whole }, this.#options, token) };
  }

  /** The entries below a path of the store; their paths are relative to the store. */
  list(path = "", options: Options = {}): Task<Found<Entry>, Entry | Failure> {
    checkOptions(options);
    return listPlace(this.#place, { path: this.#check(path) }, { ...this.#options, ...options });
  }

  /** What is at a path, not following a link there; null when there is nothing. */
  async stat(path: string): Promise<Entry | null> {
    const what = { path: this.#check(path), self: true };
    try {
      const entries = await listPlace(this.#place, what, this.#options);
      const [failure] = entries.errors;
      if (failure) throw failure.error;
      return entries[0] ?? null;
    } catch (error) {
      if (error instanceof CopseError && error.code === "NOT_FOUND") return null;
      throw error;
    }
  }

  /** Whether anything is at a path. */
  async exists(path: string): Promise<boolean> {
    return (await this.stat(path)) !== null;
  }

  /**
   * The content from `start` (default 0) to before `end` (default: all there is). Nothing is read before it is asked
   * for; cancelling the stream stops the work.
   */
  read(path: string, range: { start?: number; end?: number } = {}): ReadableStream<Uint8Array> {
    const { start = 0, end } = range;
    for (const [name, value] of Object.entries({ start, end }))
      if (value !== undefined && (!Number.isSafeInteger(value) || value < 0))
        throw argumentError(name, `must be a whole number of bytes, at least 0, not ${String(value)}`);
    if (end !== undefined && end < start) throw argumentError("end", `must not be before start (${start}), not ${end}`);
    const what: InPlace = { path: this.#check(path), from: start, ...(end === undefined ? {} : { to: end }) };
    let chunks: AsyncIterator<Uint8Array<ArrayBuffer>> | undefined;
    let task: NativeTask<void, Uint8Array<ArrayBuffer>> | undefined;
    const begin = (): AsyncIterator<Uint8Array<ArrayBuffer>> => {
      // The page is lent: the bytes are copied.
      ({ task } = this.#start<void, Uint8Array<ArrayBuffer>>(VerbNumber.READ, what, (buffer) => [new Uint8Array(buffer.slice(0))], () => {}));
      return task[Symbol.asyncIterator]();
    };
    return new ReadableStream<Uint8Array>(
      {
        type: "bytes",
        async pull(controller) {
          const { done, value } = await (chunks ??= begin()).next();
          if (!done) {
            controller.enqueue(value);
            return;
          }
          controller.close();
          controller.byobRequest?.respond(0);
        },
        async cancel(reason) {
          task?.cancel(reason);
          await chunks?.return?.();
        },
      },
      { highWaterMark: 0 },
    );
  }

  /**
   * Puts a file in place, whole or not at all: the old content stays until the new one is complete. Parents are made.
   * A body that fails leaves everything as it was.
   */
  async write(path: string, body: Body): Promise<Entry> {
    const what = { path: this.#check(path) };
    const { engine, task } = this.#start<Entry | undefined, Entry>(
      VerbNumber.WRITE,
      what,
      // A write task has one ENTRY row.
      (buffer, rows, heapAt) => decodeRows(buffer, rows, heapAt) as Entry[],
      (parts) => parts[0],
    );
    task.catch(() => {}); // told below, or by what the body threw
    try {
      engine.flush();
      for await (const chunk of chunksOf(body))
        for (let at = 0; at < chunk.length; at += PUSH_BYTES) await push(engine, task, chunk.subarray(at, at + PUSH_BYTES));
      await push(engine, task, new Uint8Array(0));
    } catch (error) {
      if (!(error instanceof Ended)) {
        task.cancel(error);
        await task.catch(() => {});
        throw error;
      }
    }
    const entry = await task;
    if (!entry) throw new CopseError("INTERNAL", "the file was written and not described; please report it", { path });
    return entry;
  }

  /** Takes away a file, a link or an empty directory. */
  async remove(path: string): Promise<void> {
    const { task } = this.#start<void, never>(VerbNumber.REMOVE, { path: this.#check(path) }, () => [], () => {});
    await task;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
  }
}

/** The task ended while bytes were pushed: its own outcome tells why. */
class Ended extends Error {}

async function push<Whole, Part>(engine: Engine, task: NativeTask<Whole, Part>, chunk: Uint8Array): Promise<void> {
  // Not started yet when more tasks are in flight than the runtime takes at once.
  while (task.id === 0 && task.state === "queued") await new Promise((resolve) => setImmediate(resolve));
  for (;;) {
    if (task.id === 0) throw new Ended();
    // Asked for before the push: the room may be there before we look.
    const { promise, resolve } = Promise.withResolvers<void>();
    task.onRoom = () => resolve();
    const code = engine.native.copse_task_push(task.id, chunk.length > 0 ? chunk : empty, chunk.length);
    if (code >= 0) return;
    if (code !== Code.BUSY) {
      if (code === Code.CLOSED || code === Code.CANCELLED) throw new Ended();
      throw new CopseError(codeName(code), "the content could not be handed over");
    }
    await Promise.race([promise, task.then(() => {}, () => {})]);
  }
}

// A pointer to nothing is no pointer.
const empty = new Uint8Array(1);

async function* chunksOf(body: Body): AsyncGenerator<Uint8Array, void, void> {
  if (typeof body === "string") yield new TextEncoder().encode(body);
  else if (body instanceof ArrayBuffer) yield new Uint8Array(body);
  else if (ArrayBuffer.isView(body)) yield new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  else if (body instanceof ReadableStream) yield* body;
  else if (body instanceof Response) {
    if (body.body) yield* body.body;
  } else if (body instanceof Blob) yield* body.stream();
  else throw argumentError("body", "must be a string, Blob, Response, ReadableStream or bytes");
}
