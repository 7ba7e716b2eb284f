// Task: one native task as a promise and an async iterable.
//
// Pages that arrive before anybody iterates are decoded and collected for the awaited whole. From
// the first iteration on they are decoded when they are asked for and given back then, which is
// what holds a fast producer: two unread pages park the native task.

import {
  decodeDone,
  decodeProgress,
  type Done,
  type Engine,
  type Receiver,
  type Start,
} from "./engine.ts";
import { CopseError, codeName } from "./errors.ts";
import { keptBytes, pageBytes, type Native } from "./native/ffi.ts";
import { Code, Event, EventKind, Row } from "./native/abi.ts";
import { forget } from "./native/record.ts";
import { merge, type Sorted } from "./merge.ts";
import { Batches, Items } from "./parts.ts";
import { Details, withoutGap } from "./rows.ts";
import type { Progress, Task } from "./types.ts";

// After a cancellation the end is waited for this long, so that whoever sees the rejection finds
// everything stopped; a system call that cannot be interrupted must not hold the promise.
const CANCEL_MS = 90;
// A page that is kept is kept whole: where it holds less, it is copied.
const KEPT_BYTES = 32 * 1024;
const LATE_ROWS = 1000; // fewer are decoded for the whole, whoever asks
const SLICE_MS = 50; // of a waiting Sync form

/** How a task ended. */
export interface Ending extends Done {
  readonly milliseconds: number;
}

/** Sorting, at once or with turns for the event loop in between. */
export interface PartOrder<Part> {
  /** Told of each page's parts that are kept for the whole, and how many are before them. */
  keep?(before: number): void;
  now(parts: Part[]): Part[];
  /** Of two, for parts that may be late. */
  compare?(left: Part, right: Part): number;
  /** At once where there are few. Leaves `parts` as they are where there are many. */
  inSlices(parts: Part[]): Part[] | Promise<Part[]>;
}

/** Parts that wait to be made, in order. */
export interface Late<Part> {
  all(): Part[];
  /** One after the other, of which none is kept. */
  each(): Iterable<Part>;
}

/** What makes a native task this verb's task. */
export interface Verb<Whole, Part> {
  readonly request: Uint8Array;
  /** The parts of a page. The buffer is lent, unless the verb keeps it. */
  decode(buffer: ArrayBuffer, rows: number, heapAt: number): Part[];
  /** What it is given to decode belongs to it. */
  readonly keeps?: boolean;
  /** In which the whole gets its parts; absent: as they came. */
  readonly order?: PartOrder<Part>;
  /**
   * Whether the whole can be made without the parts of such a page. Where there are many of them they
   * wait as they came, and `whole` gets `late`, which makes all parts, instead.
   */
  canWait?(buffer: ArrayBuffer, rows: number): boolean;
  /** The parts of a page that waits in order, each made when it is asked for. */
  sorted?(buffer: ArrayBuffer, rows: number, heapAt: number): Sorted<Part>;
  /** `parts` is empty when the task was iterated. */
  whole(parts: Part[], ending: Ending, late?: Late<Part>): Whole;
  /** What is pushed to it. A Sync form takes what needs no waiting only. */
  readonly feed?: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /**
   * Takes pages that are bytes and no rows, one after the other, each held back until the one before
   * is done with. `answer` pushes. A Sync form cannot wait for a promise.
   */
  readonly listen?: (
    bytes: Uint8Array,
    answer: (bytes: Uint8Array) => void,
  ) => void | Promise<void>;
  /** It ended without a whole. */
  readonly failed?: (reason: unknown) => void;
}

export interface TaskOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

type Listen = NonNullable<Verb<unknown, unknown>["listen"]>;

interface LentPage {
  readonly address: number;
  readonly size: number;
  readonly rows: number;
  readonly heapAt: number;
}

/** One that came with its event. */
interface OwnPage {
  readonly buffer: ArrayBuffer;
  readonly rows: number;
  readonly heapAt: number;
}

type State = Task<unknown, unknown>["state"];

const ignore = (): void => {};

const PUSH_BYTES = 256 * 1024; // at once; native code takes up to a megabyte before it asks to wait
// No bytes end what is pushed; the address must be one all the same.
const nothing = new Uint8Array(0);
const somewhere = new Uint8Array(1);

/** Whether the bytes were taken; `wait`: there is no room now; `over`: the task has ended. */
function pushTo(native: Native, id: number, bytes: Uint8Array): "taken" | "wait" | "over" {
  const code = native.copse_task_push(id, bytes.length ? bytes : somewhere, bytes.length);
  if (code >= 0) return "taken";
  if (code === Code.BUSY) return "wait";
  if (code === Code.CLOSED || code === Code.CANCELLED) return "over";
  throw new CopseError(codeName(code), "the content could not be handed over");
}

/** The error of a task that ended with a code. */
function fetchError(native: Native, id: number, code: number): CopseError {
  let bytes = new Uint8Array(1024);
  const size = native.copse_task_error(id, bytes, bytes.length);
  if (size < 0) return new CopseError(codeName(code), "it failed, and its details are gone");
  if (size > bytes.length) native.copse_task_error(id, (bytes = new Uint8Array(size)), size);
  return new Details(bytes.subarray(0, size)).error();
}

/** A page that is ours from now on. */
function keepPage(native: Native, id: number, page: LentPage | OwnPage): OwnPage {
  if ("buffer" in page) return page;
  const { address, size, rows, heapAt } = page;
  if (size >= KEPT_BYTES && native.copse_page_keep(id, address) === 0)
    return { buffer: keptBytes(address, size), rows, heapAt };
  try {
    return { buffer: pageBytes(address, size).slice(0), rows, heapAt };
  } finally {
    native.copse_page_release(id, address);
  }
}

/** The same for long: what is mostly gap is copied without it. */
function keepWaiting(native: Native, id: number, page: LentPage | OwnPage): OwnPage {
  const { rows, heapAt } = page;
  const gap = heapAt - rows * Row.size;
  const size = "buffer" in page ? page.buffer.byteLength : page.size;
  if ("buffer" in page || gap * 4 < size) return keepPage(native, id, page);
  try {
    const buffer = withoutGap(pageBytes(page.address, size), rows, heapAt);
    return { buffer, rows, heapAt: heapAt - gap };
  } finally {
    native.copse_page_release(id, page.address);
  }
}

/** The parts of a page, which is given back or kept. */
function decodePage<Part>(
  native: Native,
  id: number,
  verb: Verb<unknown, Part>,
  page: LentPage | OwnPage,
): Part[] {
  if (verb.keeps || "buffer" in page) {
    const { buffer, rows, heapAt } = keepPage(native, id, page);
    return verb.decode(buffer, rows, heapAt);
  }
  const { address, size, rows, heapAt } = page;
  try {
    return verb.decode(pageBytes(address, size), rows, heapAt);
  } finally {
    native.copse_page_release(id, address);
  }
}

/** What came while nobody iterated: parts, and pages that wait to become parts. */
class Collected<Part> {
  readonly #native: Native;
  readonly #verb: Verb<unknown, Part>;
  #parts: Part[] = [];
  #waiting: OwnPage[] = [];
  #rows = 0;

  constructor(native: Native, verb: Verb<unknown, Part>) {
    this.#native = native;
    this.#verb = verb;
  }

  add(id: number, page: LentPage | OwnPage): void {
    const { canWait } = this.#verb;
    if (canWait) {
      const kept = keepWaiting(this.#native, id, page);
      if (canWait(kept.buffer, kept.rows)) {
        this.#waiting.push(kept);
        this.#rows += kept.rows;
        return;
      }
      page = kept;
    }
    this.#append(decodePage(this.#native, id, this.#verb, page));
  }

  #append(more: Part[]): void {
    this.#verb.order?.keep?.(this.#parts.length);
    this.#parts = this.#parts.length > 0 ? append(this.#parts, more) : more;
  }

  /** So many that they are made when they are asked for. */
  get areMany(): boolean {
    return this.#rows >= LATE_ROWS;
  }

  /** All of them. The array is the whole's: it may be put in order. */
  all(): Part[] {
    if (this.#waiting.length === 0) return this.#parts;
    const last = this.#parts; // a page that cannot wait comes after those that can
    this.#parts = [];
    for (const { buffer, rows, heapAt } of this.#waiting)
      this.#append(this.#verb.decode(buffer, rows, heapAt));
    this.#waiting = [];
    append(this.#parts, last);
    return this.#parts;
  }

  get late(): Late<Part> {
    const { order, sorted } = this.#verb;
    const all = (): Part[] => order?.now(this.all()) ?? this.all();
    return {
      all,
      each: () => {
        if (!order?.compare || !sorted || this.#waiting.length === 0) return all();
        const runs = this.#waiting.map(({ buffer, rows, heapAt }) => sorted(buffer, rows, heapAt));
        return merge([...runs, order.now([...this.#parts])], order.compare);
      },
    };
  }

  /** All that is there, for whoever iterates; then there is nothing. */
  take(): Part[] {
    const parts = this.all();
    this.drop();
    return parts;
  }

  drop(): void {
    this.#parts = [];
    this.#waiting = [];
    this.#rows = 0;
  }
}

/** A native task from its start to its end: what the engine calls, and what a Task stands on. */
export class Running<Whole, Part> implements Receiver {
  readonly engine: Engine;
  readonly #verb: Verb<Whole, Part>;
  readonly #options: TaskOptions;
  readonly #start: Start;
  readonly #began = performance.now();
  readonly #settled = Promise.withResolvers<Whole>();
  state: State = "queued";
  totals: Progress = { files: 0, bytes: 0 };
  /** The native id, from `started` to the end. */
  id = 0;
  /** Called when the task can take more pushed bytes, or has ended. */
  #onRoom: (() => void) | undefined;
  #isIterated = false;
  #isTold = false;
  /** For the whole, or for an iteration that may still begin. */
  readonly #collected: Collected<Part>;
  #pages: (LentPage | OwnPage)[] = [];
  /** DONE came; pages may still wait to be read. */
  #done: Ending | undefined;
  /** It is to end with this, whatever native code says. */
  #stopped: { readonly state: "failed" | "cancelled"; readonly reason: unknown } | undefined;
  #cancelTimer: Timer | undefined;
  /** Pages that are heard, or wait for it. */
  #hearing = 0;
  #heard: Promise<void> = Promise.resolve();
  readonly #tellEnd: ReturnType<Engine["observe"]>;
  #changed: (() => void) | undefined;

  constructor(engine: Engine, verb: Verb<Whole, Part>, options: TaskOptions) {
    this.engine = engine;
    this.#verb = verb;
    this.#collected = new Collected(engine.native, verb);
    this.#options = options;
    this.#tellEnd = engine.observe(verb.request);
    this.#start = { request: verb.request, signal: options.signal, receiver: this };
    if (options.signal?.aborted) this.#reject("cancelled", options.signal.reason);
    else engine.start(this.#start);
  }

  get promise(): Promise<Whole> {
    return this.#settled.promise;
  }

  get isSettled(): boolean {
    return this.state !== "queued" && this.state !== "running";
  }

  get isStopped(): boolean {
    return this.#stopped !== undefined;
  }

  // ── What the engine says ──

  started(id: number): void {
    this.id = id;
    this.state = "running";
    const { feed } = this.#verb;
    if (feed)
      this.#feed(feed()).catch((error: unknown) => {
        this.#stop("failed", error);
      });
  }

  page(address: number, size: number, rows: number, heapAt: number): void {
    const { listen } = this.#verb;
    if (rows > 0 || !listen) return this.#came({ address, size, rows, heapAt });
    this.#hearing += 1;
    this.#heard = this.#heard.then(() => this.#hear(listen, address, size));
  }

  rows(buffer: ArrayBuffer, rows: number, heapAt: number): void {
    this.#came({ buffer, rows, heapAt });
  }

  #came(page: LentPage | OwnPage): void {
    this.#pages.push(page);
    try {
      // What was cancelled is decoded by nobody; its pages go with the task.
      if (!this.#isIterated && !this.#stopped)
        for (const page of this.#pages.splice(0)) this.#collected.add(this.id, page);
    } catch (error) {
      this.#stop("failed", error);
    }
    this.#wake();
  }

  progress(progress: Progress): void {
    this.totals = progress;
    try {
      this.#options.onProgress?.({ ...this.totals });
    } catch (error) {
      this.#stop("failed", error);
    }
  }

  room(): void {
    this.#onRoom?.();
  }

  done(done: Done): void {
    clearTimeout(this.#cancelTimer);
    const { plannedBytes: _, ...known } = this.totals;
    this.totals = { ...known, files: done.files, bytes: done.bytes };
    this.#done = { ...done, milliseconds: performance.now() - this.#began };
    const isRead = this.#pages.length === 0 && this.#hearing === 0;
    if (isRead || done.code < 0 || this.#stopped) this.#end(this.#done);
  }

  aborted(reason: unknown): void {
    this.cancel(reason);
  }

  refused(error: CopseError): void {
    clearTimeout(this.#cancelTimer);
    this.#close(true); // with its pages it went already
    if (this.isSettled) return;
    if (this.#stopped) this.#reject(this.#stopped.state, this.#stopped.reason);
    else this.#reject("failed", error);
  }

  // ── What the user wants ──

  cancel(reason: unknown): void {
    // Rows that somebody began to take may never be taken.
    if (this.#isIterated || !this.#isLate()) this.#stop("cancelled", reason);
  }

  /** From now on pages wait until they are asked for. */
  iterate(): void {
    if (this.#isIterated)
      throw new CopseError("ARGUMENT", "a task can be iterated once: start another one");
    this.#isIterated = true;
    // Whoever iterates sees the failure there.
    this.promise.catch(ignore);
  }

  /** The next parts, as they come. undefined: the end. Throws what the task failed with. */
  async nextBatch(): Promise<readonly Part[] | undefined> {
    for (;;) {
      if (this.isStopped) {
        await this.promise; // rejects
        return undefined;
      }
      const before = this.#beforeIteration();
      if (before.length > 0) return before;
      const parts = this.isSettled ? undefined : this.#takePage();
      this.#endWhenRead();
      if (parts && parts.length > 0) return parts;
      if (parts) continue;
      if (this.isSettled) {
        await this.promise;
        return undefined;
      }
      await new Promise<void>((resolve) => (this.#changed = resolve));
    }
  }

  /** What was collected, once. After the end the whole has it: a copy. */
  #beforeIteration(): readonly Part[] {
    if (!this.isSettled) return this.#collected.take();
    const parts = this.#isTold ? [] : [...this.#collected.all()];
    this.#isTold = true;
    return parts;
  }

  /** Nobody wants more: what runs is stopped, and waited for. */
  async leave(reason?: unknown): Promise<void> {
    this.#isTold = true;
    if (!this.isSettled) {
      this.#collected.drop();
      const left = reason ?? new CopseError("CANCELLED", "the task was left before its end");
      this.#stop("cancelled", left);
    }
    await this.promise.then(ignore, ignore);
  }

  // ── Inside ──

  /** DONE came, and all that came before it was looked at. */
  #endWhenRead(): void {
    const isRead = this.#pages.length === 0 && this.#hearing === 0;
    if (this.#done && isRead && !this.isSettled) this.#end(this.#done);
  }

  /** A page of bytes, whose room is free again when what it says is done with. */
  async #hear(listen: Listen, address: number, size: number): Promise<void> {
    try {
      // A copy: the page may go with the task while somebody still looks at it.
      if (!this.#stopped && this.id !== 0)
        await listen(new Uint8Array(pageBytes(address, size).slice(0)), (answer) => {
          if (this.id !== 0) pushTo(this.engine.native, this.id, answer);
        });
    } catch (error) {
      this.#stop("failed", error);
    }
    if (this.id !== 0) this.engine.native.copse_page_release(this.id, address);
    this.#hearing -= 1;
    this.#endWhenRead();
    this.#wake();
  }

  async #feed(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void> {
    for await (const chunk of chunks)
      for (let at = 0; at < chunk.length; at += PUSH_BYTES)
        if (!(await this.#push(chunk.subarray(at, at + PUSH_BYTES)))) return;
    await this.#push(nothing);
  }

  /** False: the task has ended, and its outcome tells why. */
  async #push(bytes: Uint8Array): Promise<boolean> {
    for (;;) {
      if (this.isSettled || this.#stopped) return false;
      // Set before the push: the room may be there before we wait for it.
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onRoom = resolve;
      const said = pushTo(this.engine.native, this.id, bytes);
      if (said !== "wait") return said === "taken";
      await promise;
    }
  }

  /** What it makes is getting its name, and a cancellation comes too late for it. */
  #isLate(): boolean {
    return this.id !== 0 && this.engine.native.copse_task_cancel(this.id) === 1;
  }

  #stop(state: "failed" | "cancelled", reason: unknown): void {
    if (this.isSettled || this.#stopped) return;
    this.#stopped = { state, reason };
    if (this.#done) {
      // Ended, but pages are unread, and now nobody wants them: what is left is not the whole.
      this.#end(this.#done);
    } else if (this.engine.withdraw(this.#start)) {
      this.#reject(state, reason);
    } else {
      this.engine.native.copse_task_cancel(this.id);
      this.#cancelTimer = setTimeout(() => {
        this.#close(false);
        this.#reject(state, reason);
      }, CANCEL_MS);
    }
  }

  #wake(): void {
    const changed = this.#changed;
    this.#changed = undefined;
    changed?.();
  }

  #takePage(): Part[] | undefined {
    const page = this.#pages.shift();
    return page && decodePage(this.engine.native, this.id, this.#verb, page);
  }

  /** DONE came, and every page is read or unwanted. */
  #end(done: Ending): void {
    const { code } = done;
    const error = code < 0 ? fetchError(this.engine.native, this.id, code) : undefined;
    this.#close(true);
    if (this.#stopped) this.#reject(this.#stopped.state, this.#stopped.reason);
    else if (error) this.#reject(code === Code.CANCELLED ? "cancelled" : "failed", error);
    else this.#resolve(done);
  }

  #close(isDone: boolean): void {
    const { id } = this;
    this.id = 0;
    this.#pages = [];
    this.engine.closeTask(this, id, this.#options.signal, isDone);
  }

  #resolve(done: Ending): void {
    if (!this.#isIterated && this.#collected.areMany) {
      this.#succeed([], done, this.#collected.late);
      return;
    }
    const parts = this.#isIterated ? [] : this.#collected.all();
    const ordered = this.#verb.order?.inSlices(parts) ?? parts;
    if (!(ordered instanceof Promise)) this.#succeed(ordered, done);
    else
      ordered.then(
        (sorted) => {
          // Meanwhile it may have been stopped, or somebody may have begun to iterate it.
          if (!this.isSettled) this.#succeed(this.#isIterated ? [] : sorted, done);
        },
        (error: unknown) => {
          if (!this.isSettled) this.#reject("failed", error);
        },
      );
  }

  #succeed(parts: Part[], done: Ending, late?: Late<Part>): void {
    let whole: Whole;
    try {
      whole = this.#verb.whole(parts, done, late);
    } catch (error) {
      this.#reject("failed", error);
      return;
    }
    this.#settle("done");
    this.#settled.resolve(whole);
    this.#onRoom?.();
    this.#wake();
  }

  #settle(state: "done" | "failed" | "cancelled", error?: unknown): void {
    this.state = state;
    const { files, bytes } = this.totals;
    const milliseconds = this.#done?.milliseconds ?? performance.now() - this.#began;
    this.#tellEnd({ state, milliseconds, files, bytes, error });
  }

  #reject(state: "failed" | "cancelled", reason: unknown): void {
    this.#settle(state, reason);
    // What somebody cancelled on purpose is no unhandled rejection.
    if (state === "cancelled") this.promise.catch(ignore);
    this.#verb.failed?.(reason);
    this.#settled.reject(reason);
    this.#onRoom?.();
    this.#wake();
  }
}

/** Not `push(...parts)`: there may be more parts than a call takes arguments. */
function append<T>(all: T[], more: readonly T[]): T[] {
  for (const one of more) all.push(one);
  return all;
}

/** A Task over a native one. */
export class NativeTask<Whole, Part> implements Task<Whole, Part> {
  readonly #running: Running<Whole, Part>;

  constructor(engine: Engine, verb: Verb<Whole, Part>, options: TaskOptions) {
    this.#running = new Running(engine, verb, options);
  }

  get [Symbol.toStringTag](): string {
    return "Task";
  }

  get state(): State {
    return this.#running.state;
  }

  get progress(): Progress {
    return { ...this.#running.totals };
  }

  // oxlint-disable-next-line unicorn/no-thenable -- a task is a promise
  then<A = Whole, B = never>(
    done?: ((value: Whole) => A | PromiseLike<A>) | null,
    failed?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#running.promise.then(done, failed);
  }

  catch<B = never>(failed?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<Whole | B> {
    return this.#running.promise.catch(failed);
  }

  finally(settled?: (() => void) | null): Promise<Whole> {
    return this.#running.promise.finally(settled);
  }

  cancel(reason?: unknown): void {
    this.#running.cancel(reason ?? new CopseError("CANCELLED", "the task was cancelled"));
  }

  batches(): AsyncIterableIterator<readonly Part[], void, void> {
    this.#running.iterate();
    return new Batches(this.#running);
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Part, void, void> {
    this.#running.iterate();
    return new Items(this.#running);
  }

  toReadableStream(): ReadableStream<Part> {
    this.#running.iterate();
    const items = new Items(this.#running);
    return new ReadableStream<Part>(
      {
        async pull(controller) {
          const { done, value } = await items.next();
          if (done) controller.close();
          else controller.enqueue(value);
        },
        cancel: (reason) => items.leave(reason),
      },
      { highWaterMark: 0 },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running.leave();
  }
}

// ── The same task, waited for on this thread ──

function refuseToWait(): never {
  throw new CopseError("ARGUMENT", "that has to be waited for: use the form that is not Sync");
}

/** Pushes as much as is taken; true: there is no more. */
function feeder(native: Native, id: number, verb: Verb<unknown, unknown>): () => boolean {
  const chunks = verb.feed?.();
  if (!chunks) return () => true;
  if (!(Symbol.iterator in chunks)) refuseToWait();
  const iterator = piecesOf(chunks);
  let next = iterator.next();
  return () => {
    while (!next.done) {
      const said = pushTo(native, id, next.value);
      if (said === "wait") return false;
      if (said === "over") iterator.return(undefined);
      next = said === "over" ? { done: true, value: undefined } : iterator.next();
    }
    return true;
  };
}

function* piecesOf(chunks: Iterable<Uint8Array>): Generator<Uint8Array, undefined> {
  for (const chunk of chunks)
    for (let at = 0; at < chunk.length; at += PUSH_BYTES) yield chunk.subarray(at, at + PUSH_BYTES);
  yield nothing;
  return undefined;
}

/** In slices, so that Ctrl-C is noticed between them. */
export function runSync<Whole, Part>(
  engine: Engine,
  verb: Verb<Whole, Part>,
  options: TaskOptions,
): Whole {
  options.signal?.throwIfAborted();
  engine.checkOpen();
  const { native } = engine;
  const began = performance.now();
  const tellEnd = engine.observe(verb.request);
  const tell = (state: "done" | "failed", { files, bytes }: Progress, error?: unknown): void =>
    tellEnd({ state, milliseconds: performance.now() - began, files, bytes, error });
  let totals: Progress = { files: 0, bytes: 0 };
  const id = startWaited(native, engine.id, verb.request);
  const events = new Uint8Array(8 * Event.size);
  const view = new DataView(events.buffer);
  const number = (at: number): number =>
    view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
  const collected = new Collected(native, verb);
  const answer = (bytes: Uint8Array): void => {
    pushTo(native, id, bytes);
  };
  try {
    const feed = feeder(native, id, verb as Verb<unknown, unknown>);
    for (let isFed = false; ;) {
      isFed ||= feed();
      const taken = native.copse_task_wait(id, events, 8, SLICE_MS);
      if (taken < 0) throw new CopseError(codeName(taken), "the runtime was closed while it ran");
      for (let at = 0; at < taken * Event.size; at += Event.size) {
        switch (view.getUint32(at + Event.kind, true)) {
          case EventKind.PAGE: {
            const address = number(at + Event.page);
            const size = number(at + Event.page_size);
            const rows = view.getUint32(at + Event.rows, true);
            if (rows === 0 && verb.listen) {
              const wait = verb.listen(new Uint8Array(pageBytes(address, size).slice(0)), answer);
              native.copse_page_release(id, address);
              if (wait) refuseToWait();
              break;
            }
            const heapAt = view.getUint32(at + Event.heap_at, true);
            collected.add(id, { address, size, rows, heapAt });
            break;
          }
          case EventKind.PROGRESS: {
            options.onProgress?.(decodeProgress(view, at));
            break;
          }
          case EventKind.DONE: {
            const done = decodeDone(view, at);
            totals = done;
            if (done.code < 0) throw fetchError(native, id, done.code);
            const ending = { ...done, milliseconds: performance.now() - began };
            const { late } = collected;
            const whole = collected.areMany
              ? verb.whole([], ending, late)
              : verb.whole(late.all(), ending);
            tell("done", totals);
            return whole;
          }
        }
      }
    }
  } catch (error) {
    tell("failed", totals, error);
    verb.failed?.(error);
    throw error;
  } finally {
    native.copse_task_close(id);
  }
}

function startWaited(native: Native, runtime: number, record: Uint8Array): number {
  const request = new Uint8Array(4 + record.length);
  new DataView(request.buffer).setUint32(0, record.length, true);
  request.set(record, 4);
  const ids = new BigUint64Array(1);
  const started = native.copse_task_start(runtime, request, request.length, ids, 1);
  if (forget(record)) request.fill(0);
  if (started < 1)
    throw new CopseError(codeName(started), "the task could not be started: too many run at once");
  return Number(ids[0]);
}
