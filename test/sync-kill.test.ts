// A copy that is killed at a random moment: each name holds the old or the new file, whole, and the next run finishes and leaves
// nothing of copse's. COPSE_KILLS=1000 asks for that many kills.

import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
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
