// Options → record bytes: the only encoder. Every option is checked here, before anything is
// started.

import { homedir } from "node:os";
import { join } from "node:path";
import { oneOf, whole, flag, checkRepo, checkGlobs, checkFields } from "./check.ts";
import { asIn, withStages } from "./crypt.ts";
import { argumentError, CopseError, showValue } from "./errors.ts";
import { forWeb, httpDefaults, type HttpDefaults } from "./http.ts";
import {
  asNewPack,
  asPack,
  isFile,
  makeFolder,
  parseLocation,
  placeKey,
  type Place,
  type PlaceField,
} from "./location.ts";
import { putPlan, type Plan } from "./pattern.ts";
import { putDecided, putSteps, type Row } from "./request-steps.ts";
import {
  Algorithm,
  By,
  Compress,
  Conflict,
  Key,
  Links,
  Metadata,
  PackFormat,
  Place as PlaceKey,
  Text,
  TextRule as TextKey,
  RowKind,
  Verb,
} from "./native/abi.ts";
import { forget, Record } from "./native/record.ts";
import type {
  BlocksOptions,
  CompareOptions,
  CopyOptions,
  Defaults,
  Limits,
  ListOptions,
  Location,
  ManifestOptions,
  Options,
  PackOptions,
  ScanOptions,
  VerifyOptions,
  SyncOptions,
  WalkOptions,
} from "./types.ts";

function putPlace(record: Record, place: Place): void {
  const path = place.secret?.reveal() ?? place.path;
  record.text(PlaceKey.SCHEME, place.scheme).text(PlaceKey.PATH, path);
  if (place.shown !== path) record.text(PlaceKey.SHOWN, place.shown);
  if (place.spec !== undefined) record.text(PlaceKey.SPEC, place.spec);
  const { inner } = place;
  if (inner) record.record(PlaceKey.INNER, (record) => putPlace(record, inner));
  const { tree } = place;
  if (tree) record.record(PlaceKey.TREE, (record) => putPlace(record, tree));
  for (const [key, value] of place.fields ?? [])
    if (typeof value === "number") record.number(key, value);
    else if (typeof value === "function") record.record(key, value);
    else if (typeof value === "string") record.text(key, value);
    else record.secret(key, value.reveal());
  for (const [path, entry] of place.entries ?? [])
    record.record(PlaceKey.FILE, (record) => {
      record.text(PlaceKey.PATH, path).record(PlaceKey.INNER, (inner) => putPlace(inner, entry));
    });
}

const limitKeys: { readonly [name in keyof Limits]: number } = {
  entries: Key.LIMIT_ENTRIES,
  bytes: Key.LIMIT_BYTES,
  ratio: Key.LIMIT_RATIO,
  depth: Key.LIMIT_DEPTH,
  pathLength: Key.LIMIT_PATH,
  nested: Key.LIMIT_NESTED,
};

type Put = (record: Record, value: unknown) => void;
type Table<T> = { readonly [name in keyof Required<T>]: Put };

const keep: Put = () => {};

const common: Table<Options> = {
  // Checked here, used by the task itself.
  signal: (_, value) => {
    if (!(value instanceof AbortSignal))
      throw argumentError("signal", `must be an AbortSignal, not ${showValue(value)}`);
  },
  runtime: keep,
  onProgress: (record, value) => {
    if (typeof value !== "function")
      throw argumentError("onProgress", `must be a function, not ${showValue(value)}`);
    record.number(Key.PROGRESS, 100);
  },
  include: (record, value) => {
    for (const glob of checkGlobs("include", value)) record.text(Key.INCLUDE, glob);
  },
  exclude: (record, value) => {
    for (const glob of checkGlobs("exclude", value)) record.text(Key.EXCLUDE, glob);
  },
  links: (record, value) => {
    const chosen = oneOf("links", value, ["keep", "follow", "skip"]);
    record.number(Key.LINKS, { keep: Links.KEEP, follow: Links.FOLLOW, skip: Links.SKIP }[chosen]);
  },
  concurrency: (record, value) => {
    record.number(Key.CONCURRENCY, whole("concurrency", value, 0, 256));
  },
  priority: (record, value) => {
    record.number(
      Key.PRIORITY,
      ["high", "normal", "low"].indexOf(oneOf("priority", value, ["high", "normal", "low"])),
    );
  },
  timeout: (record, value) => {
    if (typeof value !== "number" || !(value > 0))
      throw argumentError(
        "timeout",
        `must be a number of milliseconds above 0, not ${showValue(value)}`,
      );
    if (value !== Infinity) record.number(Key.DEADLINE, Math.min(Math.ceil(value), 2 ** 43));
  },
  bandwidth: (record, value) => {
    record.number(Key.BANDWIDTH, whole("bandwidth", value, 1, Number.MAX_SAFE_INTEGER));
  },
  limits: (record, value) => {
    if (typeof value !== "object" || value === null)
      throw argumentError("limits", `must be an object, not ${showValue(value)}`);
    for (const [name, limit] of Object.entries(value)) {
      if (limit === undefined) continue;
      const key = Object.hasOwn(limitKeys, name) ? limitKeys[name as keyof Limits] : undefined; // hasOwn said so
      if (key === undefined) throw argumentError("limits", `has no field ${showValue(name)}`);
      if (typeof limit !== "number" || !(limit >= 1))
        throw argumentError(`limits.${name}`, `must be at least 1, not ${showValue(limit)}`);
      record.number(key, Math.min(Math.floor(limit), Number.MAX_SAFE_INTEGER));
    }
  },
};

const metadataBits = {
  mode: Metadata.MODE,
  mtime: Metadata.MTIME,
  owner: Metadata.OWNER,
  xattr: Metadata.XATTR,
};
type MetadataName = keyof typeof metadataBits;

const bool =
  (name: string, key: number): Put =>
  (record, value) => {
    record.number(key, flag(name, value) ? 1 : 0);
  };

const textBits = { eol: Text.EOL, space: Text.SPACE, blankLines: Text.BLANK_LINES };

const putText: Put = (record, value) => {
  for (const rule of Array.isArray(value) ? value : [value]) {
    checkFields("text", rule, ["match", ...Object.keys(textBits)]);
    let ignore = 0;
    for (const [name, bit] of Object.entries(textBits))
      if (rule[name] !== undefined && flag(`text.${name}`, rule[name])) ignore |= bit;
    if (ignore === 0)
      throw argumentError("text", `must name eol, space or blankLines, not ${showValue(rule)}`);
    const globs = rule.match === undefined ? ["*"] : checkGlobs("text.match", rule.match);
    record.record(Key.TEXT, (inner) => {
      inner.number(TextKey.IGNORE, ignore);
      for (const glob of globs) inner.text(TextKey.MATCH, glob);
    });
  }
};

const compareTable: Table<Omit<CompareOptions, keyof Options>> = {
  by: (record, value) => {
    const chosen = oneOf("by", value, ["content", "hash", "stat"]);
    record.number(Key.BY, { content: By.CONTENT, hash: By.HASH, stat: By.STAT }[chosen]);
  },
  text: putText,
  stopAtFirst: bool("stopAtFirst", Key.STOP_AT_FIRST),
  moves: bool("moves", Key.MOVES),
  sample: bool("sample", Key.SAMPLE),
  sizeCheck: bool("sizeCheck", Key.SIZE_CHECK),
  emptyDirectories: bool("emptyDirectories", Key.EMPTY_DIRECTORIES),
  cache: (record, value) => putCache(record, value),
  metadata: (record, value) => {
    record.number(Key.METADATA, metadataOf("metadata", value));
  },
  chunkSize: (record, value) => {
    record.number(Key.CHUNK, whole("chunkSize", value, 1, 2 ** 30));
  },
};

const names: Put = (record, value) => {
  const list = value === true ? [".gitignore"] : value === false ? [] : value;
  if (!Array.isArray(list))
    throw argumentError("ignoreFiles", `must be true, false or names, not ${showValue(value)}`);
  for (const name of list) {
    if (typeof name !== "string" || name === "" || /[\0/]/.test(name))
      throw argumentError("ignoreFiles", `must hold names of files, not ${showValue(name)}`);
    record.text(Key.IGNORE_FILE, name);
  }
};

/** For every verb that walks one tree. */
const walkTable: Table<Omit<WalkOptions, keyof Options>> = {
  ignoreFiles: names,
  maxDepth: (record, value) => {
    if (value !== Infinity)
      record.number(Key.MAX_DEPTH, whole("maxDepth", value, 1, Number.MAX_SAFE_INTEGER));
  },
  oneFileSystem: bool("oneFileSystem", Key.ONE_FILE_SYSTEM),
  onError: (record, value) => {
    if (oneOf("onError", value, ["collect", "stop"]) === "stop")
      record.number(Key.STOP_ON_ERROR, 1);
  },
};

const putCache: Put = (record, value) => {
  if (value === false) return;
  if (value !== true && (typeof value !== "string" || value === "" || value.includes("\0")))
    throw argumentError("cache", `must be true, false or a path, not ${showValue(value)}`);
  record.text(Key.CACHE, value === true ? cachePath() : value);
};

/** Where hashes are kept when nobody says where; its directory is made. */
function cachePath(): string {
  const home = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  const folder = join(home, "copse");
  makeFolder(folder);
  return join(folder, "hashes");
}

const digestTable: Table<Omit<ManifestOptions, keyof WalkOptions>> = {
  cache: putCache,
  algorithm: (record, value) => {
    const chosen = oneOf("algorithm", value, ["blake3", "sha256"]);
    record.number(Key.ALGORITHM, { blake3: Algorithm.BLAKE3, sha256: Algorithm.SHA256 }[chosen]);
  },
};

const listTable: Table<Omit<ListOptions, keyof WalkOptions>> = {
  stat: bool("stat", Key.STAT),
  columns: bool("columns", Key.COLUMNS),
  // Checked here, done when all is there.
  sort: (_, value) => {
    oneOf("sort", value, ["path", "name", "size", "time", "none"]);
  },
};

const scanTable: Table<Omit<ScanOptions, keyof WalkOptions>> = {
  explain: bool("explain", Key.EXPLAIN),
};

function metadataOf(name: string, value: unknown): number {
  if (!Array.isArray(value)) throw argumentError(name, `must be an array, not ${showValue(value)}`);
  const names: readonly MetadataName[] = ["mode", "mtime", "owner", "xattr"];
  let bits = 0;
  for (const one of value) bits |= metadataBits[oneOf(name, one, names)];
  return bits;
}

/** Rows of what went as it should: bits for Key.UNTOLD. */
const quietKinds = [
  RowKind.COPIED,
  RowKind.CREATED,
  RowKind.UPDATED,
  RowKind.RENAMED,
  RowKind.LINKED,
  RowKind.DELETED,
  RowKind.SKIPPED,
].reduce((bits, kind) => bits | (1 << kind), 0);

/** Whether only errors and conflicts are told. */
export function isOnlyTrouble({ actions = "all", dryRun }: CopyOptions): boolean {
  const isOnly = oneOf("actions", actions, ["all", "trouble"]) === "trouble";
  if (isOnly && dryRun === true)
    throw argumentError("actions", "are what a dry run is for: leave trouble out");
  return isOnly;
}

const copyTable: Table<Omit<CopyOptions, keyof Options>> = {
  by: (record, value) => {
    const chosen = oneOf("by", value, ["content", "hash", "stat"]);
    record.number(Key.SYNC_BY, { content: By.CONTENT, hash: By.HASH, stat: By.STAT }[chosen]);
  },
  overwrite: (record, value) => {
    const ways = ["different", "newer", "never"] as const;
    record.number(Key.OVERWRITE, ways.indexOf(oneOf("overwrite", value, ways)));
  },
  actions: (record, value) => {
    if (isOnlyTrouble({ actions: value as "all" })) record.number(Key.UNTOLD, quietKinds);
  },
  dryRun: bool("dryRun", Key.DRY_RUN),
  verify: bool("verify", Key.VERIFY),
  delta: (record, value) => {
    record.number(Key.DELTA, flag("delta", value) ? 2 : 0);
  },
  specialBits: bool("specialBits", Key.SPECIAL_BITS),
  fsync: bool("fsync", Key.FSYNC),
  preserve: (record, value) => {
    record.number(Key.PRESERVE, metadataOf("preserve", value));
  },
  retries: (record, value) => {
    record.number(Key.RETRIES, whole("retries", value, 0, 100));
  },
  resume: bool("resume", Key.RESUME),
  streams: (record, value) => {
    if (value !== "auto") record.number(Key.STREAMS, whole("streams", value, 1, 32));
  },
  chunkSize: (record, value) => {
    if (value === "auto") return;
    const isRange = typeof value === "object" && value !== null;
    const { min, max } = isRange ? (value as ChunkRange) : { min: value, max: value };
    const name = isRange ? "chunkSize.min" : "chunkSize";
    const least = whole(name, min, 64 * 1024, 2 ** 30);
    record.number(Key.PART_MIN, least);
    record.number(Key.PART_MAX, whole("chunkSize.max", max, least, 2 ** 30));
  },
  hardLinks: bool("hardLinks", Key.HARD_LINKS),
  batch: (record, value) => {
    record.number(Key.BATCH, whole("batch", value, 1, Number.MAX_SAFE_INTEGER));
  },
  // Both are of the destination: stagedTarget.
  compress: keep,
  encrypt: keep,
  // Any location; parseLocation looks.
  backupDir: (record, value) =>
    record.record(Key.BACKUP, (r) => putPlace(r, parseLocation(value as Location))),
};

/** What may be in it is checked. */
interface ChunkRange {
  readonly min?: unknown;
  readonly max?: unknown;
}

const syncTable: Table<Omit<SyncOptions, keyof CopyOptions>> = {
  // Said by syncRequest.
  delete: (_, value) => {
    flag("delete", value);
  },
  maxDelete: (record, value) => {
    if (value !== Infinity)
      record.number(Key.MAX_DELETE, whole("maxDelete", value, 0, Number.MAX_SAFE_INTEGER));
  },
  force: bool("force", Key.FORCE),
  moves: bool("moves", Key.SYNC_MOVES),
  // sync itself takes it out.
  twoWay: (_, value) => {
    if (value !== false) throw argumentError("twoWay", "is an option of sync only");
  },
};

const conflicts = {
  "keep-both": Conflict.BOTH,
  newer: Conflict.NEWER,
  left: Conflict.LEFT,
  right: Conflict.RIGHT,
};

/** What a two-way sync decides by. */
const twoWayTable = {
  dryRun: copyTable.dryRun,
  specialBits: copyTable.specialBits,
  preserve: copyTable.preserve,
};

type Tables = readonly { readonly [name: string]: Put }[];

function putOf(tables: Tables, name: string): Put | undefined {
  return tables.find((table) => Object.hasOwn(table, name))?.[name];
}

/** What the call says, and where it says nothing what its runtime does. Gives the latter. */
function putOptions(record: Record, options: Options, tables: Tables): CheckedDefaults {
  const defaults = defaultsOf(options.runtime);
  for (const [name, value] of Object.entries(options)) {
    const put = putOf(tables, name);
    if (!put) throw argumentError("options", `has no field ${showValue(name)}`);
    if (value === undefined) continue;
    // Each limit is a setting of its own.
    const isPart = name === "limits" && defaults.verb.limits && isObject(value);
    put(record, isPart ? { ...defaults.verb.limits, ...withoutGaps(value) } : value);
  }
  for (const [name, value] of Object.entries(defaults.verb)) {
    const said: unknown = options[name as keyof Options]; // absent where the verb has none of it
    const put = putOf(tables, name);
    // What copy calls so is another thing: the parts of a file of a web server.
    const isOther = name === "chunkSize" && put !== compareTable.chunkSize;
    if (said === undefined && !isOther) put?.(record, value);
  }
  return defaults;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** undefined is not a value, for a field either. */
function withoutGaps(value: object): object {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined));
}

// ── What a runtime says of its tasks ──

// Registered, as the runtime's own key: with --hot an older evaluation may have made the runtime.
export const defaultsKey = Symbol.for("copse.defaults");

/** Checked when the runtime was made. */
export interface CheckedDefaults {
  readonly verb: Omit<Defaults, "http">;
  readonly http: HttpDefaults | undefined;
}

/** A runtime, as far as requests know it. */
export interface HasDefaults {
  readonly [defaultsKey]?: CheckedDefaults;
}

const none: CheckedDefaults = { verb: {}, http: undefined };

/** What is no runtime is refused where the task starts. */
function defaultsOf(runtime: unknown): CheckedDefaults {
  if (typeof runtime !== "object" || runtime === null) return none;
  return (runtime as HasDefaults)[defaultsKey] ?? none;
}

type DefaultName = Exclude<keyof Defaults, "http">;

// Options that are about one call (what is told, what is changed) have no default.
const defaultNames: { readonly [name in DefaultName]-?: true } = {
  by: true,
  bandwidth: true,
  chunkSize: true,
  concurrency: true,
  exclude: true,
  include: true,
  limits: true,
  links: true,
  priority: true,
  sample: true,
  sizeCheck: true,
  timeout: true,
};

/** The same checks as for a call; messages say `defaults.chunkSize`. */
export function checkDefaults(defaults: unknown): CheckedDefaults {
  if (typeof defaults !== "object" || defaults === null || Array.isArray(defaults))
    throw argumentError("defaults", `must be an object, not ${showValue(defaults)}`);
  const verb: { [name: string]: unknown } = {};
  let http: HttpDefaults | undefined;
  for (const [name, value] of Object.entries(defaults)) {
    if (value === undefined) continue;
    if (name === "http") {
      http = httpDefaults(value, "defaults.http");
      continue;
    }
    const put = Object.hasOwn(defaultNames, name) && putOf([common, compareTable], name);
    if (!put) throw argumentError("defaults", `have no field ${showValue(name)}`);
    inside("defaults", () => put(new Record(), value));
    // A copy: what the caller does to an array or object later changes nothing.
    verb[name] = structuredClone(value);
  }
  return { verb, http };
}

/** Runs a check of one field; what it complains of is a field of `whole`. */
function inside(whole: string, check: () => void): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof CopseError) || error.code !== "ARGUMENT") throw error;
    throw new CopseError("ARGUMENT", `${whole}.${error.message}`, { cause: error });
  }
}

/** The one field every request has, and whether its events are waited for. */
function begin(verb: number, waited: boolean): Record {
  const record = new Record().number(Key.VERB, verb);
  if (waited) record.number(Key.WAITED, 1);
  return record;
}

export function compareRequest(
  left: Place,
  right: Place,
  options: CompareOptions,
  waited: boolean,
): Uint8Array {
  if (options.text !== undefined && options.by !== undefined && options.by !== "content")
    throw argumentError("text", `needs by: "content", not ${showValue(options.by)}`);
  const record = begin(Verb.COMPARE, waited);
  const defaults = putOptions(record, options, [common, compareTable]);
  return record
    .record(Key.LEFT, (r) => putPlace(r, forWeb(left, defaults.http)))
    .record(Key.RIGHT, (r) => putPlace(r, forWeb(right, defaults.http)))
    .end();
}

export interface SyncRequest {
  readonly deletes: boolean;
  readonly waited: boolean;
  /** Only these are done. */
  readonly steps?: readonly unknown[];
  /** Only the file there, below the source. */
  readonly path?: string;
}

/** Where a copy writes to, with what its options say of how. Whatever goes into a pack makes a new one. */
export function stagedTarget(to: Place, { compress, encrypt }: CopyOptions): Place {
  const target = to.scheme === "pack" && !to.fields ? asNewPack(to) : to;
  return withStages(target, compress, encrypt);
}

/** What is kept of a destination is no more open than what is in it. */
function keptIn(target: Place, options: SyncOptions): SyncOptions {
  const { backupDir } = options;
  if (backupDir === undefined || target.scheme !== "crypt") return options;
  const kept = asIn(target, parseLocation(backupDir));
  return { ...options, backupDir: { [placeKey]: () => kept } as unknown as Location }; // a place is one
}

export function syncRequest(
  from: Place,
  to: Place,
  options: SyncOptions,
  { deletes, waited, steps, path }: SyncRequest,
): Uint8Array {
  const record = begin(Verb.SYNC, waited);
  isOnlyTrouble(options); // a dry run refuses it
  const tables = deletes ? [common, copyTable, syncTable] : [common, copyTable];
  if (deletes && options.delete !== false) record.number(Key.DELETE, 1);
  const defaults = putOptions(record, keptIn(to, options), tables);
  if (steps) putSteps(record, steps);
  if (path) record.text(Key.PATH, path);
  return record
    .record(Key.LEFT, (r) => putPlace(r, forWeb(from, defaults.http)))
    .record(Key.RIGHT, (r) => putPlace(r, forWeb(to, defaults.http)))
    .end();
}

export interface TwoWayRequest {
  /** Path of the file that says what both had in common. */
  readonly state: string;
  /** Names the two places. */
  readonly pair: string;
  readonly conflict: unknown;
  /** What both have in common is kept; else what is to be done is said. */
  readonly keeps: boolean;
  readonly waited: boolean;
  /** Nothing is done while it is decided but these rows. */
  readonly steps?: readonly Row[];
}

export function twoWayRequest(
  left: Place,
  right: Place,
  options: Options & Pick<SyncOptions, keyof typeof twoWayTable>,
  { state, pair, conflict, keeps, waited, steps }: TwoWayRequest,
): Uint8Array {
  const record = begin(Verb.TWO_WAY, waited);
  const defaults = putOptions(record, options, [common, twoWayTable]);
  const names = ["keep-both", "newer", "left", "right"] as const;
  record
    .text(Key.TWO_STATE, state)
    .text(Key.TWO_PAIR, pair)
    .number(Key.CONFLICT, conflicts[oneOf("twoWay.conflict", conflict, names)]);
  if (keeps) record.number(Key.TWO_KEEP, 1);
  if (steps) putDecided(record, steps);
  return record
    .record(Key.LEFT, (r) => putPlace(r, forWeb(left, defaults.http)))
    .record(Key.RIGHT, (r) => putPlace(r, forWeb(right, defaults.http)))
    .end();
}

// As far as they are about what is written.
const fillTable: Table<Pick<CopyOptions, "actions" | "fsync">> = {
  actions: copyTable.actions,
  fsync: copyTable.fsync,
};

/** Files that the caller gives, into a pack. */
export function fillRequest(to: Place, options: CopyOptions, waited: boolean): Uint8Array {
  return inPlace(Verb.FILL, to, {}, options, [common, fillTable], waited);
}

const packFormats = { znippy: PackFormat.ZNIPPY, copse: PackFormat.COPSE };
const compressions = { auto: Compress.AUTO, always: Compress.ALWAYS, never: Compress.NEVER };

/** What a new pack is told of itself. */
export function packFields(
  options: Pick<
    PackOptions,
    "level" | "compress" | "packageType" | "repo" | "format" | "seed" | "append"
  >,
): readonly PlaceField[] {
  const { level, compress, packageType, repo, format, seed, append } = options;
  const fields: PlaceField[] = [];
  if (seed !== undefined && append !== undefined)
    throw argumentError("append", "is a seed as well: give one of the two");
  const old = append ?? seed;
  if (old !== undefined) {
    const place = parseLocation(old);
    const pack = isFile(place) ? asPack(place) : place;
    fields.push([PlaceKey.PACK_SEED, (record) => putPlace(record, pack)]);
  }
  if (format !== undefined) {
    const chosen = oneOf("format", format, ["znippy", "copse"]);
    fields.push([PlaceKey.PACK_FORMAT, packFormats[chosen]]);
  }
  if (packageType !== undefined)
    fields.push([PlaceKey.PACK_TYPE, whole("packageType", packageType, 0, 127)]);
  if (repo !== undefined) fields.push([PlaceKey.PACK_REPO, checkRepo("repo", repo)]);
  if (level !== undefined) fields.push([PlaceKey.PACK_LEVEL, whole("level", level, 1, 22)]);
  if (compress !== undefined) {
    const chosen = oneOf("compress", compress, ["auto", "always", "never"]);
    fields.push([PlaceKey.PACK_COMPRESS, compressions[chosen]]);
  }
  return fields;
}

/** What a request about one place may say besides its options. */
export interface InPlace {
  /** The entry below the place. */
  readonly path?: string;
  /** Only the entry itself. */
  readonly self?: boolean;
  readonly from?: number;
  readonly to?: number;
}

export function placeRequest(
  verb: number,
  place: Place,
  what: InPlace,
  options: Options,
  waited: boolean,
): Uint8Array {
  return inPlace(verb, place, what, options, [common], waited);
}

function inPlace(
  verb: number,
  place: Place,
  what: InPlace,
  options: Options,
  tables: Tables,
  waited: boolean,
): Uint8Array {
  const record = begin(verb, waited);
  const defaults = putOptions(record, options, tables);
  if (what.path) record.text(Key.PATH, what.path);
  if (what.self) record.number(Key.SELF, 1);
  if (what.from) record.number(Key.FROM, what.from);
  if (what.to !== undefined) record.number(Key.TO, what.to);
  return record.record(Key.LEFT, (r) => putPlace(r, forWeb(place, defaults.http))).end();
}

/** A look request that was encoded before, about these paths: a NUL is between them. */
export function aboutPaths(request: Uint8Array, paths: string): Uint8Array {
  const whole = new Record().fields(request).text(Key.PATHS, paths).end();
  forget(request); // where it holds a secret
  return whole;
}

export function listRequest(
  place: Place,
  what: InPlace,
  options: ListOptions,
  waited: boolean,
): Uint8Array {
  const { sort, stat } = options;
  if ((sort === "size" || sort === "time") && !stat)
    throw argumentError("sort", `by ${sort} wants stat: true`);
  if (options.columns && !stat) throw argumentError("columns", "wants stat: true");
  return inPlace(Verb.LIST, place, what, options, [common, walkTable, listTable], waited);
}

/** Which directories a scan holds against its patterns. */
export const Scope = {
  EVERYWHERE: 0,
  /** Only the root; below it only what its patterns ask for is visited. */
  ROOT: 1,
  /** As `ROOT`; the rows' numbers are nodes, of every directory that was visited. */
  MEMBERS: 2,
} as const;

export function scanRequest(
  place: Place,
  plan: Plan,
  scope: number,
  options: ScanOptions,
  waited: boolean,
  path: string,
): Uint8Array {
  const record = begin(Verb.SCAN, waited);
  const defaults = putOptions(record, options, [common, walkTable, scanTable]);
  if (scope !== Scope.EVERYWHERE) record.number(Key.SCOPE, scope);
  if (path !== "") record.text(Key.PATH, path);
  putPlan(record, plan);
  return record.record(Key.LEFT, (r) => putPlace(r, forWeb(place, defaults.http))).end();
}

/** What signatures ask for is said by verify itself. */
const verifyTable: Table<Omit<VerifyOptions, keyof Options | "key" | "signature">> = {
  intact: bool("intact", Key.VERIFY_INTACT),
};

export function verifyRequest(place: Place, options: VerifyOptions, waited: boolean): Uint8Array {
  return inPlace(Verb.VERIFY, place, {}, options, [common, verifyTable], waited);
}

const blocksTable: Table<Omit<BlocksOptions, keyof WalkOptions>> = {
  size: (record, value) => {
    record.number(Key.BLOCK_SIZE, whole("size", value, 1024, 4 * 1024 * 1024));
  },
};

export function blocksRequest(place: Place, options: BlocksOptions, waited: boolean): Uint8Array {
  return inPlace(Verb.BLOCKS, place, {}, options, [common, walkTable, blocksTable], waited);
}

/** `number` is what the snapshot is called in its runtime. */
export function snapshotRequest(
  place: Place,
  number: number,
  options: WalkOptions,
  waited: boolean,
): Uint8Array {
  const record = begin(Verb.SNAPSHOT, waited);
  const defaults = putOptions(record, options, [common, walkTable]);
  return record
    .number(Key.SNAPSHOT, number)
    .record(Key.LEFT, (r) => putPlace(r, forWeb(place, defaults.http)))
    .end();
}

export function digestRequest(place: Place, options: ManifestOptions, waited: boolean): Uint8Array {
  return inPlace(Verb.DIGEST, place, {}, options, [common, walkTable, digestTable], waited);
}
