// A server that says which digest its content has: what that saves, and what it cannot do.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compare, Runtime, type CompareOptions } from "../lib/index.ts";
import { nginxMissing, startNginx, type Nginx } from "./servers/nginx.ts";
import { answer, startUnruly, type Script } from "./servers/unruly.ts";

const content = Buffer.from("the content of a file\n".repeat(50_000));
const other = Buffer.from(content);
other[777_777]! ^= 1;
const sha256 = (bytes: Uint8Array): string =>
  new Bun.CryptoHasher("sha256").update(bytes).digest("base64");

let folder: string;
let here: string;
let runtime: Runtime;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "copse-digest-"));
  here = join(folder, "file");
  writeFileSync(here, content);
  const old = new Date("2024-05-06T07:08:09Z");
  utimesSync(here, old, old);
  runtime = new Runtime();
});
afterAll(() => {
  runtime.close();
  rmSync(folder, { recursive: true });
});

const hash: CompareOptions = { by: "hash" };

/** Says what it has and gives a part of it, and nothing more until the other end has gone. */
function stalls(headers: string, gone: string[]): Script {
  return async ({ write, wait, now }) => {
    write(`HTTP/1.1 200 OK\r\nContent-Length: ${content.length}\r\n${headers}\r\n`);
    write(content.subarray(0, 100_000));
    while (await wait(5));
    gone.push(now.path);
  };
}

describe("by: hash, a server's digest", () => {
  const good = sha256(content);
  const forms: readonly (readonly [string, string])[] = [
    ["Repr-Digest", `Repr-Digest: sha-256=:${good}:\r\n`],
    ["Repr-Digest among others", `Repr-Digest: sha-512=:AAAA:, sha-256=:${good}:;a=1 ,x=1\r\n`],
    ["Digest", `Digest: MD5=AAAA,SHA-256=${good}\r\n`],
    ["x-amz-checksum-sha256", `x-amz-checksum-sha256: ${good}\r\n`],
    ["twice the same", `repr-digest: sha-256=:${good}:\r\nDIGEST: sha-256=${good}\r\n`],
  ];
  for (const [name, headers] of forms)
    test(`${name} that is the local file's makes them equal without the content`, async () => {
      const gone: string[] = [];
      using server = startUnruly({ "/f": stalls(headers, gone) });
      const location = { url: `${server.url}/f` as const, retries: 0 };
      for (const [left, right] of [
        [here, location],
        [location, here],
      ] as const)
        expect(await compare(left, right, { ...hash, runtime })).toMatchObject({ equal: true });
      const table = { files: { file: location } };
      expect((await compare(folder, table, { ...hash, runtime })).equal).toBe(true);
      expect(server.asked.map(({ method }) => method)).toEqual(["GET", "GET", "GET"]);
      while (gone.length < 3) await Bun.sleep(2); // it is let go of, not left open
    });

  const none: readonly (readonly [string, string])[] = [
    ["of other content", `Repr-Digest: sha-256=:${sha256(other)}:\r\n`],
    ["that is two", `Digest: SHA-256=${good}\r\nRepr-Digest: sha-256=:${sha256(other)}:\r\n`],
    ["of an object that came in parts", `x-amz-checksum-sha256: ${good}-2\r\n`],
    ["of too few bytes", `Repr-Digest: sha-256=:${good.slice(4)}:\r\n`],
    ["with bits too many", `Repr-Digest: sha-256=:${good.slice(0, 42)}/=:\r\n`],
    ["that is no base64", `Repr-Digest: sha-256=:${"!".repeat(43)}=:\r\n`],
    ["without its colons", `Repr-Digest: sha-256=${good}\r\n`],
    ["that is weak", `Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==\r\nDigest: MD5=AAAA,crc32c=AAAA\r\n`],
    ["of another name", `X-Digest: SHA-256=${good}\r\n`],
    ["with nothing in it", `Repr-Digest:\r\nDigest: ,,=,\r\n`],
  ];
  for (const [name, headers] of none)
    test(`one ${name} decides nothing: the content does, fetched once`, async () => {
      using server = startUnruly({
        "/same": answer(content, headers),
        "/other": answer(other, headers.replaceAll(good, sha256(content))),
      });
      const same = await compare(here, `${server.url}/same`, { ...hash, runtime });
      expect(same).toMatchObject({ equal: true, bytes: content.length });
      const differs = await compare(here, `${server.url}/other`, { ...hash, runtime });
      expect(differs.differences).toMatchObject([{ kind: "differs", reason: "content" }]);
      const fetched = server.asked.filter(({ method }) => method === "GET");
      expect(fetched.map(({ path }) => path)).toEqual(["/same", "/other"]);
    });

  test("a broken transfer after a digest that does not fit is an error, not an answer", async () => {
    using server = startUnruly({
      "/f": ({ write, end }) => {
        const wrong = `Repr-Digest: sha-256=:${sha256(other)}:\r\n`;
        write(`HTTP/1.1 200 OK\r\nContent-Length: ${content.length}\r\n${wrong}\r\n`);
        write(content.subarray(0, 300_000));
        end();
      },
    });
    const location = { url: `${server.url}/f` as const, retries: 0 };
    const found = await compare(here, location, { ...hash, runtime });
    expect(found).toMatchObject({ equal: false, complete: false, errors: 1 });
  });

  test("a local file that cannot be read is an error, whatever the server says of it", async () => {
    using server = startUnruly({ "/f": answer(content, `Digest: SHA-256=${good}\r\n`) });
    const table = { files: { file: `${server.url}/f` } };
    const failing = `fault:read=1,sticky:${folder}`;
    const found = await compare(failing, table, { ...hash, runtime });
    expect(found).toMatchObject({ equal: false, complete: false, errors: 1 });
    expect(found.differences).toMatchObject([{ kind: "error", path: "file" }]);
  });

  test("by content no digest is believed", async () => {
    using server = startUnruly({ "/f": answer(other, `Repr-Digest: sha-256=:${good}:\r\n`) });
    for (const options of [{}, { stopAtFirst: true }, { sample: false }])
      expect((await compare(here, `${server.url}/f`, { ...options, runtime })).equal).toBe(false);
    // By hash its word is taken: that is what is asked for.
    expect((await compare(here, `${server.url}/f`, { ...hash, runtime })).equal).toBe(true);
  });
});

describe.skipIf(nginxMissing !== undefined)("nginx with Repr-Digest", () => {
  let server: Nginx;
  beforeAll(async () => {
    server = await startNginx();
    writeFileSync(join(server.root, "file"), content);
    writeFileSync(join(server.root, "changed"), other);
  });
  afterAll(() => server[Symbol.dispose]());
  const url = (name: string, digest: string): string =>
    `${server.closed}/digest/${name}?sha256=${digest}`;

  test("a right one is enough, a wrong one costs a look at the content", async () => {
    for (const [name, digest, equal] of [
      ["file", sha256(content), true],
      ["file", sha256(other), true],
      ["changed", sha256(other), false],
      ["file", "nonsense", true],
    ] as const) {
      const found = await compare(here, url(name, digest), { ...hash, runtime });
      expect([name, digest, found.equal]).toEqual([name, digest, equal]);
    }
  });

  test("a table of URLs with theirs", async () => {
    const table = { files: { file: url("file", sha256(content)) } };
    expect((await compare(folder, table, { ...hash, runtime })).equal).toBe(true);
    const wrong = { files: { file: url("changed", sha256(other)) } };
    expect((await compare(folder, wrong, { ...hash, runtime })).differences).toMatchObject([
      { kind: "differs", path: "file", reason: "content" },
    ]);
  });
});
