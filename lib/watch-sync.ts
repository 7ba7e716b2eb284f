// watch-sync: syncs again whenever something changed. What a watch tells is taken as a sign that there is
// something to do, never as what to do: each round is a whole sync, which finds it out by itself. So
// nothing is lost with events that were lost, and a tree of which nothing was said is looked at once more
// a moment after the last change.

import { Notify } from "./async/gates.ts";
import { race } from "./async/race.ts";
import { nextPause } from "./async/retry.ts";
import { sleep } from "./async/sleep.ts";
import { argumentError, showValue } from "./errors.ts";
import { parseLocation } from "./location.ts";
import { checkOptions } from "./check.ts";
import { sync } from "./sync.ts";
import type {
  Failure,
  Location,
  SyncOptions,
  Transfer,
  Watcher,
  WatchOptions,
  WatchSyncEvent,
  WatchSyncOptions,
  WatchSyncer,
} from "./types.ts";
import { watch } from "./watch.ts";
import { watchedPlace, Watching } from "./watching.ts";

const SETTLE_MS = 100;
const MAX_WAIT_MS = 2000;
/** After a round that did something: what was changed without a sign. */
const LOOK_AGAIN_MS = 1000;
const RETRY_LEAST_MS = 1000;
const RETRY_MOST_MS = 60_000;

/** That something changed, and when. */
class Changes implements Disposable {
  readonly #watchers: readonly Watcher[];
  #first: number | undefined;
  #last = 0;
  #failed: { readonly error: unknown } | undefined;
  readonly #told = new Notify();

  constructor(roots: readonly Location[], options: WatchOptions) {
    this.#watchers = roots.map((root) => watch(root, options));
    for (const watcher of this.#watchers) void this.#listen(watcher);
  }

  async #listen(watcher: Watcher): Promise<void> {
    try {
      for await (const _ of watcher) this.tell();
    } catch (error) {
      this.#failed = { error };
      this.#told.all();
    }
  }

  tell(): void {
    const now = performance.now();
    this.#first ??= now;
    this.#last = now;
    this.#told.all();
  }

  /** When the watches follow changes. */
  async ready(): Promise<void> {
    await Promise.all(this.#watchers.map(({ ready }) => ready));
  }

  /** All that was told so far is being looked at. */
  taken(): void {
    this.#first = undefined;
  }

  /** Waits until something is to be done: what changed is quiet, or `look` milliseconds are over. */
  async due(settle: number, maxWait: number, look: number, signal: AbortSignal): Promise<void> {
    const until = performance.now() + look;
    for (;;) {
      signal.throwIfAborted();
      if (this.#failed) throw this.#failed.error;
      const now = performance.now();
      const quiet =
        this.#first === undefined
          ? until
          : Math.min(this.#last + settle, this.#first + maxWait, until);
      if (now >= quiet) return;
      await race(
        [(signal) => this.#told.wait({ signal }), (signal) => sleep(quiet - now, { signal })],
        { signal },
      );
    }
  }

  [Symbol.dispose](): void {
    for (const watcher of this.#watchers) watcher.close();
  }
}

function milliseconds(name: string, value: unknown, otherwise: number): number {
  if (value === undefined) return otherwise;
  if (typeof value !== "number" || !(value >= 0) || value === Infinity)
    throw argumentError(name, `must be a number of milliseconds, not ${showValue(value)}`);
  return value;
}

/** Rows are made for who asks for them: only where there is an error. */
function failuresOf(transfer: Transfer): Failure[] {
  if (transfer.errors === 0) return [];
  return transfer.actions.filter((action) => action.kind === "error");
}

/** What of a round is worth telling: the same trouble again is not. */
function newsOf(transfer: Transfer, before: string): string | undefined {
  const trouble = failuresOf(transfer)
    .map(({ path, error }) => `${path} ${error.code}`)
    .join("\n");
  return transfer.planned > transfer.errors || trouble !== before ? trouble : undefined;
}

class Syncer extends Watching<WatchSyncEvent> implements WatchSyncer {
  readonly #roots: readonly Location[];
  readonly #round: (signal: AbortSignal) => Promise<Transfer>;
  readonly #watched: WatchOptions;
  readonly #settle: number;
  readonly #maxWait: number;
  readonly #stops: boolean;
  /** What the rounds since the last good one failed with. */
  #told = "";

  constructor(from: Location, to: Location, options: WatchSyncOptions) {
    checkOptions(options);
    super(options.signal);
    const { settle, maxWait, onError = "continue", signal: _, ...rest } = options;
    if (onError !== "continue" && onError !== "stop")
      throw argumentError("onError", `must be continue or stop, not ${showValue(onError)}`);
    if ((rest as SyncOptions).dryRun)
      throw argumentError("dryRun", "makes no sense here: use sync");
    const { include, exclude, runtime } = rest;
    this.#settle = milliseconds("settle", settle, SETTLE_MS);
    this.#maxWait = milliseconds("maxWait", maxWait, MAX_WAIT_MS);
    this.#stops = onError === "stop";
    this.#watched = {
      ...(include && { include }),
      ...(exclude && { exclude }),
      ...(runtime && { runtime }),
    };
    this.#roots = rest.twoWay ? [from, to] : [from];
    this.#roots.forEach(watchedPlace);
    parseLocation(to);
    this.#round = async (signal) => await sync(from, to, { ...rest, signal });
  }

  /** Rounds, as long as the watches hold. */
  async *#rounds(changes: Changes): AsyncGenerator<WatchSyncEvent, void> {
    let trouble = "";
    let retry = 0;
    let isFirst = true;
    await changes.ready();
    for (;;) {
      changes.taken();
      let look = Infinity;
      try {
        const transfer = await this.#round(this.signal);
        this.#told = "";
        const isWell = transfer.complete && transfer.errors === 0;
        retry = isWell ? 0 : nextRetry(retry);
        look = isWell ? (transfer.planned > 0 ? LOOK_AGAIN_MS : Infinity) : retry;
        const news = newsOf(transfer, trouble);
        if (news !== undefined || isFirst) yield { kind: "synced", transfer };
        trouble = news ?? trouble;
        this.#mayGoOn(transfer);
      } catch (error) {
        if (this.signal.aborted || this.#stops) throw error;
        retry = look = nextRetry(retry);
        yield* this.#failed(error as Error);
      }
      isFirst = false;
      this.follows();
      await changes.due(this.#settle, this.#maxWait, look, this.signal);
    }
  }

  /** The same again is no news. */
  *#failed(error: Error): Generator<WatchSyncEvent, void> {
    if (error.message !== this.#told) yield { kind: "failed", error };
    this.#told = error.message;
  }

  #mayGoOn(transfer: Transfer): void {
    const [failure] = failuresOf(transfer);
    if (this.#stops && failure) throw failure.error;
  }

  /** A watch that ends, because its root is gone perhaps, begins anew. */
  protected override async *events(): AsyncGenerator<WatchSyncEvent, void> {
    for (let retry = 0; ;) {
      this.signal.throwIfAborted();
      using changes = new Changes(this.#roots, { ...this.#watched, signal: this.signal });
      try {
        for await (const event of this.#rounds(changes)) {
          retry = 0;
          yield event;
        }
      } catch (error) {
        if (this.signal.aborted || this.#stops) throw error;
        retry = nextRetry(retry);
        yield* this.#failed(error as Error);
      }
      await sleep(retry, { signal: this.signal });
    }
  }
}

const nextRetry = (before: number): number =>
  nextPause(before, { first: RETRY_LEAST_MS, factor: 2, most: RETRY_MOST_MS });

/**
 * `sync`, and again whenever something changed, until it is closed, left or aborted.
 *
 * ```ts
 * for await (const event of watchSync("site", "/backup/site"))
 *   if (event.kind === "synced") console.log(event.transfer.copied);
 * ```
 *
 * The source is a local directory; with `twoWay` both are. Changes that come together are one round:
 * one begins when nothing changed for `settle` milliseconds, or `maxWait` after the first change. What
 * fails does not end it: it is tried again, after a second and then less often, up to a minute.
 */
export function watchSync(
  from: Location,
  to: Location,
  options: WatchSyncOptions = {},
): WatchSyncer {
  return new Syncer(from, to, options);
}
