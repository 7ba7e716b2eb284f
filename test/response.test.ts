// Store.read() as the body of a Bun.serve response: the right bytes, no memory that grows with the
// file, and with `direct` no way out of the store.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Runtime, Store } from "../lib/index.ts";
import { isLong, slowness, within } from "./patience.ts";
import { tied } from "./servers/tied.ts";

// Holes, so that nothing but the reading takes time and room. COPSE_LONG: the whole four.
const SIZE = isLong ? 4 * 2 ** 30 : 256 * 2 ** 20;
const GROWTH_MAX = 48 * 2 ** 20;

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "copse-response-"));
  mkdirSync(join(folder, "store", "sub"), { recursive: true });
  writeFileSync(join(folder, "secret"), "not in the store");
  writeFileSync(join(folder, "store", "small"), "hello");
  writeFileSync(join(folder, "store", "sub", "deep"), "deeper");
  writeFileSync(join(folder, "store", "big"), "begin");
  truncateSync(join(folder, "store", "big"), SIZE);
  symlinkSync("../secret", join(folder, "store", "link"));
  symlinkSync("..", join(folder, "store", "up"));
  symlinkSync("sub", join(folder, "store", "inside"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function text(store: Store, path: string): Promise<string> {
  try {
    return await new Response(store.read(path)).text();
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

test("chunks are whole after their task, their runtime and a collection are over", async () => {
  const bytes = new Uint8Array(1_000_000).map((_, i) => i % 251);
  const runtime = new Runtime();
  const store = new Store("memory:chunks", { runtime });
  await store.write("x", bytes);
  const chunks: Uint8Array[] = [];
  for await (const chunk of store.read("x")) chunks.push(chunk);
  expect(chunks.map(({ length }) => length)).toEqual([65_536, 524_288, 410_176]);
  runtime.close();
  for (let i = 0; i < 3; i++) {
    Bun.gc(true);
    await Bun.sleep(0);
  }
  expect(Buffer.compare(Buffer.concat(chunks), bytes)).toBe(0);
  chunks.length = 0;
  Bun.gc(true);
});

describe("direct", () => {
  test.each(["small", "sub/deep", "inside/deep", "link", "up/secret", "missing", "sub", ""])(
    "%j reads as without it",
    async (path) => {
      await using plain = new Store(join(folder, "store"));
      await using direct = new Store(join(folder, "store"), { direct: true });
      const answer = await text(plain, path);
      expect(await text(direct, path)).toBe(answer);
      expect(answer).not.toContain("not in the store");
    },
  );

  test("a part of a file is read as without it", async () => {
    await using direct = new Store(join(folder, "store"), { direct: true });
    const part = direct.read("small", { start: 1, end: 3 });
    expect(await new Response(part).text()).toBe("el");
  });

  test("is a boolean", () => {
    expect(() => new Store(folder, { direct: "yes" as never })).toThrow(/direct/);
  });
});

describe("a Bun.serve response", () => {
  test.each([false, true])(
    `of ${SIZE / 2 ** 20} MiB, direct: %p: whole, and memory stays flat`,
    async (direct) => {
      const source = `
        import { Store } from ${JSON.stringify(join(import.meta.dir, "..", "lib", "index.ts"))};
        const store = new Store(${JSON.stringify(join(folder, "store"))}, { direct: ${direct} });
        let most = 0;
        setInterval(() => (most = Math.max(most, process.memoryUsage.rss())), 5).unref();
        const server = Bun.serve({
          port: 0,
          hostname: "127.0.0.1",
          idleTimeout: 120,
          fetch(request) {
            const path = new URL(request.url).pathname.slice(1);
            if (path === "most") return Response.json(most);
            return new Response(store.read(path));
          },
        });
        console.log(server.port);`;
      writeFileSync(join(folder, "server.ts"), source);
      await using server = Bun.spawn(tied([process.execPath, join(folder, "server.ts")]), {
        stdout: "pipe",
        stderr: "inherit",
      });
      const { value } = await server.stdout.getReader().read();
      const address = `http://127.0.0.1:${new TextDecoder().decode(value).trim()}`;
      const most = async (): Promise<number> =>
        (await (await fetch(`${address}/most`)).json()) as number;
      for (let i = 0; i < 5; i++)
        expect(await (await fetch(`${address}/small`)).text()).toBe("hello");
      await Bun.sleep(50);
      const before = await most();
      const response = await fetch(`${address}/big`);
      let size = 0;
      let first = "";
      for await (const chunk of response.body!) {
        if (size === 0) first = new TextDecoder().decode(chunk.subarray(0, 5));
        size += chunk.length;
      }
      expect([size, first]).toEqual([SIZE, "begin"]);
      if (slowness === 1) expect((await most()) - before).toBeLessThan(GROWTH_MAX);
      server.kill();
    },
    within(isLong ? 600_000 : 60_000),
  );
});
