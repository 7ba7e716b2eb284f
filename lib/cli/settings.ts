// Whether anything is set beside the command line: most runs end here, and config.ts is not loaded.

import type { Flags } from "./args.ts";
import { filesInForce } from "./config-files.ts";
import type { CommandShape } from "./commands.ts";

/** The flags of a command with what is set beside the command line. */
export async function settledFlags(
  name: CommandShape["name"],
  places: readonly string[],
  flags: Flags,
): Promise<Flags> {
  const { config, profile, ...given } = flags;
  const isSet =
    profile !== undefined ||
    typeof config === "string" ||
    Object.keys(process.env).some((name) => /^COPSE_(?!(LIB|IO)$)/.test(name)) ||
    (config !== false && filesInForce(undefined).length > 0);
  if (!isSet) return given;
  return (await import("./config.ts")).withSettings(name, places, flags);
}
