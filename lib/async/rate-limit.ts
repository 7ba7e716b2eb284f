import { Deque } from "./deque.ts";
import { positive, wholeNumber } from "./errors.ts";
import { systemClock, type Clock } from "./sleep.ts";
import { Waiters, type Wait } from "./waiters.ts";

/** How a limit counts; `now` in milliseconds. */
interface Rule {
  /** No single take may be larger. */
  readonly most: number;
  /** Milliseconds until `count` may be taken; 0: now. */
  delay(count: number, now: number): number;
  take(count: number, now: number): void;
}

/** Fills at a steady rate, and what was not used is there later, up to `burst`. */
function tokenBucket(perSecond: number, burst: number): Rule {
  let tokens = burst;
  let at = -Infinity;
  const fill = (now: number): void => {
    if (now > at) tokens = Math.min(burst, tokens + ((now - at) / 1000) * perSecond);
    at = now;
  };
  return {
    most: burst,
    delay(count, now) {
      fill(now);
      // Rounding must not make somebody wait once more for the billionth part of a token.
      const missing = count - tokens;
      return missing > 1e-9 ? (missing / perSecond) * 1000 : 0;
    },
    take(count) {
      tokens -= count;
    },
  };
}

/** Drains at a steady rate: takes stand at least their count / rate apart, whatever went unused. */
function leakyBucket(perSecond: number, capacity: number): Rule {
  let free = -Infinity; // when the next may come
  return {
    most: capacity,
    delay: (_count, now) => Math.max(0, free - now),
    take(count, now) {
      free = Math.max(free, now) + (count / perSecond) * 1000;
    },
  };
}

/** At most `count` in any stretch of `milliseconds`. */
function slidingWindow(count: number, milliseconds: number): Rule {
  const taken = new Deque<{ readonly at: number; readonly count: number }>();
  let used = 0;
  const forget = (now: number): void => {
    while (taken.size > 0 && taken.front.at + milliseconds <= now) used -= taken.shift().count;
  };
  return {
    most: count,
    delay(wanted, now) {
      forget(now);
      // Enough of the oldest must fall out; look again then, they fall one after another.
      return used + wanted <= count ? 0 : taken.front.at + milliseconds - now;
    },
    take(wanted, now) {
      taken.push({ at: now, count: wanted });
      used += wanted;
    },
  };
}

/**
 * So many a second, first come, first served.
 *
 * ```ts
 * const limit = new RateLimit({ perSecond: 2.5, burst: 5 });
 * await limit.take(1, { signal });
 * ```
 */
export class RateLimit {
  #rule: Rule;
  readonly #clock: Clock;
  readonly #waiters = new Waiters<void, number>(() => this.#wake.abort());
  #wake = new AbortController();
  #isServing = false;

  /** A token bucket: unused tokens are kept up to `burst` (default: one second's, at least 1). */
  constructor(options: {
    readonly perSecond: number;
    readonly burst?: number;
    readonly clock?: Clock;
  }) {
    const perSecond = positive("perSecond", options.perSecond);
    const burst = positive("burst", options.burst ?? Math.max(1, perSecond));
    this.#rule = tokenBucket(perSecond, burst);
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * Evenly spaced: after a take of `count` the next comes `count / perSecond` seconds later, and idle
   * time saves nothing up. `capacity`: the largest single take; default no bound.
   */
  static leakyBucket(options: {
    readonly perSecond: number;
    readonly capacity?: number;
    readonly clock?: Clock;
  }): RateLimit {
    const limit = new RateLimit({ perSecond: options.perSecond, ...clockOf(options) });
    limit.#rule = leakyBucket(
      options.perSecond,
      positive("capacity", options.capacity ?? Infinity),
    );
    return limit;
  }

  /** At most `count` in any stretch of `milliseconds`. */
  static slidingWindow(options: {
    readonly count: number;
    readonly milliseconds: number;
    readonly clock?: Clock;
  }): RateLimit {
    const count = wholeNumber("count", options.count, 1);
    const limit = new RateLimit({ perSecond: 1, ...clockOf(options) });
    limit.#rule = slidingWindow(count, positive("milliseconds", options.milliseconds));
    return limit;
  }

  /** Waits for its turn. More than can ever be had at once is a RangeError. Fractions are fine. */
  async take(count = 1, options: Wait = {}): Promise<void> {
    const { signal } = options;
    signal?.throwIfAborted();
    if (this.tryTake(count)) return;
    const turn = this.#waiters.wait(count, signal);
    if (!this.#isServing) void this.#serve();
    await turn;
  }

  /** False when it would have to wait. */
  tryTake(count = 1): boolean {
    positive("count", count);
    if (count > this.#rule.most)
      throw new RangeError(`count is ${count}, and at most ${this.#rule.most} can be had at once`);
    const now = this.#clock.now();
    if (this.#waiters.size > 0 || this.#rule.delay(count, now) > 0) return false;
    this.#rule.take(count, now);
    return true;
  }

  /** One sleeper for the whole queue: it sleeps for the first, and looks again when the first leaves. */
  async #serve(): Promise<void> {
    this.#isServing = true;
    for (let { first } = this.#waiters; first; { first } = this.#waiters) {
      const now = this.#clock.now();
      const delay = this.#rule.delay(first.want, now);
      if (delay <= 0) {
        this.#rule.take(first.want, now);
        this.#waiters.resolveFirst();
        continue;
      }
      this.#wake = new AbortController();
      try {
        await this.#clock.sleep(delay, { signal: this.#wake.signal });
      } catch (error) {
        // Woken because somebody left; anything else is the clock's own trouble, and everybody's.
        if (!this.#wake.signal.aborted) this.#waiters.rejectAll(error);
      }
    }
    this.#isServing = false;
  }
}

function clockOf(options: { readonly clock?: Clock }): { readonly clock?: Clock } {
  return options.clock ? { clock: options.clock } : {};
}
