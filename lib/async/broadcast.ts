// One value to many: every one of them (Broadcast), or the newest (Watch).

import { ClosedError, wholeNumber } from "./errors.ts";
import { Waiters, type Wait } from "./waiters.ts";

/** A value, and how many were overwritten before this subscriber came to read them. */
export interface Heard<T> {
  readonly value: T;
  readonly missed: number;
}

type Next<T> = IteratorResult<Heard<T>, undefined>;

/** Every subscriber gets every value; who is more than `capacity` behind learns how many it missed. */
export class Broadcast<T> implements Disposable {
  readonly #capacity: number;
  readonly #values: T[] = [];
  /** Values sent so far: value `n` lies at `n % capacity`. */
  #sent = 0;
  #isClosed = false;
  /** Subscribers that wait for the next value. */
  readonly #waiting = new Set<Waiters<void>>();

  constructor(capacity: number) {
    this.#capacity = wholeNumber("capacity", capacity, 1);
  }

  /** Never waits. After the end: a ClosedError. */
  send(value: T): void {
    if (this.#isClosed) throw new ClosedError("the broadcast is closed");
    this.#values[this.#sent++ % this.#capacity] = value;
    this.#wake();
  }

  /** Hears what is sent from now on. Ends when the broadcast or the subscription is disposed. */
  subscribe(): AsyncIterableIterator<Heard<T>, undefined> & Disposable {
    let at = this.#sent;
    let isOver = false;
    const waiters = new Waiters<void>();
    const next = async (): Promise<Next<T>> => {
      while (!isOver && at === this.#sent && !this.#isClosed) {
        this.#waiting.add(waiters);
        await waiters.wait(undefined);
      }
      if (isOver || at === this.#sent) return { value: undefined, done: true };
      const oldest = Math.max(at, this.#sent - this.#capacity);
      const missed = oldest - at;
      at = oldest + 1;
      // Written: it lies below #sent and within the capacity.
      return { value: { value: this.#values[oldest % this.#capacity] as T, missed }, done: false };
    };
    const end = (): void => {
      isOver = true;
      this.#waiting.delete(waiters);
      waiters.resolveAll();
    };
    return {
      next,
      return: () => {
        end();
        return Promise.resolve({ value: undefined, done: true });
      },
      [Symbol.asyncIterator]() {
        return this;
      },
      [Symbol.dispose]: end,
    };
  }

  /** What was sent is still heard. */
  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#wake();
  }

  #wake(): void {
    for (const waiters of this.#waiting) waiters.resolveAll();
    this.#waiting.clear();
  }
}

/** The newest value: who comes late or reads slowly sees only that. */
export class Watch<T> implements AsyncIterable<T> {
  #value: T;
  #version = 0;
  readonly #waiters = new Waiters<void>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  /** Setting an equal value is a change too. */
  set value(value: T) {
    this.#value = value;
    this.#version++;
    this.#waiters.resolveAll();
  }

  /** The newest value after the next change. */
  async changed(options: Wait = {}): Promise<T> {
    await this.#waiters.wait(undefined, options.signal);
    return this.#value;
  }

  /** The value now, then the newest after each change; changes in between are passed over. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (let seen = -1; ;) {
      if (seen === this.#version) await this.#waiters.wait(undefined);
      seen = this.#version;
      yield this.#value;
    }
  }
}
