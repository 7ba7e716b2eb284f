// Runtime: the native threads and the wake loop that brings their events to this JavaScript thread.
//
// The loop reads the wake descriptor while tasks run and for a short linger after the last one, because an open
// reader keeps the process alive and opening one per task costs five times the throughput.

import { argumentError, CopseError, codeName, escapeForMessage } from "./errors.ts";
import { Code, Event, EventKind, Io, Option, Stats } from "./native/abi.ts";
import { libraryPath, native, type Native } from "./native/ffi.ts";
import { Record } from "./native/record.ts";
import type { RuntimeInfo, RuntimeOptions, RuntimeStats } from "./types.ts";

const EVENTS = 256; // taken per drain call
const DRAIN_EVENTS = 4096; // and this many, or
const DRAIN_MS = 2; // this long, before the event loop gets its turn
const LINGER_MS = 20;
const IN_FLIGHT = 1024; // native tasks of one runtime; the rest waits here, first in first out
const GRACE_DEFAULT_MS = 10_000;

/** Who gets a task's events. Pages are lent until `release`. */
export interface Receiver {
  /** It has its id now. */
  started(id: number): void;
  page(address: number, size: number, rows: number, heapAt: number): void;
  progress(files: number, bytes: number, totalBytes: number | undefined): void;
  room(bytes: number): void;
  /** The last event. `errors`: ERROR rows. */
  done(code: number, flags: number, files: number, bytes: number, errors: number): void;
  /** It could not be started, or its runtime is gone. */
  refused(error: CopseError): void;
}

/** What the wake loop needs of a stream's reader. */
interface Reader {
  read(): Promise<{ readonly done: boolean }>;
  cancel(): Promise<void>;
}

interface Waiting {
  readonly request: Uint8Array;
  readonly receiver: Receiver;
  readonly token: number;
}

interface Token {
  readonly number: number;
  readonly signal: AbortSignal;
}

function openNative(): Native {
  try {
    return native();
  } catch (cause) {
    throw new CopseError("UNSUPPORTED", cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

const forgotten = new FinalizationRegistry<{ native: Native; id: number }>(({ native, id }) => native.copse_runtime_close(id));

/** The native runtime behind a Runtime. Everything in lib/ but the public class works with this one. */
export class Engine {
  readonly native: Native;
  readonly id: number;
  #fd: number;
  #receivers = new Map<number, Receiver>();
  #waiting: Waiting[] = [];
  #flushing = false;
  #batch = new Uint8Array(4096);
  #ids = new BigUint64Array(64);
  #events = new Uint8Array(EVENTS * Event.size);
  #view = new DataView(this.#events.buffer);
  #reader: Reader | undefined;
  #linger: Timer | undefined;
  #tokens = new WeakMap<AbortSignal, Token>();
  #lastToken = 0;
  #idle: (() => void)[] = [];
  state: "open" | "draining" | "closed" = "open";

  constructor(options: Uint8Array) {
    this.native = openNative();
    const id = new BigUint64Array(1);
    const code = this.native.copse_runtime_open(options, options.length, id);
    if (code < 0) throw new CopseError(codeName(code), "the runtime could not be opened; check its options and the limits on files and threads");
    this.id = Number(id[0]);
    this.#fd = this.native.copse_runtime_fd(this.id);
    forgotten.register(this, { native: this.native, id: this.id }, this);
  }

  /** Tasks that have not ended, those in the queue included. */
  get pending(): number {
    return this.#receivers.size + this.#waiting.length;
  }

  checkOpen(): void {
    if (this.state !== "open") throw new CopseError("CLOSED", `the runtime is ${this.state}; make a new one`);
  }

  // ── Starting ──

  /** Starts with all others of this microtask in one call. */
  start(waiting: Waiting): void {
    this.checkOpen();
    this.#waiting.push(waiting);
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => this.flush());
  }

  /** Takes back what did not start yet. */
  withdraw(receiver: Receiver): boolean {
    const at = this.#waiting.findIndex((waiting) => waiting.receiver === receiver);
    if (at >= 0) this.#waiting.splice(at, 1);
    return at >= 0;
  }

  flush(): void {
    this.#flushing = false;
    while (this.#waiting.length > 0 && this.#receivers.size < IN_FLIGHT && this.state !== "closed") {
      const count = Math.min(this.#waiting.length, IN_FLIGHT - this.#receivers.size, this.#ids.length);
      let size = 0;
      for (let i = 0; i < count; i++) size += 4 + this.#waiting[i]!.request.length;
      if (this.#batch.length < size) this.#batch = new Uint8Array(size * 2);
      const view = new DataView(this.#batch.buffer);
      let at = 0;
      for (let i = 0; i < count; i++) {
        const { request } = this.#waiting[i]!;
        view.setUint32(at, request.length, true);
        this.#batch.set(request, at + 4);
        at += 4 + request.length;
      }
      const started = this.native.copse_task_start(this.id, this.#batch, size, this.#ids, count);
      if (started <= 0) {
        if (started === Code.BUSY && this.#receivers.size > 0) break; // goes on when one ends
        const { receiver } = this.#waiting.shift()!;
        receiver.refused(new CopseError(codeName(started), "the task could not be started"));
        continue;
      }
      const batch = this.#waiting.splice(0, started);
      for (const [i, { receiver }] of batch.entries()) {
        const id = Number(this.#ids[i]);
        this.#receivers.set(id, receiver);
        receiver.started(id);
      }
      this.#watch();
    }
  }

  // ── Waking ──

  #watch(): void {
    clearTimeout(this.#linger);
    this.#linger = undefined;
    if (this.#reader) return;
    this.#reader = Bun.file(this.#fd).stream().getReader();
    void this.#loop(this.#reader);
  }

  async #loop(reader: Reader): Promise<void> {
    try {
      // The bytes mean nothing; that there are some means that events wait.
      while (!(await reader.read()).done) await this.#drain();
    } catch {
      // Cancelled while it was read.
    }
  }

  async #drain(): Promise<void> {
    let since = performance.now();
    let events = 0;
    while (this.state !== "closed") {
      const taken = this.native.copse_runtime_drain(this.id, this.#events, EVENTS);
      for (let i = 0; i < taken; i++) this.#dispatch(i * Event.size);
      if (taken < EVENTS) return;
      events += taken;
      if (events < DRAIN_EVENTS && performance.now() - since < DRAIN_MS) continue;
      await new Promise((resolve) => setImmediate(resolve));
      since = performance.now();
      events = 0;
    }
  }

  #number(at: number): number {
    return this.#view.getUint32(at + 4, true) * 2 ** 32 + this.#view.getUint32(at, true);
  }

  #dispatch(at: number): void {
    const view = this.#view;
    const id = this.#number(at + Event.task);
    const receiver = this.#receivers.get(id);
    const kind = view.getUint32(at + Event.kind, true);
    if (!receiver) return; // let go of before its end
    switch (kind) {
      case EventKind.PAGE:
        receiver.page(
          this.#number(at + Event.page),
          this.#number(at + Event.page_size),
          view.getUint32(at + Event.rows, true),
          view.getUint32(at + Event.heap_at, true),
        );
        break;
      case EventKind.PROGRESS: {
        const total = this.#number(at + Event.total_bytes);
        receiver.progress(this.#number(at + Event.files), this.#number(at + Event.bytes), total >= 2 ** 63 ? undefined : total);
        break;
      }
      case EventKind.ROOM:
        receiver.room(view.getUint32(at + Event.rows, true));
        break;
      case EventKind.DONE:
        this.#ended(id);
        receiver.done(
          view.getInt32(at + Event.code, true),
          view.getUint32(at + Event.heap_at, true),
          this.#number(at + Event.files),
          this.#number(at + Event.bytes),
          this.#number(at + Event.total_bytes),
        );
        break;
    }
  }

  #ended(id: number): void {
    this.#receivers.delete(id);
    if (this.#waiting.length > 0 && !this.#flushing) {
      this.#flushing = true;
      queueMicrotask(() => this.flush());
    }
    if (this.pending > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
    this.#linger ??= setTimeout(() => this.#unwatch(), LINGER_MS);
  }

  #unwatch(): void {
    clearTimeout(this.#linger);
    this.#linger = undefined;
    const reader = this.#reader;
    this.#reader = undefined;
    // Cancelling lets the process end; it does not close the descriptor.
    reader?.cancel().catch(() => {});
  }

  /** Lets go of a running task: native code stops it and cleans up, nobody hears of it again. */
  abandon(id: number): void {
    this.native.copse_task_close(id);
    if (this.#receivers.has(id)) this.#ended(id);
  }

  // ── Cancelling ──

  /** One native token and one listener for each signal, however many tasks it stops. */
  tokenOf(signal: AbortSignal | undefined): number {
    if (!signal) return 0;
    let token = this.#tokens.get(signal);
    if (!token) {
      const number = (this.#lastToken = (this.#lastToken % 0xffffffff) + 1);
      token = { number, signal };
      this.#tokens.set(signal, token);
      // Held weakly: a signal that outlives the runtime must not keep it.
      const engine = new WeakRef<Engine>(this);
      signal.addEventListener("abort", () => engine.deref()?.abort(number), { once: true });
    }
    return token.number;
  }

  abort(token: number): void {
    if (this.state === "closed") return;
    this.native.copse_runtime_cancel(this.id, token);
  }

  // ── Ending ──

  whenIdle(): Promise<void> {
    return this.pending === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }

  close(): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.#unwatch();
    forgotten.unregister(this);
    const left = [...this.#waiting.splice(0).map(({ receiver }) => receiver), ...this.#receivers.values()];
    this.#receivers.clear();
    this.native.copse_runtime_close(this.id);
    for (const receiver of left) receiver.refused(new CopseError("CLOSED", "the runtime was closed while the task ran"));
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  stats(): RuntimeStats & { backend: number } {
    const bytes = new Uint8Array(Stats.size);
    const code = this.native.copse_runtime_stats(this.id, bytes);
    if (code < 0) throw new CopseError(codeName(code), "the runtime is closed");
    const view = new DataView(bytes.buffer);
    const long = (at: number): number => view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
    return {
      started: long(Stats.started) + this.#waiting.length,
      done: long(Stats.done),
      failed: long(Stats.failed),
      cancelled: long(Stats.cancelled),
      running: long(Stats.running),
      queued: long(Stats.queued) + this.#waiting.length,
      steps: long(Stats.steps),
      wakes: long(Stats.wakes),
      bytesRead: long(Stats.bytes_read),
      bytesWritten: long(Stats.bytes_written),
      memory: long(Stats.buffer_bytes),
      memoryLimit: long(Stats.buffer_limit),
      workers: view.getUint32(Stats.cpu_workers, true),
      ioWorkers: view.getUint32(Stats.io_workers, true),
      connections: view.getUint32(Stats.connections, true),
      backend: view.getUint32(Stats.backend, true),
    };
  }
}

// ── Options ──

const profiles = { "low-memory": 256e6, default: 2 ** 30, "high-memory": 4e9, "max-throughput": 8e9 } as const;
const backends = { auto: Io.AUTO, blocking: Io.BLOCKING, threads: Io.THREADS, uring: Io.URING } as const;

function show(value: unknown): string {
  return escapeForMessage(typeof value === "string" ? JSON.stringify(value) : String(value));
}

function numberBetween(name: string, value: unknown, least: number, most: number): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most)
    throw argumentError(name, `must be a whole number from ${least} to ${most}, not ${show(value)}`);
  return value;
}

function encode(options: RuntimeOptions): Uint8Array {
  if (typeof options !== "object" || options === null) throw argumentError("runtime options", `must be an object, not ${show(options)}`);
  const record = new Record();
  for (const name of Object.keys(options))
    if (!["workers", "ioWorkers", "connections", "memory", "io"].includes(name))
      throw argumentError("runtime options", `have no field ${show(name)}`);
  const { workers, ioWorkers, connections, memory } = options;
  if (workers !== undefined) record.number(Option.WORKERS, numberBetween("workers", workers, 1, 256));
  if (ioWorkers !== undefined) record.number(Option.IO_WORKERS, numberBetween("ioWorkers", ioWorkers, 1, 256));
  if (connections !== undefined) record.number(Option.CONNECTIONS, numberBetween("connections", connections, 1, 4096));
  if (typeof memory === "string") {
    if (!Object.hasOwn(profiles, memory))
      throw argumentError("memory", `must be a number of bytes or one of ${Object.keys(profiles).join(", ")}, not ${show(memory)}`);
    record.number(Option.MEMORY, profiles[memory]);
  } else if (memory !== undefined) {
    record.number(Option.MEMORY, numberBetween("memory", memory, 16 * 2 ** 20, 2 ** 40));
  }
  const named = process.env.COPSE_IO;
  const io: string = named || (options.io ?? "auto");
  if (!Object.hasOwn(backends, io))
    throw argumentError(named ? "COPSE_IO" : "io", `must be one of ${Object.keys(backends).join(", ")}, not ${show(io)}`);
  record.number(Option.IO, backends[io as keyof typeof backends]); // hasOwn said so
  return record.end();
}

// Kept on the object under a registered symbol: with --hot an older evaluation of this module may have made it.
const engineKey = Symbol.for("copse.engine");
const defaultKey = Symbol.for("copse.runtime");

interface Shared {
  [defaultKey]?: Runtime;
}

/** Threads, buffers and limits that tasks share. Most programs never make one: `Runtime.default` is made on first use. */
export class Runtime implements Disposable, AsyncDisposable {
  readonly [engineKey]: Engine;

  constructor(options: RuntimeOptions = {}) {
    this[engineKey] = new Engine(encode(options));
  }

  /** One for each JavaScript thread, made on first use and again after it was closed. */
  static get default(): Runtime {
    // The global object is shared with other evaluations of this module.
    const shared = globalThis as Shared;
    const made = shared[defaultKey];
    if (made && made[engineKey].state === "open") return made;
    return (shared[defaultKey] = new Runtime());
  }

  /** What this runtime runs on. */
  get info(): RuntimeInfo {
    const engine = this[engineKey];
    const stats = engine.state === "closed" ? undefined : engine.stats();
    const names = ["auto", "blocking", "threads", "uring"] as const;
    const backend = names[stats?.backend ?? Io.THREADS];
    return {
      ...about(),
      library: libraryPath(),
      backend: backend === undefined || backend === "auto" ? "threads" : backend,
      workers: stats?.workers ?? 0,
      ioWorkers: stats?.ioWorkers ?? 0,
    };
  }

  /** Counters since it was made; they balance at every moment. */
  get stats(): RuntimeStats {
    const { backend: _, ...stats } = this[engineKey].stats();
    return stats;
  }

  get state(): "open" | "draining" | "closed" {
    return this[engineKey].state;
  }

  /** Refuses new tasks, lets running ones end for `grace` milliseconds (default 10,000), then cancels them and closes. */
  async shutdown(options: { grace?: number } = {}): Promise<void> {
    const grace = options.grace ?? GRACE_DEFAULT_MS;
    if (typeof grace !== "number" || !(grace >= 0)) throw argumentError("grace", `must be milliseconds, at least 0, not ${show(grace)}`);
    const engine = this[engineKey];
    if (engine.state === "open") engine.state = "draining";
    let timer: Timer | undefined;
    if (grace > 0 && engine.pending > 0)
      await Promise.race([
        engine.whenIdle(),
        new Promise<void>((resolve) => {
          if (grace !== Infinity) timer = setTimeout(resolve, Math.min(grace, 2 ** 31 - 1));
        }),
      ]);
    clearTimeout(timer);
    engine.close();
  }

  /** Cancels what runs, waits for it, frees everything. Again: nothing. */
  close(): void {
    this[engineKey].close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown({ grace: 0 });
  }
}

/** The native runtime of the public one, or of the default. */
export function engineOf(runtime: Runtime | undefined): Engine {
  if (runtime !== undefined && !(typeof runtime === "object" && runtime !== null && engineKey in runtime))
    throw argumentError("runtime", `must be a Runtime, not ${show(runtime)}`);
  return (runtime ?? Runtime.default)[engineKey];
}

type About = Omit<RuntimeInfo, "library" | "backend" | "workers" | "ioWorkers">;

function about(): About {
  const { copse_about } = openNative();
  let bytes = new Uint8Array(1024);
  const size = copse_about(bytes, bytes.length);
  if (size > bytes.length) copse_about((bytes = new Uint8Array(size)), size);
  // The library writes exactly this; test/runtime.test.ts looks at every field.
  return JSON.parse(new TextDecoder().decode(bytes.subarray(0, size))) as About;
}
