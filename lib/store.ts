import { lstatSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { chunksOf, type Body } from "./body.ts";
import { argumentError, CopseError, showValue } from "./errors.ts";
import { listPlace } from "./list.ts";
import { fdPlace, isUnsafe, parseLocation, type Place } from "./location.ts";
import { Look } from "./look.ts";
import { Verb as VerbNumber } from "./native/abi.ts";
import { decodeRows, type Answers } from "./rows.ts";
import { checkFields, checkOptions } from "./check.ts";
import { placeRequest, type InPlace } from "./request.ts";
import { engineOf, type Runtime } from "./runtime.ts";
import { transferVerb } from "./sync.ts";
import { NativeTask, type Verb } from "./task.ts";
import type { Entry, Failure, Found, Limits, Location, Options, Task } from "./types.ts";

/** What a store can do; each is one call or option. */
export type StoreCan = Readonly<
  Record<
    | "list"
    | "range"
    | "write"
    | "delete"
    | "mtime"
    | "mode"
    | "links"
    | "hash"
    | "resume"
    | "atomic",
    boolean
  >
>;

const file: StoreCan = {
  list: true,
  range: true,
  write: true,
  delete: true,
  mtime: true,
  mode: true,
  links: true,
  hash: false,
  resume: false,
  atomic: true,
};
const onlyRead: StoreCan = {
  ...file,
  write: false,
  delete: false,
  mtime: false,
  mode: false,
  links: false,
  atomic: false,
};
const able: ReadonlyMap<string, StoreCan> = new Map([
  ["file", file],
  ["memory", { ...file, links: false }],
  ["http", onlyRead],
  ["files", onlyRead],
  ["fd", { ...onlyRead, list: false, range: false, write: true }],
  ["manifest", { ...onlyRead, range: false, links: true, hash: true }],
  ["snapshot", { ...onlyRead, range: false, links: true }],
  ["archive", { ...onlyRead, range: false, links: true, hash: true }],
  ["pack", { ...onlyRead, mtime: true, mode: true, links: true, hash: true }],
]);

/** Schemes whose answers come from another machine, or are made to wait. */
const waits: ReadonlySet<string> = new Set(["http", "files", "fault"]);

function canOf(place: Place): StoreCan {
  if (place.scheme === "crypt" && place.inner) return { ...canOf(place.inner), hash: false };
  const can = able.get(place.scheme === "fault" ? (place.inner?.scheme ?? "") : place.scheme);
  if (can) return can;
  throw new CopseError("UNSUPPORTED", `${place.scheme} locations are not built in`, {
    location: place.shown,
  });
}

/** What a Store takes besides its location. */
export interface StoreOptions {
  /** Stops what runs and refuses what comes. */
  signal?: AbortSignal;
  /** Default: `Runtime.default`. */
  runtime?: Runtime;
  /** What listing an untrusted tree may cost. */
  limits?: Partial<Limits>;
  /**
   * Whole files of a local directory are read by Bun itself, which sends them from the page cache to
   * the socket when the stream is a `Response` of `Bun.serve`. Default false: only for a tree that
   * nobody else writes to, because between the look at the path and the opening a directory could be
   * swapped for a link that leads elsewhere. Not with a `signal`; no `bandwidth` binds it.
   */
  direct?: boolean;
}

/** Which bytes of a file: from `start` (default 0) to before `end` (default: all there is). */
export interface ByteRange {
  start?: number | undefined;
  end?: number | undefined;
}

/**
 * One place, one file at a time. Paths are relative to it, with `/` between their parts.
 *
 * ```ts
 * await using store = new Store("site");
 * await store.write("notes/today.txt", "hello");
 * await new Response(store.read("notes/today.txt")).text();
 * ```
 *
 * Every call rejects with `UNSAFE_PATH` or `ARGUMENT` for a path that is none, before any work.
 * Holds nothing native; disposing it refuses later calls.
 */
export class Store implements AsyncDisposable {
  /** `file`, `memory`, … */
  readonly scheme: string;
  /** What it can do; what it cannot answers `UNSUPPORTED`. */
  readonly can: StoreCan;
  readonly #place: Place;
  readonly #options: StoreOptions;
  readonly #isDirect: boolean;
  readonly #look: Look;
  #isClosed = false;

  /** `ARGUMENT` for a bad location or option, `UNSUPPORTED` for a scheme that is not built in. */
  constructor(location: Location, options: StoreOptions = {}) {
    checkFields("options", options, ["signal", "runtime", "limits", "direct"]);
    this.#place = parseLocation(location);
    this.scheme = this.#place.scheme;
    this.can = canOf(this.#place);
    const { direct = false, ...rest } = options;
    if (typeof direct !== "boolean")
      throw argumentError("direct", `must be true or false, not ${showValue(direct)}`);
    this.#isDirect = direct;
    this.#options = rest;
    this.#look = new Look(this.#place, this.#options, !waits.has(this.scheme));
  }

  /** The entries below a path of the store; their paths are relative to the store. */
  list(path = "", options: Options = {}): Task<Found<Entry>, Entry | Failure> {
    checkOptions(options);
    const what = { path: this.#check(path) };
    return listPlace(this.#place, what, { ...this.#options, ...options });
  }

  /**
   * What is at a path, not following a link there; `null` when there is nothing. Calls that are
   * made together are one task of the runtime.
   */
  stat(path: string): Promise<Entry | null> {
    return this.#ask(path, entryAt);
  }

  /** Whether anything is at a path. As `stat`. */
  exists(path: string): Promise<boolean> {
    return this.#ask(path, existsAt);
  }

  /**
   * The content of a file, or a part of it. Nothing is read before it is asked for, and no more
   * than two pages ahead, the first of 64 KiB and what follows on this machine of 512 KiB;
   * cancelling the stream stops the work. The chunks are the pages themselves: the content is
   * copied once, by the kernel. With `direct` it is not copied at all.
   */
  read(path: string, range: ByteRange = {}): ReadableStream<Uint8Array> {
    const what: InPlace = { path: this.#check(path), ...checkRange(range) };
    const direct = what.from === 0 && what.to === undefined ? this.#direct(path) : undefined;
    if (direct !== undefined) return Bun.file(direct).stream();
    let task: NativeTask<void, Uint8Array<ArrayBuffer>> | undefined;
    let pages: AsyncIterableIterator<readonly Uint8Array<ArrayBuffer>[]> | undefined;
    const begin = (): typeof pages & {} => {
      const verb = this.#verb<void, Uint8Array<ArrayBuffer>>(VerbNumber.READ, what, (page) => [
        new Uint8Array(page),
      ]);
      const reading = { ...verb, keeps: true };
      task = new NativeTask(engineOf(this.#options.runtime), reading, this.#options);
      return task.batches();
    };
    return new ReadableStream<Uint8Array>(
      {
        type: "bytes",
        async pull(controller) {
          const { done, value } = await (pages ??= begin()).next();
          if (!done) {
            for (const page of value) controller.enqueue(page);
            return;
          }
          controller.close();
          controller.byobRequest?.respond(0);
        },
        async cancel(reason) {
          task?.cancel(reason);
          await pages?.return?.();
        },
      },
      { highWaterMark: 0 },
    );
  }

  /**
   * Puts a file in place, whole or not at all: the old content stays until the new one is complete.
   * Directories above it are made. A body that fails rejects with its own error and leaves the file
   * as it was.
   */
  async write(path: string, body: Body): Promise<Entry> {
    const what = { path: this.#check(path) };
    const feed = (
      (chunks) => () =>
        chunks
    )(chunksOf("body", body));
    const verb = this.#verb<Entry | undefined, Entry>(
      VerbNumber.WRITE,
      what,
      // A write task has one ENTRY row.
      (page, rows, heapAt) => decodeRows(page, rows, heapAt) as Entry[],
      (parts) => parts[0],
    );
    const engine = engineOf(this.#options.runtime);
    const entry = await new NativeTask(engine, { ...verb, feed }, this.#options);
    if (entry) return entry;
    throw new CopseError("INTERNAL", "the file was written and not described: please report it", {
      path,
    });
  }

  /**
   * Sends the content of a file to a descriptor that is open (a pipe, a socket, `1`), and gives the
   * number of its bytes. What the kernel can move by itself does not pass through the process.
   * `CLOSED` with the errno `EPIPE`: nobody reads any more. The caller closes the descriptor.
   */
  async send(path: string, fd: number): Promise<number> {
    const only = { path: this.#check(path) };
    const verb = transferVerb(this.#place, fdPlace({ fd }), {}, false, false, only);
    const task = new NativeTask(engineOf(this.#options.runtime), verb, this.#options);
    const done = await task.catch((error: unknown) => this.#blame(path, error));
    const failed = done.actions.find((action) => action.kind === "error");
    if (failed) return this.#blame(path, failed.error);
    if (done.copied === 1) return done.transferred;
    throw this.#noContent(path, "a pipe, socket or device has no content: name a file");
  }

  /** What the receiver cannot take says little of what was asked for. */
  async #blame(path: string, error: unknown): Promise<never> {
    if (!(error instanceof CopseError) || !["EXISTS", "UNSUPPORTED"].includes(error.code))
      throw error;
    const type = (await this.stat(path).catch(() => null))?.type;
    if (type === "directory") throw this.#noContent(path, "it is a directory: name a file");
    if (type === "link") throw this.#noContent(path, "it is a link: name the file it leads to");
    throw error;
  }

  #noContent(path: string, sentence: string): CopseError {
    return new CopseError("UNSUPPORTED", sentence, { location: this.#place.shown, path });
  }

  /** Takes away a file, a link or an empty directory. `EXISTS`: the directory is not empty. */
  async remove(path: string): Promise<void> {
    const what = { path: this.#check(path) };
    const verb = this.#verb<void, never>(VerbNumber.REMOVE, what, () => []);
    await new NativeTask(engineOf(this.#options.runtime), verb, this.#options);
  }

  /** Refuses later calls with `CLOSED`. What runs goes on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
  }

  #ask<T>(path: string, read: (answers: Answers, at: number, path: string) => T): Promise<T> {
    try {
      return this.#look.ask(this.#check(path), read);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** The file's path, when Bun may open it: a regular one, no link on the way to it. */
  #direct(path: string): string | undefined {
    if (!this.#isDirect || this.scheme !== "file" || path === "" || this.#options.signal)
      return undefined;
    try {
      const own = join(realpathSync(this.#place.path), path);
      return realpathSync(own) === own && lstatSync(own).isFile() ? own : undefined;
    } catch {
      return undefined; // the ordinary way says what is wrong
    }
  }

  #check(path: string): string {
    if (this.#isClosed)
      throw new CopseError("CLOSED", "the store was closed: make a new one", {
        location: this.#place.shown,
      });
    return safePath(path);
  }

  #verb<Whole, Part>(
    verb: number,
    what: InPlace,
    decode: Verb<Whole, Part>["decode"],
    ...whole: undefined extends Whole
      ? [whole?: Verb<Whole, Part>["whole"]]
      : [Verb<Whole, Part>["whole"]]
  ): Verb<Whole, Part> {
    const request = placeRequest(verb, this.#place, what, this.#options, false);
    // Without one nothing is expected of the task but its end.
    const [make = () => undefined as Whole] = whole;
    return { request, decode, whole: make };
  }
}

const entryAt = (answers: Answers, at: number, path: string): Entry | null =>
  answers.entry(at, path);
const existsAt = (answers: Answers, at: number, path: string): boolean => answers.has(at, path);

function safePath(path: unknown): string {
  if (typeof path !== "string")
    throw argumentError("path", `must be a string, not ${showValue(path)}`);
  if (path.includes("\0")) throw argumentError("path", "must not hold a NUL byte");
  if (path !== "" && isUnsafe(path))
    throw new CopseError(
      "UNSAFE_PATH",
      'a path inside a store is relative, without empty, "." or ".." parts',
      { path },
    );
  return path;
}

function checkRange(range: ByteRange): { from: number; to?: number } {
  checkFields("range", range, ["start", "end"]);
  const { start = 0, end } = range;
  for (const [name, value] of Object.entries({ start, end }))
    if (value !== undefined && (!Number.isSafeInteger(value) || value < 0))
      throw argumentError(name, `must be a whole number of bytes, not ${showValue(value)}`);
  if (end === undefined) return { from: start };
  if (end < start) throw argumentError("end", `must not be before start (${start}), not ${end}`);
  return { from: start, to: end };
}
