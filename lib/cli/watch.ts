// copse watch: a line for each change below a directory, until it is interrupted.

import { watch, type WatchEvent, type WatchOptions } from "../index.ts";
import type { Flags } from "./args.ts";
import { escapeName, escapeText } from "./escape.ts";
import { fail } from "./failure.ts";
import type { Interruption } from "../signals.ts";
import { errorFields, toJson } from "./json.ts";
import { startLog } from "./log.ts";
import { optionsFrom } from "./options.ts";
import { complain, print } from "./print.ts";
import { patternsFrom, withoutPattern } from "./scan.ts";
import { status } from "./status.ts";

export async function runWatch(
  root: string,
  flags: Flags,
  interruption: Interruption,
): Promise<number> {
  try {
    const names = flags["pattern"] ? await patternsFrom(flags) : new Map<object, string>();
    const options: WatchOptions = optionsFrom(
      withoutPattern(flags),
      interruption,
      startLog(flags["verbose"]),
    );
    for await (const event of watch(root, [...names.keys()], options)) {
      const pattern = "pattern" in event ? names.get(event.pattern) : undefined;
      if (flags["jsonl"]) {
        const error = event.kind === "error" ? { error: errorFields(event.error) } : {};
        await print([`${toJson({ ...event, ...(pattern && { pattern }), ...error })}\n`]);
      } else if (event.kind === "error") complain(escapeText(event.error.message));
      else await print([`${lineOf(event, pattern)}\n`]);
    }
    return interruption.status ?? status.equal;
  } catch (error) {
    return fail(error, flags, interruption);
  }
}

function lineOf(
  event: Exclude<WatchEvent, { kind: "error" }>,
  pattern: string | undefined,
): string {
  if (event.kind === "rescan") return "rescan";
  const path = event.path === "" ? "." : escapeName(event.path);
  const slash = "type" in event && event.type === "directory" ? "/" : "";
  return `${event.kind.padEnd(9)}  ${path}${slash}${pattern ? `  ${escapeName(pattern)}` : ""}`;
}
