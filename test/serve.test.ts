// A server under load: thousands of small compares at once inside of Bun.serve handlers. Every answer is right, and
// afterwards the process holds what it held before.
//
// COPSE_LOAD=all: ten rounds instead of three.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { RuntimeStats } from "../lib/index.ts";
import { isSanitized, within } from "./patience.ts";
import { tied } from "./servers/tied.ts";
import { Scratch } from "./trees.ts";

const rounds = process.env.COPSE_LOAD === "all" ? 10 : isSanitized ? 1 : 3;
const atOnce = isSanitized ? 1000 : 10_000;
const requests = isSanitized ? 500 : 2000; // of one round
const connections = 200; // of them at once
const pairs = 16;
const GROWTH_MAX_BYTES = 100 * 2 ** 20;

interface Held {
  readonly files: number;
  readonly bytes: number;
  readonly threadsMost: number;
  readonly threadsAllowed: number;
  readonly stats: RuntimeStats;
  readonly delayMilliseconds: { readonly p99: number; readonly most: number };
}

describe("a Bun.serve handler", () => {
  const scratch = new Scratch();
  let server: Bun.Subprocess<"ignore", "pipe", "inherit">;
  let address = "";

  beforeAll(async () => {
    for (let i = 0; i < pairs; i++) {
      const tree = { a: `content ${i}`, "sub/b": "b".repeat(4096), "sub/c": "" };
      scratch.plant(`left-${i}`, tree);
      scratch.plant(`right-${i}`, i % 3 === 0 ? { ...tree, a: `CONTENT ${i}` } : tree);
    }
    server = Bun.spawn(
      tied([
        process.execPath,
        join(import.meta.dir, "serve-child.ts"),
        scratch.path,
        String(pairs),
      ]),
      { stdin: "ignore", stdout: "pipe", stderr: "inherit" },
    );
    const reader = server.stdout.getReader();
    const { value } = await reader.read();
    address = `http://127.0.0.1:${new TextDecoder().decode(value).trim()}`;
  });

  afterAll(async () => {
    server.kill();
    await server.exited;
    scratch[Symbol.dispose]();
  });

  // The routes of serve-child.ts say what they answer.
  const ask = async <Answer>(path: string): Promise<Answer> =>
    (await (await fetch(address + path)).json()) as Answer;

  async function round(): Promise<{ wrong: number }> {
    let wrong = 0;
    let next = 0;
    const client = async (): Promise<void> => {
      while (next < requests) {
        const { right } = await ask<{ right: boolean }>(`/pair?number=${next++}`);
        if (!right) wrong++;
      }
    };
    await Promise.all(Array.from({ length: connections }, client));
    const burst = await ask<{ wrong: number }>(`/burst?count=${atOnce}`);
    return { wrong: wrong + burst.wrong };
  }

  /** Connections close and memory goes back a little later than the answers come. */
  async function settled(isEnough: (held: Held) => boolean): Promise<Held> {
    let held = await ask<Held>("/held");
    for (let looks = 0; looks < 3000 && !isEnough(held); looks++) {
      await Bun.sleep(20);
      held = await ask<Held>("/held");
    }
    return held;
  }

  test(
    `answers ${atOnce} compares at once, ${rounds} times, and holds no more than before`,
    async () => {
      expect(await round()).toEqual({ wrong: 0 }); // until everything there is has been made once
      const before = await settled(({ stats }) => stats.running + stats.queued === 0);
      for (let i = 0; i < rounds; i++) expect(await round()).toEqual({ wrong: 0 });
      const after = await settled(
        ({ files, bytes }) => files <= before.files && bytes - before.bytes < GROWTH_MAX_BYTES,
      );
      expect(after.files).toBeLessThanOrEqual(before.files);
      // A sanitizer keeps what was freed.
      if (!isSanitized) expect(after.bytes - before.bytes).toBeLessThan(GROWTH_MAX_BYTES);
      expect(after.threadsMost).toBeGreaterThan(0);
      expect(after.threadsMost).toBeLessThanOrEqual(after.threadsAllowed);

      const { started, done, failed, cancelled, running, queued } = after.stats;
      expect({ failed, cancelled, running, queued }).toEqual({
        failed: 0,
        cancelled: 0,
        running: 0,
        queued: 0,
      });
      expect(started).toBe(done);
      expect(done).toBe((rounds + 1) * (requests + atOnce));

      const { p99, most } = after.delayMilliseconds;
      console.log(
        `serve: ${done} compares, ${atOnce} at once: ${((after.bytes - before.bytes) / 2 ** 20).toFixed(1)} MiB more, ` +
          `${after.threadsMost} threads at most, event loop p99 ${p99.toFixed(1)} ms, longest ${most.toFixed(1)} ms`,
      );
    },
    within(isSanitized ? 60_000 : 180_000),
  );
});
