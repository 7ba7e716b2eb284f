import { resolve } from "node:path";
import { CopseError, showValue } from "./errors.ts";
import { globSet } from "./globs.ts";
import { parseLocation, type Place } from "./location.ts";
import { planOf, type Plan } from "./pattern.ts";
import { checkOptions } from "./check.ts";
import { Scope } from "./request.ts";
import { engineOf } from "./runtime.ts";
import { locationBelow, scanVerb } from "./scan.ts";
import { runSteps, StepsTask, type Steps } from "./steps.ts";
import type {
  Failure,
  Found,
  Location,
  Match,
  Pattern,
  ScanOptions,
  ScanResult,
  Task,
} from "./types.ts";

/** A directory above the file, and the patterns that would have the file where it is. */
interface Candidate {
  readonly location: Location;
  readonly patterns: readonly Pattern[];
}

/** Where a file is: a root, and the parts of its path below that. */
interface Above {
  readonly rootName: string;
  readonly parts: string[];
  locate(path: string): Location;
}

const split = (path: string): string[] => path.split("/").filter((part) => part !== "");

/** The name a scan of the root gives it: the last part of the innermost path that says anything. */
function nameOf(root: Location): string {
  for (let place: Place | undefined = parseLocation(root); place; place = place.inner) {
    const name = split(place.path).at(-1);
    if (name !== undefined) return name;
  }
  return "";
}

function inRoot(root: Location, path: string): Above {
  return {
    rootName: nameOf(root),
    parts: split(path),
    locate: (below) => locationBelow(root, below),
  };
}

function above(file: Location): Above {
  const { scheme, path } = parseLocation(file); // throws for what is no location
  const text = file instanceof URL ? file.href : file;
  if (typeof text === "string") {
    if (scheme === "file") {
      const whole = resolve(/^file:/i.test(text) ? Bun.fileURLToPath(text) : path);
      return { rootName: "", parts: split(whole), locate: (below) => `/${below}` };
    }
    if (scheme === "archive" || scheme === "pack") {
      const at = text.lastIndexOf("#");
      return inRoot(at < 0 ? text : text.slice(0, at), at < 0 ? "" : text.slice(at + 1));
    }
    // Of memory:NAME/path the name is the root, of scheme://host/path the host is.
    const [, before = "", rest = ""] =
      /^([a-z][a-z0-9+.-]*:\/\/[^/]*\/|[^:]*:[^/]*\/)(.*)$/i.exec(text) ?? [];
    return {
      rootName: before.replace(/^.*:/, "").replaceAll("/", ""),
      parts: split(rest),
      locate: (below) => `${before}${below}`,
    };
  }
  if ("archive" in text) {
    const { path: inner = "", ...root } = text;
    return inRoot(root, inner);
  }
  if ("url" in text) {
    const inner = above(text.url);
    // Where an archive is at a URL, `locate` gives a text, and the fields say how to reach it.
    return { ...inner, locate: (below) => ({ ...text, url: String(inner.locate(below)) }) };
  }
  throw new CopseError(
    "UNSUPPORTED",
    `assess takes the location of a file, with a path in it, not ${showValue(file)}`,
  );
}

/** Nearest first. */
function candidates(file: Location, plan: Plan): Candidate[] {
  const { rootName, parts, locate } = above(file);
  const name = parts.pop();
  if (name === undefined) return [];
  const { nodes, roots } = plan;
  const files = nodes.flatMap((node) => node.files.map((piece) => piece.name));
  const named = nodes.map((node) => node.name ?? "*");
  using fileGlobs = globSet([...files, "*"], { kind: "name" });
  using nameGlobs = globSet([...named, "*"], { kind: "name" });
  const fits = new Set(fileGlobs.match(name));
  let at = 0;
  // The nodes that would hold what is below the directory we are at.
  let holding = new Set<number>();
  for (const [i, node] of nodes.entries()) {
    if (node.files.some((_, k) => fits.has(at + k))) holding.add(i);
    at += node.files.length;
  }
  const found: Candidate[] = [];
  for (let depth = parts.length; holding.size > 0; depth--) {
    const path = parts.slice(0, depth).join("/");
    const own = parts[depth - 1] ?? rootName;
    const fitting = new Set(nameGlobs.match(own));
    const here = new Set([...holding].filter((node) => fitting.has(node)));
    const patterns = roots.filter(({ node }) => here.has(node)).map(({ pattern }) => pattern);
    if (patterns.length > 0) found.push({ location: locate(path), patterns });
    if (depth === 0) break;
    holding = new Set(
      nodes.flatMap(({ directories }, i) =>
        directories.some(({ node }) => here.has(node)) ? [i] : [],
      ),
    );
  }
  return found;
}

type Assessed = Steps<Found<Match>, Match | Failure>;

function* assessed(
  file: Location,
  patterns: Pattern | readonly Pattern[],
  options: ScanOptions,
): Assessed {
  const given = Array.isArray(patterns) ? (patterns as readonly Pattern[]) : [patterns as Pattern];
  let complete = true;
  for (const candidate of candidates(file, planOf(given, true))) {
    const plan = planOf(candidate.patterns, false);
    try {
      const verb = (waited: boolean) =>
        scanVerb(candidate.location, plan, Scope.ROOT, options, waited);
      const matches = (yield { verb }) as ScanResult; // of the verb above
      complete &&= matches.complete;
      for (const match of matches) yield { part: match };
      for (const failure of matches.errors) yield { part: failure };
    } catch (error) {
      if (!(error instanceof CopseError)) throw error;
      // A directory above that is not there holds nothing; one that is closed may.
      if (error.code === "NOT_FOUND") continue;
      complete = false;
      yield { part: { kind: "error", path: "", error } };
    }
  }
  return (parts) =>
    Object.defineProperties(parts.filter((row) => row.kind === "match") as Found<Match>, {
      errors: { value: parts.filter((row) => row.kind === "error") },
      complete: { value: complete },
    });
}

function checked(
  file: Location,
  patterns: Pattern | readonly Pattern[],
  options: ScanOptions,
): Assessed {
  checkOptions(options);
  // What is wrong with the arguments is said by the call.
  above(file);
  planOf(patterns, true);
  return assessed(file, patterns, options);
}

/**
 * The other way round: the directories above a file that fit a pattern in which the file has its
 * place. Nearest first; `location` names the directory, and `path` is `""`.
 *
 * ```ts
 * const [session] = await assess("data/sub-01/ses-1/anat/t1.nii.gz", patterns);
 * ```
 *
 * The file itself need not be there.
 */
export function assess(
  file: Location,
  patterns: Pattern | readonly Pattern[],
  options: ScanOptions = {},
): Task<Found<Match>, Match | Failure> {
  return new StepsTask(engineOf(options.runtime), checked(file, patterns, options), options);
}

/** `assess`, on this thread until the answer is there. */
export function assessSync(
  file: Location,
  patterns: Pattern | readonly Pattern[],
  options: ScanOptions = {},
): Found<Match> {
  return runSteps(engineOf(options.runtime), checked(file, patterns, options), options);
}
