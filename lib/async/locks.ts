import { Permit, Permits } from "./permits.ts";
import { Waiters, type Wait } from "./waiters.ts";

// Between a mutex and its conditions: what a holder lends while it waits.
let permitsOf: (mutex: Mutex) => Permits;

/**
 * One at a time, first come, first served.
 *
 * ```ts
 * using lock = await mutex.lock();
 * ```
 */
export class Mutex {
  readonly #permits = new Permits(1);

  static {
    permitsOf = (mutex) => mutex.#permits;
  }

  get locked(): boolean {
    return this.#permits.available === 0;
  }

  async lock(options: Wait = {}): Promise<Disposable> {
    await this.#permits.take(1, options.signal);
    return this.#hold();
  }

  tryLock(): Disposable | undefined {
    return this.#permits.tryTake(1) ? this.#hold() : undefined;
  }

  #hold(): Disposable {
    return new Permit(() => this.#permits.give(1));
  }
}

/**
 * Many readers or one writer. Requests are served in the order they came, readers that stand together
 * at once: a stream of readers cannot keep a writer waiting for ever.
 */
export class RwLock {
  #readers = 0;
  #isWriting = false;
  readonly #waiters = new Waiters<void, "read" | "write">(() => this.#serve());

  read(options: Wait = {}): Promise<Disposable> {
    return this.#lock("read", options);
  }

  write(options: Wait = {}): Promise<Disposable> {
    return this.#lock("write", options);
  }

  async #lock(kind: "read" | "write", { signal }: Wait): Promise<Disposable> {
    signal?.throwIfAborted();
    if (this.#waiters.size === 0 && this.#isFree(kind)) this.#enter(kind);
    else await this.#waiters.wait(kind, signal);
    return new Permit(() => this.#leave(kind));
  }

  #isFree(kind: "read" | "write"): boolean {
    return !this.#isWriting && (kind === "read" || this.#readers === 0);
  }

  #enter(kind: "read" | "write"): void {
    if (kind === "read") this.#readers++;
    else this.#isWriting = true;
  }

  #leave(kind: "read" | "write"): void {
    if (kind === "read") this.#readers--;
    else this.#isWriting = false;
    this.#serve();
  }

  #serve(): void {
    for (let { first } = this.#waiters; first && this.#isFree(first.want);) {
      this.#enter(first.want);
      this.#waiters.resolveFirst();
      ({ first } = this.#waiters);
    }
  }
}

/**
 * Waiting, with a mutex held, for something that another holder of the mutex makes true. The mutex is
 * let go while waiting and held again afterwards, also after an abort: the caller's lock stays good.
 *
 * ```ts
 * using lock = await mutex.lock();
 * while (queue.length === 0) await filled.wait();
 * ```
 */
export class Condition {
  readonly #mutex: Permits;
  readonly #waiters = new Waiters<void>();

  constructor(mutex: Mutex) {
    this.#mutex = permitsOf(mutex);
  }

  async wait(options: Wait = {}): Promise<void> {
    if (this.#mutex.available > 0)
      throw new Error("lock the mutex before you wait for its condition");
    options.signal?.throwIfAborted();
    const told = this.#waiters.wait(undefined, options.signal);
    this.#mutex.give(1);
    try {
      await told;
    } finally {
      await this.#mutex.take(1);
    }
  }

  /** Wakes who has waited longest. */
  one(): void {
    this.#waiters.resolveFirst();
  }

  all(): void {
    this.#waiters.resolveAll();
  }
}
