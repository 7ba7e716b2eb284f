// verify: damage is found and named, in packs and archives; the command's status says it.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packSync, verify, verifySync } from "../lib/index.ts";
import { Folder, sample, samples } from "./packs.ts";
import { isLong } from "./patience.ts";
import { codeOfSync } from "./ways.ts";

const file = (name: string): string => join(samples, `${name}.znippy`);
const main = join(import.meta.dir, "..", "lib", "cli", "main.ts");

function copse(...args: readonly string[]): { status: number; out: Buffer; err: string } {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, main, ...args]);
  return { status: exitCode, out: stdout, err: stderr.toString() };
}

describe("verify", () => {
  test.each(["s1", "s1noskip"])("%s is intact, every file of it", async (name) => {
    const found = await verify(file(name));
    expect(found).toMatchObject({ ok: true, complete: true, files: 14, errors: 0, checks: [] });
    expect(found.bytes).toBe(179_240);
    const all = verifySync(`pack:${file(name)}`, { intact: true });
    expect(all.checks.map(({ kind }) => kind)).toEqual(Array(14).fill("intact"));
  });

  test("corrupt_frame fails by the name of its file, and the other 13 are intact", async () => {
    const found = await verify(file("corrupt_frame"), { intact: true });
    expect(found).toMatchObject({ ok: false, complete: true, files: 14, errors: 0 });
    const damaged = found.checks.filter(({ kind }) => kind === "corrupt");
    expect(damaged).toMatchObject([{ path: "a/text.log", chunk: 0, size: 13_834 }]);
    expect(found.checks.filter(({ kind }) => kind === "intact")).toHaveLength(13);
    let rows = 0;
    for await (const row of verify(file("corrupt_frame"))) {
      expect(row).toMatchObject({ kind: "corrupt", path: "a/text.log" });
      rows += 1;
    }
    expect(rows).toBe(1);
  });

  test("a flipped bit in any blob is one damaged file", () => {
    using folder = new Folder();
    const bytes = sample("s1");
    const step = isLong ? 1 : 61;
    for (let at = 0; at < 12_682; at += step) {
      const copy = Buffer.from(bytes);
      copy[at]! ^= 1 << (at % 8);
      const found = verifySync(folder.put("x", copy));
      expect([at, found.ok, found.checks.length]).toEqual([at, false, 1]);
    }
  });

  test("a cut pack rejects with CORRUPT, another file with UNSUPPORTED", () => {
    using folder = new Folder();
    const cut = folder.put("x", sample("s1").subarray(0, 9000));
    expect(codeOfSync(() => verifySync(cut))).toBe("CORRUPT");
    expect(codeOfSync(() => verifySync(folder.put("y", "no pack at all")))).toBe("UNSUPPORTED");
    expect(codeOfSync(() => verifySync(folder.path))).toBe("UNSUPPORTED");
    expect(codeOfSync(() => verifySync(folder.at("nothing")))).toBe("NOT_FOUND");
  });

  test("an archive is verified by its own checksums", async () => {
    using folder = new Folder();
    folder.put("hello.txt", "hello, hello, hello\n".repeat(50));
    const archive = folder.at("x.tar.gz");
    Bun.spawnSync(["tar", "-czf", archive, "-C", folder.path, "hello.txt"]);
    expect(await verify(archive)).toMatchObject({ ok: true, files: 1 });
  });

  test("other options are refused, by name", () => {
    // @ts-expect-error no such option
    expect(() => verifySync(file("s1"), { colour: "red" })).toThrow("colour");
    // @ts-expect-error not a boolean
    expect(() => verifySync(file("s1"), { intact: 1 })).toThrow("intact");
  });
});

describe("copse verify", () => {
  test("0 intact, 1 damaged and named, 2 for what is no pack", () => {
    using folder = new Folder();
    const intact = copse("verify", file("s1"));
    expect(intact.status).toBe(0);
    expect(intact.out.toString()).toStartWith("intact · 14 files");
    const damaged = copse("verify", file("corrupt_frame"));
    expect(damaged.status).toBe(1);
    expect(damaged.out.toString()).toContain("x a/text.log  chunk 0, damaged");
    expect(copse("verify", "-q", file("corrupt_frame"))).toMatchObject({ status: 1, err: "" });
    const cut = copse("verify", folder.put("x", sample("s1").subarray(0, 9000)));
    expect(cut.status).toBe(1);
    expect(cut.err).toContain("truncated");
    expect(copse("verify", folder.put("y", "no pack at all")).status).toBe(2);
    expect(copse("verify", folder.at("nothing")).status).toBe(2);
  });

  test("what could not be read is said once; what is of no file is of the pack", () => {
    using folder = new Folder();
    const tree = folder.unpackTree();
    const zip = folder.at("locked.zip");
    Bun.spawnSync(["zip", "-qr", "-P", "swordfish", zip, "."], { cwd: tree });
    const locked = copse("verify", zip);
    expect(locked.status).toBe(2);
    const lines = locked.out.toString().split("\n");
    expect(lines).toContain(
      `! ${zip} › a/text.log: the entry is encrypted: give the archive's password  AUTH`,
    );
    expect(lines.at(-2)).toStartWith("not all could be read · ");
    // A copy of the index belongs to no file.
    const pack = folder.at("own.znippy");
    packSync(folder.put("small", "small"), pack);
    const bytes = readFileSync(pack);
    const marked = Array.from({ length: 64 }, (_, at) => 4 * at).find((at) => {
      const flipped = Buffer.from(bytes);
      flipped[at]! ^= 1;
      return verifySync(folder.put("flipped", flipped)).checks.some(
        ({ kind, path }) => kind === "corrupt" && path === "",
      );
    });
    expect(marked).toBeDefined();
    expect(copse("verify", folder.at("flipped")).out.toString()).toContain(
      `x ${folder.at("flipped")}  a copy of the index is damaged`,
    );
  });

  test("--json and --jsonl", () => {
    const { checks, ...rest } = JSON.parse(
      copse("verify", "--json", file("corrupt_frame")).out.toString(),
    );
    expect(rest).toMatchObject({ ok: false, complete: true, files: 14, corrupt: 1 });
    expect(checks).toMatchObject([{ kind: "corrupt", path: "a/text.log", chunk: 0 }]);
    const rows = copse("verify", "--jsonl", file("corrupt_frame"))
      .out.toString()
      .trim()
      .split("\n");
    expect(rows.map((row) => JSON.parse(row).kind)).toEqual(["corrupt", "summary"]);
  });
});

describe("copse cat", () => {
  test("writes the bytes of a file in a pack, an archive or a directory", () => {
    using folder = new Folder();
    const rest = ["a/rand.bin", "nums.u32", "empty.txt"];
    const tree = folder.unpackTree();
    for (const path of rest) {
      const expected = Bun.spawnSync(["cat", join(tree, path)]).stdout;
      expect(copse("cat", file("s1"), path).out.equals(expected)).toBe(true);
      expect(copse("cat", tree, path).out.equals(expected)).toBe(true);
    }
    const tar = join(samples, "tree1.tar");
    expect(copse("cat", tar, "tree1/tiny.txt").out.toString()).toHaveLength(5);
  });

  test("of a damaged file nothing, and 2", () => {
    const { status, out, err } = copse("cat", file("corrupt_frame"), "a/text.log");
    expect([status, out.length]).toEqual([2, 0]);
    expect(err).toContain("a/text.log");
    expect(copse("cat", file("s1"), "nothing")).toMatchObject({ status: 2 });
  });
});
