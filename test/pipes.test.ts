// Descriptors as source and destination: rows 42 and 43 of the acceptance table.

import { dlopen } from "bun:ffi";
import { describe, expect, test } from "bun:test";
import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { copy, list, Runtime, Store, type CopseError, type Transfer } from "../lib/index.ts";
import { commandPlace } from "./command.ts";
import { patience, slowness, within } from "./patience.ts";
import { run } from "./trees.ts";

patience(60_000);

/** How many bytes a pipe holds. */
function held(fd: number): number {
  const { symbols, close } = dlopen("libc.so.6", {
    ioctl: { args: ["int", "u64", "ptr"], returns: "int" },
  });
  const count = new Int32Array(1);
  const FIONREAD = 0x541b;
  const isKnown = symbols.ioctl(fd, FIONREAD, count) === 0;
  close();
  if (!isKnown) throw new Error("no pipe");
  return count[0]!;
}

const { folder, copse, shell, plant } = commandPlace();
const SIZE = 1_500_000;
const bytes = Buffer.alloc(SIZE);
for (let i = 0; i < SIZE; i++) bytes[i] = (i * 2654435761) >>> 13;
plant("d", { "sub/big": bytes, small: "small\n", empty: "" });
const at = (...parts: string[]): string => join(folder, ...parts);
const big = at("d", "sub", "big");
const isLinux = process.platform === "linux";
const ofJson = (out: string): Transfer => JSON.parse(out) as Transfer;

describe("43: copse copy - FILE", () => {
  test("from a pipe, spliced", async () => {
    const { status, out } = await shell("cat d/sub/big | copse copy - new/from-pipe --json");
    expect(status).toBe(0);
    expect(ofJson(out)).toMatchObject({ copied: 1, errors: 0, transferred: SIZE });
    if (isLinux) expect(ofJson(out).ways.splice).toBe(SIZE);
    expect(readFileSync(at("new", "from-pipe")).equals(bytes)).toBe(true);
  });

  const sources: readonly [name: string, line: string, size: number][] = [
    ["a file that was redirected", "copse copy - out < d/sub/big", SIZE],
    ["nothing", "copse copy - out < /dev/null", 0],
    ["an empty pipe", "true | copse copy - out", 0],
    ["a pipe that waits and then ends", "(printf a; sleep 0.2; printf b) | copse copy - out", 2],
    ["a pipe, verified", "cat d/sub/big | copse copy - out --verify", SIZE],
    ["a pipe, at a rate", "cat d/sub/big | copse copy - out --bandwidth 500M", SIZE],
    [
      "a pipe, compressed",
      "cat d/sub/big | copse copy - packed -z && copse copy crypt:packed out",
      SIZE,
    ],
  ];
  test.each(sources)("from %s", async (_, line, size) => {
    writeFileSync(at("out"), "what was there before");
    const { status, out, err } = await shell(line);
    expect({ status, err }).toEqual({ status: 0, err: "" });
    expect(out).toContain("1 copied");
    expect(statSync(at("out")).size).toBe(size);
    if (size === SIZE) expect(readFileSync(at("out")).equals(bytes)).toBe(true);
  });

  test("the old content stays until the end came; cancelled, it stays for good", async () => {
    const fifo = at("fifo");
    run("mkfifo", fifo);
    for (const ends of [true, false]) {
      writeFileSync(at("whole"), "old");
      const fd = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
      const into = openSync(fifo, constants.O_WRONLY);
      const stop = new AbortController();
      let moved = 0;
      const onProgress = (now: { bytes: number }): number => (moved = now.bytes);
      const task = copy({ fd }, at("whole"), { signal: stop.signal, onProgress });
      const done = task.then(
        ({ copied }) => copied,
        (error: unknown) => error,
      );
      writeSync(into, "new content");
      while (moved < 11) await Bun.sleep(1);
      expect(readFileSync(at("whole"), "utf8")).toBe("old");
      if (ends) closeSync(into);
      else stop.abort(new Error("stopped"));
      expect(await done).toEqual(ends ? 1 : new Error("stopped"));
      if (!ends) closeSync(into);
      closeSync(fd);
      expect(readFileSync(at("whole"), "utf8")).toBe(ends ? "new content" : "old");
    }
    expect(readdirSync(folder).filter((name) => name.startsWith(".copse-"))).toEqual([]);
  });

  test("a named pipe whose writer is gone before anybody looks", async () => {
    const fifo = at("over");
    run("mkfifo", fifo);
    const writer = Bun.spawn(["sh", "-c", 'printf all > "$0"', fifo]);
    // Without O_NONBLOCK, as a shell opens it.
    const fd = openSync(fifo, constants.O_RDONLY);
    expect(await writer.exited).toBe(0);
    const signal = AbortSignal.timeout(within(10_000));
    expect(await copy({ fd }, at("came"), { signal })).toMatchObject({ copied: 1, transferred: 3 });
    closeSync(fd);
    expect(readFileSync(at("came"), "utf8")).toBe("all");
  });

  test("a directory has no name for it; a tree comes out of no pipe", async () => {
    const nameless = await shell("echo x | copse copy - d");
    expect(nameless.status).toBe(2);
    expect(nameless.err).toContain("the source has no name of its own; name the file to write to");
    expect((await shell("copse copy d - > tree")).status).toBe(2);
    expect((await copse("copy", "d/small", "-", "--verify")).err).toContain("cannot be read again");
    expect((await copse("copy", "d/small", "-", "--json")).err).toContain("leave --json out");
    for (const verb of ["sync", "unpack", "repair"])
      for (const places of [
        ["d", "-"],
        ["-", "d"],
      ])
        expect(await copse(verb, ...places)).toMatchObject({
          status: 2,
          err: expect.stringContaining("a name is ./-"),
        });
    expect(await copy({ fd: 999_999 }, at("never")).catch((error: CopseError) => error.code)).toBe(
      "IO",
    );
    expect(() => copy({ fd: -1 }, "x")).toThrow("location.fd must be a descriptor");
    expect(existsSync(at("never"))).toBe(false);
  });
});

describe("42: to pipes and sockets", () => {
  const lines: readonly [name: string, line: string][] = [
    ["a pipe", "copse copy d/sub/big - | cat > out"],
    ["a file", "copse copy d/sub/big - > out"],
    ["a file that is appended to", ": > out; copse copy d/sub/big - >> out"],
    [
      "a pipe, from an encrypted place",
      "head -c 32 /dev/zero > key; copse copy d/sub/big sealed --encrypt --key-file key -q; copse copy crypt:sealed - --key-file key | cat > out",
    ],
    [
      "a pipe, encrypted on its way",
      "copse copy d/sub/big - --encrypt --key-file key | cat > sealed2; copse copy crypt:sealed2 out --key-file key -q",
    ],
    ["a pipe by cat", "copse cat d sub/big | cat > out"],
    [
      "a pipe by cat, out of a pack",
      "copse pack d d.pack -q; copse cat d.pack sub/big | cat > out",
    ],
  ];
  test.each(lines)("%s", async (_, line) => {
    const { status, out, err } = await shell(line);
    expect({ status, out, err }).toEqual({ status: 0, out: "", err: "" });
    expect(readFileSync(at("out")).equals(bytes)).toBe(true);
  });

  test("what a kernel does by itself is said: splice to a pipe, sendfile to a socket", async () => {
    if (!isLinux) return console.log("skipped: there is no splice here");
    const received: Buffer[] = [];
    const ended = Promise.withResolvers<void>();
    using server = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        data: (_, chunk) => void received.push(Buffer.from(chunk)),
        close: () => ended.resolve(),
      },
    });
    const program =
      `import { copy } from ${JSON.stringify(join(import.meta.dir, "../lib/index.ts"))};` +
      `const { ways } = await copy(${JSON.stringify(big)}, { fd: 3 });` +
      "console.log(JSON.stringify(ways));";
    writeFileSync(at("send.ts"), program);
    const nothing = { clone: 0, copyRange: 0, splice: 0, sendfile: 0 };
    const bun = process.execPath;
    const socket = await shell(`${bun} send.ts 3<>/dev/tcp/127.0.0.1/${server.port}`);
    expect(JSON.parse(socket.out)).toEqual({ ...nothing, sendfile: SIZE });
    await ended.promise;
    expect(Buffer.concat(received).equals(bytes)).toBe(true);
    const pipe = await shell(`{ ${bun} send.ts 3>&1 >&4 | cmp - d/sub/big; } 4>&1`);
    expect(JSON.parse(pipe.out)).toEqual({ ...nothing, splice: SIZE });
  });

  test("a reader that leaves ends it quietly", async () => {
    for (const command of [
      "copse copy d/sub/big -",
      "copse cat d sub/big",
      "copse cat d.pack sub/big",
    ]) {
      const { out, err } = await shell(`${command} | head -c 5 > few; echo \${PIPESTATUS[0]}`);
      expect({ out, err }).toEqual({ out: "0\n", err: "" });
      expect(readFileSync(at("few")).equals(bytes.subarray(0, 5))).toBe(true);
    }
    await using store = new Store(at("d"));
    const fifo = at("left");
    run("mkfifo", fifo);
    const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
    const fd = openSync(fifo, constants.O_WRONLY);
    closeSync(reader);
    const error = await store.send("sub/big", fd).catch((error: unknown) => error);
    closeSync(fd);
    expect(error).toMatchObject({ code: "CLOSED", errno: "EPIPE" });
  });

  test("what nobody reads is given up at once when it is cancelled", async () => {
    const fifo = at("unread");
    run("mkfifo", fifo);
    const many = Buffer.concat([bytes, bytes, bytes, bytes]);
    await using runtime = new Runtime({ ioWorkers: 1 });
    await using memory = new Store("memory:pipes", { runtime });
    await memory.write("many", many);
    writeFileSync(at("many"), many);
    const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
    // Without O_NONBLOCK, and so it stays: others have it, too.
    const fd = openSync(fifo, constants.O_WRONLY);
    const took: [number[], number[]] = [[], []];
    const isQuick = (): boolean => took.every((times) => Math.min(...times) < 100 * slowness);
    // The least of some: a busy machine may be late now and then.
    for (let i = 0; i < 8 || (i < 60 && !isQuick()); i++) {
      const from = [at("many"), "memory:pipes/many"][i % 2]!;
      const stop = new AbortController();
      const done = copy(from, { fd }, { signal: stop.signal, runtime }).then(
        () => "done",
        (error: unknown) => error,
      );
      while (held(reader) <= 60_000) await Bun.sleep(1);
      await Bun.sleep(20); // and full a moment later
      const began = performance.now();
      stop.abort(new Error("stopped"));
      expect(await done).toEqual(new Error("stopped"));
      // Its worker is free again.
      await list(at("d"), { runtime });
      took[i % 2]!.push(performance.now() - began);
      const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1];
      expect(Number.parseInt(flags!, 8) & constants.O_NONBLOCK).toBe(0);
      expect(readSync(reader, Buffer.alloc(1 << 20))).toBeGreaterThan(60_000);
    }
    expect(isQuick()).toBe(true);
    closeSync(fd);
    closeSync(reader);
  });

  test("a socket whose calls wait, and that nobody reads, too", async () => {
    const hasPython = Bun.which("python3") !== null;
    if (!hasPython) return console.log("skipped: python3 makes the pair of sockets");
    writeFileSync(at("huge"), Buffer.alloc(64 << 20));
    const program =
      `import { copy, list, Runtime, Store } from ${JSON.stringify(join(import.meta.dir, "../lib/index.ts"))};` +
      "const runtime = new Runtime({ ioWorkers: 1 });" +
      `await new Store("memory:huge", { runtime }).write("a", Buffer.alloc(64 << 20));` +
      `const places = [${JSON.stringify(at("huge"))}, "memory:huge/a"];` +
      "const took = [[], []];" +
      `const isQuick = () => took.every((times) => Math.min(...times) < ${100 * slowness});` +
      "for (let i = 0; i < 8 || (i < 60 && !isQuick()); i++) {" +
      "const stop = new AbortController();" +
      "const options = { signal: stop.signal, runtime };" +
      "const done = copy(places[i % 2], { fd: 3 }, options).then(() => 'done', String);" +
      "await Bun.sleep(300);" +
      "const began = performance.now();" +
      "stop.abort(new Error('stopped'));" +
      "if ((await done) !== 'Error: stopped') throw await done;" +
      "await list('d', { runtime });" +
      "took[i % 2].push(performance.now() - began);" +
      "}" +
      "console.log(isQuick());";
    writeFileSync(at("unread.ts"), program);
    // The other end stays open in the program that began it.
    const pair =
      "import os, socket, subprocess, sys\n" +
      "near, far = socket.socketpair()\n" +
      "os.dup2(near.fileno(), 3)\n" +
      "sys.exit(subprocess.run(sys.argv[1:], pass_fds=[3]).returncode)";
    writeFileSync(at("pair.py"), pair);
    const { out } = await shell(
      `timeout ${within(60_000) / 1000} python3 pair.py ${process.execPath} unread.ts`,
    );
    expect(out).toBe("true\n");
  });

  test("a full disk is no quiet end", async () => {
    if (!existsSync("/dev/full")) return console.log("skipped: there is no /dev/full");
    const { status, err } = await shell("copse copy d/small - > /dev/full");
    expect(status).toBe(2);
    expect(err).toContain("no space");
  });

  test("Store.send: bytes of one file, links and directories are refused", async () => {
    await using store = new Store(at("d"));
    const fd = openSync(at("sent"), "w");
    expect(await store.send("sub/big", fd)).toBe(SIZE);
    expect(await store.send("empty", fd)).toBe(0);
    expect(await store.send("small", fd)).toBe(6);
    closeSync(fd);
    expect(readFileSync(at("sent")).subarray(SIZE).toString()).toBe("small\n");
    const code = (path: string): Promise<unknown> =>
      store.send(path, 1).catch((error: CopseError) => error.code);
    expect(await code("sub")).toBe("UNSUPPORTED");
    expect(await code("nothing")).toBe("NOT_FOUND");
    expect(await code("../d/small")).toBe("UNSAFE_PATH");
  });
});
