// What all that follows changes has in common: one loop over its events, which ends when it is closed or
// its signal says so, and a promise for the moment from which on it misses nothing.

import { CopseError } from "./errors.ts";
import { parseLocation, type Place } from "./location.ts";
import type { Location } from "./types.ts";

/** Only a directory of this machine tells of changes. */
export function watchedPlace(location: Location): Place {
  const place = parseLocation(location);
  if (place.scheme !== "file")
    throw new CopseError("UNSUPPORTED", "only local directories can be watched", {
      location: place.shown,
    });
  return place;
}

export abstract class Watching<Event> implements AsyncIterable<Event, void>, AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #ready = Promise.withResolvers<void>();
  readonly ready = this.#ready.promise;
  /** Aborts when it is closed, too. */
  protected readonly signal: AbortSignal;
  #isIterated = false;

  constructor(signal: AbortSignal | undefined) {
    this.signal = signal ? AbortSignal.any([signal, this.#stop.signal]) : this.#stop.signal;
    this.ready.catch(() => {}); // whoever iterates hears of it, too
  }

  /** The events; throws when `signal` aborts. */
  protected abstract events(): AsyncGenerator<Event, void>;

  /** From now on nothing is missed. */
  protected follows(): void {
    this.#ready.resolve();
  }

  /** Being closed is an end, not a failure. */
  async *#untilClosed(): AsyncGenerator<Event, void> {
    try {
      yield* this.events();
    } catch (error) {
      this.#ready.reject(error);
      if (!this.#stop.signal.aborted) throw error;
    }
  }

  [Symbol.asyncIterator](): AsyncIterator<Event, void> {
    if (this.#isIterated)
      throw new CopseError("ARGUMENT", "a watch can be iterated once: start another one");
    this.#isIterated = true;
    return this.#untilClosed();
  }

  close(): void {
    this.#stop.abort(new CopseError("CANCELLED", "the watch was closed"));
    this.#ready.reject(this.#stop.signal.reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}
