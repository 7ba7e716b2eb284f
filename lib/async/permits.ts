import { Waiters } from "./waiters.ts";

/** What was taken, until it is given back; giving back twice is harmless. */
export class Permit implements Disposable {
  #give: (() => void) | undefined;

  constructor(give: () => void) {
    this.#give = give;
  }

  [Symbol.dispose](): void {
    const give = this.#give;
    this.#give = undefined;
    give?.();
  }
}

/** A count that is taken from and given back to: what semaphore, mutex and pool stand on. */
export class Permits {
  readonly total: number;
  #available: number;
  readonly #waiters = new Waiters<void, number>(() => this.#serve());

  constructor(total: number) {
    this.#available = this.total = total;
  }

  get available(): number {
    return this.#available;
  }

  /** False when there are too few, or somebody waits already. */
  tryTake(count: number): boolean {
    if (this.#waiters.size > 0 || this.#available < count) return false;
    this.#available -= count;
    return true;
  }

  /** `count` must not be more than `total`. */
  take(count: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    return this.tryTake(count) ? Promise.resolve() : this.#waiters.wait(count, signal);
  }

  give(count: number): void {
    this.#available += count;
    this.#serve();
  }

  /** Everybody who waits is turned away. */
  refuse(reason: unknown): void {
    this.#waiters.rejectAll(reason);
  }

  #serve(): void {
    for (let { first } = this.#waiters; first && first.want <= this.#available;) {
      this.#available -= first.want;
      this.#waiters.resolveFirst();
      ({ first } = this.#waiters);
    }
  }
}
