// Packing and unpacking that are killed at a random moment: the pack's name holds the old or the new
// pack, whole, unpacked files are whole, and the next run finishes and leaves nothing of copse's.
// COPSE_KILLS=200 asks for that many kills of each.

import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compareSync, CopseError, packSync, unpackSync, verifySync } from "../lib/index.ts";
import { Random, Scratch } from "./trees.ts";

const kills = Number(process.env["COPSE_KILLS"] ?? 10);
setDefaultTimeout(60_000 + kills * 3000);
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const seed = Number(process.env["COPSE_SEED"] ?? Date.now() % 1_000_000_000);

/** Starts a program and kills it when it has run for a while; whether it was still running. */
async function killed(verb: string, from: string, to: string, after: number): Promise<boolean> {
  const script = `import { ${verb}Sync } from ${JSON.stringify(join(import.meta.dir, "../lib/index.ts"))};
    process.stdout.write("go");
    ${verb}Sync(${JSON.stringify(from)}, ${JSON.stringify(to)});
    process.stdout.write("done");`;
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
  const reader = child.stdout.getReader();
  const said = new TextDecoder().decode((await reader.read()).value);
  expect(said.startsWith("go")).toBe(true);
  await Bun.sleep(after);
  child.kill("SIGKILL");
  await child.exited;
  const rest = await reader.read();
  return rest.done === true && !said.includes("done");
}

const strays = (folder: string): string[] =>
  readdirSync(folder, { recursive: true })
    .map(String)
    .filter((name) => name.includes(".copse-"));

function grow(version: number): string {
  const random = new Random(seed + version);
  const files: Record<string, string | Uint8Array<ArrayBuffer>> = {};
  for (let i = 0; i < 60; i++)
    files[`d${i % 5}/f${i}`] = new Uint8Array(i % 10 === 0 ? 900_000 : 3000).map(() =>
      random.below(40),
    );
  return scratch.plant(`tree-${version}`, files);
}

test(`${kills} kills of pack: the old pack or the new one (seed ${seed})`, async () => {
  const random = new Random(seed);
  const trees = [grow(0), grow(1)] as const;
  mkdirSync(scratch.at("packs"));
  const file = scratch.at("packs", "x.znippy");
  packSync(trees[0], file);
  let running = 0;
  for (let i = 1; i <= kills; i++) {
    const [was, now] = i % 2 === 1 ? trees : [trees[1], trees[0]];
    if (await killed("pack", now, file, random.below(30))) running++;
    expect(verifySync(file).ok).toBe(true);
    const holds = [was, now].filter((tree) => compareSync(tree, `pack:${file}`).equal);
    expect(holds).toHaveLength(1);
    packSync(now, file);
    expect(compareSync(now, `pack:${file}`).equal).toBe(true);
    expect(strays(scratch.at("packs"))).toEqual([]);
  }
  expect(running).toBeGreaterThan(0); // some were killed while they ran
  console.log(`pack: ${kills} kills, ${running} while it ran`);
});

test("what a killed pack left goes with the next one, and nothing else does", () => {
  const tree = grow(3);
  const folder = scratch.plant("left", {
    ".copse-0011223344556677.part": "left by a killed run",
    ".copse-mine.part": "not ours",
    other: "other",
  });
  packSync(tree, join(folder, "x.znippy"));
  expect(readdirSync(folder).toSorted()).toEqual([".copse-mine.part", "other", "x.znippy"]);
});

test(`${kills} kills of unpack: no torn file, and the next run finishes (seed ${seed})`, async () => {
  const random = new Random(seed + 1);
  const tree = grow(2);
  const file = scratch.at("whole.znippy");
  packSync(tree, file);
  const out = scratch.at("out");
  let running = 0;
  for (let i = 1; i <= kills; i++) {
    rmSync(out, { recursive: true, force: true });
    mkdirSync(out);
    writeFileSync(join(out, "other"), "not of the pack");
    if (await killed("unpack", file, out, random.below(60))) running++;
    // What has its name is whole: nothing differs, some may be missing.
    for (const row of compareSync(tree, out).differences)
      if (row.kind === "differs") expect(row.reason, row.path).not.toBe("content");
    expect(unpackSync(file, out).errors).toBe(0);
    expect(compareSync(tree, out).differences.map(({ path }) => path)).toEqual(["other"]);
    expect(strays(out)).toEqual([]);
  }
  expect(running).toBeGreaterThan(0);
  console.log(`unpack: ${kills} kills, ${running} while it ran`);
});

test(`${kills} kills of pack to a stream: what came is the whole pack or none (seed ${seed})`, async () => {
  const random = new Random(seed + 2);
  const tree = grow(4);
  const out = scratch.at("stream.znippy");
  let [running, whole] = [0, 0];
  for (let i = 1; i <= kills; i++) {
    rmSync(out, { force: true });
    const script = `import { pack } from ${JSON.stringify(join(import.meta.dir, "../lib/index.ts"))};
      import { openSync, writeSync } from "node:fs";
      const out = openSync(${JSON.stringify(out)}, "w");
      process.stdout.write("go");
      await pack(${JSON.stringify(tree)}, new WritableStream({ write: (part) => void writeSync(out, part) }));
      process.stdout.write("done");`;
    const child = Bun.spawn([process.execPath, "-e", script], {
      stdout: "pipe",
      stderr: "inherit",
    });
    const reader = child.stdout.getReader();
    let said = new TextDecoder().decode((await reader.read()).value);
    await Bun.sleep(random.below(60));
    child.kill("SIGKILL");
    await child.exited;
    said += new TextDecoder().decode((await reader.read()).value);
    if (!said.includes("done")) running++;
    try {
      expect(verifySync(out).ok).toBe(true);
      expect(compareSync(tree, `pack:${out}`).equal).toBe(true);
      whole++;
    } catch (error) {
      expect(error).toBeInstanceOf(CopseError);
      expect(said).not.toContain("done");
    }
  }
  expect(running).toBeGreaterThan(0);
  console.log(
    `pack to a stream: ${kills} kills, ${running} while it ran, ${whole} packs were whole`,
  );
});
