// One table of calls or another: every verb gives the same answer on each, and a ring that the system
// refuses is a runtime with threads that says so.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  compare,
  copy,
  list,
  manifest,
  pack,
  Runtime,
  scan,
  Store,
  sync,
  unpack,
  verify,
} from "../lib/index.ts";
import { main } from "./command.ts";
import { within } from "./patience.ts";
import { canRefuse, refused } from "./refused.ts";
import { run } from "./script.ts";
import { tied } from "./servers/tied.ts";

// Over what is asked for below.
delete process.env["COPSE_IO"];

const backends = ["blocking", "threads", "uring"] as const;
type Backend = (typeof backends)[number];
const hasRing = ((): boolean => {
  using runtime = new Runtime({ io: "uring" });
  return runtime.info.ring.operations.length > 0;
})();
const hasPython = Bun.which("python3") !== null; // for what must happen around the process

let folder: string;
let left: string;
let right: string;

/** Many small files in few directories, some at the edges of what is read at once, some different. */
function makeTrees(): void {
  const SMALL = 16 * 1024;
  const sizes = [1, 2, 4095, 4096, SMALL - 1, SMALL, SMALL + 1, 300_000, 0, 7];
  for (const side of [left, right])
    for (let i = 0; i < 200; i++) {
      const directory = join(side, `d${i % 3}`);
      mkdirSync(directory, { recursive: true });
      const content = Buffer.alloc(sizes[i % sizes.length]!, `content ${i} `);
      if (side === right && i % 17 === 0 && content.length > 0) content[content.length - 1]! ^= 1;
      if (side === right && i === 34) writeFileSync(join(directory, `f${i}`), "shorter");
      else if (!(side === right && i === 50)) writeFileSync(join(directory, `f${i}`), content);
    }
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "copse-backends-"));
  left = join(folder, "left");
  right = join(folder, "right");
  makeTrees();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const plain = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (key, part) => (key === "milliseconds" ? 0 : part)));

/** What a verb says and leaves behind, in a folder of its own. */
const verbs: Readonly<Record<string, (runtime: Runtime, own: string) => Promise<unknown>>> = {
  compare: async (runtime) => plain(await compare(left, right, { runtime })),
  "compare with metadata": async (runtime) =>
    plain(await compare(left, right, { runtime, metadata: ["mode"] })),
  "compare, small chunks": async (runtime) =>
    plain(await compare(left, right, { runtime, chunkSize: 1000 })),
  "compare by hash": async (runtime) => plain(await compare(left, right, { runtime, by: "hash" })),
  list: async (runtime) => (await list(left, { runtime })).map(({ path }) => path).toSorted(),
  scan: async (runtime) =>
    (
      await scan(
        folder,
        { name: "left", directories: [{ name: "d1", files: ["f*"] }] },
        { runtime },
      )
    ).map(({ path }) => path),
  manifest: async (runtime) => plain(await manifest(left, { runtime })),
  "store.read": async (runtime) => {
    await using store = new Store(left, { runtime });
    return new Response(store.read("d1/f7")).text();
  },
  "copy, sync, verify": async (runtime, own) => {
    const copied = await copy(left, join(own, "copy"), { runtime, fsync: false });
    const synced = await sync(right, join(own, "copy"), { runtime, fsync: false });
    const { equal, files } = await compare(right, join(own, "copy"), { runtime });
    return [copied.copied, synced.copied, synced.deleted, equal, files];
  },
  "pack, verify, unpack": async (runtime, own) => {
    await pack(left, join(own, "tree.znippy"), { runtime });
    const { ok, files } = await verify(join(own, "tree.znippy"), { runtime });
    await unpack(join(own, "tree.znippy"), join(own, "out"), { runtime });
    const { equal } = await compare(left, join(own, "out"), { runtime });
    return [ok, files, equal];
  },
};

describe.each(Object.keys(verbs))("%s", (name) => {
  test(
    "the same answer on every backend",
    async () => {
      const answers: unknown[] = [];
      for (const io of backends) {
        const own = join(folder, `${io}-${name.replaceAll(/\W+/g, "-")}`);
        mkdirSync(own);
        await using runtime = new Runtime({ io });
        answers.push(await verbs[name]!(runtime, own));
      }
      expect(answers[1]).toEqual(answers[0]);
      expect(answers[2]).toEqual(answers[0]);
    },
    within(60_000),
  );
});

async function doctor(wrapper: readonly string[], env = {}): Promise<string> {
  const child = Bun.spawn([...wrapper, process.execPath, main, "doctor"], {
    env: { ...process.env, COPSE_IO: undefined, ...env },
    stderr: "inherit",
  });
  return new Response(child.stdout).text();
}

const racer = `
import os, sys, time
a = sys.argv[1]
os.mkfifo(a + "/pipe")
keep = os.open(a + "/pipe", os.O_RDWR)
end = time.time() + 20
while time.time() < end:
    for i in range(20):
        os.rename(a + "/f%d" % i, a + "/swap"); os.rename(a + "/pipe", a + "/f%d" % i)
        os.rename(a + "/f%d" % i, a + "/pipe"); os.rename(a + "/swap", a + "/f%d" % i)
`;

/** Rings that are open in this process. */
function ringsOpen(): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === "anon_inode:[io_uring]";
    } catch {
      return false; // the folder's own descriptor
    }
  }).length;
}

describe.skipIf(process.platform !== "linux" || !hasRing)("a ring", () => {
  test("is used by a compare of many small files, and only when asked for", async () => {
    const before = ringsOpen();
    const opened = async (io: Backend): Promise<number> => {
      await using runtime = new Runtime({ io });
      await compare(left, left.replace(/left$/, "right"), { runtime });
      return ringsOpen() - before;
    };
    expect(await opened("threads")).toBe(0);
    expect(await opened("blocking")).toBe(0);
    expect(await opened("uring")).toBeGreaterThan(0);
    expect(ringsOpen()).toBe(before);
  });

  test("carries five operations, and doctor lists them", async () => {
    const line = await doctor([]);
    const operations = /carries ([\w, ]+) \(by --io uring/.exec(line)![1]!.split(", ");
    expect(operations).toEqual(["openat", "fadvise", "read", "close", "async_cancel"]);
    using runtime = new Runtime({ io: "uring" });
    expect(runtime.info.ring).toEqual({ operations });
  });

  test("nothing is kept open: a directory of many files, 40 descriptors for all of Bun", async () => {
    const { stdout, stderr } = await run(
      `const r = await compare(${JSON.stringify(left)}, ${JSON.stringify(right)});
       console.log(r.complete, r.differences.length);`,
      {
        env: { COPSE_IO: "uring" },
        wrapper: ["bash", "-c", 'ulimit -n 72; exec "$@"', "-"],
      },
    );
    const { differences } = await compare(left, right);
    expect({ stdout, stderr }).toEqual({ stdout: `true ${differences.length}\n`, stderr: "" });
  });

  test.skipIf(!hasPython)(
    "a pipe that took a file's place does not keep it waiting",
    async () => {
      const [a, b] = [join(folder, "pipes-a"), join(folder, "pipes-b")];
      for (const side of [a, b]) {
        mkdirSync(side);
        for (let i = 0; i < 20; i++) writeFileSync(join(side, `f${i}`), `same ${i}`);
      }
      const [program, ...words] = tied(["python3", "-c", racer, a]);
      // Listed as a file, a pipe with a silent writer when it is opened: the racer swaps them.
      const script = `
      import { spawn } from "node:child_process";
      const racer = spawn(${JSON.stringify(program)}, ${JSON.stringify(words)}, { stdio: "ignore" });
      const until = performance.now() + 1500;
      let rounds = 0;
      while (performance.now() < until || rounds < 4) { await compare(${JSON.stringify(a)}, ${JSON.stringify(b)}); rounds++; }
      racer.kill();
      console.log("each came to its end");`;
      const { stdout } = await run(script, { env: { COPSE_IO: "uring" } });
      expect(stdout).toBe("each came to its end\n");
    },
    within(30_000),
  );
});

describe.skipIf(!canRefuse)("a ring that is refused", () => {
  test.each(["EPERM", "ENOSYS"] as const)(
    "by a filter with %s: threads, the same answer, and doctor says why",
    async (name) => {
      const script = `
        const r = new Runtime({ io: "uring" });
        const { differences } = await compare(${JSON.stringify(left)}, ${JSON.stringify(right)}, { runtime: r });
        console.log(r.info.backend, r.info.ring.refused, r.info.ring.operations.length, differences.length);
        r.close();`;
      const { differences } = await compare(left, right);
      const denied = refused(425, name); // io_uring_setup, whose number is the same everywhere
      const { stdout, stderr } = await run(script, { wrapper: denied });
      expect({ stdout, stderr }).toEqual({
        stdout: `threads io_uring_setup: ${name} 0 ${differences.length}\n`,
        stderr: "",
      });
      const lines = await doctor(denied, { COPSE_IO: "uring" });
      expect(lines).toContain(`not here: io_uring_setup: ${name}; threads instead`);
      expect(lines).toContain("reads by threads");
    },
  );
});
