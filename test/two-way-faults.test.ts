// Both ways, each call of a store failing once, on each side: the next run ends what was begun, and no
// version is lost. COPSE_FAULTS=20 lets the first 20 of each kind fail, one a run.

import { expect, test } from "bun:test";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { sync, type SyncOptions, type Transfer } from "../lib/index.ts";
import { patience } from "./patience.ts";
import { putFile, putLink, shape } from "./synced.ts";
import { leaveNothingOpen, scratchForEach } from "./ways.ts";

leaveNothingOpen();
const most = Number(process.env["COPSE_FAULTS"] ?? 1);
patience(60_000 + most * 3000);

const scratch = scratchForEach();

const calls =
  "root enter hold list stat target open read measure above create writer write commit make rename remove set settle claim".split(
    " ",
  );
const versions = ["l-only", "r-only", "l-change", "r-change", "l-meets", "r-meets", "l-in", "r-in"];

const EARLIER = 2_000_000_000;
const LATER = EARLIER + 60;

/** Two trees that were the same, and what each side did since. */
async function changed(run: (left: string, right: string) => Promise<unknown>): Promise<void> {
  const tree = { a: "a", b: "b", c: "c", gone: "g", "d/x": "x", "e/y": "y", "e/z": "z" };
  const [left, right] = [scratch.plant("left", tree), scratch.plant("right", {})];
  putLink(left, "l", "a", EARLIER);
  await run(left, right);
  putFile(left, "only-left", "l-only", EARLIER);
  putFile(right, "new/only-right", "r-only", LATER);
  putFile(left, "a", "l-change", EARLIER);
  putFile(right, "b", "r-change", LATER);
  putFile(left, "c", "l-meets", EARLIER);
  putFile(right, "c", "r-meets", LATER);
  rmSync(join(right, "gone"));
  rmSync(join(left, "d"), { recursive: true });
  rmSync(join(left, "e"), { recursive: true });
  putFile(right, "e/y", "r-in", LATER);
  rmSync(join(right, "l"));
  putLink(left, "l", "b", EARLIER + 1);
  putFile(left, "deep/er/in", "l-in", EARLIER);
}

test.each(calls)("%s", async (call) => {
  const run = async (left: string, right: string, options: SyncOptions = {}): Promise<Transfer> =>
    await sync(left, right, { ...options, fsync: false, twoWay: { state: scratch.at("state") } });
  for (const side of ["left", "right"] as const)
    for (let number = 1; number <= most; number++) {
      const name = `${call} ${number} of the ${side}`;
      scratch[Symbol.dispose]();
      mkdirSync(scratch.path);
      await changed(run);
      const places = { left: scratch.at("left"), right: scratch.at("right") };
      const { left, right } = places;
      places[side] = `fault:${call}=${number},code=IO:${places[side]}`;
      await run(places.left, places.right, { retries: 0 }).catch(() => {}); // a root perhaps
      const next = await run(left, right);
      const errors = next.actions.filter(({ kind }) => kind === "error");
      expect({ name, errors }).toEqual({ name, errors: [] });
      const now = shape(left);
      const there = new Set(Object.values(now));
      const lost = versions.filter((version) => !there.has(version));
      const gone = ["gone", "d", "e/z"].filter((path) => path in now);
      expect({ name, lost, gone }).toEqual({ name, lost: [], gone: [] });
      expect({ name, right: shape(right) }).toEqual({ name, right: now });
      const { planned } = await run(left, right);
      expect({ name, planned }).toEqual({ name, planned: 0 });
    }
});
