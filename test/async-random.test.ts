// Random operations, aborts and closes on every primitive, against what must always hold: permits are
// conserved, nobody overtakes, no value is lost or comes twice, no waiter is left behind. The seed of a
// failing round is in the message; COPSE_ROUNDS=10000 is the long form.

import { describe, expect, test } from "bun:test";
import {
  Barrier,
  Broadcast,
  Channel,
  Condition,
  Latch,
  Mutex,
  Notify,
  once,
  oneshot,
  Pool,
  RateLimit,
  RwLock,
  select,
  Semaphore,
  sleep,
  TaskGroup,
  WaitGroup,
  Watch,
} from "../lib/async/index.ts";
import { within } from "./patience.ts";

const rounds = Number(process.env["COPSE_ROUNDS"] ?? 40);
// A round of the slowest scene takes a few milliseconds, and tens where all is slow.
const LEAST_MS = 30_000;
const ROUND_MS = 100;

/** Small, seeded, good enough to shuffle operations (mulberry32). */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

type Random = (below: number) => number;

/** Runs the scene with many seeds. */
function everySeed(name: string, scene: (random: Random) => Promise<void>): void {
  test(
    `${name}, ${rounds} seeds`,
    async () => {
      for (let seed = 1; seed <= rounds; seed++) {
        try {
          await scene(randomOf(seed));
        } catch (error) {
          throw new Error(`seed ${seed}`, { cause: error });
        }
      }
    },
    within(LEAST_MS + rounds * ROUND_MS),
  );
}

/** A signal that aborts after a random while, or never: before, at, or after the answer. */
function someSignal(random: Random): AbortSignal | undefined {
  const when = random(6);
  if (when === 0) return AbortSignal.abort("early");
  if (when > 3) return undefined;
  const controller = new AbortController();
  let turns = random(4);
  const turn = (): void => {
    if (turns-- > 0) queueMicrotask(turn);
    else controller.abort("random");
  };
  if (random(2) === 0) setImmediate(turn);
  else queueMicrotask(turn);
  return controller.signal;
}

const wait = (signal: AbortSignal | undefined): { signal?: AbortSignal } =>
  signal ? { signal } : {};

/** Values of those that succeeded; everything else must be an abort. */
async function succeeded<T>(works: readonly Promise<T>[]): Promise<T[]> {
  const outcomes = await Promise.allSettled(works);
  for (const outcome of outcomes)
    if (outcome.status === "rejected") expect(["early", "random"]).toContain(outcome.reason);
  return outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
}

async function turns(random: Random): Promise<void> {
  for (let i = random(4); i > 0; i--) await (random(4) === 0 ? sleep(0) : undefined);
}

/** Takes what nobody else takes until every send has its answer, then closes. */
async function drain(
  channels: readonly Channel<number>[],
  sends: readonly Promise<void>[],
  into: number[],
): Promise<void> {
  let isOver = false;
  void Promise.allSettled(sends).then(() => (isOver = true));
  for (let last = false; !last;) {
    last = isOver;
    for (const channel of channels)
      for (let got = channel.tryReceive(); got; got = channel.tryReceive()) into.push(got.value);
    await sleep(0);
  }
  for (const channel of channels) channel.close();
}

describe("random operations", () => {
  everySeed("Semaphore: permits are conserved and nobody overtakes", async (random) => {
    const total = 1 + random(5);
    const semaphore = new Semaphore(total);
    let used = 0;
    const asked: number[] = [];
    const served: number[] = [];
    const got = await succeeded(
      Array.from({ length: 40 }, async (_, i) => {
        const count = 1 + random(total);
        const signal = someSignal(random);
        const permit = semaphore.acquire({ count, ...wait(signal) });
        asked.push(i);
        const held = await permit;
        served.push(i);
        used += count;
        expect(used).toBeLessThanOrEqual(total);
        await turns(random);
        used -= count;
        held[Symbol.dispose]();
        if (random(3) === 0) held[Symbol.dispose]();
      }),
    );
    expect(served).toEqual(asked.filter((i) => served.includes(i)));
    expect(got).toHaveLength(served.length);
    expect(semaphore.available).toBe(total);
    expect(semaphore.tryAcquire(total)).toBeDefined();
  });

  everySeed("Mutex and RwLock: never two writers, never a writer with readers", async (random) => {
    const mutex = new Mutex();
    const lock = new RwLock();
    let inside = 0;
    let readers = 0;
    let writers = 0;
    await succeeded(
      Array.from({ length: 40 }, async () => {
        const kind = random(3);
        const signal = wait(someSignal(random));
        if (kind === 0) {
          using _held = await mutex.lock(signal);
          expect(++inside).toBe(1);
          await turns(random);
          inside--;
        } else if (kind === 1) {
          using _held = await lock.read(signal);
          readers++;
          expect(writers).toBe(0);
          await turns(random);
          readers--;
        } else {
          using _held = await lock.write(signal);
          expect([++writers, readers]).toEqual([1, 0]);
          await turns(random);
          writers--;
        }
      }),
    );
    expect(mutex.locked).toBe(false);
    (await lock.write())[Symbol.dispose]();
  });

  everySeed("Channel: each value arrives once and in order, or its send failed", async (random) => {
    const channel = new Channel<number>([0, 1, 3, Infinity][random(4)]);
    const sent: number[] = [];
    const received: number[] = [];
    const sends = Array.from({ length: 30 }, async (_, i) => {
      await turns(random);
      await channel.send(i, wait(someSignal(random)));
      sent.push(i);
    });
    const receives = Array.from({ length: 30 }, async () => {
      await turns(random);
      const { value, done } = await channel.receive(wait(someSignal(random)));
      if (!done) received.push(value);
    });
    const settled = Promise.allSettled([...sends, ...receives]);
    await drain([channel], sends, received);
    for (const outcome of await settled)
      if (outcome.status === "rejected")
        expect(["early", "random", "ClosedError"]).toContain(outcome.reason.name ?? outcome.reason);
    expect(received.toSorted((a, b) => a - b)).toEqual(sent.toSorted((a, b) => a - b));
  });

  everySeed("select: exactly one value from one channel each time", async (random) => {
    const channels = {
      a: new Channel<number>(0),
      b: new Channel<number>(1),
      c: new Channel<number>(9),
    };
    const all = Object.values(channels);
    const sent: number[] = [];
    const got: number[] = [];
    const chooses = Array.from({ length: 30 }, async () => {
      const { result } = await select(channels, wait(someSignal(random)));
      if (!result.done) got.push(result.value);
    });
    const sends = Array.from({ length: 30 }, async (_, i) => {
      await turns(random);
      await all[random(3)]!.send(i, wait(someSignal(random)));
      sent.push(i);
    });
    const settled = Promise.allSettled([...chooses, ...sends]);
    await drain(all, sends, got);
    await settled;
    expect(got.toSorted((a, b) => a - b)).toEqual(sent.toSorted((a, b) => a - b));
  });

  everySeed("Broadcast and Watch: heard plus missed is sent, in order", async (random) => {
    const capacity = 1 + random(5);
    const broadcast = new Broadcast<number>(capacity);
    const watch = new Watch(0);
    const listening = Array.from({ length: 5 }, async () => {
      let count = 0;
      let last = -1;
      for await (const { value, missed } of broadcast.subscribe()) {
        expect(value).toBe(last + missed + 1);
        last = value;
        count += missed + 1;
        await turns(random);
      }
      return count;
    });
    const watching = (async () => {
      let last = -1;
      for await (const value of watch) {
        expect(value).toBeGreaterThan(last);
        last = value;
        if (value === 30) return;
      }
    })();
    for (let i = 0; i < 30; i++) {
      broadcast.send(i);
      watch.value = i + 1;
      await turns(random);
    }
    broadcast[Symbol.dispose]();
    expect(await Promise.all(listening)).toEqual([30, 30, 30, 30, 30]);
    await watching;
  });

  everySeed("Notify, Condition and Barrier: every wake-up finds its waiter", async (random) => {
    const mutex = new Mutex();
    const condition = new Condition(mutex);
    let items = 0;
    let taken = 0;
    const consumers = Array.from({ length: 10 }, async () => {
      using _lock = await mutex.lock();
      while (items === 0) await condition.wait(wait(someSignal(random)));
      items--;
      taken++;
    });
    const settled = Promise.allSettled(consumers);
    for (let i = 0; i < 10; i++) {
      await turns(random);
      using _lock = await mutex.lock();
      items++;
      condition.one();
    }
    // Those who left by an abort may have taken a knock with them: the rest is told again.
    for (let i = 0; i < 20; i++) {
      await sleep(0);
      condition.all();
    }
    const outcomes = await settled;
    const left = outcomes.filter(({ status }) => status === "rejected").length;
    expect(taken).toBe(10 - left);
    expect(items).toBe(left);
    expect(mutex.locked).toBe(false);

    const notify = new Notify();
    const waits = Array.from({ length: 10 }, () => notify.wait(wait(someSignal(random))));
    const woken = succeeded(waits);
    await sleep(1);
    notify.all();
    await woken;
    notify.one();
    await notify.wait();

    const barrier = new Barrier(2);
    const arrivals = succeeded(
      Array.from({ length: 9 }, () => barrier.arrive(wait(someSignal(random)))),
    );
    await sleep(1);
    // An odd one out waits still; one more arrival lets it go, or waits itself.
    const extra = new AbortController();
    const last = barrier.arrive({ signal: extra.signal }).catch(() => -1);
    await sleep(0);
    extra.abort();
    const places = await arrivals;
    const extraPlace = await last;
    const through = extraPlace < 0 ? places : [...places, extraPlace];
    expect(through.filter((place) => place === 0)).toHaveLength(through.length / 2);
  });

  everySeed("Pool: never more than max, nothing lost, all ended", async (random) => {
    let alive = 0;
    const max = 1 + random(3);
    {
      await using pool = new Pool({
        max,
        make: async () => {
          await turns(random);
          if (random(4) === 0) throw "random";
          expect(++alive).toBeLessThanOrEqual(max);
          return {};
        },
        end: async () => {
          await turns(random);
          alive--;
          if (random(4) === 0) throw new Error("ends badly");
        },
        healthy: () => random(3) > 0,
      });
      await succeeded(
        Array.from({ length: 25 }, async () => {
          await using lease = await pool.acquire(wait(someSignal(random)));
          await turns(random);
          if (random(4) === 0) lease.discard();
        }),
      );
      const leases = await Promise.all(
        Array.from({ length: max }, async () => {
          for (;;) {
            try {
              return await pool.acquire();
            } catch (error) {
              expect(error).toBe("random");
            }
          }
        }),
      );
      expect(leases).toHaveLength(max);
      for (const lease of leases) await lease[Symbol.asyncDispose]();
      await pool[Symbol.asyncDispose]().catch(() => {});
    }
    expect(alive).toBe(0);
  });

  everySeed("TaskGroup: no child outlives its block, every failure surfaces", async (random) => {
    let running = 0;
    let failures = 0;
    const outer = someSignal(random);
    let thrown: unknown;
    try {
      await using group = new TaskGroup({ concurrency: 1 + random(4), ...wait(outer) });
      for (let i = random(20); i > 0; i--) {
        void group.run(async (signal) => {
          running++;
          try {
            await turns(random);
            if (random(12) === 0) {
              if (!signal.aborted) failures++;
              throw new Error("child");
            }
            if (random(3) === 0) signal.throwIfAborted();
          } finally {
            running--;
          }
        });
        await turns(random);
      }
      if (random(5) === 0) group.cancel("cancelled");
    } catch (error) {
      thrown = error;
    }
    expect(running).toBe(0);
    if (failures > 0) expect(thrown).toBeDefined();
    if (thrown !== undefined && !(thrown instanceof Error))
      expect(["early", "random"]).toContain(thrown as string);
  });

  everySeed("RateLimit: whoever leaves takes nothing with him", async (random) => {
    let now = 0;
    const clock = {
      now: () => now,
      sleep: async (milliseconds: number, options: { signal?: AbortSignal } = {}) => {
        await undefined;
        options.signal?.throwIfAborted();
        now += milliseconds;
      },
    };
    const limit = new RateLimit({ perSecond: 10, burst: 5, clock });
    let taken = 0;
    await succeeded(
      Array.from({ length: 30 }, async () => {
        const count = 1 + random(5);
        await limit.take(count, wait(someSignal(random)));
        taken += count;
        expect(taken).toBeLessThanOrEqual(5 + (now / 1000) * 10 + 1e-6);
      }),
    );
    now += 1000;
    expect(limit.tryTake(5)).toBe(true);
  });

  everySeed(
    "Latch, WaitGroup, oneshot and once: all who stayed are let go, once",
    async (random) => {
      const count = 1 + random(6);
      const latch = new Latch(count);
      const group = new WaitGroup();
      const [send, received] = [oneshot<number>(), new Set<number>()];
      let calls = 0;
      const shared = once(async () => {
        await turns(random);
        return ++calls;
      });
      group.add(count);
      let opened = 0;
      const waiters = Array.from({ length: 12 }, async () => {
        const signal = someSignal(random);
        await Promise.all([latch.wait(wait(signal)), group.wait(wait(signal))]);
        expect(opened).toBe(count);
        received.add(await send.receive(wait(signal)));
        expect(await shared()).toBe(1);
      });
      const all = succeeded(waiters);
      for (let i = 0; i < count; i++) {
        await turns(random);
        opened++;
        latch.down();
        group.done();
      }
      await turns(random);
      send.send(7);
      const got = await all;
      expect(calls).toBe(got.length > 0 ? 1 : 0);
      expect([...received]).toEqual(received.size > 0 ? [7] : []);
      await Promise.all([latch.wait(), group.wait(), send.receive()]);
    },
  );
});
