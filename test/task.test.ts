// A Task as a promise, as an iterable, and as something that can be stopped at any moment.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  compare,
  compareSync,
  CopseError,
  list,
  listSync,
  Runtime,
  Store,
  type Progress,
  type Task,
} from "../lib/index.ts";
import { isLong, slowness, within } from "./patience.ts";
import { run } from "./script.ts";
import { atRest } from "./ways.ts";

// Rows of a listing of this many entries fill several pages, so that an unread task is parked.
const MANY = 6000;
const folder = mkdtempSync(join(tmpdir(), "copse-task-"));
const many = join(folder, "many");
const left = join(folder, "left");
const right = join(folder, "right");
const big = join(folder, "big");
const missing = join(folder, "missing");
// Each read takes a minute and looks at the cancel flag all the time.
const slow = `fault:delay=60000:${big}`;

beforeAll(() => {
  for (const path of [many, left, right, big]) mkdirSync(path);
  for (let i = 0; i < MANY; i++) writeFileSync(join(many, `a-file-with-a-name-${i}`), "");
  for (const [path, text] of Object.entries({ same: "x", differs: "a", left: "" }))
    writeFileSync(join(left, path), text);
  for (const [path, text] of Object.entries({ same: "x", differs: "b", right: "" }))
    writeFileSync(join(right, path), text);
  for (let i = 0; i < 200; i++) writeFileSync(join(big, `f${i}`), "x".repeat(1000));
});
afterAll(() => rmSync(folder, { recursive: true }));

function slowTask(options: Parameters<typeof compare>[2] = {}): ReturnType<typeof compare> {
  return compare(slow, big, options);
}

async function failure(work: PromiseLike<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
}

async function collect<T>(parts: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const part of parts) all.push(part);
  return all;
}

const kinds = ["differs", "left", "right"];

describe("as a promise", () => {
  test("it has then, catch, finally and a tag of its own", async () => {
    const task: Promise<unknown> = compare(left, right);
    expect(await task.then(() => 1)).toBe(1);
    expect(await task.catch(() => 2)).toHaveProperty("equal", false);
    let isOver = false;
    await task.finally(() => (isOver = true));
    expect(isOver).toBe(true);
    expect(Object.prototype.toString.call(task)).toBe("[object Task]");
    const failed = compare(missing, right);
    expect(
      await failed.then(
        () => 1,
        () => 2,
      ),
    ).toBe(2);
    expect(await failed.catch(() => 3)).toBe(3);
    expect(await failure(failed.finally(() => {}))).toBe(await failure(failed));
  });

  test("it goes where promises go", async () => {
    const [one, two] = await Promise.all([compare(left, right), list(left)]);
    expect(one.equal).toBe(false);
    expect(two.length).toBe(3);
    expect((await Promise.any([list(missing), list(left)])).length).toBe(3);
    expect((await Promise.allSettled([compare(missing, left)]))[0].status).toBe("rejected");
    expect((await Promise.resolve(list(left))).length).toBe(3);
  });

  test("awaiting it twice gives the same outcome", async () => {
    const task = compare(left, right);
    expect(await task).toBe(await task);
    const failed = compare(missing, right);
    expect(await failure(failed)).toBe(await failure(failed));
  });

  test("its whole is what the Sync form returns", async () => {
    const { milliseconds, ...whole } = await compare(left, right);
    const { milliseconds: _, ...sync } = compareSync(left, right);
    expect(whole).toEqual(sync);
    expect(milliseconds).toBeGreaterThan(0);
    expect(whole.differences.map(({ path }) => path)).toEqual(kinds);
    expect([...(await list(many))]).toEqual([...listSync(many)]);
  });

  test("a whole of many pages is complete and sorted", async () => {
    const entries = await list(many);
    const paths = entries.map(({ path }) => path);
    expect(paths.length).toBe(MANY);
    expect(paths).toEqual(paths.toSorted());
    expect(new Set(paths).size).toBe(MANY);
  });

  test("its state goes from queued to running to done", async () => {
    const task = compare(left, right);
    expect(task.state).toBe("queued");
    await Promise.resolve(); // the microtask that starts it
    await Promise.resolve();
    expect(task.state).toBe("running");
    await task;
    expect(task.state).toBe("done");
    const failed = compare(missing, right);
    await failure(failed);
    expect(failed.state).toBe("failed");
  });

  test("a failure says what, where and what to do", async () => {
    const error = await failure(compare(missing, right));
    expect(error).toBeInstanceOf(CopseError);
    expect(error).toMatchObject({
      code: "NOT_FOUND",
      location: missing,
      errno: "ENOENT",
      retryable: false,
    });
    expect(String(error)).toContain(missing);
    expect(await failure((async () => compareSync(missing, right))())).toMatchObject({
      message: (error as CopseError).message,
    });
  });
});

describe("as an iterable", () => {
  test("it gives every row once", async () => {
    const rows = await collect(compare(left, right));
    expect(rows.map(({ path }) => path).toSorted()).toEqual(kinds);
    const entries = await collect(list(many));
    expect(new Set(entries.map(({ path }) => path)).size).toBe(MANY);
    expect(entries.length).toBe(MANY);
  });

  test("batches come a page at a time", async () => {
    const batches = await collect(list(many).batches());
    expect(batches.length).toBeGreaterThan(3);
    expect(batches.every((batch) => batch.length > 0)).toBe(true);
    expect(batches.flat().length).toBe(MANY);
  });

  test("a stream gives the same rows", async () => {
    expect((await collect(list(many).toReadableStream())).length).toBe(MANY);
    expect(await failure(collect(list(missing).toReadableStream()))).toMatchObject({
      code: "NOT_FOUND",
    });
  });

  test("its promise settles when the iteration ends, with the totals and without the rows", async () => {
    const task = compare(left, right);
    const rows = await collect(task);
    expect(rows.length).toBe(3);
    const whole = await task;
    expect(whole).toMatchObject({ equal: false, complete: true, files: 4, differences: [] });
  });

  test("awaited and iterated side by side, it is never equal when rows were seen", async () => {
    const task = compare(left, right);
    const [whole, rows] = await Promise.all([task, collect(task)]);
    expect(whole.equal).toBe(false);
    expect(rows.length).toBe(3);
  });

  test("iterated after it was awaited, it gives the rows of the whole and leaves them there", async () => {
    const task = compare(left, right);
    const whole = await task;
    expect((await collect(task)).map(({ path }) => path)).toEqual(kinds);
    expect(whole.differences.length).toBe(3);
  });

  test("it is iterated once", async () => {
    const task = list(left);
    await collect(task);
    expect(() => task.batches()).toThrow("once");
    expect(() => task[Symbol.asyncIterator]()).toThrow("once");
  });

  test("a failure is thrown once, and then it is over", async () => {
    const rows = list(missing)[Symbol.asyncIterator]();
    expect(await failure(rows.next())).toMatchObject({ code: "NOT_FOUND" });
    expect(await rows.next()).toEqual({ done: true, value: undefined });
  });

  test("calls of next that do not wait for each other give each row once", async () => {
    const rows = list(many)[Symbol.asyncIterator]();
    const next = await Promise.all(Array.from({ length: MANY + 3 }, () => rows.next()));
    expect(
      new Set(next.filter(({ done }) => !done).map(({ value }) => value!.kind ?? value!.path)).size,
    ).toBe(MANY);
    expect(next.slice(MANY).every(({ done }) => done)).toBe(true);
  });

  test("an unread page is not taken: the task waits for its reader", async () => {
    await using runtime = new Runtime();
    const rows = list(many, { runtime })[Symbol.asyncIterator]();
    await rows.next();
    // Whatever goes through the same workers comes after.
    for (let i = 0; i < 20; i++) await list(left, { runtime });
    expect(runtime.stats.running).toBe(1);
    expect(runtime.stats.memory).toBeLessThan(16 << 20);
    await rows.return!();
    await atRest(runtime);
    expect(runtime.stats.running).toBe(0);
  });
});

describe("left early", () => {
  const ways: readonly [string, (task: Task<unknown, unknown>) => Promise<void>][] = [
    [
      "by break",
      async (task) => {
        for await (const _ of task) break;
      },
    ],
    [
      "by break of batches",
      async (task) => {
        for await (const _ of task.batches()) break;
      },
    ],
    [
      "by return",
      async (task) => {
        await (async () => {
          for await (const row of task) return row;
          return undefined;
        })();
      },
    ],
    [
      "by a throw in the loop",
      async (task) => {
        await failure(
          (async () => {
            for await (const _ of task) throw new Error("body");
          })(),
        );
      },
    ],
    [
      "by cancelling the stream",
      async (task) => {
        const reader = task.toReadableStream().getReader();
        await reader.read();
        await reader.cancel();
      },
    ],
    [
      "by cancelling the stream while it is pulled",
      async (task) => {
        const reader = task.toReadableStream().getReader();
        const read = reader.read();
        await reader.cancel();
        await read;
      },
    ],
    [
      "by await using",
      async (task) => {
        await using _ = task;
      },
    ],
    [
      "by disposing in the middle",
      async (task) => {
        const rows = task[Symbol.asyncIterator]();
        await rows.next();
        await task[Symbol.asyncDispose]();
        expect(await failure(rows.next())).toMatchObject({ code: "CANCELLED" });
      },
    ],
    [
      "by cancel",
      async (task) => {
        task.cancel();
        await failure(task);
      },
    ],
    [
      "by return while next waits",
      async (task) => {
        const rows = task[Symbol.asyncIterator]();
        const next = Array.from({ length: 3 }, () => rows.next());
        await rows.return!();
        await Promise.all(next);
      },
    ],
  ];
  test.each(ways)("%s, nothing is left over", async (_, leave) => {
    await using runtime = new Runtime();
    const times = Math.ceil(30 / slowness);
    for (let i = 0; i < times; i++) {
      const task = list(many, { runtime });
      if (i % 2) await Bun.sleep(0); // some never start
      await leave(task);
    }
    await atRest(runtime);
    const { running, queued, started, done, failed, cancelled } = runtime.stats;
    expect({ running, queued }).toEqual({ running: 0, queued: 0 });
    expect(started).toBe(done + failed + cancelled);
    expect(started).toBeGreaterThan(0);
  });

  test("what was not seen is never called equal", async () => {
    const task = compare(left, many);
    for await (const _ of task) break;
    expect(
      await task.then(
        ({ equal }) => equal,
        () => false,
      ),
    ).toBe(false);
  });

  test("with a runtime that closes meanwhile, it fails with CLOSED", async () => {
    const runtime = new Runtime();
    const rows = list(many, { runtime })[Symbol.asyncIterator]();
    await rows.next();
    const waiting = list(many, { runtime });
    runtime.close();
    // What was decoded is still given; then the closing shows.
    const error = await failure(
      (async () => {
        for (;;) if ((await rows.next()).done) return;
      })(),
    );
    expect(error).toMatchObject({ code: "CLOSED" });
    expect(await failure(waiting)).toMatchObject({ code: "CLOSED" });
  });

  test("with a runtime that closes after DONE and before the last page is read, too", async () => {
    const runtime = new Runtime();
    // Two pages fit before the task is parked, so this one ends unread.
    const few = new Store("memory:few", { runtime });
    for (let i = 0; i < 20; i++) await few.write(`f${i}`, "");
    const rows = few.list().batches()[Symbol.asyncIterator]();
    while (runtime.stats.running + runtime.stats.queued > 0) await list(left, { runtime });
    runtime.close();
    const outcome = await rows.next().then(
      ({ done }) => done,
      (error: unknown) => error,
    );
    expect(outcome).toMatchObject({ code: "CLOSED" });
  });
});

describe("cancelled", () => {
  test("before it starts: nothing runs, and the reason is the caller's own", async () => {
    await using runtime = new Runtime();
    const reason = { my: "reason" };
    const task = slowTask({ runtime });
    task.cancel(reason);
    expect(task.state).toBe("cancelled");
    expect(await failure(task)).toBe(reason);
    expect(runtime.stats.started).toBe(0);
  });

  test("while it runs", async () => {
    await using runtime = new Runtime();
    const reason = new Error("enough");
    const task = slowTask({ runtime });
    await Bun.sleep(5);
    expect(task.state).toBe("running");
    task.cancel(reason);
    task.cancel(new Error("the first one counts"));
    expect(await failure(task)).toBe(reason);
    expect(task.state).toBe("cancelled");
    await atRest(runtime);
    expect(runtime.stats).toMatchObject({ running: 0, queued: 0, cancelled: 1 });
  });

  test("without a reason it is CANCELLED", async () => {
    const task = slowTask();
    task.cancel();
    expect(await failure(task)).toMatchObject({ name: "CopseError", code: "CANCELLED" });
  });

  test("after the end it changes nothing", async () => {
    const task = compare(left, right);
    const whole = await task;
    task.cancel();
    expect(task.state).toBe("done");
    expect(await task).toBe(whole);
  });

  test("while it is iterated, the iteration throws the reason", async () => {
    const task = list(many);
    const reason = new Error("enough");
    const error = await failure(
      (async () => {
        for await (const _ of task.batches()) task.cancel(reason);
      })(),
    );
    expect(error).toBe(reason);
  });

  const randomly = isLong ? 10_000 : 1000;
  test(
    `${randomly} times at random moments, counters balance and each settles once`,
    async () => {
      await using runtime = new Runtime();
      const times = Math.ceil(randomly / slowness);
      let settled = 0;
      for (let i = 0; i < times; i += 50) {
        const tasks = Array.from({ length: 50 }, (_, j) =>
          j % 3 ? list(many, { runtime }) : slowTask({ runtime }),
        );
        const ends = tasks.map((task) =>
          task.then(
            () => settled++,
            () => settled++,
          ),
        );
        for (const [j, task] of tasks.entries()) {
          if (j % 7 === 0) await Bun.sleep(0);
          task.cancel();
        }
        await Promise.all(ends);
        const { started, done, failed, cancelled, running, queued } = runtime.stats;
        expect(started).toBe(done + failed + cancelled + running + queued);
      }
      expect(settled).toBe(times);
      await atRest(runtime);
      expect(runtime.stats).toMatchObject({ running: 0, queued: 0 });
    },
    within(isLong ? 300_000 : 15_000),
  );
});

describe("with a signal", () => {
  test("that is aborted already: no native call, and the signal's reason", async () => {
    await using runtime = new Runtime();
    const reason = { the: "reason" };
    const signal = AbortSignal.abort(reason);
    const task = compare(left, right, { runtime, signal });
    expect(await failure(task)).toBe(reason);
    expect(task.state).toBe("cancelled");
    expect(await failure(collect(list(left, { runtime, signal })))).toBe(reason);
    expect(runtime.stats.started).toBe(0);
    for (const sync of [
      () => compareSync(left, right, { runtime, signal }),
      () => listSync(left, { runtime, signal }),
    ])
      expect(await failure((async () => sync())())).toBe(reason);
    expect(runtime.stats.started).toBe(0);
  });

  test("the reason keeps its identity, also of the signal's own making", async () => {
    const controller = new AbortController();
    const task = slowTask({ signal: controller.signal });
    await Bun.sleep(1);
    controller.abort();
    expect(await failure(task)).toBe(controller.signal.reason);
    const timeout = AbortSignal.timeout(1);
    expect(await failure(slowTask({ signal: timeout }))).toBe(timeout.reason);
    const outer = new AbortController();
    const any = AbortSignal.any([outer.signal, AbortSignal.timeout(60_000)]);
    const third = slowTask({ signal: any });
    outer.abort("text");
    expect(await failure(third)).toBe("text");
  });

  test("one signal stops all its tasks, running, queued and new, and no others", async () => {
    await using runtime = new Runtime();
    const controller = new AbortController();
    const { signal } = controller;
    const other = list(many, { runtime });
    const tasks = Array.from({ length: 1500 }, () => slowTask({ runtime, signal }));
    await Bun.sleep(1);
    const states = new Set(tasks.map(({ state }) => state));
    expect(states).toEqual(new Set(["running", "queued"]));
    const reason = new Error("all");
    controller.abort(reason);
    tasks.push(slowTask({ runtime, signal }));
    const outcomes = await Promise.all(tasks.map(failure));
    expect(outcomes.every((outcome) => outcome === reason)).toBe(true);
    expect((await other).length).toBe(MANY);
    await atRest(runtime);
    expect(runtime.stats).toMatchObject({ running: 0, queued: 0 });
  });

  test("it may be used again and again, and costs one listener", async () => {
    const controller = new AbortController();
    let listeners = 0;
    const { signal } = controller;
    const add = signal.addEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>): void => {
      listeners++;
      add(...args);
    };
    await using runtime = new Runtime();
    for (let i = 0; i < 20; i++) await list(left, { runtime, signal });
    expect(listeners).toBe(1);
  });

  test("aborted while the task is iterated, the iteration throws its reason", async () => {
    const controller = new AbortController();
    const error = await failure(
      (async () => {
        for await (const _ of list(many, { signal: controller.signal }).batches())
          controller.abort("stop");
      })(),
    );
    expect(error).toBe("stop");
  });

  test("from the abort to the rejection it takes at most ten milliseconds", async () => {
    let best = Infinity;
    for (let i = 0; i < 50 && best > 10; i++) {
      const controller = new AbortController();
      const task = slowTask({ signal: controller.signal });
      await Bun.sleep(3);
      const began = performance.now();
      controller.abort();
      await failure(task);
      best = Math.min(best, performance.now() - began);
    }
    expect(best).toBeLessThan(10 * slowness);
  });
});

describe("with a timeout", () => {
  test("it fails with TIMEOUT when the time is over, not before", async () => {
    const began = performance.now();
    const task = slowTask({ timeout: 50, concurrency: 1 });
    expect(await failure(task)).toMatchObject({ code: "TIMEOUT", retryable: true });
    expect(performance.now() - began).toBeWithin(49, within(5000));
    expect(task.state).toBe("failed");
  });

  test("the Sync form, too", async () => {
    const sync = async (): Promise<unknown> =>
      compareSync(slow, big, { timeout: 50, concurrency: 1 });
    expect(await failure(sync())).toMatchObject({ code: "TIMEOUT" });
  });

  test("that is long enough or infinite it does nothing", async () => {
    for (const timeout of [60_000, 1e12, Infinity])
      expect((await list(left, { timeout })).length).toBe(3);
  });
});

describe("with onProgress", () => {
  const wanted = { concurrency: 1 };
  const slow = `fault:delay=30:${big}`; // six seconds and more in all

  test("it is told totals that only grow, and the task shows the newest", async () => {
    const seen: Progress[] = [];
    const task = compare(slow, big, {
      ...wanted,
      onProgress: (progress) => {
        seen.push(progress);
        if (seen.length === 5) task.cancel();
      },
    });
    await failure(task);
    expect(seen.length).toBe(5);
    for (const [i, { files, bytes }] of seen.entries()) {
      expect(files).toBeGreaterThanOrEqual(seen[i - 1]?.files ?? 0);
      expect(bytes).toBeGreaterThanOrEqual(seen[i - 1]?.bytes ?? 0);
    }
    expect(task.progress.files).toBeGreaterThanOrEqual(seen.at(-1)!.files);
  });

  // The native side has no PROGRESS for waited tasks.
  test("the Sync form calls it, too", async () => {
    let calls = 0;
    const enough = new Error("enough");
    const onProgress = (): void => {
      if (++calls === 5) throw enough;
    };
    expect(await failure((async () => compareSync(slow, big, { ...wanted, onProgress }))())).toBe(
      enough,
    );
    expect(calls).toBe(5);
  });

  test("what it throws fails the task and stops the work", async () => {
    await using runtime = new Runtime();
    const error = new Error("mine");
    const options = {
      ...wanted,
      runtime,
      onProgress: () => {
        throw error;
      },
    };
    const task = compare(slow, big, options);
    expect(await failure(task)).toBe(error);
    expect(task.state).toBe("failed");
    while (runtime.stats.running > 0) await Bun.sleep(1);
  });
});

describe("options are checked before any work", () => {
  const bad: readonly [string, object][] = [
    ["chunkSize", { chunkSize: 0 }],
    ["chunkSize", { chunkSize: 2 ** 30 + 1 }],
    ["chunkSize", { chunkSize: 1.5 }],
    ["chunkSize", { chunkSize: "64K" }],
    ["concurrency", { concurrency: -1 }],
    ["concurrency", { concurrency: 257 }],
    ["concurrency", { concurrency: NaN }],
    ["timeout", { timeout: 0 }],
    ["timeout", { timeout: -1 }],
    ["timeout", { timeout: NaN }],
    ["timeout", { timeout: "1s" }],
    ["limits", { limits: 5 }],
    ["limits.entries", { limits: { entries: 0 } }],
    ["limits.depth", { limits: { depth: "x" } }],
    ["colour", { limits: { colour: 1 } }],
    ["include", { include: "*.ts" }],
    ["include", { include: [""] }],
    ["exclude", { exclude: ["a\0b"] }],
    ["exclude", { exclude: [5] }],
    ["links", { links: "ignore" }],
    ["by", { by: "name" }],
    ["priority", { priority: "urgent" }],
    ["priority", { priority: 1 }],
    ["metadata", { metadata: "mode" }],
    ["metadata", { metadata: ["colour"] }],
    ["signal", { signal: {} }],
    ["runtime", { runtime: {} }],
    ["onProgress", { onProgress: true }],
    ["stopAtFirst", { stopAtFirst: 1 }],
    ["moves", { moves: "yes" }],
    ["sample", { sample: null }],
    ["colour", { colour: "red" }],
    ["toString", { toString: 1 }],
    ["options", []],
  ];
  test.each(bad)("%s: %j is an ARGUMENT that names it", async (name, options) => {
    await using runtime = new Runtime();
    const given: object = Array.isArray(options) ? options : { runtime, ...options };
    const wanted = Array.isArray(options) ? "ARGUMENT" : name;
    for (const verb of [compare, compareSync]) {
      const error = await failure((async () => verb(left, right, given))());
      expect(error).toMatchObject({ name: "CopseError", code: "ARGUMENT" });
      if (wanted === name) expect((error as CopseError).message).toContain(name);
    }
    expect(runtime.stats.started).toBe(0);
  });

  test("undefined is as good as absent", async () => {
    const options = {
      signal: undefined,
      runtime: undefined,
      include: undefined,
      timeout: undefined,
      limits: { depth: undefined },
    };
    // The types say so as well, for who checks them less strictly.
    expect((await list(left, options as object)).length).toBe(3);
  });
});

describe("rejections", () => {
  const said = (stderr: string): boolean => /unhandled|CopseError/i.test(stderr);

  test("of a task that failed and that nobody looks at are unhandled, as of any promise", async () => {
    const { exitCode, stderr } = await run(`compare("missing", "missing"); await Bun.sleep(200);`);
    expect(exitCode).toBe(1);
    expect(said(stderr)).toBe(true);
  });

  test.each([
    ["a task cancelled and never awaited", `const task = list("."); task.cancel();`],
    ["a task aborted and never awaited", `list(".", { signal: AbortSignal.abort() });`],
    [
      "a running task aborted and never awaited",
      `const c = new AbortController(); list("/usr/share", { signal: c.signal }); await Bun.sleep(1); c.abort();`,
    ],
    [
      "a cancelled task that is awaited later",
      `const task = list("."); task.cancel(); await Bun.sleep(50); try { await task; process.exit(2); } catch (e) { if (e.code !== "CANCELLED") throw e; }`,
    ],
    [
      "a failed task that is only iterated",
      `try { for await (const _ of list("missing")); process.exit(2); } catch (e) { if (e.code !== "NOT_FOUND") throw e; }`,
    ],
    [
      "a failed task that is only streamed",
      `try { for await (const _ of list("missing").toReadableStream()); process.exit(2); } catch (e) { if (e.code !== "NOT_FOUND") throw e; }`,
    ],
    ["a task left by break", `for await (const _ of list("/usr/share")) break;`],
    ["a disposed task", `{ await using task = list("/usr/share"); }`],
    ["a read stream that is cancelled", `await new Store("/").read("etc/passwd").cancel();`],
    [
      "a failed write",
      `await new Store("memory:x").write("x", new ReadableStream({ pull(c) { c.error(new Error("no")); } })).catch(() => {});`,
    ],
  ])("of %s are not", async (_, source) => {
    const { exitCode, stderr } = await run(`${source}\nawait Bun.sleep(100 * ${slowness});`);
    expect(stderr).toBe("");
    expect(exitCode).toBe(0);
  });
});

describe("rows", () => {
  test("times are exact to the millisecond, before 1970 too", async () => {
    const times = new Map([
      ["0", 0],
      ["0.001", 1],
      ["1700000000.001", 1_700_000_000_001],
      ["1700000000.002", 1_700_000_000_002],
      ["1700000000.003", 1_700_000_000_003],
      ["1699999999.999999999", 1_699_999_999_999],
      ["4000000000.007", 4_000_000_000_007],
      ["-0.001", -1],
      ["-1.001", -1001],
    ]);
    const place = mkdtempSync(join(folder, "times-"));
    for (const seconds of times.keys()) {
      const { status } = spawnSync("touch", ["-d", `@${seconds}`, join(place, `t${seconds}`)]);
      expect(status).toBe(0);
    }
    const listed = (await list(place, { stat: true })).map(({ path, mtime }) => [
      path.slice(1),
      mtime?.getTime(),
    ]);
    expect(Object.fromEntries(listed)).toEqual(Object.fromEntries(times));
  });

  test("a name that is not UTF-8 keeps its bytes and leaves the others alone", async () => {
    const place = mkdtempSync(join(folder, "bytes-"));
    const odd = Buffer.concat([Buffer.from(`${place}/`), Buffer.from([0x61, 0xff, 0x62])]);
    writeFileSync(odd, "");
    for (const name of ["plain", "ü", "日本", "🌳", "\ufffd"]) writeFileSync(join(place, name), "");
    const entries = await list(place);
    const strange = entries.filter(({ pathBytes }) => pathBytes);
    expect(strange).toHaveLength(1);
    expect(strange[0]!.path).toBe("a\ufffdb");
    expect([...strange[0]!.pathBytes!]).toEqual([0x61, 0xff, 0x62]);
    expect(entries.filter(({ pathBytes }) => !pathBytes).map(({ path }) => path)).toEqual([
      "plain",
      "ü",
      "日本",
      "\ufffd",
      "🌳",
    ]);
  });

  test("names that begin with a byte order mark keep it", async () => {
    const place = mkdtempSync(join(folder, "bom-"));
    writeFileSync(join(place, "\ufeffx"), "");
    expect((await list(place)).map(({ path }) => path)).toEqual(["\ufeffx"]);
  });
});
