// http: and https: locations against a real nginx: files, directories, ranges, TLS, HTTP/2,
// connections. What nginx will not do is in http-hostile.test.ts.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  compare,
  compareSync,
  CopseError,
  list,
  Runtime,
  Store,
  type HttpLocation,
  type Location,
} from "../lib/index.ts";
import { within } from "./patience.ts";
import { nginxMissing, startNginx, type Nginx } from "./servers/nginx.ts";
import { answer, startUnruly } from "./servers/unruly.ts";

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
      let asked: string[] = [];
      await until(() => {
        asked = asked.concat(server.requests().filter((line) => line.includes(name)));
        return asked.length > 0;
      });
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

  describe("TLS", () => {
    const at = (path: string, more: Partial<HttpLocation> = {}): HttpLocation => ({
      url: `${server.https}/${path}`,
      ca: server.ca,
      retries: 0,
      ...more,
    });

    test.each(["small", "empty", "large"])("%s: equal over HTTP/2", async (name) => {
      server.requests();
      expect((await compare(join(local, name), at(name))).equal).toBe(true);
      await until(() => server.requests().some((line) => line.includes("HTTP/2.0 200")));
    });

    test("a tree", async () => {
      expect((await compare(join(local, "tree"), at("tree/"))).equal).toBe(true);
    });

    test("the CA as text", async () => {
      const ca = readFileSync(server.ca, "utf8");
      expect((await compare(join(local, "small"), at("small", { ca }))).equal).toBe(true);
    });

    test("an unknown CA is refused, and believed only when asked to", async () => {
      const { ca: _, ...unknown } = at("small");
      const error = await failure(compare(join(local, "small"), unknown));
      expect(error).toMatchObject({ code: "DENIED", retryable: false });
      expect(error.message).toContain("certificate");
      const insecure = { ...unknown, insecure: true };
      expect((await compare(join(local, "small"), insecure)).equal).toBe(true);
    });

    test("a certificate for another name is refused", async () => {
      const url = server.https.replace("localhost", "127.0.0.1");
      const error = await failure(compare(join(local, "small"), at("", { url: `${url}/small` })));
      expect(error.code).toBe("DENIED");
    });

    test("SSL_CERT_FILE counts where nothing is said; one that cannot be read is named", async () => {
      const { ca: _, ...location } = at("small");
      const before = process.env.SSL_CERT_FILE;
      try {
        process.env.SSL_CERT_FILE = server.ca;
        expect((await compare(join(local, "small"), location)).equal).toBe(true);
        process.env.SSL_CERT_FILE = "/nowhere/ca.pem";
        expect(() => compare(join(local, "small"), location)).toThrow("SSL_CERT_FILE");
      } finally {
        if (before === undefined) delete process.env.SSL_CERT_FILE;
        else process.env.SSL_CERT_FILE = before;
      }
    });

    test("minTls 1.3 refuses a server that speaks 1.2 only", async () => {
      const url = `${server.https12}/small`;
      expect((await compare(join(local, "small"), at("", { url }))).equal).toBe(true);
      const error = await failure(compare(join(local, "small"), at("", { url, minTls: "1.3" })));
      expect(error.code).toBe("PROTOCOL");
      expect((await compare(join(local, "small"), at("small", { minTls: "1.3" }))).equal).toBe(
        true,
      );
    });

    test("a redirect from https to http is refused", async () => {
      const error = await failure(compare(join(local, "small"), at("insecure/small")));
      expect(error).toMatchObject({ code: "DENIED", status: 302 });
    });

    test("two large files of one host at once do not wait for each other", async () => {
      const result = await compare(at("large"), at("changed"));
      expect(result.differences).toEqual([expect.objectContaining({ offset: 2 * MIB + 17 })]);
    });
  });

  test("a list of many large files on one host, compared with itself, comes to its end", async () => {
    const files = (kind: "http" | "https"): Location => ({
      files: Object.fromEntries(
        Array.from({ length: 24 }, (_, i) => [
          `f${i}`,
          { url: `${server[kind]}/large?${i}`, ca: server.ca },
        ]),
      ),
    });
    const result = await compare(files("http"), files("https"));
    expect(result).toMatchObject({ equal: true, files: 24 });
  });

  describe("a table of files", () => {
    const table = (change: Record<string, Location> = {}): { files: Record<string, Location> } => ({
      files: {
        "a.txt": `${server.http}/tree/a.txt`,
        "sub/b c#?&%41.txt": `${server.plain}/tree/sub/b%20c%23%3F%26%2541.txt`,
        "sub/ü 日本.txt": join(local, "tree/sub/ü 日本.txt"),
        "sub/deep/x": { url: `${server.https}/tree/sub/deep/x`, ca: server.ca },
        ...change,
      },
    });

    test("is equal to the directory it describes", async () => {
      const result = await compare(join(local, "tree"), table());
      expect(result).toMatchObject({ equal: true, files: 4, differences: [] });
      expect(compareSync(table(), join(local, "tree")).equal).toBe(true);
      const hashed = await compare(join(local, "tree"), table(), { by: "hash" });
      expect(hashed.equal).toBe(true);
    });

    test("lists as a tree", async () => {
      const listed = await list(table(), { stat: true });
      expect(listed.map(({ path, type, size }) => [path, type, size])).toEqual([
        ["a.txt", "file", 1],
        ["sub", "directory", 0],
        ["sub/b c#?&%41.txt", "file", 1],
        ["sub/deep", "directory", 0],
        ["sub/deep/x", "file", 300_000],
        ["sub/ü 日本.txt", "file", 1],
      ]);
      const store = new Store(table());
      expect(store.can).toMatchObject({ list: true, write: false });
      expect(await new Response(store.read("sub/b c#?&%41.txt")).text()).toBe("b");
      expect(await store.stat("sub")).toMatchObject({ type: "directory" });
      expect(await store.stat("sub/none")).toBeNull();
      expect(await store.stat("a.txt/x")).toBeNull();
      expect((await failure(store.write("x", "x"))).code).toBe("UNSUPPORTED");
      expect((await failure(store.remove("a.txt"))).code).toBe("UNSUPPORTED");
    });

    test("one file that fails is one error row, the rest goes on", async () => {
      const result = await compare(
        join(local, "tree"),
        table({ "a.txt": `${server.http}/missing`, "sub/deep/x": join(local, "small") }),
      );
      expect(result).toMatchObject({ equal: false, complete: false, errors: 1 });
      expect(result.differences).toEqual([
        expect.objectContaining({ kind: "error", path: "a.txt" }),
        expect.objectContaining({ kind: "differs", path: "sub/deep/x", reason: "size" }),
      ]);
    });

    test("a directory in it is no file", async () => {
      const { differences } = await compare(
        join(local, "tree"),
        table({ "a.txt": `${server.http}/tree/` }),
      );
      const [row] = differences;
      expect(row?.kind === "error" && row.error.code).toBe("UNSUPPORTED");
    });

    test.each([[{ a: "x", "a/b": "y" }], [{ "a/b": "x", a: "y" }]])(
      "%j: a path that is a file and a directory is an ARGUMENT",
      async (files) => {
        expect((await failure(list({ files }))).code).toBe("ARGUMENT");
      },
    );

    test("an empty one is an empty tree", async () => {
      expect(await list({ files: {} })).toHaveLength(0);
    });

    test("many at once", async () => {
      const count = 300;
      const files: Record<string, Location> = {};
      for (let i = 0; i < count; i++) {
        plant(`many/f${i}`, `content ${i}`);
        files[`f${i}`] = `${server.http}/many/f${i}`;
      }
      server.requests();
      const result = await compare(join(local, "many"), { files });
      expect(result).toMatchObject({ equal: true, files: count });
      let seen: string[] = [];
      // What an earlier test let go of may be told of as late as now.
      const ours = (): string[] => server.requests().filter((line) => line.includes("/many/"));
      await until(() => (seen = seen.concat(ours())).length >= count);
      expect(seen.length).toBe(count);
    });
  });

  describe("authentication", () => {
    const url = (): string => `${server.closed}/basic/small`;
    const here = (): string => join(local, "small");

    test("Basic, as fields or in the URL", async () => {
      expect((await failure(compare(here(), url()))).code).toBe("AUTH");
      const fields = { url: url(), username: "me", password: "canary-basic" };
      expect((await compare(here(), fields)).equal).toBe(true);
      const inUrl = url().replace("//", "//me:canary-basic@");
      expect((await compare(here(), inUrl)).equal).toBe(true);
      const wrong = await failure(compare(here(), { ...fields, password: "canary-wrong" }));
      expect(wrong).toMatchObject({ code: "AUTH", status: 401 });
      expect(Bun.inspect(wrong)).not.toContain("canary");
    });

    test("a connection is used again only with the same credentials", async () => {
      using other = startUnruly({ "/x": answer("hello"), "/y": answer("hello") });
      await using runtime = new Runtime();
      const ask = async (path: string, token: string): Promise<number> => {
        const location = { url: `${other.url}${path}`, token };
        expect((await compare(here(), location, { runtime })).equal).toBe(true);
        return other.asked.at(-1)!.connection;
      };
      const first = await ask("/x", "one");
      expect(await ask("/y", "one")).toBe(first);
      const second = await ask("/y", "two");
      expect(second).not.toBe(first);
      expect(await ask("/x", "two")).toBe(second);
      expect(other.asked.at(-1)!.headers["authorization"]).toBe("Bearer two");
    });
  });

  describe("connections", () => {
    test("one is used again, and a server that was started anew is no trouble", async () => {
      await using runtime = new Runtime();
      const at = (name: string): string => `${server.http}/${name}`;
      expect((await compare(join(local, "small"), at("small"), { runtime })).equal).toBe(true);
      await server.restart();
      for (const name of ["small", "large", "empty"])
        expect((await compare(join(local, name), at(name), { runtime })).equal).toBe(true);
    });

    test("at most ten with one host, and not fewer", async () => {
      let open = 0;
      let most = 0;
      const served = Object.fromEntries(
        Array.from({ length: 40 }, (_, i) => [
          `/${i}`,
          async (reply: Parameters<ReturnType<typeof answer>>[0]) => {
            most = Math.max(most, ++open);
            // Until there are ten, and a moment more for an eleventh.
            while (most < 10 && (await reply.wait(5)));
            await reply.wait(20);
            open--;
            await answer("hello")(reply);
          },
        ]),
      );
      using other = startUnruly(served);
      const files = Object.fromEntries(
        Array.from({ length: 40 }, (_, i) => [`f${i}`, `${other.url}/${i}`]),
      );
      const folder = Object.fromEntries(
        Array.from({ length: 40 }, (_, i) => [`f${i}`, join(local, "small")]),
      );
      expect((await compare({ files: folder }, { files })).equal).toBe(true);
      expect(most).toBe(10);
      expect(new Set(other.asked.map(({ connection }) => connection)).size).toBe(10);
    });

    test("through a proxy", async () => {
      using proxy = startUnruly({
        [`${server.http}/small`]: answer("hello"),
      });
      const location = {
        url: `${server.http}/small`,
        proxy: `http://me:canary@127.0.0.1:${proxy.port}`,
      };
      expect((await compare(join(local, "small"), location)).equal).toBe(true);
      expect(proxy.asked[0]!.headers["proxy-authorization"]).toStartWith("Basic ");
    });

    test("variables of the environment name no proxy", async () => {
      process.env.http_proxy = "http://127.0.0.1:1";
      try {
        expect((await compare(join(local, "small"), `${server.http}/small`)).equal).toBe(true);
      } finally {
        delete process.env.http_proxy;
      }
    });

    test("an idle runtime closes without waiting", async () => {
      const runtime = new Runtime();
      await compare(join(local, "small"), `${server.http}/small`, { runtime });
      const begin = performance.now();
      runtime.close();
      expect(performance.now() - begin).toBeLessThan(within(2000));
    });
  });

  test("the same URL with the same strong validator is not read", async () => {
    server.requests();
    const url = `${server.http}/large`;
    const result = await compare(url, url);
    expect(result).toMatchObject({ equal: true, bytes: 0 });
  });

  test("writing and removing are UNSUPPORTED", async () => {
    const store = new Store(server.http);
    expect(store.can).toMatchObject({ write: false, delete: false, range: true, list: true });
    expect((await failure(store.write("x", "x"))).code).toBe("UNSUPPORTED");
    expect((await failure(store.remove("small"))).code).toBe("UNSUPPORTED");
  });

  test("no index is UNSUPPORTED", async () => {
    expect((await failure(list(`${server.closed}/tree/`))).code).toBeOneOf([
      "UNSUPPORTED",
      "DENIED",
    ]);
  });

  test("a stat where HEAD is refused", async () => {
    const store = new Store(`${server.closed}/get`);
    expect(await store.stat("small")).toMatchObject({ type: "file", size: 5 });
  });

  test("samples are asked for as ranges, when only the answer counts", async () => {
    server.requests();
    const changed = `${server.http}/changed`;
    const result = await compare(join(local, "changed"), changed, { stopAtFirst: true });
    expect(result.equal).toBe(false);
    let seen: string[] = [];
    await until(() => (seen = seen.concat(server.requests())).some((line) => / 206 /.test(line)));
    expect(seen.some((line) => line.includes("bytes="))).toBe(true);
  });
});

/** Waits for what another process does. */
async function until(holds: () => boolean): Promise<void> {
  const end = Date.now() + within(10_000);
  while (!holds()) {
    if (Date.now() > end) throw new Error("it did not happen");
    await Bun.sleep(5);
  }
}
