// copy and sync from web servers into local trees: a file, a directory's index, a table of URLs.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import {
  compare,
  copy,
  copySync,
  sync,
  syncSync,
  type Action,
  type FilesLocation,
} from "../lib/index.ts";
import { said } from "./synced.ts";
import { nginxMissing, startNginx, type Nginx } from "./servers/nginx.ts";

const old = new Date("2024-05-06T07:08:09Z");
const files: Readonly<Record<string, string | Uint8Array>> = {
  "a.txt": "a",
  empty: "",
  "sub/b c#?&%41.txt": "b",
  "sub/ü 日本.txt": "u",
  "sub/deep/large": Buffer.alloc(9 * 1024 * 1024 + 1, "0123456789"),
};

describe.skipIf(nginxMissing !== undefined)("from a web server into a local tree", () => {
  let server: Nginx;
  let folder: string;
  let target: string;
  let count = 0;

  beforeAll(async () => {
    server = await startNginx();
    folder = mkdtempSync(join(tmpdir(), "copse-http-copy-"));
    for (const [path, bytes] of Object.entries(files)) {
      const full = join(server.root, "tree", path);
      mkdirSync(dirname(full), { recursive: true });
      writeFileSync(full, bytes);
      utimesSync(full, old, old);
    }
  });
  afterAll(() => {
    server?.[Symbol.dispose]();
    if (folder) rmSync(folder, { recursive: true, force: true });
  });
  beforeEach(() => {
    target = join(folder, `into-${count++}`);
  });

  const table = (): FilesLocation => ({
    files: Object.fromEntries(
      Object.keys(files).map((path) => [
        path,
        `${server.http}/tree/${path.split("/").map(encodeURIComponent).join("/")}`,
      ]),
    ),
  });

  async function isSame(): Promise<void> {
    expect((await compare(join(server.root, "tree"), target)).differences).toEqual([]);
    expect(
      readdirSync(target, { recursive: true }).filter((name) => `${name}`.includes(".copse")),
    ).toEqual([]);
  }

  describe.each(["http", "plain"] as const)("the index of a directory (%s)", (kind) => {
    const from = (): string => `${server[kind]}/tree/`;

    test("is copied, and the second time nothing is", async () => {
      const first = await copy(from(), target);
      expect(first).toMatchObject({ copied: 5, created: 2, errors: 0, complete: true });
      await isSame();
      expect(statSync(join(target, "a.txt")).mtimeMs).toBe(old.getTime());
      const again = copySync(from(), target);
      expect(again).toMatchObject({ copied: 0, skipped: 5, updated: 0, errors: 0 });
    });

    test("sync takes away what it has not", async () => {
      mkdirSync(join(target, "extra"), { recursive: true });
      writeFileSync(join(target, "extra", "x"), "x");
      writeFileSync(join(target, "a.txt"), "older");
      const plan = await sync(from(), target, { dryRun: true });
      expect(plan.actions.map(({ kind }: Action) => kind)).toContain("deleted");
      expect(existsSync(join(target, "extra", "x"))).toBe(true);
      expect(await sync(from(), target)).toMatchObject({ copied: 5, deleted: 2, errors: 0 });
      await isSame();
      expect(syncSync(from(), target)).toMatchObject({ copied: 0, deleted: 0, errors: 0 });
    });
  });

  test("a table of URLs is copied and synced", async () => {
    expect(await copy(table(), target)).toMatchObject({ copied: 5, created: 2, errors: 0 });
    await isSame();
    writeFileSync(join(target, "sub", "extra"), "x");
    expect(await sync(table(), target)).toMatchObject({ copied: 0, deleted: 1, errors: 0 });
    await isSame();
  });

  test("one URL of the table that is not there is an error row, and nothing is deleted", async () => {
    mkdirSync(target);
    writeFileSync(join(target, "extra"), "stays, too");
    writeFileSync(join(target, "missing"), "an earlier one");
    const location: FilesLocation = {
      files: { ...table().files, missing: `${server.http}/tree/nothing` },
    };
    const result = await sync(location, target);
    expect(result).toMatchObject({ copied: 5, deleted: 0, kept: 1, complete: false });
    expect(said(result).filter((line) => line.startsWith("error"))).toEqual([
      "error  CHANGED", // why nothing is deleted
      "error missing NOT_FOUND",
    ]);
    expect(readFileSync(join(target, "missing"), "utf8")).toBe("an earlier one");
    expect(readFileSync(join(target, "extra"), "utf8")).toBe("stays, too");
    // The whole table: what it does not name goes.
    expect(await sync(table(), target)).toMatchObject({ deleted: 2, errors: 0 });
  });

  test("a file gets its own name in a directory, or the one that is said", async () => {
    mkdirSync(target);
    const url = `${server.http}/tree/sub/b%20c%23%3F%26%2541.txt`;
    expect(await copy(url, target)).toMatchObject({ copied: 1, errors: 0 });
    expect(readFileSync(join(target, "b c#?&%41.txt"), "utf8")).toBe("b");
    expect(copySync(url, join(target, "other"))).toMatchObject({ copied: 1, errors: 0 });
    expect(readFileSync(join(target, "other"), "utf8")).toBe("b");
    expect(await copy(url, join(target, "other"))).toMatchObject({ copied: 0, skipped: 1 });
  });

  test("filters hold, and verify reads again", async () => {
    const options = { exclude: ["deep"], verify: true } as const;
    expect(await copy(`${server.http}/tree/`, target, options)).toMatchObject({ copied: 4 });
    expect(existsSync(join(target, "sub", "deep"))).toBe(false);
  });
});
