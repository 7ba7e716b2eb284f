// A dry run is a plan: it can be looked at, kept as JSON, and applied as far as it is still true.

import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { apply, applySync, copy, CopseError, sync, syncSync, type Plan } from "../lib/index.ts";
import { commandPlace } from "./command.ts";
import { patience, someSeed } from "./patience.ts";
import { said, shape } from "./synced.ts";
import { asTree, link, mutated, plantOnDisk, Random, randomTree, run } from "./trees.ts";
import { leaveNothingOpen, scratchForEach } from "./ways.ts";

leaveNothingOpen();
patience(120_000);

const scratch = scratchForEach();

const { copse: command } = commandPlace();

const asFile = (plan: Plan): Plan => JSON.parse(JSON.stringify(plan)) as Plan;

function plantPair(): [string, string] {
  return [
    scratch.plant("from", {
      a: "new a",
      "d/b": "new b",
      "n/e/w": "below",
      l: link("d/b"),
      moved: "was elsewhere",
      file: "was a directory",
      "dir/x": "was a file",
    }),
    scratch.plant("to", {
      a: "old",
      "d/b": "old",
      "d/gone": "gone",
      elsewhere: "was elsewhere",
      "file/in": "in",
      dir: "file",
    }),
  ];
}

test("a plan applied does what it says, and applied again it is refused", async () => {
  const [from, to] = plantPair();
  const plan = await sync(from, to, { dryRun: true, moves: true });
  expect(plan.plan).toMatchObject({ version: 1, verb: "sync", from, to, options: { moves: true } });
  expect(plan.actions).toContainEqual(
    expect.objectContaining({
      kind: "copied",
      path: "a",
      source: expect.objectContaining({ type: "file", size: 5 }),
      target: expect.objectContaining({ type: "file", size: 3 }),
    }),
  );
  const result = await apply(asFile(plan));
  expect(said(result)).toEqual(said(plan));
  expect(result).toMatchObject({ errors: 0, complete: true });
  expect(shape(to)).toEqual(shape(from));
  const again = await apply(asFile(plan));
  expect(again.errors).toBe(plan.planned);
  expect(again.actions.every((row) => row.kind === "error" && row.error.code === "CHANGED")).toBe(
    true,
  );
});

test("steps that were taken out are not done, nor what came since", async () => {
  const [from, to] = plantPair();
  const plan = asFile(await sync(from, to, { dryRun: true }));
  const fewer = plan.actions.filter(
    ({ path }) => path === "a" || path === "d/gone" || path === "n/e" || path === "n/e/w",
  );
  writeFileSync(join(from, "since"), "came later");
  const result = applySync({ ...plan, actions: fewer });
  // Without its parent's step there is nowhere to make n/e.
  expect(said(result)).toEqual([
    "copied a",
    "deleted d/gone",
    "error n/e CHANGED",
    "error n/e/w CHANGED",
  ]);
  expect(shape(to)).toEqual({
    a: "new a",
    d: "/",
    "d/b": "old",
    dir: "file",
    elsewhere: "was elsewhere",
    file: "/",
    "file/in": "in",
  });
});

test("of an archive in its own order only what the plan has is done", async () => {
  const [from, to] = plantPair();
  run("tar", "-C", from, "-czf", scratch.at("from.tar.gz"), ".");
  const archive = `archive:${scratch.at("from.tar.gz")}`;
  const plan = asFile(await copy(archive, to, { dryRun: true }));
  const before = shape(to);
  const result = applySync({ ...plan, actions: plan.actions.filter(({ path }) => path === "a") });
  expect(said(result)).toEqual(["copied a"]);
  expect(shape(to)).toEqual({ ...before, a: "new a" });
  // All of another plan, with a further name of a file, and a directory that changed.
  run("ln", join(from, "a"), join(from, "n", "twin"));
  run("chmod", "700", join(from, "d"));
  run("tar", "-C", from, "-czf", scratch.at("from.tar.gz"), ".");
  rmSync(join(to, "file"), { recursive: true });
  rmSync(join(to, "dir"));
  const next = await copy(archive, to, { dryRun: true });
  const done = applySync(asFile(next));
  expect(said(done)).toEqual(said(next));
  expect(done).toMatchObject({ errors: 0, complete: true });
  expect(shape(to)).toEqual({ ...shape(from), "d/gone": "gone", elsewhere: "was elsewhere" });
});

test("what changed on either side is CHANGED and left, the rest is done", async () => {
  const [from, to] = plantPair();
  const plan = asFile(await sync(from, to, { dryRun: true }));
  writeFileSync(join(from, "a"), "newer a"); // source changed
  utimesSync(join(to, "d", "b"), 5, 5); // destination changed
  writeFileSync(join(to, "elsewhere"), "was Elsewhere"); // to be deleted, and changed
  utimesSync(join(to, "elsewhere"), 9, 9);
  mkdirSync(join(to, "l")); // to be a link, and there is a directory
  rmSync(join(from, "moved")); // to be copied, and gone
  const result = await apply(plan);
  const errors = said(result).filter((line) => line.startsWith("error"));
  expect(errors).toEqual([
    "error a CHANGED",
    "error d/b CHANGED",
    "error elsewhere CHANGED",
    "error l EXISTS",
    "error moved CHANGED",
  ]);
  expect(readFileSync(join(to, "a"), "utf8")).toBe("old");
  expect(readFileSync(join(to, "d", "b"), "utf8")).toBe("old");
  expect(shape(to)).toMatchObject({ elsewhere: "was Elsewhere", "n/e/w": "below", l: "/" });
});

test("the command: copse sync --dry-run --json, copse apply", async () => {
  const [from, to] = plantPair();
  const plan = await command("sync", from, to, "--dry-run", "--json");
  writeFileSync(scratch.at("plan.json"), plan.out);
  expect(JSON.parse(plan.out)).toMatchObject({ plan: { verb: "sync" } });
  const applied = await command("apply", scratch.at("plan.json"), "--json");
  expect(applied.status).toBe(0);
  expect(shape(to)).toEqual(shape(from));
  const again = await command("apply", scratch.at("plan.json"));
  expect(again.status).toBe(2);
  expect(again.out).toContain("make a new plan");
  writeFileSync(scratch.at("bad.json"), "{");
  expect(await command("apply", scratch.at("bad.json"))).toMatchObject({ status: 2 });
});

test("paths of a plan lead nowhere", async () => {
  const [from, to] = plantPair();
  const outside = scratch.plant("outside", { f: "f" });
  const plan = asFile(await sync(from, to, { dryRun: true }));
  const seen = { type: "file", size: 1 } as const;
  for (const path of ["../outside/f", "/etc/passwd", "a/../../outside/f", "", ".", "\0", "a//b"])
    for (const kind of ["copied", "deleted", "updated", "created"]) {
      const step = { kind, path, type: "file", size: 1, source: seen } as Plan["actions"][number];
      const result = applySync({ ...plan, actions: [step] });
      expect(said(result)).toEqual([`error ${path} CHANGED`]);
    }
  expect(shape(outside)).toEqual({ f: "f" });
  expect(shape(to)).toMatchObject({ a: "old", elsewhere: "was elsewhere" });
});

test("what is no plan is ARGUMENT, whatever was changed in it", async () => {
  const [from, to] = plantPair();
  const plan = await sync(from, to, { dryRun: true, moves: true, exclude: ["x"] });
  const text = JSON.stringify(plan);
  const before = shape(to);
  const seed = someSeed();
  const random = new Random(seed);
  // A place that is not there: as the root of a plan "../.." would be all that lies around the checkout.
  const away = "../../nothing-is-here";
  const odd: unknown[] = [null, -1, 1.5, "x", "", [], {}, true, 2 ** 60, away, ["a"], "sync"];
  let refused = 0;
  for (let i = 0; i < 400; i++) {
    // One value anywhere becomes something odd. Only where it is, not what: no path is changed to one that is there.
    const changed = JSON.parse(text) as Record<string, unknown>;
    const spots: [Record<string, unknown>, string][] = [];
    const walk = (value: unknown): void => {
      if (typeof value !== "object" || value === null) return;
      const fields = value as Record<string, unknown>;
      for (const key of Object.keys(fields)) {
        spots.push([fields, key]);
        walk(fields[key]);
      }
    };
    walk({ plan: changed["plan"], actions: changed["actions"] });
    const [fields, key] = random.pick(spots);
    fields[key] = random.pick(odd);
    try {
      const result = applySync(changed as unknown as Plan, { dryRun: true });
      expect(result.planned).toBeGreaterThanOrEqual(0);
    } catch (error) {
      expect(error).toBeInstanceOf(CopseError);
      refused++;
    }
    expect({ seed, i, shape: shape(to) }).toEqual({ seed, i, shape: before });
  }
  expect(refused).toBeGreaterThan(50);
  for (const bad of [
    undefined,
    null,
    [],
    {},
    { plan: plan.plan },
    { ...plan, actions: [plan, plan] },
  ])
    // @ts-expect-error wrong on purpose
    expect(() => applySync(bad)).toThrow(CopseError);
  const [first] = plan.actions;
  expect(() => applySync({ ...plan, actions: [first!, first!] })).toThrow("one step twice");
});

test("random pairs of trees: the plan of a dry run, as JSON, gives the same tree", () => {
  const seed = someSeed();
  for (let i = 0; i < 30; i++) {
    const random = new Random(seed + i);
    const tree = randomTree(random);
    const [from, to] = [scratch.at(`from${i}`), scratch.at(`to${i}`)];
    plantOnDisk(from, asTree(tree));
    plantOnDisk(to, asTree(mutated(random, tree)));
    const by = random.pick(["stat", "content"] as const);
    const options = { by, force: true, moves: random.chance(2), hardLinks: random.chance(2) };
    const plan = asFile(syncSync(from, to, { ...options, dryRun: true }));
    const result = applySync(plan);
    expect({ seed: seed + i, errors: result.errors }).toEqual({ seed: seed + i, errors: 0 });
    expect({ seed: seed + i, shape: shape(to) }).toEqual({ seed: seed + i, shape: shape(from) });
  }
});

test("a plan that was damaged does steps of its own or none: whatever it says, nothing else changes", () => {
  const outside = scratch.plant("outside", { f: "f", "d/b": "outside" });
  const seed = someSeed();
  const random = new Random(seed);
  const rounds = Number(process.env["COPSE_PLANS"] ?? 60);
  const odd: unknown[] = [null, -1, 2 ** 53, "../outside/f", "/etc/passwd", "d", "a", "", ".", {}];
  let applied = 0;
  for (let i = 0; i < rounds; i++) {
    const tree = { a: "new a", "d/b": "new b", "n/e": "below", moved: "elsewhere's", f: link("a") };
    const from = scratch.plant(`from${i}`, tree);
    const to = scratch.plant(`to${i}`, { a: "old", "d/gone": "gone", elsewhere: "elsewhere's" });
    const [news, olds] = [shape(from), shape(to)];
    const plan = JSON.parse(JSON.stringify(syncSync(from, to, { dryRun: true }))) as {
      actions: Record<string, unknown>[];
    };
    // Fields change places between steps, become odd, or vanish; steps are doubled and turned round.
    for (let damage = 0; damage <= random.below(4); damage++) {
      const [step, other] = [random.pick(plan.actions), random.pick(plan.actions)];
      const field = random.pick([...Object.keys(step), "from", "pathBytes"]);
      const way = random.below(4);
      if (way === 0) step[field] = structuredClone(other[field]);
      else if (way === 1) step[field] = random.pick(odd);
      else if (way === 2) delete step[field];
      else plan.actions = plan.actions.toReversed().filter((one) => one !== other);
      if (plan.actions.length === 0) break;
    }
    try {
      applySync(plan as unknown as Plan);
      applied++;
    } catch (error) {
      expect(error).toBeInstanceOf(CopseError);
    }
    // Each path holds what it had, or what the source has there.
    const now = shape(to);
    for (const [path, content] of Object.entries(now))
      expect({ seed, i, path, known: [olds[path], news[path]].includes(content) }).toEqual({
        seed,
        i,
        path,
        known: true,
      });
    expect({ seed, i, from: shape(from) }).toEqual({ seed, i, from: news });
    expect(shape(outside)).toEqual({ f: "f", d: "/", "d/b": "outside" });
  }
  expect(applied).toBeGreaterThan(0);
});
