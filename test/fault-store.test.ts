// The `fault:` store wraps another one and fails on cue. Each verb meets each kind of failure, with each code, and has
// to say so: one settlement, the right code, nothing called equal, nothing called complete.

import { afterAll, describe, expect, test } from "bun:test";
import { truncateSync } from "node:fs";
import {
  compare,
  compareSync,
  CopseError,
  list,
  listSync,
  Runtime,
  Store,
  type CompareOptions,
  type Comparison,
  type Entry,
  type ErrorCode,
  type Found,
  type Options,
} from "../lib/index.ts";
import { Code } from "../lib/native/abi.ts";
import { settle } from "./fault-trees.ts";
import { within } from "./patience.ts";
import { link, Scratch, type Tree } from "./trees.ts";
import { atRest, codeOf, leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();

// Object.keys knows the keys only as strings.
const codes = Object.keys(Code) as ErrorCode[];
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());

const BLOCK_BYTES = 300 * 1024; // more than the first read takes
const tree: Tree = {
  a: "some content",
  block: new Uint8Array(BLOCK_BYTES).fill(7),
  holes: "begin",
  "sub/leaf": "leaf",
  "sub/to-leaf": link("leaf"),
};
const left = scratch.plant("left", tree);
const right = scratch.plant("right", tree);
for (const root of [left, right]) {
  truncateSync(`${root}/holes`, 2 ** 20);
  settle(root);
}
const block = scratch.plant("block", { block: new Uint8Array(BLOCK_BYTES).fill(7) });

const faulty = (spec: string, inner: string): string => `fault:${spec}:${inner}`;

/** What came out, whether as an answer or as a rejection. */
type Outcome<T> = { readonly answer: T } | { readonly error: unknown };

function attempt<T>(ask: () => T): Outcome<T> {
  try {
    return { answer: ask() };
  } catch (error) {
    return { error };
  }
}

/** Awaits, and counts how often the task settles. */
async function settled<T>(task: Promise<T>): Promise<Outcome<T>> {
  let count = 0;
  const outcome = await task.then(
    (answer): Outcome<T> => (count++, { answer }),
    (error: unknown): Outcome<T> => (count++, { error }),
  );
  await new Promise((resolve) => setImmediate(resolve));
  expect(count).toBe(1);
  return outcome;
}

const compareWays = [
  {
    name: "compareSync",
    ask: async (from: string, to: string, options: CompareOptions) =>
      attempt(() => compareSync(from, to, options)),
  },
  {
    name: "compare",
    ask: (from: string, to: string, options: CompareOptions) => settled(compare(from, to, options)),
  },
];

const listWays = [
  {
    name: "listSync",
    ask: async (root: string, options: Options) =>
      attempt(() => listSync(root, { ...options, stat: true })),
  },
  {
    name: "list",
    ask: (root: string, options: Options) => settled(list(root, { ...options, stat: true })),
  },
];

function expectCode(error: unknown, code: ErrorCode): void {
  expect(error).toBeInstanceOf(CopseError);
  if (!(error instanceof CopseError)) return;
  expect(error.code).toBe(code);
  expect(error.message).toContain("made to fail by a test");
}

/** Trees that are equal, of which something could not be seen. */
function expectTrouble(outcome: Outcome<Comparison>, code: ErrorCode): void {
  if ("error" in outcome) {
    expectCode(outcome.error, code);
    return;
  }
  const { equal, complete, errors, differences } = outcome.answer;
  expect(equal).toBeFalse();
  expect(complete).toBeFalse();
  expect(errors).toBe(differences.length);
  expect(errors).toBeGreaterThan(0);
  for (const row of differences) {
    expect(row.kind).toBe("error");
    if (row.kind === "error") expectCode(row.error, code);
  }
}

const metadata = ["mode", "owner", "mtime", "xattr"] as const;
const calls = [
  "root",
  "enter",
  "hold",
  "list",
  "stat",
  "target",
  "attributes",
  "open",
  "read",
  "measure",
  "data",
];

describe.each(compareWays)("$name over a store that fails", ({ ask }) => {
  test.each(codes)("says %s, whatever call it was and on whichever side", async (code) => {
    for (const call of calls)
      for (const sticky of ["", ",sticky"])
        for (const by of ["content", "hash"] as const) {
          if (by === "hash" && call === "data") continue; // holes are read like the rest
          const spec = `${call}=1,code=${code}${sticky}`;
          // So that everything is asked for, the last thing too.
          const options: CompareOptions = { metadata, by };
          expectTrouble(await ask(faulty(spec, left), right, options), code);
          expectTrouble(await ask(left, faulty(spec, right), options), code);
        }
  });

  test("finds every later failure, as long as there is such a call", async () => {
    for (const call of calls) {
      let reached = 0;
      for (let at = 1; at < 100; at++) {
        const outcome = await ask(faulty(`${call}=${at}`, left), right, { metadata });
        if ("answer" in outcome && outcome.answer.equal) break;
        expectTrouble(outcome, "IO");
        reached++;
      }
      expect(reached).toBeGreaterThan(0);
      expect(reached).toBeLessThan(99);
    }
  });

  test("a failure does not hide what differs elsewhere", async () => {
    const other = scratch.plant(`other-${Bun.randomUUIDv7()}`, {
      ...tree,
      a: "same content",
      z: "new",
    });
    truncateSync(`${other}/holes`, 2 ** 20);
    const outcome = await ask(faulty("enter=1", left), other, {});
    if ("error" in outcome) throw outcome.error;
    const { differences, complete } = outcome.answer;
    expect(complete).toBeFalse();
    expect(differences.map((row) => `${row.kind} ${row.path}`)).toEqual([
      "differs a",
      "error sub",
      "only-right z",
    ]);
  });

  test("with stopAtFirst a failure is no equality either", async () => {
    for (const call of calls) {
      if (call === "attributes") continue; // nobody asks for them
      const found = await ask(faulty(`${call}=1,sticky`, left), right, {
        stopAtFirst: true,
        metadata: ["mode"],
      });
      expectTrouble(found, "IO");
    }
  });

  test("content that ends early is never the whole", async () => {
    for (const by of ["content", "hash"] as const)
      for (const cut of [1, 100, 5_000_000])
        for (const at of [1, 2]) {
          const outcome = await ask(faulty(`read=${at},cut=${cut}`, block), block, { by });
          if ("error" in outcome) throw outcome.error;
          expect(outcome.answer.equal).toBeFalse();
        }
  });

  test("content that ends early on both sides, after its size was told, has changed", async () => {
    const spec = "read=2,cut=7";
    const outcome = await ask(faulty(spec, block), faulty(spec, block), {});
    if ("error" in outcome) throw outcome.error;
    const { equal, complete, differences } = outcome.answer;
    expect({ equal, complete }).toEqual({ equal: false, complete: false });
    expect(differences.map((row) => row.kind === "error" && row.error.code)).toEqual(["CHANGED"]);
  });

  test("sizes that lie make nothing equal that was not read to its end", async () => {
    const one = await ask(faulty("lie=9", block), block, {});
    if ("error" in one) throw one.error;
    expect(one.answer.equal).toBeFalse();
    const both = await ask(faulty("lie=9", block), faulty("lie=9", block), {});
    if ("error" in both) throw both.error;
    expect(both.answer.differences.map((row) => row.kind === "error" && row.error.code)).toEqual([
      "CHANGED",
    ]);
  });

  test("what vanishes before it is opened is NOT_FOUND, and the rest goes on", async () => {
    const outcome = await ask(faulty("open=1,vanish", left), right, {});
    if ("error" in outcome) throw outcome.error;
    const { equal, errors, differences } = outcome.answer;
    expect({ equal, errors }).toEqual({ equal: false, errors: 1 });
    expect(differences.map((row) => row.kind === "error" && row.error.code)).toEqual(["NOT_FOUND"]);
  });

  test("a task that takes too long is TIMEOUT", async () => {
    const outcome = await ask(faulty("delay=600000", left), right, { timeout: 30 });
    expect(outcome).toHaveProperty("error.code", "TIMEOUT");
  });

  test("without a failure it is as if the store were not there", async () => {
    const outcome = await ask(faulty("", left), faulty("read=1000000", right), { metadata });
    expect(outcome).toHaveProperty("answer.equal", true);
  });

  test.each([
    "read=0",
    "read",
    "read=x",
    "eat=1",
    "cut=3",
    "code=NOPE",
    "sticky=1",
    "delay=-1",
    "read=1,,",
  ])("a specification that is none, %p, is ARGUMENT", async (spec) => {
    expect(await ask(faulty(spec, left), right, {})).toHaveProperty("error.code", "ARGUMENT");
  });
});

describe.each(listWays)("$name over a store that fails", ({ ask }) => {
  const whole = listSync(left).map(({ path }) => path);

  function expectGap(outcome: Outcome<Found<Entry>>, code: ErrorCode): void {
    if ("error" in outcome) {
      expectCode(outcome.error, code);
      return;
    }
    const { answer } = outcome;
    expect(answer.complete).toBeFalse();
    expect(answer.errors.length).toBeGreaterThan(0);
    for (const { error } of answer.errors) expectCode(error, code);
    const seen = answer.map(({ path }) => path);
    for (const path of seen) expect(whole).toContain(path);
    // What is not there is an error or lies below one.
    for (const path of whole)
      if (!seen.includes(path))
        expect(
          answer.errors.some((row) => path === row.path || path.startsWith(`${row.path}/`)),
        ).toBeTrue();
  }

  test.each(codes)("says %s, whatever call it was", async (code) => {
    for (const call of ["root", "enter", "hold", "list", "stat", "target"])
      for (const sticky of ["", ",sticky"])
        expectGap(await ask(faulty(`${call}=1,code=${code}${sticky}`, left), {}), code);
  });

  test("sizes are what the store says they are", async () => {
    const outcome = await ask(faulty("lie=3", block), {});
    expect(outcome).toHaveProperty("answer.0.size", BLOCK_BYTES + 3);
  });
});

test("a task whose store takes its time stops when it is told to", async () => {
  const stop = new AbortController();
  const task = compare(faulty("delay=600000", left), right, { signal: stop.signal });
  const reason = new Error("enough");
  setImmediate(() => stop.abort(reason));
  const began = performance.now();
  expect(await task.catch((error: unknown) => error)).toBe(reason);
  expect(performance.now() - began).toBeLessThan(within(5000)); // not after ten minutes
  expect(task.state).toBe("cancelled");
});

test("a row of each failure comes to who iterates, and then the failure of the whole", async () => {
  const seen: string[] = [];
  const task = compare(faulty("open=1,sticky,code=CORRUPT", left), right);
  for await (const row of task) if (row.kind === "error") seen.push(row.error.code);
  expect(seen).toEqual(["CORRUPT", "CORRUPT", "CORRUPT", "CORRUPT"]);
  expect(await task).toMatchObject({ equal: false, complete: false, errors: 4 });

  const failing = compare(faulty("root=1,code=AUTH", left), right);
  const iterate = async (): Promise<void> => {
    for await (const row of failing) expect(row).toBeUndefined();
  };
  expect(await codeOf(iterate())).toBe("AUTH");
  expect(await codeOf(Promise.resolve(failing))).toBe("AUTH");
});

test("the counters of a runtime balance after all kinds of ends", async () => {
  using runtime = new Runtime({ ioWorkers: 2 });
  const ends = ["", "root=1", "open=1", "list=1,sticky", "read=2"].map((spec) =>
    settled(compare(faulty(spec, left), right, { runtime })),
  );
  const slow = compare(faulty("delay=600000", left), right, { runtime });
  ends.push(settled(slow));
  slow.cancel();
  await Promise.all(ends);
  await atRest(runtime);
  const { started, done, failed, cancelled, running, queued } = runtime.stats;
  expect(done + failed + cancelled).toBe(started);
  expect({ running, queued }).toEqual({ running: 0, queued: 0 });
});

describe("a Store that fails", () => {
  test.each(["writer", "write", "commit"])("keeps the old file when %s fails", async (call) => {
    const root = scratch.plant(`written-${call}`, { kept: "old" });
    for (const code of codes) {
      await using store = new Store(faulty(`${call}=1,code=${code}`, root));
      expect(await codeOf(store.write("kept", "new"))).toBe(code);
      expect(listSync(root, { stat: true }).map(({ path, size }) => ({ path, size }))).toEqual([
        { path: "kept", size: 3 },
      ]);
      expect(await Bun.file(`${root}/kept`).text()).toBe("old");
    }
  });

  test("tells why it cannot say, read or remove", async () => {
    const root = scratch.plant("asked", { kept: "old" });
    for (const code of codes) {
      const store = (spec: string): Store => new Store(faulty(`${spec}=1,code=${code}`, root));
      const said = code === "NOT_FOUND" ? "none" : code; // stat answers null
      expect(await codeOf(store("find").stat("kept"))).toBe(said);
      expect(await codeOf(new Response(store("open").read("kept")).text())).toBe(code);
      expect(await codeOf(new Response(store("read").read("kept")).text())).toBe(code);
      expect(await codeOf(store("remove").remove("kept"))).toBe(code);
      expect(await Bun.file(`${root}/kept`).text()).toBe("old");
    }
  });
});
