// watchSync: whatever changes, in the end both trees are the same. COPSE_WATCH=10000 asks for that many
// random changes.

import { afterAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  watch as watchSystem,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import {
  compareSync,
  watchSync,
  type WatchSyncer,
  type WatchSyncEvent,
  type WatchSyncOptions,
} from "../lib/index.ts";
import { commandPlace, main } from "./command.ts";
import { patience } from "./patience.ts";
import { tied } from "./servers/tied.ts";
import { shape, strays } from "./synced.ts";
import { Random, Scratch } from "./trees.ts";
import { codeOf, leaveNothingOpen } from "./ways.ts";

// The first watch of a process opens a descriptor that Bun keeps.
watchSystem(import.meta.dir).close();
leaveNothingOpen();
const changes = Number(process.env["COPSE_WATCH"] ?? 1000);
patience(60_000 + changes * 60);
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());

let planted = 0;

interface Running {
  readonly from: string;
  readonly to: string;
  readonly syncer: WatchSyncer;
  readonly events: WatchSyncEvent[];
  /** Resolves when the iteration has ended; rejects as it does. */
  readonly over: Promise<void>;
  /** Waits until it is so. */
  until(what: () => boolean): Promise<void>;
}

async function running(
  tree: Record<string, string>,
  options: WatchSyncOptions = {},
): Promise<Running> {
  const number = planted++;
  const from = scratch.plant(`from-${number}`, tree);
  const to = scratch.at(`to-${number}`);
  const twoWay = options.twoWay ? { state: scratch.at(`state-${number}`) } : false;
  if (twoWay) mkdirSync(to);
  const syncer = watchSync(from, to, { settle: 20, maxWait: 200, ...options, twoWay });
  const events: WatchSyncEvent[] = [];
  const over = (async () => {
    for await (const event of syncer) events.push(event);
  })();
  over.catch(() => {});
  const until = async (what: () => boolean): Promise<void> => {
    while (!what()) {
      await Promise.race([Bun.sleep(10), over.then(() => Promise.reject(new Error("it ended")))]);
    }
  };
  await syncer.ready;
  return { from, to, syncer, events, over, until };
}

function isSame({ from, to }: Running): boolean {
  try {
    return existsSync(to) && Bun.deepEquals(shape(from), shape(to));
  } catch {
    return false; // it changes while it is looked at
  }
}

function change(root: string, random: Random): void {
  const part = (): string => `n${random.below(5)}`;
  const name = (): string => Array.from({ length: 1 + random.below(3) }, part).join("/");
  const path = join(root, name());
  const what = random.below(6);
  try {
    if (what < 3) {
      mkdirSync(dirname(path), { recursive: true });
      // Of many sizes: two of one size in one tick of a file system's clock look alike.
      writeFileSync(path, `${random.below(1e9)}`.padEnd(random.below(1000)));
    } else if (what === 3) rmSync(path, { recursive: true, force: true });
    else if (what === 4) renameSync(path, join(root, name()));
    else mkdirSync(path, { recursive: true });
  } catch {
    // something else has the name, or nothing: then this is no change
  }
}

describe("watchSync", () => {
  test(`${changes} random changes end in an equal tree`, async () => {
    const random = new Random(4711);
    const run = await running({ "n0/a": "a" });
    for (let i = 0; i < changes; i++) {
      change(run.from, random);
      // Now in bursts, now one by one.
      if (random.below(10) === 0) await Bun.sleep(random.below(30));
    }
    // Whatever is left is not empty: else the rule for an empty source holds it back.
    writeFileSync(join(run.from, "last"), "last");
    await run.until(() => isSame(run) && run.events.length > 1);
    run.syncer.close();
    await run.over;
    expect(compareSync(run.from, run.to).equal).toBe(true);
    expect(strays(run.to)).toEqual([]);
  });

  test("the first round is told of, then those that did something", async () => {
    const run = await running({ a: "a" });
    expect(run.events).toMatchObject([{ kind: "synced", transfer: { copied: 1 } }]);
    writeFileSync(join(run.from, "b"), "b");
    await run.until(() => run.events.length > 1);
    rmSync(join(run.from, "a"));
    await run.until(() => run.events.length > 2);
    expect(run.events.slice(1)).toMatchObject([
      { kind: "synced", transfer: { copied: 1, deleted: 0 } },
      { kind: "synced", transfer: { copied: 0, deleted: 1 } },
    ]);
    run.syncer.close();
    await run.over;
  });

  test("changes that come together are one round", async () => {
    const run = await running({ a: "a" }, { settle: 300, maxWait: 60_000 });
    for (let i = 0; i < 50; i++) writeFileSync(join(run.from, `f${i}`), `${i}`);
    // Both trees are the same a moment before the round that made them so is told of.
    await run.until(() => isSame(run) && run.events.length > 1);
    run.syncer.close();
    await run.over;
    // The first round, and one for all that came since.
    expect(run.events).toMatchObject([
      { kind: "synced", transfer: { copied: 1 } },
      { kind: "synced", transfer: { copied: 50 } },
    ]);
    expect(run.events).toHaveLength(2);
  });

  test("changes without an end: a round begins all the same", async () => {
    const run = await running({ a: "a" }, { settle: 60_000, maxWait: 50 });
    writeFileSync(join(run.from, "b"), "b");
    await run.until(() => isSame(run));
    run.syncer.close();
    await run.over;
  });

  test("both ways: changes of either side", async () => {
    const run = await running({ a: "a" }, { twoWay: true });
    writeFileSync(join(run.to, "right"), "r");
    writeFileSync(join(run.from, "left"), "l");
    await run.until(() => isSame(run) && readdirSync(run.to).length === 3);
    rmSync(join(run.to, "a"));
    await run.until(() => isSame(run) && readdirSync(run.from).length === 2);
    run.syncer.close();
    await run.over;
  });

  test("what the filters leave out begins no round and is not copied", async () => {
    const run = await running({ a: "a" }, { exclude: ["*.log"] });
    writeFileSync(join(run.from, "x.log"), "x");
    writeFileSync(join(run.from, "b"), "b");
    await run.until(() => existsSync(join(run.to, "b")));
    expect(existsSync(join(run.to, "x.log"))).toBe(false);
    run.syncer.close();
    await run.over;
  });

  test("what fails does not end it: it is told once, tried again, and goes on", async () => {
    const run = await running({ a: "a", "d/x": "x" });
    // A directory of the destination turns into something that cannot be looked into.
    rmSync(run.to, { recursive: true });
    writeFileSync(run.to, "in the way");
    writeFileSync(join(run.from, "b"), "b");
    const failures = (): number => run.events.filter(({ kind }) => kind === "failed").length;
    await run.until(() => failures() > 0);
    // Tried again after a second, with the same answer.
    await Bun.sleep(1500);
    expect(failures()).toBe(1);
    rmSync(run.to);
    await run.until(() => isSame(run));
    // What comes after a good round is news.
    rmSync(run.to, { recursive: true });
    writeFileSync(run.to, "in the way");
    writeFileSync(join(run.from, "c"), "c");
    await run.until(() => failures() > 1);
    expect(failures()).toBe(2);
    run.syncer.close();
    await run.over;
  });

  test("onError stop: the first error ends it, of a round or of one entry", async () => {
    const run = await running({ a: "a" }, { onError: "stop" });
    rmSync(run.to, { recursive: true });
    writeFileSync(run.to, "in the way");
    writeFileSync(join(run.from, "b"), "b");
    expect(await codeOf(run.over)).toBe("EXISTS");
    const other = await running({ a: "a" }, { onError: "stop" });
    rmSync(join(other.from, "a"));
    // The source is empty now.
    expect(await codeOf(other.over)).toBe("ARGUMENT");
  });

  test("the source goes away and comes back", async () => {
    const run = await running({ a: "a" });
    renameSync(run.from, `${run.from}-away`);
    await run.until(() => run.events.some(({ kind }) => kind === "failed"));
    expect(shape(run.to)).toEqual({ a: "a" });
    renameSync(`${run.from}-away`, run.from);
    writeFileSync(join(run.from, "b"), "b");
    await run.until(() => isSame(run));
    run.syncer.close();
    await run.over;
  });

  test("an AbortSignal ends it with its reason, leaving the loop without one", async () => {
    const stop = new AbortController();
    const run = await running({ a: "a" }, { signal: stop.signal });
    stop.abort(new Error("enough"));
    expect(await codeOf(run.over)).toContain("enough");
    const [from, to] = [scratch.plant("left-from", { a: "a" }), scratch.at("left-to")];
    for await (const event of watchSync(from, to)) {
      expect(event.kind).toBe("synced");
      break;
    }
    expect(shape(to)).toEqual({ a: "a" });
  });

  test("what cannot be is refused", () => {
    const from = scratch.plant("refused", {});
    const wrong = (options: object): (() => unknown) => {
      return () => watchSync(from, scratch.at("x"), options);
    };
    for (const options of [
      { settle: -1 },
      { maxWait: "soon" },
      { onError: "ignore" },
      { dryRun: true },
    ])
      expect(wrong(options)).toThrow();
    expect(() => watchSync("https://host/x/", scratch.at("x"))).toThrow("local");
  });
});

describe("copse watch-sync", () => {
  const { folder, environment, plant } = commandPlace();

  test("says each round, and ends in order on SIGINT", async () => {
    plant("from", { a: "1" });
    await using child = Bun.spawn(
      tied([process.execPath, main, "watch-sync", "from", "to", "--settle", "20ms"]),
      {
        cwd: folder,
        env: environment,
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
      },
    );
    const decoder = new TextDecoder();
    let out = "";
    const read = (async () => {
      for await (const bytes of child.stdout) out += decoder.decode(bytes, { stream: true });
    })();
    const says = async (what: RegExp): Promise<void> => {
      while (!what.test(out)) {
        if (child.exitCode !== null) throw new Error(await child.stderr.text());
        await Bun.sleep(10);
      }
    };
    await says(/1 copied/);
    writeFileSync(join(folder, "from", "b"), "2");
    await says(/\+ b/);
    child.kill("SIGINT");
    expect(await child.exited).toBe(130);
    await read;
    expect(shape(join(folder, "to"))).toEqual({ a: "1", b: "2" });
  });
});
