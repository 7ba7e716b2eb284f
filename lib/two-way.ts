// Two-way: both trees are held against what they had in common, what comes of it is done as two plans,
// one in each direction, and what they have in common then is kept. Nothing of the trees is decided
// here but whether something may be deleted at all.

import { realpathSync } from "node:fs";
import { homedir } from "node:os";
import { basename, dirname, join, resolve, sep } from "node:path";
import { argumentError, CopseError, showValue } from "./errors.ts";
import { makeFolder, type Place } from "./location.ts";
import { Detail, Done, Two, TwoSeen } from "./native/abi.ts";
import { keyOf, planHead, TwoWayPlan } from "./plan.ts";
import { checkFields } from "./check.ts";
import { isOnlyTrouble, twoWayRequest } from "./request.ts";
import { decodeRows, type SyncCounts } from "./rows.ts";
import { byPath, sortByPath } from "./sort.ts";
import type { Step, Steps } from "./steps.ts";
import type { transferVerb } from "./sync.ts";
import type { Verb } from "./task.ts";
import type { Action, PlanHead, SyncOptions, Transfer, TwoWayOptions } from "./types.ts";

type Side = "left" | "right";
type Given = Omit<SyncOptions, "twoWay">;
type Options = Omit<Given, "actions">;
type TransferVerb = typeof transferVerb;

interface Decided {
  readonly actions: Action[];
  readonly files: number;
  readonly milliseconds: number;
  readonly complete: boolean;
  /** A number of `Two`, and bits of `TwoSeen`. */
  readonly found: number;
  readonly seen: number;
}

const states = { [Two.NEW]: "new", [Two.KNOWN]: "known", [Two.DAMAGED]: "damaged" } as const;

// ── Options ──

const refused = ["by", "overwrite", "delete", "hardLinks", "links", "compress", "encrypt"] as const;
const usual: { readonly [name in (typeof refused)[number]]: unknown } = {
  by: "stat",
  overwrite: "different",
  delete: true,
  hardLinks: false,
  links: "keep",
  compress: false,
  encrypt: undefined,
};

function checkTwoWay(twoWay: true | TwoWayOptions, options: Options): Required<TwoWayOptions> {
  const given = twoWay === true ? {} : twoWay;
  checkFields("twoWay", given, ["state", "conflict"]);
  const { state = "", conflict = "keep-both" } = given;
  if (typeof state !== "string" || state.includes("\0") || (given.state !== undefined && !state))
    throw argumentError("twoWay.state", `must be a path, not ${showValue(given.state)}`);
  if (conflict !== "keep-both" && options.backupDir === undefined)
    throw argumentError(
      "twoWay.conflict",
      `${conflict} needs backupDir (--backup-dir), which keeps the other version`,
    );
  for (const name of refused)
    if (options[name] !== undefined && options[name] !== usual[name])
      throw argumentError(name, `cannot be ${showValue(options[name])} with twoWay`);
  if (options.preserve && !options.preserve.includes("mtime"))
    throw argumentError("preserve", "must have mtime with twoWay");
  return { state, conflict };
}

/** Whatever the working directory is, and by whichever link it was named. */
function trueName({ scheme, path, shown, inner }: Place): string {
  if (inner) return trueName(inner);
  return scheme === "file" ? realPath(resolve(path)) : shown;
}

/** Of what is not there yet the directories above it that are: the name stays when it is made. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const above = dirname(path);
    return above === path ? path : join(realPath(above), basename(path));
  }
}

function defaultState(pair: string): string {
  const home = process.env["XDG_STATE_HOME"] || join(homedir(), ".local", "state");
  const name = new Bun.CryptoHasher("sha256").update(pair).digest("hex").slice(0, 32);
  return join(home, "copse", "two-way", `${name}.state`);
}

/** Where the state is. It must not lie in what it is about. */
function stateFile(named: string, names: readonly string[]): string {
  const path = resolve(named || defaultState(names.join("\0")));
  const real = realPath(dirname(path));
  for (const name of names)
    if (`${real}${sep}`.startsWith(name.endsWith(sep) ? name : `${name}${sep}`))
      throw argumentError("twoWay.state", "lies in one of the two trees; name a place outside");
  return path;
}

// ── Deciding ──

interface Asked {
  readonly places: { readonly left: Place; readonly right: Place };
  readonly options: Options;
  readonly state: string;
  readonly pair: string;
  readonly conflict: TwoWayOptions["conflict"] & string;
  /** Only what this has is done. */
  readonly plan: TwoWayPlan | undefined;
  /** Only errors and conflicts are told. */
  readonly isQuiet: boolean;
}

// What only the runs want to know.
const ofRuns: ReadonlySet<string> = new Set([
  "by",
  "overwrite",
  "delete",
  "moves",
  "hardLinks",
  "backupDir",
  "delta",
  "verify",
  "fsync",
  "retries",
  "resume",
  "streams",
  "chunkSize",
  "maxDelete",
  "force",
]);

function decideVerb(
  { places, options, state, pair, conflict, plan }: Asked,
  keeps: boolean,
  waited: boolean,
): Verb<Decided, Action> {
  const rest = Object.fromEntries(Object.entries(options).filter(([name]) => !ofRuns.has(name)));
  const request = twoWayRequest(places.left, places.right, rest, {
    state,
    pair,
    conflict,
    keeps,
    waited,
    ...(plan && !keeps ? { steps: plan.atOnce } : {}),
  });
  let counts: SyncCounts | undefined;
  return {
    request,
    decode(buffer, rows, heapAt) {
      // It has actions, ERROR rows and then a SUMMARY row.
      const actions: Action[] = [];
      for (const row of decodeRows(buffer, rows, heapAt) as (Action | SyncCounts)[])
        if (row.kind === "summary") counts = row;
        else actions.push(row);
      return actions;
    },
    order: byPath,
    whole: (actions, ending) => {
      const said = counts?.counts.number(Detail.TWO_STATE) ?? 0;
      return {
        actions,
        files: ending.files,
        milliseconds: ending.milliseconds,
        complete: ending.errors === 0 && (ending.flags & Done.INCOMPLETE) === 0,
        found: said & 255,
        seen: said >> 8,
      };
    },
  };
}

/** One direction: what was decided, and only while it is still true. */
function runVerb(
  { places, options }: Asked,
  to: Side,
  steps: readonly Action[],
  waited: boolean,
  transferVerb: TransferVerb,
): Verb<Transfer, Action> {
  const { maxDelete: _, ...rest } = options; // both were looked at
  // A directory takes the name of a file only where something may be deleted.
  const deletes = steps.some(
    (step) => step.kind === "deleted" || (step.kind === "created" && step.target),
  );
  const [from, target] = to === "right" ? [places.left, places.right] : [places.right, places.left];
  return transferVerb(from, target, { ...rest, delete: deletes, force: true }, true, waited, {
    steps,
  });
}

const withSide = (action: Action, to: Side): Action =>
  action.kind === "error" || action.kind === "skipped" || action.kind === "conflict"
    ? action
    : { ...action, to };

const other = (side: Side): Side => (side === "left" ? "right" : "left");
const isStep = (action: Action, to: Side): boolean => "to" in action && action.to === to;

/** Why nothing of this side is deleted; undefined: it may be. */
function refusal(
  side: Side,
  count: number,
  { seen }: Decided,
  options: Options,
): CopseError | undefined {
  const [unseen, empty] =
    side === "left"
      ? [TwoSeen.UNSEEN_RIGHT, TwoSeen.EMPTY_RIGHT]
      : [TwoSeen.UNSEEN_LEFT, TwoSeen.EMPTY_LEFT];
  const of = `the ${other(side)} side`;
  if (seen & unseen)
    return new CopseError(
      "CHANGED",
      `not all of ${of} was seen, so nothing is deleted on the ${side} side; run again`,
    );
  if (seen & empty && options.force !== true)
    return new CopseError(
      "ARGUMENT",
      `${of} is empty, so nothing is deleted on the ${side} side; use force when that is right`,
    );
  const { maxDelete = Infinity } = options;
  if (count <= maxDelete) return undefined;
  return new CopseError(
    "LIMIT",
    `${count} entries would be deleted on the ${side} side, more than maxDelete, so none is`,
  );
}

interface Allowed {
  readonly steps: readonly Action[];
  readonly kept: number;
  readonly refusals: Action[];
}

/** What may be done of what was decided. */
function allowed(decided: Decided, options: Options): Allowed {
  let steps = decided.actions;
  let kept = 0;
  const refusals: Action[] = [];
  for (const side of ["left", "right"] as const) {
    const deleted = steps.filter((action) => action.kind === "deleted" && isStep(action, side));
    const error = deleted.length > 0 ? refusal(side, deleted.length, decided, options) : undefined;
    if (!error) continue;
    kept += deleted.length;
    refusals.push({ kind: "error", path: "", error });
    // What was to take the place of a directory stays away too.
    const paths = new Set(deleted.map(keyOf));
    steps = steps.filter((action) => !isStep(action, side) || !paths.has(keyOf(action)));
  }
  return { steps, kept, refusals };
}

/** What a dry run of one direction found to be renamed, in the place of a copy and a deletion. */
function withRenames(steps: readonly Action[], to: Side, found: readonly Action[]): Action[] {
  const renamed = found.filter((action) => action.kind === "renamed");
  const gone = new Set(
    renamed.map(({ from, fromBytes }) => keyOf({ path: from, pathBytes: fromBytes })),
  );
  const come = new Set(renamed.map(keyOf));
  const isReplaced = (step: Action): boolean =>
    isStep(step, to) &&
    ((step.kind === "copied" && come.has(keyOf(step))) ||
      (step.kind === "deleted" && gone.has(keyOf(step))));
  return [
    ...steps.filter((step) => !isReplaced(step)),
    ...renamed.map((action) => withSide(action, to)),
  ];
}

// One request holds at most 16 MiB.
const REQUEST_BYTES = 8 << 20;
const STEP_BYTES = 200;

/** What comes after what: directories before what is in them, and the other way round when they go. */
function* inRequests(steps: readonly Action[]): Generator<Action[]> {
  const goes = new Set(steps.filter(({ kind }) => kind === "deleted").map(keyOf));
  const isGoing = (action: Action): boolean => goes.has(keyOf(action));
  const ordered = [
    ...steps.filter((action) => !isGoing(action)),
    ...steps.filter(({ kind }) => kind === "deleted").toReversed(),
    ...steps.filter((action) => action.kind !== "deleted" && isGoing(action)),
  ];
  let request: Action[] = [];
  let size = 0;
  for (const step of ordered) {
    request.push(step);
    size += STEP_BYTES + step.path.length * 3;
    if (size < REQUEST_BYTES) continue;
    yield request;
    [request, size] = [[], 0];
  }
  if (request.length > 0) yield request;
}

// ── The whole ──

/** What both runs did. */
function sum(
  transfers: readonly Transfer[],
  passes: readonly Decided[],
  { steps, kept }: Allowed,
  errors: number,
  plan: PlanHead | undefined,
): (actions: Action[]) => Transfer {
  const [decided] = passes as [Decided]; // there is one at least
  const isDry = plan !== undefined;
  const total = (of: (transfer: Transfer) => number): number =>
    transfers.reduce((all, transfer) => all + of(transfer), 0);
  const count = (kind: Action["kind"]): number =>
    decided.actions.filter((action) => action.kind === kind).length;
  const planned = (kind: Action["kind"], done: (transfer: Transfer) => number): number =>
    isDry ? steps.filter((action) => action.kind === kind).length : total(done);
  const passed = passes.reduce((all, { milliseconds }) => all + milliseconds, 0);
  const milliseconds = passed + total((one) => one.milliseconds);
  const transferred = isDry
    ? steps.reduce((all, one) => all + (one.kind === "copied" ? one.size : 0), 0)
    : total((one) => one.transferred);
  const done = steps.filter((action) => action.kind === "updated" && !action.to).length;
  const counts = {
    copied: planned("copied", (one) => one.copied),
    created: planned("created", (one) => one.created),
    updated: planned("updated", (one) => one.updated) + (isDry ? 0 : done),
    deleted: planned("deleted", (one) => one.deleted),
    renamed: planned("renamed", (one) => one.renamed),
  };
  const touched = new Set(decided.actions.filter(({ kind }) => kind !== "created").map(keyOf));
  return (actions) => ({
    complete:
      errors === 0 &&
      passes.every(({ complete }) => complete) &&
      transfers.every(({ complete }) => complete),
    files: decided.files,
    bytes: total((one) => one.bytes),
    errors,
    milliseconds,
    ...counts,
    linked: 0,
    skipped: Math.max(0, decided.files - touched.size) + count("skipped"),
    kept: kept + total((one) => one.kept),
    transferred,
    saved: total((one) => one.saved),
    resumed: total((one) => one.resumed),
    retries: total((one) => one.retries),
    ways: {
      clone: total(({ ways }) => ways.clone),
      copyRange: total(({ ways }) => ways.copyRange),
      splice: total(({ ways }) => ways.splice),
      sendfile: total(({ ways }) => ways.sendfile),
    },
    planned: Object.values(counts).reduce((all, one) => all + one, errors),
    rate: milliseconds > 0 ? Math.round((transferred * 1000) / milliseconds) : 0,
    verified: total((one) => one.verified),
    phases: {
      copy: passed + total(({ phases }) => phases.copy),
      moves: total(({ phases }) => phases.moves),
      delete: total(({ phases }) => phases.delete),
    },
    twoWay: {
      conflicts: count("conflict"),
      state: states[decided.found as keyof typeof states] ?? "new",
    },
    ...(plan && { plan }),
    actions: sortByPath(actions),
  });
}

/** The steps of a two-way sync. What is wrong with its options is thrown at once. */
export function twoWaySteps(
  left: Place,
  right: Place,
  { twoWay, actions, ...options }: Given & { twoWay: true | TwoWayOptions },
  transferVerb: TransferVerb,
  plan?: TwoWayPlan,
): Steps<Transfer, Action> {
  const isQuiet = isOnlyTrouble({ ...options, ...(actions && { actions }) });
  const { state: named, conflict } = checkTwoWay(twoWay, options);
  const names = [trueName(left), trueName(right)];
  const state = stateFile(named, names);
  const pair = names.join("\0");
  const asked = { places: { left, right }, options, state, pair, conflict, plan, isQuiet };
  decideVerb(asked, false, false); // checks the rest
  if (options.dryRun !== true) makeFolder(dirname(state));
  return run(asked, transferVerb);
}

/** The same of a plan. What it says is from anybody: it names no file that is written to. */
export function twoWayPlanSteps(
  left: Place,
  right: Place,
  { twoWay, ...options }: Given & { twoWay: TwoWayOptions },
  transferVerb: TransferVerb,
  actions: readonly unknown[],
  named: string | undefined,
): Steps<Transfer, Action> {
  const { state, ...rest } = twoWay;
  const mine = stateFile(named ?? "", [trueName(left), trueName(right)]);
  if (state !== mine)
    throw argumentError(
      "state",
      `is missing: the plan was made with ${showValue(state)}; name it, if it is yours`,
    );
  const own = { ...options, twoWay: { ...rest, state: mine } };
  return twoWaySteps(left, right, own, transferVerb, new TwoWayPlan(actions));
}

function damaged(state: string): Action {
  const sentence = "the state of the last run is damaged: nothing was deleted, and it is made anew";
  return {
    kind: "error",
    path: "",
    error: new CopseError("CORRUPT", sentence, { location: state }),
  };
}

/** What several walks say of one thing is one error. */
class Errors {
  readonly #known = new Set<string>();

  get count(): number {
    return this.#known.size;
  }

  /** The rows without errors that were said before. */
  *fresh(actions: readonly Action[]): Generator<Action> {
    for (const action of actions) {
      if (action.kind === "error") {
        const key = `${keyOf(action)}\0${action.error.code}\0${action.error.location}`;
        if (this.#known.has(key)) continue;
        this.#known.add(key);
      }
      yield action;
    }
  }
}

function* run(asked: Asked, transferVerb: TransferVerb): Steps<Transfer, Action> {
  const { options, state } = asked;
  const isDry = options.dryRun === true;
  const errors = new Errors();
  const pass = (keeps: boolean): Step<Action> => ({
    verb: (waited) => decideVerb(asked, keeps, waited),
  });
  let decided = (yield pass(false)) as Decided; // of its verb
  const held = asked.plan?.allowed(decided.actions);
  if (held) decided = { ...decided, actions: held.actions };
  const passes = [decided];
  const transfers: Transfer[] = [];
  const permitted = allowed(decided, options);
  permitted.refusals.push(...(held?.errors ?? []));
  if (decided.found === Two.DAMAGED) permitted.refusals.push(damaged(state));
  let said = permitted.steps;
  if (isDry && options.moves === true)
    for (const to of ["right", "left"] as const)
      for (const steps of inRequests(said.filter((action) => isStep(action, to)))) {
        const found = (yield {
          verb: (waited) => runVerb(asked, to, steps, waited, transferVerb),
        }) as Transfer; // of its verb
        said = withRenames(said, to, found.actions);
      }
  const may = { ...permitted, steps: said };
  const isTold = ({ kind }: Action): boolean =>
    !asked.isQuiet || kind === "error" || kind === "conflict";
  const isSaid = (action: Action): boolean => isTold(action) && (isDry || !("to" in action));
  for (const part of errors.fresh([...may.refusals, ...may.steps.filter(isSaid)])) yield { part };
  const copied = may.steps.filter((action) => action.kind === "copied");
  yield { totalBytes: copied.reduce((sum, { size }) => sum + size, 0) };
  for (const to of isDry ? [] : (["right", "left"] as const))
    for (const steps of inRequests(may.steps.filter((action) => isStep(action, to)))) {
      const transfer = (yield {
        verb: (waited) => runVerb(asked, to, steps, waited, transferVerb),
      }) as Transfer; // of its verb
      transfers.push(transfer);
      for (const action of errors.fresh(transfer.actions))
        if (action.kind !== "skipped" && isTold(action)) yield { part: withSide(action, to) };
    }
  const isNew = decided.found !== Two.KNOWN || (decided.seen & TwoSeen.CHANGED) !== 0;
  if (!isDry && (transfers.length > 0 || isNew)) {
    const kept = (yield pass(true)) as Decided; // of its verb
    passes.push(kept);
    for (const part of errors.fresh(kept.actions)) yield { part };
  }
  const head =
    isDry &&
    planHead("sync", asked.places.left, asked.places.right, options, {
      conflict: asked.conflict,
      state,
    });
  return sum(transfers, passes, may, errors.count, head || undefined);
}
