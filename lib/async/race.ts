// Several works at once. The platform's Promise.race and its kin leave the losers running; these abort
// them by the signal each work was given, and wait until they have ended.

import { onAbort } from "./abort.ts";
import { after, timeoutError } from "./sleep.ts";
import { TaskGroup, type Work } from "./task-group.ts";
import type { Wait } from "./waiters.ts";

interface Outcome<T> {
  readonly work: number;
  readonly value?: T;
  readonly error?: unknown;
  readonly isFailed: boolean;
}

/** The reason that losers are aborted with. */
function lost(): DOMException {
  return new DOMException("Another one was first", "AbortError");
}

/** Starts all, aborts the rest at the first outcome that `decides`, and waits for everyone. */
async function run<T>(
  works: readonly Work<T>[],
  options: Wait,
  decides: (outcome: Outcome<T>) => boolean,
): Promise<{ readonly decided: Outcome<T> | undefined; readonly outcomes: Outcome<T>[] }> {
  const { signal } = options;
  signal?.throwIfAborted();
  const controller = new AbortController();
  const forget = signal && onAbort(signal, () => controller.abort(signal.reason));
  let decided: Outcome<T> | undefined;
  const outcomes: Outcome<T>[] = [];
  const settle = (outcome: Outcome<T>): void => {
    outcomes.push(outcome);
    if (decided || controller.signal.aborted || !decides(outcome)) return;
    decided = outcome;
    controller.abort(lost());
  };
  await Promise.all(
    works.map(async (work, index) => {
      try {
        settle({ work: index, value: await work(controller.signal), isFailed: false });
      } catch (error) {
        settle({ work: index, error, isFailed: true });
      }
    }),
  );
  forget?.();
  if (!decided) signal?.throwIfAborted();
  return { decided, outcomes };
}

function valueOf<T>(outcome: Outcome<T>): T {
  if (outcome.isFailed) throw outcome.error;
  return outcome.value as T; // it did not fail
}

/** The first to settle wins, well or ill. */
export async function race<T>(works: Iterable<Work<T>>, options: Wait = {}): Promise<T> {
  const all = [...works];
  if (all.length === 0) throw new RangeError("race needs at least one work");
  const { decided } = await run(all, options, () => true);
  return valueOf(decided!); // somebody settled, or run threw the reason of the abort
}

/** The first to succeed wins; all failing gives an AggregateError, in the order of the works. */
export async function any<T>(works: Iterable<Work<T>>, options: Wait = {}): Promise<T> {
  const { decided, outcomes } = await run([...works], options, ({ isFailed }) => !isFailed);
  if (decided) return valueOf(decided);
  const errors = outcomes.toSorted((a, b) => a.work - b.work).map(({ error }) => error);
  throw new AggregateError(errors, "every work failed");
}

/** All values, in the order of the works; the first failure cancels the rest and is thrown. */
export async function all<T>(
  works: Iterable<Work<T>>,
  options: Wait & { readonly concurrency?: number } = {},
): Promise<T[]> {
  options.signal?.throwIfAborted();
  const values: Promise<T>[] = [];
  let first: { readonly error: unknown } | undefined;
  try {
    await using group = new TaskGroup<T>({ ...options, results: false });
    for (const work of works)
      values.push(
        group.run(async (signal) => {
          try {
            return await work(signal);
          } catch (error) {
            if (!signal.aborted) first ??= { error };
            throw error;
          }
        }),
      );
  } catch (error) {
    throw first ? first.error : error;
  }
  return Promise.all(values);
}

/** The work's value within the time, else a `TimeoutError`; the work is aborted and waited for. */
export async function withTimeout<T>(
  milliseconds: number,
  work: Work<T>,
  options: Wait = {},
): Promise<T> {
  if (Number.isNaN(Number(milliseconds)))
    throw new RangeError(
      `milliseconds must be a number, not ${typeof milliseconds === "number" ? "NaN" : typeof milliseconds}`,
    );
  const { signal } = options;
  signal?.throwIfAborted();
  const controller = new AbortController();
  const forget = signal && onAbort(signal, () => controller.abort(signal.reason));
  const end = after(Math.max(0, milliseconds), () => controller.abort(timeoutError()));
  try {
    const value = await work(controller.signal);
    controller.signal.throwIfAborted();
    return value;
  } catch (error) {
    // Whatever the work says when it is cut short, it was cut short.
    controller.signal.throwIfAborted();
    throw error;
  } finally {
    end();
    forget?.();
  }
}
