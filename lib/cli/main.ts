#!/usr/bin/env bun
// The command: finds out what is asked, loads only what that needs, and sets the exit status.

import type { Asked, Flags } from "./args.ts";
import { fail } from "./failure.ts";
import { listenForSignals, type Interruption } from "../signals.ts";
import { complain, print, printUntil } from "./print.ts";
import { settledFlags } from "./settings.ts";
import { status } from "./status.ts";
import { isTerminal, paintFor } from "./terminal.ts";

async function main(args: readonly string[], interruption: Interruption): Promise<number> {
  // Found here rather than by commander, which would have to print the versions at once.
  if (args[0] === "--version" || args[0] === "-V")
    return (await import("./doctor.ts")).runVersion();
  const { parseArguments } = await import("./args.ts");
  const wantsHelp = args.length === 0 || args.includes("--help") || args.includes("-h");
  const paint = await paintFor(wantsHelp && (await isTerminal(1)));
  const asked = parseArguments(args.length === 0 ? ["--help"] : args, paint);
  switch (asked.kind) {
    case "help":
      await print([asked.text]);
      // Nothing was asked, so nothing was done.
      return args.length === 0 ? status.trouble : 0;
    case "wrong":
      complain(asked.message);
      complain(`try: copse ${asked.command ? `${asked.command} ` : ""}--help`);
      return status.trouble;
    case "run":
      return run(asked, interruption);
  }
}

async function run(
  { name, places, flags: given }: Extract<Asked, { kind: "run" }>,
  interruption: Interruption,
): Promise<number> {
  const [first = "", second = ""] = places;
  switch (name) {
    case "doctor":
      return (await import("./doctor.ts")).runDoctor(given);
    case "completion":
      return (await import("./completion.ts")).runCompletion(first);
    case "config":
      return (await import("./show-config.ts")).runConfig(first, places[1], given, interruption);
    case "profiles":
      return (await import("./show-config.ts")).runProfiles(first, places[1], given, interruption);
  }
  let flags: Flags;
  try {
    const { progress, ...settled } = await settledFlags(name, places, given);
    if (progress === false) (await import("./progress.ts")).hideProgress();
    flags = settled;
  } catch (error) {
    return fail(error, given, interruption);
  }
  switch (name) {
    case "compare":
      return (await import("./compare.ts")).runCompare(first, second, flags, interruption);
    case "list":
      return (await import("./list.ts")).runList(first, flags, interruption);
    case "compare-all":
      return (await import("./manifest.ts")).runCompareAll(places, flags, interruption);
    case "manifest":
      return (await import("./manifest.ts")).runManifest(first, flags, interruption);
    case "scan":
      return (await import("./scan.ts")).runScan(first, flags, interruption);
    case "assess":
      return (await import("./scan.ts")).runAssess(first, flags, interruption);
    case "shuffle":
      return (await import("./shuffle.ts")).runShuffle(first, second, flags, interruption);
    case "watch":
      return (await import("./watch.ts")).runWatch(first, flags, interruption);
    case "watch-sync":
      return (await import("./watch-sync.ts")).runWatchSync(first, second, flags, interruption);
    case "pattern":
      return (await import("./pattern.ts")).runPattern(first, second, flags, interruption);
    case "verify":
      return (await import("./verify.ts")).runVerify(first, flags, interruption);
    case "blocks":
      return (await import("./blocks.ts")).runBlocks(first, flags, interruption);
    case "cat":
      return (await import("./cat.ts")).runCat(first, second, flags, interruption);
    case "download":
      return (await import("./download.ts")).runDownload(places, flags, interruption);
    case "apply":
    case "copy":
    case "pack":
    case "repair":
    case "unpack":
    case "sync":
      return (await import("./copy.ts")).runCopy(name, first, second, flags, interruption);
  }
}

const interruption = listenForSignals({ name: "copse" });
printUntil(interruption.signal);
// No top-level await: `bun build --compile --bytecode` refuses it. All that was printed has been
// written when main ends, so leaving loses nothing, and waiting for the idle runtime to let go of the
// process would take longer than many a comparison.
main(process.argv.slice(2), interruption)
  .catch((error: unknown) => fail(error, {}, interruption))
  .then((code) => process.exit(code));
