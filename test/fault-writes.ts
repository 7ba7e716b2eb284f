// What the fault sweep asks of copies, packs, archives and web servers, besides comparing trees: a
// destination that is never torn, and an answer that never says more than was done.

import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import {
  compareSync,
  copy,
  copySync,
  packSync,
  repairSync,
  Runtime,
  sync,
  unpack,
  verifySync,
  type Failure,
  type Transfer,
} from "../lib/index.ts";
import { gzip, tarOf, zipOf } from "./archives.ts";
import { tied } from "./servers/tied.ts";
import type { Scratch } from "./trees.ts";

/** Content by path; what begins with "->" is a link. */
type Files = Readonly<Record<string, string>>;

const after: Files = {
  a: "what is new",
  "d/large": "new ".repeat(80_000),
  "d/e/f": "",
  link: "->a",
  same: "as it was",
};
const before: Files = {
  a: "old",
  "d/large": "old ".repeat(80_000),
  extra: "only here",
  same: "as it was",
};

/** Each with its own time, as files of other content have. */
function plant(root: string, files: Files): void {
  const time = files === before ? 1_000_000_000 : 1_100_000_000;
  rmSync(root, { recursive: true, force: true });
  for (const [path, content] of Object.entries(files)) {
    const at = join(root, path);
    mkdirSync(dirname(at), { recursive: true });
    if (content.startsWith("->")) symlinkSync(content.slice(2), at);
    else writeFileSync(at, content);
    if (!content.startsWith("->")) utimesSync(at, time, time);
  }
}

function look(root: string, path = ""): Files {
  const found: Record<string, string> = {};
  if (!existsSync(root)) return found;
  for (const name of readdirSync(join(root, path))) {
    const at = path ? `${path}/${name}` : name;
    const stat = lstatSync(join(root, at));
    if (stat.isDirectory()) Object.assign(found, look(root, at));
    else if (stat.isSymbolicLink()) found[at] = `->${readlinkSync(join(root, at))}`;
    else found[at] = readFileSync(join(root, at), "utf8");
  }
  return found;
}

const isOurs = (path: string): boolean => /(^|\/)\.copse-[^/]*\.part$/.test(path);

/** Every file has its whole old or its whole new content, or was never there. */
function checkNotTorn(root: string, old: Files, mayLeaveParts: boolean): void {
  for (const [path, content] of Object.entries(look(root))) {
    if (isOurs(path) && mayLeaveParts) continue;
    if (content !== old[path] && content !== after[path])
      throw new Error(`torn: ${path} has ${content.length} bytes that nobody put there`);
  }
}

/** What is there when all went well. */
function checkDone(root: string, expected: Files): void {
  const found = look(root);
  const paths = new Set([...Object.keys(found), ...Object.keys(expected)]);
  for (const path of paths)
    if (found[path] !== expected[path]) throw new Error(`done, and yet ${path} is not right`);
}

export interface Transferred {
  /** None: what was done is looked at on disk. */
  readonly facts: ReadonlyMap<string, string>;
  readonly failures: readonly Failure[];
  readonly complete: boolean;
}

export interface WriteScenario {
  readonly name: string;
  /** Codes that an error may have besides. */
  readonly codes?: readonly string[];
  run(runtime: Runtime): Promise<Transferred>;
}

interface Preload {
  disarm(): void;
  /** Of the step that just ran: the call that was to remove something may have failed. */
  mayLeaveParts(): boolean;
  /** It was told that something is not there, and believed it. */
  wasLiedTo(): boolean;
}

export function writeScenarios(scratch: Scratch, preload: Preload): readonly WriteScenario[] {
  const source = scratch.at("write-source");
  // Where there is memory to write into: what is flushed to a disk takes its time thousands of times.
  const shared = "/dev/shm";
  const fast = existsSync(shared) ? mkdtempSync(join(shared, "copse-faults-")) : scratch.at("fast");
  process.once("exit", () => rmSync(fast, { recursive: true, force: true }));
  const target = join(fast, "target");
  const file = join(fast, "pack");
  mkdirSync(fast, { recursive: true });
  const oldPack = scratch.at("write-old.pack");
  const archives = ["tar", "zip"].map((ending) => scratch.at(`write.${ending}`));
  plant(source, after);
  plant(scratch.at("write-before"), before);
  packSync(scratch.at("write-before"), oldPack);
  const oldGroups = scratch.at("write-groups.pack");
  packSync(scratch.at("write-before"), oldGroups, { format: "copse" });
  packSync(source, scratch.at("write-new.pack"));
  // So long that several workers decode it.
  const long = Buffer.alloc(9 * 2 ** 20, "a line of a long file ");
  const longPack = scratch.at("write-long.pack");
  mkdirSync(scratch.at("write-long"));
  writeFileSync(scratch.at("write-long", "long"), long);
  packSync(scratch.at("write-long"), longPack);
  const lost = scratch.at("write-lost.pack");
  writeFileSync(lost, readFileSync(scratch.at("write-new.pack")).subarray(0, -1));
  const entries = Object.entries(after).map(([name, content]) =>
    content.startsWith("->")
      ? { name, content: "", type: "2", target: content.slice(2) }
      : { name, content },
  );
  const given = entries
    .filter(({ content }) => content !== "")
    .map(({ name, content }, i) => ({ path: name, data: content, pkgType: i % 2 }));
  const plugin = {
    typeId: 1,
    match: ["**"],
    fields: { said: "utf8" as const },
    extract: () => ({ said: "<given>" }),
  };
  writeFileSync(archives[0]!, gzip(tarOf(...entries)));
  writeFileSync(
    archives[1]!,
    zipOf(
      entries.map(({ name, content, ...link }) =>
        "target" in link ? { name, content: link.target, mode: 0o120777 } : { name, content },
      ),
    ),
  );

  /** Works, and then looks at what is there, however that ended. */
  const examined = async (
    work: () => Transfer | PromiseLike<Transfer>,
    check: (complete: boolean) => void,
  ): Promise<Transferred> => {
    let answer: Transfer | undefined;
    let failure: unknown;
    try {
      answer = await work();
    } catch (error) {
      failure = error;
    }
    preload.disarm();
    check(answer?.complete === true);
    if (!answer) throw failure;
    const failures = answer.actions.filter((row) => row.kind === "error");
    return { facts: new Map(), failures, complete: answer.complete };
  };
  const writes = (
    old: Files,
    done: Files,
    work: () => Transfer | PromiseLike<Transfer>,
  ): Promise<Transferred> => {
    plant(target, old);
    return examined(work, (complete) => {
      if (complete && !preload.wasLiedTo()) checkDone(target, done);
      checkNotTorn(target, old, preload.mayLeaveParts());
    });
  };
  /** Makes a pack in the place of an old one. */
  const packs = (work: () => Transfer): Promise<Transferred> => {
    writeFileSync(file, readFileSync(oldPack));
    return examined(work, (complete) => {
      using fresh = new Runtime();
      if (!verifySync(file, { runtime: fresh }).ok) throw new Error("a torn pack");
      if (complete && !compareSync(`pack:${file}`, source, { runtime: fresh }).equal)
        throw new Error("packed, and yet it is not the same");
      rmSync(file);
    });
  };
  const kept = { ...before, ...after };
  // Moved by a byte, with another change in it.
  const oldLarge = Buffer.from(Array.from({ length: 1_100_000 }, (_, i) => (i * i) >> 7));
  const newLarge = Buffer.concat([Buffer.of(1), oldLarge]);
  newLarge.fill(9, 600_000, 600_100);
  const largeSource = scratch.at("write-large");
  mkdirSync(largeSource);
  writeFileSync(join(largeSource, "large"), newLarge);
  const plantLarge = (): void => {
    rmSync(target, { recursive: true, force: true });
    mkdirSync(target);
    writeFileSync(join(target, "large"), oldLarge);
    utimesSync(join(target, "large"), 1_000_000_000, 1_000_000_000);
  };
  const checkLarge = (isDone: boolean, mayLeaveParts: boolean): void => {
    for (const name of readdirSync(target)) {
      if (isOurs(name) && mayLeaveParts) continue;
      const content = readFileSync(join(target, name));
      const isNew = content.equals(newLarge);
      if (name !== "large" || !(isNew || content.equals(oldLarge)))
        throw new Error(`torn: ${name}`);
      if (isDone && !isNew) throw new Error("done, and yet the large file is the old one");
    }
  };
  // The same trees, compressed and encrypted.
  const keyFile = scratch.at("write-key");
  const sealed = { old: scratch.at("write-old-sealed"), now: scratch.at("write-new-sealed") };
  const stages = { compress: 1, encrypt: { keyFile } };
  writeFileSync(keyFile, new Uint8Array(32).fill(9));
  copySync(scratch.at("write-before"), sealed.old, stages);
  copySync(source, sealed.now, stages);
  const opened = scratch.at("write-opened");
  const open = (): string => {
    rmSync(opened, { recursive: true, force: true });
    using fresh = new Runtime();
    const found = copySync({ crypt: target, keyFile }, opened, { runtime: fresh });
    if (found.errors > 0) throw new Error("torn: a file that does not open");
    return opened;
  };

  return [
    {
      name: "copySync, into a new directory",
      run: (runtime) => writes({}, after, () => copySync(source, target, { runtime })),
    },
    {
      name: "copy, over old files, compared and verified",
      run: (runtime) =>
        writes(before, kept, () => copy(source, target, { runtime, by: "content", verify: true })),
    },
    {
      name: "sync",
      // What failed on one side is why nothing is deleted on the other.
      codes: ["CHANGED"],
      run: (runtime) => writes(before, after, () => sync(source, target, { runtime })),
    },
    {
      // Each file is a job of its own then.
      name: "sync, watched",
      codes: ["CHANGED"],
      run: (runtime) =>
        writes(before, after, () => sync(source, target, { runtime, onProgress: () => {} })),
    },
    {
      name: "sync of a large file, made of the old one",
      // The old file may not be what it was.
      codes: ["CHANGED"],
      run: (runtime) => {
        plantLarge();
        return examined(
          () => sync(largeSource, target, { runtime, delta: true }),
          (complete) => checkLarge(complete && !preload.wasLiedTo(), preload.mayLeaveParts()),
        );
      },
    },
    {
      name: "sync, compressed and encrypted, over old files",
      codes: ["CHANGED"],
      run: (runtime) => {
        rmSync(target, { recursive: true, force: true });
        cpSync(sealed.old, target, { recursive: true, preserveTimestamps: true });
        return examined(
          () => sync(source, target, { runtime, ...stages }),
          (complete) => {
            const parts = readdirSync(target).filter(isOurs);
            if (parts.length > 0 && !preload.mayLeaveParts()) throw new Error("a part is left");
            for (const part of parts) rmSync(join(target, part));
            open();
            if (complete && !preload.wasLiedTo()) checkDone(opened, after);
            checkNotTorn(opened, before, false);
          },
        );
      },
    },
    {
      name: "copy out of an encrypted place",
      codes: ["CHANGED"],
      run: (runtime) =>
        writes(before, kept, () =>
          copy({ crypt: sealed.now, keyFile }, target, { runtime, by: "content" }),
        ),
    },
    ...archives.map((archive) => ({
      name: `copy out of ${archive.slice(-3)}`,
      run: (runtime: Runtime) =>
        writes(before, kept, () => copy(`archive:${archive}`, target, { runtime, by: "content" })),
    })),
    {
      name: "unpack",
      run: (runtime) =>
        writes(before, kept, () =>
          unpack(scratch.at("write-new.pack"), target, { runtime, by: "content" }),
        ),
    },
    {
      name: "unpack of a long file",
      run: (runtime) => {
        rmSync(target, { recursive: true, force: true });
        return examined(
          () => unpack(longPack, target, { runtime }),
          (complete) => {
            const path = join(target, "long");
            if (existsSync(path) ? !readFileSync(path).equals(long) : complete)
              throw new Error("a long file is not right");
          },
        );
      },
    },
    {
      name: "packSync of entries, with an old pack as seed and a plugin",
      // The old pack is damaged to whoever cannot read it, and then nothing of it is taken.
      codes: ["CORRUPT", "CHANGED"],
      run: (runtime) => {
        writeFileSync(file, readFileSync(oldPack));
        return examined(
          () => packSync(given, file, { runtime, seed: oldPack, plugins: [plugin] }),
          (complete) => {
            using fresh = new Runtime({ workers: 1, ioWorkers: 2 });
            if (!verifySync(file, { runtime: fresh }).ok) throw new Error("a torn pack");
            const content = complete ? readFileSync(file).includes("<given>") : true;
            if (!content) throw new Error("packed, and yet a plugin's answer is not there");
          },
        );
      },
    },
    {
      name: "packSync, over an old pack",
      run: (runtime) => packs(() => packSync(source, file, { runtime })),
    },
    {
      name: "packSync, small files together",
      run: (runtime) => packs(() => packSync(source, file, { runtime, format: "copse" })),
    },
    {
      name: "packSync, appended to small files together",
      codes: ["CORRUPT", "CHANGED"],
      run: (runtime) => {
        writeFileSync(file, readFileSync(oldGroups));
        return examined(
          () => packSync([given[0]!], file, { runtime, append: oldGroups, format: "copse" }),
          (complete) => {
            using fresh = new Runtime({ workers: 1, ioWorkers: 2 });
            if (!verifySync(file, { runtime: fresh }).ok) throw new Error("a torn pack");
            const { differences } = compareSync(`pack:${oldGroups}`, `pack:${file}`, {
              runtime: fresh,
            });
            const lost = differences.filter(({ kind }) => kind === "only-left");
            if (complete && lost.length > 0) throw new Error("appended, and yet something is gone");
          },
        );
      },
    },
    {
      name: "repairSync of a pack that has lost its end",
      run: (runtime) => packs(() => repairSync(lost, file, { runtime })),
    },
  ];
}

/** Archives of a small tree, by how they are packed. */
export function plantArchives(scratch: Scratch): Readonly<Record<string, string>> {
  const entries = [
    { name: "a", content: "what is new" },
    { name: "d/large", content: "new ".repeat(80_000) },
    { name: "b", type: "1", target: "a" },
  ];
  const tar = tarOf(...entries);
  const made: Record<string, Uint8Array> = {
    tar,
    "tar.gz": gzip(tar),
    "tar.zst": zstdCompressSync(tar),
    zip: zipOf([...entries.slice(0, 2), { name: "b", content: "what is new" }]),
  };
  const xz = Bun.spawnSync(["xz", "-c"], { stdin: tar });
  if (xz.exitCode === 0) made["tar.xz"] = xz.stdout;
  return Object.fromEntries(
    Object.entries(made).map(([kind, bytes]) => {
      const path = scratch.at(`fault.${kind}`);
      writeFileSync(path, bytes);
      return [kind, path];
    }),
  );
}

/** The tree that those archives hold, with one byte of difference. */
export function plantArchived(scratch: Scratch): string {
  const root = scratch.at("fault-archived");
  plant(root, { a: "what is new", b: "what is new", "d/large": `${"new ".repeat(79_999)}neW ` });
  return root;
}

/**
 * A web server: a directory of two files, listed as nginx does. In a process of its own: where no thread
 * can be had, the thread that asks does the work, and could not answer itself.
 */
export async function startWeb(): Promise<{ readonly url: string; stop(): void }> {
  const script = `const time = "Sat, 09 Sep 2001 01:46:40 GMT";
    const text = (body) => new Response(body, { headers: { etag: '"' + body.length + '"' } });
    const file = (name, size) => ({ name, type: "file", mtime: time, size });
    const server = Bun.serve({ hostname: "127.0.0.1", port: 0, routes: {
      "/tree/": () => Response.json([file("a", 11), { name: "d", type: "directory", mtime: time }]),
      "/tree/d/": () => Response.json([file("large", 320_000)]),
      "/tree/a": () => text("what is new"),
      "/tree/d/large": () => text("new ".repeat(80_000)),
    } });
    console.log(server.port);`;
  // As it is now, not as this process began: fault-child.ts takes something out of it.
  const env = { ...process.env };
  const child = Bun.spawn(tied([process.execPath, "-e", script]), { env, stdout: "pipe" });
  const { value } = await child.stdout.getReader().read();
  const port = Buffer.from(value ?? [])
    .toString()
    .trim();
  return { url: `http://127.0.0.1:${port}/tree/`, stop: () => child.kill() };
}
