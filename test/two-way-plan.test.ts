// A dry run of both ways is a plan: it can be looked at, kept as JSON, and applied as far as it is still true.

import { expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { apply, applySync, CopseError, sync, syncSync, type Plan } from "../lib/index.ts";
import { commandPlace } from "./command.ts";
import { patience, someSeed } from "./patience.ts";
import { putFile, said, shape } from "./synced.ts";
import { Random } from "./trees.ts";
import { leaveNothingOpen, scratchForEach } from "./ways.ts";

leaveNothingOpen();
patience(120_000);

const scratch = scratchForEach();
const { copse: command, shell, folder } = commandPlace();

const asFile = (plan: Plan): Plan => JSON.parse(JSON.stringify(plan)) as Plan;

const [OLDER, NEWER] = [2_000_000_000, 2_000_000_060];
const ofLeft = "both.conflict-left-20330518-033320";

/** Both were the same, and then each was changed. */
async function changed(): Promise<{ left: string; right: string; state: string; plan: Plan }> {
  const tree = { both: "base", "d/gone": "gone", "d/kept": "kept", alike: "base", edited: "base" };
  const [left, right] = [scratch.plant("left", tree), scratch.plant("right", {})];
  const state = scratch.at("state", "both.state");
  await sync(left, right, { twoWay: { state } });
  putFile(left, "both", "of the left", OLDER);
  putFile(right, "both", "of the right", NEWER);
  putFile(left, "alike", "alike", OLDER);
  putFile(right, "alike", "alike", NEWER);
  putFile(left, "edited", "edited", NEWER);
  rmSync(join(right, "d/gone"));
  scratch.plant("right", { "new/below": "new" });
  const plan = asFile(await sync(left, right, { twoWay: { state }, dryRun: true }));
  return { left, right, state, plan };
}

const wanted = {
  alike: "alike",
  both: "of the right",
  [ofLeft]: "of the left",
  d: "/",
  "d/kept": "kept",
  edited: "edited",
  new: "/",
  "new/below": "new",
};

test("says what is done each way, and applied it does that and keeps the state", async () => {
  const { left, right, state, plan } = await changed();
  expect(plan.plan).toMatchObject({
    verb: "sync",
    from: left,
    to: right,
    options: { twoWay: { state, conflict: "keep-both" } },
  });
  const done = await apply(plan, { state });
  expect(said(done)).toEqual(said(plan as typeof done));
  expect(done).toMatchObject({ errors: 0, complete: true, twoWay: { conflicts: 1 } });
  expect(shape(left)).toEqual(wanted);
  expect(shape(right)).toEqual(wanted);
  expect(statSync(join(left, "alike")).mtimeMs).toBe(NEWER * 1000);
  expect(await sync(left, right, { twoWay: { state } })).toMatchObject({ planned: 0, errors: 0 });
  // Applied again there is nothing of it left to do, and nothing is done.
  const again = applySync(plan, { state });
  expect(again.errors).toBe(again.actions.length);
  for (const row of again.actions)
    expect(row).toMatchObject({ kind: "error", error: { code: "CHANGED" } });
  expect(shape(left)).toEqual(wanted);
});

test("steps that were taken out are not done, nor what came since; the next run does them", async () => {
  const { left, right, state, plan } = await changed();
  const before = { left: shape(left), right: shape(right) };
  const fewer = plan.actions.filter(({ path }) => path === "edited");
  scratch.plant("left", { since: "came later" });
  const done = await apply({ ...plan, actions: fewer }, { state });
  expect(said(done)).toEqual(["copied edited"]);
  expect(shape(left)).toEqual({ ...before.left, since: "came later" });
  expect(shape(right)).toEqual({ ...before.right, edited: "edited" });
  await sync(left, right, { twoWay: { state } });
  expect(shape(left)).toEqual({ ...wanted, since: "came later" });
  expect(shape(right)).toEqual({ ...wanted, since: "came later" });
});

test("what changed since is an error and stays as it is, the rest is done", async () => {
  const { left, right, state, plan } = await changed();
  putFile(left, "both", "once more, of the left", NEWER + 60);
  putFile(right, "edited", "on the right, too", NEWER + 60);
  putFile(left, "d/gone", "not gone", NEWER + 60);
  putFile(left, "alike", "not any more", NEWER + 60);
  const done = await apply(plan, { state });
  expect(said(done)).toEqual([
    "error alike CHANGED",
    "error both CHANGED",
    `error ${ofLeft} CHANGED`,
    "error d/gone CHANGED",
    "error edited CHANGED",
    "created new",
    "copied new/below",
  ]);
  expect(shape(left)).toMatchObject({
    both: "once more, of the left",
    "d/gone": "not gone",
    edited: "edited",
    "new/below": "new",
  });
  expect(shape(right)).toMatchObject({ both: "of the right", edited: "on the right, too" });
  expect(existsSync(join(left, ofLeft))).toBe(false);
});

test("a name that was taken since gets a number, and both versions are on both sides", async () => {
  const { left, right, state, plan } = await changed();
  scratch.plant("left", { [ofLeft]: "somebody's" });
  const done = await apply(plan, { state });
  expect(done.errors).toBe(0);
  expect(shape(left)).toEqual({
    ...wanted,
    [ofLeft]: "somebody's",
    [`${ofLeft}-2`]: "of the left",
  });
  expect(shape(right)).toEqual({ ...wanted, [ofLeft]: undefined!, [`${ofLeft}-2`]: "of the left" });
});

test("a plan names no file that is written to, and keeps the bounds of what is deleted", async () => {
  const { left, right, state, plan } = await changed();
  expect(() => apply(plan)).toThrow("state is missing");
  expect(() => apply(plan, { state: scratch.at("other") })).toThrow("state is missing");
  const head = plan.plan!;
  const elsewhere = scratch.at("precious");
  writeFileSync(elsewhere, "precious");
  const options = { ...head.options, twoWay: { ...head.options.twoWay, state: elsewhere } };
  expect(() => apply({ ...plan, plan: { ...head, options } })).toThrow("state is missing");
  expect(readFileSync(elsewhere, "utf8")).toBe("precious");
  const bound = { ...plan, plan: { ...head, options: { ...head.options, maxDelete: 0 } } };
  const done = await apply(bound, { state });
  expect(said(done)[0]).toBe("error  LIMIT");
  expect(done.kept).toBe(1);
  expect(existsSync(join(left, "d/gone"))).toBe(true);
  const plain = asFile(await sync(left, right, { dryRun: true }));
  expect(() => apply(plain, { state })).toThrow("of a plan for both ways");
});

test("a plan that was damaged does steps of its own or none, and no version is lost", () => {
  const outside = scratch.plant("outside", { f: "f" });
  const random = new Random(someSeed());
  const odd: unknown[] = [null, -1, 2 ** 53, "../outside/f", "/etc/passwd", "both", "", ".", {}];
  let applied = 0;
  for (let i = 0; i < Number(process.env["COPSE_PLANS"] ?? 60); i++) {
    const state = scratch.at(`state${i}`);
    const base = { both: "base", "d/gone": "gone", edited: "base" };
    const [left, right] = [scratch.plant(`left${i}`, base), scratch.plant(`right${i}`, {})];
    syncSync(left, right, { twoWay: { state } });
    putFile(left, "both", "of the left", OLDER);
    putFile(right, "both", "of the right", NEWER);
    putFile(left, "edited", "edited", NEWER);
    rmSync(join(right, "d/gone"));
    const plan = asFile(syncSync(left, right, { twoWay: { state }, dryRun: true })) as unknown as {
      actions: Record<string, unknown>[];
    };
    for (let damage = 0; damage <= random.below(4); damage++) {
      const [step, other] = [random.pick(plan.actions), random.pick(plan.actions)];
      const field = random.pick([...Object.keys(step), "as", "pathBytes", "left", "to"]);
      const way = random.below(4);
      if (way === 0) step[field] = structuredClone(other[field]);
      else if (way === 1) step[field] = random.pick(odd);
      else if (way === 2) delete step[field];
      else plan.actions.push(structuredClone(step));
    }
    try {
      applySync(plan as unknown as Plan, { state });
      applied++;
    } catch (error) {
      expect([error instanceof CopseError, (error as CopseError).code]).toEqual([true, "ARGUMENT"]);
    }
    const all = [...Object.values(shape(left)), ...Object.values(shape(right))];
    for (const version of ["of the left", "of the right", "edited"]) expect(all).toContain(version);
    for (const name of [...Object.keys(shape(left)), ...Object.keys(shape(right))])
      expect(["both", ofLeft, "d", "d/gone", "edited"]).toContain(name);
  }
  expect(applied).toBeGreaterThan(5);
  expect(shape(outside)).toEqual({ f: "f" });
});

test("on the command line: a plan is printed, looked at and applied", async () => {
  const state = join(folder, "two.state");
  await shell("mkdir l r && echo one > l/a && echo two > r/b");
  const said = await shell(`copse sync l r --two-way --state ${state} -n --json > plan.json`);
  expect(said.status).toBe(0);
  const missing = await command("apply", "plan.json");
  expect(missing.status).toBe(2);
  expect(missing.err).toContain("state is missing");
  const done = await command("apply", "plan.json", "--state", state);
  expect(done.out).toStartWith("2 copied");
  expect(shape(join(folder, "l"))).toEqual(shape(join(folder, "r")));
  expect(existsSync(state)).toBe(true);
});

test("on the command line: the places of a plan are opened by --key-file", async () => {
  const script = `
    head -c 32 /dev/urandom > key; mkdir t; echo secret > t/a
    copse sync t out --encrypt --key-file key -n --json > crypt.json
    copse apply crypt.json; echo $?
    copse apply crypt.json --key-file key -q && copse cat crypt:out a --key-file key
    copse sync crypt:out back --key-file key -n --json | copse apply - --key-file key -q; cat back/a
    copse sync t small --compress -n --json > small.json
    copse apply small.json --compress=9 -q && copse cat crypt:small a
    copse sync t plain -n --json | copse apply - --key-file key; echo $?`;
  const { out, err } = await shell(script);
  expect(out).toBe("2\nsecret\nsecret\nsecret\n2\n");
  expect(err).toContain("a plan holds no keys");
  expect(err).toContain("no location is crypt:LOCATION");
  await Bun.write(join(folder, "keys.toml"), '[encryption]\nkey_file = "key"\n');
  const settings = `
    copse sync t out2 --encrypt --key-file key -n --json > again.json
    copse apply again.json --config keys.toml -q && copse cat crypt:out2 a --key-file key
    copse sync t plain -n --json | copse apply - --config keys.toml -q; cat plain/a`;
  expect(await shell(settings)).toMatchObject({ out: "secret\nsecret\n", err: "" });
});
