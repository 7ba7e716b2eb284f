// What is set beside the command line: files, the environment and profiles, read once and laid over one
// another. keys.ts says what can be set. The library reads none of it.
//
// Later ones win: the system's file, the user's, the project's, one that was named; then the profile,
// then the environment. The command line wins over all.

import { existsSync, readFileSync, statSync } from "node:fs";
import { CopseError } from "../index.ts";
import type { Flags } from "./args.ts";
import { filesInForce, type ConfigFile, type Level } from "./config-files.ts";
import { commands, type CommandShape } from "./commands.ts";
import { nameOf } from "./flags.ts";
import { flagOf, idOf, keys, later, profiles, sectionNames, shortNames, type Key } from "./keys.ts";
import { concerns } from "./place.ts";
import { placesOfPlan, planIn } from "./plan.ts";

/** A value, as it was written and as its flag has it; undefined: as when nothing is said. */
export interface Setting {
  readonly key: Key;
  readonly written: unknown;
  readonly value: unknown;
  /** `copse.toml:3`, `profile wan`, or the name of a variable. */
  readonly origin: string;
}

/** All that is set, by the names of keys: `defaults.workers`. */
export interface Settings {
  readonly files: readonly ConfigFile[];
  readonly profile: string | undefined;
  readonly settings: ReadonlyMap<string, Setting>;
  /** What cannot be used, one sentence for each. */
  readonly problems: readonly string[];
}

/** As it is shown to people: nobody may read over a shoulder what a URL has in it. */
export function shown({ written }: Setting): unknown {
  if (typeof written !== "string") return written;
  return written.replace(/(:\/\/[^/?#@:]*):[^/?#]*@/, "$1:***@");
}

const fileBytesMax = 1 << 20;

const known: ReadonlyMap<string, Key> = new Map(keys.map((key) => [idOf(key), key]));

/** The flags of a command as they are in force. Throws the first thing that is wrong. */
export function withSettings(
  name: CommandShape["name"],
  places: readonly string[],
  flags: Flags,
): Flags {
  const { config: _, profile: __, ...given } = flags;
  const { settings, problems } = loadSettings(flags);
  const [first, ...others] = problems;
  if (first !== undefined) {
    const more = others.length > 0 ? ` (and ${others.length} more: copse config validate)` : "";
    throw new CopseError("ARGUMENT", `${first}${more}`);
  }
  if (settings.size === 0) return given;
  const groups = commands.find((command) => command.name === name)?.groups ?? {};
  const own = new Set(Object.values(groups).flat().map(nameOf));
  const all: Record<string, unknown> = { ...given };
  // What a plan is about stands in it.
  const about = name === "apply" ? placesOfPlan(planIn(places[0]!)) : places;
  for (const [flag, value] of valuesOf(settings, name))
    if (own.has(flag) && given[flag] === undefined && concerns(flag, name, about, all))
      all[flag] = value;
  return all;
}

/** What the settings say to a command, by flags. */
function valuesOf(settings: Settings["settings"], name: string): Map<string, unknown> {
  const values = new Map<string, unknown>();
  const parts = new Map<string, Set<string>>();
  for (const key of keys) {
    const setting = settings.get(idOf(key));
    if (key.part) {
      const [part, isIn] = key.part;
      const list = parts.get(key.flag) ?? new Set();
      if (setting?.value ?? isIn) list.add(part);
      parts.set(key.flag, list);
      if (setting) values.set(key.flag, list);
    } else if (setting?.value !== undefined && (key.commands?.includes(name as never) ?? true)) {
      values.set(key.flag, setting.value);
    }
  }
  for (const [flag, list] of parts) if (values.has(flag)) values.set(flag, [...list]);
  return values;
}

// ── Reading ──

/** Everything that is set, for a command line with these flags. */
export function loadSettings(flags: Flags, environment: NodeJS.ProcessEnv = process.env): Settings {
  const problems: string[] = [];
  const files = flags["config"] === false ? [] : filesInForce(flags["config"], environment);
  const read = files.map((file) => readConfig(file, problems));
  const settings = new Map<string, Setting>();
  for (const { values } of read) for (const one of values) settings.set(idOf(one.key), one);
  const chosen = profileInForce(flags["profile"], environment, read, problems);
  if (chosen)
    for (const one of profileValues(chosen, read, problems)) settings.set(idOf(one.key), one);
  for (const one of fromEnvironment(environment, problems)) settings.set(idOf(one.key), one);
  return { files, profile: chosen?.name, settings, problems };
}

/** Every profile there is, those of files too, with what each sets. */
export function everyProfile(
  flags: Flags,
  environment: NodeJS.ProcessEnv = process.env,
): {
  readonly profiles: ReadonlyMap<string, ReadonlyMap<string, Setting>>;
  readonly problems: readonly string[];
} {
  const problems: string[] = [];
  const files = flags["config"] === false ? [] : filesInForce(flags["config"], environment);
  const read = files.map((file) => readConfig(file, problems));
  const valuesIn = (name: string): ReadonlyMap<string, Setting> =>
    new Map(
      profileValues({ name, origin: name }, read, problems).map((one) => [idOf(one.key), one]),
    );
  return {
    profiles: new Map(profileNames(read).map((name) => [name, valuesIn(name)] as const)),
    problems,
  };
}

function profileNames(read: readonly Read[]): readonly string[] {
  return [
    ...new Set([...Object.keys(profiles), ...read.flatMap((one) => [...one.profiles.keys()])]),
  ];
}

/** "; did you mean …?", or which there are. */
export function hintOfProfile(name: string, names: readonly string[]): string {
  return hinted(meant(name, names) ?? `there are ${names.join(", ")}`);
}

/** What is wrong with a file and all its profiles; `copse.toml` is a project's. */
export function checkFile(
  path: string,
  level: Level = /(^|\/)copse\.toml$/.test(path) ? "project" : "named",
): readonly string[] {
  const problems: string[] = [];
  if (!existsSync(path)) return [`${path}: there is no such file`];
  const read = readConfig({ path, level }, problems);
  for (const name of read.profiles.keys()) profileValues({ name, origin: path }, [read], problems);
  return problems;
}

interface Profile {
  readonly name: string;
  readonly origin: string;
}

/** What one file says. */
interface Read {
  readonly file: ConfigFile;
  readonly text: string;
  readonly values: readonly Setting[];
  readonly profile: Profile | undefined;
  /** Tables, not looked into yet. */
  readonly profiles: ReadonlyMap<string, object>;
}

type Table = Readonly<Record<string, unknown>>;

function isTable(value: unknown): value is Table {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function readConfig(file: ConfigFile, problems: string[]): Read {
  const none = { file, text: "", values: [], profile: undefined, profiles: new Map() };
  let text: string;
  let document: Table;
  try {
    text = textOf(file);
  } catch (error) {
    problems.push(`${file.path}: ${(error as Error).message}`);
    return none;
  }
  try {
    // Bun's types say object; a document is always a table.
    document = Bun.TOML.parse(text) as Table;
  } catch (error) {
    const why = (error as Error).message.replace(/^TOML Parse error: /, "");
    problems.push(`${file.path}:${lineOfMistake(text)}: ${why}`);
    return none;
  }
  const values: Setting[] = [];
  const ownProfiles = new Map<string, object>();
  let profile: Profile | undefined;
  const at = (path: readonly string[]): string => placeOf(file.path, text, path);
  for (const [section, table] of Object.entries(document)) {
    if (section === "profiles" && isTable(table)) {
      for (const [name, own] of Object.entries(table))
        if (isTable(own)) ownProfiles.set(name, own);
        else problems.push(`${at(["profiles", name])}: write [profiles.${name}] with keys below`);
    } else if (isTable(table) && (sectionNames.includes(section) || later.has(section))) {
      for (const [name, value] of Object.entries(table)) {
        const path = [section, name];
        if (section !== "defaults" || name !== "profile") {
          const setting = settingOf(path, value, at(path), file.level, problems);
          if (setting) values.push(setting);
        } else if (typeof value === "string") {
          profile = value === "auto" ? undefined : { name: value, origin: at(path) };
        } else problems.push(`${at(path)}: defaults.profile: give the name of a profile`);
      }
    } else {
      const inDefaults = known.has(`defaults.${section}`) || section === "profile";
      const hint = inDefaults ? "write it below [defaults]" : meant(section, sectionNames);
      problems.push(`${at([section])}: ${section}: there is no such section${hinted(hint)}`);
    }
  }
  return { file, text, values, profile, profiles: ownProfiles };
}

function textOf({ path, level }: ConfigFile): string {
  const { size, uid, mode } = statSync(path);
  if ((mode & 0o170000) !== 0o100000) throw new Error("is no regular file");
  if (size > fileBytesMax) throw new Error(`has more than ${fileBytesMax} bytes`);
  // Whoever can write into a directory above could say here what is left out.
  const own = process.geteuid?.();
  if (level === "project" && own !== undefined && uid !== own && uid !== 0)
    throw new Error("belongs to somebody else; --config takes it all the same, --no-config not");
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(path));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Error(/^E[A-Z0-9]+$/.test(code ?? "") ? `cannot be read (${code})` : "is not UTF-8", {
      cause: error,
    });
  }
}

// ── One value ──

function settingOf(
  path: readonly string[],
  written: unknown,
  origin: string,
  level: Level | "environment" | "built-in",
  problems: string[],
): Setting | undefined {
  const id = path.join(".");
  const key = known.get(id);
  const say = (sentence: string): undefined => void problems.push(`${origin}: ${id}: ${sentence}`);
  if (!key) {
    if (later.has(id) || later.has(path[0] ?? ""))
      return say("this version has nothing it could set; take it out");
    const names = keys.map(idOf);
    const [section = ""] = path;
    // A name of another section is meant only when it is the very name.
    const elsewhere = keys.find(({ name }) => name === path[1]);
    const hint = elsewhere ? idOf(elsewhere) : meant(id, names, `${section}.`);
    return say(`there is no such key${hinted(hint)}`);
  }
  if (key.trusted && level === "project")
    return say("a project's file may not set this; write it in your own, or use --config");
  try {
    return { key, written, value: valueOf(key, written), origin };
  } catch (error) {
    return say((error as Error).message);
  }
}

/** From what is written to what the flag would hold. Throws a sentence. */
function valueOf(key: Key, written: unknown): unknown {
  const { list, open, words, between, part } = key;
  if (list) {
    const texts = Array.isArray(written) ? written : [written];
    if (texts.some((text) => typeof text !== "string" || text === ""))
      throw new Error("give a list of texts");
    const { parse } = flagOf(key);
    return texts.reduce<unknown>((before, text) => parse?.(text, before), undefined) ?? [];
  }
  if (open?.includes(written as string)) return undefined; // includes() compares whatever it is
  if (words) {
    const word = String(written);
    if (typeof written === "object" || !Object.hasOwn(words, word))
      throw new Error(`give one of ${Object.keys(words).join(", ")}`);
    return words[word];
  }
  const { flags, values, parse } = flagOf(key);
  const takes = part ? "nothing" : /<.*>/.test(flags) ? "a value" : /\[/.test(flags) ? "or" : "";
  if (typeof written === "boolean" && takes !== "a value") return written;
  if (takes === "nothing" || takes === "") throw new Error("give true or false");
  if (typeof written !== "string" && typeof written !== "number")
    throw new Error("give a text or a number");
  if (/<time>/.test(flags) && typeof written === "number")
    throw new Error("say the unit, such as 30s");
  const text = String(written);
  if (text === "" || /[\0\r\n]/.test(text)) throw new Error("must not be empty, nor two lines");
  if (values && !values.includes(text)) throw new Error(`give one of ${values.join(", ")}`);
  const value = parse ? parse(text, undefined) : text;
  if (between && typeof value === "number" && (value < between[0] || value > between[1]))
    throw new Error(`must be from ${between[0]} to ${between[1]}, not ${text}`);
  return value;
}

// ── Profiles ──

function profileInForce(
  flag: unknown,
  environment: NodeJS.ProcessEnv,
  read: readonly Read[],
  problems: string[],
): Profile | undefined {
  const variable = environment["COPSE_PROFILE"];
  const chosen =
    typeof flag === "string"
      ? { name: flag, origin: "--profile" }
      : variable
        ? { name: variable, origin: "COPSE_PROFILE" }
        : read.findLast(({ profile }) => profile)?.profile;
  if (!chosen || chosen.name === "auto") return undefined;
  const names = profileNames(read);
  if (names.includes(chosen.name)) return chosen;
  const hint = hintOfProfile(chosen.name, names);
  problems.push(`${chosen.origin}: there is no profile ${chosen.name}${hint}`);
  return undefined;
}

/** Its keys are those of [defaults]; tables below it are other sections. */
function profileValues(
  { name }: Profile,
  read: readonly Read[],
  problems: string[],
): readonly Setting[] {
  const origin = `profile ${name}`;
  const builtIn = Object.entries((Object.hasOwn(profiles, name) && profiles[name]) || {});
  const values = builtIn
    .filter(([key]) => known.has(`defaults.${key}`)) // or it is one for later
    .map(([key, value]) => settingOf(["defaults", key], value, origin, "built-in", problems));
  for (const { file, text, profiles: own } of read)
    for (const [key, value] of Object.entries(own.get(name) ?? {})) {
      const path = ["profiles", name, key];
      if (isTable(value) && sectionNames.includes(key))
        for (const [inner, one] of Object.entries(value)) {
          const at = placeOf(file.path, text, [...path, inner]);
          values.push(settingOf([key, inner], one, at, file.level, problems));
        }
      else {
        const at = placeOf(file.path, text, path);
        values.push(settingOf(["defaults", key], value, at, file.level, problems));
      }
    }
  return values.filter((value) => value !== undefined);
}

// ── The environment ──

function variableOf(id: string): string {
  return `COPSE_${id.replace(".", "_").toUpperCase()}`;
}

const variables: ReadonlyMap<string, Key> = new Map([
  ...[...shortNames].map(([name, id]) => [name, known.get(id)!] as const), // test/config.test.ts asks
  ...keys.map((key) => [variableOf(idOf(key)), key] as const),
]);
const sectionPrefix = new RegExp(`^COPSE_(${sectionNames.join("|")})_`, "i");

function fromEnvironment(environment: NodeJS.ProcessEnv, problems: string[]): Setting[] {
  const found: Setting[] = [];
  for (const [name, key] of variables) {
    const text = environment[name];
    if (!text) continue;
    const setting = settingOf(
      [key.section, key.name],
      fromText(key, text),
      name,
      "environment",
      problems,
    );
    if (setting) found.push(setting);
  }
  for (const name of Object.keys(environment)) {
    if (!sectionPrefix.test(name) || variables.has(name)) continue;
    // It may be what --credential reads: COPSE_HTTP_EXAMPLE_COM. Nothing is called defaults, and
    // nearly a long name of ours is no accident.
    const isOurs = name.startsWith("COPSE_DEFAULTS_");
    if ([...later].some((id) => variableOf(id) === name)) {
      problems.push(`${name}: this version has nothing it could set; take it out`);
      continue;
    }
    const long = [...variables.keys()].filter((other) => isOurs || other.length > 15);
    const hint = meant(name, long, "", isOurs ? undefined : 2);
    if (isOurs || hint) problems.push(`${name}: there is no such key${hinted(hint)}`);
  }
  return found;
}

/** What a variable says as a file would: it has only text. */
function fromText(key: Key, text: string): unknown {
  // Commas inside braces belong to a glob.
  if (key.list) return text.split(/,(?![^{]*\})/);
  if (/^(true|false)$/.test(text)) return text === "true";
  const isSwitch = key.part || !/[<[]/.test(flagOf(key).flags);
  if (isSwitch && !key.words && /^[01]$/.test(text)) return text === "1";
  return text === "0" && key.open?.includes(0) ? 0 : text;
}

// ── Where something stands, and what was meant ──

const header = /^\s*\[\s*([^[\]]+?)\s*\]/;
const assignment = /^\s*((?:"[^"]*"|'[^']*'|[\w-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[\w-]+))*)\s*=/;

/** `FILE:LINE`, of the nearest thing around it where it has no line of its own. */
function placeOf(file: string, text: string, path: readonly string[]): string {
  const lines = new Map<string, number>();
  let table = "";
  for (const [at, line] of text.split("\n").entries()) {
    const inTable = header.exec(line)?.[1];
    const key = assignment.exec(line)?.[1];
    if (inTable !== undefined) table = plain(inTable);
    const full = key === undefined ? table : table ? `${table}.${plain(key)}` : plain(key);
    if ((inTable ?? key) !== undefined && !lines.has(full)) lines.set(full, at + 1);
  }
  for (let length = path.length; length > 0; length--) {
    const line = lines.get(path.slice(0, length).join("."));
    if (line !== undefined) return `${file}:${line}`;
  }
  return file;
}

/** A dotted key without quotes and spaces. */
function plain(key: string): string {
  return key.replace(/\s*\.\s*/g, ".").replace(/["']/g, "");
}

/** The parser does not say: what stands after the longest beginning that is good. */
function lineOfMistake(text: string): number {
  const lines = text.split("\n");
  for (let count = lines.length; count > 0; count--)
    try {
      Bun.TOML.parse(lines.slice(0, count).join("\n"));
      return count + 1;
    } catch {
      // It is in what stands before.
    }
  return 1;
}

function hinted(hint: string | undefined): string {
  if (hint === undefined) return "";
  return hint.includes(" ") ? `; ${hint}` : `; did you mean ${hint}?`;
}

/** The nearest name, if any is near; rather one that begins the same way. */
function meant(
  name: string,
  names: readonly string[],
  prefix = "",
  most = mistakesIn(name.length - prefix.length),
): string | undefined {
  const own = names.filter((other) => other.startsWith(prefix));
  const near = own
    .map((other) => ({ other, far: distance(name, other) }))
    .toSorted((left, right) => left.far - right.far)[0];
  return near && near.far <= most ? near.other : undefined;
}

/** How many a name of this length may have and still be known. */
function mistakesIn(length: number): number {
  return length < 3 ? 1 : Math.max(2, Math.floor(length / 3));
}

/** Insertions, removals and replacements from one text to the other. */
function distance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, at) => at);
  for (let i = 1; i <= left.length; i++) {
    const next = [i];
    for (let j = 1; j <= right.length; j++)
      next[j] = Math.min(
        row[j]! + 1,
        next[j - 1]! + 1,
        row[j - 1]! + (left[i - 1] === right[j - 1] ? 0 : 1),
      );
    row = next;
  }
  return row[right.length]!;
}
