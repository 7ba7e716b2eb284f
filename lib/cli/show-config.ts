// copse config: what is set and from where, and whether files are good.

import { CopseError, type Interruption } from "../index.ts";
import type { Flags } from "./args.ts";
import { checkFile, everyProfile, hintOfProfile, loadSettings, shown } from "./config.ts";
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
  } else await print(linesOf(rows));
  return problems.length === 0 ? status.equal : status.trouble;
}

interface Row {
  readonly key: string;
  readonly value: unknown;
  readonly origin: string;
}

function linesOf(rows: readonly Row[]): string[] {
  const [left, middle] = (["key", "value"] as const).map((name) =>
    Math.max(...rows.map((row) => text(row[name]).length)),
  );
  return rows.map(
    ({ key, value, origin }) =>
      `${key.padEnd(left!)}  ${text(value).padEnd(middle!)}  ${escapeText(origin)}\n`,
  );
}

/** copse profiles: which there are, and what one of them sets. */
export async function runProfiles(
  what: string,
  name: string | undefined,
  flags: Flags,
  interruption: Interruption,
): Promise<number> {
  try {
    const { profiles, problems } = everyProfile(flags);
    for (const problem of problems) complain(escapeText(problem));
    const all = [...profiles].map(([profile, values]) => ({
      name: profile,
      settings: [...values].map(([key, one]): Row => {
        const origin = one.origin === `profile ${profile}` ? "built in" : one.origin;
        return { key, value: shown(one), origin };
      }),
    }));
    if ((what === "show") !== (name !== undefined))
      throw new CopseError("ARGUMENT", "say: profiles list, or: profiles show NAME");
    const wanted = name === undefined ? all : all.filter((one) => one.name === name);
    if (wanted.length === 0)
      throw new CopseError(
        "ARGUMENT",
        `there is no profile ${name}${hintOfProfile(name ?? "", [...profiles.keys()])}`,
      );
    if (flags["json"]) await print([`${toJson({ problems, profiles: wanted })}\n`]);
    else if (what === "show") await print(linesOf(wanted.flatMap(({ settings }) => settings)));
    else await print(wanted.map((one) => `${escapeText(one.name)}\n`));
    return problems.length === 0 ? status.equal : status.trouble;
  } catch (error) {
    return fail(error, flags, interruption);
  }
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
