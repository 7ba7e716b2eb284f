// Does a cache of hashes make comparing again cheap, what does it cost, and would a database do as
// well? And what does a comparison by hashes hold in memory?
//
// The trees are those of the compare bench, unchanged between runs, in the page cache. "first" has
// an empty cache of hashes and fills it, "again" finds everything there. The database is bun:sqlite,
// which has to do in this process what copse's flat file does in its own threads: look up every file
// of both trees by device, inode and algorithm. Its side of the comparison is that work alone; ours
// is the whole second comparison, the walk and the stat of every file included.

import { Database } from "bun:sqlite";
import {
  existsSync,
  mkdirSync,
  openSync,
  closeSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tarOf } from "../test/archives.ts";
import { benchOptions } from "./arguments.ts";
import { warm } from "./cache.ts";
import { copseVersion, load, machine } from "./machine.ts";
import {
  interleave,
  judge,
  type Contestant,
  type Measured,
  type Run,
  type Target,
} from "./measure.ts";
import { Ours, type Question } from "./ours.ts";
import { mebibytes, number, say, table, write } from "./report.ts";
import { timed } from "./rivals.ts";
import { workloads, type Workload } from "./workloads.ts";

const parts = ["mixed", "tiny", "database", "memory"];
const options = benchOptions(parts);
const isWanted = (part: string): boolean =>
  options.only.length === 0 || options.only.includes(part);
const loadBefore = load();
// Made only when something wants them.
const made = ["mixed", "tiny", "database"].some(isWanted) ? workloads(options.quick) : undefined;
const folder = join(
  process.env["COPSE_BENCH_DIR"] ?? join(tmpdir(), "copse-bench"),
  options.quick ? "hashes-quick" : "hashes",
);
mkdirSync(folder, { recursive: true });
const text: string[] = [];

function tell(title: string, lines: readonly string[]): void {
  const section = `## ${title}\n\n${lines.join("\n")}`;
  process.stdout.write(`${section}\n\n`);
  text.push(section);
}

const cells = ({ name, min, median, max, cpu }: Measured): string[] => [
  name,
  ...[min, median, max, cpu].map(number),
];

// ── A tree, compared again ──

const names = { plain: "without a cache", first: "first", again: "again" };

function again({ id, left, right }: Workload, ours: Ours): Contestant[] {
  const kept = join(folder, `${id}.hashes`);
  const fresh = join(folder, `${id}-fresh.hashes`);
  const ask = (cache?: string): Promise<Run> =>
    ours.ask({ form: "await", left, right, options: cache === undefined ? {} : { cache } });
  return [
    { name: names.plain, isOurs: true, run: () => ask() },
    {
      name: names.first,
      isOurs: true,
      prepare: () => rmSync(fresh, { force: true }),
      run: () => ask(fresh),
    },
    { name: names.again, isOurs: true, run: () => ask(kept) },
  ];
}

async function compareAgain(workload: Workload, targets: readonly Target[]): Promise<void> {
  say(`${workload.title}, compared again`);
  warm([workload.left, workload.right]);
  using ours = new Ours();
  const contestants = again(workload, ours);
  await contestants[2]!.run(); // fills the cache that is kept
  const rows = await interleave(contestants, options.rounds, true);
  const shown = table(["", "fastest ms", "middle ms", "slowest ms", "CPU ms"], rows.map(cells));
  const size = statSync(join(folder, `${workload.id}.hashes`)).size;
  const verdicts = targets.map((target) => {
    const { min, median, verdict } = judge(target, rows);
    return `- ${target.ours.join(", ")} at most ${target.atMost} × ${target.against}: ${number(min)} by the fastest, ${number(median)} by the middle round: **${options.quick ? "not judged" : verdict}**`;
  });
  const [, first, second] = rows;
  const ratio = `- ${names.again} takes ${number(second!.min / first!.min)} of ${names.first}; the file of hashes has ${mebibytes(size)}, ${number(size / workload.files / 2)} bytes a file.`;
  tell(workload.title, [shown, "", ratio, ...verdicts]);
}

if (made && isWanted("mixed"))
  await compareAgain(made.mixed, [{ ours: [names.again], against: names.first, atMost: 0.5 }]);
if (made && isWanted("tiny")) await compareAgain(made.tiny, []);

// ── A database in the place of the flat file ──

if (made && isWanted("database")) {
  const { tiny } = made;
  const rows = tiny.files * 2;
  say("bun:sqlite");
  using ours = new Ours();
  const cache = join(folder, "database.hashes");
  const path = join(folder, "hashes.sqlite");
  rmSync(cache, { force: true });
  const question: Question = {
    form: "await",
    left: tiny.left,
    right: tiny.right,
    options: { cache },
  };
  await ours.ask(question);
  const remove = (): void => {
    for (const end of ["", "-wal", "-shm"]) rmSync(path + end, { force: true });
  };
  const open = (): Database => {
    const database = new Database(path, { create: true });
    database.run("PRAGMA journal_mode = WAL");
    database.run("PRAGMA synchronous = NORMAL");
    database.run(
      "CREATE TABLE IF NOT EXISTS hashes (device INTEGER, inode INTEGER, algorithm INTEGER, size INTEGER, mtime INTEGER, ctime INTEGER, hash BLOB, PRIMARY KEY (device, inode, algorithm)) WITHOUT ROWID",
    );
    return database;
  };
  const measure = (work: () => boolean): Run => {
    const cpu = process.cpuUsage();
    const begin = performance.now();
    const equal = work();
    const milliseconds = performance.now() - begin;
    const { user, system } = process.cpuUsage(cpu);
    return { equal, milliseconds, cpuMilliseconds: (user + system) / 1000, diskBytes: 0 };
  };
  const hash = new Uint8Array(32).fill(7);
  // As inodes come in a walk: in no order.
  const inodes = Array.from({ length: rows }, (_, i) => (Math.imul(i, 0x9e3779b1) >>> 0) + 1);
  const fill = (): boolean => {
    using database = open();
    const insert = database.prepare("INSERT OR REPLACE INTO hashes VALUES (7, ?, 0, 100, ?, ?, ?)");
    database.transaction(() => {
      for (const inode of inodes) insert.run(inode, inode, inode, hash);
    })();
    return true;
  };
  const look = (): boolean => {
    using database = open();
    const find = database.prepare<{ size: number; mtime: number; hash: Uint8Array }, [number]>(
      "SELECT size, mtime, ctime, hash FROM hashes WHERE device = 7 AND inode = ? AND algorithm = 0",
    );
    return inodes.every((inode) => find.get(inode)?.mtime === inode);
  };
  remove();
  fill();
  const measured = await interleave(
    [
      { name: "copse: the whole second comparison", isOurs: true, run: () => ours.ask(question) },
      { name: "bun:sqlite: looking all up", isOurs: false, run: () => measure(look) },
      {
        name: "bun:sqlite: writing all, one transaction",
        isOurs: false,
        run: () => measure(fill),
      },
    ],
    options.rounds,
    true,
  );
  tell(`A database in the place of the flat file, ${rows.toLocaleString("en")} hashes`, [
    table(["", "fastest ms", "middle ms", "slowest ms", "CPU ms"], measured.map(cells)),
    "",
    `- The flat file has ${mebibytes(statSync(cache).size)}, the database ${mebibytes(statSync(path).size)}.`,
    "- The database's figures are its own work only, in one thread of JavaScript; every look-up would also have to come from a worker thread to the event loop and back. So hashes are kept in a flat file, by the core.",
  ]);
  remove();
}

// ── What a comparison by hashes holds ──

/** A tar.gz of so many files of one line; returns how many bytes its names have. */
function makeArchive(path: string, count: number): number {
  const nameOf = (i: number): string => `directory-${i % 100}/file-${i}.txt`;
  if (!existsSync(path)) {
    const fd = openSync(`${path}.tar`, "w");
    for (let at = 0; at < count; at += 1000) {
      const entries = Array.from({ length: Math.min(1000, count - at) }, (_, i) => ({
        name: nameOf(at + i),
        content: Buffer.from(`${at + i}\n`),
      }));
      const whole = tarOf(...entries);
      // Without the two blocks at the end, but for the last one.
      const isLast = at + 1000 >= count;
      writeSync(fd, isLast ? whole : whole.subarray(0, entries.length * 1024));
    }
    closeSync(fd);
    const { code, output } = timed(["gzip", "-1", "-f", `${path}.tar`], true);
    if (code !== 0) throw new Error(output);
    renameSync(`${path}.tar.gz`, path);
  }
  let bytes = 0;
  for (let i = 0; i < count; i++) bytes += nameOf(i).length;
  return bytes;
}

if (isWanted("memory") && process.platform === "linux") {
  say("memory");
  const many = options.quick ? 10_000 : 100_000;
  const few = many / 10;
  const peaks: Record<number, number[]> = { [few]: [], [many]: [] };
  const nameBytes: Record<number, number> = {};
  for (let round = 0; round < Math.min(3, options.rounds); round++)
    for (const count of [few, many]) {
      const path = join(folder, `entries-${count}.tar.gz`);
      nameBytes[count] = makeArchive(path, count);
      using fresh = new Ours(); // its memory has seen nothing else
      const {
        memoryBytes = NaN,
        equal,
        files,
      } = await fresh.ask({
        form: "await",
        left: `archive:${path}`,
        right: `archive:${path}`,
        options: { by: "hash", limits: { entries: 2 * many } },
        memory: true,
      });
      if (!equal || files !== count) throw new Error(`${files} files, equal: ${equal}`);
      peaks[count]!.push(memoryBytes);
    }
  const middle = (count: number): number =>
    peaks[count]!.toSorted((a, b) => a - b)[1] ?? peaks[count]![0]!;
  // Both archives are held, each with an index of its own.
  const growth = middle(many) - middle(few);
  const each = (growth - 2 * (nameBytes[many]! - nameBytes[few]!)) / (2 * (many - few));
  const side = growth / 2 / (1 - few / many);
  const bound = 20_000_000 * (many / 100_000);
  const verdict = (isMet: boolean): string =>
    options.quick ? "not judged" : isMet ? "met" : "missed";
  tell(`Memory of by: "hash", two tar.gz of ${many.toLocaleString("en")} entries`, [
    `- Peak of the resident memory above Bun's own: ${mebibytes(middle(few))} with ${few.toLocaleString("en")} entries a side, ${mebibytes(middle(many))} with ${many.toLocaleString("en")}.`,
    `- For each entry of an archive ${number(each)} bytes beyond its name, at the peak; at most 64: **${verdict(each <= 64)}**`,
    `- For ${many.toLocaleString("en")} entries of one archive ${number(side / 1e6)} MB; under ${bound / 1e6} MB: **${verdict(side < bound)}**`,
  ]);
}

if (!options.quick && options.only.length === 0)
  write(
    "cache.md",
    `# cache: hashes kept between runs

Made by \`bun run bench cache\` on ${new Date().toISOString().slice(0, 10)}; do not edit.

- Machine: ${machine(folder)}; load before the start ${loadBefore}.
- copse ${copseVersion()} on Bun ${Bun.version}; ${options.rounds} rounds in turns.

${text.join("\n\n")}
`,
  );
