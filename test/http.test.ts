// http: and https: locations against a real nginx: files, directories, ranges, TLS, HTTP/2,
// connections. What nginx will not do is in http-hostile.test.ts.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compare, compareSync, CopseError, list } from "../lib/index.ts";
import { nginxMissing, startNginx, type Nginx } from "./servers/nginx.ts";

const MIB = 1024 * 1024;
const old = new Date("2024-05-06T07:08:09Z");

let server: Nginx;
let local: string;

/** Bytes that repeat in no block size anybody uses. */
function bytesOf(size: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  let state = seed >>> 0 || 1;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** The same file here and on the server, unless `other` says what the server has. */
function plant(path: string, content: string | Uint8Array, other = content): void {
  for (const [root, bytes] of [
    [local, content],
    [server.root, other],
  ] as const) {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), bytes);
    // A file that was just written is read again from its first byte.
    utimesSync(join(root, path), old, old);
  }
}

async function failure(work: PromiseLike<unknown>): Promise<CopseError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof CopseError) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

describe.skipIf(nginxMissing !== undefined)("nginx", () => {
  beforeAll(async () => {
    server = await startNginx();
    local = mkdtempSync(join(tmpdir(), "copse-http-"));
    plant("small", "hello");
    plant("empty", "");
    plant("once-http", "once");
    plant("once-plain", "once");
    plant("other", "hello", "hallo");
    plant("longer", "hello", "hello!");
    plant("large", bytesOf(3 * MIB));
    const large = bytesOf(3 * MIB);
    large[2 * MIB + 17]! ^= 1;
    plant("changed", bytesOf(3 * MIB), large);
    plant("tree/a.txt", "a");
    plant("tree/sub/b c#?&%41.txt", "b");
    plant("tree/sub/ü 日本.txt", "u");
    plant("tree/sub/deep/x", bytesOf(300_000, 7));
  });
  afterAll(() => {
    server?.[Symbol.dispose]();
    if (local) rmSync(local, { recursive: true, force: true });
  });

  describe.each(["http", "plain"] as const)("compare a file with a URL (%s)", (kind) => {
    const at = (path: string): string => `${server[kind]}/${path}`;
    const here = (path: string): string => join(local, path);

    test.each(["small", "empty", "large"])("%s: equal", async (name) => {
      const result = await compare(here(name), at(name));
      expect(result).toMatchObject({ equal: true, complete: true, files: 1, differences: [] });
      expect(compareSync(at(name), here(name)).equal).toBe(true);
    });

    test.each([
      ["other", { reason: "content", offset: 1 }],
      ["longer", { reason: "size" }],
      ["changed", { reason: "content", offset: 2 * MIB + 17 }],
    ])("%s: differs", async (name, expected) => {
      const { equal, differences } = await compare(here(name), at(name));
      expect(equal).toBe(false);
      expect(differences).toEqual([expect.objectContaining({ kind: "differs", ...expected })]);
      expect((await compare(here(name), at(name), { stopAtFirst: true })).equal).toBe(false);
    });

    test("compare.md 1.5: one GET serves a file", async () => {
      server.requests();
      const name = `once-${kind}`;
      expect((await compare(here(name), at(name))).equal).toBe(true);
      const asked = server.requests().filter((line) => line.includes(name));
      expect(asked).toEqual([`GET /${name} HTTP/1.1 200`]);
    });

    test("a tree with the server's index of it", async () => {
      const result = await compare(here("tree"), at("tree/"));
      expect(result).toMatchObject({ equal: true, complete: true, files: 4, differences: [] });
      expect((await compare(here("tree"), at("tree"))).equal).toBe(true);
      const listed = await list(at("tree/"));
      expect(listed.map((entry) => entry.path)).toEqual(
        (await list(here("tree"))).map((entry) => entry.path),
      );
    });

    test("what is not there is NOT_FOUND with its status", async () => {
      const error = await failure(compare(here("small"), at("missing")));
      expect(error).toMatchObject({ code: "NOT_FOUND", status: 404, location: at("missing") });
    });
  });
});
