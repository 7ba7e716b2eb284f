// Keeping order: Semaphore, Mutex, RwLock, Condition, Barrier, Latch, WaitGroup, Notify, Pool.

import { describe, expect, test } from "bun:test";
import {
  Barrier,
  ClosedError,
  Condition,
  Latch,
  Mutex,
  Notify,
  Pool,
  RwLock,
  Semaphore,
  sleep,
  WaitGroup,
} from "../lib/async/index.ts";

async function errorOf(promise: PromiseLike<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error("it should have failed");
    },
    (error: unknown) => error,
  );
}

async function isSettled(promise: PromiseLike<unknown>): Promise<boolean> {
  let settled = false;
  const note = (): void => {
    settled = true;
  };
  promise.then(note, note);
  await sleep(0);
  return settled;
}

describe("Semaphore", () => {
  test("first come, first served; a large request is not overtaken by small ones", async () => {
    const semaphore = new Semaphore(3);
    const order: string[] = [];
    const held = await semaphore.acquire({ count: 2 });
    const large = semaphore.acquire({ count: 3 }).then((permit) => {
      order.push("large");
      permit[Symbol.dispose]();
    });
    const small = semaphore.acquire().then(() => order.push("small"));
    expect(semaphore.tryAcquire()).toBeUndefined();
    held[Symbol.dispose]();
    await Promise.all([large, small]);
    expect(order).toEqual(["large", "small"]);
  });

  test("a large waiter that leaves lets those behind it in", async () => {
    const semaphore = new Semaphore(2);
    const held = await semaphore.acquire();
    const controller = new AbortController();
    const large = semaphore.acquire({ count: 2, signal: controller.signal });
    const small = semaphore.acquire();
    expect(await isSettled(small)).toBe(false);
    controller.abort("leave");
    expect(await errorOf(large)).toBe("leave");
    (await small)[Symbol.dispose]();
    held[Symbol.dispose]();
    expect(semaphore.available).toBe(2);
  });

  test("aborted exactly when its permit arrives: the permit is not lost", async () => {
    for (const abortFirst of [true, false]) {
      const semaphore = new Semaphore(1);
      const held = await semaphore.acquire();
      const controller = new AbortController();
      const first = semaphore.acquire({ signal: controller.signal });
      const second = semaphore.acquire();
      if (abortFirst) controller.abort("now");
      held[Symbol.dispose]();
      if (!abortFirst) controller.abort("now");
      if (abortFirst) expect(await errorOf(first)).toBe("now");
      else (await first)[Symbol.dispose]();
      (await second)[Symbol.dispose]();
      expect(semaphore.available).toBe(1);
    }
  });

  test("a double dispose is harmless, run gives back after a throw", async () => {
    const semaphore = new Semaphore(1);
    const permit = await semaphore.acquire();
    permit[Symbol.dispose]();
    permit[Symbol.dispose]();
    expect(semaphore.available).toBe(1);
    const error = new Error("x");
    expect(await errorOf(semaphore.run(() => Promise.reject(error)))).toBe(error);
    expect(await semaphore.run(() => 4)).toBe(4);
    expect(semaphore.available).toBe(1);
    expect(await errorOf(semaphore.run(() => 1, { signal: AbortSignal.abort("no") }))).toBe("no");
    expect(semaphore.available).toBe(1);
  });

  test("what can never be had is refused", async () => {
    const semaphore = new Semaphore(2);
    expect(await errorOf(semaphore.acquire({ count: 3 }))).toBeInstanceOf(RangeError);
    expect(() => new Semaphore(0)).toThrow("permits");
    expect(() => semaphore.tryAcquire(0.5)).toThrow("count");
  });
});

describe("Mutex, RwLock, Condition", () => {
  test("mutex: one at a time, in order, released on throw", async () => {
    const mutex = new Mutex();
    const order: number[] = [];
    const work = async (i: number): Promise<void> => {
      using _lock = await mutex.lock();
      order.push(i);
      await sleep(1);
      order.push(i);
      if (i === 1) throw new Error("thrown");
    };
    await Promise.allSettled([0, 1, 2].map(work));
    expect(order).toEqual([0, 0, 1, 1, 2, 2]);
    expect(mutex.locked).toBe(false);
    const lock = mutex.tryLock();
    expect(mutex.tryLock()).toBeUndefined();
    lock?.[Symbol.dispose]();
  });

  test("rwlock: readers together, writers alone, writers not starved", async () => {
    const lock = new RwLock();
    const a = await lock.read();
    const b = await lock.read();
    const writer = lock.write();
    const late = lock.read();
    expect(await isSettled(writer)).toBe(false);
    expect(await isSettled(late)).toBe(false);
    a[Symbol.dispose]();
    a[Symbol.dispose]();
    expect(await isSettled(writer)).toBe(false);
    b[Symbol.dispose]();
    const written = await writer;
    expect(await isSettled(late)).toBe(false);
    written[Symbol.dispose]();
    (await late)[Symbol.dispose]();
  });

  test("rwlock: a writer that leaves lets the readers behind it in", async () => {
    const lock = new RwLock();
    const reader = await lock.read();
    const controller = new AbortController();
    const writer = lock.write({ signal: controller.signal });
    const late = lock.read();
    controller.abort("leave");
    expect(await errorOf(writer)).toBe("leave");
    (await late)[Symbol.dispose]();
    reader[Symbol.dispose]();
    (await lock.write())[Symbol.dispose]();
  });

  test("condition: the mutex is free while waiting and held afterwards, after an abort too", async () => {
    const mutex = new Mutex();
    const filled = new Condition(mutex);
    expect(await errorOf(filled.wait())).toBeInstanceOf(Error);
    const queue: number[] = [];
    const taken: number[] = [];
    const consumer = async (): Promise<void> => {
      using _lock = await mutex.lock();
      while (queue.length === 0) await filled.wait();
      expect(mutex.locked).toBe(true);
      taken.push(queue.shift()!);
    };
    const consumers = [consumer(), consumer()];
    await sleep(0);
    expect(mutex.locked).toBe(false);
    {
      using _lock = await mutex.lock();
      queue.push(1, 2);
      filled.all();
    }
    await Promise.all(consumers);
    expect(taken).toEqual([1, 2]);

    const controller = new AbortController();
    using lock = await mutex.lock();
    const waiting = filled.wait({ signal: controller.signal });
    controller.abort("stop");
    expect(await errorOf(waiting)).toBe("stop");
    expect(mutex.locked).toBe(true);
    lock[Symbol.dispose]();
    expect(mutex.locked).toBe(false);
  });
});

describe("Barrier, Latch, WaitGroup, Notify", () => {
  test("barrier: all or none, again and again; an abort takes the arrival back", async () => {
    const barrier = new Barrier(3);
    const controller = new AbortController();
    const gone = barrier.arrive({ signal: controller.signal });
    controller.abort("gone");
    expect(await errorOf(gone)).toBe("gone");
    for (let round = 0; round < 2; round++) {
      const first = barrier.arrive();
      const second = barrier.arrive();
      expect(await isSettled(first)).toBe(false);
      expect(await Promise.all([first, second, barrier.arrive()])).toEqual([0, 1, 2]);
    }
    expect(await new Barrier(1).arrive()).toBe(0);
  });

  test("latch: opens once and stays open", async () => {
    const latch = new Latch(2);
    const waiting = latch.wait();
    latch.down();
    expect(await isSettled(waiting)).toBe(false);
    latch.down(5);
    await waiting;
    await latch.wait();
    await new Latch(0).wait();
  });

  test("wait group: zero lets go, and it can be used again", async () => {
    const group = new WaitGroup();
    await group.wait();
    for (let round = 0; round < 2; round++) {
      group.add(2);
      const waiting = group.wait();
      group.done();
      expect(await isSettled(waiting)).toBe(false);
      group.done();
      await waiting;
    }
    expect(() => group.done()).toThrow("add()");
  });

  test("notify: one is kept once, all wakes only who waits", async () => {
    const notify = new Notify();
    notify.all();
    notify.one();
    notify.one();
    await notify.wait();
    const a = notify.wait();
    const b = notify.wait();
    expect(await isSettled(a)).toBe(false);
    notify.one();
    await a;
    expect(await isSettled(b)).toBe(false);
    notify.all();
    await b;
    const controller = new AbortController();
    const gone = notify.wait({ signal: controller.signal });
    controller.abort("gone");
    expect(await errorOf(gone)).toBe("gone");
    notify.one();
    await notify.wait();
  });
});

describe("Pool", () => {
  test("lends at most max, gives again what came back, in order", async () => {
    let made = 0;
    await using pool = new Pool({ make: () => ++made, max: 2 });
    const a = await pool.acquire();
    const b = await pool.acquire();
    const c = pool.acquire();
    expect(await isSettled(c)).toBe(false);
    await b[Symbol.asyncDispose]();
    await b[Symbol.asyncDispose]();
    const third = await c;
    expect(third.value).toBe(2);
    expect(made).toBe(2);
    await a[Symbol.asyncDispose]();
    await third[Symbol.asyncDispose]();
    expect(pool.idle).toBe(2);
  });

  test("a permit is never lost: failing make, failing end, discard, abort while waiting", async () => {
    let made = 0;
    let isBroken = true;
    const ended: number[] = [];
    await using pool = new Pool<number>({
      make: () => {
        if (isBroken) throw new Error("no make");
        return ++made;
      },
      end: (thing) => {
        ended.push(thing);
        if (thing === 1) throw new Error("no end");
      },
      max: 1,
    });
    expect(await errorOf(pool.acquire())).toEqual(new Error("no make"));
    isBroken = false;
    {
      await using lease = await pool.acquire();
      lease.discard();
    }
    expect(ended).toEqual([1]);
    const lease = await pool.acquire();
    expect(lease.value).toBe(2);
    const controller = new AbortController();
    const waiting = pool.acquire({ signal: controller.signal });
    controller.abort("gone");
    expect(await errorOf(waiting)).toBe("gone");
    await lease[Symbol.asyncDispose]();
    await (await pool.acquire())[Symbol.asyncDispose]();
  });

  test("what is not healthy is ended and another one made", async () => {
    let made = 0;
    const ended: number[] = [];
    await using pool = new Pool<number>({
      make: () => ++made,
      end: (thing) => void ended.push(thing),
      healthy: (thing) => {
        if (thing === 2) throw new Error("cannot even be asked");
        return thing > 2;
      },
      max: 3,
    });
    const first = await pool.acquire();
    const second = await pool.acquire();
    await first[Symbol.asyncDispose]();
    await second[Symbol.asyncDispose]();
    await using third = await pool.acquire();
    expect(third.value).toBe(3);
    expect(ended.toSorted()).toEqual([1, 2]);
  });

  test("min is made at once and stays; more is ended after its idle time", async () => {
    let alive = 0;
    const pool = new Pool({
      make: () => ++alive,
      end: () => void alive--,
      min: 1,
      max: 3,
      idle: 5,
    });
    await sleep(1);
    expect(pool.idle).toBe(1);
    const leases = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()]);
    expect(alive).toBe(3);
    for (const lease of leases) await lease[Symbol.asyncDispose]();
    for (let i = 0; i < 400 && alive > 1; i++) await sleep(5);
    expect(alive).toBe(1);
    await pool[Symbol.asyncDispose]();
    expect(alive).toBe(0);
  });

  test("closing refuses who waits, waits for leases, ends everything", async () => {
    let alive = 0;
    const pool = new Pool({ make: () => ++alive, end: () => void alive--, max: 1 });
    const lease = await pool.acquire();
    const waiting = pool.acquire();
    const closing = pool[Symbol.asyncDispose]();
    expect(await errorOf(waiting)).toBeInstanceOf(ClosedError);
    expect(await isSettled(closing)).toBe(false);
    await lease[Symbol.asyncDispose]();
    await closing;
    expect(alive).toBe(0);
    expect(await errorOf(pool.acquire())).toBeInstanceOf(ClosedError);
    expect(() => new Pool({ make: () => 1, min: 2, max: 1 })).toThrow("min");
  });
});
