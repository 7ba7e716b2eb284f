// Plans: what a dry run says of itself, read again from a file that anybody may have written, and, both
// ways, held against what is decided when it is applied.

import { resolve } from "node:path";
import { argumentError, CopseError, showValue } from "./errors.ts";
import { parseLocation, type Place } from "./location.ts";
import { checkFields } from "./check.ts";
import { bytesOfPath, type Row } from "./request-steps.ts";
import type {
  Action,
  ApplyOptions,
  Location,
  Plan,
  PlanHead,
  PlanOptions,
  SyncOptions,
  TwoWayOptions,
} from "./types.ts";

const planOptions = [
  "by",
  "overwrite",
  "preserve",
  "specialBits",
  "hardLinks",
  "moves",
  "delete",
  "maxDelete",
  "force",
  "include",
  "exclude",
  "links",
] as const satisfies readonly (keyof PlanOptions)[];

/** Where it is, whatever the working directory will be. */
function shownOf({ scheme, path, shown, inner }: Place): string {
  if (scheme === "crypt" && inner) return `crypt:${shownOf(inner)}`;
  return scheme === "file" && !inner && shown === path ? resolve(path) : shown;
}

/** What a plan says of itself. `twoWay`: with what all of it is. */
export function planHead(
  verb: PlanHead["verb"],
  from: Place,
  to: Place,
  options: SyncOptions,
  twoWay?: TwoWayOptions,
): PlanHead {
  const kept = planOptions.filter((name) => options[name] !== undefined);
  const said = kept.map((name) => [name, options[name] === Infinity ? undefined : options[name]]);
  return {
    version: 1,
    verb,
    from: shownOf(from),
    to: shownOf(to),
    options: { ...(Object.fromEntries(said) as PlanOptions), ...(twoWay && { twoWay }) }, // of the names above
  };
}

function textOf(name: string, value: unknown): string {
  if (typeof value !== "string" || value === "")
    throw argumentError(name, `must be a location, not ${showValue(value)}`);
  return value;
}

function placeOf(name: "from" | "to", given: Location | undefined, said: unknown): Place {
  const place = parseLocation(given ?? textOf(`plan.plan.${name}`, said));
  if (place.scheme === "crypt" && !place.fields?.length) {
    const what = name === "to" ? "destination" : "source";
    throw argumentError(
      name,
      `is missing: the plan's ${what} is compressed or encrypted, and a plan holds no keys`,
    );
  }
  return place;
}

/** A plan that is to be applied. */
export interface ReadPlan {
  readonly verb: PlanHead["verb"];
  readonly from: Place;
  readonly to: Place;
  /** The plan's and the caller's; each is checked as any option is. */
  readonly options: SyncOptions;
  readonly actions: readonly unknown[];
  /** What it says of both ways, unchecked; absent: it is one way. */
  readonly twoWay?: object;
  /** The state that the caller names. */
  readonly state: string | undefined;
}

/** A plan comes from a file that anybody may have written: everything is looked at. */
export function readPlan(plan: Plan, options: ApplyOptions): ReadPlan {
  if (typeof plan !== "object" || plan === null || Array.isArray(plan))
    throw argumentError("plan", `must be an object, not ${showValue(plan)}`);
  const { plan: head, actions } = plan as { plan?: unknown; actions?: unknown };
  checkFields("plan.plan", head, ["version", "verb", "from", "to", "options"]);
  const { version, verb, from, to, options: said = {} } = head as { [name: string]: unknown };
  if (version !== 1) throw argumentError("plan.plan.version", `is ${showValue(version)}, not 1`);
  if (verb !== "copy" && verb !== "sync")
    throw argumentError("plan.plan.verb", `must be copy or sync, not ${showValue(verb)}`);
  checkFields("plan.plan.options", said, [...planOptions, "twoWay"]);
  if (!Array.isArray(actions))
    throw argumentError("plan.actions", `must be an array, not ${showValue(actions)}`);
  const { from: source, to: target, state, ...rest } = options;
  for (const name of Object.keys(rest))
    if (name === "twoWay" || planOptions.some((known) => known === name))
      throw argumentError(name, "is said by the plan");
  const { twoWay = false, ...decided } = said as { twoWay?: unknown } & PlanOptions;
  if (twoWay !== false && (typeof twoWay !== "object" || twoWay === null || verb !== "sync"))
    throw argumentError("plan.plan.options.twoWay", `is ${showValue(twoWay)}`);
  if (twoWay === false && state !== undefined)
    throw argumentError("state", "is of a plan for both ways");
  return {
    verb,
    // Where it is only read, what is wrong with it shows there.
    from:
      twoWay === false
        ? parseLocation(source ?? textOf("plan.plan.from", from))
        : placeOf("from", source, from),
    to: placeOf("to", target, to),
    options: { ...decided, ...rest },
    actions,
    ...(twoWay === false ? {} : { twoWay }),
    state,
  };
}

// ── Both ways ──

interface Planned {
  readonly path: string;
  readonly pathBytes?: Uint8Array | undefined;
  /** What both sides were. */
  readonly seen: string;
  /** Of a conflict: the other version's path. */
  readonly as?: string | undefined;
  isMet: boolean;
}

/** What paths are told apart by, also those that are not UTF-8. */
export function keyOf({
  path,
  pathBytes,
}: {
  path: string;
  pathBytes?: Uint8Array | undefined;
}): string {
  return pathBytes ? `/${pathBytes.toHex()}` : path; // no path begins with a slash
}

function bytesIn(row: Row, field: string, name: string): Uint8Array | undefined {
  return bytesOfPath(`${name}.${field}`, row[`${field}Bytes`]);
}

function nameIn(row: Row, field: string, name: string): string {
  const text = row[field];
  if (typeof text !== "string")
    throw argumentError(`${name}.${field}`, `must be a path, not ${showValue(text)}`);
  return keyOf({ path: text, pathBytes: bytesIn(row, field, name) });
}

/** A directory's size and time follow what is in it. */
function seenIn(row: Row, fields: readonly string[]): string {
  return fields
    .map((field) => {
      const { type, size, mtime } = (row[field] ?? {}) as Row;
      return type === "directory" ? type : `${String(type)} ${String(size)} ${String(mtime)}`;
    })
    .join(", ");
}

const stepOf = (row: Row, name: string): string =>
  `${String(row["kind"])} ${String(row["to"])} ${name}`;
const bothSides = ["left", "right"];
const sourceAndTarget = ["source", "target"];

/** What a plan lets through of what is decided when it is applied. */
export class TwoWayPlan {
  /** What is done while it is decided: it is held against the plan there. */
  readonly atOnce: Row[] = [];
  readonly #conflicts = new Map<string, Planned>();
  readonly #steps = new Map<string, Planned>();

  constructor(actions: readonly unknown[]) {
    for (const [i, action] of actions.entries()) {
      const name = `plan.actions[${i}]`;
      if (typeof action !== "object" || action === null)
        throw argumentError(name, `must be an object, not ${showValue(action)}`);
      this.#add(action as Row, name); // its fields are looked at one by one
    }
  }

  #add(row: Row, name: string): void {
    const { kind, to, path } = row;
    if (kind === "error" || kind === "skipped") return;
    const own = nameIn(row, "path", name);
    if (kind === "renamed") {
      // What it is decided as; `sync` finds the rename again.
      const { source, target, from, fromBytes } = row;
      this.#add({ ...row, kind: "copied", source, target: undefined }, name);
      this.#add({ kind: "deleted", to, path: from, pathBytes: fromBytes, source: target }, name);
      return;
    }
    const isConflict = kind === "conflict";
    if (!isConflict && !["copied", "created", "updated", "deleted"].includes(String(kind)))
      throw argumentError(`${name}.kind`, `is ${showValue(kind)}`);
    const isDone = kind === "updated" && to === undefined;
    if (!isConflict && !isDone && to !== "left" && to !== "right")
      throw argumentError(`${name}.to`, `must be left or right, not ${showValue(to)}`);
    const [into, key] = isConflict ? [this.#conflicts, own] : [this.#steps, stepOf(row, own)];
    if (into.has(key)) throw argumentError(name, "is there twice");
    into.set(key, {
      path: String(path),
      pathBytes: bytesIn(row, "path", name),
      seen: seenIn(row, isConflict ? bothSides : sourceAndTarget),
      as: isConflict && row["as"] !== undefined ? nameIn(row, "as", name) : undefined,
      isMet: false,
    });
    if (isDone || (isConflict && row["as"] !== undefined)) this.atOnce.push(row);
  }

  /** Of what is decided now what the plan has, and an error for each of its steps that is not true any more. */
  allowed(decided: readonly Action[]): { readonly actions: Action[]; readonly errors: Action[] } {
    const errors: Action[] = [];
    const failed = new Set<string>();
    // The other version may have got another name than the plan had for it.
    const names = new Map<string, string>();
    for (const action of decided) {
      const row = action as unknown as Row;
      if (action.kind === "error") failed.add(nameIn(row, "path", ""));
      if (action.kind !== "conflict" || action.as === undefined) continue;
      const as = this.#conflicts.get(nameIn(row, "path", ""))?.as;
      if (as !== undefined) names.set(nameIn(row, "as", ""), as);
    }
    const actions = decided.filter((action) => {
      if (action.kind === "error" || action.kind === "skipped") return true;
      const row = action as unknown as Row;
      const own = nameIn(row, "path", "");
      const isConflict = action.kind === "conflict";
      const planned = isConflict
        ? this.#conflicts.get(own)
        : this.#steps.get(stepOf(row, names.get(own) ?? own));
      const isTrue = planned?.seen === seenIn(row, isConflict ? bothSides : sourceAndTarget);
      if (planned && isTrue) planned.isMet = true;
      return isTrue;
    });
    for (const step of this.#steps.values()) {
      if (step.isMet || failed.has(keyOf(step))) continue;
      const { path, pathBytes } = step;
      const sentence = "it is not any more what the plan has, and is left; make a new plan";
      const error = new CopseError("CHANGED", sentence, { path });
      errors.push({ kind: "error", path, ...(pathBytes && { pathBytes }), error });
    }
    return { actions, errors };
  }
}
