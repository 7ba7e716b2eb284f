// Passing values: Channel, select, oneshot, Broadcast, Watch.

import { describe, expect, test } from "bun:test";
import {
  Broadcast,
  Channel,
  ClosedError,
  oneshot,
  select,
  sleep,
  Watch,
} from "../lib/async/index.ts";

/** Whether the promise has settled after all microtasks ran. */
async function isSettled(promise: PromiseLike<unknown>): Promise<boolean> {
  let settled = false;
  const note = (): void => {
    settled = true;
  };
  promise.then(note, note);
  await sleep(0);
  return settled;
}

async function errorOf(promise: PromiseLike<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error("it should have failed");
    },
    (error: unknown) => error,
  );
}

describe("Channel", () => {
  test("rendezvous: trySend succeeds only if a receiver waits", async () => {
    const channel = new Channel<number>(0);
    expect(channel.trySend(1)).toBe(false);
    const got = channel.receive();
    expect(channel.trySend(2)).toBe(true);
    expect(await got).toEqual({ value: 2, done: false });
    const sent = channel.send(3);
    expect(await isSettled(sent)).toBe(false);
    expect(channel.tryReceive()).toEqual({ value: 3 });
    await sent;
  });

  test("bounded: send waits at capacity, and values come in the order they were sent", async () => {
    const channel = new Channel<number>(2);
    await channel.send(1);
    await channel.send(2);
    const third = channel.send(3);
    const fourth = channel.send(4);
    expect(await isSettled(third)).toBe(false);
    expect(await channel.receive()).toEqual({ value: 1, done: false });
    await third;
    expect(await isSettled(fourth)).toBe(false);
    channel.trySend(9);
    expect([2, 3, 4].map(() => channel.tryReceive()?.value)).toEqual([2, 3, 4]);
    await fourth;
    expect(channel.tryReceive()).toBeUndefined();
  });

  test("unbounded: no send waits", async () => {
    const channel = new Channel<number>(Infinity);
    for (let i = 0; i < 10_000; i++) expect(channel.trySend(i)).toBe(true);
    for (let i = 0; i < 10_000; i++) expect(channel.tryReceive()?.value).toBe(i);
  });

  test("close: what was sent is drained, then it ends; waiting senders and receivers are told", async () => {
    const channel = new Channel<string>(1);
    await channel.send("a");
    const waiting = channel.send("b");
    channel.close();
    expect(await errorOf(waiting)).toBeInstanceOf(ClosedError);
    expect(await errorOf(channel.send("c"))).toBeInstanceOf(ClosedError);
    expect(channel.trySend("c")).toBe(false);
    expect(await Array.fromAsync(channel)).toEqual(["a"]);
    const empty = new Channel(0);
    const receiver = empty.receive();
    empty[Symbol.dispose]();
    expect(await receiver).toEqual({ value: undefined, done: true });
  });

  test("an aborted send or receive leaves no ghost waiter", async () => {
    const channel = new Channel<number>(0);
    const controller = new AbortController();
    const receive = channel.receive({ signal: controller.signal });
    controller.abort("gone");
    expect(await errorOf(receive)).toBe("gone");
    expect(channel.trySend(1)).toBe(false);
    const other = new AbortController();
    const send = channel.send(1, { signal: other.signal });
    other.abort("gone");
    expect(await errorOf(send)).toBe("gone");
    expect(channel.tryReceive()).toBeUndefined();
    expect(await errorOf(channel.receive({ signal: AbortSignal.abort("early") }))).toBe("early");
  });

  test("aborting a send that was already taken does not report failure", async () => {
    const channel = new Channel<number>(0);
    const controller = new AbortController();
    const send = channel.send(1, { signal: controller.signal });
    expect(channel.tryReceive()).toEqual({ value: 1 });
    controller.abort("late");
    await send;
  });

  test("aborting a receive that was already served does not lose the value", async () => {
    const channel = new Channel<number>(0);
    const controller = new AbortController();
    const receive = channel.receive({ signal: controller.signal });
    channel.trySend(7);
    controller.abort("late");
    expect(await receive).toEqual({ value: 7, done: false });
  });

  test("undefined is a value like any other", async () => {
    const channel = new Channel<undefined>(1);
    await channel.send(undefined);
    expect(channel.tryReceive()).toEqual({ value: undefined });
  });

  test("a bad capacity is refused", () => {
    for (const capacity of [-1, 0.5, NaN]) expect(() => new Channel(capacity)).toThrow("capacity");
  });
});

describe("select", () => {
  test("takes exactly one of two that are ready, fairly over time", async () => {
    const a = new Channel<number>(Infinity);
    const b = new Channel<number>(Infinity);
    for (let i = 0; i < 100; i++) {
      a.trySend(i);
      b.trySend(i);
    }
    const taken = { a: 0, b: 0 };
    for (let i = 0; i < 100; i++) taken[(await select({ a, b })).key]++;
    expect(taken.a + taken.b).toBe(100);
    expect(taken.a).toBeGreaterThan(30);
    expect(taken.b).toBeGreaterThan(30);
  });

  test("waits, and the channels that were not chosen lose nothing", async () => {
    const a = new Channel<number>(0);
    const b = new Channel<string>(0);
    const chosen = select({ a, b });
    expect(b.trySend("x")).toBe(true);
    expect(a.trySend(1)).toBe(false);
    expect(b.trySend("y")).toBe(false);
    expect(await chosen).toEqual({ key: "b", result: { value: "x", done: false } });
  });

  test("a channel that closes only leaves the choice; when all are closed it ends", async () => {
    const a = new Channel<number>(0);
    const b = new Channel<number>(0);
    const chosen = select({ a, b });
    a.close();
    expect(await isSettled(chosen)).toBe(false);
    b.close();
    expect((await chosen).result.done).toBe(true);
    expect((await select({ a, b })).result.done).toBe(true);
    const c = new Channel<number>(1);
    c.trySend(5);
    c.close();
    expect(await select({ a, c })).toEqual({ key: "c", result: { value: 5, done: false } });
  });

  test("an abort leaves no ghost waiter", async () => {
    const a = new Channel<number>(0);
    const controller = new AbortController();
    const chosen = select({ a, b: new Channel<number>() }, { signal: controller.signal });
    controller.abort("no");
    expect(await errorOf(chosen)).toBe("no");
    expect(a.trySend(1)).toBe(false);
    expect(await errorOf(select({}))).toBeInstanceOf(RangeError);
  });
});

describe("oneshot, Broadcast, Watch", () => {
  test("oneshot: the first value for all, before and after", async () => {
    const answer = oneshot<number>();
    const early = answer.receive();
    const controller = new AbortController();
    const gone = answer.receive({ signal: controller.signal });
    controller.abort("gone");
    expect(answer.send(1)).toBe(true);
    expect(answer.send(2)).toBe(false);
    expect(await early).toBe(1);
    expect(await answer.receive()).toBe(1);
    expect(await errorOf(gone)).toBe("gone");
  });

  test("Broadcast: every subscriber hears every value sent after it came", async () => {
    const broadcast = new Broadcast<number>(8);
    broadcast.send(0);
    const one = broadcast.subscribe();
    const two = broadcast.subscribe();
    const waiting = one.next();
    broadcast.send(1);
    broadcast.send(2);
    expect(await waiting).toEqual({ value: { value: 1, missed: 0 }, done: false });
    broadcast[Symbol.dispose]();
    expect(await Array.fromAsync(one)).toEqual([{ value: 2, missed: 0 }]);
    expect((await Array.fromAsync(two)).map(({ value }) => value)).toEqual([1, 2]);
    expect(() => broadcast.send(3)).toThrow(ClosedError);
  });

  test("Broadcast: a lagging subscriber learns how many it missed", async () => {
    const broadcast = new Broadcast<number>(3);
    const slow = broadcast.subscribe();
    for (let i = 0; i < 10; i++) broadcast.send(i);
    broadcast[Symbol.dispose]();
    expect(await Array.fromAsync(slow)).toEqual([
      { value: 7, missed: 7 },
      { value: 8, missed: 0 },
      { value: 9, missed: 0 },
    ]);
  });

  test("Broadcast: a subscription that is disposed ends its waiting next", async () => {
    const broadcast = new Broadcast<number>(1);
    const subscription = broadcast.subscribe();
    const next = subscription.next();
    subscription[Symbol.dispose]();
    expect((await next).done).toBe(true);
    broadcast.send(1);
    expect((await subscription.next()).done).toBe(true);
  });

  test("Watch: changed gives the newest, iterating skips what came in between", async () => {
    const watch = new Watch(1);
    const changed = watch.changed();
    watch.value = 2;
    watch.value = 3;
    expect(await changed).toBe(3);
    const seen: number[] = [];
    const reading = (async () => {
      for await (const value of watch) {
        seen.push(value);
        if (value === 9) return;
        await sleep(1);
      }
    })();
    await sleep(0);
    for (let i = 4; i <= 9; i++) watch.value = i;
    await reading;
    expect(seen).toEqual([3, 9]);
    expect(await errorOf(watch.changed({ signal: AbortSignal.abort("no") }))).toBe("no");
  });
});
