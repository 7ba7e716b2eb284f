// A long step and many short ones: nobody waits for the long one.

import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compareSync, copy, copySync, Runtime } from "../lib/index.ts";
import { patience } from "./patience.ts";
import { Scratch } from "./trees.ts";
import { atRest, leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
patience(120_000);
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());

test("a large file does not keep the small ones of its directory waiting", async () => {
  const small = Array.from({ length: 60 }, (_, i) => [`small-${i}`, `content ${i}`]);
  const from = scratch.plant("from", {
    // The first of its batch: what stands behind it would wait for all of its 256 reads.
    "a-large": new Uint8Array(64 * 1024 * 1024).fill(1),
    ...Object.fromEntries(small),
  });
  const to = scratch.at("to");
  const order: string[] = [];
  const task = copy(`fault:delay=5:${from}`, to, { fsync: false, concurrency: 2 });
  for await (const action of task) if (action.kind === "copied") order.push(action.path);
  expect(order).toHaveLength(61);
  expect(order.indexOf("a-large")).toBe(60);
  expect(compareSync(from, to).equal).toBe(true);
});

describe("a file that several workers bring", () => {
  const mebibyte = 2 ** 20;
  const size = 161 * mebibyte + 4321;

  /** Every page differs from every other, so that nothing can stand in a wrong place unseen. */
  function plant(name: string): string {
    const words = new BigUint64Array(Math.ceil(size / 8));
    for (let at = 0; at < words.length; at += 64) words[at] = BigInt(at + 1);
    const from = scratch.plant(name, {});
    writeFileSync(join(from, "large"), new Uint8Array(words.buffer, 0, size));
    return from;
  }

  test("is the same, with any number of them", async () => {
    const from = plant("shared");
    for (const ioWorkers of [1, 2, 6]) {
      await using runtime = new Runtime({ ioWorkers });
      const to = scratch.at(`shared-${ioWorkers}`);
      const { errors, bytes, transferred } = copySync(from, to, { fsync: false, runtime });
      expect({ ioWorkers, errors, bytes, transferred }).toEqual({
        ioWorkers,
        errors: 0,
        bytes: size,
        transferred: size,
      });
      expect(readFileSync(join(to, "large")).equals(readFileSync(join(from, "large")))).toBe(true);
      expect(readdirSync(to)).toEqual(["large"]);
    }
  });

  test("goes on where it was cancelled", async () => {
    const from = plant("resumed");
    const to = scratch.at("resumed-to");
    const stop = new AbortController();
    const first = copy(from, to, {
      signal: stop.signal,
      fsync: false,
      onProgress: ({ bytes }) => bytes > 24 * mebibyte && stop.abort(),
    });
    await first.catch(() => {});
    await atRest();
    // It may have had its name already when the cancellation came.
    const isWhole = existsSync(join(to, "large"));
    const { errors, resumed } = await copy(from, to, { fsync: false });
    expect({ errors, isResumed: isWhole || resumed > 0 }).toEqual({ errors: 0, isResumed: true });
    expect(readFileSync(join(to, "large")).equals(readFileSync(join(from, "large")))).toBe(true);
    expect(readdirSync(to)).toEqual(["large"]);
  });

  test("that is cut short meanwhile is CHANGED, and nothing has its name", async () => {
    const from = plant("cut");
    const to = scratch.at("cut-to");
    const task = copy(from, to, {
      fsync: false,
      retries: 0,
      resume: true,
      onProgress: () => truncateSync(join(from, "large"), size >> 1),
    });
    const { actions, copied } = await task;
    // It may have been there before anybody was told.
    if (copied === 0) {
      expect(actions).toMatchObject(
        [{ kind: "created" }, { kind: "error", error: { code: "CHANGED" } }].slice(
          actions.length === 1 ? 1 : 0,
        ),
      );
      expect(readdirSync(to)).toEqual([]);
    } else expect(readFileSync(join(to, "large"))).toHaveLength(size);
  });
});
