import { ClosedError, wholeNumber } from "./errors.ts";
import { Permit, Permits } from "./permits.ts";
import type { Wait } from "./waiters.ts";

export interface PoolOptions<T> {
  make(signal: AbortSignal): T | PromiseLike<T>;
  end?(thing: T): void | PromiseLike<void>;
  /** Asked before an idle thing is lent again; false, or a throw, ends it. */
  healthy?(thing: T): boolean | PromiseLike<boolean>;
  /** Made at once, and not ended for being idle; default 0. */
  readonly min?: number;
  readonly max: number;
  /** Milliseconds after which an idle thing is ended; default: never. */
  readonly idle?: number;
}

/** A thing lent: `using` or `await using` gives it back, `discard()` says that it is broken. */
export interface Lease<T> extends AsyncDisposable {
  readonly value: T;
  discard(): void;
}

interface Idle<T> {
  readonly value: T;
  readonly since: number;
}

/**
 * Things that are dear to make, such as connections: at most `max`, lent to one at a time, first come,
 * first served.
 *
 * ```ts
 * await using lease = await connections.acquire();
 * await lease.value.query("…");
 * ```
 */
export class Pool<T> implements AsyncDisposable {
  readonly #options: PoolOptions<T>;
  readonly #max: number;
  readonly #min: number;
  readonly #permits: Permits;
  readonly #closing = new AbortController();
  /** The one given back last is lent first: those that nobody needs grow old. */
  readonly #idle: Idle<T>[] = [];
  #sweep: ReturnType<typeof setTimeout> | undefined;

  constructor(options: PoolOptions<T>) {
    this.#options = options;
    this.#max = wholeNumber("max", options.max, 1);
    this.#min = wholeNumber("min", options.min ?? 0, 0);
    if (this.#min > this.#max)
      throw new RangeError(`min is ${this.#min}, and max only ${this.#max}`);
    if (options.idle !== undefined && !(options.idle >= 0))
      throw new RangeError(`idle must be at least 0, not ${String(options.idle)}`);
    this.#permits = new Permits(this.#max);
    if (this.#min > 0) void this.#fill();
  }

  /** Things that lie ready. */
  get idle(): number {
    return this.#idle.length;
  }

  /** Rejects with what `make` threw, with the signal's reason, or with a ClosedError. */
  async acquire(options: Wait = {}): Promise<Lease<T>> {
    this.#closing.signal.throwIfAborted();
    await this.#permits.take(1, options.signal);
    const permit = new Permit(() => this.#permits.give(1));
    try {
      return this.#lease((await this.#ready()) ?? (await this.#make(options.signal)), permit);
    } catch (error) {
      permit[Symbol.dispose]();
      throw error;
    }
  }

  /** Refuses new leases, waits for those that are out, ends everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#closing.signal.aborted) {
      const reason = new ClosedError("the pool is closed");
      this.#closing.abort(reason);
      this.#permits.refuse(reason);
    }
    clearTimeout(this.#sweep);
    // All permits: nobody has anything.
    await this.#permits.take(this.#max);
    this.#permits.give(this.#max);
    const errors: unknown[] = [];
    for (let idle = this.#idle.pop(); idle; idle = this.#idle.pop()) {
      try {
        await this.#options.end?.(idle.value);
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors);
  }

  /** A healthy one of those that lie ready. */
  async #ready(): Promise<{ readonly value: T } | undefined> {
    const { healthy } = this.#options;
    for (let idle = this.#idle.pop(); idle; idle = this.#idle.pop()) {
      if (!healthy) return idle;
      try {
        if (await healthy(idle.value)) return idle;
      } catch {
        // Not healthy either.
      }
      await this.#end(idle.value);
    }
    return undefined;
  }

  async #make(signal?: AbortSignal): Promise<{ readonly value: T }> {
    const closing = this.#closing.signal;
    closing.throwIfAborted();
    const value = await this.#options.make(signal ? AbortSignal.any([signal, closing]) : closing);
    if (!signal?.aborted) return { value };
    // Nobody waits for it any more, but it is good.
    this.#putBack(value);
    throw signal.reason;
  }

  #lease({ value }: { readonly value: T }, permit: Permit): Lease<T> {
    let isBroken = false;
    let isOver = false;
    return {
      value,
      discard: () => {
        isBroken = true;
      },
      [Symbol.asyncDispose]: async () => {
        if (isOver) return;
        isOver = true;
        try {
          if (isBroken) await this.#end(value);
          else this.#putBack(value);
        } finally {
          permit[Symbol.dispose]();
        }
      },
    };
  }

  #putBack(value: T): void {
    this.#idle.push({ value, since: performance.now() });
    this.#sweepLater();
  }

  /** A thing that cannot even end well is gone all the same. */
  async #end(value: T): Promise<void> {
    try {
      await this.#options.end?.(value);
    } catch {
      // The pool goes on without it.
    }
  }

  async #fill(): Promise<void> {
    const leases = await Promise.allSettled(
      Array.from({ length: this.#min }, () => this.acquire()),
    );
    for (const lease of leases)
      if (lease.status === "fulfilled") await lease.value[Symbol.asyncDispose]();
    // What could not be made now is made by who needs it, and tells them why.
  }

  #sweepLater(): void {
    const { idle } = this.#options;
    const oldest = this.#idle[0];
    if (idle === undefined || idle === Infinity || this.#sweep || !oldest) return;
    if (this.#closing.signal.aborted || this.#idle.length <= this.#min) return;
    this.#sweep = setTimeout(
      () => {
        this.#sweep = undefined;
        while (this.#idle.length > this.#min && performance.now() - this.#idle[0]!.since >= idle)
          void this.#end(this.#idle.shift()!.value);
        this.#sweepLater();
      },
      Math.max(1, oldest.since + idle - performance.now()),
    );
    // An idle pool lets the process exit.
    this.#sweep.unref();
  }
}
