// A download that ends early goes on where it was: after a cancel, a broken server and kill -9, with
// nothing fetched again that is there, and never with bytes of something else.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  linkSync,
  mkdtempSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { copy, sync, type CopyOptions, type Transfer } from "../lib/index.ts";
import { killed } from "./killed.ts";
import { patience, within } from "./patience.ts";
import { startFar, type Far } from "./servers/far.ts";
import { nginxMissing, startNginx, type Nginx } from "./servers/nginx.ts";
import { atRest } from "./ways.ts";

const MIB = 1024 * 1024;
const SIZE = 40 * MIB + 3;
patience(60_000);
const old = new Date("2024-05-06T07:08:09Z");

function bytesOf(size: number, salt = 0): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at + 4 <= size; at += 4)
    bytes.writeUInt32LE(((at + salt) * 2654435761) >>> 0, at);
  return bytes;
}

describe.skipIf(nginxMissing !== undefined)("a download that ended early", () => {
  let server: Nginx;
  let far: Far;
  let folder: string;
  let target: string;
  let content = bytesOf(SIZE);
  let count = 0;

  beforeAll(async () => {
    server = await startNginx();
    // 40 ms and a narrow window: a second or more for all of it.
    far = startFar(Number(new URL(server.http).port), 40, 128 * 1024);
    folder = mkdtempSync(join(tmpdir(), "copse-resume-"));
  });
  afterAll(() => {
    far?.[Symbol.dispose]();
    server?.[Symbol.dispose]();
    rmSync(folder, { recursive: true, force: true });
  });
  beforeEach(() => {
    content = bytesOf(SIZE);
    plant(content);
    target = join(folder, `into-${count++}`);
    mkdirSync(target);
  });

  function plant(bytes: Uint8Array, when = old): void {
    writeFileSync(join(server.root, "large"), bytes);
    utimesSync(join(server.root, "large"), when, when);
  }

  const out = (): string => join(target, "large");
  const url = (): string => `http://127.0.0.1:${far.port}/large`;
  const kept = (): string[] => readdirSync(target).filter((name) => name.endsWith(".keep"));

  async function until(what: () => boolean): Promise<void> {
    for (const end = Date.now() + within(25_000); !what(); await Bun.sleep(2))
      if (Date.now() > end) throw new Error("it did not come to that");
  }

  /** Blocks of the partial file: how much of it is there. */
  const there = (): number => {
    const [name] = kept();
    return name === undefined ? 0 : statSync(join(target, name)).blocks * 512;
  };

  async function cancelHalfWay(options: CopyOptions = {}): Promise<void> {
    const abort = new AbortController();
    const task = copy(url(), out(), { ...options, signal: abort.signal, fsync: false });
    const ended = task.then(
      () => "whole",
      () => "ended early",
    );
    await until(() => there() > SIZE / 2);
    abort.abort();
    expect(await ended).toBe("ended early");
    await atRest();
    expect(existsSync(out())).toBe(false);
  }

  async function goOn(from = `${server.http}/large`): Promise<Transfer> {
    const result = await copy(from, out(), { fsync: false });
    expect(result).toMatchObject({ copied: 1, errors: 0, transferred: SIZE });
    expect(readFileSync(out()).equals(content)).toBe(true);
    expect(statSync(out()).size).toBe(SIZE);
    expect(readdirSync(target)).toEqual(["large"]);
    return result;
  }

  test("by a cancel goes on from the same address", async () => {
    await cancelHalfWay();
    expect(kept().length).toBe(1);
    const result = await goOn(url());
    expect(result.resumed).toBeGreaterThan(SIZE / 4);
    expect(result.resumed).toBeLessThan(SIZE);
  });

  test("asks for nothing that is there", async () => {
    await cancelHalfWay();
    // What was let go is logged a little later: not by a server that is another one by then.
    await server.restart();
    const result = await goOn(url());
    expect(result.resumed).toBeGreaterThan(0);
    let asked = 0;
    await until(() => {
      for (const line of server.requests()) {
        const range = /^GET \/large HTTP\/1.1 206 bytes=(\d+)-(\d+)$/.exec(line);
        if (range) asked += Number(range[2]) + 1 - Number(range[1]);
      }
      return asked >= SIZE - result.resumed;
    });
    expect(asked).toBe(SIZE - result.resumed);
  });

  test("by kill -9 goes on", async () => {
    const work = `await copse.copy(${JSON.stringify(url())}, ${JSON.stringify(out())});`;
    expect((await killed(work, () => there() > SIZE / 2)).wasRunning).toBe(true);
    expect(kept().length).toBe(1);
    const result = await goOn(url());
    expect(result.resumed).toBeGreaterThan(SIZE / 8);
  });

  test("by a server that is gone is an error row; later it goes on", async () => {
    const task = copy({ url: url(), retries: 0 }, out(), { retries: 0, fsync: false });
    await until(() => there() > SIZE / 2);
    far.cut();
    const { errors, copied } = await task;
    expect([errors, copied]).toEqual([1, 0]);
    expect((await goOn(url())).resumed).toBeGreaterThan(0);
  });

  test("and whose content is another one now begins anew", async () => {
    await cancelHalfWay();
    content = bytesOf(SIZE, 1);
    plant(content, new Date("2024-05-07T07:08:09Z"));
    expect((await goOn(url())).resumed).toBe(0);
  });

  test("and whose content is shorter now is the shorter one", async () => {
    await cancelHalfWay();
    const short = content.subarray(0, 1000);
    plant(short, new Date("2024-05-07T07:08:09Z"));
    expect(await copy(url(), out())).toMatchObject({ copied: 1, errors: 0 });
    expect(readFileSync(out()).equals(short)).toBe(true);
  });

  test("is not believed where its bytes are damaged", async () => {
    await cancelHalfWay();
    const partial = join(target, kept()[0]!);
    const bytes = readFileSync(partial);
    for (let at = 0; at < SIZE; at += 3 * MIB) bytes[at]! ^= 1;
    writeFileSync(partial, bytes);
    const result = await goOn(url());
    expect(result.resumed).toBeGreaterThan(0);
  });

  test.each([
    ["its head", (at: number) => at + 20],
    ["a record", (at: number) => at + 64 + 5],
  ])("is not believed where %s is damaged", async (_, where) => {
    await cancelHalfWay();
    const partial = join(target, kept()[0]!);
    const bytes = readFileSync(partial);
    bytes[where(Math.ceil(SIZE / 4096) * 4096)]! ^= 1;
    writeFileSync(partial, bytes);
    expect((await goOn(url())).resumed).toBe(0);
  });

  test("and torn in its last record goes on with the others", async () => {
    await cancelHalfWay();
    const partial = join(target, kept()[0]!);
    const bytes = readFileSync(partial);
    writeFileSync(partial, bytes.subarray(0, bytes.length - 10));
    expect((await goOn(url())).resumed).toBeGreaterThan(0);
  });

  test.each(["a link", "a second name", "a directory", "somebody's file"])(
    "%s in the place of the partial is left alone",
    async (what) => {
      await cancelHalfWay();
      const partial = join(target, kept()[0]!);
      rmSync(partial);
      const victim = join(folder, `victim-${count++}`);
      writeFileSync(victim, "precious", { mode: 0o644 });
      if (what === "a link") symlinkSync(victim, partial);
      if (what === "a second name") linkSync(victim, partial);
      if (what === "a directory") mkdirSync(partial);
      if (what === "somebody's file") writeFileSync(partial, "precious", { mode: 0o644 });
      const result = await copy(`${server.http}/large`, out(), { fsync: false });
      expect(result).toMatchObject({ copied: 1, errors: 0, resumed: 0 });
      expect(readFileSync(out()).equals(content)).toBe(true);
      expect(readFileSync(victim, "utf8")).toBe("precious");
    },
  );

  test("two downloads to one name: both right, one after the other or beside each other", async () => {
    const results = await Promise.all([
      copy(`${server.http}/large`, out(), { fsync: false }),
      copy(`${server.http}/large`, out(), { fsync: false }),
    ]);
    for (const result of results) expect(result.errors).toBe(0);
    expect(readFileSync(out()).equals(content)).toBe(true);
    expect(readdirSync(target)).toEqual(["large"]);
  });

  test("resume: false leaves nothing", async () => {
    const abort = new AbortController();
    const task = copy(url(), out(), { resume: false, signal: abort.signal });
    const ended = task.then(
      () => "whole",
      () => "ended early",
    );
    await until(() => readdirSync(target).some((name) => name.endsWith(".part")));
    await Bun.sleep(100);
    abort.abort();
    expect(await ended).toBe("ended early");
    await atRest();
    expect(readdirSync(target)).toEqual([]);
  });

  test("in a tree is never copied, and stays until a sync knows of no such file", async () => {
    await cancelHalfWay();
    const [name] = kept();
    const other = join(folder, `other-${count++}`);
    mkdirSync(other);
    expect(await copy(target, other)).toMatchObject({ copied: 0, errors: 0 });
    expect(readdirSync(other)).toEqual([]);
    expect(await copy(other, target)).toMatchObject({ copied: 0, errors: 0 });
    expect(kept()).toEqual([name!]);
    expect(await sync(other, target, { force: true })).toMatchObject({ deleted: 0, errors: 0 });
    expect(readdirSync(target)).toEqual([]);
  });

  test("in a tree is swept by a copy when it is old", async () => {
    await cancelHalfWay();
    const [name] = kept();
    const other = join(folder, `other-${count++}`);
    mkdirSync(other);
    const long = new Date(Date.now() - 8 * 24 * 3600 * 1000);
    utimesSync(join(target, name!), long, long);
    expect(await copy(other, target)).toMatchObject({ copied: 0, errors: 0 });
    expect(readdirSync(target)).toEqual([]);
  });
});
