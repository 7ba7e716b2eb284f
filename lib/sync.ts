import { parseLocation, type Place } from "./location.ts";
import type { Sorted } from "./merge.ts";
import { Detail, Done, RowKind } from "./native/abi.ts";
import { checkOptions } from "./check.ts";
import { stagedTarget, syncRequest, type SyncRequest } from "./request.ts";
import { decodeRows, hasRow, sortedRows, type SyncCounts } from "./rows.ts";
import { byPath } from "./sort.ts";
import { engineOf } from "./runtime.ts";
import { runSteps, StepsTask, type Steps } from "./steps.ts";
import { NativeTask, runSync, type Ending, type Late, type Verb } from "./task.ts";
import { planHead, readPlan, type ReadPlan } from "./plan.ts";
import { twoWayPlanSteps, twoWaySteps } from "./two-way.ts";
import type {
  Action,
  ApplyOptions,
  CopyOptions,
  Location,
  PackReport,
  Plan,
  PlanHead,
  SyncOptions,
  Task,
  Transfer,
} from "./types.ts";

function reportOf({ counts }: SyncCounts): PackReport {
  const count = (key: number): number => counts.number(key) ?? 0;
  const bytesIn = count(Detail.PACK_BYTES_IN);
  const bytesOut = count(Detail.PACK_BYTES_OUT);
  return {
    files: count(Detail.PACK_FILES),
    directories: count(Detail.PACK_DIRECTORIES),
    compressedFiles: count(Detail.PACK_COMPRESSED),
    storedFiles: count(Detail.PACK_STORED),
    bytesIn,
    bytesOut,
    compressedBytes: count(Detail.PACK_COMPRESSED_IN),
    storedBytes: count(Detail.PACK_STORED_IN),
    chunks: count(Detail.PACK_CHUNKS),
    ratio: bytesIn > 0 ? bytesOut / bytesIn : 1,
    indexHash: counts.hex(Detail.PACK_INDEX) ?? "",
    reused: count(Detail.PACK_REUSED),
    reusedBytes: count(Detail.PACK_REUSED_IN),
  };
}

/** Read while the page is lent: its text is not there any more at the end. */
function recoveredOf({ counts }: SyncCounts): Transfer["recovered"] {
  return {
    numbered: counts.number(Detail.PACK_NUMBERED) ?? 0,
    folder: counts.text(Detail.PACK_NUMBERED_IN) ?? "",
    ...(counts.number(Detail.PACK_LOST_KINDS) && { kindsLost: true as const }),
  };
}

const lateRows = new WeakMap<Transfer, Late<Action>>();

/**
 * The rows of a transfer in the order of `actions`, one after the other: of a million none is kept.
 *
 * ```ts
 * for (const action of rowsOf(await copy("site", "/backup/site"))) console.log(action.path);
 * ```
 */
export function rowsOf(transfer: Transfer): Iterable<Action> {
  return lateRows.get(transfer)?.each() ?? transfer.actions;
}

/** A field that is made when it is first asked for. */
function late<T>(make: () => T): PropertyDescriptor {
  let made: { readonly value: T } | undefined;
  return {
    enumerable: true,
    configurable: true,
    get: (): T => (made ??= { value: make() }).value,
    set(value: T) {
      made = { value };
    },
  };
}

function transfer(
  actions: Action[],
  ending: Ending,
  counts: SyncCounts | undefined,
  plan: PlanHead | undefined,
  pack: PackReport | undefined,
  recovered: Transfer["recovered"],
): Transfer {
  const count = (key: number): number => counts?.counts.number(key) ?? 0;
  const steps = [
    Detail.COPIED,
    Detail.CREATED,
    Detail.UPDATED,
    Detail.RENAMED,
    Detail.LINKED,
    Detail.DELETED,
  ];
  const transferred = count(Detail.MOVED);
  return {
    complete: ending.errors === 0 && (ending.flags & Done.INCOMPLETE) === 0,
    files: ending.files,
    bytes: ending.bytes,
    errors: ending.errors,
    milliseconds: ending.milliseconds,
    copied: count(Detail.COPIED),
    created: count(Detail.CREATED),
    updated: count(Detail.UPDATED),
    renamed: count(Detail.RENAMED),
    linked: count(Detail.LINKED),
    skipped: count(Detail.SKIPPED),
    deleted: count(Detail.DELETED),
    kept: count(Detail.KEPT),
    transferred,
    saved: count(Detail.SAVED),
    resumed: count(Detail.RESUMED),
    retries: count(Detail.RETRIES),
    ways: {
      clone: count(Detail.WAY_CLONE),
      copyRange: count(Detail.WAY_COPY_RANGE),
      splice: count(Detail.WAY_SPLICE),
      sendfile: count(Detail.WAY_SENDFILE),
    },
    planned: steps.reduce((sum, key) => sum + count(key), ending.errors),
    rate: ending.milliseconds > 0 ? Math.round((transferred * 1000) / ending.milliseconds) : 0,
    verified: count(Detail.VERIFIED),
    phases: {
      copy: count(Detail.COPY_NS) / 1e6,
      moves: count(Detail.MOVE_NS) / 1e6,
      delete: count(Detail.DELETE_NS) / 1e6,
    },
    ...(plan && { plan }),
    ...(pack ? { report: pack } : {}),
    ...(recovered && { recovered }),
    actions,
  };
}

function verbOf(
  from: Location,
  to: Location,
  options: SyncOptions,
  deletes: boolean,
  waited: boolean,
): Verb<Transfer, Action> {
  return transferVerb(parseLocation(from), parseLocation(to), options, deletes, waited);
}

/** The verb between two places, for pack and unpack too. */
export function transferVerb(
  from: Place,
  to: Place,
  options: SyncOptions,
  deletes: boolean,
  waited: boolean,
  only: Pick<SyncRequest, "steps" | "path"> = {},
): Verb<Transfer, Action> {
  checkOptions(options);
  const target = stagedTarget(to, options);
  const request = syncRequest(from, target, options, { deletes, waited, ...only });
  return transferOf(
    request,
    options.dryRun ? planHead(deletes ? "sync" : "copy", from, target, options) : undefined,
  );
}

/** What a task of transferring says, whoever gave it its files. */
export function transferOf(request: Uint8Array, plan?: PlanHead): Verb<Transfer, Action> {
  let counts: SyncCounts | undefined;
  let pack: PackReport | undefined;
  let recovered: Transfer["recovered"];
  return {
    request,
    decode(buffer, rows, heapAt) {
      // A sync task has actions, ERROR rows and then a SUMMARY row; packs add one of their own.
      const all = decodeRows(buffer, rows, heapAt) as (Action | SyncCounts)[];
      const actions: Action[] = [];
      for (const row of all)
        if (row.kind !== "summary") actions.push(row);
        else if (row.counts.number(Detail.PACK_NUMBERED) !== undefined)
          recovered = recoveredOf(row);
        else if (row.counts.number(Detail.PACK_FILES) === undefined) counts = row;
        else pack = reportOf(row); // at once: its texts go with the page
      return actions;
    },
    order: byPath,
    // Pages that wait have rows of actions only.
    sorted: (buffer, rows, heapAt) => sortedRows(buffer, rows, heapAt) as Sorted<Action>,
    canWait: (buffer, rows) => !hasRow(buffer, rows, RowKind.SUMMARY),
    whole(parts, ending, rows) {
      const whole = transfer(parts, ending, counts, plan, pack, recovered);
      if (!rows) return whole;
      lateRows.set(whole, rows);
      return Object.defineProperty(whole, "actions", late(rows.all));
    },
  };
}

/** For shuffle: one copy among several. */
export function copyVerb(
  from: Location,
  to: Location,
  options: CopyOptions,
  waited: boolean,
): Verb<Transfer, Action> {
  return verbOf(from, to, options, false, waited);
}

/**
 * Copies what is missing or different from one tree or file to another. Never deletes, and never
 * replaces a directory: that is an `EXISTS` row.
 *
 * ```ts
 * const { copied, errors } = await copy("site", "/backup/site", { exclude: ["*.log"] });
 * for await (const action of copy("site", "/backup/site")) console.log(action.kind, action.path);
 * ```
 *
 * A file takes its name when it is whole, so that whoever looks sees the old or the new one. What
 * concerns one entry is an `error` row, and the rest goes on. Rejects with `NOT_FOUND`, `DENIED` or
 * `UNSUPPORTED` when a root cannot be opened, `BUSY` while another run writes to the same directory,
 * `ARGUMENT` before any work for a bad location or option.
 */
export function copy(
  from: Location,
  to: Location,
  options: CopyOptions = {},
): Task<Transfer, Action> {
  const verb = verbOf(from, to, options, false, false);
  return new NativeTask(engineOf(options.runtime), verb, options);
}

/** `copy`, on this thread until it is done. */
export function copySync(from: Location, to: Location, options: CopyOptions = {}): Transfer {
  const verb = verbOf(from, to, options, false, true);
  return runSync(engineOf(options.runtime), verb, options);
}

function bothWays(
  from: Location,
  to: Location,
  options: SyncOptions,
): Steps<Transfer, Action> | undefined {
  checkOptions(options);
  const { twoWay } = options;
  if (twoWay === undefined || twoWay === false) return undefined;
  const places = [parseLocation(from), parseLocation(to)] as const;
  return twoWaySteps(...places, { ...options, twoWay }, transferVerb);
}

/**
 * Makes the second tree like the first: `copy`, and then what only the destination has is deleted.
 * Nothing is deleted when anything of the source could not be seen, when the source is empty
 * (`force`), or beyond `maxDelete`; what the filters leave out is protected. With `twoWay` changes
 * of either side are brought to the other.
 */
export function sync(
  from: Location,
  to: Location,
  options: SyncOptions = {},
): Task<Transfer, Action> {
  const engine = engineOf(options.runtime);
  const steps = bothWays(from, to, options);
  if (steps) return new StepsTask(engine, steps, options);
  return new NativeTask(engine, verbOf(from, to, options, true, false), options);
}

/** `sync`, on this thread until it is done. */
export function syncSync(from: Location, to: Location, options: SyncOptions = {}): Transfer {
  const engine = engineOf(options.runtime);
  const steps = bothWays(from, to, options);
  if (steps) return runSteps(engine, steps, options);
  return runSync(engine, verbOf(from, to, options, true, true), options);
}

/** Each step is looked at again: what is not as the plan has it is left. */
function applyVerb(plan: ReadPlan, waited: boolean): Verb<Transfer, Action> {
  const { from, to, options, verb, actions } = plan;
  return transferVerb(from, to, options, verb === "sync", waited, { steps: actions });
}

function applyBothWays(plan: ReadPlan): Steps<Transfer, Action> | undefined {
  const { from, to, options, twoWay, state, actions } = plan;
  return twoWay && twoWayPlanSteps(from, to, { ...options, twoWay }, transferVerb, actions, state);
}

/**
 * Does what a dry run said, and only that: the awaited result of one, or the JSON that
 * `copse sync --dry-run --json` prints. Steps may be taken out of it.
 *
 * ```ts
 * const plan = await sync("site", "/backup/site", { dryRun: true });
 * const { errors } = await apply(plan);
 * ```
 *
 * Each step is looked at again: where the source or the destination is not what it was, nothing is
 * done and an `error` row says `CHANGED`. `ARGUMENT` for what is no plan.
 */
export function apply(plan: Plan, options: ApplyOptions = {}): Task<Transfer, Action> {
  checkOptions(options);
  const read = readPlan(plan, options);
  const engine = engineOf(options.runtime);
  const steps = applyBothWays(read);
  if (steps) return new StepsTask(engine, steps, options);
  return new NativeTask(engine, applyVerb(read, false), options);
}

/** `apply`, on this thread until it is done. */
export function applySync(plan: Plan, options: ApplyOptions = {}): Transfer {
  checkOptions(options);
  const read = readPlan(plan, options);
  const engine = engineOf(options.runtime);
  const steps = applyBothWays(read);
  if (steps) return runSteps(engine, steps, options);
  return runSync(engine, applyVerb(read, true), options);
}
