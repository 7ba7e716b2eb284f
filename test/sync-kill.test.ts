// A copy that is killed at a random moment: each name holds the old or the new file, whole, and the next run finishes and leaves
// nothing of copse's. COPSE_KILLS=1000 asks for that many kills.

import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compareSync, syncSync } from "../lib/index.ts";
import { Random, Scratch } from "./trees.ts";

const kills = Number(process.env["COPSE_KILLS"] ?? 20);
setDefaultTimeout(60_000 + kills * 3000);
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());

const seed = Number(process.env["COPSE_SEED"] ?? Date.now() % 1_000_000_000);
const count = 150;
const sizeOf = (i: number): number => (i % 10 === 0 ? 700_000 : 3000);

/** A file says what it is in every byte. */
const contentOf = (version: number, i: number): Uint8Array =>
  new Uint8Array(sizeOf(i)).fill((version * 31 + i) & 255);
const nameOf = (i: number): string => `d${i % 5}/f${i}`;

test(`${kills} kills: no torn file, nothing lost, no temporary after the next run (seed ${seed})`, async () => {
  const random = new Random(seed);
  const from = scratch.plant("from", {});
  const to = scratch.at("to");
  const plant = (version: number): void => {
    for (let i = 0; i < count; i++) {
      const path = join(from, nameOf(i));
      if (version === 0 && i < 5) scratch.plant(`from/d${i}`, {});
      writeFileSync(path, contentOf(version, i));
    }
  };
  plant(0);
  syncSync(from, to);
  let left = 0;
  let running = 0;
  for (let version = 1; version <= kills; version++) {
    plant(version);
    const script = `import { syncSync } from ${JSON.stringify(join(import.meta.dir, "../lib/index.ts"))};
      process.stdout.write("go");
      syncSync(${JSON.stringify(from)}, ${JSON.stringify(to)}, { by: "content" });
      process.stdout.write("done");`;
    const child = Bun.spawn([process.execPath, "-e", script], {
      stdout: "pipe",
      stderr: "inherit",
    });
    const reader = child.stdout.getReader();
    const first = new TextDecoder().decode((await reader.read()).value);
    expect(first.startsWith("go")).toBe(true);
    await Bun.sleep(random.below(60));
    child.kill("SIGKILL");
    await child.exited;
    const rest = await reader.read();
    if (rest.done && !first.includes("done")) running++;
    for (let i = 0; i < count; i++) {
      const found = readFileSync(join(to, nameOf(i)));
      const isOld = Buffer.compare(found, contentOf(version - 1, i)) === 0;
      const isNew = Buffer.compare(found, contentOf(version, i)) === 0;
      if (!isOld && !isNew) throw new Error(`${nameOf(i)} is torn in round ${version}`);
    }
    const stray = (): string[] =>
      readdirSync(to, { recursive: true })
        .map(String)
        .filter((name) => name.includes(".copse-"));
    left += stray().length;
    const again = syncSync(from, to, { by: "content" });
    expect({ errors: again.errors, stray: stray() }).toEqual({ errors: 0, stray: [] });
    expect(compareSync(from, to).equal).toBe(true);
  }
  expect(running).toBeGreaterThan(0); // some were killed while they ran
  console.log(`kills: ${kills}, ${running} while it ran, ${left} temporaries left and swept`);
});

test(`${Math.ceil(kills / 2)} kills in a large file, of the first run and of those that go on`, async () => {
  const random = new Random(seed + 1);
  const size = 36 * 1024 * 1024 + 17;
  const large = (version: number): Buffer => {
    const bytes = Buffer.alloc(size, version);
    for (let at = 0; at < size; at += 4096)
      bytes.writeUInt32LE(at ^ version, Math.min(at, size - 4));
    return bytes;
  };
  const from = scratch.plant("large-from", { large: large(0), "d/small": "0" });
  const to = scratch.at("large-to");
  syncSync(from, to, { fsync: false });
  const stray = (): string[] => readdirSync(to).filter((name) => name.includes(".copse-"));
  // Behind the content lies one head of 64 bytes, and as many for each range (native/store/file_partial.c).
  const untilKept = async (ranges: number, child: Bun.Subprocess): Promise<void> => {
    const wanted = Math.ceil(size / 4096) * 4096 + 64 + 64 * ranges;
    const isKept = (name: string): boolean =>
      (statSync(join(to, name), { throwIfNoEntry: false })?.size ?? 0) >= wanted;
    while (child.exitCode === null && !stray().some(isKept)) await Bun.sleep(1);
  };
  let resumed = 0;
  let version = 0;
  let isDone = true;
  for (let kill = 0; kill < kills / 2; kill++) {
    if (isDone) writeFileSync(join(from, "large"), large(++version));
    const script = `import { syncSync } from ${JSON.stringify(join(import.meta.dir, "../lib/index.ts"))};
      process.stdout.write("go");
      const { resumed } = syncSync(${JSON.stringify(`fault:delay=1:${from}`)}, ${JSON.stringify(to)}, { fsync: false });
      process.stdout.write("done" + resumed);`;
    const child = Bun.spawn([process.execPath, "-e", script], {
      stdout: "pipe",
      stderr: "inherit",
    });
    const reader = child.stdout.getReader();
    let said = new TextDecoder().decode((await reader.read()).value);
    // At any moment, or when some ranges are there: a machine may be too fast or slow for moments alone.
    if (kill % 3 === 2) await Bun.sleep(random.below(250));
    else await untilKept(1 + random.below(20), child);
    child.kill("SIGKILL");
    await child.exited;
    said += new TextDecoder().decode((await reader.read()).value);
    isDone = said.includes("done");
    if (isDone) resumed += Number(said.slice("godone".length));
    const found = readFileSync(join(to, "large"));
    const isWhole = found.equals(large(version)) || (!isDone && found.equals(large(version - 1)));
    if (!isWhole) throw new Error(`large is torn after kill ${kill} (seed ${seed})`);
    if (isDone) expect(stray()).toEqual([]);
    // Every few kills the run may come to its end.
    if (kill % 4 !== 3 || isDone) continue;
    const again = syncSync(`fault:delay=0:${from}`, to, { fsync: false });
    resumed += again.resumed;
    expect({ errors: again.errors, stray: stray() }).toEqual({ errors: 0, stray: [] });
    expect(readFileSync(join(to, "large")).equals(large(version))).toBe(true);
    isDone = true;
  }
  expect(resumed).toBeGreaterThan(0);
  console.log(`kills: ${Math.ceil(kills / 2)} in a large file, ${resumed} bytes not brought again`);
});
