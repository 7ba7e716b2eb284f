import { basename, resolve } from "node:path";
import { argumentError, CopseError, showValue } from "./errors.ts";
import { globSet } from "./globs.ts";
import { listVerb } from "./list.ts";
import { parseLocation } from "./location.ts";
import { planOf } from "./pattern.ts";
import { checkOptions } from "./check.ts";
import { engineOf } from "./runtime.ts";
import { locationBelow, membersVerb } from "./scan.ts";
import { runSteps, StepsTask, type Steps } from "./steps.ts";
import { copyVerb } from "./sync.ts";
import type {
  Action,
  CopyOptions,
  Failure,
  Found,
  Location,
  Match,
  Named,
  ScanResult,
  ShuffleOptions,
  Task,
  Transfer,
} from "./types.ts";

type To = Location | ((match: Match) => Location);

/** One match on its way. */
interface Move {
  readonly match: Match;
  readonly to: Location;
  /** What rows call the destination. */
  readonly shown: string;
}

const join = (above: string, name: string): string =>
  above === "" ? name : name === "" ? above : `${above}/${name}`;

const escaped = (name: string): string => name.replace(/[\\*?[\]{}!,]/g, "\\$&");

function textOf(location: Location): string {
  const { scheme, path, shown } = parseLocation(location);
  return scheme === "file" ? resolve(path) : shown;
}

const nameOf = ({ path, location }: Match): string =>
  basename(path === "" ? textOf(location) : path);

function failure(path: string, error: CopseError): Failure {
  return { kind: "error", path, error };
}

/** Where each match goes; clashes are settled by the order of paths, never by who comes first. */
function* moves(
  matches: Iterable<Match>,
  to: To,
  { onConflict = "error", structured = false }: ShuffleOptions,
): Generator<Move | Action> {
  const sorted = [...matches]
    .map((match) => ({ match, from: textOf(match.location) }))
    .toSorted((left, right) => Buffer.compare(Buffer.from(left.from), Buffer.from(right.from)));
  const all = sorted.map(({ match }): Move => {
    if (typeof to === "function") {
      const location = to(match);
      return { match, to: location, shown: textOf(location) };
    }
    const shown = structured ? match.path : nameOf(match);
    return { match, to: locationBelow(to, shown), shown };
  });
  const groups = Map.groupBy(all, (move) => textOf(move.to));
  for (const group of groups.values()) {
    const [first, ...others] = group;
    if (others.length === 0 || !first) {
      if (first) yield first;
      continue;
    }
    if (onConflict === "error") {
      for (const { match, shown } of group)
        yield failure(
          shown,
          new CopseError(
            "EXISTS",
            `${group.length} matches would go there; say onConflict: "suffix", "skip" or "keep-structure"`,
            { location: textOf(match.location) },
          ),
        );
      continue;
    }
    if (onConflict !== "keep-structure" || typeof to === "function") yield first;
    let suffix = 1;
    for (const move of onConflict === "keep-structure" ? group : others) {
      if (onConflict === "skip") {
        yield { kind: "skipped", path: move.shown, reason: "exists" };
      } else if (onConflict === "keep-structure" && typeof to !== "function") {
        yield { match: move.match, to: locationBelow(to, move.match.path), shown: move.match.path };
      } else if (move !== first) {
        // A name that no other match has.
        let location: Location;
        do location = suffixed(move.to, ++suffix);
        while (groups.has(textOf(location)));
        yield { match: move.match, to: location, shown: `${move.shown}-${suffix}` };
      }
    }
  }
}

function suffixed(location: Location, number: number): Location {
  if (typeof location === "string") return `${location.replace(/\/+$/, "")}-${number}`;
  if (location instanceof URL) return new URL(`${location.href.replace(/\/+$/, "")}-${number}`);
  throw argumentError("to", "must give paths or URLs where names are to get a suffix");
}

const counted = [
  "files",
  "bytes",
  "errors",
  "copied",
  "created",
  "updated",
  "renamed",
  "skipped",
  "deleted",
  "kept",
  "transferred",
  "saved",
  "retries",
  "linked",
  "resumed",
  "planned",
  "verified",
] as const;

type Listing = { readonly verb: (waited: boolean) => ReturnType<typeof listVerb> };
type Shuffling = Steps<Transfer, Action>;

/** Which directories of a match belong to it, and which globs their files have. */
function* members(
  match: Match,
  options: CopyOptions,
): Generator<
  { verb: (waited: boolean) => ReturnType<typeof membersVerb> },
  Map<string, Set<string>>,
  unknown
> {
  const plan = planOf(match.pattern, true);
  const nodes = plan.nodes.map((_, i) => ({ name: String(i) }));
  const { signal, runtime, links } = options;
  const walk = { ...(signal && { signal }), ...(runtime && { runtime }), ...(links && { links }) };
  const rows = (yield {
    verb: (waited) => membersVerb(match.location, plan, nodes, walk, waited),
  }) as ScanResult; // of the verb above
  const [failed] = rows.errors;
  if (failed) throw failed.error;
  const fits = Map.groupBy(rows, ({ path }) => path);
  const belongs = new Map<string, Set<number>>();
  const globs = new Map<string, Set<string>>();
  for (const path of [...fits.keys()].toSorted((a, b) => a.length - b.length)) {
    const above = belongs.get(path.slice(0, Math.max(0, path.lastIndexOf("/"))));
    const mine = new Set<number>();
    for (const { pattern } of fits.get(path) ?? []) {
      const node = Number(pattern.name);
      const asked =
        path === ""
          ? node === plan.roots[0]?.node
          : [...(above ?? [])].some((one) =>
              plan.nodes[one]?.directories.some((piece) => piece.node === node),
            );
      if (asked) mine.add(node);
    }
    if (mine.size === 0) continue;
    belongs.set(path, mine);
    globs.set(
      path,
      new Set([...mine].flatMap((node) => plan.nodes[node]?.files.map(({ name }) => name) ?? [])),
    );
  }
  return globs;
}

function* shuffled(matches: Iterable<Match>, to: To, options: ShuffleOptions): Shuffling {
  const began = performance.now();
  const { onConflict: _, structured: __, onProgress: ___, ...copying } = options;
  const totals = Object.fromEntries(counted.map((name) => [name, 0])) as Record<
    (typeof counted)[number],
    number
  >;
  const phases = { copy: 0, moves: 0, delete: 0 };
  const ways = { clone: 0, copyRange: 0, splice: 0, sendfile: 0 };
  let complete = true;
  for (const move of moves(matches, to, options)) {
    if ("kind" in move) {
      if (move.kind === "error") [complete, totals.errors] = [false, totals.errors + 1];
      if (move.kind === "skipped") totals.skipped++;
      yield { part: move };
      continue;
    }
    try {
      if (options.overwrite === undefined && (yield* isThere(move.to)))
        throw new CopseError(
          "EXISTS",
          'the destination is there already; say overwrite: "different" to merge into it',
          { location: textOf(move.to) },
        );
      for (const [path, globs] of yield* members(move.match, copying)) {
        const from = locationBelow(move.match.location, path);
        const filter = yield* selection(from, globs);
        const into = locationBelow(move.to, path);
        const done = (yield {
          verb: (waited) => copyVerb(from, into, { ...copying, ...filter }, waited),
        }) as Transfer; // of the verb above
        for (const name of counted) totals[name] += done[name];
        complete &&= done.complete;
        phases.copy += done.phases.copy;
        for (const way of ["clone", "copyRange", "splice", "sendfile"] as const)
          ways[way] += done.ways[way];
        const above = join(move.shown, path);
        for (const action of done.actions)
          yield { part: { ...action, path: join(above, action.path) } };
      }
    } catch (error) {
      if (!(error instanceof CopseError)) throw error;
      complete = false;
      totals.errors++;
      yield { part: failure(move.shown, error) };
    }
  }
  return (actions) => {
    const milliseconds = performance.now() - began;
    const rate = milliseconds > 0 ? Math.round((totals.transferred * 1000) / milliseconds) : 0;
    return { complete, ...totals, milliseconds, rate, phases, ways, actions };
  };
}

function* isThere(to: Location): Generator<Listing, boolean, unknown> {
  try {
    yield { verb: (waited: boolean) => listVerb(parseLocation(to), { maxDepth: 1 }, waited) };
    return true;
  } catch (error) {
    if (error instanceof CopseError && error.code === "NOT_FOUND") return false;
    throw error;
  }
}

/** Only the files of one directory that its globs name, and nothing below it. */
function* selection(
  from: Location,
  globs: ReadonlySet<string>,
): Generator<Listing, { include?: string[]; exclude: string[] }, unknown> {
  const found = (yield {
    verb: (waited: boolean) => listVerb(parseLocation(from), { maxDepth: 1 }, waited),
  }) as Found<Named>; // of the verb above
  const [failed] = found.errors;
  if (failed) throw failed.error;
  const names = found.filter(({ type }) => type !== "directory").map(({ path }) => path);
  using set = globSet([...globs], { kind: "name" });
  const fits = set.test(names);
  const chosen = names.filter((_, i) => fits[i]);
  if (chosen.length === 0) return { exclude: ["*"] };
  if (chosen.length === names.length) return { exclude: ["*/"] };
  return { include: chosen.map(escaped), exclude: ["*/"] };
}

const conflicts = ["error", "skip", "suffix", "keep-structure"];

function checked(matches: Iterable<Match>, to: To, options: ShuffleOptions): Shuffling {
  checkOptions(options);
  const { onConflict, structured, include, exclude } = options as ShuffleOptions & CopyOptions;
  if (onConflict !== undefined && !conflicts.includes(onConflict))
    throw argumentError(
      "onConflict",
      `must be one of ${conflicts.join(", ")}, not ${showValue(onConflict)}`,
    );
  if (structured !== undefined && typeof structured !== "boolean")
    throw argumentError("structured", `must be true or false, not ${showValue(structured)}`);
  if (include ?? exclude)
    throw argumentError("options", "have no include and exclude: the pattern says what is copied");
  if (typeof to !== "function") parseLocation(to);
  if (typeof matches !== "object" || matches === null || !(Symbol.iterator in matches))
    throw argumentError("matches", "must be matches of a scan: await it first");
  const all = [...matches];
  for (const match of all)
    if (match?.kind !== "match")
      throw argumentError("matches", `must hold matches, not ${showValue(match)}`);
  return shuffled(all, to, options);
}

/**
 * Copies each match to a place of its own: below one location by name, or where a function says.
 * Only what belongs to the pattern is copied: files that fit its globs, required and optional, and
 * directories that fit it, as deep as it goes.
 *
 * ```ts
 * const { copied, errors } = await shuffle(await scan("data", subject), "sorted");
 * ```
 *
 * A destination that is there already, or that two matches have, is an `EXISTS` row; the rest goes
 * on.
 */
export function shuffle(
  matches: Iterable<Match>,
  to: To,
  options: ShuffleOptions = {},
): Task<Transfer, Action> {
  return new StepsTask(engineOf(options.runtime), checked(matches, to, options), options);
}

/** `shuffle`, on this thread until it is done. */
export function shuffleSync(
  matches: Iterable<Match>,
  to: To,
  options: ShuffleOptions = {},
): Transfer {
  return runSteps(engineOf(options.runtime), checked(matches, to, options), options);
}
