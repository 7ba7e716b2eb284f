// sharedSemaphore and sharedChannel: what `copse/async` has within one thread, for all Workers of a
// process. The counts and values lie in the native core; who must wait is a native task there, so
// that the answer comes through this thread's wake descriptor and nobody polls.
//
// Of the callers in one thread only the first of each queue waits natively, the others behind it
// here. So threads take turns, and a thousand waiters do not fill the runtime's room for tasks.

import { deserialize, serialize } from "bun:jsc";
import { ClosedError, wholeNumber } from "./async/errors.ts";
import { Permit, Permits } from "./async/permits.ts";
import type { Done, Receiver, Start } from "./engine.ts";
import { CopseError, argumentError, codeName, showValue } from "./errors.ts";
import { Code, Key, SharedCall, SharedKey, SharedKind, Verb } from "./native/abi.ts";
import { native, pageBytes, type Native } from "./native/ffi.ts";
import { Record } from "./native/record.ts";
import { engineOf, type Runtime } from "./runtime.ts";

const VALUE_MAX = 2 ** 20; // native code holds to it too
const SIZE_MAX = 2 ** 20;
const NAME_MAX = 256;
const somewhere = new Uint8Array(1); // for a call without bytes
let room = new Uint8Array(4096);

interface Wait {
  readonly signal?: AbortSignal | undefined;
}

/** A number of permits that all threads of the process share, found by its name. */
export interface SharedSemaphore extends Disposable {
  /** Permits nobody has. */
  readonly available: number;
  /** First come, first served within a thread; threads take turns. */
  acquire(options?: Wait & { readonly count?: number }): Promise<Disposable>;
  tryAcquire(count?: number): Disposable | undefined;
  /** Does the work with one permit, given back however the work ends. */
  run<T>(work: () => T | PromiseLike<T>, options?: Wait): Promise<T>;
}

/** A queue of values that all threads of the process share, found by its name. */
export interface SharedChannel<T> extends Disposable, AsyncIterable<T> {
  /** Values that wait to be received. */
  readonly length: number;
  /** Resolves when the value has a place or a receiver; an aborted or refused send was not sent. */
  send(value: T, options?: Wait): Promise<void>;
  trySend(value: T): boolean;
  /** `done` once it is closed and empty. */
  receive(options?: Wait): Promise<IteratorResult<T, undefined>>;
  tryReceive(): { readonly value: T } | undefined;
  /** For all threads: what was sent can still be received, sends are refused. */
  close(): void;
}

/**
 * Permits that all Workers of this process have in common: the same name is the same semaphore.
 *
 * ```ts
 * using uploads = sharedSemaphore("uploads", 8);
 * await uploads.run(() => sync("site", "/backup/site"));
 * ```
 *
 * `permits` (1 to 1,048,576) must be the same everywhere, else `ARGUMENT`. Disposing lets go of it in this
 * thread, and so does the end of a Worker, terminated or not: permits it had go back. It is gone
 * when no thread has it.
 */
export function sharedSemaphore(
  name: string,
  permits: number,
  options: { readonly runtime?: Runtime } = {},
): SharedSemaphore {
  checkSize("permits", permits, 1);
  return new Semaphore(new Hold(SharedKind.SEMAPHORE, name, permits, options.runtime), permits);
}

/**
 * A channel between the Workers of this process: the same name is the same channel.
 *
 * ```ts
 * using jobs = sharedChannel<{ path: string }>("jobs", 100);
 * for await (const job of jobs) await handle(job);
 * ```
 *
 * `capacity` (default 0, a rendezvous; at most 1,048,576) must be the same everywhere, else
 * `ARGUMENT`. Values are copied as `structuredClone` does, at most 1 MiB each (`RangeError`). Disposing lets go of it in
 * this thread only; `close` ends it for all. It is gone, with what is in it, when no thread has it.
 */
export function sharedChannel<T>(
  name: string,
  capacity = 0,
  options: { readonly runtime?: Runtime } = {},
): SharedChannel<T> {
  checkSize("capacity", capacity, 0);
  return new Channel<T>(new Hold(SharedKind.CHANNEL, name, capacity, options.runtime));
}

function checkSize(name: string, value: number, least: number): void {
  if (!Number.isInteger(value) || value < least || value > SIZE_MAX)
    throw argumentError(
      name,
      `must be a whole number from ${least} to ${SIZE_MAX}, not ${showValue(value)}`,
    );
}

// ── What both stand on ──

const forgotten = new FinalizationRegistry((id: number) => native().copse_shared_close(id));

/** The answer to a native wait: settles with its DONE, since an answer that came before the abort counts. */
class Answer implements Receiver {
  readonly #settled = Promise.withResolvers<Uint8Array>();
  readonly #engine: ReturnType<typeof engineOf>;
  readonly #signal: AbortSignal | undefined;
  readonly #start: Start;
  #id = 0;
  #bytes = new Uint8Array(0);
  #reason: unknown = undefined;

  constructor(
    engine: ReturnType<typeof engineOf>,
    request: Uint8Array,
    signal: AbortSignal | undefined,
  ) {
    this.#engine = engine;
    this.#signal = signal;
    this.#start = { request, signal, receiver: this };
    engine.start(this.#start);
  }

  get promise(): Promise<Uint8Array> {
    return this.#settled.promise;
  }

  started(id: number): void {
    this.#id = id;
  }

  page(address: number, size: number): void {
    const more = new Uint8Array(this.#bytes.length + size);
    more.set(this.#bytes);
    more.set(new Uint8Array(pageBytes(address, size)), this.#bytes.length);
    this.#bytes = more;
    this.#engine.native.copse_page_release(this.#id, address);
  }

  rows(): void {} // a value comes as bytes

  progress(): void {}

  room(): void {}

  done({ code }: Done): void {
    this.#close(true);
    if (code >= 0) this.#settled.resolve(this.#bytes);
    else if (code === Code.CLOSED) this.#settled.reject(new ClosedError("it was closed"));
    else if (code === Code.CANCELLED && this.#signal?.aborted) this.#settled.reject(this.#reason);
    else this.#settled.reject(new CopseError(codeName(code), "the turn could not be waited for"));
  }

  aborted(reason: unknown): void {
    this.#reason = reason;
    // Not handed over yet: no DONE will come.
    if (this.#engine.withdraw(this.#start)) this.#settled.reject(reason);
  }

  refused(error: CopseError): void {
    this.#close(true);
    this.#settled.reject(error);
  }

  #close(isDone: boolean): void {
    const id = this.#id;
    this.#id = 0;
    this.#engine.closeTask(this, id, this.#signal, isDone);
  }
}

/** The calls that may have to wait: each has its line. */
type Line = typeof SharedCall.TAKE | typeof SharedCall.SEND | typeof SharedCall.RECEIVE;

/** This thread's hold on a shared thing. */
class Hold {
  readonly #native: Native = native();
  readonly #runtime: Runtime | undefined;
  readonly #lines = {
    [SharedCall.TAKE]: new Permits(1),
    [SharedCall.SEND]: new Permits(1),
    [SharedCall.RECEIVE]: new Permits(1),
  };
  #id: number;

  constructor(kind: number, name: string, size: number, runtime: Runtime | undefined) {
    if (typeof name !== "string" || name === "" || Buffer.byteLength(name) > NAME_MAX)
      throw argumentError("name", `must be 1 to ${NAME_MAX} bytes, not ${showValue(name)}`);
    this.#runtime = runtime;
    const record = new Record()
      .number(SharedKey.KIND, kind)
      .text(SharedKey.NAME, name)
      .number(SharedKey.SIZE, size)
      .end();
    const id = new BigUint64Array(1);
    const sentence = new Uint8Array(512);
    const code = this.#native.copse_shared_open(record, record.length, id, sentence, 512);
    if (code < 0)
      throw new CopseError(
        codeName(code),
        new TextDecoder().decode(sentence.subarray(0, sentence.indexOf(0))),
      );
    this.#id = Number(id[0]);
    forgotten.register(this, this.#id, this);
  }

  /** One native step that does not wait; CLOSED is a ClosedError. */
  call(call: number, bytes: Uint8Array, size: number): number {
    const result = this.#id
      ? this.#native.copse_shared_call(this.#id, call, bytes, size)
      : Code.CLOSED;
    if (result === Code.CLOSED) throw new ClosedError("it was closed");
    if (result < 0) throw new CopseError(codeName(result), "the shared call was refused");
    return result;
  }

  /**
   * `attempt` until it has a value, first here in this thread's line, then natively: `request` adds
   * what is waited for, `answer` reads what came.
   */
  async wait<T>(
    call: Line,
    signal: AbortSignal | undefined,
    attempt: () => T | undefined,
    request: (record: Record) => void,
    answer: (bytes: Uint8Array) => T,
  ): Promise<T> {
    signal?.throwIfAborted();
    const line = this.#lines[call];
    if (!line.tryTake(1)) await line.take(1, signal);
    try {
      const at = attempt();
      if (at !== undefined) return at;
      const engine = engineOf(this.#runtime); // first: it may write a record of its own
      const record = new Record()
        .number(Key.VERB, Verb.SHARED)
        .number(Key.SHARED, this.#id)
        .number(Key.SHARED_CALL, call);
      request(record);
      return answer(await new Answer(engine, record.end(), signal).promise);
    } finally {
      line.give(1);
    }
  }

  /** Whether nobody of this thread waits. */
  isFree(call: Line): boolean {
    return this.#lines[call].available > 0;
  }

  close(): void {
    if (!this.#id) return;
    forgotten.unregister(this);
    this.#native.copse_shared_close(this.#id);
    this.#id = 0;
    for (const line of Object.values(this.#lines)) line.refuse(new ClosedError("it was closed"));
  }

  get isClosed(): boolean {
    return this.#id === 0;
  }
}

// ── The two ──

class Semaphore implements SharedSemaphore {
  readonly #hold: Hold;
  readonly #permits: number;

  constructor(hold: Hold, permits: number) {
    this.#hold = hold;
    this.#permits = permits;
  }

  get available(): number {
    return this.#hold.call(SharedCall.COUNT, somewhere, 0);
  }

  async acquire(options: Wait & { readonly count?: number } = {}): Promise<Disposable> {
    const count = this.#count(options.count);
    return this.#hold.wait(
      SharedCall.TAKE,
      options.signal,
      () => this.#take(count),
      (record) => record.number(Key.SHARED_COUNT, count),
      () => this.#permit(count),
    );
  }

  tryAcquire(count?: number): Disposable | undefined {
    const wanted = this.#count(count);
    return this.#hold.isFree(SharedCall.TAKE) ? this.#take(wanted) : undefined;
  }

  async run<T>(work: () => T | PromiseLike<T>, options: Wait = {}): Promise<T> {
    using _permit = await this.acquire(options);
    return await work();
  }

  [Symbol.dispose](): void {
    this.#hold.close();
  }

  #take(count: number): Disposable | undefined {
    return this.#hold.call(SharedCall.TAKE, somewhere, count) ? this.#permit(count) : undefined;
  }

  #permit(count: number): Disposable {
    return new Permit(() => {
      // With the hold all of its permits went back.
      if (!this.#hold.isClosed) this.#hold.call(SharedCall.GIVE, somewhere, count);
    });
  }

  #count(count = 1): number {
    wholeNumber("count", count, 1);
    if (count <= this.#permits) return count;
    throw new RangeError(`count is ${count}, and there are ${this.#permits} permits in all`);
  }
}

class Channel<T> implements SharedChannel<T> {
  readonly #hold: Hold;

  constructor(hold: Hold) {
    this.#hold = hold;
  }

  get length(): number {
    return this.#hold.call(SharedCall.COUNT, somewhere, 0);
  }

  async send(value: T, { signal }: Wait = {}): Promise<void> {
    const bytes = bytesOf(value);
    await this.#hold.wait(
      SharedCall.SEND,
      signal,
      () => this.#trySend(bytes) || undefined,
      (record) => record.bytes(Key.SHARED_VALUE, bytes),
      () => true,
    );
  }

  trySend(value: T): boolean {
    const bytes = bytesOf(value);
    return this.#hold.isFree(SharedCall.SEND) && this.#trySend(bytes);
  }

  async receive({ signal }: Wait = {}): Promise<IteratorResult<T, undefined>> {
    try {
      return await this.#hold.wait<IteratorResult<T, undefined>>(
        SharedCall.RECEIVE,
        signal,
        () => this.#tryReceive(),
        () => {},
        (bytes) => ({ value: valueOf<T>(bytes), done: false }),
      );
    } catch (error) {
      if (!(error instanceof ClosedError) || this.#hold.isClosed) throw error;
      return { value: undefined, done: true };
    }
  }

  tryReceive(): { readonly value: T } | undefined {
    if (!this.#hold.isFree(SharedCall.RECEIVE)) return undefined;
    try {
      return this.#tryReceive();
    } catch (error) {
      if (!(error instanceof ClosedError) || this.#hold.isClosed) throw error;
      return undefined; // closed and empty
    }
  }

  close(): void {
    this.#hold.call(SharedCall.END, somewhere, 0);
  }

  [Symbol.dispose](): void {
    this.#hold.close();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    for (;;) {
      const { value, done } = await this.receive();
      if (done) return;
      yield value;
    }
  }

  #trySend(bytes: Uint8Array): boolean {
    return this.#hold.call(SharedCall.SEND, bytes, bytes.length) > 0;
  }

  #tryReceive(): { value: T; done: false } | undefined {
    for (;;) {
      const size = this.#hold.call(SharedCall.RECEIVE, room, room.length) - 1;
      if (size < 0) return undefined;
      if (size <= room.length) return { value: valueOf<T>(room.subarray(0, size)), done: false };
      room = new Uint8Array(size);
    }
  }
}

function bytesOf(value: unknown): Uint8Array {
  const bytes = new Uint8Array(serialize(value));
  if (bytes.length <= VALUE_MAX) return bytes;
  throw new RangeError(`a shared value is at most ${VALUE_MAX} bytes, not ${bytes.length}`);
}

function valueOf<T>(bytes: Uint8Array): T {
  return deserialize(bytes.slice().buffer) as T; // whoever sent it used this channel's type
}
