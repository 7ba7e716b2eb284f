import { parseLocation } from "./location.ts";
import { Done } from "./native/abi.ts";
import { planOf, type Plan } from "./pattern.ts";
import { decodeScan } from "./rows.ts";
import { byNumber } from "./sort.ts";
import { checkOptions } from "./check.ts";
import { scanRequest, Scope } from "./request.ts";
import { engineOf } from "./runtime.ts";
import { NativeTask, runSync, type Ending, type PartOrder, type Verb } from "./task.ts";
import type {
  Failure,
  Location,
  Match,
  NearMiss,
  Pattern,
  ScanOptions,
  ScanResult,
  Task,
} from "./types.ts";

export type Part = Match | NearMiss | Failure;

/** Of the whole: nearest first, by path, and in the order of the patterns. */
function orderOf({ roots }: Plan, explains: boolean): PartOrder<Part> {
  const numbers = new Map(roots.map(({ pattern }, i) => [pattern, i]));
  const numberOf = (row: Part): number =>
    "pattern" in row ? (numbers.get(row.pattern) ?? 0) : numbers.size;
  const distanceOf = (row: Part): number => ("distance" in row ? row.distance : 0);
  return byNumber<Part>(
    explains ? (left, right) => distanceOf(left) - distanceOf(right) : undefined,
    roots.length > 1 ? (left, right) => numberOf(left) - numberOf(right) : undefined,
  );
}

/** Of rows in order. */
function result(rows: Part[], ending: Ending, explains: boolean): ScanResult {
  const isPlain = ending.errors === 0 && !explains; // then all of them are matches
  const matches = isPlain ? rows : rows.filter(({ kind }) => kind === "match");
  const complete = ending.errors === 0 && (ending.flags & Done.INCOMPLETE) === 0;
  return Object.defineProperties(matches as unknown as ScanResult, {
    // Not enumerable: an array is printed and compared by its entries.
    errors: { value: ending.errors > 0 ? rows.filter(({ kind }) => kind === "error") : [] },
    nearMisses: { value: explains ? rows.filter(({ kind }) => kind === "near-miss") : [] },
    complete: { value: complete },
  });
}

function joined(above: string, path: string): string {
  return `${above.replace(/\/+$/, "")}/${path}`;
}

function inUrl(url: URL, path: string): URL {
  const below = new URL(url);
  below.pathname = joined(url.pathname, path.replaceAll("%", "%25"));
  return below;
}

function inText(text: string, path: string): string {
  if (/^(pack|archive):/i.test(text))
    return text.includes("#") ? joined(text, path) : `${text}#${path}`;
  return /^[a-z][a-z0-9+.-]+:\//i.test(text) ? inUrl(new URL(text), path).href : joined(text, path);
}

/** The location of what is at a path below a root. */
export function locationBelow(root: Location, path: string): Location {
  // What a snapshot shows is where it was taken.
  if (typeof root === "object" && Symbol.dispose in root) return locationBelow(root.root, path);
  if (path === "") return root;
  if (typeof root === "string") return inText(root, path);
  if (root instanceof URL) return inUrl(root, path);
  if ("url" in root) {
    const { url } = root;
    return {
      ...root,
      url: typeof url === "string" ? inText(url, path) : inUrl(url, path),
    } as Location;
  }
  if ("archive" in root) return { ...root, path: root.path ? joined(root.path, path) : path };
  return root;
}

function verbOf(
  request: Uint8Array,
  plan: Plan,
  root: Location,
  explains: boolean,
): Verb<ScanResult, Part> {
  return {
    request,
    decode: (buffer, rows, heapAt) =>
      decodeScan(buffer, rows, heapAt, plan, (path) => locationBelow(root, path)),
    order: orderOf(plan, explains),
    whole: (rows, ending) => result(rows, ending, explains),
  };
}

/** For the verbs that are made of scans, too. */
export function scanVerb(
  root: Location,
  plan: Plan,
  scope: number,
  options: ScanOptions,
  waited: boolean,
  path = "",
): Verb<ScanResult, Part> {
  const request = scanRequest(parseLocation(root), plan, scope, options, waited, path);
  return verbOf(request, plan, root, options.explain === true);
}

/** For shuffle: a row for each node of each directory that belongs to it, `patterns` naming nodes. */
export function membersVerb(
  root: Location,
  plan: Plan,
  patterns: readonly Pattern[],
  options: ScanOptions,
  waited: boolean,
): Verb<ScanResult, Part> {
  const request = scanRequest(parseLocation(root), plan, Scope.MEMBERS, options, waited, "");
  const roots = patterns.map((pattern, node) => ({ node, pattern }));
  return verbOf(request, { nodes: plan.nodes, roots }, root, options.explain === true);
}

function verbFor(
  root: Location,
  patterns: Pattern | readonly Pattern[],
  options: ScanOptions,
  waited: boolean,
): Verb<ScanResult, Part> {
  checkOptions(options);
  return scanVerb(root, planOf(patterns, false), Scope.EVERYWHERE, options, waited);
}

/**
 * Every directory below a location, itself included, that fits one of the patterns.
 *
 * ```ts
 * const sessions = await scan("data", { name: "ses-*", files: ["*.nii.gz"] });
 * for await (const row of scan("data", patterns, { explain: true })) console.log(row.kind, row.path);
 * ```
 *
 * Awaited: sorted by the bytes of the path, then in the order of the patterns. Iterated: as they
 * are found.
 */
export function scan(
  root: Location,
  patterns: Pattern | readonly Pattern[],
  options: ScanOptions & { explain: true },
): Task<ScanResult, Match | NearMiss | Failure>;
export function scan(
  root: Location,
  patterns: Pattern | readonly Pattern[],
  options?: ScanOptions,
): Task<ScanResult, Match | Failure>;
export function scan(
  root: Location,
  patterns: Pattern | readonly Pattern[],
  options: ScanOptions = {},
): Task<ScanResult, Match | Failure> {
  const verb = verbFor(root, patterns, options, false);
  // Near misses come when they are asked for, and the first signature says so then.
  return new NativeTask(
    engineOf(options.runtime),
    verb as Verb<ScanResult, Match | Failure>,
    options,
  );
}

/** `scan`, on this thread until the answer is there. */
export function scanSync(
  root: Location,
  patterns: Pattern | readonly Pattern[],
  options: ScanOptions = {},
): ScanResult {
  const verb = verbFor(root, patterns, options, true);
  return runSync(engineOf(options.runtime), verb, options);
}
