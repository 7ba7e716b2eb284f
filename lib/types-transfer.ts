// The public types of copy, sync, apply and pack.

import type { Body } from "./body.ts";
import type { Encryption, EntryType, Failure, Location, Options, Totals } from "./types.ts";

/** What one side was when a dry run looked. */
export interface Seen {
  type: EntryType;
  size: number;
  /** Nanoseconds since 1970, in decimal digits; absent: not known. */
  mtime?: string;
}

/** What a dry run says of a step besides, so that `apply` can tell whether it is still true. */
export interface Planned {
  path: string;
  pathBytes?: Uint8Array;
  /** What is copied; of `deleted`, what is deleted. */
  source?: Seen;
  /** What it takes the place of; of `renamed`, what gets the name. */
  target?: Seen;
  /** With `twoWay`: the side that was changed. */
  to?: "left" | "right";
}

/** One thing that `copy` or `sync` did, or with `dryRun` would do. Switch on `kind`. */
export type Action =
  | (Planned & {
      kind: "copied";
      type: EntryType;
      size: number;
      /** Of a single file, whose path is empty: the name it got, which a server may have chosen. */
      name?: string;
    })
  | (Planned & { kind: "created" })
  | (Planned & { kind: "updated"; type: EntryType })
  | (Planned & { kind: "renamed"; from: string; fromBytes?: Uint8Array })
  /** With `hardLinks`: a further name of the file at `from`. */
  | (Planned & { kind: "linked"; from: string; fromBytes?: Uint8Array })
  | {
      /** Left as it was. What is the same on both sides has no row; it is counted. */
      kind: "skipped";
      path: string;
      pathBytes?: Uint8Array;
      /** `exists`: as `overwrite` says; `special`: a pipe, socket or device, never read. */
      reason: "exists" | "special";
    }
  | (Planned & { kind: "deleted"; type: EntryType })
  | {
      /**
       * With `twoWay`: both sides changed what has this name since the last run, or one changed what
       * the other deleted. What is copied for it has rows of its own.
       */
      kind: "conflict";
      path: string;
      pathBytes?: Uint8Array;
      /** What each side had; absent: it had deleted it. */
      left?: Seen;
      right?: Seen;
      /** Whose version has the name now; `both`: the newer one's, the other one's is at `as`. */
      kept: "both" | "left" | "right";
      as?: string;
      asBytes?: Uint8Array;
    }
  | Failure;

/** What a pack that was made holds. */
export interface PackReport {
  files: number;
  /** The root included. */
  directories: number;
  /** Files that went through the compressor. */
  compressedFiles: number;
  /** Files that were stored as they are, because their names say that they are compressed already. */
  storedFiles: number;
  /** Of all files. */
  bytesIn: number;
  /** Of the pack, its index included. */
  bytesOut: number;
  /** Of the files that went through the compressor, before it. */
  compressedBytes: number;
  storedBytes: number;
  /** Parts of files, each with a hash of its own. Parts of equal content are kept once. */
  chunks: number;
  /** `bytesOut / bytesIn`; 1 for an empty tree. */
  ratio: number;
  /** BLAKE3, in hex digits, which proves the index, and with it all content. */
  indexHash: string;
  /** Bytes of the pack that came from its seed as they were, */
  reused: number;
  /** and of content in them, which was not compressed again. */
  reusedBytes: number;
}

/** A secret key of minisign. */
export interface SignOptions {
  /** The path of its file. */
  readonly key: string;
  /** Where it has one. */
  readonly password?: string;
}

/** The whole of a `copy` or `sync`. */
export interface Transfer extends Totals {
  /** Everything was seen and nothing failed. */
  complete: boolean;
  /** Files and links that were copied. */
  copied: number;
  /** Directories that were made. */
  created: number;
  /** Entries whose mode, time, owner or attributes were set; no content moved. */
  updated: number;
  /** With `moves`: files that got another name instead of being copied. */
  renamed: number;
  /** With `hardLinks`: further names of files. */
  linked: number;
  /** Files and links that were left as they were, most of them because they were the same. */
  skipped: number;
  deleted: number;
  /** What only the destination has and was not deleted, because something forbade it. */
  kept: number;
  /** Bytes of the copied files. */
  transferred: number;
  /** Bytes of them that were there already and did not move. */
  saved: number;
  /** Bytes of them that an interrupted run had brought already. */
  resumed: number;
  /** Steps that were tried again. */
  retries: number;
  /**
   * Bytes that did not pass through the process: shared with the source (`clone`), copied inside the
   * kernel (`copyRange`, `splice` between file systems and through pipes, `sendfile` to sockets). What
   * else was copied was read and written.
   */
  ways: {
    readonly clone: number;
    readonly copyRange: number;
    readonly splice: number;
    readonly sendfile: number;
  };
  /** Steps that there were: all that was done, and `errors`. */
  planned: number;
  /** Bytes of copied files a second, from beginning to end. */
  rate: number;
  /** With `verify`: files that were read again and are right. */
  verified: number;
  /** Milliseconds of each phase. Listing, deciding and copying go on at once: `copy`. */
  phases: { readonly copy: number; readonly moves: number; readonly delete: number };
  /** With `dryRun`: what `apply` needs besides the actions. */
  plan?: PlanHead;
  /** With `twoWay`: how many versions met, and what there was of the state of the last run. */
  twoWay?: { readonly conflicts: number; readonly state: "new" | "known" | "damaged" };
  /** Of the pack that was made; only where one was. */
  report?: PackReport;
  /**
   * Of a `repair`, when the index of the damaged pack was lost: so many files came back without their
   * names, in that directory of the new pack. Absent: the index was whole. With `kindsLost` nothing
   * said which package type and repo the files had.
   */
  recovered?: { numbered: number; folder: string; kindsLost?: true };
  /**
   * Sorted by the bytes of the path. Empty when the task was iterated: the rows went there. Many are
   * made when they are first asked for, all at once: `rowsOf` gives one after the other.
   */
  actions: Action[];
}

/** The options that decide what there is to do. */
export type PlanOptions = Pick<
  SyncOptions,
  | "by"
  | "overwrite"
  | "preserve"
  | "specialBits"
  | "hardLinks"
  | "moves"
  | "delete"
  | "maxDelete"
  | "force"
  | "include"
  | "exclude"
  | "links"
> & {
  /** Both ways; the state that it was made with. */
  readonly twoWay?: TwoWayOptions;
};

/** What a plan is about. Locations are without credentials. */
export interface PlanHead {
  readonly version: 1;
  readonly verb: "copy" | "sync";
  readonly from: string;
  readonly to: string;
  readonly options: PlanOptions;
}

/** The awaited result of a dry run, or the JSON that `copse sync --dry-run --json` prints. */
export interface Plan {
  readonly plan?: PlanHead;
  readonly actions: readonly Action[];
}

/** What `apply` takes besides what its plan says. */
export interface ApplyOptions
  extends
    Options,
    Pick<
      SyncOptions,
      "actions" | "backupDir" | "delta" | "dryRun" | "verify" | "fsync" | "retries" | "resume"
    > {
  /** The source, where it needs more than a plan may hold, such as a password. */
  from?: Location;
  /** The destination, likewise. */
  to?: Location;
  /** Both ways: the state that the plan was made with, where it was named then. A plan names no file that is written to. */
  state?: string;
}

/** What `copy` takes besides the options of every verb. */
export interface CopyOptions extends Options {
  /**
   * When two files are the same: `stat` (default) trusts size and modification time; `content`
   * reads both; `hash` is the same answer. A file of the same content gets its metadata set and is
   * `updated`.
   */
  by?: "content" | "hash" | "stat";
  /**
   * Which of two files that differ is replaced: every one (`different`, default), only one that is
   * older than its source (`newer`), or none (`never`).
   */
  overwrite?: "newer" | "different" | "never";
  /** Only say what would be done. */
  dryRun?: boolean;
  /**
   * Which rows are told: `all` (default), or `trouble`: errors and conflicts only. Counts are whole
   * either way. Of a million files nobody looks at, rows are most of the memory.
   */
  actions?: "all" | "trouble";
  /** Read again what was written and compare; `CORRUPT` where it is not the same. Default false. */
  verify?: boolean;
  /**
   * A large file that changed is made of the one it replaces. `true`: always, and what lies elsewhere
   * in the old one is found; `false`: never. Without it: where the file system shares blocks.
   */
  delta?: boolean;
  /**
   * What is kept besides type and content. Default: mode and mtime. `owner` needs the rights to
   * give files away; `xattr` includes access control lists.
   */
  preserve?: readonly ("mode" | "mtime" | "owner" | "xattr")[];
  /** Keep set-user-ID, set-group-ID and sticky bits too. Default false. */
  specialBits?: boolean;
  /**
   * Wait for the disk before a file gets its name. Default true. Without it a power loss may leave
   * an empty file; a killed process leaves the old or the new one either way.
   */
  fsync?: boolean;
  /** How often a step that may work a moment later is tried again, 0 to 100. Default 3. */
  retries?: number;
  /**
   * Go on with a large file where an earlier run ended. Default true: what came of one of a web server
   * above 1 MiB, or of this machine from 16 MiB on, is kept beside its destination, `.copse-….keep`,
   * when a run is cut off, cancelled or killed, and used when the source still has that content. Only
   * what has its digest, or is what the source has, is used.
   */
  resume?: boolean;
  /**
   * Connections for one file of a web server, 1 to 32. `auto` (default): by how far the server is
   * and how much comes, 4 to 32; one for files below 1 MiB and for servers without ranges.
   */
  streams?: number | "auto";
  /**
   * Bytes of a file of a web server that are asked for at once, 64 KiB to 1 GiB, or the least and the
   * most of them. `auto` (default): 4 MiB up to 100 MiB, then 8 to 64 MiB, more the farther the server.
   */
  chunkSize?: number | { readonly min: number; readonly max: number } | "auto";
  /**
   * Compress the content of each file: zstd's level, 1 to 22, or `true` for 3. What lies in the
   * destination then is read through `crypt:` (`CryptLocation`) and by nothing else. Default: not.
   */
  compress?: boolean | number;
  /**
   * Encrypt the content of each file (AES-256-GCM), after it was compressed where both are asked for.
   * Names, sizes by and large, times and modes are not hidden. What the destination holds of another
   * secret is `AUTH`, and then nothing is written beside it. Default: not.
   */
  encrypt?: Encryption;
  /**
   * Several names of one file stay names of one file, where both sides can. Default false: each
   * name is a file of its own.
   */
  hardLinks?: boolean;
  /**
   * A directory (it is made) that keeps what is replaced or deleted, under the path it had. What it
   * holds is never part of the destination.
   */
  backupDir?: Location;
  /**
   * Copies of one number, 1 to `Number.MAX_SAFE_INTEGER`, belong together: where their sources give
   * two files the same name in one directory, the second is `EXISTS` and the first stays. A copy
   * that failed or was cancelled leaves the name to the next. Counts within one runtime, for as long
   * as it lives. Default: each copy is by itself.
   */
  batch?: number;
}

/** A file that is given to `pack` by itself. */
export interface PackEntry {
  /** Relative, with `/` between its parts. */
  readonly path: string;
  readonly data: Body;
  /** The kind of what it is, 0 to 127; `packageType` by default. */
  readonly pkgType?: number;
  /** Where it is from; `repo` by default. Each kind and origin has an index of its own in the pack. */
  readonly repo?: string;
  /** Permission bits. Default: not kept, as the next. */
  readonly mode?: number;
  readonly mtime?: Date;
}

/** What a plugin found in a file: a value for each of its fields, or for some. */
export type PluginFields = Readonly<Record<string, string | number | null | undefined>>;

/** Finds in files what is kept in columns of a pack's index. */
export interface PackPlugin {
  /** The kind of what it knows, 0 to 127: the `pkg_type` of files it found something in. */
  readonly typeId: number;
  /** Globs, as those of `include`: which files it looks into, up to 256 MiB each. */
  readonly match: readonly string[];
  /** The columns, by name. Fields of one name and kind are one column, whosever they are. */
  readonly fields: Readonly<Record<string, "utf8" | "uint32">>;
  /**
   * Nothing, or null: it is none of these. What it throws is an `error` row about the file, which is
   * packed all the same. A Sync form takes no promise.
   */
  extract(
    path: string,
    bytes: Uint8Array,
  ): PluginFields | null | undefined | void | Promise<PluginFields | null | undefined | void>;
}

/** What `pack` takes besides the options of `copy`; that a pack is whole says `verify`, afterwards. */
export interface PackOptions extends Omit<CopyOptions, "compress" | "encrypt" | "verify"> {
  /** zstd's level, 1 to 22. Default 3. */
  level?: number;
  /**
   * `auto` (default) stores what does not become smaller and what is known to be packed by its name;
   * `always` tries all, `never` stores all.
   */
  compress?: "auto" | "always" | "never";
  /**
   * `znippy` (default): other programs read it too. `copse`: small files are packed together, which takes
   * much less room, and only copse reads it.
   */
  format?: "znippy" | "copse";
  /** A number for the kind of what is packed, kept in the pack's manifest, 0 to 127. Default 0. */
  packageType?: number;
  /** Where it is from, kept in the pack's manifest. Default: an empty text. */
  repo?: string;
  /**
   * Sign the pack with this key (a path alone: one without a password). The signature lies beside it,
   * `FILE.minisig`, and is minisign's. Only packs in local files. Default: not signed.
   */
  sign?: string | SignOptions;
  /**
   * An old pack. Parts of files that it has are taken from there instead of being compressed again,
   * each after its own checks; files are read and hashed all the same. Default: none.
   */
  seed?: Location;
  /** A seed, of which everything is kept that has no new content: the new pack is both. */
  append?: Location;
  /**
   * What they find in files goes into columns of the index, before what packs that files come from
   * have said; each file is read once. Default: none.
   */
  plugins?: readonly PackPlugin[];
}

/** What `repair` takes: as `pack`, but for what makes more of the new pack than the old one had. */
export type RepairOptions = Omit<PackOptions, "sign" | "seed" | "append" | "plugins">;

/** What `sync` takes besides the options of `copy`. */
export interface SyncOptions extends CopyOptions {
  /** Delete what only the destination has, last of all. Default true. */
  delete?: boolean;
  /** Delete nothing when it would be more entries than this. Default: no limit. */
  maxDelete?: number;
  /** An empty source may empty the destination. Default false. */
  force?: boolean;
  /**
   * A file that has another path in the source is renamed, not copied. With `by: "stat"` equal name,
   * size and time are enough; everything else of equal size is read on both sides. Default false.
   */
  moves?: boolean;
  /**
   * Changes of either side are brought to the other. What both had in common is kept in a state
   * file, which says what was changed, created and deleted since the last run; without it, or when
   * it is damaged, nothing is deleted. Takes none of `by`, `overwrite`, `delete`,
   * `hardLinks`, `links`, `compress`, `encrypt`; `preserve` must have `mtime`. Default false.
   */
  twoWay?: boolean | TwoWayOptions;
}

/** What `sync` takes as `twoWay`. */
export interface TwoWayOptions {
  /**
   * The state file, outside both trees. Default: one for each pair of places in
   * `$XDG_STATE_HOME/copse/two-way`, by default below `~/.local/state`.
   */
  state?: string;
  /**
   * Which of two versions of one name gets it: the newer one, and the other one is kept beside it as
   * `NAME.conflict-SIDE-TIME` (`keep-both`, default); the newer one, or always that of one side, and
   * the other one is kept in `backupDir`, which these need. A change always wins over a deletion.
   */
  conflict?: "keep-both" | "newer" | "left" | "right";
}

/** What `watchSync` takes: the options of `sync`, and when it goes to work. */
export interface WatchSyncOptions extends Omit<SyncOptions, "dryRun"> {
  /** Milliseconds without a change before a round begins. Default 100. */
  settle?: number;
  /** Milliseconds after which one begins though changes go on. Default 2000. */
  maxWait?: number;
  /**
   * `continue` (default): what fails is told and tried again. `stop`: it ends the watch, an error of
   * one entry too.
   */
  onError?: "continue" | "stop";
}

/** What happens while `watchSync` is at work. Switch on `kind`. */
export type WatchSyncEvent =
  /** A round that did something, or met trouble that was not there before; and the first one. */
  | { kind: "synced"; transfer: Transfer }
  /** A whole round or the watch failed. It is tried again. */
  | { kind: "failed"; error: Error };

/** A running `watchSync`: iterate it once. Leaving the loop ends it. */
export interface WatchSyncer extends AsyncIterable<WatchSyncEvent>, AsyncDisposable {
  /** When the first round is over; rounds begin with the iteration. */
  readonly ready: Promise<void>;
  /** Ends the iteration, and a round that is running. */
  close(): void;
}
