// Engine: a native runtime and the wake loop that brings its events to this JavaScript thread.
//
// The loop reads the wake descriptor while tasks run and for a short linger after the last one,
// because an open reader keeps the process alive and opening one per task costs five times the
// throughput.

import { Notify } from "./async/gates.ts";
import type { Wait } from "./async/waiters.ts";
import { CopseError, codeName } from "./errors.ts";
import { Code, Event, EventKind, Field, Key, ProgressSaid, Stats, Verb } from "./native/abi.ts";
import { Latency } from "./latency.ts";
import { native, type Native } from "./native/ffi.ts";
import { forget } from "./native/record.ts";
import type { Progress, RuntimeStats } from "./types.ts";

const EVENTS = 1024; // events, and rows behind them, taken per drain call
const DRAIN_EVENTS = 4096; // and this many, or
const DRAIN_MS = 2; // this long, before the event loop gets its turn
const LINGER_MS = 20;
const IN_FLIGHT = 1024; // native tasks of one runtime; the rest waits here, first in first out
const BATCH = 256; // requests handed over by one call
const TOKEN_FIELD_BYTES = 16;

/** What a DONE event says. `errors`: ERROR rows. */
export interface Done {
  readonly code: number;
  readonly flags: number;
  readonly files: number;
  readonly bytes: number;
  readonly errors: number;
}

/** Who gets a task's events. None of these may throw: it is the wake loop that calls them. */
export interface Receiver {
  /** It has its id now. */
  started(id: number): void;
  /** Lent until released, or until `refused`. */
  page(address: number, size: number, rows: number, heapAt: number): void;
  /** A page that came with its event, small and one of the last: the receiver's own. */
  rows(buffer: ArrayBuffer, rows: number, heapAt: number): void;
  progress(progress: Progress): void;
  room(): void;
  /** The last event. The id is valid until the receiver closes the task. */
  done(done: Done): void;
  /** Its signal was aborted; native code knows already. */
  aborted(reason: unknown): void;
  /** It could not be started, or its runtime is gone with all its pages. */
  refused(error: CopseError): void;
}

/** A task on its way: in the queue, or with an id. */
export interface Start {
  readonly request: Uint8Array;
  readonly signal: AbortSignal | undefined;
  /** Gone once it was taken out of the queue, by starting it or by `withdraw`. */
  receiver: Receiver | undefined;
}

/** One for each signal: its number in requests, and who is to hear of it. */
interface Token {
  readonly number: number;
  readonly receivers: Set<Receiver>;
}

/** How a task ended, for who observes all of them. */
export interface Ending {
  readonly state: "done" | "failed" | "cancelled";
  readonly milliseconds: number;
  readonly files: number;
  readonly bytes: number;
  readonly error?: unknown;
}

/** Told when a task begins; what it returns is told of the end. Must not throw. */
export type Observer = (verb: string) => (ending: Ending) => void;

const verbNames = new Map<number, string>(
  Object.entries(Verb).map(([name, number]) => [number, name.toLowerCase().replaceAll("_", "-")]),
);
type Reader = ReturnType<typeof openWake>;

function openWake(fd: number) {
  return Bun.file(fd).stream().getReader();
}

/** The functions of the library, or the CopseError that says why there are none. */
export function openNative(): Native {
  try {
    return native();
  } catch (cause) {
    throw new CopseError("UNSUPPORTED", cause instanceof Error ? cause.message : String(cause), {
      cause,
    });
  }
}

const forgotten = new FinalizationRegistry<{ native: Native; id: number }>(({ native, id }) =>
  native.copse_runtime_close(id),
);

/**
 * The native runtime behind a Runtime. Everything in lib/ but the public class works with this one.
 */
export class Engine {
  readonly native: Native;
  readonly id: number;
  readonly #fd: number;
  /**
   * Every task with an id that is not closed. One that is done stays while its pages are unread.
   */
  readonly #receivers = new Map<number, Receiver>();
  #inFlight = 0;
  /** First in, first out, from #queueAt on; what was withdrawn stays as a gap. */
  #queue: Start[] = [];
  #queueAt = 0;
  #queued = 0;
  #willFlush = false;
  #batch = new Uint8Array(16 * 1024);
  #batchView = new DataView(this.#batch.buffer);
  readonly #ids = new Uint32Array(2 * BATCH); // low and high halves: a BigInt each would be garbage
  readonly #events = new Uint8Array(EVENTS * Event.size);
  readonly #view = new DataView(this.#events.buffer);
  #reader: Reader | undefined;
  #linger: Timer | undefined;
  readonly #tokens = new WeakMap<AbortSignal, Token>();
  #lastToken = 0;
  readonly #idle = new Notify();
  readonly #latency = new Latency();
  readonly observers = new Set<Observer>();
  state: "open" | "draining" | "closed" = "open";

  constructor(options: Uint8Array) {
    this.native = openNative();
    const id = new BigUint64Array(1);
    const code = this.native.copse_runtime_open(options, options.length, id);
    if (code < 0)
      throw new CopseError(
        codeName(code),
        "the runtime could not be opened: check its options and the limits on files and threads",
      );
    this.id = Number(id[0]);
    this.#fd = this.native.copse_runtime_fd(this.id);
    forgotten.register(this, { native: this.native, id: this.id }, this);
  }

  /** Tasks that have not ended, those in the queue included. */
  get pending(): number {
    return this.#inFlight + this.#queued;
  }

  checkOpen(): void {
    if (this.state !== "open")
      throw new CopseError("CLOSED", `the runtime is ${this.state}: make a new one`);
  }

  /** A task begins now; call what this gives when it ends, once. */
  observe(request: Uint8Array): (ending: Ending) => void {
    if (this.observers.size === 0) return (ending) => this.#latency.add(ending.milliseconds);
    // Every request begins with its verb.
    const number = new DataView(request.buffer, request.byteOffset).getUint32(8, true);
    const ends = [...this.observers].map((begin) => begin(verbNames.get(number) ?? "task"));
    return (ending) => {
      this.#latency.add(ending.milliseconds);
      for (const end of ends) end(ending);
    };
  }

  // ── Starting ──

  /** Starts it with all others of this microtask in one call, or when there is room. */
  start(start: Start): void {
    this.checkOpen();
    this.#queue.push(start);
    this.#queued++;
    if (start.signal && start.receiver) this.#tokenOf(start.signal).receivers.add(start.receiver);
    this.#flushSoon();
  }

  /** Takes back what is still in the queue. False: it has started. */
  withdraw(start: Start): boolean {
    const { receiver } = start;
    if (!receiver) return false;
    start.receiver = undefined;
    this.#queued--;
    this.#unlisten(start.signal, receiver);
    if (this.pending === 0) this.#becameIdle();
    return true;
  }

  #flushSoon(): void {
    if (this.#willFlush) return;
    this.#willFlush = true;
    queueMicrotask(() => {
      this.#willFlush = false;
      this.#flush();
    });
  }

  #flush(): void {
    while (this.#queued > 0 && this.#inFlight < IN_FLIGHT && this.state !== "closed") {
      const starts = this.#dequeue(Math.min(BATCH, IN_FLIGHT - this.#inFlight));
      const size = this.#encode(starts);
      const started = this.native.copse_task_start(
        this.id,
        this.#batch,
        size,
        this.#ids,
        starts.length,
      );
      let wasSecret = false;
      for (let i = 0; i < started; i++) {
        wasSecret = forget(starts[i]!.request) || wasSecret;
        this.#began(starts[i]!, this.#idAt(i));
      }
      if (wasSecret) this.#batch.fill(0);
      if (started === starts.length) continue;
      const left = starts.slice(Math.max(started, 0));
      const waits = started === Code.BUSY && this.#inFlight > 0; // goes on when one ends
      if (started <= 0 && !waits) this.#refuse(left.shift()!, started);
      this.#queue = left.concat(this.#queue.slice(this.#queueAt));
      this.#queueAt = 0;
      if (waits) break;
    }
    if (this.#inFlight > 0) this.#watch();
    else if (this.pending === 0) this.#becameIdle();
  }

  #idAt(i: number): number {
    return this.#ids[2 * i + 1]! * 2 ** 32 + this.#ids[2 * i]!;
  }

  /** The next ones of the queue, at most `most`, still counted as queued. */
  #dequeue(most: number): Start[] {
    const starts: Start[] = [];
    while (starts.length < most && this.#queueAt < this.#queue.length) {
      const start = this.#queue[this.#queueAt++]!;
      if (start.receiver) starts.push(start);
    }
    if (this.#queueAt === this.#queue.length || this.#queueAt > 4096) {
      this.#queue = this.#queue.slice(this.#queueAt);
      this.#queueAt = 0;
    }
    return starts;
  }

  /**
   * Writes the requests back to back, each with its length in front and its signal's token behind.
   */
  #encode(starts: readonly Start[]): number {
    let size = 0;
    for (const { request } of starts) size += 4 + request.length + TOKEN_FIELD_BYTES;
    if (this.#batch.length < size) {
      this.#batch = new Uint8Array(size * 2);
      this.#batchView = new DataView(this.#batch.buffer);
    }
    const view = this.#batchView;
    let at = 0;
    for (const { request, signal } of starts) {
      view.setUint32(at, request.length + (signal ? TOKEN_FIELD_BYTES : 0), true);
      this.#batch.set(request, at + 4);
      at += 4 + request.length;
      if (!signal) continue;
      view.setUint16(at, Key.TOKEN, true);
      view.setUint16(at + 2, Field.NUMBER, true);
      view.setUint32(at + 4, 8, true);
      view.setUint32(at + 8, this.#tokenOf(signal).number, true);
      view.setUint32(at + 12, 0, true);
      at += TOKEN_FIELD_BYTES;
    }
    return at;
  }

  #began(start: Start, id: number): void {
    const receiver = start.receiver!;
    start.receiver = undefined;
    this.#queued--;
    this.#inFlight++;
    this.#receivers.set(id, receiver);
    receiver.started(id);
  }

  #refuse(start: Start, code: number): void {
    const receiver = start.receiver!;
    start.receiver = undefined;
    this.#queued--;
    this.#unlisten(start.signal, receiver);
    receiver.refused(
      new CopseError(codeName(code), "the task could not be started: too many run at once"),
    );
  }

  // ── Waking ──

  #watch(): void {
    clearTimeout(this.#linger);
    this.#linger = undefined;
    if (this.#reader) return;
    this.#reader = openWake(this.#fd);
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
      const end = taken * Event.size;
      for (let at = 0; at < end; at = this.#after(at)) this.#dispatch(at);
      if (taken < EVENTS) return;
      events += taken;
      if (events < DRAIN_EVENTS && performance.now() - since < DRAIN_MS) continue;
      await new Promise((resolve) => setImmediate(resolve));
      since = performance.now();
      events = 0;
    }
  }

  /** Where the event after the one at `at` begins. */
  #after(at: number): number {
    const view = this.#view;
    const next = at + Event.size;
    if (view.getUint32(at + Event.kind, true) !== EventKind.PAGE) return next;
    if (this.#number(at + Event.page) !== 0) return next;
    const size = view.getUint32(at + Event.page_size, true);
    return next + Math.ceil(size / Event.size) * Event.size;
  }

  #number(at: number): number {
    return longAt(this.#view, at);
  }

  #dispatch(at: number): void {
    const view = this.#view;
    const receiver = this.#receivers.get(this.#number(at + Event.task));
    if (!receiver) return; // let go of before its end
    switch (view.getUint32(at + Event.kind, true)) {
      case EventKind.PAGE: {
        const address = this.#number(at + Event.page);
        const size = this.#number(at + Event.page_size);
        const rows = view.getUint32(at + Event.rows, true);
        const heapAt = view.getUint32(at + Event.heap_at, true);
        const from = at + Event.size;
        if (address !== 0) receiver.page(address, size, rows, heapAt);
        else receiver.rows(this.#events.buffer.slice(from, from + size), rows, heapAt);
        break;
      }
      case EventKind.PROGRESS: {
        receiver.progress(decodeProgress(view, at));
        break;
      }
      case EventKind.ROOM:
        receiver.room();
        break;
      case EventKind.DONE:
        this.#inFlight--;
        receiver.done(decodeDone(view, at));
        if (this.#queued > 0) this.#flushSoon();
        else if (this.#inFlight === 0) this.#becameIdle();
        break;
    }
  }

  #becameIdle(): void {
    this.#idle.all();
    if (this.#reader) this.#linger ??= setTimeout(() => this.#unwatch(), LINGER_MS);
  }

  #unwatch(): void {
    clearTimeout(this.#linger);
    this.#linger = undefined;
    const reader = this.#reader;
    this.#reader = undefined;
    // Cancelling lets the process end; it does not close the descriptor.
    reader?.cancel().catch(() => {});
  }

  // ── Closing tasks ──

  /**
   * Frees a task and its pages. One that still runs stops by itself, and nobody hears of it again.
   * One that is gone already, or never came to run: nothing.
   */
  closeTask(
    receiver: Receiver,
    id: number,
    signal: AbortSignal | undefined,
    isDone: boolean,
  ): void {
    this.#unlisten(signal, receiver);
    if (!this.#receivers.delete(id)) return;
    this.native.copse_task_close(id);
    if (isDone) return;
    this.#inFlight--;
    if (this.#queued > 0) this.#flushSoon();
    else if (this.#inFlight === 0) this.#becameIdle();
  }

  // ── Cancelling ──

  #tokenOf(signal: AbortSignal): Token {
    let token = this.#tokens.get(signal);
    if (token) return token;
    token = { number: ++this.#lastToken, receivers: new Set() };
    this.#tokens.set(signal, token);
    const { number, receivers } = token;
    // Held weakly: a signal that outlives the runtime must not keep it.
    const engine = new WeakRef<Engine>(this);
    const told = (): void => {
      engine.deref()?.cancelToken(number);
      for (const receiver of receivers) receiver.aborted(signal.reason);
      receivers.clear();
    };
    signal.addEventListener("abort", told, { once: true });
    return token;
  }

  cancelToken(token: number): void {
    if (this.state !== "closed") this.native.copse_runtime_cancel(this.id, token);
  }

  #unlisten(signal: AbortSignal | undefined, receiver: Receiver): void {
    if (signal) this.#tokens.get(signal)?.receivers.delete(receiver);
  }

  // ── Ending ──

  whenIdle(options: Wait): Promise<void> {
    return this.pending === 0 ? Promise.resolve() : this.#idle.wait(options);
  }

  close(): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.#unwatch();
    forgotten.unregister(this);
    const left = this.#queue.slice(this.#queueAt).map(({ receiver }) => receiver);
    left.push(...this.#receivers.values());
    this.#receivers.clear();
    this.#queue = [];
    this.#queueAt = this.#queued = this.#inFlight = 0;
    this.native.copse_runtime_close(this.id);
    const error = new CopseError("CLOSED", "the runtime was closed before the task ended");
    for (const receiver of left) receiver?.refused(error);
    this.#idle.all();
  }

  stats(): RuntimeStats & { backend: number } {
    const bytes = new Uint8Array(Stats.size);
    const code = this.native.copse_runtime_stats(this.id, bytes);
    if (code < 0) throw new CopseError(codeName(code), "the runtime is closed");
    const view = new DataView(bytes.buffer);
    const long = (at: number): number =>
      view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
    return {
      started: long(Stats.started) + this.#queued,
      done: long(Stats.done),
      failed: long(Stats.failed),
      cancelled: long(Stats.cancelled),
      running: long(Stats.running),
      queued: long(Stats.queued) + this.#queued,
      steps: long(Stats.steps),
      wakes: long(Stats.wakes),
      bytesRead: long(Stats.bytes_read),
      bytesWritten: long(Stats.bytes_written),
      memory: long(Stats.buffer_bytes),
      memoryLimit: long(Stats.buffer_limit),
      workers: view.getUint32(Stats.cpu_workers, true),
      ioWorkers: view.getUint32(Stats.io_workers, true),
      connections: view.getUint32(Stats.connections, true),
      latency: { p50: this.#latency.quantile(0.5), p99: this.#latency.quantile(0.99) },
      backend: view.getUint32(Stats.backend, true),
    };
  }
}

function longAt(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
}

/** The PROGRESS event at an offset. */
export function decodeProgress(view: DataView, at: number): Progress {
  const files = longAt(view, at + Event.files);
  const bytes = longAt(view, at + Event.bytes);
  const total = longAt(view, at + Event.total_bytes);
  if (total >= 2 ** 63) return { files, bytes }; // COPSE_UNKNOWN
  const grows = view.getUint32(at + Event.heap_at, true) & ProgressSaid.GROWS;
  return grows ? { files, bytes, plannedBytes: total } : { files, bytes, totalBytes: total };
}

/** The DONE event at an offset. */
export function decodeDone(view: DataView, at: number): Done {
  const long = (field: number): number => longAt(view, at + field);
  return {
    code: view.getInt32(at + Event.code, true),
    flags: view.getUint32(at + Event.heap_at, true),
    files: long(Event.files),
    bytes: long(Event.bytes),
    errors: long(Event.total_bytes),
  };
}
