// Packs on a web server: what they hold is listed with one request and one file is had with one more,
// after the one that tells how long the pack is.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { compare, list, packSync, Runtime, Store, verify } from "../lib/index.ts";
import { nginxMissing, startNginx, type Nginx } from "./servers/nginx.ts";
import { Random, Scratch } from "./trees.ts";

describe.skipIf(nginxMissing !== undefined)("a pack on nginx", () => {
  const scratch = new Scratch();
  let server: Nginx;
  let root: string;
  beforeAll(async () => {
    server = await startNginx();
    root = scratch.plant("tree", {
      ...Object.fromEntries(
        Array.from(
          { length: 300 },
          (_, i) => [`d${i % 9}/f${i}`, `file ${i}\n`.repeat(i)] as const,
        ),
      ),
      "big.bin": new Random(4).bytes(9_000_000),
    });
    packSync(root, join(server.root, "x.znippy"));
    packSync(root, join(server.root, "x.pack"), { format: "copse" });
    writeFileSync(join(server.root, "none.znippy"), "no pack at all, only text");
  });
  afterAll(() => {
    server[Symbol.dispose]();
    scratch[Symbol.dispose]();
  });

  /** What was asked for, once so many requests are over: nginx writes a line at the end of each. */
  async function asked(count: number): Promise<string[]> {
    const lines: string[] = [];
    for (let tries = 0; tries < 3000 && lines.length < count; tries++) {
      await Bun.sleep(20);
      lines.push(...server.requests());
    }
    return lines.toSorted();
  }

  test.each(["x.znippy", "x.pack"])(
    "%s: one range lists it after the size is known, one more gives a file, and none is open",
    async (name) => {
      using runtime = new Runtime();
      server.requests();
      const entries = await list(`pack:${server.http}/${name}`, { runtime });
      expect(entries.filter(({ type }) => type === "file")).toHaveLength(301);
      const known = `GET /${name} HTTP/1.1 200`;
      const range = new RegExp(`^GET /${name} HTTP/1.1 206 bytes=\\d+-\\d+$`);
      expect(await asked(2)).toEqual([known, expect.stringMatching(range)]);
      const store = new Store(`pack:${server.http}/${name}`, { runtime });
      const text = await new Response(store.read("d1/f10")).text();
      expect(text).toBe("file 10\n".repeat(10));
      // A store of its own: the index once more, and the file.
      const lines = await asked(3);
      expect(lines).toEqual([known, expect.stringMatching(range), expect.stringMatching(range)]);
      const bytes = lines.slice(1).map((line) => {
        const [, from = 0, to = 0] = (/bytes=(\d+)-(\d+)/.exec(line) ?? []).map(Number);
        return to - from + 1;
      });
      // Not the nine megabytes of the large file that follow it.
      expect(Math.max(...bytes)).toBeLessThan(1_000_000);
    },
  );

  test("is compared and verified like one that is here", async () => {
    const there = `pack:${server.http}/x.znippy`;
    expect(await compare(root, there)).toMatchObject({ equal: true, files: 301 });
    expect(await verify(there)).toMatchObject({ ok: true, files: 301 });
    const error = await list(`pack:${server.http}/none.znippy`).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({ code: "UNSUPPORTED" });
  });
});
