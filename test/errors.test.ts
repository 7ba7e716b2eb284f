// Every error code is provoked, by the real thing wherever issue 3 has one. What needs a server or an archive comes
// from the `fault:` store, so that the way from native code to the caller is tried for each of them.

import { afterAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import {
  compare,
  compareSync,
  CopseError,
  list,
  listSync,
  Runtime,
  Store,
  type ErrorCode,
} from "../lib/index.ts";
import { Code } from "../lib/native/abi.ts";
import { nobody } from "./somebody.ts";
import { isRoot, pipe, Scratch } from "./trees.ts";
import { leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();

const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const tree = scratch.plant("tree", { a: "1", "sub/b": "2", pipe });
const missing = scratch.at("missing");

interface Provoked {
  readonly name: string;
  readonly ask: () => unknown;
  /** What the message has to name, besides what to do next. */
  readonly names?: string;
  readonly errno?: string;
}

async function errorOf(ask: () => unknown): Promise<unknown> {
  try {
    const answer = await ask();
    // An answer with rows: its first error.
    if (Array.isArray(answer))
      return (answer as { errors?: { error: unknown }[] }).errors?.[0]?.error;
    const rows = (answer as { differences?: { kind: string; error?: unknown }[] } | null)
      ?.differences;
    return rows?.find((row) => row.kind === "error")?.error;
  } catch (error) {
    return error;
  }
}

/** While a slow reader is at it, the file under it gets longer. */
async function changing(): Promise<unknown> {
  const content = new Uint8Array(2 ** 21).fill(7);
  const root = scratch.plant("changing", { file: content });
  const other = scratch.plant("changing-other", { file: content });
  const began = Promise.withResolvers<void>();
  // 32 reads, and the first of them measured the file long before there is progress.
  const task = compare(`fault:delay=20:${root}`, other, {
    chunkSize: 65536,
    onProgress: () => began.resolve(),
  });
  await Promise.race([began.promise, task]);
  appendFileSync(`${root}/file`, "more");
  return await task;
}

/** In a file system of its own with these mount options, which takes a user who may mount one: the
 *  error that `attempt` ends with, and what lies there afterwards. */
function mounted(options: string, attempt: string, found: readonly string[]): Promise<unknown> {
  const place = scratch.plant(`mounted-${options}`, {});
  const script = `
    import { Store } from ${JSON.stringify(join(import.meta.dir, "../lib/index.ts"))};
    const store = new Store(${JSON.stringify(place)});
    const error = await (async () => { ${attempt} })().catch((error) => error);
    const found = [...await store.list()].map(({ path, size }) => path + size);
    console.log(JSON.stringify({ code: error.code, message: error.message, errno: error.errno, found }));`;
  const { stdout, stderr } = spawnSync(
    "unshare",
    [
      "-m",
      "sh",
      "-c",
      'mount -t tmpfs -o "$1" none "$2" && exec "$3" -e "$4"',
      "sh",
      options,
      place,
      process.execPath,
      script,
    ],
    { encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } },
  );
  if (!stdout.startsWith("{")) throw new Error(stderr);
  // Printed by the script above.
  const said = JSON.parse(stdout) as {
    code: ErrorCode;
    message: string;
    errno: string;
    found: string[];
  };
  expect(said.found).toEqual([...found]);
  return Promise.reject(new CopseError(said.code, said.message, { errno: said.errno }));
}

const full = (): Promise<unknown> =>
  mounted(
    "size=64k",
    `await store.write("kept", "old"); await store.write("kept", new Uint8Array(1 << 20));`,
    ["kept3"], // the old content, and no part of the new one
  );
const readOnly = (): Promise<unknown> => mounted("ro", `await store.write("new", "x");`, []);

const canMount =
  isRoot && spawnSync("unshare", ["-m", "sh", "-c", `mount -t tmpfs none ${tree}`]).status === 0;
if (!canMount)
  console.log("skipped: full and read-only file systems, because nothing can be mounted");

const fromStore = (code: ErrorCode): Provoked => ({
  name: "a store says so",
  ask: () => compare(`fault:root=1,code=${code}:${tree}`, tree),
  names: tree,
});

// As somebody who is not root, or where the user is not root anyway.
function denied(): Promise<unknown> {
  const place = scratch.plant("denied", { "secret/a": "1", open: "2" });
  const script = `
    import { chmodSync } from "node:fs";
    import { compareSync } from ${JSON.stringify(join(import.meta.dir, "../lib/index.ts"))};
    const answer = compareSync(${JSON.stringify(place)}, ${JSON.stringify(tree)});
    const row = answer.differences.find((row) => row.kind === "error");
    console.log(JSON.stringify({ code: row.error.code, message: row.error.message, errno: row.error.errno }));`;
  spawnSync("chmod", ["000", join(place, "secret")]);
  const other = scratch.plant("denied-other", { "secret/a": "1", open: "2" });
  const as = isRoot ? nobody : [];
  const [program, ...args] = [
    ...as,
    process.execPath,
    "-e",
    script.replaceAll(JSON.stringify(tree), JSON.stringify(other)),
  ];
  const { stdout, stderr } = spawnSync(program!, args, { encoding: "utf8", cwd: "/" });
  if (!stdout.startsWith("{")) throw new Error(stderr);
  const said = JSON.parse(stdout) as { code: ErrorCode; message: string; errno: string };
  return Promise.reject(new CopseError(said.code, said.message, { errno: said.errno }));
}

const closed = (): Runtime => {
  const runtime = new Runtime();
  runtime.close();
  return runtime;
};

/** Every code there is. What is missing here does not compile. */
const provoked: Readonly<Record<ErrorCode, readonly Provoked[]>> = {
  NOT_FOUND: [
    { name: "no such root", ask: () => compare(missing, tree), names: missing, errno: "ENOENT" },
    { name: "no such root, sync", ask: () => listSync(missing), names: missing, errno: "ENOENT" },
    { name: "a path through a file", ask: () => list(`${tree}/a/b`), errno: "ENOTDIR" },
    {
      name: "no such file to read",
      ask: () => new Response(new Store(tree).read("x")).text(),
      names: "x",
    },
    {
      name: "no such tree in memory",
      ask: () => list("memory:nobody-made-it"),
      names: "nobody-made-it",
    },
  ],
  EXISTS: [
    {
      name: "a directory that is not empty",
      ask: () => new Store(tree).remove("sub"),
      names: "sub",
    },
    {
      name: "a file that would replace a directory",
      ask: () => new Store(tree).write("sub", "x"),
      names: "sub",
    },
  ],
  DENIED: [
    { name: "a directory that may not be read", ask: denied, names: "secret", errno: "EACCES" },
    ...(canMount
      ? [{ name: "a read-only file system", ask: readOnly, names: "read-only", errno: "EROFS" }]
      : []),
  ],
  AUTH: [fromStore("AUTH")],
  IO: [
    {
      name: "a read that fails",
      ask: () => compare(`fault:read=1:${tree}`, scratch.plant("copy", { a: "1" })),
      names: "a",
    },
  ],
  NETWORK: [fromStore("NETWORK")],
  TIMEOUT: [
    {
      name: "a deadline",
      ask: () =>
        compare(`fault:delay=600000:${tree}`, scratch.plant("slow", { a: "1" }), { timeout: 20 }),
    },
    {
      name: "a deadline, sync",
      ask: () =>
        compareSync(`fault:delay=600000:${tree}`, scratch.plant("slow2", { a: "1" }), {
          timeout: 20,
        }),
    },
  ],
  THROTTLED: [fromStore("THROTTLED")],
  CANCELLED: [
    {
      name: "cancel() without a reason",
      ask: () => {
        const task = list(tree);
        task.cancel();
        return task;
      },
    },
  ],
  PROTOCOL: [fromStore("PROTOCOL")],
  CORRUPT: [fromStore("CORRUPT")],
  UNSAFE_PATH: [
    {
      name: "a path that leaves the store",
      ask: () => new Store(tree).stat("../x"),
      names: "../x",
    },
    {
      name: "an absolute path",
      ask: () => new Store(tree).read("/etc/passwd"),
      names: "/etc/passwd",
    },
    {
      name: "a link that leaves the store",
      ask: () => {
        spawnSync("ln", ["-sfn", "/", join(tree, "sub", "out")]);
        return new Response(new Store(tree).read("sub/out/etc/passwd")).text();
      },
      names: "sub/out/etc/passwd",
    },
  ],
  LIMIT: [
    {
      name: "a name too long for any file system",
      ask: () => compare("x".repeat(300), tree),
      errno: "ENAMETOOLONG",
    },
    {
      name: "too many entries",
      ask: () => compare(tree, tree, { limits: { entries: 1 } }),
      names: "entries",
    },
    {
      name: "too deep",
      ask: () => list(scratch.plant("deep", { "a/b/c/d": "1" }), { limits: { depth: 2 } }),
      names: "depth",
    },
    {
      name: "too long a path",
      ask: () =>
        list(scratch.plant("long", { "aaaaaaaa/bbbbbbbb/c": "1" }), { limits: { pathLength: 9 } }),
      names: "pathLength",
    },
  ],
  CHANGED: [{ name: "a file that grows while it is read", ask: changing, names: "file" }],
  NO_SPACE: canMount
    ? [{ name: "a full file system", ask: full, errno: "ENOSPC" }, fromStore("NO_SPACE")]
    : [fromStore("NO_SPACE")],
  BUSY: [fromStore("BUSY")],
  UNSUPPORTED: [
    { name: "a pipe as a tree", ask: () => compare(`${tree}/pipe`, tree), names: "pipe" },
    { name: "a device as a tree", ask: () => list("/dev/null"), names: "/dev/null" },
    {
      name: "a scheme that is not built yet",
      ask: () => compare("s3://bucket/a", tree),
      names: "s3",
    },
    { name: "a scheme nobody knows", ask: () => list("gopher://host/"), names: "gopher" },
    { name: "metadata that memory has not", ask: () => memoryOwners(), names: "owner" },
  ],
  ARGUMENT: [
    { name: "an empty path", ask: () => compare("", tree) },
    { name: "a NUL in a path", ask: () => list("a\0b") },
    {
      name: "a value out of its range",
      ask: () => compare(tree, tree, { chunkSize: 0 }),
      names: "chunkSize",
    },
    {
      name: "a value out of its range, sync",
      ask: () => compareSync(tree, tree, { concurrency: 257 }),
      names: "concurrency",
    },
    // A caller without types.
    {
      name: "an unknown option",
      ask: () => list(tree, { recursive: true } as object),
      names: "recursive",
    },
  ],
  CLOSED: [
    { name: "a closed runtime", ask: () => compare(tree, tree, { runtime: closed() }) },
    { name: "a closed runtime, sync", ask: () => listSync(tree, { runtime: closed() }) },
    {
      name: "a runtime closed under a task",
      ask: () => {
        const runtime = new Runtime();
        const task = compare(`fault:delay=600000:${tree}`, scratch.plant("slow3", { a: "1" }), {
          runtime,
        });
        setImmediate(() => runtime.close());
        return task;
      },
    },
  ],
  MEMORY: [fromStore("MEMORY")], // faults.test.ts fails each allocation
  INTERNAL: [fromStore("INTERNAL")],
};

async function memoryOwners(): Promise<unknown> {
  await using store = new Store("memory:owners");
  await store.write("a", "1");
  return await compare("memory:owners", tree, { metadata: ["owner"] });
}

test("every code of the header is here", () => {
  // Object.keys knows the keys only as strings.
  expect(Object.keys(provoked).toSorted()).toEqual(Object.keys(Code).toSorted());
});

const retryable: readonly string[] = [
  "NETWORK",
  "TIMEOUT",
  "THROTTLED",
  "CHANGED",
  "BUSY",
  "MEMORY",
];

describe.each(Object.entries(provoked))("%s", (code, cases) => {
  test.each([...cases])("$name", async ({ ask, names, errno }) => {
    const error = await errorOf(ask);
    expect(error).toBeInstanceOf(CopseError);
    if (!(error instanceof CopseError)) return;
    expect(error).toMatchObject({ code, name: "CopseError", retryable: retryable.includes(code) });
    if (names) expect(error.message).toContain(names);
    if (errno) expect(error.errno).toBe(errno);
    // A sentence for people: what happened and, after a colon or semicolon, more than a word on it.
    expect(error.message).toMatch(/\w+ \w+ \w+/);
    expect(error.message).not.toMatch(/undefined|\[object/);
    expect(error.stack).toContain("CopseError");
  });
});
