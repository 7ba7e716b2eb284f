// A large file that changed is made of the one it replaces: whole, not in its place, with little that is new.
// COPSE_LONG takes a file of 256 MiB, COPSE_KILLS=1000 asks for that many kills.

import { afterAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  applySync,
  compareSync,
  copy,
  sync,
  syncSync,
  type SyncOptions,
  type Transfer,
} from "../lib/index.ts";
import { commandPlace } from "./command.ts";
import { killed } from "./killed.ts";
import { isLong, patience } from "./patience.ts";
import { canRefuse, refused } from "./refused.ts";
import { run as runScript } from "./script.ts";
import { tied } from "./servers/tied.ts";
import { strays } from "./synced.ts";
import { Random, Scratch } from "./trees.ts";
import { atRest, codeOf, leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
const kills = Number(process.env["COPSE_KILLS"] ?? 4);
patience(60_000 + kills * 3000);
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());

const MiB = 1024 * 1024;
const seed = Number(process.env["COPSE_SEED"] ?? 4711);
const size = (isLong ? 256 : 17) * MiB;

function randomBytes(random: Random, length: number): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let i = 0; i < words.length; i++) words[i] = random.below(2 ** 32);
  return Buffer.from(words.buffer, 0, length);
}

const random = new Random(seed);
const old = randomBytes(random, size);

/** Ten times 100 bytes at places spread over the whole. */
function inserted(): Buffer {
  const parts: Buffer[] = [];
  const step = Math.floor(size / 10);
  for (let i = 0; i < 10; i++)
    parts.push(
      old.subarray(i * step, i * step + 12_345),
      randomBytes(random, 100),
      old.subarray(i * step + 12_345, i === 9 ? size : (i + 1) * step),
    );
  return Buffer.concat(parts);
}

function overwritten(): Buffer {
  const bytes = Buffer.from(old);
  for (let i = 0; i < 10; i++)
    randomBytes(random, 100).copy(bytes, Math.floor((size / 10) * i) + 54_321);
  return bytes;
}

interface Pair {
  readonly from: string;
  readonly to: string;
}

/** The new content in one directory, the old one in the other. */
function plantPair(name: string, content: Uint8Array, before: Uint8Array = old, at = ""): Pair {
  const from = scratch.at(`${name}-from`);
  const to = at === "" ? scratch.at(`${name}-to`) : join(at, name);
  for (const folder of [from, to]) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
  }
  writeFileSync(join(from, "large"), content);
  writeFileSync(join(to, "large"), before);
  utimesSync(join(to, "large"), 1_000_000_000, 1_000_000_000);
  return { from, to };
}

const news = ({ transferred, saved }: Transfer): number => transferred - saved;
const isSame = ({ from, to }: Pair): boolean =>
  readFileSync(join(from, "large")).equals(readFileSync(join(to, "large")));

/** `auto`: nothing is said. */
type Mode = boolean | "auto";

function run({ from, to }: Pair, delta: Mode = true, options: SyncOptions = {}): Transfer {
  const asked = delta === "auto" ? {} : { delta };
  const done = syncSync(from, to, { fsync: false, ...asked, ...options });
  expect({ errors: done.errors, copied: done.copied, strays: strays(to) }).toEqual({
    errors: 0,
    copied: 1,
    strays: [],
  });
  return done;
}

describe("58 delta sync", () => {
  test("ten inserts: at most 4 times what rsync's delta sends is new", () => {
    const content = inserted();
    const pair = plantPair("inserts", content);
    const done = run(pair);
    expect(isSame(pair)).toBe(true);
    expect(done.transferred).toBe(content.length);
    // What is new is those bytes, and what is equal by chance beside them is not.
    expect(news(done)).toBeLessThan(2000);
    if (!Bun.which("rsync")) {
      console.log("skipped: the bytes that rsync sends, because there is no rsync");
      return;
    }
    const rival = plantPair("rsync", content);
    const { stdout } = spawnSync(
      "rsync",
      ["-a", "--no-whole-file", "--stats", `${rival.from}/`, `${rival.to}/`],
      { encoding: "utf8", env: { ...process.env, LC_ALL: "C" } },
    );
    const sent = Number(/Total bytes sent: ([\d,]+)/.exec(stdout)?.[1]?.replaceAll(",", ""));
    expect(sent).toBeGreaterThan(0);
    expect(news(done)).toBeLessThanOrEqual(4 * sent);
    console.log(`new: ${news(done)} bytes of ${size}; rsync sends ${sent}`);
  });

  test("ten overwrites: the rest is saved, and the old file is left alone", () => {
    const pair = plantPair("overwrites", overwritten());
    linkSync(join(pair.to, "large"), scratch.at("other-name"));
    const done = run(pair, true, { verify: true });
    expect(isSame(pair)).toBe(true);
    expect(done.verified).toBe(1);
    expect(news(done)).toBeLessThanOrEqual(10 * 8192);
    // Another name of the old file still has the old content: nothing was written in its place.
    expect(readFileSync(scratch.at("other-name")).equals(old)).toBe(true);
    expect(statSync(join(pair.to, "large")).nlink).toBe(1);
    rmSync(scratch.at("other-name"));
  });

  const small = old.subarray(0, 3 * MiB);
  const cases: readonly (readonly [name: string, content: Uint8Array, before?: Uint8Array])[] = [
    ["all is new", randomBytes(random, 3 * MiB)],
    ["the same, of another time", Buffer.from(small)],
    ["longer", Buffer.concat([small, randomBytes(random, 500_000)])],
    ["longer by a byte before all", Buffer.concat([Buffer.of(7), small])],
    ["shorter", small.subarray(0, 2 * MiB + 17)],
    ["the begin is gone", small.subarray(1 * MiB + 17)],
    ["two halves changed places", Buffer.concat([small.subarray(MiB), small.subarray(0, MiB)])],
    ["once more", Buffer.concat([small, small])],
    ["zeros", new Uint8Array(3 * MiB)],
    ["of zeros", Buffer.from(small), new Uint8Array(3 * MiB)],
    ["repeats itself", Buffer.alloc(3 * MiB, "abc"), Buffer.alloc(2 * MiB, "cab")],
    ["the old one is empty", Buffer.from(small), new Uint8Array()],
    ["the old one is tiny", Buffer.from(small), Buffer.from("x")],
  ];
  test.each(cases)("%s: the new file is the source, by any way", (_, content, before = small) => {
    for (const delta of [true, false, "auto"] as const) {
      const pair = plantPair("case", content, before);
      const done = run(pair, delta);
      expect([delta, isSame(pair), done.transferred]).toEqual([delta, true, content.length]);
      expect(done.saved).toBeLessThanOrEqual(content.length);
      if (delta === false) expect(done.saved).toBe(0);
      expect(syncSync(pair.from, pair.to).copied).toBe(0);
    }
  });

  test("what lies elsewhere in the old file is found", () => {
    const moved = Buffer.concat([
      small.subarray(MiB),
      randomBytes(random, 70),
      small.subarray(0, MiB),
    ]);
    const done = run(plantPair("moved", moved, small));
    expect(news(done)).toBeLessThan(100_000);
  });

  test("random edits: always the source, and nearly all is saved", () => {
    const rounds = isLong ? 200 : 12;
    for (let round = 0; round < rounds; round++) {
      let content: Buffer = Buffer.from(small);
      for (let edit = random.below(6); edit >= 0; edit--) {
        const at = random.below(content.length);
        const length = random.below(3000);
        const kind = random.below(3);
        content = Buffer.concat([
          content.subarray(0, at),
          kind === 0 ? Buffer.alloc(0) : randomBytes(random, length),
          content.subarray(Math.min(content.length, at + (kind === 1 ? 0 : length))),
        ]);
      }
      const pair = plantPair("random", content, small);
      const done = run(pair);
      expect([round, isSame(pair)]).toEqual([round, true]);
      // Six edits of 3,000 bytes, each with the piece or block around it at most.
      expect(news(done)).toBeLessThan(6 * 40_000);
    }
  });

  test("the old file is written to meanwhile: the new one is right all the same", async () => {
    const content = inserted();
    for (let round = 0; round < 2; round++) {
      const pair = plantPair("meanwhile", content);
      const path = join(pair.to, "large");
      const script = `const fs = require("node:fs");
        const fd = fs.openSync(${JSON.stringify(path)}, "r+");
        process.stdout.write("go");
        for (let at = 0; ; at = (at + 1000003) % ${size}) fs.writeSync(fd, "changed", at);`;
      {
        await using child = Bun.spawn(tied([process.execPath, "-e", script]), { stdout: "pipe" });
        await child.stdout.getReader().read();
        run(pair);
      }
      expect(isSame(pair)).toBe(true);
    }
  });

  test("a copy of the old one is kept by backupDir; small files are copied", () => {
    const pair = plantPair("backup", overwritten());
    writeFileSync(join(pair.from, "small"), "new");
    writeFileSync(join(pair.to, "small"), "older");
    const kept = scratch.at("kept");
    const done = syncSync(pair.from, pair.to, { delta: true, fsync: false, backupDir: kept });
    expect({ errors: done.errors, copied: done.copied }).toEqual({ errors: 0, copied: 2 });
    expect(readFileSync(join(kept, "large")).equals(old)).toBe(true);
    expect(isSame(pair)).toBe(true);
    expect(news(done)).toBeLessThan(100_000);
    rmSync(kept, { recursive: true });
  });

  test("cancelled: the old file is there, and nothing of ours", async () => {
    const pair = plantPair("cancelled", inserted());
    const stop = new AbortController();
    // A source that takes its time for each call is not at its end when the temporary is there.
    const { signal } = stop;
    const task = copy(`fault:delay=300:${pair.from}`, pair.to, {
      delta: true,
      fsync: false,
      signal,
    });
    const code = codeOf(task);
    while (strays(pair.to).length === 0) await Bun.sleep(1);
    stop.abort("enough");
    expect(await code).toBe("enough");
    await atRest();
    expect(readFileSync(join(pair.to, "large")).equals(old)).toBe(true);
    expect(strays(pair.to)).toEqual([]);
  });
});

test.skipIf(!canRefuse)("where the kernel copies nothing: as much is saved", async () => {
  const copyFileRange = { x64: 326, arm64: 285 }[process.arch as "x64" | "arm64"];
  // The last thing that was asked of the old file is what lies at its end.
  const end = [old.subarray(0, size - 500), randomBytes(random, 1000)];
  const pair = plantPair("refused", Buffer.concat([Buffer.of(7), ...end]));
  const script = `const { saved, errors } =
      syncSync(${JSON.stringify(pair.from)}, ${JSON.stringify(pair.to)}, { delta: true, fsync: false });
    console.log(${size} - saved < 2000, errors);`;
  const { stdout, stderr } = await runScript(script, { wrapper: refused(copyFileRange, "ENOSYS") });
  expect({ stdout, stderr }).toEqual({ stdout: "true 0\n", stderr: "" });
  expect(isSame(pair)).toBe(true);
});

// ── File systems that share blocks ──

interface Extent {
  readonly logical: number;
  readonly physical: number;
  readonly blocks: number;
}

/** Where the blocks of a file are. */
function extents(path: string): Extent[] {
  const { stdout } = spawnSync("filefrag", ["-v", path], { encoding: "utf8" });
  return [...stdout.matchAll(/^ *\d+: *(\d+)\.\. *\d+: *(\d+)\.\. *\d+: *(\d+):/gm)].map(
    ([, logical, physical, blocks]) => ({
      logical: Number(logical),
      physical: Number(physical),
      blocks: Number(blocks),
    }),
  );
}

/** The share of blocks that two files do not have in common. */
function newShare(path: string, before: string): number {
  const place = new Map<number, number>();
  for (const { logical, physical, blocks } of extents(before))
    for (let i = 0; i < blocks; i++) place.set(logical + i, physical + i);
  let [all, own] = [0, 0];
  for (const { logical, physical, blocks } of extents(path))
    for (let i = 0; i < blocks; i++) {
      all += 1;
      own += Number(place.get(logical + i) !== physical + i);
    }
  expect(all).toBeGreaterThan(0);
  return own / all;
}

/** A file system in a file, mounted for the test; undefined and why where that cannot be. */
function mounted(kind: string): { folder: string; end(): void } | undefined {
  const [image, folder] = [scratch.at(`${kind}.image`), scratch.at(kind)];
  mkdirSync(folder, { recursive: true });
  const tried = (...command: string[]): boolean =>
    Bun.which(command[0]!) !== null && spawnSync(command[0]!, command.slice(1)).status === 0;
  const steps = [
    ["filefrag", "-V"],
    ["truncate", "-s", `${size * 10 + 400 * MiB}`, image],
    [`mkfs.${kind}`, "-q", image],
    ["mount", "-o", "loop", image, folder],
  ];
  const missing = steps.find((step) => !tried(...step));
  if (missing) {
    console.log(`skipped: delta on ${kind}, because ${missing[0]} does not work here`);
    return undefined;
  }
  return {
    folder,
    end: () => {
      tried("umount", "-l", folder);
      rmSync(image);
    },
  };
}

describe.each(["xfs", "btrfs"])("58 delta sync on %s", (kind) => {
  test("ten overwrites write at most 2 % of the blocks anew, asked for or not", () => {
    const disk = mounted(kind);
    if (!disk) return;
    try {
      for (const delta of ["auto", true] as const) {
        const pair = plantPair("shared", overwritten(), old, disk.folder);
        const before = join(disk.folder, "before");
        rmSync(before, { force: true });
        const clone = spawnSync("cp", ["--reflink=always", join(pair.to, "large"), before]);
        expect(String(clone.stderr)).toBe("");
        const done = run(pair, delta, { fsync: true });
        spawnSync("sync", ["-f", disk.folder]);
        expect(isSame(pair)).toBe(true);
        expect(news(done)).toBeLessThanOrEqual(10 * 8192);
        const share = newShare(join(pair.to, "large"), before);
        expect(share).toBeLessThanOrEqual(0.02);
        console.log(`${kind}, delta ${delta}: ${(share * 100).toFixed(2)} % of the blocks are new`);
      }
      // What has moved cannot be shared, and is taken from the old file all the same.
      const content = inserted();
      const pair = plantPair("shifted", content, old, disk.folder);
      expect(news(run(pair))).toBeLessThan(2000 + 12_345);
      expect(isSame(pair)).toBe(true);
      // Not asked for, what has moved is copied from the source.
      const plain = plantPair("plain", content, old, disk.folder);
      run(plain, "auto");
      expect(isSame(plain)).toBe(true);
      // A source of the same file system is shared as a whole, as ever.
      const near = join(disk.folder, "near");
      mkdirSync(near);
      writeFileSync(join(near, "large"), content);
      const shared = syncSync(near, pair.to, { delta: true });
      expect([shared.ways.clone, isSame(pair)]).toEqual([content.length, true]);
    } finally {
      disk.end();
    }
  });
});

test("without a file system that shares, a copy that does not ask is as it was", () => {
  const pair = plantPair("as-ever", overwritten());
  const [one, two] = [join(pair.to, "large"), join(pair.to, "clone")];
  if (spawnSync("cp", ["--reflink=always", one, two]).status === 0) {
    console.log("skipped: the file system of the tests shares blocks");
    return;
  }
  rmSync(two, { force: true });
  const done = syncSync(pair.from, pair.to, { fsync: false });
  expect([done.saved, isSame(pair)]).toEqual([0, true]);
});

test(`${kills} kills while a file is made of its old one: old or new, whole, and nothing left (seed ${seed})`, async () => {
  const contents = [old, inserted(), overwritten()];
  const pair = plantPair("kills", contents[1]!, old);
  let running = 0;
  for (let kill = 0; kill < kills; kill++) {
    const [before, after] = [contents[kill % 3]!, contents[(kill + 1) % 3]!];
    writeFileSync(join(pair.from, "large"), after);
    const work = `copse.syncSync(${JSON.stringify(pair.from)}, ${JSON.stringify(pair.to)}, { delta: true, fsync: false });`;
    // At any moment, or when the temporary is there.
    const when = kill % 2 === 0 ? random.below(60) : (): boolean => strays(pair.to).length > 0;
    running += Number((await killed(work, when)).wasRunning);
    const found = readFileSync(join(pair.to, "large"));
    if (!found.equals(before) && !found.equals(after)) throw new Error(`torn after kill ${kill}`);
    const again = syncSync(pair.from, pair.to, { delta: true, fsync: false });
    expect({ errors: again.errors, strays: strays(pair.to) }).toEqual({ errors: 0, strays: [] });
    expect(compareSync(pair.from, pair.to).equal).toBe(true);
  }
  expect(running).toBeGreaterThan(0);
  console.log(`kills: ${kills} with delta, ${running} while it ran`);
});

describe("copse sync --delta", () => {
  const command = commandPlace();

  test("says what was saved; --no-delta saves nothing", async () => {
    const content = Buffer.concat([Buffer.of(1), old.subarray(0, 2 * MiB)]);
    for (const [flag, most] of [
      ["--delta", 100_000],
      ["--no-delta", content.length],
    ] as const) {
      command.plant("from", { large: content });
      command.plant("to", { large: old.subarray(0, 2 * MiB) });
      const { status, out } = await command.copse("sync", "from", "to", flag, "--json");
      const { transferred, saved } = JSON.parse(out);
      expect([status, transferred]).toEqual([0, content.length]);
      expect(transferred - saved).toBeLessThanOrEqual(most);
      if (flag === "--no-delta") expect(saved).toBe(0);
    }
  });
});

test("a plan and a sync both ways make of the old file, too", async () => {
  const pair = plantPair("plan", overwritten());
  const plan = syncSync(pair.from, pair.to, { dryRun: true });
  const done = applySync(JSON.parse(JSON.stringify(plan)), { delta: true, fsync: false });
  expect([done.errors, done.transferred, isSame(pair)]).toEqual([0, size, true]);
  expect(news(done)).toBeLessThanOrEqual(10 * 8192);
  const twoWay = { state: scratch.at("both.state") };
  await sync(pair.from, pair.to, { twoWay, fsync: false });
  writeFileSync(join(pair.to, "large"), inserted());
  const back = await sync(pair.from, pair.to, { twoWay, fsync: false, delta: true });
  expect([back.errors, isSame(pair)]).toEqual([0, true]);
  expect(news(back)).toBeLessThan(20_000);
});
