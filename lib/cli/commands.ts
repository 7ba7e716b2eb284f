// What can be said on the command line, as data: args.ts parses by it, completion.ts offers it, and
// test/cli.test.ts checks that docs/cli.md explains it.

import {
  applyFlags,
  archives,
  bothWays,
  cache,
  crypt,
  decide,
  how,
  inside,
  json,
  jsonl,
  lettersOfCopy,
  lettersOfParts,
  lettersOfSync,
  packing,
  parts,
  patternFlag,
  printed,
  quiet,
  settings,
  stages,
  transfer,
  verbose,
  walk,
  web,
  what,
  type Flag,
  type Letters,
} from "./flags.ts";
import { bytes, count, duration, gather, metadata, text } from "./values.ts";

export interface CommandShape {
  readonly name:
    | "compare"
    | "compare-all"
    | "manifest"
    | "pack"
    | "repair"
    | "list"
    | "scan"
    | "assess"
    | "pattern"
    | "watch"
    | "watch-sync"
    | "shuffle"
    | "verify"
    | "blocks"
    | "cat"
    | "download"
    | "copy"
    | "sync"
    | "apply"
    | "unpack"
    | "config"
    | "profiles"
    | "doctor"
    | "completion";
  readonly about: string;
  /** Another name for it. */
  readonly alias?: string;
  /** Its arguments, and what completes each. */
  readonly places: readonly {
    /** One or more of it; only the last. */
    readonly many?: true;
    /** May be left out; only the last. */
    readonly optional?: true;
    readonly name: string;
    readonly about: string;
    readonly values?: readonly string[];
  }[];
  readonly groups: Readonly<Record<string, readonly Flag[]>>;
  /** Short for flags with a value, and for the other side of switches. */
  readonly letters?: Letters;
  readonly examples: readonly (readonly [command: string, about: string])[];
  readonly status: string;
}

const transferPlaces: CommandShape["places"] = [
  { name: "from", about: "a directory or file" },
  { name: "to", about: "where to; a file goes into a directory that is there" },
];

/** Of sync. */
const deletes: readonly Flag[] = [
  { flags: "--no-delete", about: "nothing" },
  {
    flags: "--max-delete <count>",
    about: "nothing, when it would be more entries than this",
    parse: count,
  },
  { flags: "--force", about: "an empty source may empty the destination" },
  { flags: "--moves", about: "rename what has another path in the source; do not copy it" },
];

/** What is said of the kinds of places. */
const kindsOfPlace = { "Archives:": archives, "Encrypted places:": crypt, "Web servers:": web };

const shapes: readonly CommandShape[] = [
  {
    name: "compare",
    about: "What differs between two trees or files",
    places: [
      { name: "left", about: "a directory or file" },
      { name: "right", about: "what to compare it with" },
    ],
    groups: {
      "What is compared:": [
        {
          flags: "--by <way>",
          about: "content: every byte; hash: BLAKE3; stat: size and mtime only",
          values: ["content", "hash", "stat"],
        },
        {
          flags: "--metadata <names>",
          about: "compare these too: mode, mtime, owner, xattr (with commas)",
          parse: metadata,
        },
        {
          flags: "--text <rule>",
          about:
            "in texts leave out eol, space, blank-lines (with commas); of some files only: '*.md=eol,space' (repeatable)",
          parse: text,
        },
        {
          flags: "--moves",
          about: "pair an only-left with an only-right file of the same content",
        },
        { flags: "--stop-at-first", about: "stop at the first difference" },
        {
          flags: "--no-empty-directories",
          about: "leave out one-sided directories that hold nothing",
        },
        ...what,
      ],
      "How:": [
        { flags: "--no-size-check", about: "read files of unequal size too, to find the offset" },
        { flags: "--no-sample", about: "with --stop-at-first: no quick look into large files" },
        cache,
        { flags: "--chunk-size <bytes>", about: "bytes per read, such as 128K", parse: bytes },
        ...how,
      ],
      ...kindsOfPlace,
      "What is printed:": [
        {
          flags: "-q, --quiet",
          about: "nothing: the exit status is the answer (stops at the first)",
        },
        json,
        jsonl,
        verbose,
      ],
    },
    examples: [
      ["copse compare site backup/site", "what differs, where and why"],
      ["copse compare a b --exclude '*.log' --exclude .git", "without some names"],
      ["copse compare a b --by stat --moves", "by size and time; find what was renamed"],
      ["copse compare site.tar.gz site", "an archive against the tree it was made of"],
      ["copse compare old.zip new.tar.xz --archives", "what is inside of two archives"],
      ["copse compare a b -q && echo same", "only the answer"],
      ["copse compare a b --json | jq '.differences[].path'", "for a program"],
    ],
    status: "0 equal, 1 different, 2 trouble, 130 interrupted",
  },
  {
    name: "compare-all",
    about: "Which of many trees or files are equal, each read once",
    places: [{ name: "locations", about: "directories or files", many: true }],
    groups: {
      "What is compared:": [
        ...what,
        ...walk,
        {
          flags: "--algorithm <name>",
          about: "blake3 (default) or sha256, as a manifest among them has",
          values: ["blake3", "sha256"],
        },
      ],
      "How:": [cache, ...how],
      ...kindsOfPlace,
      "What is printed:": [quiet, json, verbose],
    },
    examples: [["copse compare-all a b c", "groups of equal ones"]],
    status: "0 all equal, 1 different, 2 trouble, 130 interrupted",
  },
  {
    name: "manifest",
    about: "The paths, sizes and hashes of a tree, to compare with later",
    places: [{ name: "location", about: "a directory or file" }],
    groups: {
      "What is hashed:": [...what, ...walk],
      "How:": [
        {
          flags: "--algorithm <name>",
          about: "blake3 (default) or sha256",
          values: ["blake3", "sha256"],
        },
        cache,
        ...how,
      ],
      ...kindsOfPlace,
      "What is printed:": [
        {
          flags: "--format <name>",
          about: "jsonl (default), or a list for sha256sum (sha256) or b3sum",
          values: ["jsonl", "sha256", "b3sum"],
        },
        verbose,
      ],
    },
    examples: [
      ["copse manifest site > site.jsonl", "then: copse compare site manifest:site.jsonl"],
      ["copse manifest site --format sha256 > SHA256SUMS", "for sha256sum --check"],
    ],
    status: "0 all was hashed, 2 trouble, 130 interrupted",
  },
  {
    name: "list",
    alias: "ls",
    about: "What a tree holds",
    places: [{ name: "location", about: "a directory or file" }],
    groups: {
      "What is listed:": [
        ...what,
        ...walk,
        {
          flags: "-R, --recursive",
          about: "all levels, which is the default; wins over --max-depth and a configuration",
        },
      ],
      "How:": how,
      ...kindsOfPlace,
      "What is printed:": [
        { flags: "-l, --long", about: "permissions and exact bytes too" },
        { flags: "-h, --human", about: "with -l: sizes for people" },
        { flags: "--columns", about: "of files in a pack: what plugins found in them" },
        {
          flags: "-s, --sort <order>",
          about: "path (default), name, size (largest first), time (newest first), none",
          values: ["path", "name", "size", "time", "none"],
        },
        { flags: "-0, --null", about: "only the paths, as the bytes they are, a NUL after each" },
        json,
        { flags: "--jsonl", about: "one JSON entry per line as it is found, a summary last" },
        verbose,
      ],
    },
    examples: [
      ["copse list src", "type, size, time and path of every entry"],
      ["copse list src --include '*.ts' -0 | xargs -0 wc -l", "paths for another command"],
      [
        "copse ls . --ignore-files .gitignore -l -s size | head",
        "the largest of what git would keep",
      ],
    ],
    status: "0 all was listed, 2 trouble, 130 interrupted",
  },
  {
    name: "scan",
    about: "Directories that fit a pattern of what they must hold",
    places: [{ name: "root", about: "where to look, itself included" }],
    groups: {
      "What is looked for:": [
        patternFlag,
        { flags: "--explain", about: "what nearly fits, too, and what it lacks, nearest first" },
      ],
      "What is looked at:": [...what, ...walk],
      "How:": how,
      ...kindsOfPlace,
      "What is printed:": [
        { flags: "-0, --null", about: "the paths as the bytes they are, a NUL after each" },
        json,
        jsonl,
        verbose,
      ],
    },
    examples: [
      ["copse scan data -p session.json", "one directory per line"],
      ["copse scan data -p session.yaml --explain", "and what the others lack"],
    ],
    status: "0 found, 1 none found, 2 trouble, 130 interrupted",
  },
  {
    name: "assess",
    about: "The directories above a file that fit a pattern in which it has its place",
    places: [{ name: "file", about: "a path or URL" }],
    groups: {
      "What is looked for:": [patternFlag],
      "What is looked at:": [...what, ...walk],
      "How:": how,
      ...kindsOfPlace,
      "What is printed:": [
        { flags: "-0, --null", about: "the paths as the bytes they are, a NUL after each" },
        json,
        jsonl,
        verbose,
      ],
    },
    examples: [["copse assess data/sub-01/anat/t1.nii.gz -p subject.json", "nearest first"]],
    status: "0 found, 1 none found, 2 trouble, 130 interrupted",
  },
  {
    name: "shuffle",
    about: "Copy what fits a pattern, each match to a place of its own",
    places: [
      { name: "root", about: "where to look, itself included" },
      { name: "to", about: "below it each match gets its name" },
    ],
    groups: {
      "What is copied:": [patternFlag, ...what],
      "Where to:": [
        { flags: "--overwrite", about: "merge into destinations that are there already" },
        { flags: "--structured", about: "by path below the root, not by name" },
        {
          flags: "--on-conflict <way>",
          about: "two matches of one name: error (default), skip, suffix, keep-structure",
          values: ["error", "skip", "suffix", "keep-structure"],
        },
        { flags: "-n, --dry-run", about: "only say what would be copied, and what clashes" },
      ],
      "How:": how,
      ...kindsOfPlace,
      "What is printed:": [quiet, json, verbose],
    },
    examples: [["copse shuffle data sorted -p subject.json -n", "what would go where"]],
    status: "0 copied, 1 nothing found, 2 trouble, 130 interrupted",
  },
  {
    name: "watch",
    about: "What changes below a directory, as it happens",
    places: [{ name: "root", about: "a local directory" }],
    groups: {
      "What is watched:": [
        { ...patternFlag, about: "tell when a directory begins and ceases to fit it (repeatable)" },
        { flags: "--initial", about: "first what is there" },
        ...what,
        ...walk.filter(({ flags }) => flags.startsWith("--ignore-files")),
      ],
      "How:": how,
      "What is printed:": [{ flags: "--jsonl", about: "one JSON event per line" }, verbose],
    },
    examples: [
      ["copse watch inbox -p complete.json | grep ^matched", "directories that are complete"],
    ],
    status: "0 closed, 2 trouble, 130 interrupted",
  },
  {
    name: "pattern",
    about: "A pattern made from an example",
    places: [
      { name: "what", about: "infer: a pattern that a directory fits", values: ["infer"] },
      { name: "directory", about: "the example" },
    ],
    groups: { "What is looked at:": what, "How:": how, "What is printed:": [verbose] },
    examples: [
      ["copse pattern infer data/sub-01 > subject.json", "for copse scan -p subject.json"],
    ],
    status: "0 done, 2 trouble, 130 interrupted",
  },
  {
    name: "verify",
    about: "Whether a pack or archive is intact",
    places: [{ name: "location", about: "a pack or archive" }],
    groups: {
      "What is read:": what,
      "Whose it is:": [
        {
          flags: "--key <key>",
          about: "a public key of minisign, or its file: whose signature it has",
        },
        { flags: "--signature <file>", about: "where its signature is (default: FILE.minisig)" },
      ],
      "How:": how,
      "Archives:": inside,
      "Web servers:": web,
      "What is printed:": [quiet, json, jsonl, verbose],
    },
    examples: [
      ["copse verify site.znippy", "read everything against its checksums"],
      ["copse verify -q site.znippy || echo damaged", "only the answer"],
      ["copse verify site.znippy --key site.pub", "and whether it is who made it"],
    ],
    status: "0 intact, 1 damaged, unsigned; 2 trouble, no pack; 130 interrupted",
  },
  {
    name: "blocks",
    about: "Which content of a tree is there more than once, by blocks",
    places: [{ name: "location", about: "a directory, file, pack or archive" }],
    groups: {
      "What is read:": [...what, ...walk],
      "How:": [
        {
          flags: "--size <bytes>",
          about: "of a block, on average: 1K to 4M (default 64K)",
          parse: bytes,
        },
        ...how,
      ],
      ...kindsOfPlace,
      "What is printed:": [
        quiet,
        json,
        { flags: "--jsonl", about: "one JSON row per block as it is found, a summary last" },
        verbose,
      ],
    },
    examples: [
      ["copse blocks photos | tail -1", "how much of it is there more than once"],
      ["copse blocks --size 4K --json disk.img", "smaller blocks find more, and cost more"],
    ],
    status: "0 all was read, 2 trouble, 130 interrupted",
  },
  {
    name: "cat",
    about: "The bytes of one file, also of a pack or archive",
    places: [
      { name: "location", about: "a directory, pack or archive" },
      { name: "path", about: "the file in it" },
    ],
    groups: { "Archives:": inside, "Encrypted places:": crypt, "Web servers:": web },
    examples: [["copse cat site.znippy index.html", "one file out of a pack"]],
    status: "0, 2 trouble, 130 interrupted",
  },
  {
    name: "copy",
    alias: "cp",
    about: "Copy a tree or file: what is missing or different, nothing is deleted",
    places: transferPlaces,
    groups: {
      "What is copied:": [...decide, ...what],
      "How:": [...transfer, ...stages, ...parts, ...how],
      "Archives:": inside,
      "Encrypted places:": crypt,
      "Web servers:": web,
      "What is printed:": printed,
    },
    letters: lettersOfCopy,
    examples: [
      ["copse copy site /backup/site", "what is missing or different"],
      ["copse copy a b -n", "only say what would be done"],
    ],
    status: "0 done, 2 trouble (the rest is done), 130 interrupted",
  },
  {
    name: "download",
    alias: "dl",
    about: "Fetch files of web servers into a directory",
    places: [
      {
        name: "urls",
        about: "what to fetch; the last may be the directory to put it into (default: here)",
        many: true,
      },
    ],
    groups: {
      "What is fetched:": [
        {
          flags: "-o, --output <file>",
          about: "the name of the one file, - is standard output (default: as the server says)",
        },
        ...decide.slice(1),
        { flags: "-n, --dry-run", about: "only say what would be done" },
        { flags: "-C, --verify", about: "fetch it again and compare" },
      ],
      "How:": [
        { flags: "-j, --parallel <count>", about: "URLs at once (default 5)", parse: count },
        ...parts,
        { flags: "--no-fsync", about: "do not wait for the disk" },
        ...how,
      ],
      "Web servers:": web,
      "What is printed:": printed,
    },
    letters: { f: "--overwrite=different", ...lettersOfParts },
    examples: [
      ["copse dl https://host/disk.img", "into this directory, over several connections"],
      ["copse dl https://host/a.zip https://host/b.zip /data", "several, into /data"],
      ["copse dl https://host/x.tar -o - | tar t", "to another command"],
    ],
    status: "0 all was fetched, 2 trouble (the rest is fetched), 130 interrupted",
  },
  {
    name: "sync",
    about: "Make one tree like another: copy, then delete what only it has",
    places: transferPlaces,
    groups: {
      "What is copied:": [...decide, ...what],
      "What is deleted:": deletes,
      "Both ways:": bothWays,
      "How:": [...transfer, ...stages, ...parts, ...how],
      "Archives:": inside,
      "Encrypted places:": crypt,
      "Web servers:": web,
      "What is printed:": printed,
    },
    letters: { ...lettersOfSync, w: "--watch" },
    examples: [
      ["copse sync site /backup/site", "a copy, kept the same"],
      ["copse sync site /backup/site --exclude .git -n", "the plan; what is left out stays"],
      ["copse sync site /backup/site -n --json > plan.json", "to look at, then: copse apply"],
      ["copse sync notes /mnt/stick/notes --two-way", "changes of either side go to the other"],
    ],
    status: "0 done, 2 trouble (the rest is done), 130 interrupted",
  },
  {
    name: "watch-sync",
    about: "Sync, and again whenever something changed",
    places: [
      { name: "from", about: "a local directory" },
      { name: "to", about: "where it goes" },
    ],
    groups: {
      "What is copied:": [...decide, ...what],
      "What is deleted:": deletes,
      "Both ways:": bothWays,
      "When:": [
        {
          flags: "--settle <time>",
          about: "without a change before it begins (default 100ms)",
          parse: duration,
        },
        {
          flags: "--max-wait <time>",
          about: "when it begins though changes go on (default 2s)",
          parse: duration,
        },
        { flags: "--stop-on-error", about: "end at the first error; else it is tried again" },
      ],
      "How:": [
        ...transfer.filter(({ flags }) => !flags.includes("--dry-run")),
        ...stages,
        ...parts,
        ...how,
      ],
      "Encrypted places:": crypt,
      "Web servers:": web,
      "What is printed:": [
        { flags: "--jsonl", about: "one JSON line for each round" },
        { flags: "-q, --quiet", about: "only trouble" },
        verbose,
      ],
    },
    letters: lettersOfSync,
    examples: [
      ["copse watch-sync site /backup/site", "until Ctrl-C"],
      ["copse watch-sync notes /mnt/stick/notes --two-way", "changes of either side"],
    ],
    status: "0 closed, 2 trouble, 130 interrupted",
  },
  {
    name: "apply",
    about: "Do what a dry run said, as far as it is still true",
    places: [{ name: "plan", about: "what --dry-run --json printed; - is standard input" }],
    groups: {
      "How:": [
        ...transfer.filter(({ flags }) => applyFlags.some((name) => flags.includes(name))),
        ...stages.filter(({ flags }) => flags.includes("--compress")),
        ...how,
      ],
      "Both ways:": bothWays.filter(({ flags }) => flags.includes("--state")),
      "Archives:": inside,
      "Encrypted places:": crypt,
      "What is printed:": printed,
    },
    examples: [
      ["copse apply plan.json", "what changed since is an error line and is left"],
      ["copse apply plan.json --key-file key", "the plan's crypt: places are opened with it"],
    ],
    status: "0 done, 2 trouble (the rest is done), 130 interrupted",
  },
  {
    name: "pack",
    about: "Pack a tree into one file, compressed and hashed",
    places: [
      { name: "from", about: "a directory, file, archive or URL" },
      { name: "to", about: "the pack to make; - is standard output" },
    ],
    groups: {
      "What is packed:": what,
      "How:": [
        ...transfer.filter(({ flags }) => /--dry-run|--no-fsync/.test(flags)),
        ...packing,
        {
          flags: "--seed <pack>",
          about: "an old pack: what it has is not compressed again",
        },
        { flags: "--append <pack>", about: "a seed of which everything is kept that is not new" },
        {
          flags: "--plugin <file>",
          about: "a module that looks into files, for columns of the index (repeatable)",
          parse: gather,
        },
        { flags: "--sign <file>", about: "sign with this secret key of minisign: FILE.minisig" },
        {
          flags: "--sign-password-file <file>",
          about: "its first line opens the key; - is standard input",
        },
        ...how,
      ],
      "Archives:": inside,
      "Encrypted places:": crypt,
      "Web servers:": web,
      "What is printed:": printed,
    },
    examples: [
      ["copse pack site site.znippy", "verify, list, compare and unpack read it"],
      ["copse pack site - | ssh host 'cat > site.znippy'", "to another command"],
      ["copse pack site new.znippy --seed old.znippy", "only what changed is compressed"],
    ],
    status: "0 done, 2 trouble (the rest is packed), 130 interrupted",
  },
  {
    name: "repair",
    about: "Make a new pack of what is whole in a damaged one",
    places: [
      { name: "from", about: "the damaged pack" },
      { name: "to", about: "the pack to make" },
    ],
    groups: {
      "What is brought back:": what,
      "How:": [...packing, ...how],
      "Web servers:": web,
      "What is printed:": printed,
    },
    examples: [["copse repair damaged.znippy mended.znippy", "what is whole of it"]],
    status: "0 all came back, 1 some without names, 2 some damaged, or trouble",
  },
  {
    name: "unpack",
    about: "Copy what is in a pack or archive into a directory",
    places: [
      { name: "from", about: "a pack or archive" },
      { name: "to", about: "a directory" },
    ],
    groups: {
      "What is unpacked:": [...decide, ...what],
      "How:": [...transfer, ...parts, ...how],
      "Archives:": inside,
      "Encrypted places:": crypt,
      "Web servers:": web,
      "What is printed:": printed,
    },
    examples: [["copse unpack site.znippy site --include '*.html'", "only some of it"]],
    status: "0 done, 2 trouble (the rest is done), 130 interrupted",
  },
  {
    name: "config",
    about: "What is set by files and the environment, and from where",
    places: [
      {
        name: "what",
        about: "show: what is in force; validate: whether files are good",
        values: ["show", "validate"],
      },
      { name: "file", about: "only this one", optional: true },
    ],
    groups: { "What is printed:": [json] },
    examples: [
      ["copse config show --profile wan", "every key, its value and its origin"],
      ["copse config validate copse.toml", "before it is committed"],
    ],
    status: "0 all is well, 2 trouble",
  },
  {
    name: "profiles",
    about: "Which profiles there are, and what they set",
    places: [
      { name: "what", about: "list: their names; show: what one sets", values: ["list", "show"] },
      { name: "name", about: "the one to show", optional: true },
    ],
    groups: { "What is printed:": [json] },
    examples: [["copse profiles show wan", "every key, its value and its origin"]],
    status: "0 all is well, 2 trouble",
  },
  {
    name: "doctor",
    about: "What was built, and what this machine can do",
    places: [],
    groups: { "What is printed:": [json] },
    examples: [["copse doctor", "for a bug report, or when something does not start"]],
    status: "0 all is well, 2 trouble",
  },
  {
    name: "completion",
    about: "A completion script for a shell",
    places: [{ name: "shell", about: "bash, zsh or fish", values: ["bash", "zsh", "fish"] }],
    groups: {},
    examples: [
      ['eval "$(copse completion bash)"', "in ~/.bashrc; zsh the same way in ~/.zshrc"],
      ["copse completion fish | source", "in ~/.config/fish/config.fish"],
    ],
    status: "0, or 2 for a shell it does not know",
  },
];

export const commands: readonly CommandShape[] = shapes.map(withSettings);

/** A completion script is the same whatever is set. */
function withSettings(shape: CommandShape): CommandShape {
  if (shape.name === "completion") return shape;
  return { ...shape, groups: { ...shape.groups, "Settings:": settings } };
}
