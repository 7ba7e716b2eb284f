// From flags to the options of the API: the names are the same, so this only sorts them.

import { Runtime, type Options, type RuntimeOptions } from "../index.ts";
import type { Flags } from "./args.ts";
import type { Interruption } from "../signals.ts";
import type { Log } from "./log.ts";
import { placeFlags } from "./place.ts";

const runtimeFlags = ["workers", "ioWorkers", "io", "memory"] as const;
const outputFlags: readonly string[] = [
  "quiet",
  "json",
  "jsonl",
  "null",
  "verbose",
  "long",
  "human",
  "recursive",
];

/** Options for the verb, with everything the library checks itself. */
export function optionsFrom(flags: Flags, interruption: Interruption, log: Log): Options {
  const options: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(flags)) {
    const isRuntime = runtimeFlags.some((flag) => flag === name);
    const isElse = outputFlags.includes(name) || placeFlags.includes(name);
    if (!isRuntime && !isElse) options[name] = value;
  }
  // Whatever else was said about depth, in a configuration perhaps.
  if (flags["recursive"] === true) options["maxDepth"] = Infinity;
  log.say(2, `options ${JSON.stringify(options)}`);
  return { ...options, signal: interruption.signal, ...runtimeFrom(flags, log) };
}

/** A runtime of its own only when a flag shapes it. */
function runtimeFrom(flags: Flags, log: Log): { runtime?: Runtime } {
  const given: Record<string, unknown> = {};
  for (const name of runtimeFlags) if (flags[name] !== undefined) given[name] = flags[name];
  if (Object.keys(given).length === 0) return {};
  log.say(2, `runtime ${JSON.stringify(given)}`);
  // args.ts has parsed each by commands.ts; the library checks the ranges.
  return { runtime: new Runtime({ ...Runtime.forCli(), ...(given as RuntimeOptions) }) };
}
