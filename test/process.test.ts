// What a process with a runtime keeps to itself: every public function lets it end, its threads take no
// signals, what is cancelled in the queue never begins, and memory stays within what was allowed.

import { afterAll, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as copse from "../lib/index.ts";
import { known } from "../lib/rows.ts";
import { patience, slowness, within } from "./patience.ts";
import { openFiles, run } from "./script.ts";
import { mountIll, releaseIll } from "./servers/fuse.ts";
import { tied } from "./servers/tied.ts";
import { atRest } from "./ways.ts";

patience(120_000);
const folder = mkdtempSync(join(tmpdir(), "copse-process-"));
const tree = join(folder, "tree");
mkdirSync(join(tree, "sub"), { recursive: true });
for (let i = 0; i < 20; i++) writeFileSync(join(tree, "sub", `f${i}`), "x".repeat(i * 100));
afterAll(() => rmSync(folder, { recursive: true }));

const index = JSON.stringify(join(import.meta.dir, "..", "lib", "index.ts"));
const from = JSON.stringify(tree);
const isLinux = process.platform === "linux";

// What starts a task or holds something. Where `from` is a tree, `to` a path of which nothing is there.
const uses: Readonly<Record<string, string>> = {
  compare: `await c.compare(from, from); c.compareSync(from, from)`,
  sync: `await c.sync(from, to); c.syncSync(from, to)`,
  copy: `c.rowsOf(await c.copy(from, to)); c.copySync(from, to + "2")`,
  apply: `const plan = await c.sync(from, to, { dryRun: true }); await c.apply(plan); c.applySync(await c.sync(from, to + "2", { dryRun: true }))`,
  compareAll: `await c.compareAll([from, from]); c.compareAllSync([from, from])`,
  manifest: `c.formatManifest(await c.manifest(from)); c.manifestSync(from)`,
  list: `await c.list(from); c.listSync(from); for await (const _ of c.list(from)) break`,
  scan: `await c.scan(from, { name: "sub" }); c.scanSync(from, { name: "sub" })`,
  snapshot: `await c.list(await c.snapshot(from)); c.listSync(c.snapshotSync(from))`,
  assess: `await c.assess(from, { name: "sub" }); c.assessSync(from, { name: "sub" })`,
  shuffle: `await c.shuffle(await c.scan(from, { name: "sub" }), to); c.shuffleSync(c.scanSync(from, { name: "sub" }), to + "2")`,
  inferPattern: `await c.inferPattern(from); c.inferPatternSync(from)`,
  pack: `await c.pack(from, to); c.packSync(from, to + "2")`,
  unpack: `await c.pack(from, to + ".znippy"); await c.unpack(to + ".znippy", to); c.unpackSync(to + ".znippy", to + "2")`,
  repair: `await c.pack(from, to); await c.repair(to, to + "2"); c.repairSync(to, to + "3")`,
  verify: `await c.pack(from, to); await c.verify(to); c.verifySync(to)`,
  blocks: `await c.blocks(from); c.blocksSync(from)`,
  watch: `for await (const _ of c.watch(from, { initial: true })) break`,
  watchSync: `for await (const _ of c.watchSync(from, to)) break`,
  globSet: `c.globSet(["*.ts"]).test("a.ts")`,
  sharedChannel: `const channel = c.sharedChannel("one", 4); await channel.send("x"); await channel.receive()`,
  sharedSemaphore: `using permit = await c.sharedSemaphore("one", 2).acquire()`,
  Store: `const store = new c.Store("memory:x"); await store.write("a", "b"); await new Response(store.read("a")).text()`,
  Runtime: `c.Runtime.forServer(); await c.list(from, { runtime: new c.Runtime() }); c.Runtime.default.info`,
};
// They start nothing that could stay; or staying is what they are for, until they are disposed of.
const others = [
  "loadPattern",
  "parsePattern",
  "pattern",
  "PatternBuilder",
  "samePattern",
  "toPathveinJSON",
  "credential",
  "listenForSignals",
  "reportTo",
  "CopseError",
  "certificateSource",
  "parseLocation",
];

test("every public function is used here, or starts nothing", () => {
  const used = Object.values(uses).join("\n");
  const all = Object.keys(copse).filter((name) => !others.includes(name));
  expect(all.filter((name) => !new RegExp(`\\bc\\.${name}\\b`).test(used))).toEqual([]);
});

test.each(Object.keys(uses))("a process that used %s ends by itself", async (name) => {
  const to = JSON.stringify(join(folder, `to-${name}`));
  const source = `
      import * as c from ${index};
      const [from, to] = [${from}, ${to}];
      await (async () => { ${uses[name]}; })();
      const ended = performance.now();
      process.on("exit", () => console.log(performance.now() - ended));`;
  let least = Infinity;
  // What a busy machine adds is not what is measured.
  for (let i = 0; i < 30 && least > 100 * slowness; i++) {
    const { exitCode, stdout, stderr } = await run(
      source.replaceAll(to, JSON.stringify(join(folder, `to-${name}-${i}`))),
    );
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    least = Math.min(least, Number(stdout));
  }
  expect(least).toBeLessThan(100 * slowness);
});

test.skipIf(!isLinux)("native threads take no signals", async () => {
  const source = `
    import { readdirSync, readFileSync } from "node:fs";
    const runtime = new Runtime({ workers: 2, ioWorkers: 2 });
    await Promise.all(Array.from({ length: 50 }, () => compare(${from}, ${from}, { runtime, by: "hash" })));
    const masks = readdirSync("/proc/self/task").map((id) => {
      const status = readFileSync("/proc/self/task/" + id + "/status", "utf8");
      return [/^Name:\\t(.*)$/m.exec(status)[1], BigInt("0x" + /^SigBlk:\\t(.*)$/m.exec(status)[1])];
    }).filter(([name]) => name.startsWith("copse"));
    // SIGHUP, INT, QUIT, USR1, USR2, PIPE, ALRM, TERM, CHLD
    const wanted = [1, 2, 3, 10, 12, 13, 14, 15, 17].reduce((bits, n) => bits | 1n << BigInt(n - 1), 0n);
    console.log(masks.length > 1, masks.every(([, mask]) => (mask & wanted) === wanted));
    runtime.close();`;
  const { stdout, stderr } = await run(source.replaceAll("\\\\", "\\"));
  expect({ stdout, stderr }).toEqual({ stdout: "true true\n", stderr: "" });
});

test("what is cancelled while it is queued never touches the disk", async () => {
  const runtime = new copse.Runtime({ ioWorkers: 1 });
  try {
    // The one worker is busy with a file each read of which takes a minute.
    const stop = new AbortController();
    const before = new copse.Store(`fault:delay=60000:${tree}`, { runtime, signal: stop.signal });
    const busy = new Response(before.read("sub/f19")).text().catch(() => "stopped");
    while (runtime.stats.running === 0) await Bun.sleep(1);
    const controller = new AbortController();
    const after = new copse.Store(folder, { runtime, signal: controller.signal });
    const made = after.write("queued/file", "x").then(
      () => "written",
      (error: unknown) => error,
    );
    await Bun.sleep(30); // it has been handed over
    const reason = new Error("not wanted any more");
    controller.abort(reason);
    expect(await made).toBe(reason);
    stop.abort();
    expect(await busy).toBe("stopped");
    // The worker has come to all that there was for it.
    expect((await copse.list(tree, { runtime })).length).toBe(21);
    await atRest(runtime);
    expect(existsSync(join(folder, "queued"))).toBe(false);
    expect(runtime.stats).toMatchObject({ cancelled: 2, done: 1, queued: 0, running: 0 });
  } finally {
    runtime.close();
  }
});

test("a call that cannot be interrupted: its promise rejects at once, its task ends when it returns", async () => {
  const at = join(folder, "ill");
  mkdirSync(at);
  const ill = await mountIll(at, { slow: { size: 10, hangs: true } });
  if (typeof ill === "string") {
    console.warn(`skipped, no file system of a program here: ${ill}`);
    return;
  }
  // What hangs is let go before the runtime waits for it.
  await using runtime = new copse.Runtime();
  using _ = ill;
  const controller = new AbortController();
  const twin = join(folder, "twin");
  writeFileSync(twin, "A".repeat(10));
  const outcome = copse
    .compare(join(at, "slow"), twin, { runtime, signal: controller.signal })
    .then(
      () => "compared",
      (error: unknown) => error,
    );
  await ill.held(); // it is in the kernel
  expect(runtime.stats.running).toBe(1);
  const reason = new Error("not wanted any more");
  const began = performance.now();
  controller.abort(reason);
  expect(await outcome).toBe(reason);
  expect(performance.now() - began).toBeLessThan(within(5000)); // and not never
  // Nobody waits for it, but it is there still, and others go on beside it, where there is more than
  // one worker.
  expect(runtime.stats.running).toBe(1);
  const other = copse.compare(tree, tree, { runtime });
  if (runtime.info.backend !== "blocking") expect((await other).complete).toBe(true);
  releaseIll(at);
  expect((await other).complete).toBe(true);
  for (let i = 0; i < 6000 && runtime.stats.running > 0; i++) await Bun.sleep(10);
  expect(runtime.stats).toMatchObject({ started: 2, cancelled: 1, done: 1, queued: 0, running: 0 });
});

test("10,000 files are compared within the memory that is allowed", async () => {
  const many = join(folder, "many");
  for (let i = 0; i < 100; i++) {
    mkdirSync(join(many, `d${i}`), { recursive: true });
    for (let j = 0; j < 100; j++) writeFileSync(join(many, `d${i}`, `f${j}`), "y".repeat(4096));
  }
  const source = `
    import { cpSync } from "node:fs";
    const [left, right] = ${JSON.stringify([many, `${many}2`])};
    cpSync(left, right, { recursive: true });
    using runtime = new Runtime({ memory: 64 * 2 ** 20 });
    await compare(${from}, ${from}, { runtime });
    Bun.gc(true);
    const before = process.memoryUsage.rss();
    let most = before, held = 0;
    const timer = setInterval(() => {
      most = Math.max(most, process.memoryUsage.rss());
      held = Math.max(held, runtime.stats.memory);
    }, 1);
    const { equal, files } = await compare(left, right, { runtime });
    clearInterval(timer);
    console.log(JSON.stringify({ equal, files, grown: most - before, held }));`;
  const { stdout, stderr } = await run(source);
  expect(stderr).toBe("");
  const { equal, files, grown, held } = JSON.parse(stdout);
  expect({ equal, files }).toEqual({ equal: true, files: 10_000 });
  expect(held).toBeLessThanOrEqual(64 * 2 ** 20);
  if (slowness === 1) expect(grown).toBeLessThan(64 * 2 ** 20);
});

test("a size that a number cannot say is unknown, and never another one", () => {
  const view = new DataView(new ArrayBuffer(8));
  const said = (size: bigint): number | undefined => {
    view.setBigUint64(0, size, true);
    return known(view, 0);
  };
  expect(said(2n ** 53n - 1n)).toBe(2 ** 53 - 1);
  expect(said(2n ** 32n + 5n)).toBe(2 ** 32 + 5);
  expect([2n ** 53n, 2n ** 53n + 3n, 2n ** 64n - 1n].map(said)).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
});

test.skipIf(!isLinux)("300 iterations left at their first row leave nothing behind", async () => {
  const wide = join(folder, "wide");
  mkdirSync(wide);
  for (let i = 0; i < 2000; i++) writeFileSync(join(wide, `${"name".repeat(20)}${i}`), "");
  await using runtime = new copse.Runtime();
  const leave = async (): Promise<void> => {
    for await (const _ of copse.list(wide, { runtime })) break;
  };
  for (let i = 0; i < 10; i++) await leave();
  const before = openFiles();
  for (let i = 0; i < 300; i++) await leave();
  // A worker that is in the midst of something lets go of its page a moment later.
  for (let i = 0; i < 1000 && (openFiles() > before || runtime.stats.memory > 0); i++)
    await Bun.sleep(10);
  expect(openFiles()).toBeLessThanOrEqual(before);
  const { started, done, cancelled, failed, running, queued, memory } = runtime.stats;
  expect({ running, queued, failed, memory }).toEqual({
    running: 0,
    queued: 0,
    failed: 0,
    memory: 0,
  });
  expect([started, done + cancelled]).toEqual([310, 310]);
});

test("Ctrl-C in the middle of a sync: whole files, no temporary, 130", async () => {
  const to = join(folder, "interrupted");
  const main = join(import.meta.dir, "..", "lib", "cli", "main.ts");
  const interrupted = ["env", "--default-signal=INT", process.execPath, main, "sync"];
  // One after the other, half a second and more each.
  const slowly = ["--concurrency", "1", `fault:delay=500:${tree}`, to];
  const child = Bun.spawn(tied(interrupted.concat(slowly)), {
    stdout: "ignore",
    stderr: "pipe",
  });
  const there = (): string[] => (existsSync(join(to, "sub")) ? readdirSync(join(to, "sub")) : []);
  while (there().length === 0 && child.exitCode === null) await Bun.sleep(5);
  child.kill("SIGINT");
  expect({ code: await child.exited, said: await new Response(child.stderr).text() }).toMatchObject(
    {
      code: 130,
    },
  );
  const left = there();
  expect(left.length).toBeLessThan(20);
  for (const name of left)
    expect([name, readFileSync(join(to, "sub", name), "utf8")]).toEqual([
      name,
      readFileSync(join(tree, "sub", name), "utf8"),
    ]);
  expect(readdirSync(to)).toEqual(["sub"]);
});
