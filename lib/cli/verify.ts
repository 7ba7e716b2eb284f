// copse verify: whether everything in a pack or archive is as it was written.

import { CopseError, verify, type Check, type Verification, type VerifyOptions } from "../index.ts";
import type { Interruption } from "../signals.ts";
import type { Flags } from "./args.ts";
import { escapeLocation, escapeName, escapeText } from "./escape.ts";
import { inFrame, type Frame } from "./frame.ts";
import { documentJson, rowToJson, toJson } from "./json.ts";
import { inFull } from "./place.ts";
import { print } from "./print.ts";
import { status } from "./status.ts";
import { showBytes, showCounted, showDuration } from "./units.ts";

export async function runVerify(
  location: string,
  flags: Flags,
  interruption: Interruption,
): Promise<number> {
  let isDamaged = false;
  const code = await inFrame(flags, interruption, async (frame) => {
    try {
      return await check(location, frame);
    } catch (error) {
      isDamaged = error instanceof CopseError && error.code === "CORRUPT";
      throw error;
    }
  });
  // A file that is no whole pack any more is damage as well.
  return isDamaged && code === status.trouble ? status.different : code;
}

async function check(location: string, frame: Frame): Promise<number> {
  const { flags } = frame;
  const options: VerifyOptions = frame.options();
  frame.log.say(1, `verifying ${escapeLocation(location)}`);
  const [place] = await frame.places(inFull(location, flags));
  const task = verify(place, options);
  let corrupt = 0;
  const look = (rows: readonly Check[]): void => {
    for (const row of rows) {
      corrupt += Number(row.kind === "corrupt");
      frame.seen = Math.max(frame.seen, statusOf(row));
    }
  };
  if (flags["jsonl"]) {
    for await (const rows of task.batches()) {
      look(rows);
      await print(rows.map((row) => `${rowToJson(row)}\n`));
    }
  }
  const found = await task;
  const { checks, ...totals } = found;
  frame.done(totals);
  look(checks);
  if (!found.ok) frame.seen = Math.max(frame.seen, status.different);
  const isUnsigned = options.key !== undefined && found.signed === undefined;
  // Damage is the answer that was asked for, whatever else could not be read.
  if (corrupt > 0 || isUnsigned) frame.seen = status.different;
  if (flags["quiet"] === true) return frame.seen;
  if (flags["jsonl"]) await print([`${toJson({ kind: "summary", ...totals, corrupt })}\n`]);
  else if (flags["json"]) await print(documentJson({ ...totals, corrupt }, "checks", checks));
  else await print(lines(found, corrupt, location));
  return frame.seen;
}

function statusOf({ kind }: Check): number {
  if (kind === "intact") return status.equal;
  return kind === "error" ? status.trouble : status.different;
}

function* lines(found: Verification, corrupt: number, location: string): Generator<string> {
  for (const row of found.checks) {
    // What belongs to no file is of the pack itself.
    const name = escapeName(row.path, row.pathBytes) || escapeLocation(location);
    if (row.kind === "error") yield `! ${escapeText(row.error.message)}  ${row.error.code}\n`;
    if (row.kind === "signature") yield `x ${escapeText(row.reason)}\n`;
    if (row.kind !== "corrupt") continue;
    const chunk = row.chunk === undefined ? "" : `chunk ${row.chunk}, `;
    yield `x ${name}  ${chunk}${escapeText(row.reason)}\n`;
  }
  const whole = found.signed === undefined ? "intact" : "intact and signed";
  const isOther = corrupt === 0 && found.checks.some(({ kind }) => kind === "signature");
  const verdict = found.ok
    ? whole
    : isOther
      ? "not signed with this key"
      : corrupt === 0
        ? "not all could be read"
        : `${showCounted(corrupt, "file")} damaged`;
  const errors = found.errors > 0 ? ` · ${showCounted(found.errors, "error")}` : "";
  yield `${verdict}${errors} · ${showCounted(found.files, "file")}, ${showBytes(found.bytes)} read in ${showDuration(found.milliseconds)}\n`;
}
