// The one way to wait in this folder: a queue, first come, first served, which anybody may leave at
// once by an AbortSignal. Whoever was told leaves the queue in the same step, so that an abort and an
// answer can never both count.

import { onAbort } from "./abort.ts";

/** What everything that waits takes: an abort rejects with the signal's own reason. */
export interface Wait {
  readonly signal?: AbortSignal | undefined;
}

/** Somebody who waits: what is wanted, and whom to tell. */
export class Waiter<T, Want> {
  readonly want: Want;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
  previous: Waiter<T, Want> | undefined;
  next: Waiter<T, Want> | undefined;
  isQueued = false;
  /** Takes the abort listener away. */
  forget: (() => void) | undefined;

  constructor(want: Want, resolve: (value: T) => void, reject: (reason: unknown) => void) {
    this.want = want;
    this.resolve = resolve;
    this.reject = reject;
  }
}

export class Waiters<T, Want = undefined> {
  #first: Waiter<T, Want> | undefined;
  #last: Waiter<T, Want> | undefined;
  #size = 0;
  readonly #left: (() => void) | undefined;

  /** `left` is called after somebody left by an abort: who stood behind may be served now. */
  constructor(left?: () => void) {
    this.#left = left;
  }

  get first(): Waiter<T, Want> | undefined {
    return this.#first;
  }

  get size(): number {
    return this.#size;
  }

  wait(want: Want, signal?: AbortSignal): Promise<T> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise<T>((resolve, reject) => {
      this.add(new Waiter(want, resolve, reject), signal);
    });
  }

  /** The signal must not be aborted yet. */
  add(waiter: Waiter<T, Want>, signal?: AbortSignal): void {
    if (signal) {
      waiter.forget = onAbort(signal, () => {
        this.remove(waiter);
        waiter.reject(signal.reason);
        this.#left?.();
      });
    }
    waiter.previous = this.#last;
    if (this.#last) this.#last.next = waiter;
    else this.#first = waiter;
    this.#last = waiter;
    waiter.isQueued = true;
    this.#size++;
  }

  /** Harmless for who is not in the queue any more. */
  remove(waiter: Waiter<T, Want>): void {
    if (!waiter.isQueued) return;
    waiter.isQueued = false;
    if (waiter.previous) waiter.previous.next = waiter.next;
    else this.#first = waiter.next;
    if (waiter.next) waiter.next.previous = waiter.previous;
    else this.#last = waiter.previous;
    waiter.previous = waiter.next = undefined;
    this.#size--;
    waiter.forget?.();
    waiter.forget = undefined;
  }

  /** Tells the first; false when nobody waits. */
  resolveFirst(value: T): boolean {
    const first = this.#first;
    if (!first) return false;
    this.remove(first);
    first.resolve(value);
    return true;
  }

  /** Tells everybody who waits now. */
  resolveAll(value: T): void {
    for (let left = this.#size; left > 0; left--) this.resolveFirst(value);
  }

  rejectAll(reason: unknown): void {
    for (let first = this.#first; first; first = this.#first) {
      this.remove(first);
      first.reject(reason);
    }
  }
}
