// One file of a web server over several connections: which ranges are asked for, how many at once, and
// that no server can make a wrong file of it.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  copy,
  copySync,
  CopseError,
  Runtime,
  Store,
  type Action,
  type CopyOptions,
} from "../lib/index.ts";
import { within } from "./patience.ts";
import { startFar, type Far } from "./servers/far.ts";
import { nginxMissing, startNginx, type Nginx } from "./servers/nginx.ts";
import { answer, startUnruly, type Reply, type Script, type Unruly } from "./servers/unruly.ts";
import { atRest } from "./ways.ts";

const MIB = 1024 * 1024;
const old = new Date("2024-05-06T07:08:09Z");

/** Bytes that tell where they are, so that no two places look alike. */
function bytesOf(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at + 4 <= size; at += 4) bytes.writeUInt32LE((at * 2654435761) >>> 0, at);
  return bytes;
}

let folder: string;
let count = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "copse-split-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});
const fresh = (): string => join(folder, `out-${count++}`);

/** The one error row. */
function errorOf(actions: readonly Action[]): CopseError {
  const [first] = actions;
  if (actions.length !== 1 || first?.kind !== "error")
    throw new Error(`no error: ${JSON.stringify(actions)}`);
  return first.error;
}

describe.skipIf(nginxMissing !== undefined)("with nginx", () => {
  let server: Nginx;
  const sizes = {
    "one-byte": 1,
    "below-1m": MIB - 1,
    "1m": MIB,
    "4m": 4 * MIB,
    "17m": 17 * MIB + 5,
    "100m": 100 * MIB,
    "above-100m": 100 * MIB + 1,
  };
  type Name = keyof typeof sizes;
  beforeAll(async () => {
    server = await startNginx();
    const all = bytesOf(100 * MIB + 1);
    for (const [name, size] of Object.entries(sizes)) {
      writeFileSync(join(server.root, name), all.subarray(0, size));
      utimesSync(join(server.root, name), old, old);
    }
  });
  afterAll(() => {
    server?.[Symbol.dispose]();
  });

  /** What was asked for, sorted: `200`, or a range. A connection that was let go is logged later. */
  async function asked(name: string, isThere: (lines: string[]) => boolean): Promise<string[]> {
    const lines: string[] = [];
    for (const end = Date.now() + within(10_000); ; await Bun.sleep(5)) {
      for (const line of server.requests())
        if (line.includes(`/${name} `)) lines.push(line.split(" ").at(-1)!);
      if (isThere(lines)) break;
      if (Date.now() > end) throw new Error(`asked: ${lines.join(" ")}`);
    }
    const begin = (line: string): number => Number(/=(\d+)/.exec(line)?.[1] ?? 0);
    return lines.sort((left, right) => begin(left) - begin(right));
  }

  function same(name: Name, out: string): void {
    expect(readFileSync(out).equals(readFileSync(join(server.root, name)))).toBe(true);
  }

  async function fetchFile(name: Name, options: CopyOptions = {}, from = server.http) {
    const out = fresh();
    server.requests();
    const result = await copy(`${from}/${name}`, out, options);
    expect(result).toMatchObject({ copied: 1, errors: 0, complete: true });
    expect(result.transferred).toBe(sizes[name]);
    same(name, out);
    expect(readdirSync(folder).filter((entry) => entry.startsWith("."))).toEqual([]);
    return out;
  }

  test.each(["one-byte", "below-1m", "1m", "4m"] as const)(
    "sync.md 19: %s is one part, and one request",
    async (name) => {
      await fetchFile(name, { fsync: false });
      expect(await asked(name, (lines) => lines.length > 0)).toEqual(["200"]);
    },
  );

  test("sync.md 19: up to 100 MiB the parts are 4 MiB", async () => {
    await fetchFile("17m", { fsync: false, streams: 5 });
    const expected = [1, 2, 3, 4].map(
      (i) => `bytes=${i * 4 * MIB}-${Math.min((i + 1) * 4 * MIB, sizes["17m"]) - 1}`,
    );
    expect(await asked("17m", (lines) => lines.length === 5)).toEqual(["200", ...expected]);
    await fetchFile("100m", { fsync: false });
    const lines = await asked("100m", (all) => all.length > 3);
    for (const line of lines.filter((text) => text !== "200")) {
      const [from = 0, to = 0] = /\d+-\d+/.exec(line)![0].split("-").map(Number);
      expect(from % (4 * MIB)).toBe(0);
      expect(to + 1 - from).toBe(4 * MIB);
    }
  });

  test("sync.md 19: above 100 MiB they are 8 to 64 MiB", async () => {
    await fetchFile("above-100m", { fsync: false });
    const lines = await asked("above-100m", (all) => all.length > 3);
    for (const line of lines.filter((text) => text !== "200")) {
      const [from = 0, to = 0] = /\d+-\d+/.exec(line)![0].split("-").map(Number);
      expect(to + 1 - from).toBeLessThanOrEqual(64 * MIB);
      if (to + 1 < sizes["above-100m"]) expect(to + 1 - from).toBeGreaterThanOrEqual(8 * MIB);
    }
  });

  test("sync.md 18: chunkSize and streams are as they are given", async () => {
    await fetchFile("4m", { fsync: false, chunkSize: MIB, streams: 3 });
    const lines = await asked("4m", (all) => all.length >= 3);
    for (const line of lines.filter((text) => text !== "200"))
      expect(line).toMatch(/^bytes=(1048576-2097151|2097152-3145727|3145728-4194303)$/);
    await fetchFile("17m", { fsync: false, streams: 1 });
    expect(await asked("17m", (all) => all.length > 0)).toEqual(["200"]);
    await fetchFile("4m", { fsync: false, chunkSize: { min: 64 * 1024, max: MIB } });
    const some = await asked("4m", (all) => all.length > 3);
    expect(some.length).toBeGreaterThan(3);
  });

  test.each([
    [{ streams: 0 }, /streams must be/],
    [{ streams: 33 }, /streams must be/],
    [{ streams: "many" }, /streams must be/],
    [{ chunkSize: 1 }, /chunkSize must be/],
    [{ chunkSize: { min: MIB } }, /chunkSize\.max must be/],
    [{ chunkSize: { min: MIB, max: 100_000 } }, /chunkSize\.max must be/],
  ])("%j is refused", (options, message) => {
    // Not what the types allow.
    const wrong = options as unknown as CopyOptions;
    expect(() => copySync(`${server.http}/4m`, fresh(), wrong)).toThrow(message);
  });

  test("a server without ranges gives one answer", async () => {
    await fetchFile("17m", { fsync: false, streams: 8 }, server.plain);
    expect(await asked("17m", (lines) => lines.length > 0)).toEqual(["200"]);
  });

  test("HTTP/2 uses several connections, too", async () => {
    const out = fresh();
    const from = { url: `${server.https}/17m`, ca: server.ca };
    expect(await copy(from, out, { streams: 4 })).toMatchObject({ copied: 1, errors: 0 });
    same("17m", out);
  });

  test("a runtime of two connections has no more", async () => {
    using far = startFar(Number(new URL(server.http).port), 1);
    const runtime = new Runtime({ connections: 2 });
    await fetchFile("17m", { fsync: false, streams: 16, runtime }, `http://127.0.0.1:${far.port}`);
    expect(far.most).toBeLessThanOrEqual(2);
    await runtime.close();
  });

  test("little memory means few streams, not none", async () => {
    const runtime = new Runtime({ memory: 16 * MIB });
    await fetchFile("17m", { fsync: false, streams: 32, runtime });
    expect(runtime.stats.memory).toBeLessThanOrEqual(16 * MIB);
    await runtime.close();
  });

  test(
    "sync.md 21: the farther the server, the more streams",
    async () => {
      async function most(roundTripMs: number): Promise<number> {
        using far: Far = startFar(Number(new URL(server.http).port), roundTripMs);
        await fetchFile("100m", { fsync: false }, `http://127.0.0.1:${far.port}`);
        return far.most;
      }
      const distant = await most(120);
      expect(distant).toBeGreaterThanOrEqual(8);
      expect(distant).toBeLessThanOrEqual(32);
      // A machine that is busy seems far, too: one of a few tries must be near.
      let near = Infinity;
      for (let tries = 0; tries < 5 && near > 4; tries++) near = Math.min(near, await most(0));
      expect(near).toBeLessThanOrEqual(4);
    },
    within(60_000),
  );

  test("sync.md 20: what must be in order is, from a far server by several parts", async () => {
    using far = startFar(Number(new URL(server.http).port), 60);
    server.requests();
    const store = new Store(`http://127.0.0.1:${far.port}/`);
    const read = Buffer.from(await new Response(store.read("17m")).arrayBuffer());
    expect(read.equals(readFileSync(join(server.root, "17m")))).toBe(true);
    const lines = await asked("17m", (all) => all.length >= 5);
    expect(lines.length).toBeGreaterThanOrEqual(5);
    expect(far.most).toBeGreaterThan(2);
    // A part of it, and one that is left half-way.
    const part = await new Response(store.read("17m", { start: 5 * MIB + 1 })).arrayBuffer();
    expect(Buffer.from(part).equals(read.subarray(5 * MIB + 1))).toBe(true);
    const reader = store.read("17m").getReader();
    expect((await reader.read()).value!.length).toBeGreaterThan(0);
    await reader.cancel();
  });

  test("from a near server it is one answer", async () => {
    server.requests();
    const store = new Store(`${server.http}/`);
    let ranges = Infinity;
    // A machine that is busy seems far.
    for (let tries = 0; tries < 5 && ranges > 0; tries++) {
      await new Response(store.read("17m")).arrayBuffer();
      const lines = await asked("17m", (all) => all.includes("200"));
      ranges = lines.filter((line) => line.startsWith("bytes")).length;
    }
    expect(ranges).toBe(0);
  });

  test("parts for a destination that takes bytes in order only", async () => {
    using far = startFar(Number(new URL(server.http).port), 30);
    const name = `memory:split-${count++}`;
    const from = { files: { "a.bin": `http://127.0.0.1:${far.port}/17m` } };
    const result = await copy(from, name);
    expect(result).toMatchObject({ copied: 1, errors: 0 });
    const read = await new Response(new Store(name).read("a.bin")).arrayBuffer();
    expect(Buffer.from(read).equals(readFileSync(join(server.root, "17m")))).toBe(true);
  });

  test("connections that break in mid-part cost only what was not there", async () => {
    using far = startFar(Number(new URL(server.http).port), 60);
    const out = fresh();
    server.requests();
    const task = copy(`http://127.0.0.1:${far.port}/above-100m`, out, { fsync: false });
    for (const end = Date.now() + within(20_000); far.most < 4 && Date.now() < end;)
      await Bun.sleep(5);
    far.cut();
    expect(await task).toMatchObject({ copied: 1, errors: 0, retries: 0 });
    same("above-100m", out);
  });

  test("a cancelled download leaves nothing", async () => {
    using far = startFar(Number(new URL(server.http).port), 100);
    const target = join(folder, `cancelled-${count++}`);
    const abort = new AbortController();
    const options = { signal: abort.signal, resume: false };
    const task = copy(`http://127.0.0.1:${far.port}/above-100m`, target, options);
    for (const end = Date.now() + within(20_000); far.most < 4 && Date.now() < end;)
      await Bun.sleep(5);
    abort.abort();
    expect(
      await task.then(
        () => undefined,
        (error: unknown) => error,
      ),
    ).toBeInstanceOf(DOMException);
    await atRest();
    expect(existsSync(target)).toBe(false);
    expect(readdirSync(folder).filter((entry) => entry.startsWith(".copse"))).toEqual([]);
  });

  test("the bandwidth holds for parts, too", async () => {
    const begin = performance.now();
    await fetchFile("4m", { fsync: false, streams: 4, chunkSize: MIB, bandwidth: 16 * MIB });
    // 4 MiB are read and written: 8 of 16 MiB a second, less what may come at once.
    expect(performance.now() - begin).toBeGreaterThan(300);
  });
});

describe("servers that lie", () => {
  const body = bytesOf(3 * MIB);
  let server: Unruly;

  interface Lie {
    etag?: (reply: Reply, from: number) => string;
    range?: (from: number, to: number, total: number) => string;
    bytes?: (from: number, to: number) => Uint8Array;
    /** Instead of the answer to a range. */
    instead?: Script;
  }

  /** A server with ranges, but for the lie. */
  function ranged({ etag, range, bytes, instead }: Lie): Script {
    return async (reply) => {
      const { now, write } = reply;
      const wanted = /^bytes=(\d+)-(\d*)$/.exec(now.headers["range"] ?? "");
      const from = Number(wanted?.[1] ?? 0);
      const to = wanted?.[2] ? Number(wanted[2]) + 1 : body.length;
      const tag = etag?.(reply, from) ?? '"one"';
      const common = `Accept-Ranges: bytes\r\nETag: ${tag}\r\n`;
      const isOther = now.headers["if-range"] !== undefined && now.headers["if-range"] !== tag;
      if (!wanted || isOther) {
        write(`HTTP/1.1 200 OK\r\n${common}Content-Length: ${body.length}\r\n\r\n`);
        write(body.subarray(0, 1000));
        // The first answer takes its time, so that parts are worth asking for: until both are, or
        // nobody comes for a second one.
        const parts = (): number =>
          server.asked.filter(({ path, headers }) => path === now.path && headers["range"]).length;
        for (let since = 0; !isOther && parts() < 2 && since < 400; since += parts() > 0 ? 5 : 0)
          if (!(await reply.wait(5))) return;
        write(body.subarray(1000));
        return;
      }
      if (instead) return instead(reply);
      const sent = bytes?.(from, to) ?? body.subarray(from, to);
      const said = range?.(from, to, body.length) ?? `${from}-${to - 1}/${body.length}`;
      write(
        `HTTP/1.1 206 Partial\r\n${common}Content-Range: bytes ${said}\r\nContent-Length: ${sent.length}\r\n\r\n`,
      );
      write(sent);
    };
  }

  let resets = 0;
  let busy = 0;
  beforeAll(() => {
    server = startUnruly({
      "/honest": ranged({}),
      "/elsewhere": ranged({ range: (from, to, total) => `${from + 1}-${to}/${total}` }),
      "/shorter": ranged({
        range: (from, to, total) => `${from}-${to - 2}/${total}`,
        bytes: (from, to) => body.subarray(from, to - 1),
      }),
      "/cut": ranged({ bytes: (from, to) => body.subarray(from, to - 1) }),
      "/more": ranged({ bytes: (from, to) => Buffer.concat([body.subarray(from, to), body]) }),
      "/larger": ranged({ range: (from, to, total) => `${from}-${to - 1}/${total + 1}` }),
      "/nowhere": ranged({ range: () => "*/3145728" }),
      "/changes": ranged({ etag: ({ now }) => (now.headers["range"] ? '"two"' : '"one"') }),
      "/changes-later": ranged({ etag: (_, from) => (from >= 2 * MIB ? '"two"' : '"one"') }),
      "/no-ranges": ranged({
        instead: answer(body, 'Accept-Ranges: bytes\r\nETag: "one"\r\n'),
      }),
      "/resets": ranged({
        instead: (reply) => (resets++ < 2 ? reply.reset() : ranged({})(reply)),
      }),
      "/busy": ranged({
        instead: (reply) =>
          busy++ < 2
            ? reply.write("HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n")
            : ranged({})(reply),
      }),
      "/denied": ranged({
        instead: ({ write }) => {
          write("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        },
      }),
    });
  });
  afterAll(() => {
    server[Symbol.dispose]();
  });

  const options: CopyOptions = {
    streams: 3,
    chunkSize: MIB,
    fsync: false,
    retries: 0,
    resume: false,
  };
  const locationOf = (name: string) => ({ url: `${server.url}/${name}`, retries: 2 });

  test.each(["honest", "no-ranges", "resets", "busy"])("%s: the file is right", async (name) => {
    const out = fresh();
    const result = await copy(locationOf(name), out, options);
    expect(result).toMatchObject({ copied: 1, errors: 0 });
    expect(readFileSync(out).equals(body)).toBe(true);
    const ranges = server.asked.filter(
      ({ path, headers }) => path === `/${name}` && headers["range"],
    );
    expect(ranges.length).toBeGreaterThan(0);
    for (const { headers } of ranges) expect(headers["if-range"]).toBe('"one"');
  });

  test.each([
    ["elsewhere", "PROTOCOL"],
    ["shorter", "PROTOCOL"],
    ["cut", "PROTOCOL"],
    ["more", "PROTOCOL"],
    ["larger", "CHANGED"],
    ["nowhere", "PROTOCOL"],
    ["changes", "CHANGED"],
    ["changes-later", "CHANGED"],
  ])("%s: %s, and what was there stays", async (name, code) => {
    const out = fresh();
    writeFileSync(out, "as it was");
    const result = await copy(locationOf(name), out, options);
    expect(errorOf(result.actions).code).toBe(code as CopseError["code"]);
    expect(result.copied).toBe(0);
    expect(readFileSync(out, "utf8")).toBe("as it was");
    expect(readdirSync(folder).filter((entry) => entry.startsWith(".copse"))).toEqual([]);
  });

  test("a server that denies the parts: what was there stays", async () => {
    const out = fresh();
    writeFileSync(out, "as it was");
    const code = await copy(locationOf("denied"), out, options).then(
      () => "none",
      (error: unknown) => (error instanceof CopseError ? error.code : String(error)),
    );
    expect(code).toBe("DENIED");
    expect(readFileSync(out, "utf8")).toBe("as it was");
  });
});
