// A long step and many short ones: nobody waits for the long one.

import { afterAll, expect, test } from "bun:test";
import { compareSync, copy } from "../lib/index.ts";
import { Scratch } from "./trees.ts";
import { leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
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
