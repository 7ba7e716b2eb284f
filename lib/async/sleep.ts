// Time: sleeping, ticking, and a signal that comes at a given moment.

import { onAbort } from "./abort.ts";
import type { Wait } from "./waiters.ts";

/** Where time comes from; tests hand in their own. */
export interface Clock {
  /** Milliseconds since some moment; never goes back. */
  now(): number;
  sleep(milliseconds: number, options?: Wait): Promise<void>;
}

// A timer of the platform takes 31 bits of milliseconds and fires at once above them.
const TIMER_MAX = 2 ** 31 - 1;

/** A timer of any length; the function it returns ends it. */
export function after(milliseconds: number, call: () => void): () => void {
  let timer: ReturnType<typeof setTimeout>;
  const until = performance.now() + milliseconds;
  const set = (left: number): void => {
    timer =
      left > TIMER_MAX
        ? setTimeout(() => set(until - performance.now()), TIMER_MAX)
        : setTimeout(call, left);
  };
  set(milliseconds);
  return () => clearTimeout(timer);
}

/** Waits; the process stays as long. Rejects with the signal's reason. `Infinity` waits for the signal. */
export function sleep(milliseconds: number, options: Wait = {}): Promise<void> {
  if (Number.isNaN(milliseconds))
    return Promise.reject(new RangeError("milliseconds must be a number, not NaN"));
  const { signal } = options;
  if (signal?.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    if (!signal) {
      after(Math.max(0, milliseconds), resolve);
      return;
    }
    const end = after(Math.max(0, milliseconds), () => {
      forget();
      resolve();
    });
    const forget = onAbort(signal, () => {
      end();
      reject(signal.reason);
    });
  });
}

export const systemClock: Clock = { now: () => performance.now(), sleep };

/**
 * Ticks: yields 1, 2, 3, … every `milliseconds`, counted from the first `next()`, so that it never
 * drifts. A body that takes longer than a tick gets the newest number once: late ticks are merged, and
 * the jump in the count tells how many.
 */
export async function* interval(
  milliseconds: number,
  options: Wait = {},
): AsyncGenerator<number, void, undefined> {
  if (!(milliseconds > 0))
    throw new RangeError(`milliseconds must be above 0, not ${String(milliseconds)}`);
  const begin = performance.now();
  for (let tick = 0; ;) {
    options.signal?.throwIfAborted();
    const due = Math.floor((performance.now() - begin) / milliseconds);
    if (due > tick) {
      tick = due;
    } else {
      tick++;
      // A timer may fire a little early: the tick must not come before its time.
      for (let left = 1; left > 0;) {
        left = begin + tick * milliseconds - performance.now();
        if (left > 0) await sleep(left, options);
      }
    }
    yield tick;
  }
}

/**
 * A signal that aborts with a `TimeoutError` at a moment (a number: milliseconds since 1970, as
 * `Date.now()`), or with the given signal's reason when that comes first. Does not keep the process.
 */
export function deadline(at: Date | number, options: Wait = {}): AbortSignal {
  const left = Number(at) - Date.now();
  if (Number.isNaN(left)) throw new RangeError("the deadline must be a date or a number");
  const { signal } = options;
  const timeout =
    left <= 0 ? AbortSignal.abort(timeoutError()) : left === Infinity ? undefined : timer(left);
  if (timeout && signal) return AbortSignal.any([signal, timeout]);
  return timeout ?? signal ?? new AbortController().signal;
}

function timer(milliseconds: number): AbortSignal {
  const controller = new AbortController();
  const set = (left: number): void => {
    setTimeout(
      () => (left > TIMER_MAX ? set(left - TIMER_MAX) : controller.abort(timeoutError())),
      Math.min(left, TIMER_MAX),
    ).unref();
  };
  set(milliseconds);
  return controller.signal;
}

export function timeoutError(): DOMException {
  return new DOMException("The time is over", "TimeoutError");
}
