// What only copse pack is told: who signs, what looks into files, and standard output.

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { CopseError, type PackOptions, type PackPlugin, type SignOptions } from "../index.ts";
import type { Flags } from "./args.ts";
import { firstLine } from "./place.ts";
import { OutputClosed, printBytes } from "./print.ts";
import { isTerminal } from "./terminal.ts";

export async function packOptionsFrom(
  flags: Flags,
): Promise<Pick<PackOptions, "sign" | "plugins">> {
  const { sign, signPasswordFile, plugin } = flags;
  const options: Pick<PackOptions, "sign" | "plugins"> = {};
  if (typeof sign === "string") options.sign = signOf(sign, signPasswordFile);
  else if (signPasswordFile !== undefined)
    throw new CopseError(
      "ARGUMENT",
      "--sign-password-file: opens the key of --sign, which is not given",
    );
  // args.ts gathers them.
  if (Array.isArray(plugin)) options.plugins = (await Promise.all(plugin.map(pluginsIn))).flat();
  return options;
}

function signOf(key: string, passwordFile: unknown): SignOptions {
  if (typeof passwordFile !== "string") return { key };
  return { key, password: firstLine("signPasswordFile", passwordFile) };
}

/** What a module exports as its default: a plugin, or several. The library looks at each. */
async function pluginsIn(path: string): Promise<PackPlugin[]> {
  const wrong = (sentence: string, cause?: unknown): CopseError =>
    new CopseError("ARGUMENT", `--plugin: ${sentence}`, { location: path, cause });
  const file = resolve(path);
  if (!existsSync(file)) throw wrong("there is no such file");
  let module: { default?: unknown };
  try {
    module = (await import(pathToFileURL(file).href)) as { default?: unknown };
  } catch (cause) {
    throw wrong(`it cannot be loaded: ${cause instanceof Error ? cause.message : cause}`, cause);
  }
  const { default: found } = module;
  if (typeof found !== "object" || found === null) throw wrong("its default export is no plugin");
  return (Array.isArray(found) ? found : [found]) as PackPlugin[];
}

/** The pack goes to standard output, as fast as it is read there. */
export async function outputStream(): Promise<WritableStream<Uint8Array>> {
  if (await isTerminal(1))
    throw new CopseError("ARGUMENT", "a pack is nothing for a terminal: send it somewhere with >");
  return new WritableStream({
    async write(bytes) {
      try {
        await printBytes(bytes);
      } catch (error) {
        // Of a report the beginning is something; of a pack it is nothing.
        if (!(error instanceof OutputClosed)) throw error;
        throw new CopseError("IO", "standard output was closed before the pack was whole");
      }
    },
  });
}
