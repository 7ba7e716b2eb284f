// What a scan must say, found without any cleverness: every directory is held against every pattern by
// recursion, names by regular expressions.

import type { FilePattern, Pattern } from "../lib/index.ts";
import type { Random } from "./trees.ts";

/** Directories hold directories; a file is null. */
export type Model = Map<string, Model | null>;

const special = /[.+^$()|\\]/;

/** Globs of the kinds that random patterns use: `*`, `?`, `[ab]`, `[!a]`, `{a,b}`. */
function expression(glob: string): RegExp {
  let text = "";
  for (let i = 0, braces = 0; i < glob.length; i++) {
    const c = glob[i]!;
    const close = c === "[" ? glob.indexOf("]", i + 2) : -1;
    if (c === "*") text += "[^]*";
    else if (c === "?") text += "[^]";
    else if (close > 0) {
      text += glob.slice(i, close + 1).replace("[!", "[^");
      i = close;
    } else if (c === "{") [text, braces] = [`${text}(?:`, braces + 1];
    else if (c === "}" && braces > 0) [text, braces] = [`${text})`, braces - 1];
    else if (c === "," && braces > 0) text += "|";
    else text += special.test(c) || c === "[" ? `\\${c}` : c;
  }
  return new RegExp(`^(?:${text})$`, "u");
}

const expressions = new Map<string, RegExp>();

export function fits(glob: string, name: string): boolean {
  let regexp = expressions.get(glob);
  if (!regexp) expressions.set(glob, (regexp = expression(glob)));
  return regexp.test(name);
}

function fileFits(piece: string | FilePattern, files: readonly string[], least: number): boolean {
  const { name, count = {} } = typeof piece === "string" ? { name: piece } : piece;
  const found = files.filter((file) => fits(name, file)).length;
  return found >= (count.min ?? (count.max === 0 ? 0 : least)) && found <= (count.max ?? Infinity);
}

/** Whether a directory of this name fits. */
export function matches(pattern: Pattern, name: string, directory: Model): boolean {
  if (pattern.name && !fits(pattern.name, name)) return false;
  const files = [...directory].flatMap(([file, inside]) => (inside ? [] : [file]));
  const inside = (wanted: Pattern, least: number): boolean => {
    const { count = {} } = wanted;
    const found = [...directory].filter(([child, at]) => at && matches(wanted, child, at)).length;
    return (
      found >= (count.min ?? (count.max === 0 ? 0 : least)) && found <= (count.max ?? Infinity)
    );
  };
  return (
    (pattern.files ?? []).every((piece) => fileFits(piece, files, 1)) &&
    (pattern.optionalFiles ?? []).every((piece) => fileFits(piece, files, 0)) &&
    !(pattern.forbidden ?? []).some((glob) =>
      [...directory.keys()].some((one) => fits(glob, one)),
    ) &&
    (pattern.directories ?? []).every((one) => inside(one, 1)) &&
    (pattern.optionalDirectories ?? []).every((one) => inside(one, 0))
  );
}

/** `path|pattern number` of all matches, sorted by path, then by number. */
export function expected(root: Model, rootName: string, patterns: readonly Pattern[]): string[] {
  const found: [string, number][] = [];
  const look = (path: string, name: string, directory: Model): void => {
    for (const [i, pattern] of patterns.entries())
      if (matches(pattern, name, directory)) found.push([path, i]);
    for (const [child, inside] of directory)
      if (inside) look(path === "" ? child : `${path}/${child}`, child, inside);
  };
  look("", rootName, root);
  return found
    .toSorted(([a, i], [b, k]) => (a === b ? i - k : a < b ? -1 : 1))
    .map(([path, i]) => `${path}|${i}`);
}

// ── Random ones, over alphabets so small that names meet ──

const letters = ["a", "b", "aa", "ab", "ba", ".a", "b.c"];
const globs = [
  "a",
  "b",
  "*",
  "a*",
  "*b",
  "?",
  "??",
  "[ab]",
  "[!a]*",
  "{a,b}",
  "{a*,.a}",
  ".*",
  "*.c",
];
/** What pathvein 0.9.0 understands as we do. */
const plainGlobs = globs.filter((glob) => !glob.includes("{"));

export function randomModel(random: Random, levels = 4): Model {
  const directory: Model = new Map();
  for (let n = random.below(5); n > 0; n--) {
    const name = random.pick(letters);
    const isFile = levels === 0 || random.chance(2);
    directory.set(name, isFile ? null : randomModel(random, levels - 1));
  }
  return directory;
}

export function randomPattern(random: Random, plain = false, levels = 3, top = true): Pattern {
  const from = plain ? plainGlobs : globs;
  const pick = (most: number): string[] =>
    Array.from({ length: random.below(most + 1) }, () => random.pick(from));
  const bound = () =>
    random.pick([{ min: 2 }, { max: 1 }, { min: 1, max: 2 }, { max: 0 }, { min: 0, max: 1 }]);
  const files = (): (string | FilePattern)[] =>
    pick(2).map((name) => (!plain && random.chance(5) ? { name, count: bound() } : name));
  const children = (): Pattern[] =>
    levels === 0
      ? []
      : Array.from({ length: random.below(3) }, () =>
          randomPattern(random, plain, levels - 1, false),
        );
  return {
    ...(random.chance(4) ? {} : { name: random.pick(from) }),
    files: files(),
    ...(random.chance(2) ? { directories: children() } : {}),
    ...(random.chance(3) ? { optionalFiles: files() } : {}),
    ...(random.chance(3) ? { optionalDirectories: children() } : {}),
    ...(!plain && random.chance(5) ? { forbidden: pick(2) } : {}),
    ...(!plain && !top && random.chance(5) ? { count: bound() } : {}),
  };
}

/** Paths below a root: `a/b/` is a directory, `a/c` a file. */
export function pathsOf(model: Model, above = ""): string[] {
  const paths: string[] = [];
  for (const [name, inside] of model) {
    paths.push(inside ? `${above}${name}/` : `${above}${name}`);
    if (inside) paths.push(...pathsOf(inside, `${above}${name}/`));
  }
  return paths;
}
