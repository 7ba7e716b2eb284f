// copse config: what is set and from where, and whether files are good.

import type { Interruption } from "../index.ts";
import type { Flags } from "./args.ts";
import { checkFile, loadSettings, shown } from "./config.ts";
import { escapeText } from "./escape.ts";
import { fail } from "./failure.ts";
import { toJson } from "./json.ts";
import { idOf, keys } from "./keys.ts";
import { complain, print } from "./print.ts";
import { status } from "./status.ts";

export async function runConfig(
  what: string,
  file: string | undefined,
  flags: Flags,
  interruption: Interruption,
): Promise<number> {
  try {
    return what === "show" ? await show(file, flags) : await validate(file, flags);
  } catch (error) {
    return fail(error, flags, interruption);
  }
}

async function show(file: string | undefined, flags: Flags): Promise<number> {
  const { files, profile, settings, problems } = loadSettings(
    file === undefined ? flags : { ...flags, config: file },
  );
  for (const problem of problems) complain(escapeText(problem));
  const rows = keys.map((key) => {
    const id = idOf(key);
    const setting = settings.get(id);
    return setting
      ? { key: id, value: shown(setting), origin: setting.origin }
      : { key: id, value: key.builtIn, origin: "built in" };
  });
  if (flags["json"]) {
    await print([
      `${toJson({ ok: problems.length === 0, files, profile, problems, settings: rows })}\n`,
    ]);
  } else {
    const [left, middle] = (["key", "value"] as const).map((name) =>
      Math.max(...rows.map((row) => text(row[name]).length)),
    );
    const lines = rows.map(
      ({ key, value, origin }) =>
        `${key.padEnd(left!)}  ${text(value).padEnd(middle!)}  ${escapeText(origin)}\n`,
    );
    await print(lines);
  }
  return problems.length === 0 ? status.equal : status.trouble;
}

async function validate(file: string | undefined, flags: Flags): Promise<number> {
  const { files, problems } =
    file === undefined ? everything(flags) : { files: [{ path: file }], problems: checkFile(file) };
  if (flags["json"]) {
    const paths = files.map(({ path }) => path);
    await print([`${toJson({ ok: problems.length === 0, files: paths, problems })}\n`]);
  } else {
    for (const problem of problems) complain(escapeText(problem));
    if (problems.length === 0)
      await print(
        files.length > 0
          ? files.map(({ path }) => `${escapeText(path)}: good\n`)
          : ["no configuration file is read here\n"],
      );
  }
  return problems.length === 0 ? status.equal : status.trouble;
}

/** The files in force with all their profiles, and the environment. */
function everything(flags: Flags): { files: readonly { path: string }[]; problems: string[] } {
  const { files, problems } = loadSettings(flags);
  const ofProfiles = files.flatMap(({ path, level }) => checkFile(path, level));
  return { files, problems: [...new Set([...problems, ...ofProfiles])] };
}

function text(value: unknown): string {
  return escapeText(typeof value === "string" ? value : JSON.stringify(value));
}
