// Structured concurrency: TaskGroup, race, any, all, withTimeout, retry, once.

import { describe, expect, test } from "bun:test";
import {
  all,
  any,
  ClosedError,
  once,
  race,
  retry,
  sleep,
  TaskGroup,
  withTimeout,
} from "../lib/async/index.ts";

/** Ends with the signal's reason, after a turn of the event loop as real work would. */
async function untilAborted(signal: AbortSignal, note?: () => void): Promise<never> {
  try {
    await sleep(Infinity, { signal });
    throw new Error("cannot be");
  } catch (error) {
    await sleep(1);
    note?.();
    throw error;
  }
}

const failed = async (message: string): Promise<never> => {
  throw new Error(message);
};

async function errorOf(promise: PromiseLike<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("it should have failed");
}

describe("TaskGroup", () => {
  test("leaving the block waits for every child", async () => {
    const ended: number[] = [];
    {
      await using group = new TaskGroup();
      for (const i of [3, 1, 2])
        void group.run(async () => {
          await sleep(i * 3);
          ended.push(i);
        });
    }
    expect(ended.toSorted()).toEqual([1, 2, 3]);
  });

  test("the first failure cancels the rest, waits for them and is thrown", async () => {
    let ended = 0;
    const error = await errorOf(
      (async () => {
        await using group = new TaskGroup();
        void group.run((signal) => untilAborted(signal, () => ended++));
        void group.run((signal) => untilAborted(signal, () => ended++));
        void group.run(() => failed("first"));
      })(),
    );
    expect(error).toEqual(new Error("first"));
    expect(ended).toBe(2);
  });

  test("several failures make an AggregateError, the first one first", async () => {
    const error = await errorOf(
      (async () => {
        await using group = new TaskGroup();
        void group.run(async (signal) => {
          await sleep(Infinity, { signal }).catch(() => {});
          throw new Error("second");
        });
        void group.run(() => failed("first"));
      })(),
    );
    expect(error).toBeInstanceOf(AggregateError);
    expect((error as AggregateError).errors.map(String)).toEqual(["Error: first", "Error: second"]);
  });

  test("cancel is no failure, and its reason keeps its identity", async () => {
    const reason = { because: "enough" };
    let seen: unknown;
    await using group = new TaskGroup();
    const child = group.run(async (signal) => {
      seen = await errorOf(sleep(Infinity, { signal }));
      throw seen;
    });
    group.cancel(reason);
    expect(await errorOf(child)).toBe(reason);
    expect(seen).toBe(reason);
    expect(await errorOf(group.run(() => 1))).toBe(reason);
  });

  test("the abort of the outer signal reaches the children and surfaces", async () => {
    const controller = new AbortController();
    const error = await errorOf(
      (async () => {
        await using group = new TaskGroup({ signal: controller.signal });
        void group.run((signal) => untilAborted(signal));
        controller.abort("stop");
      })(),
    );
    expect(error).toBe("stop");
  });

  test("an outer abort after all children ended is nobody's failure", async () => {
    const controller = new AbortController();
    await using group = new TaskGroup({ signal: controller.signal });
    await group.run(() => 1);
    controller.abort("late");
  });

  test("an unawaited run never counts as unhandled, and still surfaces", async () => {
    // A rejection nobody handled would end this process with status 1 before it prints.
    const program = `
      import { TaskGroup, sleep } from ${JSON.stringify(`${import.meta.dir}/../lib/async/index.ts`)};
      process.on("unhandledRejection", () => { console.log("unhandled"); process.exit(1); });
      try {
        await using group = new TaskGroup({ concurrency: 1 });
        group.run(async () => { await sleep(1); throw new Error("told"); });
        group.run(() => {});
        group.run(() => {});
        await sleep(20);
      } catch (error) { console.log(error.message); }`;
    const child = Bun.spawn([process.execPath, "-e", program], { stdout: "pipe" });
    expect(await new Response(child.stdout).text()).toBe("told\n");
    expect(await child.exited).toBe(0);
  });

  test("concurrency bounds the children, queued ones start in order and not after an abort", async () => {
    let running = 0;
    let most = 0;
    const started: number[] = [];
    {
      await using group = new TaskGroup({ concurrency: 3 });
      for (let i = 0; i < 20; i++)
        void group.run(async () => {
          started.push(i);
          most = Math.max(most, ++running);
          await sleep(1);
          running--;
        });
    }
    expect(most).toBe(3);
    expect(started).toEqual(Array.from({ length: 20 }, (_, i) => i));

    const group = new TaskGroup({ concurrency: 1 });
    let late = 0;
    void group.run((signal) => untilAborted(signal));
    const queued = group.run(() => late++);
    group.cancel("no");
    expect(await errorOf(queued)).toBe("no");
    await group[Symbol.asyncDispose]();
    expect(late).toBe(0);
  });

  test("iterating yields each value as it ends, and ends with the last child", async () => {
    await using group = new TaskGroup<number>();
    const gates = [0, 1, 2, 3].map(() => Promise.withResolvers<void>());
    for (const i of [3, 1, 2]) void group.run(() => gates[i]!.promise.then(() => i));
    gates[1]!.resolve();
    const values: number[] = [];
    for await (const value of group) {
      values.push(value);
      gates[value + 1]?.resolve();
    }
    expect(values).toEqual([1, 2, 3]);
  });

  test("iterating throws the failure; a group without results says so", async () => {
    const group = new TaskGroup<number>();
    void group.run(() => failed("bad"));
    const values = (async () => {
      for await (const _ of group);
    })();
    expect(await errorOf(values)).toEqual(new Error("bad"));
    expect(await errorOf(group[Symbol.asyncDispose]())).toEqual(new Error("bad"));
    const without = new TaskGroup({ results: false });
    expect(String(await errorOf(without[Symbol.asyncIterator]().next()))).toContain("results");
  });

  test("no child can be started once its block was left", async () => {
    const group = new TaskGroup();
    await group[Symbol.asyncDispose]();
    expect(await errorOf(group.run(() => 1))).toBeInstanceOf(ClosedError);
  });

  test("a bad concurrency is refused by name", () => {
    expect(() => new TaskGroup({ concurrency: 0 })).toThrow("concurrency");
    expect(() => new TaskGroup({ concurrency: 1.5 })).toThrow("concurrency");
  });
});

describe("race, any, all, withTimeout", () => {
  test("race: the first to settle wins, and its losers are aborted and awaited", async () => {
    let ended = 0;
    const value = await race([
      (signal) => untilAborted(signal, () => ended++),
      () => sleep(2).then(() => "won"),
      (signal) => untilAborted(signal, () => ended++),
    ]);
    expect(value).toBe("won");
    expect(ended).toBe(2);
    expect(await errorOf(race([() => failed("fast"), () => sleep(5)]))).toEqual(new Error("fast"));
    expect(await errorOf(race([]))).toBeInstanceOf(RangeError);
  });

  test("any: failures are passed over, all of them make an AggregateError in the order given", async () => {
    expect(await any([() => failed("no"), () => sleep(2).then(() => 7)])).toBe(7);
    const error = await errorOf(
      any([() => sleep(3).then(() => failed("slow")), () => failed("fast")]),
    );
    expect((error as AggregateError).errors.map(String)).toEqual(["Error: slow", "Error: fast"]);
    expect(await errorOf(any([]))).toBeInstanceOf(AggregateError);
  });

  test("all: values in order, the first failure cancels the rest", async () => {
    expect(await all([() => sleep(3).then(() => 1), () => 2])).toEqual([1, 2]);
    let ended = 0;
    const error = await errorOf(
      all([
        (signal) => untilAborted(signal, () => ended++),
        () => sleep(1).then(() => failed("x")),
      ]),
    );
    expect(error).toEqual(new Error("x"));
    expect(ended).toBe(1);
    let running = 0;
    const works = Array.from({ length: 9 }, () => async () => {
      expect(++running).toBeLessThan(3);
      await sleep(1);
      running--;
    });
    expect(await all(works, { concurrency: 2 })).toHaveLength(9);
  });

  test.each([
    ["race", race],
    ["any", any],
    ["all", all],
  ] as const)("%s: the outer signal's reason comes through", async (_, combine) => {
    const controller = new AbortController();
    let ended = 0;
    const outcome = combine([(signal) => untilAborted(signal, () => ended++)], {
      signal: controller.signal,
    });
    const reason = new Error("mine");
    controller.abort(reason);
    expect(await errorOf(outcome)).toBe(reason);
    expect(ended).toBe(1);
    expect(await errorOf(combine([() => 1], { signal: controller.signal }))).toBe(reason);
  });

  test("withTimeout: a time that is no number is a RangeError", async () => {
    for (const time of [NaN, () => 1, undefined])
      await expect(withTimeout(time as number, () => 1)).rejects.toBeInstanceOf(RangeError);
  });

  test("withTimeout: a TimeoutError once the work has ended, whatever it says", async () => {
    expect(await withTimeout(1000, () => 5)).toBe(5);
    let ended = 0;
    const error = await errorOf(withTimeout(5, (signal) => untilAborted(signal, () => ended++)));
    expect((error as DOMException).name).toBe("TimeoutError");
    expect(ended).toBe(1);
    const deaf = withTimeout(1, () => sleep(10).then(() => "late"));
    expect(((await errorOf(deaf)) as DOMException).name).toBe("TimeoutError");
    expect(await errorOf(withTimeout(1000, () => failed("own")))).toEqual(new Error("own"));
    const outer = AbortSignal.abort("outer");
    expect(await errorOf(withTimeout(9, () => 1, { signal: outer }))).toBe("outer");
  });
});

describe("retry and once", () => {
  test("retry: attempts are counted from 1, and the earlier errors are the cause chain", async () => {
    const seen: number[] = [];
    const error = (await errorOf(
      retry(
        (_, attempt) => {
          seen.push(attempt);
          throw new Error(`attempt ${attempt}`);
        },
        { delay: 0 },
      ),
    )) as Error;
    expect(seen).toEqual([1, 2, 3]);
    expect(error.message).toBe("attempt 3");
    expect((error.cause as Error).message).toBe("attempt 2");
    expect(((error.cause as Error).cause as Error).message).toBe("attempt 1");
    expect(await retry((_, attempt) => (attempt < 3 ? failed("no") : attempt), { delay: 0 })).toBe(
      3,
    );
  });

  test("retry: one error thrown again and again hangs on itself only once", async () => {
    const same = new Error("same");
    expect(await errorOf(retry(() => Promise.reject(same), { delay: 0 }))).toBe(same);
    expect(same.cause).toBeUndefined();
  });

  test("retry: `when` decides, an abort ends it, pauses grow and are jittered downwards", async () => {
    let calls = 0;
    const error = await errorOf(
      retry(() => failed(`${++calls}`), {
        delay: 0,
        when: (error) => String(error) !== "Error: 2",
      }),
    );
    expect((error as Error).message).toBe("2");
    const controller = new AbortController();
    const aborted = retry(() => failed("again"), { delay: 1e6, signal: controller.signal });
    controller.abort("enough");
    expect(await errorOf(aborted)).toBe("enough");
    const began = performance.now();
    await errorOf(retry(() => failed("x"), { attempts: 3, delay: 20, factor: 2 }));
    expect(performance.now() - began).toBeGreaterThanOrEqual(29);
    expect(await errorOf(retry(() => 1, { attempts: 0 }))).toBeInstanceOf(RangeError);
  });

  test("once: one call for all, again after a failure", async () => {
    let calls = 0;
    const get = once(async () => {
      await sleep(1);
      if (++calls === 1) throw new Error("first");
      return calls;
    });
    const [a, b] = await Promise.allSettled([get(), get()]);
    expect([a.status, b.status]).toEqual(["rejected", "rejected"]);
    expect(await Promise.all([get(), get()])).toEqual([2, 2]);
    expect(await get()).toBe(2);
  });
});
