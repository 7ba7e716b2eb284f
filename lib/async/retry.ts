import { positive, wholeOrInfinite } from "./errors.ts";
import { sleep } from "./sleep.ts";
import type { Wait } from "./waiters.ts";

const DELAY_MAX = 30_000; // milliseconds; longer pauses look like a hang

export interface RetryOptions extends Wait {
  /** In all; default 3. */
  readonly attempts?: number;
  /** Milliseconds before the second attempt; default 100. */
  readonly delay?: number;
  /** By which the delay grows each time; default 2. At most 30 seconds come of it. */
  readonly factor?: number;
  /** Default true: each pause is between a half and the whole of what it would be. */
  readonly jitter?: boolean;
  /** Whether to try again after this error; default: always. */
  when?(error: unknown): boolean;
}

/** The pause after one of `before` milliseconds; 0: there was none. */
export function nextPause(
  before: number,
  {
    first,
    factor,
    most,
  }: { readonly first: number; readonly factor: number; readonly most: number },
): number {
  return Math.min(most, before === 0 ? first : before * factor);
}

/** Tries again after a failure. The last error is thrown, with the earlier ones as its cause chain. */
export async function retry<T>(
  work: (signal: AbortSignal, attempt: number) => T | PromiseLike<T>,
  options: RetryOptions = {},
): Promise<T> {
  const attempts = wholeOrInfinite("attempts", options.attempts ?? 3, 1);
  const factor = positive("factor", options.factor ?? 2);
  const { jitter = true, when = () => true, delay: first = 100 } = options;
  if (!(first >= 0)) throw new RangeError(`delay must be at least 0, not ${String(first)}`);
  const signal = options.signal ?? new AbortController().signal;
  let previous: unknown;
  for (let attempt = 1, pause = 0; ; attempt++) {
    signal.throwIfAborted();
    try {
      return await work(signal, attempt);
    } catch (error) {
      signal.throwIfAborted();
      if (attempt > 1) chain(error, previous);
      if (attempt >= attempts || !when(error)) throw error;
      previous = error;
    }
    pause = nextPause(pause, { first, factor, most: DELAY_MAX });
    await sleep(jitter ? pause * (0.5 + Math.random() / 2) : pause, { signal });
  }
}

/** Hangs the earlier error on the end of the newer one's causes, unless it hangs there already. */
function chain(error: unknown, earlier: unknown): void {
  const seen = new Set<unknown>();
  for (let at = error; at instanceof Error && !seen.has(at); at = at.cause) {
    if (at === earlier) return;
    seen.add(at);
    if (at.cause === undefined && Object.isExtensible(at)) {
      at.cause = earlier;
      return;
    }
  }
}

/** One call shared by all who ask, however often; after a failure the next who asks tries again. */
export function once<T>(work: () => T | PromiseLike<T>): () => Promise<T> {
  let shared: Promise<T> | undefined;
  return () => {
    if (shared) return shared;
    const mine = (async () => work())();
    shared = mine;
    mine.catch(() => {
      if (shared === mine) shared = undefined;
    });
    return mine;
  };
}
