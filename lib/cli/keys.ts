// What a configuration file and the environment can say, as data. Each key stands for a flag, whose
// entry in commands.ts says what its values are; config.ts reads by it, docs/cli.md explains it.

import { commands, type CommandShape } from "./commands.ts";
import { nameOf, type Flag } from "./flags.ts";

export interface Key {
  readonly section: string;
  readonly name: string;
  /** The flag it stands for, by the name of its option. */
  readonly flag: string;
  /** Only for these commands; default: all that have the flag. */
  readonly commands?: readonly CommandShape["name"][];
  /** Bounds of a whole number. */
  readonly between?: readonly [least: number, most: number];
  /** A word or number that means: as when nothing is said. */
  readonly open?: readonly (string | number)[];
  /** The only values, and what each is for the flag. */
  readonly words?: Readonly<Record<string, string | number>>;
  /** One of several that together are the list of the flag, and whether it is in it by itself. */
  readonly part?: readonly [name: string, isIn: boolean];
  /** Several texts; each is a value of the flag. */
  readonly list?: true;
  /** Not from the file of a project: that belongs to whoever wrote the directory. */
  readonly trusted?: true;
  /** What counts when nothing is said, for people. */
  readonly builtIn: string;
}

const count = { between: [0, 2 ** 31 - 1] } as const;
const copying = ["copy", "sync", "watch-sync", "unpack"] as const;
const wrapping = ["copy", "sync", "watch-sync"] as const;

// The flag counts from 0, which is what a person gets who says nothing.
const levels = { error: 0, warn: 0, info: 0, debug: 2, trace: 3 };

const sections: Readonly<Record<string, readonly Omit<Key, "section">[]>> = {
  defaults: [
    {
      name: "workers",
      flag: "workers",
      between: [1, 256],
      open: ["auto", 0],
      builtIn: "auto: cores",
    },
    {
      name: "io_workers",
      flag: "ioWorkers",
      between: [1, 256],
      open: ["auto", 0],
      builtIn: "auto: 4 x cores, 8 to 32",
    },
    {
      name: "concurrency",
      flag: "concurrency",
      between: [0, 256],
      open: ["auto"],
      builtIn: "auto",
    },
    { name: "io", flag: "io", builtIn: "auto" },
    { name: "memory", flag: "memory", between: [2 ** 24, 2 ** 40], builtIn: "default: 1G" },
    {
      name: "chunk_size",
      flag: "chunkSize",
      between: [2 ** 16, 2 ** 30],
      open: ["auto"],
      builtIn: "auto",
    },
    { name: "streams", flag: "streams", between: [1, 32], open: ["auto"], builtIn: "auto" },
    { name: "resume", flag: "resume", builtIn: "true" },
    { name: "priority", flag: "priority", builtIn: "normal" },
    {
      name: "bwlimit",
      flag: "bandwidth",
      between: [1, Number.MAX_SAFE_INTEGER],
      open: [0],
      builtIn: "0: none",
    },
    { name: "task_timeout", flag: "timeout", between: [1, 2 ** 43], open: [0], builtIn: "0: none" },
    { name: "retries", flag: "retries", between: [0, 100], builtIn: "3" },
    { name: "limits", flag: "limits", list: true, trusted: true, builtIn: "of archives only" },
    {
      name: "follow_symlinks",
      flag: "links",
      words: { true: "follow", false: "keep" },
      builtIn: "false",
    },
    { name: "ignore_files", flag: "ignoreFiles", list: true, builtIn: "none" },
    { name: "max_depth", flag: "maxDepth", ...count, open: [0], builtIn: "0: all" },
    { name: "one_file_system", flag: "oneFileSystem", builtIn: "false" },
    { name: "on_error", flag: "onError", builtIn: "collect" },
    { name: "by", flag: "by", commands: ["compare"], builtIn: "content" },
    { name: "moves", flag: "moves", commands: ["compare"], builtIn: "false" },
    { name: "metadata", flag: "metadata", list: true, builtIn: "none" },
    { name: "empty_directories", flag: "emptyDirectories", builtIn: "true" },
    { name: "size_check", flag: "sizeCheck", builtIn: "true" },
    { name: "sample", flag: "sample", builtIn: "true" },
    { name: "cache", flag: "cache", trusted: true, builtIn: "false" },
    { name: "formats", flag: "formats", list: true, builtIn: "tar zip cpio ar iso" },
    { name: "raw_equal", flag: "rawEqual", builtIn: "false" },
    {
      name: "checksum",
      flag: "by",
      commands: copying,
      words: { true: "content", false: "stat" },
      builtIn: "false",
    },
    { name: "overwrite", flag: "overwrite", commands: copying, builtIn: "different" },
    { name: "dry_run", flag: "dryRun", builtIn: "false" },
    { name: "delta", flag: "delta", builtIn: "where blocks are shared" },
    { name: "verify", flag: "verify", builtIn: "false" },
    { name: "fsync", flag: "fsync", builtIn: "true" },
    {
      name: "preserve_permissions",
      flag: "preserve",
      part: ["mode", true],
      builtIn: "true",
    },
    { name: "preserve_times", flag: "preserve", part: ["mtime", true], builtIn: "true" },
    {
      name: "preserve_owner",
      flag: "preserve",
      part: ["owner", false],
      trusted: true,
      builtIn: "false",
    },
    { name: "preserve_xattrs", flag: "preserve", part: ["xattr", false], builtIn: "false" },
    { name: "hard_links", flag: "hardLinks", builtIn: "false" },
    { name: "special_bits", flag: "specialBits", trusted: true, builtIn: "false" },
    { name: "delete", flag: "delete", trusted: true, builtIn: "true" },
    {
      name: "max_delete",
      flag: "maxDelete",
      ...count,
      open: ["none"],
      trusted: true,
      builtIn: "none",
    },
    { name: "progress", flag: "progress", builtIn: "true" },
    { name: "verbose", flag: "verbose", words: { true: 1, false: 0 }, builtIn: "false" },
  ],
  http: [
    { name: "user_agent", flag: "userAgent", builtIn: "copse/VERSION" },
    { name: "timeout", flag: "serverTimeout", between: [1, 2 ** 31 - 1], builtIn: "30s" },
    { name: "redirect_limit", flag: "redirects", between: [0, 100], builtIn: "10" },
    { name: "proxy", flag: "proxy", trusted: true, builtIn: "none" },
    { name: "ca", flag: "ca", trusted: true, builtIn: "the system's" },
    { name: "min_tls", flag: "minTls", trusted: true, builtIn: "1.2" },
    { name: "danger_accept_invalid_certs", flag: "insecure", trusted: true, builtIn: "false" },
    { name: "addresses", flag: "addresses", trusted: true, builtIn: "named" },
  ],
  // A project must not say how, or with what, somebody else's copies are written.
  compression: [
    {
      name: "level",
      flag: "compress",
      commands: wrapping,
      between: [1, 22],
      open: [0],
      trusted: true,
      builtIn: "0: none",
    },
  ],
  encryption: [
    { name: "enabled", flag: "encrypt", trusted: true, builtIn: "false" },
    { name: "key_file", flag: "keyFile", trusted: true, builtIn: "none" },
    { name: "passphrase_file", flag: "passphraseFile", trusted: true, builtIn: "none" },
  ],
  logging: [{ name: "level", flag: "verbose", words: levels, builtIn: "info" }],
  include: [{ name: "patterns", flag: "include", list: true, builtIn: "everything" }],
  exclude: [{ name: "patterns", flag: "exclude", list: true, builtIn: "nothing" }],
};

const all: readonly Key[] = Object.entries(sections).flatMap(([section, own]) =>
  own.map((key) => ({ section, ...key })),
);

/** Of the same name in several commands the first that the key is for. */
function findFlag({ flag, commands: only }: Key): Flag | undefined {
  for (const { name, groups } of commands) {
    if (only && !only.includes(name)) continue;
    const found = Object.values(groups)
      .flat()
      .find((one) => nameOf(one) === flag);
    if (found) return found;
  }
  return undefined;
}

const flags: ReadonlyMap<Key, Flag> = new Map(
  all.flatMap((key) => {
    const flag = findFlag(key);
    return flag ? [[key, flag] as const] : [];
  }),
);

/** What can be set: a key without its flag is one for later. */
export const keys: readonly Key[] = [...flags.keys()];

/** The entry of commands.ts. */
export function flagOf(key: Key): Flag {
  return flags.get(key)!; // a key is one that has it
}

export function idOf({ section, name }: Key): string {
  return `${section}.${name}`;
}

export const sectionNames: readonly string[] = [...Object.keys(sections), "profiles"];

/** What is meant for later versions: an error, because it would have no effect. */
export const later: ReadonlySet<string> = new Set([
  "azure",
  "compression",
  "encryption",
  "gcs",
  "s3",
  "ssh",
  "defaults.buffer_size",
  "defaults.retry_delay",
  "http.connect_timeout",
  "http.danger_accept_invalid_hostnames",
  "http.http2_prior_knowledge",
  "http.http3_enabled",
  "http.pool_idle_timeout",
  "http.pool_max_idle_per_host",
  "http.redirect_policy",
  "logging.file",
  "logging.format",
  "logging.max_file_size",
  "logging.max_files",
  "logging.output",
  ...all.filter((key) => !flags.has(key)).map(idOf),
]);

type ProfileValue = string | number | boolean;

/** Keys of [defaults]; a profile of the same name in a file is laid over it. */
export const profiles: Readonly<Record<string, Readonly<Record<string, ProfileValue>>>> = {
  lan: { concurrency: 16, chunk_size: "16M", streams: 8, resume: true },
  wan: {
    concurrency: 8,
    chunk_size: "4M",
    streams: 16,
    checksum: true,
    resume: true,
    retries: 5,
  },
  "small-files": { concurrency: 32, chunk_size: "256K", streams: 4 },
  "low-memory": { concurrency: 2, chunk_size: "1M", streams: 2, memory: "low-memory" },
  "max-throughput": {
    concurrency: 64,
    chunk_size: "64M",
    streams: 32,
    checksum: true,
    memory: "max-throughput",
    io: "uring",
  },
};

/** Short names of the environment besides `COPSE_<SECTION>_<KEY>`. */
export const shortNames: ReadonlyMap<string, string> = new Map([
  ["COPSE_WORKERS", "defaults.workers"],
  ["COPSE_LOG_LEVEL", "logging.level"],
]);
