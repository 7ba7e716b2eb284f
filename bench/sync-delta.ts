// How much of a large file that changed a little is sent, and how many blocks it costs, beside rsync.

import { linkSync, mkdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { onLoop } from "./loop.ts";

type Cells = readonly string[];

const changes = 10;
const changedBytes = 100;

function noise(bytes: number): Buffer {
  const words = new Uint32Array(bytes / 4);
  for (let i = 0, x = 1; i < words.length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    words[i] = x;
  }
  return Buffer.from(words.buffer);
}

/** Where the changes are, spread over the file. */
const places = (size: number): number[] =>
  Array.from({ length: changes }, (_, i) => Math.floor(((i + 0.5) * size) / changes));

function withInserts(old: Buffer): Buffer {
  const parts: Buffer[] = [];
  let from = 0;
  for (const at of places(old.length)) {
    parts.push(old.subarray(from, at), Buffer.alloc(changedBytes, "+"));
    from = at;
  }
  return Buffer.concat([...parts, old.subarray(from)]);
}

function withOverwrites(old: Buffer): Buffer {
  const made = Buffer.from(old);
  for (const at of places(old.length)) made.fill("*", at, at + changedBytes);
  return made;
}

/** What the command says it did. */
function ours(command: readonly string[], from: string, to: string): { fresh: number } {
  const asked = Bun.spawnSync([...command, "--help"])
    .stdout.toString()
    .includes("--delta");
  const { stdout, stderr, success } = Bun.spawnSync([
    ...command,
    from,
    to,
    ...(asked ? ["--delta"] : []),
    "--no-fsync",
    "--json",
  ]);
  if (!success) throw new Error(`copse: ${stderr.toString()}${stdout.toString()}`);
  const { transferred, saved } = JSON.parse(stdout.toString()) as {
    transferred: number;
    saved: number;
  };
  return { fresh: transferred - saved };
}

/** Bytes that rsync's delta sends. */
function theirs(from: string, to: string): number | undefined {
  if (!Bun.which("rsync")) return undefined;
  const { stdout } = Bun.spawnSync(
    ["rsync", "-a", "--no-whole-file", "--stats", `${from}/`, `${to}/`],
    { env: { ...process.env, LC_ALL: "C" } },
  );
  const sent = /Total bytes sent: ([\d,]+)/.exec(stdout.toString())?.[1];
  return sent === undefined ? undefined : Number(sent.replaceAll(",", ""));
}

const kib = (bytes: number): string => `${(bytes / 1024).toFixed(1)} KiB`;

function plant(folder: string, name: string, bytes: Uint8Array): string {
  const root = join(folder, name);
  mkdirSync(root, { recursive: true });
  writeFileSync(join(root, "large"), bytes);
  return root;
}

const isThere = (root: string, bytes: Buffer): boolean =>
  readFileSync(join(root, "large")).equals(bytes);

/** Bytes that ten inserts make us bring, beside what rsync sends. */
export async function inserted(
  command: readonly string[],
  folder: string,
  size: number,
): Promise<readonly Cells[]> {
  const old = noise(size);
  const fresh = withInserts(old);
  const from = plant(folder, "delta-from", fresh);
  const [mine, other] = [plant(folder, "delta-mine", old), plant(folder, "delta-other", old)];
  try {
    const own = ours(command, from, mine);
    const sent = theirs(from, other);
    if (!isThere(mine, fresh)) throw new Error("the delta gave another file");
    const ratio = sent === undefined ? NaN : own.fresh / sent;
    return [
      [
        `${size / 2 ** 20} MiB file, ten inserts of ${changedBytes} bytes: new data`,
        kib(own.fresh),
        sent === undefined ? "rsync: not here" : `rsync sends ${kib(sent)}`,
        Number.isNaN(ratio) ? "-" : `${ratio.toFixed(2)} x`,
        "≤ 4",
        Number.isNaN(ratio) ? "not measured" : ratio <= 4 ? "met" : "missed",
      ],
    ];
  } finally {
    for (const root of [from, mine, other]) rmSync(root, { recursive: true });
  }
}

/** Blocks that ten overwrites cost where blocks are shared: the source is elsewhere. */
export async function changedInPlace(
  command: readonly string[],
  folder: string,
  disk: string,
  size: number,
): Promise<readonly Cells[]> {
  const old = noise(size);
  const fresh = withOverwrites(old);
  const from = plant(folder, "delta-from", fresh);
  const rows: Cells[] = [];
  for (const kind of ["btrfs", "xfs"])
    rows.push(
      ...(await onLoop(disk, kind, (size / 2 ** 20) * 4 + 512, async (at) => {
        const to = plant(at, "to", old);
        // The old blocks stay, so that what is missing afterwards was allocated.
        linkSync(join(to, "large"), join(at, "old"));
        const free = (): number => {
          Bun.spawnSync(["sync", "-f", at]);
          const { bfree, bsize } = statfsSync(at);
          return bfree * bsize;
        };
        const before = free();
        ours(command, from, to);
        if (!isThere(to, fresh)) throw new Error("the delta gave another file");
        const share = Math.max(0, before - free()) / size;
        return [
          [
            `${size / 2 ** 20} MiB file, ten overwrites of ${changedBytes} bytes, ${kind}: new blocks`,
            `${(share * 100).toFixed(2)} %`,
            "-",
            "-",
            "≤ 2 %",
            share <= 0.02 ? "met" : "missed",
          ],
        ];
      })),
    );
  rmSync(from, { recursive: true });
  return rows;
}
