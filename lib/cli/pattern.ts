// copse pattern infer: a pattern that a directory fits, as a file that -p takes.

import { inferPattern } from "../index.ts";
import type { Flags } from "./args.ts";
import { escapeJson } from "./escape.ts";
import { fail } from "./failure.ts";
import type { Interruption } from "../signals.ts";
import { startLog } from "./log.ts";
import { optionsFrom } from "./options.ts";
import { print } from "./print.ts";
import { status } from "./status.ts";

export async function runPattern(
  _infer: string,
  directory: string,
  flags: Flags,
  interruption: Interruption,
): Promise<number> {
  try {
    const options = optionsFrom(flags, interruption, startLog(flags["verbose"]));
    const pattern = await inferPattern(directory, options);
    const lines = JSON.stringify(pattern, null, 2).split("\n");
    await print(lines.map((line) => `${escapeJson(line)}\n`));
    return status.equal;
  } catch (error) {
    return fail(error, flags, interruption);
  }
}
