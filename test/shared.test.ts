// Semaphores and channels between Workers: the same promises as within one thread, held against real
// Workers that come, abort and are terminated at random.

import { afterEach, describe, expect, test } from "bun:test";
import { Runtime, sharedChannel, sharedSemaphore } from "../lib/index.ts";
import { within } from "./patience.ts";
import { threads } from "./script.ts";

// Bun stops its threads by signals, which TSan holds back: with several Workers both may wait for ever.
const settled = describe.skipIf(process.env.COPSE_SANITIZER === "tsan");

// COPSE_LONG=20 is what bench/results/trust.md was made with.
const LONG = Number(process.env["COPSE_LONG"] ?? 1);
const workers: Worker[] = [];
let names = 0;

afterEach(() => {
  for (const worker of workers.splice(0)) worker.terminate();
});

function fresh(): string {
  return `test-${process.pid}-${names++}`;
}

interface Job {
  readonly kind: "limit" | "send" | "receive" | "hold" | "wait";
  readonly name: string;
  readonly size: number;
  readonly count: number;
  readonly seed: number;
  readonly inside?: SharedArrayBuffer;
}

/** Starts a Worker at a job; resolves when it says something. */
function start<T>(job: Job): { readonly worker: Worker; readonly said: Promise<T> } {
  const worker = new Worker(new URL("./shared-worker.ts", import.meta.url).href);
  workers.push(worker);
  const said = new Promise<T>((resolve, reject) => {
    worker.addEventListener("message", ({ data }: MessageEvent) => {
      if (data === "ready") resolve(data as T);
      else if ("failure" in data) reject(new Error(data.failure));
      else resolve(data.result as T);
    });
    worker.addEventListener("error", (event) => reject(new Error(event.message)));
  });
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a Worker, no window
  worker.postMessage(job);
  return { worker, said };
}

settled("a shared semaphore", () => {
  test("is one for all who name it, and holds as many as it says", async () => {
    const name = fresh();
    using first = sharedSemaphore(name, 2);
    using second = sharedSemaphore(name, 2);
    using _a = await first.acquire();
    const b = await second.acquire();
    expect([first.available, second.available]).toEqual([0, 0]);
    expect(first.tryAcquire()).toBeUndefined();
    const waiting = first.acquire();
    b[Symbol.dispose]();
    b[Symbol.dispose](); // harmless
    using _c = await waiting;
    expect(second.available).toBe(0);
  });

  test("serves within a thread first come, first served; a large one is not overtaken", async () => {
    using semaphore = sharedSemaphore(fresh(), 3);
    const all = await semaphore.acquire({ count: 3 });
    const order: string[] = [];
    const large = semaphore.acquire({ count: 3 }).then((permit) => {
      order.push("large");
      permit[Symbol.dispose]();
    });
    const small = semaphore.acquire().then((permit) => {
      order.push("small");
      permit[Symbol.dispose]();
    });
    expect(semaphore.tryAcquire()).toBeUndefined();
    all[Symbol.dispose]();
    await Promise.all([large, small]);
    expect(order).toEqual(["large", "small"]);
  });

  test("an abort rejects with the signal's own reason and leaves nobody in line", async () => {
    using semaphore = sharedSemaphore(fresh(), 1);
    const permit = await semaphore.acquire();
    const controller = new AbortController();
    const reason = new Error("enough");
    const aborted = [0, 1, 2].map(() => semaphore.acquire({ signal: controller.signal }));
    await Bun.sleep(5);
    controller.abort(reason);
    for (const one of await Promise.allSettled(aborted))
      expect(one.status === "rejected" && one.reason).toBe(reason);
    await expect(semaphore.acquire({ signal: controller.signal })).rejects.toBe(reason);
    permit[Symbol.dispose]();
    expect(semaphore.available).toBe(1);
    using _again = await semaphore.acquire();
  });

  test("another size, no name, no permits: refused with a name", () => {
    const name = fresh();
    using semaphore = sharedSemaphore(name, 2);
    expect(() => sharedSemaphore(name, 3)).toThrow(/is open with the size 2, not 3/);
    expect(() => sharedSemaphore("", 3)).toThrow(/name/);
    expect(() => sharedSemaphore(fresh(), 0)).toThrow(/permits/);
    expect(() => semaphore.tryAcquire(3)).toThrow(RangeError);
  });

  test("disposed: its permits are free again, and who waits through it is refused", async () => {
    const name = fresh();
    using other = sharedSemaphore(name, 1);
    const mine = sharedSemaphore(name, 1);
    const permit = await mine.acquire();
    const waiting = mine.acquire();
    const outcome = Promise.allSettled([waiting, mine.acquire()]);
    await Bun.sleep(5);
    mine[Symbol.dispose]();
    for (const one of await outcome)
      expect(one.status === "rejected" && one.reason).toMatchObject({ code: "CLOSED" });
    expect(other.available).toBe(1);
    permit[Symbol.dispose](); // late, and harmless
    expect(other.available).toBe(1);
  });

  test("waiting costs no CPU: nobody polls", async () => {
    using semaphore = sharedSemaphore(fresh(), 1);
    const permit = await semaphore.acquire();
    const waiting = semaphore.acquire();
    await Bun.sleep(100);
    const wakes = Runtime.default.stats.wakes;
    // The least of some stretches of time: Bun collects and compiles when it likes.
    let least = Infinity;
    for (let i = 0; i < 20 && least >= 50; i++) {
      const before = process.cpuUsage();
      await Bun.sleep(500);
      const { user, system } = process.cpuUsage(before);
      least = Math.min(least, (user + system) / 1000);
    }
    expect(least).toBeLessThan(50);
    expect(Runtime.default.stats.wakes).toBe(wakes);
    permit[Symbol.dispose]();
    (await waiting)[Symbol.dispose]();
  });

  test(
    "Workers, random counts and aborts: never more inside than permits, all free at the end",
    async () => {
      for (let round = 0; round < LONG; round++) {
        const [name, size] = [fresh(), 1 + (round % 5)];
        using semaphore = sharedSemaphore(name, size);
        const inside = new SharedArrayBuffer(4);
        const jobs = [1, 2, 3].map((seed) =>
          start<{ done: number; most: number }>({
            kind: "limit",
            name,
            size,
            count: 160,
            seed: seed + round * 7,
            inside,
          }),
        );
        for (const { done, most } of await Promise.all(jobs.map(({ said }) => said))) {
          expect(most).toBeLessThanOrEqual(size);
          expect(done).toBeGreaterThan(0);
        }
        expect(semaphore.available).toBe(size);
        expect(Runtime.default.stats.running).toBe(0);
      }
    },
    within(60_000 * LONG),
  );

  // Under ThreadSanitizer a terminated Worker's threads are never gone (seen with Bun 1.4.5).
  test.skipIf(process.env.COPSE_SANITIZER === "tsan")(
    "a Worker terminated with permits held, or while it waits, gives everything back",
    async () => {
      const rounds = 3 * LONG;
      const name = fresh();
      using semaphore = sharedSemaphore(name, 4);
      const before = threads();
      for (let round = 0; round < rounds; round++) {
        const holder = start<string>({ kind: "hold", name, size: 4, count: 3, seed: 0 });
        await holder.said;
        const waiter = start<string>({ kind: "wait", name, size: 4, count: 2, seed: 0 });
        await waiter.said;
        expect(semaphore.available).toBe(1);
        const mine = semaphore.acquire({ count: 4 });
        waiter.worker.terminate();
        holder.worker.terminate();
        using _all = await mine; // needs what both had
        expect(semaphore.available).toBe(0);
      }
      // This thread's own runtime may have started some meanwhile, and they end when they are idle.
      for (let i = 0; i < 1000 && threads() > before; i++) await Bun.sleep(50);
      expect(threads()).toBeLessThanOrEqual(before);
    },
    within(120_000 * LONG),
  );
});

settled("a shared channel", () => {
  test("values in order, through holds of their own; a structured clone", async () => {
    const name = fresh();
    using one = sharedChannel<unknown>(name, 4);
    using other = sharedChannel<unknown>(name, 4);
    const values = [1, "two", { three: [3n, new Date(3)] }, new Map([["k", new Uint8Array([1])]])];
    for (const value of values) await one.send(value);
    expect(other.length).toBe(4);
    expect(one.trySend("no room")).toBe(false);
    for (const value of values) expect(await other.receive()).toEqual({ value, done: false });
    expect(other.tryReceive()).toBeUndefined();
  });

  test("capacity 0: a send waits for its receiver, trySend needs one that waits", async () => {
    using channel = sharedChannel<number>(fresh(), 0);
    expect(channel.trySend(1)).toBe(false);
    const sent = channel.send(2);
    expect(await Promise.race([sent.then(() => "sent"), Bun.sleep(10)])).toBeUndefined();
    expect(await channel.receive()).toEqual({ value: 2, done: false });
    await sent;
    const received = channel.receive();
    // It waits as soon as a worker has come to it.
    while (!channel.trySend(3)) await Bun.sleep(1);
    expect(await received).toEqual({ value: 3, done: false });
  });

  test("closing drains, then ends; sends are refused", async () => {
    const name = fresh();
    using one = sharedChannel<number>(name, 2);
    using other = sharedChannel<number>(name, 2);
    await one.send(1);
    await one.send(2);
    const refused = Promise.allSettled([one.send(3)]);
    await Bun.sleep(5);
    other.close();
    expect(await refused).toMatchObject([{ status: "rejected", reason: { code: "CLOSED" } }]);
    await expect(one.send(4)).rejects.toMatchObject({ code: "CLOSED" });
    const values: number[] = [];
    for await (const value of other) values.push(value);
    expect(values).toEqual([1, 2]);
    expect(await one.receive()).toEqual({ value: undefined, done: true });
    expect(one.tryReceive()).toBeUndefined();
  });

  test("large values cross whole; too large is a RangeError", async () => {
    const name = fresh();
    using channel = sharedChannel<Uint8Array>(name, 1);
    const large = crypto.getRandomValues(new Uint8Array(65_536));
    const all = new Uint8Array(1_000_000).map((_, i) => large[i % large.length]!);
    await channel.send(all);
    expect((await channel.receive()).value).toEqual(all);
    const waiting = channel.receive();
    await Bun.sleep(5);
    await channel.send(all);
    expect((await waiting).value).toEqual(all);
    await expect(channel.send(new Uint8Array(2_000_000))).rejects.toBeInstanceOf(RangeError);
  });

  test(
    "Workers, random aborts: every value sent is received once, each sender's in order",
    async () => {
      for (let round = 0; round < LONG; round++) {
        const [name, size] = [fresh(), [0, 1, 7, 64][round % 4]!];
        using channel = sharedChannel<unknown>(name, size);
        const job = (kind: "send" | "receive", seed: number) =>
          start<any>({ kind, name, size, count: 120, seed: seed + round * 10 }).said;
        const receivers = [1, 2].map((seed) => job("receive", seed));
        const senders = [3, 4].map((seed) => job("send", seed));
        const sent = (await Promise.all(senders)) as number[][];
        while (channel.length > 0) await Bun.sleep(1);
        channel.close();
        const received = (await Promise.all(receivers)) as [number, number][][];
        for (const [i, seed] of [3 + round * 10, 4 + round * 10].entries()) {
          const of = received.map((all) => all.filter(([from]) => from === seed).map(([, n]) => n));
          for (const one of of) expect(one).toEqual(one.toSorted((a, b) => a - b));
          expect(of.flat().toSorted((a, b) => a - b)).toEqual(sent[i]!);
        }
      }
    },
    within(60_000 * LONG),
  );
});
