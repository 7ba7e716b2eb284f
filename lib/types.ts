// Every public type. Sizes and offsets are in bytes, times in milliseconds unless a name says
// otherwise.

import type { CopseError } from "./errors.ts";
import type { Runtime } from "./runtime.ts";
import type { CopyOptions } from "./types-transfer.ts";

export type * from "./types-blocks.ts";
export type * from "./types-transfer.ts";

/**
 * A place that holds a tree or a file: a path, a URL, or an object with a `url`.
 *
 * Built in: paths, `file:`, `http:` and `https:` URLs, tables of files, `archive:LOCATION[#sub/dir]`
 * for what is inside an archive, `pack:LOCATION[#sub/dir]` for the tree in a pack, and
 * `memory:NAME[/path]` for trees that live in a runtime. Other schemes (`sftp:`, `s3:`, `azure:`,
 * `gs:`) are recognised and answered with `UNSUPPORTED`. A scheme has at least two characters, so
 * `C:\x` and `a:b` are
 * paths; a path that looks like a URL is written `./ab:c`.
 */
export type Location =
  | string
  | URL
  | UrlLocation
  | HttpLocation
  | FilesLocation
  | ManifestLocation
  | ArchiveLocation
  | CryptLocation
  | FdLocation
  | Snapshot;

/**
 * What a tree held when the snapshot was taken: a location that any verb can list, scan or compare
 * by size and time without looking at the tree again. It never changes. Files have no content in
 * it: reading one is `UNSUPPORTED`.
 */
export interface Snapshot extends Disposable, AsyncDisposable {
  /** Where it was taken. Matches of a scan have their locations there. */
  readonly root: Location;
  /** Everything below the root. */
  readonly entries: number;
  /** What it holds of memory, outside JavaScript. */
  readonly bytes: number;
  /** What could not be looked at, by path. Whoever walks the snapshot is told of it again. */
  readonly errors: readonly Failure[];
  /** Whether nothing was left out. */
  readonly complete: boolean;
  /** Gives its memory back; tasks that use it go on. Later uses fail with `CLOSED`. Again: nothing. */
  close(): void;
}

/** A location with room for what a URL cannot say. */
/** A location that is more than a string; schemes to come add fields of their own. */
export interface UrlLocation {
  readonly url: string | URL;
}

/** A URL of a web server, and how to ask it. Only read. */
export interface HttpLocation {
  readonly url: string | URL;
  /** Sent to the origin of `url` only, never where a redirect leads. */
  readonly headers?:
    | Headers
    | Readonly<Record<string, string>>
    | readonly (readonly [string, string])[];
  /** Basic authentication, as in the URL. */
  readonly username?: string;
  readonly password?: string;
  /** Bearer authentication. */
  readonly token?: string;
  /**
   * Milliseconds until the answer begins, retries counted, and then the longest time in which less
   * than 1 KiB a second comes. Default 30,000. Connecting takes at most 10,000 of them.
   */
  readonly timeout?: number;
  /** How often what may work a moment later is tried again, 0 to 100. Default 3. */
  readonly retries?: number;
  /** How many redirects are followed, 0 to 100. Default 10. */
  readonly redirects?: number;
  /** The URL of an http or socks proxy; `""`: none. Variables of the environment name none. */
  readonly proxy?: string;
  /** Believe any certificate. Default false. */
  readonly insecure?: boolean;
  /** The oldest TLS that is spoken. Default `1.2`. */
  readonly minTls?: "1.2" | "1.3";
  /** Certificates to trust instead of the system's: a file, or PEM text. */
  readonly ca?: string;
  /**
   * Addresses that are not public (this machine, private networks, cloud metadata): `named`
   * (default) reaches one only when `url` names it, not when a redirect leads to another host;
   * `public` never does; `any` always. Behind a proxy only addresses written as numbers are looked
   * at.
   */
  readonly addresses?: "named" | "any" | "public";
}

/**
 * What a manifest says of a tree: files with hashes and no content. `algorithm`: of a list as
 * sha256sum and b3sum write it; by default `blake3` when its name has `b3`, else `sha256`.
 */
export interface ManifestLocation {
  readonly manifest: Location;
  readonly algorithm?: "blake3" | "sha256";
}

/** A tree given as a table: path in the tree to the location of that file. */
export interface FilesLocation {
  readonly files: Readonly<Record<string, Location>>;
}

/** What an archive can be; any of them may be compressed by gzip, bzip2, xz, zstd or lz4. */
export type ArchiveFormat = "tar" | "zip" | "cpio" | "ar" | "iso" | "7z" | "rar" | "lha" | "cab";

/** The tree inside an archive, and how it is read. Only read. */
export interface ArchiveLocation {
  /** The file it lies in; an archive location here is an archive in an archive. */
  readonly archive: Location;
  /** The directory, or file, in it that is meant. Default: all of it. */
  readonly path?: string;
  /**
   * Wrapper directories to go through, at most: a directory that holds all there is becomes the
   * root. Where there is none, nothing changes. Default 0.
   */
  readonly strip?: number;
  /** The formats that are read. Default: `tar`, `zip`, `cpio`, `ar` and `iso`. */
  readonly formats?: readonly ArchiveFormat[];
  /** For entries of a zip file that are encrypted. */
  readonly password?: string;
  /**
   * Two zip entries whose compressed bytes, sizes and checksums are the same are equal without
   * unpacking either. By default one of them is unpacked and its checksum proved. Default false.
   */
  readonly rawEqual?: boolean;
}

/** What files are encrypted with: one of the four. Nothing prints any of it. */
export interface Encryption {
  /** 32 bytes. Copied; the caller may overwrite them once the call returned. */
  readonly key?: Uint8Array;
  /** Path of a file that holds exactly 32 bytes. */
  readonly keyFile?: string;
  /** 1 to 1024 bytes of UTF-8. It costs 64 MiB and tens of milliseconds to try one (scrypt). */
  readonly passphrase?: string;
  /** Path of a file with the passphrase in its first line. */
  readonly passphraseFile?: string;
}

/**
 * A place whose files are compressed, encrypted or both: with their content as it was. Names, types,
 * times and modes are those of the place. `crypt:LOCATION` is the same without a secret.
 *
 * `AUTH` where a file needs another secret, or any; `CORRUPT` where it is damaged, is another file's or
 * was never written by copse, and where it is not encrypted although a secret is given.
 */
export interface CryptLocation extends Encryption {
  /** Where the files lie: any place that can be read at any offset. */
  readonly crypt: Location;
  /**
   * How what is written is compressed: zstd's level, 1 to 22, `true` for 3, `false` for not at all
   * (default where there is a secret). Reading needs no word of it.
   */
  readonly compress?: boolean | number;
}

/**
 * A descriptor that the process has open: a pipe, a socket, a terminal, a file. A source of `copy`
 * gives what comes out of it until its end, a destination takes the bytes of one file, both in order
 * and once. The caller keeps it open until the task has ended, and closes it. `CLOSED` where nobody reads any more (`EPIPE`).
 */
export interface FdLocation {
  readonly fd: number;
}

/**
 * What bounds the cost of a tree one does not trust. `Infinity`: no limit, the default for local
 * trees. The defaults for archives are said at each.
 */
export interface Limits {
  /** Entries in one tree. Archives: 100,000. */
  entries: number;
  /** Bytes of content in one tree (used by archives and servers). Archives: 1 GiB. */
  bytes: number;
  /** Unpacked size divided by packed size, once 16 MiB came out. Archives: 200. */
  ratio: number;
  /** Levels of directories. Archives: 1000. */
  depth: number;
  /** Bytes of one path. Archives: 4096. */
  pathLength: number;
  /** Archives inside archives, and compressions around one another. Archives: 3. */
  nested: number;
}

/** Totals so far. */
export interface Progress {
  /** Regular files looked at. */
  files: number;
  /** Bytes of content read, one side counted. */
  bytes: number;
  /** All bytes there will be, once known. */
  totalBytes?: number;
  /** Before that, of a tree that is copied: those that are known of so far. */
  plannedBytes?: number;
}

/** What every verb takes, last. */
export interface Options {
  /** Stops the task; it rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Default: `Runtime.default`. */
  runtime?: Runtime;
  /**
   * Globs of what belongs to the tree; everything when absent. A glob without `/` is matched
   * against names, one with `/` against the path below the root. A directory that matches is
   * included with all below it. The last glob that matches decides, and one that begins with `!`
   * takes back what those before it include.
   */
  include?: readonly string[];
  /**
   * Globs of what does not belong to the tree, `!` as in `include`; but below a directory that is
   * left out nothing comes back. Applied before anything is read or entered; wins over `include`.
   */
  exclude?: readonly string[];
  /**
   * Symbolic links: `keep` (default) looks at the link itself, `follow` at what it points to,
   * `skip` leaves links out. A root that the caller names is always followed.
   */
  links?: "follow" | "keep" | "skip";
  /**
   * Steps of this task at once, 0 to 256; 0 (default): as the runtime allows. Never changes the
   * answer.
   */
  concurrency?: number;
  /** Before or after other tasks of the runtime. Default `normal`. */
  priority?: "high" | "normal" | "low";
  /** Milliseconds for the whole task, then it fails with `TIMEOUT`. Default: none. */
  timeout?: number;
  /**
   * Bytes a second that the task may read and write, both sides together; a whole number, at least
   * 1. Default: no limit. Never changes the answer.
   */
  bandwidth?: number;
  /** What an untrusted tree may cost; `LIMIT` when exceeded. */
  limits?: Partial<Limits>;
  /** Called about ten times a second while the task runs. What it throws fails the task. */
  onProgress?(progress: Progress): void;
}

/** Totals at the end. */
export interface Totals {
  /** Regular files looked at; a pair counts once. */
  files: number;
  /** Bytes of content compared or read, one side counted. */
  bytes: number;
  /** Error rows. */
  errors: number;
  /** From the call to the answer. */
  milliseconds: number;
}

/** `other`: a pipe, socket or device. */
/** `other`: a pipe, socket or device; never opened. */
export type EntryType = "file" | "directory" | "link" | "other";

/** What a directory says of something in it, without a look at the thing itself. */
export interface Named {
  /** Below the root, `/` between the parts; `""` for a root that is a file. */
  path: string;
  /**
   * The bytes of the path, set only when they are not UTF-8; `path` then shows replacement
   * characters.
   */
  pathBytes?: Uint8Array;
  type: EntryType;
}

/** One thing in a tree. */
export interface Entry extends Named {
  /** Bytes of content; of a link, the length of its target. */
  size: number;
  mtime?: Date;
  /** Permission bits, `0o7777`. */
  mode?: number;
  /** BLAKE3 of the content in hex, where it was computed. */
  hash?: string;
  /** What a link points to. */
  target?: string;
  /** The bytes of the target, set only when they are not UTF-8. */
  targetBytes?: Uint8Array;
  /**
   * What plugins found in it when it was packed, by the names of the index's columns, with
   * `columns: true`. `pkg_type` is the type of the plugin.
   */
  columns?: Record<string, string | number>;
}

/** One entry that could not be looked at. The rest goes on. */
export interface Failure {
  kind: "error";
  path: string;
  pathBytes?: Uint8Array;
  error: CopseError;
}

/** Why two entries of one path differ; the first that holds, in this order. */
export type Reason = "type" | "size" | "content" | "target" | "mode" | "owner" | "mtime" | "xattr";

/** One row of a comparison. Switch on `kind`. */
/**
 * One row of a comparison; switch on `kind`. One path has one row, and one more for each side that
 * could not be looked at. What is below a directory that one side lacks has rows of its own.
 */
export type Difference =
  | { kind: "only-left"; path: string; pathBytes?: Uint8Array; left: Entry }
  | { kind: "only-right"; path: string; pathBytes?: Uint8Array; right: Entry }
  | {
      kind: "differs";
      path: string;
      pathBytes?: Uint8Array;
      reason: Reason;
      left: Entry;
      right: Entry;
      /**
       * First differing byte, for reason `content`. May be absent with `stopAtFirst` and with `by:
       * "hash"`.
       */
      offset?: number;
      /**
       * With `text`, of a text: the first line of the left one, from 1, that differs in more than
       * may be ignored; one more than it has, when only the right one goes on.
       */
      line?: number;
    }
  | {
      /** With `text`: the files differ only in what may be ignored. They count as equal. */
      kind: "same-by-rule";
      path: string;
      pathBytes?: Uint8Array;
      /** The least that has to be ignored: fields of `TextRule`, with a `+` between them. */
      rule: string;
      left: Entry;
      right: Entry;
    }
  | {
      /** With `moves`: the same content under another path, once on each side. */
      kind: "moved";
      path: string;
      pathBytes?: Uint8Array;
      from: string;
      left: Entry;
      right: Entry;
    }
  | Failure;

/** What `verify` takes. */
export interface VerifyOptions extends Options {
  /** A row for every intact file too. Default false. */
  intact?: boolean;
  /**
   * A public key of minisign, or the path of one: the pack must have a signature of it, beside the
   * pack, `FILE.minisig`. Default: signatures are not looked at.
   */
  key?: string;
  /** Where the signature is, if not beside the pack. */
  signature?: Location;
}

/** What `verify` says of one file. */
export type Check =
  | { kind: "intact"; path: string; pathBytes?: Uint8Array; size: number }
  | {
      kind: "corrupt";
      path: string;
      pathBytes?: Uint8Array;
      size: number;
      /** Which part of the content is damaged, the first one being 0, where it is known. */
      chunk?: number;
      /** What is wrong, for people. */
      reason: string;
    }
  | {
      /** With `key`: there is no signature, or it is not one of that key on this pack. */
      kind: "signature";
      path: "";
      pathBytes?: never;
      /** What is wrong, for people. */
      reason: string;
    }
  | Failure;

/** What `verify` found. */
export interface Verification extends Totals {
  /** Everything was read and nothing is damaged. */
  ok: boolean;
  /** False when anything could not be read: an error row. */
  complete: boolean;
  /** With `key`: the comment that was signed with the pack; absent when the signature is not right. */
  signed?: string;
  /** What is damaged or could not be read, sorted. Empty when the task was iterated. */
  checks: Check[];
}

/** The answer of `compare`. */
export interface Comparison extends Totals {
  /** Everything was seen and nothing differs; `same-by-rule` rows are no differences. */
  equal: boolean;
  /** False when anything was not seen: an error row, or `stopAtFirst` stopped. */
  complete: boolean;
  /** `same-by-rule` rows. */
  sameByRule: number;
  /** Sorted by the bytes of the path. Empty when the task was iterated: the rows went there. */
  differences: Difference[];
}

/** What makes no difference between two texts. At least one is true. */
export interface TextRule {
  /** Globs as those of `include`: the files that are texts. Default: all. */
  match?: readonly string[];
  /** Lines may end with `\r\n` or `\n`. */
  eol?: boolean;
  /** White space before the end of a line, `\r` too, and whether the last line ends with `\n`. */
  space?: boolean;
  /** Lines that hold nothing; with `space`, nothing but white space. */
  blankLines?: boolean;
}

/** What `compare` takes besides the options of every verb. */
/** What `compare` takes besides the options of every verb. */
export interface CompareOptions extends Options {
  /**
   * `content` (default) reads both sides; `hash` computes BLAKE3 of both and fills `hash` in rows;
   * `stat` trusts size and modification time and reads nothing.
   */
  by?: "content" | "hash" | "stat";
  /**
   * White space that is no difference in some files; of several rules for one file the first
   * counts. A file with a zero byte is compared byte by byte. Needs `by: "content"`.
   */
  text?: TextRule | readonly TextRule[];
  /** Only whether they differ: stop at the first difference. */
  stopAtFirst?: boolean;
  /** Join an only-left and an only-right file of the same size and content into one `moved` row. */
  moves?: boolean;
  /** What must be equal besides type and content. Default: nothing. */
  metadata?: readonly ("mode" | "mtime" | "owner" | "xattr")[];
  /**
   * Bytes per read, 1 to 1 GiB; the engine reads at most 256 KiB at once. Never changes the answer.
   */
  chunkSize?: number;
  /**
   * With `stopAtFirst`: look at a few places of a large pair first. Default true. Never changes the
   * answer.
   */
  sample?: boolean;
  /**
   * Unequal sizes are a difference of their own, without reading. Default true; false gives
   * `content` with its offset.
   */
  sizeCheck?: boolean;
  /** Tell of one-sided directories that hold nothing. Default true. */
  emptyDirectories?: boolean;
  /**
   * Keep hashes of local files between runs, so that comparing again reads only what changed:
   * `true` in the user's cache directory, or the path of the file that keeps them. Files of equal
   * hashes are equal; the rest is read as without. Default false.
   */
  cache?: boolean | string;
}

/** What `manifest` takes besides the options of every walk. */
export interface ManifestOptions extends WalkOptions {
  /** Default `blake3`. */
  algorithm?: "blake3" | "sha256";
  /** As in `CompareOptions`. */
  cache?: boolean | string;
}

/** What a tree holds, files with their `hash`. */
export interface Manifest extends Found<Entry> {
  readonly algorithm: "blake3" | "sha256";
  /** Regular files, and bytes of their content that were read or whose hash was known. */
  readonly files: number;
  readonly bytes: number;
}

/** JSON lines, or what `sha256sum` or `b3sum` writes. */
export type ManifestFormat = "jsonl" | "sha256" | "b3sum";

/** What `compareAll` takes; a manifest among the locations has to be of the same `algorithm`. */
export type CompareAllOptions = ManifestOptions;

/** Which of many are equal. Numbers are places in the array that was given, from 0. */
export interface ComparisonOfAll {
  /** All were seen whole and are equal. */
  readonly equal: boolean;
  /** All were seen whole. */
  readonly complete: boolean;
  /** The equal ones together, in order; one that was not seen whole is alone. */
  readonly groups: readonly (readonly number[])[];
  /** `table[i][j]`: whether they are equal; null: one of them was not seen whole. */
  readonly table: readonly (readonly (boolean | null)[])[];
  /** What could not be seen, and in which source. */
  readonly errors: readonly (Failure & { readonly source: number })[];
  /** Over all sources. */
  readonly files: number;
  readonly bytes: number;
  readonly milliseconds: number;
}

/** An awaited listing: the entries, what could not be seen, and whether everything was. */
export interface Found<T> extends Array<T> {
  readonly errors: Failure[];
  readonly complete: boolean;
}

/**
 * Await it for the whole, iterate it for the parts, dispose it to stop.
 *
 * Work starts at once, whoever looks. Iterated, rows come as they are found, in any order, and the
 * work waits for a slow reader; leaving the loop stops it. A task is iterated once. Awaited as
 * well, it settles when the iteration ends, with the totals and without the rows. A cancelled task
 * that nobody awaits is no unhandled rejection, nor is a failed one that is iterated.
 */
export interface Task<Whole, Part> extends Promise<Whole>, AsyncIterable<Part>, AsyncDisposable {
  readonly state: "queued" | "running" | "done" | "failed" | "cancelled";
  readonly progress: Progress;
  /** The parts a page at a time: for millions of rows, when one await per row costs too much. */
  batches(): AsyncIterable<readonly Part[]>;
  toReadableStream(): ReadableStream<Part>;
  /**
   * Stops the work; the task rejects with `reason`, or with a `CANCELLED` CopseError. After the
   * end: nothing.
   */
  cancel(reason?: unknown): void;
}

/** How much of the machine a runtime may use. */
/**
 * Bounds of a runtime. A bad value is an `ARGUMENT` that names the field, the value and the range.
 */
export interface RuntimeOptions {
  /** CPU workers, 1 to 256. Default: cores. */
  workers?: number;
  /** I/O workers at most, 1 to 256. Default: 4 x cores, at least 8, at most 32. */
  ioWorkers?: number;
  /** Network transfers at once, 1 to 4096. Default 64. */
  connections?: number;
  /**
   * Bytes for buffers and unread pages: 16 MiB or more, or a profile of 256 MB, 1 GB (default), 4
   * GB, 8 GB.
   */
  memory?: number | "low-memory" | "default" | "high-memory" | "max-throughput";
  /** Bytes a second that all its tasks together may read and write, at least 1. Default: no limit. */
  bandwidth?: number;
  /**
   * `auto` (default) is `threads`. `blocking`: one worker, steps in order. `uring`: many small files
   * are read together through io_uring, `threads` where the kernel refuses. `COPSE_IO` overrides it.
   */
  io?: "auto" | "blocking" | "threads" | "uring";
  /** What its tasks do where a call says nothing. */
  defaults?: Defaults;
}

/**
 * What tasks of a runtime do where a call says nothing: what the call says wins, and `undefined` is
 * not a value. A default counts for every verb that has the option. Of `limits` each field is a
 * setting of its own; arrays and `headers` are replaced as a whole.
 */
export interface Defaults extends Pick<
  CompareOptions,
  | "bandwidth"
  | "by"
  | "chunkSize"
  | "concurrency"
  | "exclude"
  | "include"
  | "limits"
  | "links"
  | "priority"
  | "sample"
  | "sizeCheck"
  | "timeout"
> {
  /**
   * For every web server, where the location says nothing. `headers` go to all of them: what only
   * one may see belongs to its location, as credentials do, which are refused here.
   */
  readonly http?: Omit<HttpLocation, "url" | "username" | "password" | "token">;
}

/** What a runtime runs on: the library, the system, and how the work is done. */
export interface RuntimeInfo {
  version: string;
  /** The library's file. */
  library: string;
  mode: "release" | "debug";
  wake: string;
  backend: "blocking" | "threads" | "uring";
  schemes: readonly string[];
  libraries: Readonly<Record<string, string>>;
  system: string;
  kernel: string;
  arch: string;
  cores: number;
  workers: number;
  ioWorkers: number;
  /**
   * What an io_uring of this kernel carries of what `io: "uring"` needs. Empty where the system
   * refuses one: `refused` names the call and the error.
   */
  ring: { readonly operations: readonly string[]; readonly refused?: string };
  reflink: boolean;
}

/**
 * Counters since the runtime was made. `started === done + failed + cancelled + running + queued`.
 */
export interface RuntimeStats {
  started: number;
  done: number;
  failed: number;
  cancelled: number;
  running: number;
  queued: number;
  steps: number;
  wakes: number;
  bytesRead: number;
  bytesWritten: number;
  memory: number;
  memoryLimit: number;
  /** Threads there are now. */
  workers: number;
  ioWorkers: number;
  connections: number;
  /** Milliseconds from start to end that half, and 99 in 100, of the tasks did not exceed. */
  latency: { readonly p50: number; readonly p99: number };
}

/** What verbs that walk one tree take besides the options of every verb. */
export interface WalkOptions extends Options {
  /**
   * Files of these names say what does not belong to the tree, as git reads a `.gitignore`: nested
   * ones too, `!` brings back, and an ignored directory is not entered. `true`: `.gitignore`. Of
   * several names in one directory the later one wins. Files above the root are not looked at.
   */
  ignoreFiles?: boolean | readonly string[];
  /** Levels that are looked at; 1: only what the root itself holds. Default: all. */
  maxDepth?: number;
  /** Directories on other file systems than the root's are told of and not entered. */
  oneFileSystem?: boolean;
  /**
   * What cannot be looked at: `collect` (default) makes it an error row and goes on, `stop` fails
   * the task with it.
   */
  onError?: "collect" | "stop";
}

/** What `list` takes. */
export interface ListOptions extends WalkOptions {
  /**
   * Size, time, mode and link target of each entry, which costs a system call for each. Default
   * false: paths and types only.
   */
  stat?: boolean;
  /** What plugins found in the files of a pack, as `columns` of their entries. Wants `stat`. */
  columns?: boolean;
  /**
   * The order of the awaited entries: `path` (default) by the bytes of the path, `name` by the last
   * part, `size` largest first and `time` newest first (both want `stat`), `none` as they were found.
   * What is iterated comes as it is found.
   */
  sort?: "path" | "name" | "size" | "time" | "none";
}

/** How the globs of a set are meant. */
export interface GlobSetOptions {
  /**
   * `path` (default): `*`, `?` and sets stay within a name, and `**` as a whole part is any number of
   * directories. `name`: the texts are single names, as in patterns; `*` and `?` take any character.
   */
  kind?: "path" | "name";
  /** Upper and lower case are one. Default false. */
  nocase?: boolean;
  /** Whether wildcards match a `.` that begins a name. Default true. */
  dot?: boolean;
}

/** Many globs asked at once. */
export interface GlobSet extends Disposable {
  /** How many globs there are. */
  readonly length: number;
  /** Whether any glob matches. */
  test(path: string): boolean;
  test(paths: readonly string[]): boolean[];
  /** Whether every glob matches. */
  all(path: string): boolean;
  all(paths: readonly string[]): boolean[];
  /** Which globs match: their places among the patterns, ascending. Frozen, and often shared. */
  match(path: string): readonly number[];
  match(paths: readonly string[]): (readonly number[])[];
}

/** How often something must be there; without `max` any number more. */
export interface Count {
  readonly min?: number;
  readonly max?: number;
}

/** A glob over the names of files, with how many must have such a name. */
export interface FilePattern {
  readonly name: string;
  /** Default: at least one; of an optional one, any number. */
  readonly count?: Count;
}

/**
 * What a directory must hold. Names are globs over one name each: `*`, `?`, `[a-z]`, `[!x]`,
 * `{a,b}`. A directory may always hold more; one file may fit several globs, and one directory
 * several patterns.
 */
export interface Pattern {
  /** The directory's own name. Absent, null or empty: any. */
  readonly name?: string | null;
  /** Each must be there as a file. */
  readonly files?: readonly (string | FilePattern)[];
  /** Each must be fitted by a directory immediately below. */
  readonly directories?: readonly Pattern[];
  /** May be there: for `assess` and `shuffle`, which ask what belongs to a match. */
  readonly optionalFiles?: readonly (string | FilePattern)[];
  readonly optionalDirectories?: readonly Pattern[];
  /** No file and no directory in it may have such a name. */
  readonly forbidden?: readonly string[];
  /** Of a pattern in `directories`: how many must fit. Default: at least one. */
  readonly count?: Count;
}

/** A directory that fits a pattern. */
export interface Match {
  kind: "match";
  /** Below the root; `""` for the root itself. */
  path: string;
  pathBytes?: Uint8Array;
  /** The very object that the caller passed; of equal ones the first. */
  pattern: Pattern;
  location: Location;
}

/** A piece of a pattern that a directory lacks, or has too much of. */
export type Missing =
  | { kind: "file"; name: string; found: number; min: number; max?: number }
  | { kind: "forbidden"; name: string; found: number }
  | {
      kind: "directory";
      name: string;
      found: number;
      min: number;
      max?: number;
      /** Of the directories that have the name, the one that lacks the least. */
      nearest?: { name: string; missing: Missing[] };
    };

/**
 * A directory that has a pattern's name and does not fit. Of a pattern for any name only those that
 * have a part of what is required.
 */
export interface NearMiss {
  kind: "near-miss";
  path: string;
  pathBytes?: Uint8Array;
  pattern: Pattern;
  /** Required pieces that are not there, those of missing directories included. */
  distance: number;
  missing: Missing[];
}

/** An awaited scan: the matches, by path and then in the order of the patterns. */
export interface ScanResult extends Found<Match> {
  /** With `explain`: nearest first. */
  readonly nearMisses: readonly NearMiss[];
}

/** What `scan` takes. */
export interface ScanOptions extends WalkOptions {
  /** What nearly fits, too, and what it lacks. Default false. */
  explain?: boolean;
}

/** What `watch` tells. Paths are below the root. */
export type WatchEvent =
  | { kind: "added"; path: string; type: EntryType }
  | { kind: "changed"; path: string; type: EntryType }
  | { kind: "removed"; path: string; type: EntryType }
  | { kind: "matched"; path: string; pattern: Pattern }
  | { kind: "unmatched"; path: string; pattern: Pattern }
  /** More changed than can be followed: forget everything, what is there follows. */
  | { kind: "rescan" }
  | Failure;

/** What `watch` takes. */
export interface WatchOptions extends Omit<ScanOptions, "explain" | "maxDepth" | "onProgress"> {
  /** Tell of what is there at the start as `added` and `matched`. Default false. */
  initial?: boolean;
}

/** A running watch: iterate it once. Leaving the loop ends it. */
export interface Watcher extends AsyncIterable<WatchEvent>, AsyncDisposable {
  /** When changes are followed: after the first look, which begins with the iteration. */
  readonly ready: Promise<void>;
  /** Ends the iteration. */
  close(): void;
}

/** What `shuffle` takes: the options of `copy`, but the pattern says what is copied. */
export interface ShuffleOptions extends Omit<CopyOptions, "include" | "exclude"> {
  /**
   * Of two matches with one destination: `error` (default) is an `EXISTS` row for each of them,
   * `skip` copies the first by path, `suffix` gives the others a number, `keep-structure` puts them
   * where their paths below the root say.
   */
  onConflict?: "error" | "skip" | "suffix" | "keep-structure";
  /** Below the destination by path, not by name. Default false. */
  structured?: boolean;
}
