import { wholeNumber } from "./errors.ts";
import { Permit, Permits } from "./permits.ts";
import type { Wait } from "./waiters.ts";

/**
 * A number of permits. Waiters are served first come, first served: many small ones never overtake a
 * large one for ever.
 *
 * ```ts
 * const connections = new Semaphore(10);
 * using permit = await connections.acquire({ signal });
 * ```
 */
export class Semaphore {
  readonly #permits: Permits;

  constructor(permits: number) {
    this.#permits = new Permits(wholeNumber("permits", permits, 1));
  }

  /** Permits nobody has. */
  get available(): number {
    return this.#permits.available;
  }

  /** More than there are in all can never be had: a RangeError. */
  async acquire(options: Wait & { readonly count?: number } = {}): Promise<Disposable> {
    const count = this.#count(options.count);
    await this.#permits.take(count, options.signal);
    return new Permit(() => this.#permits.give(count));
  }

  tryAcquire(count?: number): Disposable | undefined {
    const wanted = this.#count(count);
    if (!this.#permits.tryTake(wanted)) return undefined;
    return new Permit(() => this.#permits.give(wanted));
  }

  /** Does the work with one permit, given back however the work ends. */
  async run<T>(work: () => T | PromiseLike<T>, options: Wait = {}): Promise<T> {
    const { signal } = options;
    if (signal || !this.#permits.tryTake(1)) await this.#permits.take(1, signal);
    try {
      return await work();
    } finally {
      this.#permits.give(1);
    }
  }

  #count(count = 1): number {
    wholeNumber("count", count, 1);
    if (count <= this.#permits.total) return count;
    throw new RangeError(`count is ${count}, and there are ${this.#permits.total} permits in all`);
  }
}
