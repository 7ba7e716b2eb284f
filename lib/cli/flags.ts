// The flags that several commands have, as data. They are the API's option names in kebab case.

import {
  bytes,
  chunks,
  count,
  duration,
  formatNames,
  formats,
  gather,
  limitNames,
  limits,
  memory,
  metadata,
} from "./values.ts";

export interface Flag {
  /** As commander wants it: `-q, --quiet` or `--by <way>`. */
  readonly flags: string;
  readonly about: string;
  readonly values?: readonly string[];
  /** What it means by itself where its value may be left out, which then only stands behind `=`. */
  readonly alone?: string;
  /** Throws the next move as a sentence; `before` is the value so far of a repeated flag. */
  readonly parse?: (text: string, before: unknown) => unknown;
}

export const what: readonly Flag[] = [
  { flags: "--include <glob>", about: "look only at paths that match (repeatable)", parse: gather },
  {
    flags: "-e, --exclude <glob>",
    about: "leave out paths that match (repeatable)",
    parse: gather,
  },
  {
    flags: "--links <way>",
    about: "keep: a link is a link; follow: it is what it points to; skip: leave links out",
    values: ["keep", "follow", "skip"],
  },
];

/** Of commands that walk one tree. */
export const walk: readonly Flag[] = [
  {
    flags: "--ignore-files <names>",
    about: "leave out what files of these names say, as git reads a .gitignore (with commas)",
    parse: (text) => text.split(","),
  },
  {
    flags: "--max-depth <levels>",
    about: "look at so many levels; 1: only the first",
    parse: count,
  },
  { flags: "--one-file-system", about: "do not enter other file systems" },
  {
    flags: "--on-error <way>",
    about: "collect: say it and go on (default); stop: end there",
    values: ["collect", "stop"],
  },
];

/** Of sync. */
export const bothWays: readonly Flag[] = [
  { flags: "--two-way", about: "bring changes of either side to the other" },
  {
    flags: "--conflict <way>",
    about: "which of two versions gets the name: keep-both (default), newer, left, right",
    values: ["keep-both", "newer", "left", "right"],
  },
  {
    flags: "--state <file>",
    about: "what says what both had in common (default: in the user's state directory)",
  },
];

export const how: readonly Flag[] = [
  { flags: "--concurrency <count>", about: "files in flight", parse: count },
  {
    flags: "--bandwidth <bytes>",
    about: "a second, both sides together: 500K, 10M",
    parse: bytes,
  },
  {
    flags: "--priority <level>",
    about: "high, normal or low, among tasks of one runtime",
    values: ["high", "normal", "low"],
  },
  { flags: "--timeout <time>", about: "give up after 30s, 2m, 500ms", parse: duration },
  {
    flags: "--limits <name=value>",
    about: `what an untrusted place may cost: ${limitNames.join(", ")} (repeatable)`,
    parse: limits,
  },
  { flags: "--workers <count>", about: "threads that compute (default: cores)", parse: count },
  {
    flags: "--io-workers <count>",
    about: "threads that read (default: 4 x cores, 8 to 32)",
    parse: count,
  },
  {
    flags: "--io <backend>",
    about: "how files are read: auto, blocking, threads, uring",
    values: ["auto", "blocking", "threads", "uring"],
  },
  {
    flags: "--memory <bytes>",
    about: "for buffers: 64M, or low-memory, default, high-memory, max-throughput",
    parse: memory,
  },
];

/** For every command that takes a location; place.ts makes places of them. */
export const web: readonly Flag[] = [
  {
    flags: "--header <line>",
    about: "send 'Name: value', or the lines of @FILE; - is standard input (repeatable)",
    parse: gather,
  },
  {
    flags: "--credential <name>",
    about: "token or user:password from the secret store, else COPSE_<NAME>",
  },
  { flags: "--proxy <url>", about: "go through an http or socks proxy" },
  { flags: "--ca <file>", about: "trust the certificates in this file (PEM)" },
  { flags: "--insecure", about: "believe any certificate (warns)" },
  { flags: "--user-agent <text>", about: "what to call oneself (default: copse/VERSION)" },
  { flags: "--min-tls <version>", about: "the oldest TLS to speak", values: ["1.2", "1.3"] },
  {
    flags: "--server-timeout <time>",
    about: "how long a server may take to answer (default 30s)",
    parse: duration,
  },
  { flags: "--retries <count>", about: "tries after the first (default 3)", parse: count },
  { flags: "--redirects <count>", about: "redirects to follow (default 10)", parse: count },
  {
    flags: "--addresses <which>",
    about: "private addresses: named (not by redirects), any, public (none)",
    values: ["named", "any", "public"],
  },
];

/** For every command that takes a location; place.ts makes places of them. */
export const archives: readonly Flag[] = [
  { flags: "--archives", about: "look inside: every location is an archive" },
  { flags: "--strip <count>", about: "wrapper directories to go through, at most", parse: count },
  {
    flags: "--formats <names>",
    about: `formats to read (with commas): ${formatNames.join(", ")}`,
    parse: formats,
  },
  { flags: "--password-file <file>", about: "its first line opens encrypted entries; - is stdin" },
  { flags: "--raw-equal", about: "equal packed bytes of zip entries need no unpacking" },
];

/** Of commands that know which of their locations is an archive. */
export const inside: readonly Flag[] = archives.filter(
  ({ flags }) => !/--archives|--raw-equal/.test(flags),
);

/** For every command that takes a location; place.ts makes places of them. */
export const crypt: readonly Flag[] = [
  {
    flags: "--key-file <file>",
    about: "its 32 bytes open crypt:LOCATION; - is standard input",
  },
  {
    flags: "--passphrase-file <file>",
    about: "its first line opens crypt:LOCATION; - is standard input",
  },
];

export const verbose: Flag = {
  flags: "-v, --verbose",
  about: "say on standard error what is decided and how long it takes; -vv, -vvv: more",
  parse: (_text, before) => (typeof before === "number" ? before : 0) + 1,
};

/** For every command that works: config.ts reads them. */
export const settings: readonly Flag[] = [
  { flags: "--profile <name>", about: "lan, wan, small-files, low-memory, max-throughput, or own" },
  { flags: "--config <file>", about: "read this one too, after the others" },
  { flags: "--no-config", about: "read no configuration file" },
  { flags: "--no-progress", about: "no line of progress on the terminal" },
];

export const patternFlag: Flag = {
  flags: "-p, --pattern <file>",
  about: "a pattern: JSON, YAML or TOML (repeatable, at least one)",
  parse: gather,
};
export const decide: readonly Flag[] = [
  {
    flags: "--by <way>",
    about: "what is the same: stat: size and mtime; content, hash: every byte",
    values: ["stat", "content", "hash"],
  },
  {
    flags: "--overwrite <way>",
    about: "different: what differs; newer: what is older than its source; never: nothing",
    values: ["different", "newer", "never"],
  },
];

export const transfer: readonly Flag[] = [
  { flags: "-n, --dry-run", about: "only say what would be done" },
  { flags: "-a, --archive", about: "keep owner, extended attributes and hard links, too" },
  { flags: "--hard-links", about: "names of one file stay names of one file" },
  {
    flags: "--backup-dir <directory>",
    about: "keep what is replaced or deleted there, under the path it had",
  },
  {
    flags: "--preserve <names>",
    about: "keep these: mode, mtime, owner, xattr (with commas; default: mode,mtime)",
    parse: metadata,
  },
  { flags: "--special-bits", about: "keep set-user-ID, set-group-ID and sticky bits" },
  {
    flags: "--delta",
    about: "make large files that changed of what they replace (default: where blocks are shared)",
  },
  { flags: "-C, --verify", about: "read again what was written, and compare" },
  { flags: "--no-fsync", about: "do not wait for the disk" },
];

/** What is done to the content of each file; what it is encrypted with, `crypt` says. */
export const stages: readonly Flag[] = [
  {
    flags: "-z, --compress [level]",
    about: "compress each file, zstd's level after = (1 to 22, default 3)",
    alone: "3",
    parse: count,
  },
  { flags: "--encrypt", about: "encrypt each file, with --key-file or --passphrase-file" },
];

/** Of files of web servers. */
export const parts: readonly Flag[] = [
  {
    flags: "-p, --streams <count>",
    about: "connections for one file of a web server, 1 to 32 (default: by its distance)",
    parse: (text) => (text === "auto" ? text : count(text)),
  },
  {
    flags: "--chunk-size <bytes>",
    about: "of such a file at once: 8M, or 8M-64M (default: by its size)",
    parse: chunks,
  },
  { flags: "--no-resume", about: "do not go on with what an earlier run left, and leave nothing" },
];

/** The rest is said by the plan. */
export const applyFlags = ["--dry-run", "--backup-dir", "--delta", "--verify", "--no-fsync"];

/** What some letters of programs of this kind are here. */
export type Letters = Readonly<Record<string, string>>;

export const lettersOfParts: Letters = { r: "--resume", P: "--progress" };
const lettersOfTransfer: Letters = {
  L: "--links=follow",
  u: "--overwrite=newer",
  ...lettersOfParts,
};
export const lettersOfCopy: Letters = {
  f: "--overwrite=different",
  // Trees are always whole.
  R: "",
  ...lettersOfTransfer,
};
export const lettersOfSync: Letters = {
  c: "--by=content",
  d: "--delete",
  ...lettersOfTransfer,
};

export const packing: readonly Flag[] = [
  { flags: "--level <level>", about: "zstd's, 1 to 22 (default: 3)", parse: count },
  {
    flags: "--compress <way>",
    about: "auto: what becomes smaller by it; always; never",
    values: ["auto", "always", "never"],
  },
  {
    flags: "--format <format>",
    about: "znippy, which others read (default); copse: small files together",
    values: ["znippy", "copse"],
  },
  { flags: "--repo <text>", about: "kept in the pack: where it is from" },
  {
    flags: "--package-type <number>",
    about: "kept in the pack: the kind of what is in it, 0 to 127",
    parse: count,
  },
];

export const quiet: Flag = {
  flags: "-q, --quiet",
  about: "nothing: the exit status is the answer",
};
export const json: Flag = { flags: "--json", about: "one JSON document" };
export const jsonl: Flag = {
  flags: "--jsonl",
  about: "one JSON row per line as it is found, a summary last",
};

/** Of commands that do something. */
export const printed: readonly Flag[] = [
  quiet,
  json,
  { ...jsonl, about: "one JSON row per line as it is done, a summary last" },
  verbose,
];

export const cache: Flag = {
  flags: "--cache [file]",
  about: "keep hashes between runs, and read only what changed",
};

/** The name of a flag's option: `chunkSize` of `--chunk-size`, `fsync` of `--no-fsync`. */
export function nameOf({ flags }: Flag): string {
  const [, name = ""] = /--(?:no-)?([a-z0-9-]+)/.exec(flags) ?? [];
  return name.replace(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
