// Bandwidth: what a task, or all tasks of a runtime, may read and write a second.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  compare,
  compareSync,
  copy,
  CopseError,
  pack,
  Runtime,
  Store,
  type Location,
} from "../lib/index.ts";
import { zipOf } from "./archives.ts";

const MIB = 2 ** 20;
let base = "";
let left = "";
let right = "";

beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), "copse-bandwidth-"));
  left = join(base, "left");
  right = join(base, "right");
  const bytes = new Uint8Array(MIB).fill(7);
  writeFileSync(left, bytes);
  writeFileSync(right, bytes);
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

async function seconds(work: () => unknown): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

// 2 MiB at 2 MiB a second less what a full bucket gives at once; no upper bound that a busy machine
// would miss, but that the wait is one of seconds, not of minutes.
const expected = { least: 0.75, most: 20 };

function isSlow(took: number): void {
  expect(took).toBeGreaterThan(expected.least);
  expect(took).toBeLessThan(expected.most);
}

describe("of a task", () => {
  test("a comparison reads no faster, and answers the same", async () => {
    isSlow(
      await seconds(async () =>
        expect((await compare(left, right, { bandwidth: 2 * MIB })).equal).toBe(true),
      ),
    );
    isSlow(
      await seconds(() => expect(compareSync(left, right, { bandwidth: 2 * MIB }).bytes).toBe(MIB)),
    );
  });

  test("one that waits for its turn is cancelled at once", async () => {
    const took = await seconds(async () => {
      const task = compare(left, right, { bandwidth: 1 });
      await Bun.sleep(50);
      task.cancel();
      expect(await task.catch((error: unknown) => error)).toBeInstanceOf(CopseError);
    });
    expect(took).toBeLessThan(10);
  });

  test("it is known all the same what lies in what: no source and no pack is taken for another", async () => {
    const bandwidth = 1e9;
    const root = join(base, "tree");
    mkdirSync(join(root, "source", "source"), { recursive: true });
    writeFileSync(join(root, "source", "a"), "1");
    const result = await copy(join(root, "source"), root, { bandwidth });
    expect(result.errors).toBe(1);
    expect(readdirSync(root, { recursive: true }).toSorted()).toEqual([
      "a",
      "source",
      "source/a",
      "source/source",
    ]);
    const file = join(root, "x.znippy");
    for (let round = 0; round < 2; round++)
      expect(await pack(root, file, { bandwidth })).toMatchObject({ copied: 2, errors: 0 });
    // Equal bytes are told without being looked into, so that damage in both is not found.
    const zip = zipOf([{ name: "a", content: "the same", local: { crc: 1 }, central: { crc: 1 } }]);
    const places = ["x.zip", "y.zip"].map((name): Location => {
      writeFileSync(join(base, name), zip);
      return { archive: join(base, name), rawEqual: true };
    });
    const same = await compare(places[0]!, places[1]!, { bandwidth });
    expect(same).toMatchObject({ equal: true, files: 1 });
  });

  test("a file that the kernel copies comes whole, a piece at a time", async () => {
    const content = Buffer.alloc(3 * MIB);
    for (let i = 0; i < content.length; i++) content[i] = (i * 2654435761) >>> 13;
    const from = join(base, "pieces");
    writeFileSync(from, content);
    for (const options of [{}, { delta: true }, { delta: false }]) {
      const to = join(base, "copied");
      const done = await copy(from, to, { bandwidth: 4 * MIB, ...options });
      expect(done).toMatchObject({ copied: 1, transferred: 3 * MIB });
      expect(readFileSync(to).equals(content)).toBe(true);
      // A larger one is there the next time.
      writeFileSync(to, "old ".repeat(MIB));
    }
  });

  test("others of the runtime go on beside it", async () => {
    await using runtime = new Runtime({ ioWorkers: 3 });
    const slow = compare(left, right, { bandwidth: 1000, runtime });
    slow.catch(() => {});
    expect((await compare(left, right, { runtime })).equal).toBe(true);
    expect(slow.state).toBe("running");
    slow.cancel();
  });

  test("refuses what is no rate", () => {
    for (const bandwidth of [0, -1, 1.5, Number.NaN, "fast"])
      expect(() => compareSync(left, right, { bandwidth: bandwidth as number })).toThrow(
        /bandwidth/,
      );
  });
});

describe("of a runtime", () => {
  test("all tasks share it: reading a stream, writing a file", async () => {
    await using runtime = new Runtime({ bandwidth: 2 * MIB });
    const store = new Store(base, { runtime });
    isSlow(
      await seconds(async () => {
        const one = new Response(store.read("left")).bytes();
        const other = store.write("copy", new Uint8Array(MIB).fill(7));
        expect((await one).length).toBe(MIB);
        expect((await other).size).toBe(MIB);
      }),
    );
    expect(compareSync(left, join(base, "copy")).equal).toBe(true);
    expect(runtime.stats.bytesRead + runtime.stats.bytesWritten).toBe(2 * MIB);
  });

  test("memory: trees count as well", async () => {
    await using runtime = new Runtime({ bandwidth: 2 * MIB });
    const store = new Store("memory:bandwidth", { runtime });
    isSlow(
      await seconds(async () => {
        await store.write("a", new Uint8Array(2 * MIB));
      }),
    );
  });

  test("refuses what is no rate", () => {
    for (const bandwidth of [0, -1, 1.5, "fast"])
      expect(() => new Runtime({ bandwidth: bandwidth as number })).toThrow(/bandwidth/);
  });
});
