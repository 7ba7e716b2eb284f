// Steps of a plan → record bytes. A plan comes from a file that anybody may have written.

import { whole } from "./check.ts";
import { argumentError, showValue } from "./errors.ts";
import { Key, RowKind, Step, Type } from "./native/abi.ts";
import type { Record } from "./native/record.ts";

const stepKinds: ReadonlyMap<string, number> = new Map([
  ["copied", RowKind.COPIED],
  ["created", RowKind.CREATED],
  ["updated", RowKind.UPDATED],
  ["renamed", RowKind.RENAMED],
  ["deleted", RowKind.DELETED],
  ["linked", RowKind.LINKED],
]);

const seenTypes: ReadonlyMap<unknown, number> = new Map<unknown, number>([
  ["file", Type.FILE],
  ["directory", Type.DIRECTORY],
  ["link", Type.LINK],
  ["other", Type.OTHER],
]);

interface SeenKeys {
  readonly size: number;
  readonly mtime: number;
}

/** One side of a step; gives its type. */
function putSeen(record: Record, name: string, seen: unknown, keys: SeenKeys): number {
  if (seen === undefined) return 0;
  if (typeof seen !== "object" || seen === null)
    throw argumentError(name, `must be an object, not ${showValue(seen)}`);
  const { type, size, mtime } = seen as { type?: unknown; size?: unknown; mtime?: unknown };
  const found = seenTypes.get(type);
  if (found === undefined) throw argumentError(`${name}.type`, `is ${showValue(type)}`);
  record.number(keys.size, whole(`${name}.size`, size, 0, Number.MAX_SAFE_INTEGER));
  if (mtime !== undefined) {
    if (typeof mtime !== "string" || !/^-?\d{1,19}$/.test(mtime))
      throw argumentError(`${name}.mtime`, `must be digits, not ${showValue(mtime)}`);
    record.integer(keys.mtime, BigInt(mtime));
  }
  return found;
}

/** The bytes of a path, in hex where they come from JSON; undefined: its text says all. */
export function bytesOfPath(name: string, bytes: unknown): Uint8Array | undefined {
  if (bytes === undefined || bytes instanceof Uint8Array) return bytes;
  if (typeof bytes === "string" && /^(?:[0-9a-f]{2})*$/i.test(bytes))
    return Uint8Array.fromHex(bytes);
  throw argumentError(`${name}Bytes`, `must be hex digits, not ${showValue(bytes)}`);
}

function putPath(record: Record, key: number, name: string, text: unknown, given: unknown): void {
  if (typeof text !== "string") throw argumentError(name, `must be a path, not ${showValue(text)}`);
  const bytes = bytesOfPath(name, given);
  if (bytes) record.bytes(key, bytes);
  else record.text(key, text);
}

/** A row that anybody may have written: each field is looked at. */
export interface Row {
  readonly [field: string]: unknown;
}

function putStep(
  record: Record,
  name: string,
  kind: number,
  step: Row,
  [first, second]: readonly [string, string],
): void {
  record.record(Key.STEP, (inner) => {
    putPath(inner, Step.PATH, `${name}.path`, step["path"], step["pathBytes"]);
    if (kind === RowKind.RENAMED || kind === RowKind.LINKED)
      putPath(inner, Step.FROM, `${name}.from`, step["from"], step["fromBytes"]);
    inner.number(Step.KIND, kind);
    const left = { size: Step.LEFT_SIZE, mtime: Step.LEFT_MTIME };
    const right = { size: Step.RIGHT_SIZE, mtime: Step.RIGHT_MTIME };
    const source = putSeen(inner, `${name}.${first}`, step[first], left);
    const target = putSeen(inner, `${name}.${second}`, step[second], right);
    if (source === 0) throw argumentError(`${name}.${first}`, "is missing: plans are dry runs");
    inner.number(Step.TYPES, source + target * 16);
  });
}

/** The steps of a plan, whoever wrote it. Rows that are no steps are left out. */
export function putSteps(record: Record, actions: readonly unknown[]): void {
  record.number(Key.HAS_PLAN, 1);
  for (const [i, action] of actions.entries()) {
    const name = `plan.actions[${i}]`;
    if (typeof action !== "object" || action === null)
      throw argumentError(name, `must be an object, not ${showValue(action)}`);
    const step = action as Row; // its fields are looked at one by one
    if (["skipped", "error", "conflict"].includes(String(step["kind"]))) continue;
    const kind = typeof step["kind"] === "string" ? stepKinds.get(step["kind"]) : undefined;
    if (kind === undefined) throw argumentError(`${name}.kind`, `is ${showValue(step["kind"])}`);
    putStep(record, name, kind, step, ["source", "target"]);
  }
}

/** Of a two-way plan what is done while it is decided. */
export function putDecided(record: Record, rows: readonly Row[]): void {
  record.number(Key.HAS_PLAN, 1);
  for (const row of rows)
    if (row["kind"] === "conflict")
      putStep(record, "plan.actions", RowKind.CONFLICT, row, ["left", "right"]);
    else putStep(record, "plan.actions", RowKind.UPDATED, row, ["source", "target"]);
}
