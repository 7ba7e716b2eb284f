// watch: what changes below a directory, and which directories begin and cease to fit patterns.
//
// What the system tells is taken as a hint where to look, never as the truth: the directory that holds
// what was named is listed again and held against what was known of it. Of the patterns only the
// directories above it, as many levels as the deepest pattern has, and what is new are asked again.

import { statSync, watch as watchSystem, type FSWatcher, type Stats } from "node:fs";
import { resolve } from "node:path";
import { Notify } from "./async/gates.ts";
import { sleep } from "./async/sleep.ts";
import { CopseError, type ErrorDetails } from "./errors.ts";
import type { Place } from "./location.ts";
import { listPlaceNames } from "./list.ts";
import { planOf, type Plan } from "./pattern.ts";
import { checkOptions } from "./check.ts";
import { Scope } from "./request.ts";
import { engineOf } from "./runtime.ts";
import { scanVerb } from "./scan.ts";
import { NativeTask } from "./task.ts";
import type {
  EntryType,
  Failure,
  Location,
  Named,
  Pattern,
  ScanOptions,
  WatchEvent,
  Watcher,
  WatchOptions,
} from "./types.ts";
import { watchedPlace, Watching } from "./watching.ts";

const SETTLE_MS = 25; // changes come in bursts; they are looked at together
const HINTS_MAX = 10_000; // more in one burst than this is a fresh scan

const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf("/")));
const join = (above: string, name: string): string => (above === "" ? name : `${above}/${name}`);

function unwatchable(cause: NodeJS.ErrnoException, details: ErrorDetails): CopseError {
  const codes = {
    ENOENT: "NOT_FOUND",
    ENOTDIR: "NOT_FOUND",
    EACCES: "DENIED",
    ELOOP: "UNSAFE_PATH",
  } as const;
  const code = codes[cause.code as keyof typeof codes] ?? "LIMIT";
  const sentence = `it cannot be watched: ${cause.message}: check the path`;
  return new CopseError(code, sentence, { ...details, errno: cause.code, cause });
}

/** Levels of directories that a pattern says something about. */
function levelsOf({ nodes }: Plan): number {
  const levels: number[] = [];
  for (const { directories } of nodes)
    levels.push(1 + Math.max(0, ...directories.map(({ node }) => levels[node] ?? 0)));
  return Math.max(0, ...levels);
}

class DirectoryWatcher extends Watching<WatchEvent> implements Watcher {
  readonly #root: Location;
  readonly #place: Place;
  readonly #path: string;
  readonly #plan: Plan;
  readonly #options: ScanOptions;
  readonly #initial: boolean;
  #system: FSWatcher | undefined;
  /** Paths that something was said of; true: their content. */
  #hints = new Map<string, boolean>();
  #overflowed = false;
  #hinted = new Notify();
  /** What each directory holds. */
  #known = new Map<string, Map<string, EntryType>>();
  /** Numbers of the patterns that each directory fits. */
  #matches = new Map<string, Set<number>>();

  constructor(
    root: Location,
    patterns: Pattern | readonly Pattern[],
    { initial = false, signal, ...options }: WatchOptions,
  ) {
    super(signal);
    this.#root = root;
    this.#place = watchedPlace(root);
    this.#path = resolve(this.#place.path);
    this.#plan = planOf(patterns, false);
    this.#options = options;
    this.#initial = initial;
  }

  // ── What the system says ──

  #listen(): void {
    const details = { location: this.#place.shown };
    let found: Stats | undefined;
    try {
      found = statSync(this.#path, { throwIfNoEntry: false });
    } catch (cause) {
      throw unwatchable(cause as NodeJS.ErrnoException, details);
    }
    if (!found)
      throw new CopseError("NOT_FOUND", "no such file or directory: check the path", details);
    if (!found.isDirectory())
      throw new CopseError("ARGUMENT", "it is no directory; watch wants one", details);
    try {
      this.#system = watchSystem(this.#path, { recursive: true }, (event, name) => {
        if (name === null) this.#overflow();
        else this.#hint(String(name), event === "change");
      });
    } catch (cause) {
      throw unwatchable(cause as NodeJS.ErrnoException, details);
    }
    this.#system.on("error", () => this.#overflow());
  }

  #hint(path: string, isContent: boolean): void {
    if (this.#hints.size >= HINTS_MAX) {
      this.#overflow();
      return;
    }
    this.#hints.set(path, isContent || (this.#hints.get(path) ?? false));
    this.#hinted.one();
  }

  #overflow(): void {
    this.#overflowed = true;
    this.#hinted.one();
  }

  // ── Looking ──

  async #list(path: string, maxDepth: number): Promise<Named[]> {
    const found = await listPlaceNames(this.#place, path === "" ? {} : { path }, {
      ...withoutExplain(this.#options),
      maxDepth,
      sort: "none",
      signal: this.signal,
    });
    return found.filter((entry) => entry.path !== path);
  }

  /** Patterns that a directory fits; below it, too, with `Scope.EVERYWHERE`. */
  async #scan(
    path: string,
    scope: number,
  ): Promise<{ matches: Map<string, Set<number>>; errors: Failure[] }> {
    const matches = new Map<string, Set<number>>();
    if (this.#plan.roots.length === 0) return { matches, errors: [] };
    const options = { ...this.#options, signal: this.signal };
    const verb = scanVerb(this.#root, this.#plan, scope, options, false, path);
    const found = await new NativeTask(engineOf(options.runtime), verb, options);
    for (const match of found) {
      const at = this.#plan.roots.findIndex(({ pattern }) => pattern === match.pattern);
      const known = matches.get(match.path);
      if (known) known.add(at);
      else matches.set(match.path, new Set([at]));
    }
    return { matches, errors: found.errors };
  }

  *#matchEvents(path: string, now: ReadonlySet<number>): Generator<WatchEvent> {
    const before = this.#matches.get(path) ?? new Set<number>();
    for (const at of before)
      if (!now.has(at)) yield { kind: "unmatched", path, pattern: this.#plan.roots[at]!.pattern };
    for (const at of now)
      if (!before.has(at)) yield { kind: "matched", path, pattern: this.#plan.roots[at]!.pattern };
    if (now.size > 0) this.#matches.set(path, new Set(now));
    else this.#matches.delete(path);
  }

  #learn({ path, type }: Named): void {
    const name = path.slice(path.lastIndexOf("/") + 1);
    this.#known.get(parentOf(path))?.set(name, type);
    if (type === "directory") this.#known.set(path, new Map());
  }

  async *#fresh(tells: boolean): AsyncGenerator<WatchEvent> {
    this.#hints.clear();
    this.#overflowed = false;
    this.#known = new Map([["", new Map()]]);
    this.#matches = new Map();
    const entries = await this.#list("", Infinity);
    entries.sort((left, right) => left.path.split("/").length - right.path.split("/").length);
    for (const entry of entries) {
      this.#learn(entry);
      if (tells) yield { kind: "added", path: entry.path, type: entry.type };
    }
    const { matches, errors } = await this.#scan("", Scope.EVERYWHERE);
    for (const [path, now] of matches)
      for (const event of this.#matchEvents(path, now)) if (tells) yield event;
    yield* errors;
  }

  // ── Changes ──

  *#forget(path: string, type: EntryType): Generator<WatchEvent> {
    if (type === "directory") {
      for (const [name, below] of this.#known.get(path) ?? [])
        yield* this.#forget(join(path, name), below);
      this.#known.delete(path);
      yield* this.#matchEvents(path, new Set());
    }
    yield { kind: "removed", path, type };
  }

  /** Lists one directory again. Adds what is new to `fresh`. */
  async *#look(path: string, fresh: string[]): AsyncGenerator<WatchEvent> {
    const known = this.#known.get(path);
    if (!known) return; // not part of the tree, or gone already
    let entries: Named[];
    try {
      entries = await this.#list(path, 1);
    } catch (error) {
      if (!(error instanceof CopseError) || this.signal.aborted) throw error;
      if (path === "") throw error; // the root itself is gone
      // It is gone or no directory any more: the one above says so.
      this.#hint(path, false);
      return;
    }
    const now = new Map(
      entries.map((entry) => [entry.path.slice(path === "" ? 0 : path.length + 1), entry]),
    );
    for (const [name, type] of known) {
      if (now.get(name)?.type === type) continue;
      known.delete(name);
      yield* this.#forget(join(path, name), type);
    }
    for (const [name, entry] of now) {
      if (known.has(name)) continue;
      this.#learn(entry);
      yield { kind: "added", path: entry.path, type: entry.type };
      if (entry.type !== "directory") continue;
      fresh.push(entry.path);
      yield* this.#look(entry.path, fresh);
    }
  }

  async *#changes(): AsyncGenerator<WatchEvent> {
    const hints = this.#hints;
    this.#hints = new Map();
    const fresh: string[] = [];
    const dirty = new Set<string>();
    for (const path of hints.keys()) {
      dirty.add(parentOf(path));
      // A directory that is there: perhaps another one under the same name.
      if (this.#known.has(path)) dirty.add(path);
    }
    const before = new Map([...hints].map(([path]) => [path, this.#typeOf(path)]));
    for (const path of [...dirty].toSorted()) yield* this.#look(path, fresh);
    for (const [path, isContent] of hints) {
      const type = this.#typeOf(path);
      if (isContent && type === "file" && before.get(path) === "file")
        yield { kind: "changed", path, type };
    }
    if (this.#plan.roots.length === 0) return;
    // From below: each directory that holds a change, and those above it that a pattern can see it from.
    const levels = levelsOf(this.#plan);
    const affected = new Set(fresh);
    for (let path of dirty)
      for (let level = 0; level < levels; level++) {
        if (this.#known.has(path)) affected.add(path);
        if (path === "") break;
        path = parentOf(path);
      }
    for (const path of [...affected].toSorted((a, b) => b.length - a.length)) {
      if (!this.#known.has(path)) continue;
      try {
        const { matches, errors } = await this.#scan(path, Scope.ROOT);
        yield* this.#matchEvents(path, matches.get(path) ?? new Set());
        yield* errors;
      } catch (error) {
        if (!(error instanceof CopseError) || this.signal.aborted) throw error;
        this.#hint(path, false); // it vanished meanwhile: the one above says so
      }
    }
  }

  #typeOf(path: string): EntryType | undefined {
    return this.#known.get(parentOf(path))?.get(path.slice(path.lastIndexOf("/") + 1));
  }

  protected override async *events(): AsyncGenerator<WatchEvent, void> {
    const { signal } = this;
    try {
      signal.throwIfAborted();
      this.#listen();
      // Hints that come while this is done are looked at after it.
      yield* this.#fresh(this.#initial);
      this.follows();
      for (;;) {
        await this.#hinted.wait({ signal });
        await sleep(SETTLE_MS, { signal });
        this.#hinted = new Notify();
        if (this.#overflowed || (this.#options.ignoreFiles && this.#hints.size > 0)) {
          yield { kind: "rescan" };
          yield* this.#fresh(true);
        } else {
          yield* this.#changes();
        }
      }
    } finally {
      this.#system?.close();
    }
  }

  override close(): void {
    super.close();
    this.#system?.close();
  }
}

function withoutExplain({ explain: _, ...options }: ScanOptions): Omit<ScanOptions, "explain"> {
  return options;
}

/**
 * What changes below a local directory, as it happens: `added`, `changed` and `removed` entries, and
 * directories that begin and cease to fit a pattern, as `matched` and `unmatched`.
 *
 * ```ts
 * for await (const event of watch("data", { files: ["done"] })) console.log(event.kind);
 * ```
 *
 * After `rescan` forget everything: what is there follows as `added` and `matched`.
 */
export function watch(root: Location, options?: WatchOptions): Watcher;
export function watch(
  root: Location,
  patterns: Pattern | readonly Pattern[],
  options?: WatchOptions,
): Watcher;
export function watch(
  root: Location,
  patterns: Pattern | readonly Pattern[] | WatchOptions = {},
  options?: WatchOptions,
): Watcher {
  const isPattern = Array.isArray(patterns) || options !== undefined || isPatternLike(patterns);
  const given = options ?? (isPattern ? {} : (patterns as WatchOptions));
  checkOptions(given);
  // isPattern says which of the two it is.
  return new DirectoryWatcher(root, isPattern ? (patterns as Pattern) : [], given);
}

const fields = [
  "name",
  "files",
  "directories",
  "optionalFiles",
  "optionalDirectories",
  "forbidden",
];

function isPatternLike(value: object): boolean {
  return fields.some((field) => field in value);
}
