// Task: one native task as a promise and an async iterable.
//
// Pages that arrive before anybody iterates are decoded and collected for the awaited whole. From the first iteration
// on they are decoded when they are asked for and given back then, which is what holds a fast producer: two unread pages
// park the native task.

import { CopseError, codeName } from "./errors.ts";
import { pageBytes } from "./native/ffi.ts";
import { Code, Event, EventKind } from "./native/abi.ts";
import { Details } from "./rows.ts";
import type { Engine, Receiver } from "./runtime.ts";
import type { Progress, Task } from "./types.ts";

// After a cancellation the end is waited for this long, so that whoever sees the rejection finds everything stopped;
// a system call that cannot be interrupted must not hold the promise.
const CANCEL_MS = 90;

/** How a task ended. */
export interface Ending {
  readonly flags: number;
  readonly files: number;
  readonly bytes: number;
  readonly errors: number;
  readonly milliseconds: number;
}

/** What makes a native task this verb's task. */
export interface Verb<Whole, Part> {
  readonly request: Uint8Array;
  /** The parts of a page. The buffer is lent. */
  decode(buffer: ArrayBuffer, rows: number, heapAt: number): Part[];
  whole(parts: Part[], ending: Ending): Whole;
}

export interface TaskOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

interface LentPage {
  readonly address: number;
  readonly size: number;
  readonly rows: number;
  readonly heapAt: number;
}

/** The error of a task that ended with a code. */
function fetchError(engine: Engine, id: number, code: number): CopseError {
  let bytes = new Uint8Array(1024);
  const size = engine.native.copse_task_error(id, bytes, bytes.length);
  if (size < 0) return new CopseError(codeName(code), "it failed, and its details are gone");
  if (size > bytes.length) engine.native.copse_task_error(id, (bytes = new Uint8Array(size)), size);
  return new Details(bytes.subarray(0, size)).error();
}

export class NativeTask<Whole, Part> implements Task<Whole, Part> {
  readonly [Symbol.toStringTag] = "Promise";
  readonly #engine: Engine;
  readonly #verb: Verb<Whole, Part>;
  readonly #signal: AbortSignal | undefined;
  readonly #onProgress: ((progress: Progress) => void) | undefined;
  readonly #began = performance.now();
  readonly #settled = Promise.withResolvers<Whole>();
  #state: "queued" | "running" | "done" | "failed" | "cancelled" = "queued";
  #progress: Progress = { files: 0, bytes: 0 };
  #id = 0;
  #iterated = false;
  /** For the whole; of an iterated task what came before the iteration and was not taken yet. */
  #parts: Part[] = [];
  #pages: LentPage[] = [];
  /** DONE was seen; the promise may still wait for the reader. */
  #ending: { code: number; ending: Ending } | undefined;
  #cancelReason: { reason: unknown } | undefined;
  #cancelTimer: Timer | undefined;
  #changed: (() => void) | undefined;
  #onAbort: (() => void) | undefined;
  /** Room for pushed bytes (WRITE). */
  onRoom: ((bytes: number) => void) | undefined;

  constructor(engine: Engine, verb: Verb<Whole, Part>, options: TaskOptions, token: number) {
    this.#engine = engine;
    this.#verb = verb;
    this.#signal = options.signal;
    this.#onProgress = options.onProgress;
    if (options.signal?.aborted) {
      this.#reject("cancelled", options.signal.reason);
      return;
    }
    if (options.signal) {
      // The engine's own listener stops the native side; this one keeps the promise from waiting too long.
      this.#onAbort = () => this.#cancelled(options.signal?.reason);
      options.signal.addEventListener("abort", this.#onAbort, { once: true });
    }
    engine.start({ request: verb.request, receiver: this.#receiver, token });
  }

  // What the engine calls. An object of its own, so that none of it shows on the task.
  readonly #receiver: Receiver = {
    started: (id) => this.#started(id),
    page: (address, size, rows, heapAt) => this.#page({ address, size, rows, heapAt }),
    progress: (files, bytes, totalBytes) => this.#progressed(files, bytes, totalBytes),
    room: (bytes) => this.onRoom?.(bytes),
    done: (code, flags, files, bytes, errors) => this.#done(code, flags, files, bytes, errors),
    refused: (error) => this.#refused(error),
  };

  // ── What the user sees ──

  get state(): "queued" | "running" | "done" | "failed" | "cancelled" {
    return this.#state;
  }

  get progress(): Progress {
    return { ...this.#progress };
  }

  /** The native id, once it started (WRITE pushes to it). */
  get id(): number {
    return this.#id;
  }

  then<A = Whole, B = never>(
    done?: ((value: Whole) => A | PromiseLike<A>) | null,
    failed?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#settled.promise.then(done, failed);
  }

  catch<B = never>(failed?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<Whole | B> {
    return this.then(undefined, failed);
  }

  finally(done?: (() => void) | null): Promise<Whole> {
    return this.#settled.promise.finally(done);
  }

  cancel(reason?: unknown): void {
    if (this.#ending || this.#isSettled()) {
      // Ended, but a reader may still hold pages: they are not wanted any more.
      this.#letGo();
      return;
    }
    this.#cancelled(reason === undefined ? new CopseError("CANCELLED", "the task was cancelled") : reason);
  }

  async *batches(): AsyncGenerator<readonly Part[], void, void> {
    this.#iterate();
    try {
      for (;;) {
        const batch = this.#take();
        if (batch) {
          if (batch.length > 0) yield batch;
          continue;
        }
        if (this.#isSettled() || this.#ending) break;
        await new Promise<void>((resolve) => (this.#changed = resolve));
      }
      await this.#settled.promise; // throws what the task failed with
    } finally {
      await this.#leave();
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Part, void, void> {
    for await (const batch of this.batches()) yield* batch;
  }

  toReadableStream(): ReadableStream<Part> {
    const iterator = this[Symbol.asyncIterator]();
    // Not after a pull that waits: the cancellation is what ends it.
    const stop = (reason: unknown): void => this.cancel(reason);
    return new ReadableStream<Part>(
      {
        async pull(controller) {
          const { done, value } = await iterator.next();
          if (done) controller.close();
          else controller.enqueue(value);
        },
        async cancel(reason) {
          stop(reason);
          await iterator.return();
        },
      },
      { highWaterMark: 0 },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#leave();
  }

  // ── What the engine says ──

  #started(id: number): void {
    this.#id = id;
    if (this.#state === "queued") this.#state = "running";
    if (this.#cancelReason) this.#engine.native.copse_task_cancel(id);
  }

  #page(page: LentPage): void {
    this.#pages.push(page);
    if (!this.#iterated) this.#collect();
    this.#wake();
  }

  #progressed(files: number, bytes: number, totalBytes: number | undefined): void {
    this.#progress = totalBytes === undefined ? { files, bytes } : { files, bytes, totalBytes };
    try {
      this.#onProgress?.(this.progress);
    } catch (error) {
      this.#cancelled(error);
    }
  }

  #done(code: number, flags: number, files: number, bytes: number, errors: number): void {
    clearTimeout(this.#cancelTimer);
    if (this.#isSettled()) return;
    this.#progress = { ...this.#progress, files, bytes };
    const milliseconds = performance.now() - this.#began;
    this.#ending = { code, ending: { flags, files, bytes, errors, milliseconds } };
    if (this.#pages.length === 0 || code < 0) this.#end();
    this.#wake();
  }

  #refused(error: CopseError): void {
    clearTimeout(this.#cancelTimer);
    this.#id = 0; // its pages went with it
    this.#pages = [];
    if (!this.#isSettled()) this.#fail(error);
    this.#wake();
  }

  // ── Inside ──

  #isSettled(): boolean {
    return this.#state === "done" || this.#state === "failed" || this.#state === "cancelled";
  }

  #wake(): void {
    const changed = this.#changed;
    this.#changed = undefined;
    changed?.();
  }

  #decode(page: LentPage): Part[] {
    try {
      return this.#verb.decode(pageBytes(page.address, page.size), page.rows, page.heapAt);
    } finally {
      this.#engine.native.copse_page_release(this.#id, page.address);
    }
  }

  #collect(): void {
    for (const page of this.#pages.splice(0)) for (const part of this.#decode(page)) this.#parts.push(part);
  }

  #iterate(): void {
    if (this.#iterated) throw new CopseError("ARGUMENT", "a task can be iterated once; start another one, or collect its rows");
    this.#iterated = true;
    // Whoever iterates sees the failure there.
    this.#settled.promise.catch(() => {});
  }

  /** The next batch for the iterator; undefined: nothing now. */
  #take(): Part[] | undefined {
    if (this.#parts.length > 0) return this.#parts.splice(0);
    const page = this.#pages.shift();
    if (!page) return undefined;
    const parts = this.#decode(page);
    if (this.#ending && this.#pages.length === 0) this.#end();
    return parts;
  }

  /** DONE was seen and every page is read. */
  #end(): void {
    const { code, ending } = this.#ending!;
    if (code < 0 && this.#pages.length > 0) this.#pages = []; // freed with the task
    if (code === 0) {
      this.#free();
      this.#state = "done";
      try {
        this.#settled.resolve(this.#verb.whole(this.#iterated ? [] : this.#parts, ending));
      } catch (error) {
        this.#settled.reject(error);
      }
      return;
    }
    const error = fetchError(this.#engine, this.#id, code);
    this.#free();
    if (code === Code.CANCELLED && this.#signal?.aborted) this.#reject("cancelled", this.#signal.reason);
    else if (code === Code.CANCELLED) this.#reject("cancelled", this.#cancelReason ? this.#cancelReason.reason : error);
    else this.#fail(error);
  }

  #fail(error: unknown): void {
    this.#reject(this.#cancelReason || this.#signal?.aborted ? "cancelled" : "failed", this.#cancelReason ? this.#cancelReason.reason : error);
  }

  #reject(state: "failed" | "cancelled", reason: unknown): void {
    this.#state = state;
    clearTimeout(this.#cancelTimer);
    this.#forget();
    // What somebody cancelled on purpose is no unhandled rejection.
    if (state === "cancelled") this.#settled.promise.catch(() => {});
    this.#settled.reject(reason);
    this.#wake();
  }

  #forget(): void {
    if (this.#onAbort) this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#onAbort = undefined;
  }

  /** The native task is not needed any more: its id and pages go. */
  #free(): void {
    this.#forget();
    if (this.#id === 0) return;
    this.#engine.native.copse_task_close(this.#id);
    this.#id = 0;
  }

  #cancelled(reason: unknown): void {
    if (this.#isSettled() || this.#cancelReason) return;
    this.#cancelReason = { reason };
    if (this.#engine.withdraw(this.#receiver)) {
      this.#reject("cancelled", reason);
      return;
    }
    if (this.#id !== 0) this.#engine.native.copse_task_cancel(this.#id);
    this.#cancelTimer = setTimeout(() => {
      if (this.#isSettled()) return;
      const id = this.#id;
      this.#id = 0;
      this.#pages = [];
      if (id !== 0) this.#engine.abandon(id);
      this.#reject("cancelled", reason);
    }, CANCEL_MS);
  }

  /** Ended natively, pages unread and unwanted. */
  #letGo(): void {
    if (!this.#ending || this.#isSettled()) return;
    this.#pages = [];
    this.#end();
  }

  /** The reader left: what runs is stopped and waited for. */
  async #leave(): Promise<void> {
    if (!this.#isSettled()) this.cancel();
    await this.#settled.promise.then(
      () => {},
      () => {},
    );
    this.#parts = [];
  }
}

/** The same task, waited for on this thread: in slices, so that signals of the process are noticed. */
export function runSync<Whole, Part>(engine: Engine, verb: Verb<Whole, Part>, options: TaskOptions): Whole {
  const SLICE_MS = 50;
  options.signal?.throwIfAborted();
  engine.checkOpen();
  const { native } = engine;
  const began = performance.now();
  const request = new Uint8Array(4 + verb.request.length);
  new DataView(request.buffer).setUint32(0, verb.request.length, true);
  request.set(verb.request, 4);
  const ids = new BigUint64Array(1);
  const started = native.copse_task_start(engine.id, request, request.length, ids, 1);
  if (started < 1) throw new CopseError(codeName(started), "the task could not be started");
  const id = Number(ids[0]);
  const events = new Uint8Array(8 * Event.size);
  const view = new DataView(events.buffer);
  const number = (at: number): number => view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
  const parts: Part[] = [];
  try {
    for (;;) {
      const taken = native.copse_task_wait(id, events, 8, SLICE_MS);
      if (taken < 0) throw new CopseError(codeName(taken), "the runtime was closed while the task ran");
      for (let at = 0; at < taken * Event.size; at += Event.size) {
        const kind = view.getUint32(at + Event.kind, true);
        if (kind === EventKind.PAGE) {
          const address = number(at + Event.page);
          const buffer = pageBytes(address, number(at + Event.page_size));
          for (const part of verb.decode(buffer, view.getUint32(at + Event.rows, true), view.getUint32(at + Event.heap_at, true)))
            parts.push(part);
          native.copse_page_release(id, address);
        } else if (kind === EventKind.DONE) {
          const code = view.getInt32(at + Event.code, true);
          if (code < 0) throw fetchError(engine, id, code);
          return verb.whole(parts, {
            flags: view.getUint32(at + Event.heap_at, true),
            files: number(at + Event.files),
            bytes: number(at + Event.bytes),
            errors: number(at + Event.total_bytes),
            milliseconds: performance.now() - began,
          });
        }
      }
    }
  } finally {
    native.copse_task_close(id);
  }
}
