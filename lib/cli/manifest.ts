// copse manifest and copse compare-all: both hash whole trees.

import {
  compareAll,
  formatManifest,
  manifest,
  type CompareAllOptions,
  type ManifestFormat,
  type ManifestOptions,
} from "../index.ts";
import type { Interruption } from "../signals.ts";
import type { Flags } from "./args.ts";
import { escapeLocation } from "./escape.ts";
import { fail } from "./failure.ts";
import { toJson } from "./json.ts";
import { startLog } from "./log.ts";
import { optionsFrom } from "./options.ts";
import { placesFrom } from "./place.ts";
import { complain, print, printBytes } from "./print.ts";
import { status } from "./status.ts";

export async function runManifest(
  location: string,
  { format, ...flags }: Flags,
  interruption: Interruption,
): Promise<number> {
  try {
    const log = startLog(flags["verbose"]);
    // args.ts has looked at the format.
    const chosen = (format ?? "jsonl") as ManifestFormat;
    const options: ManifestOptions = optionsFrom(flags, interruption, log);
    if (chosen === "sha256") options.algorithm ??= "sha256";
    const [place] = await placesFrom([location], flags);
    const found = await manifest(place ?? location, options);
    const name = location.replace(/\/+$/, "").replace(/^.*\//, "");
    await printBytes(formatManifest(found, chosen, name));
    for (const { error } of found.errors) complain(error.message);
    return found.complete ? 0 : status.trouble;
  } catch (error) {
    return fail(error, flags, interruption);
  }
}

export async function runCompareAll(
  locations: readonly string[],
  flags: Flags,
  interruption: Interruption,
): Promise<number> {
  try {
    const log = startLog(flags["verbose"]);
    const options: CompareAllOptions = optionsFrom(flags, interruption, log);
    const result = await compareAll(await placesFrom(locations, flags), options);
    if (flags["json"]) await print([`${toJson(result)}\n`]);
    else if (!flags["quiet"]) {
      for (const [at, group] of result.groups.entries()) {
        const names = group.map((number) => `  ${escapeLocation(locations[number] ?? "")}\n`);
        await print([`${at + 1}\n`, ...names]);
      }
      for (const { error } of result.errors) complain(error.message);
    }
    if (!result.complete) return status.trouble;
    return result.equal ? status.equal : status.different;
  } catch (error) {
    return fail(error, flags, interruption);
  }
}
