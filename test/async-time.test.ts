// Time: sleep, interval, deadline, RateLimit.

import { describe, expect, test } from "bun:test";
import { deadline, interval, RateLimit, sleep, type Clock } from "../lib/async/index.ts";

async function errorOf(promise: PromiseLike<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error("it should have failed");
    },
    (error: unknown) => error,
  );
}

/** Time that passes only while somebody sleeps. */
class FakeClock implements Clock {
  #now = 0;
  now(): number {
    return this.#now;
  }
  async sleep(milliseconds: number, options: { signal?: AbortSignal } = {}): Promise<void> {
    options.signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    options.signal?.addEventListener("abort", () => reject(options.signal!.reason), { once: true });
    setImmediate(() => {
      if (!options.signal?.aborted) this.#now += milliseconds;
      resolve();
    });
    await promise;
  }
  pass(milliseconds: number): void {
    this.#now += milliseconds;
  }
}

describe("sleep, interval, deadline", () => {
  test("sleep waits, an abort ends it with its own reason", async () => {
    const began = performance.now();
    await sleep(10);
    expect(performance.now() - began).toBeGreaterThanOrEqual(9);
    const controller = new AbortController();
    const sleeping = sleep(1e9, { signal: controller.signal });
    controller.abort("up");
    expect(await errorOf(sleeping)).toBe("up");
    expect(await errorOf(sleep(1, { signal: AbortSignal.abort("no") }))).toBe("no");
    expect(await errorOf(sleep(NaN))).toBeInstanceOf(RangeError);
    await sleep(-5);
  });

  test("longer than a timer can count does not fire at once", async () => {
    const controller = new AbortController();
    let isAwake = false;
    const sleeping = sleep(2 ** 31 + 5, { signal: controller.signal }).then(
      () => (isAwake = true),
      () => {},
    );
    await sleep(10);
    expect(isAwake).toBe(false);
    controller.abort();
    await sleeping;
  });

  test("100,000 sleeps cancel clean", async () => {
    const controller = new AbortController();
    const sleeping = Array.from({ length: 100_000 }, () =>
      sleep(1e8, { signal: controller.signal }).catch((reason: unknown) => reason),
    );
    controller.abort("all");
    expect((await Promise.all(sleeping)).every((reason) => reason === "all")).toBe(true);
    // A timer left behind would hold the process; this one has to exit by itself.
    const child = Bun.spawn([
      process.execPath,
      "-e",
      `import { sleep } from ${JSON.stringify(`${import.meta.dir}/../lib/async/index.ts`)};
       const c = new AbortController();
       const all = Array.from({ length: 1000 }, () => sleep(1e8, { signal: c.signal }).catch(() => {}));
       c.abort(); await Promise.all(all);`,
    ]);
    expect(await child.exited).toBe(0);
  });

  test("interval neither drifts nor piles up: late ticks are merged, the count tells", async () => {
    const began = performance.now();
    const ticks: number[] = [];
    for await (const tick of interval(5)) {
      ticks.push(tick);
      expect(performance.now() - began).toBeGreaterThanOrEqual(tick * 5 - 1);
      if (ticks.length === 2) await sleep(23);
      if (ticks.length === 4) break;
    }
    // The first is 1, but where this thread itself was late.
    expect(ticks[0]!).toBeGreaterThanOrEqual(1);
    expect(ticks[2]! - ticks[1]!).toBeGreaterThanOrEqual(4);
    expect(ticks).toEqual(ticks.toSorted((a, b) => a - b));
    const controller = new AbortController();
    const next = interval(1e6, { signal: controller.signal }).next();
    controller.abort("stop");
    expect(await errorOf(next)).toBe("stop");
    expect(await errorOf(interval(0).next())).toBeInstanceOf(RangeError);
  });

  test("deadline aborts with a TimeoutError, or with what comes first", async () => {
    expect(deadline(Date.now() + 1e6).aborted).toBe(false);
    const soon = deadline(Date.now() + 5);
    if (!soon.aborted) await errorOf(sleep(1e6, { signal: soon }));
    expect((soon.reason as DOMException).name).toBe("TimeoutError");
    expect(deadline(new Date(0)).aborted).toBe(true);
    const controller = new AbortController();
    const either = deadline(Date.now() + 1e6, { signal: controller.signal });
    controller.abort("first");
    expect(either.reason).toBe("first");
    expect(deadline(Infinity).aborted).toBe(false);
    expect(() => deadline(NaN)).toThrow(RangeError);
  });
});

describe("RateLimit", () => {
  test("token bucket: never more than burst at once, then the rate, also a fractional one", async () => {
    const clock = new FakeClock();
    const limit = new RateLimit({ perSecond: 2.5, burst: 3, clock });
    expect([1, 2, 3, 4].map(() => limit.tryTake())).toEqual([true, true, true, false]);
    clock.pass(200); // half a token
    expect(limit.tryTake()).toBe(false);
    clock.pass(200);
    expect(limit.tryTake()).toBe(true);
    clock.pass(1e6);
    expect([1, 2, 3, 4].map(() => limit.tryTake())).toEqual([true, true, true, false]);
    const began = clock.now();
    for (let i = 0; i < 50; i++) await limit.take();
    expect(clock.now() - began).toBeCloseTo(20_000, 3);
  });

  test("the rate is within 5 % over a second of real time", async () => {
    const limit = new RateLimit({ perSecond: 200, burst: 1 });
    await limit.take();
    const began = performance.now();
    for (let i = 0; i < 200; i++) await limit.take();
    // A machine that stops for a while is late, never early.
    expect(performance.now() - began).toBeGreaterThan(950);
  });

  test("leaky bucket: evenly spaced, idle time saves nothing up", async () => {
    const clock = new FakeClock();
    const limit = RateLimit.leakyBucket({ perSecond: 10, capacity: 4, clock });
    clock.pass(10_000);
    expect(limit.tryTake()).toBe(true);
    expect(limit.tryTake()).toBe(false);
    clock.pass(100);
    expect(limit.tryTake(4)).toBe(true);
    clock.pass(399);
    expect(limit.tryTake()).toBe(false);
    clock.pass(1.001);
    expect(limit.tryTake()).toBe(true);
    expect(() => limit.tryTake(5)).toThrow(RangeError);
  });

  test("sliding window: never more than count in any stretch", async () => {
    const clock = new FakeClock();
    const limit = RateLimit.slidingWindow({ count: 3, milliseconds: 1000, clock });
    const times: number[] = [];
    for (let i = 0; i < 30; i++) {
      await limit.take();
      times.push(clock.now());
      clock.pass((i * 37) % 400);
    }
    for (let i = 3; i < times.length; i++)
      expect(times[i]! - times[i - 3]!).toBeGreaterThanOrEqual(1000);
  });

  test("first come, first served; who leaves makes room for those behind", async () => {
    const clock = new FakeClock();
    const limit = new RateLimit({ perSecond: 1, burst: 10, clock });
    limit.tryTake(10);
    const controller = new AbortController();
    const order: string[] = [];
    const large = limit.take(10, { signal: controller.signal });
    const small = limit.take(1).then(() => order.push("small"));
    expect(limit.tryTake()).toBe(false);
    const next = limit.take(2).then(() => order.push("next"));
    controller.abort("leave");
    expect(await errorOf(large)).toBe("leave");
    await Promise.all([small, next]);
    expect(order).toEqual(["small", "next"]);
    expect(clock.now()).toBeCloseTo(3000, 3);
  });

  test("bad numbers are refused", async () => {
    expect(() => new RateLimit({ perSecond: 0 })).toThrow("perSecond");
    expect(() => RateLimit.slidingWindow({ count: 0.5, milliseconds: 1 })).toThrow("count");
    const limit = new RateLimit({ perSecond: 2 });
    expect(await errorOf(limit.take(3))).toBeInstanceOf(RangeError);
    expect(await errorOf(limit.take(0))).toBeInstanceOf(RangeError);
    expect(await errorOf(limit.take(1, { signal: AbortSignal.abort("no") }))).toBe("no");
  });
});
