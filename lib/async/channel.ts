import { ClosedError, wholeOrInfinite } from "./errors.ts";
import { onAbort } from "./abort.ts";
import { Deque } from "./deque.ts";
import { Waiter, Waiters, type Wait } from "./waiters.ts";

type Received<T> = IteratorResult<T, undefined>;

const sent = Promise.resolve();
const closed = (): ClosedError => new ClosedError("the channel is closed");

// For select: what it needs of a channel, and nobody else.
let receiversOf: <T>(channel: Channel<T>) => Waiters<Received<T>>;

/**
 * Values from senders to receivers, each to one, in the order they were sent.
 *
 * ```ts
 * const lines = new Channel<string>(64);
 * await lines.send("a");            // waits while 64 values are on their way
 * for await (const line of lines) …  // until it is closed and empty
 * ```
 */
export class Channel<T> implements AsyncIterable<T>, Disposable {
  readonly #capacity: number;
  readonly #values = new Deque<T>();
  readonly #senders = new Waiters<void, T>();
  readonly #receivers = new Waiters<Received<T>>();
  #isClosed = false;

  static {
    receiversOf = (channel) => channel.#receivers;
  }

  /** 0 (default): every send waits for its receiver. `Infinity`: none waits. */
  constructor(capacity = 0) {
    this.#capacity = wholeOrInfinite("capacity", capacity, 0);
  }

  get closed(): boolean {
    return this.#isClosed;
  }

  /**
   * Resolves when the value has a place or a receiver. Rejects with a ClosedError, or with the signal's
   * reason: then the value was not sent.
   */
  send(value: T, options: Wait = {}): Promise<void> {
    const { signal } = options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.trySend(value)) return sent;
    return this.#isClosed ? Promise.reject(closed()) : this.#senders.wait(value, signal);
  }

  /** `{ done: true }` once it is closed and empty. */
  receive(options: Wait = {}): Promise<Received<T>> {
    const { signal } = options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    const got = this.tryReceive();
    if (got) return Promise.resolve({ value: got.value, done: false });
    if (this.#isClosed) return Promise.resolve({ value: undefined, done: true });
    return this.#receivers.wait(undefined, signal);
  }

  /** True when there was a place, or somebody who waits for a value. */
  trySend(value: T): boolean {
    if (this.#isClosed) return false;
    if (this.#receivers.resolveFirst({ value, done: false })) return true;
    if (this.#values.size >= this.#capacity) return false;
    this.#values.push(value);
    return true;
  }

  tryReceive(): { value: T } | undefined {
    const sender = this.#senders.first;
    if (this.#values.size === 0) {
      if (!sender) return undefined;
      this.#senders.resolveFirst();
      return { value: sender.want };
    }
    const value = this.#values.shift();
    if (sender) {
      // The place that got free is the next sender's.
      this.#values.push(sender.want);
      this.#senders.resolveFirst();
    }
    return { value };
  }

  /** What was sent can still be received; a send that still waits is refused. */
  close(): void {
    this.#isClosed = true;
    this.#senders.rejectAll(closed());
    this.#receivers.resolveAll({ value: undefined, done: true });
  }

  /** Several iterators share the values: each goes to one. */
  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return { next: () => this.receive() };
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

export type Select<C> = {
  [K in keyof C]: C[K] extends Channel<infer T> ? { key: K; result: Received<T> } : never;
}[keyof C];

// Where the next select begins to look, so that of two full channels each has its turn.
let turn = 0;

/**
 * Takes exactly one value from one of the channels; the others lose nothing. Channels that are closed
 * and empty are passed over; when all are, the result is `{ done: true }` under the first key.
 */
export function select<C extends Record<string, Channel<any>>>(
  channels: C,
  options: Wait = {},
): Promise<Select<C>> {
  const { signal } = options;
  if (signal?.aborted) return Promise.reject(signal.reason);
  const keys = Object.keys(channels);
  if (keys.length === 0) return Promise.reject(new RangeError("select needs at least one channel"));
  // The keys are C's own, and the result is what its channel gave.
  const answer = (key: string, result: Received<unknown>): Select<C> =>
    ({ key, result }) as Select<C>;
  const channelOf = (key: string): Channel<unknown> => channels[key]!; // one of its own keys

  turn = (turn + 1) % Number.MAX_SAFE_INTEGER;
  for (let i = 0; i < keys.length; i++) {
    const key = keys[(turn + i) % keys.length]!;
    const got = channelOf(key).tryReceive();
    if (got) return Promise.resolve(answer(key, { value: got.value, done: false }));
  }
  const open = keys.filter((key) => !channelOf(key).closed);
  if (open.length === 0) return Promise.resolve(answer(keys[0]!, { value: undefined, done: true }));

  return new Promise((resolve, reject) => {
    const waiting: (() => void)[] = [];
    let left = open.length;
    const leave = (): void => {
      for (const forget of waiting) forget();
    };
    for (const key of open) {
      const receivers = receiversOf(channelOf(key));
      const waiter = new Waiter<Received<unknown>, undefined>(
        undefined,
        (result) => {
          // A channel that closes only leaves the choice, until it was the last.
          if (result.done && --left > 0) return;
          leave();
          resolve(answer(result.done ? keys[0]! : key, result));
        },
        reject,
      );
      receivers.add(waiter);
      waiting.push(() => receivers.remove(waiter));
    }
    if (!signal) return;
    waiting.push(
      onAbort(signal, () => {
        leave();
        reject(signal.reason);
      }),
    );
  });
}

/** One value, once. `send` is true the first time; `receive` gives the same value however often. */
export function oneshot<T>(): {
  send(value: T): boolean;
  receive(options?: Wait): Promise<T>;
} {
  const waiters = new Waiters<T>();
  let held: { readonly value: T } | undefined;
  return {
    send(value) {
      if (held) return false;
      held = { value };
      waiters.resolveAll(value);
      return true;
    },
    receive({ signal } = {}) {
      if (signal?.aborted) return Promise.reject(signal.reason);
      return held ? Promise.resolve(held.value) : waiters.wait(undefined, signal);
    },
  };
}
