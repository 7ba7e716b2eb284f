import { onAbort } from "./abort.ts";
import { Deque } from "./deque.ts";
import { ClosedError, wholeOrInfinite } from "./errors.ts";
import { Waiters, type Wait } from "./waiters.ts";

export type Work<T> = (signal: AbortSignal) => T | PromiseLike<T>;

const ignore = (): void => {};

interface Child {
  promise: Promise<unknown> | undefined;
  isFailed: boolean;
}

/**
 * Structured concurrency: leaving the block waits for every child, and the first failure cancels the
 * rest through the signal each child was given.
 *
 * ```ts
 * await using group = new TaskGroup({ concurrency: 8 });
 * for (const url of urls) group.run((signal) => fetch(url, { signal }));
 * ```
 */
export class TaskGroup<T = unknown> implements AsyncDisposable, AsyncIterable<T> {
  readonly #controller = new AbortController();
  /** Aborted by `cancel`, by the first failure, and by the signal the group was made with. */
  readonly signal: AbortSignal = this.#controller.signal;
  readonly #concurrency: number;
  readonly #keeps: boolean;
  readonly #parent: AbortSignal | undefined;
  readonly #queue = new Deque<() => void>();
  readonly #results = new Deque<T>();
  readonly #failures: unknown[] = [];
  /** Somebody iterates, or waits for the end. */
  readonly #waiters = new Waiters<void>();
  #forget: (() => void) | undefined;
  #running = 0;
  #isClosed = false;
  /** A child was cut short by the parent's abort. */
  #isCut = false;

  /**
   * `concurrency`: children at once (default: no bound). `results: false` keeps no values for an
   * iteration: for a group that lives as long as its server.
   */
  constructor(options: Wait & { readonly concurrency?: number; readonly results?: boolean } = {}) {
    this.#concurrency = wholeOrInfinite("concurrency", options.concurrency ?? Infinity, 1);
    this.#keeps = options.results ?? true;
    this.#parent = options.signal;
    if (this.#parent?.aborted) this.#cancelByParent();
    else if (this.#parent) this.#forget = onAbort(this.#parent, this.#cancelByParent);
  }

  /**
   * Starts a child, or queues it behind `concurrency` others. The promise need not be awaited: a failure
   * surfaces when the block is left.
   */
  run<R extends T>(work: Work<R>): Promise<R> {
    const { signal } = this;
    if (this.#isClosed) return refused(new ClosedError("the group's block was left"));
    if (signal.aborted) {
      this.#isCut ||= this.#parent?.aborted ?? false;
      return refused(signal.reason);
    }
    if (this.#running < this.#concurrency) return this.#start(work);
    const { promise, resolve, reject } = Promise.withResolvers<R>();
    promise.catch(ignore);
    this.#queue.push(() => {
      if (!signal.aborted) return resolve(this.#start(work));
      this.#isCut ||= this.#parent?.aborted ?? false;
      reject(signal.reason);
    });
    return promise;
  }

  /** Aborts every child; those that are queued never start. Not a failure of the group. */
  cancel(reason?: unknown): void {
    this.#controller.abort(reason);
    this.#serve();
  }

  /**
   * Each child's value as it ends, until none is left. Throws the first failure. Leaving the loop leaves
   * the children alone.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    if (!this.#keeps) throw new Error("a group with results: false has none to iterate");
    for (;;) {
      while (this.#results.size > 0) yield this.#results.shift();
      if (this.#failures.length > 0) throw this.#failures[0];
      if (this.#running === 0 && this.#queue.size === 0) return;
      await this.#waiters.wait(undefined);
    }
  }

  /**
   * Waits for every child, then throws: the failure; of several an AggregateError, the first one first;
   * or the reason of the signal the group was made with, when that cut a child short.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    while (this.#running > 0 || this.#queue.size > 0) await this.#waiters.wait(undefined);
    this.#forget?.();
    this.#results.clear();
    // Whoever leaves twice is told once.
    const failures = this.#failures.splice(0);
    const isCut = this.#isCut;
    this.#isCut = false;
    if (failures.length === 1) throw failures[0];
    if (failures.length > 1)
      throw new AggregateError(failures, `${failures.length} children of the group failed`);
    if (isCut) throw this.#parent?.reason;
  }

  readonly #cancelByParent = (): void => this.cancel(this.#parent?.reason);

  #start<R extends T>(work: Work<R>): Promise<R> {
    this.#running++;
    const child: Child = { promise: undefined, isFailed: false };
    const promise = this.#child(work, child);
    child.promise = promise;
    if (child.isFailed) promise.catch(ignore);
    return promise;
  }

  async #child<R extends T>(work: Work<R>, child: Child): Promise<R> {
    try {
      const value = await work(this.signal);
      if (this.#keeps) this.#results.push(value);
      return value;
    } catch (error) {
      // Handled only now: a handler for every child would cost as much as the child itself.
      child.isFailed = true;
      child.promise?.catch(ignore);
      this.#failed(error);
      throw error;
    } finally {
      this.#running--;
      this.#serve();
      this.#waiters.resolveAll();
    }
  }

  #failed(error: unknown): void {
    const { signal } = this;
    // Ending with the group's own abort is what was asked for.
    if (signal.aborted && error === signal.reason) {
      this.#isCut ||= this.#parent?.aborted ?? false;
      return;
    }
    this.#failures.push(error);
    if (!signal.aborted) this.cancel(error);
  }

  #serve(): void {
    while (this.#queue.size > 0 && (this.signal.aborted || this.#running < this.#concurrency))
      this.#queue.shift()();
  }
}

function refused<R>(reason: unknown): Promise<R> {
  const promise = Promise.reject<R>(reason);
  promise.catch(ignore);
  return promise;
}
