// Waiting for others: all to arrive, a count to reach zero, a knock.

import { wholeNumber } from "./errors.ts";
import { Waiters, type Wait } from "./waiters.ts";

/** Lets a group through when all of it has arrived, and then begins anew. */
export class Barrier {
  readonly #parties: number;
  readonly #waiters = new Waiters<number>();

  constructor(parties: number) {
    this.#parties = wholeNumber("parties", parties, 1);
  }

  /**
   * Resolves with the caller's place among those let through, from 0; the last to arrive has
   * `parties - 1`. An abort takes the arrival back.
   */
  arrive(options: Wait = {}): Promise<number> {
    const { signal } = options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#waiters.size + 1 < this.#parties) return this.#waiters.wait(undefined, signal);
    for (let place = 0; this.#waiters.resolveFirst(place); place++);
    return Promise.resolve(this.#parties - 1);
  }
}

/** Opens once, when it was counted down to zero, and stays open. */
export class Latch {
  #count: number;
  readonly #waiters = new Waiters<void>();

  constructor(count: number) {
    this.#count = wholeNumber("count", count, 0);
  }

  /** Below zero is zero. */
  down(count = 1): void {
    this.#count = Math.max(0, this.#count - wholeNumber("count", count, 1));
    if (this.#count === 0) this.#waiters.resolveAll();
  }

  wait(options: Wait = {}): Promise<void> {
    if (options.signal?.aborted) return Promise.reject(options.signal.reason);
    return this.#count === 0 ? Promise.resolve() : this.#waiters.wait(undefined, options.signal);
  }
}

/** A count that goes up and down; waiting is for zero, and it can be used again. */
export class WaitGroup {
  #count = 0;
  readonly #waiters = new Waiters<void>();

  add(count = 1): void {
    this.#count += wholeNumber("count", count, 1);
  }

  /** Once for each that was added; once more is an error. */
  done(): void {
    if (this.#count === 0) throw new Error("done() was called more often than add()");
    if (--this.#count === 0) this.#waiters.resolveAll();
  }

  wait(options: Wait = {}): Promise<void> {
    if (options.signal?.aborted) return Promise.reject(options.signal.reason);
    return this.#count === 0 ? Promise.resolve() : this.#waiters.wait(undefined, options.signal);
  }
}

/** A knock on the door: `one()` is kept for the next who waits when nobody does, once. */
export class Notify {
  #isKept = false;
  readonly #waiters = new Waiters<void>();

  /** Wakes who has waited longest; when nobody waits, the next `wait()` returns at once. */
  one(): void {
    if (!this.#waiters.resolveFirst()) this.#isKept = true;
  }

  /** Wakes everybody who waits now, and keeps nothing. */
  all(): void {
    this.#waiters.resolveAll();
  }

  wait(options: Wait = {}): Promise<void> {
    if (options.signal?.aborted) return Promise.reject(options.signal.reason);
    if (!this.#isKept) return this.#waiters.wait(undefined, options.signal);
    this.#isKept = false;
    return Promise.resolve();
  }
}
