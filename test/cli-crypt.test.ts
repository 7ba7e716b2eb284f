// --compress, --encrypt and crypt: locations on the command line.

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openFile } from "./crypt-form.ts";
import { commandPlace } from "./command.ts";
import { shape } from "./synced.ts";

const { folder, copse, shell, plant } = commandPlace();
const key = Uint8Array.from({ length: 32 }, (_, i) => 255 - i);
writeFileSync(join(folder, "key"), key);
writeFileSync(join(folder, "phrase"), "correct horse\n");
plant("tree", { "a.txt": "the first ".repeat(100), "d/b.txt": "the second", empty: "" });
const at = (...parts: string[]): string => join(folder, ...parts);

describe("2: --compress and --encrypt", () => {
  const lines: readonly [flags: string, read: string][] = [
    ["--compress", ""],
    ["-z", ""],
    ["--compress=9 --encrypt --key-file key", "--key-file key"],
    ["--encrypt --key-file key", "--key-file key"],
    ["--encrypt --passphrase-file phrase", "--passphrase-file phrase"],
  ];
  test.each(lines)("%s: there and back, and a second run does nothing", async (flags, read) => {
    const line = [
      "rm -rf out back",
      `copse sync tree out ${flags} -q`,
      `copse sync tree out ${flags} --json`,
      `copse copy crypt:out back ${read} -q`,
    ].join(" && ");
    const { status, out, err } = await shell(line);
    expect({ status, err }).toEqual({ status: 0, err: "" });
    expect(JSON.parse(out)).toMatchObject({ planned: 0, skipped: 3 });
    expect(shape(at("back"))).toEqual(shape(at("tree")));
    expect(shape(at("out"))["a.txt"]).not.toContain("the first the first the first the first");
  });

  test("a level stands behind =, so that no location is taken for one", async () => {
    const { status, err } = await copse("copy", "--compress=23", "tree", at("never"));
    expect(status).toBe(2);
    expect(err).toContain("compress must be true, false or a level from 1 to 22");
    expect((await copse("copy", "tree", at("nine"), "--compress=nine")).status).toBe(2);
    expect(existsSync(at("nine"))).toBe(false);
  });

  test("secrets come from standard input, too, one for both sides", async () => {
    expect((await shell("copse copy tree piped --encrypt --key-file - -q < key")).status).toBe(0);
    expect(openFile(readFileSync(at("piped", "d", "b.txt")), { key }).content.toString()).toBe(
      "the second",
    );
    const again = "printf 'correct horse' | copse copy crypt:out again --passphrase-file - -q";
    expect((await shell(again)).status).toBe(0);
    expect(shape(at("again"))).toEqual(shape(at("tree")));
  });

  test("a key comes from COPSE_ENCRYPTION_KEY, too, and is not shown", async () => {
    const said = `COPSE_ENCRYPTION_KEY=${Buffer.from(key).toString("base64")}`;
    const line = `${said} copse copy tree env --encrypt -q && ${said} copse compare tree crypt:env -q`;
    expect(await shell(line)).toEqual({ status: 0, out: "", err: "" });
    expect((await shell("copse compare tree crypt:env --key-file key -q")).status).toBe(0);
    const short = "c2hvcnQ=";
    const { status, err } = await shell(
      `COPSE_ENCRYPTION_KEY=${short} copse copy tree env2 --encrypt`,
    );
    expect(status).toBe(2);
    expect(err).toContain("COPSE_ENCRYPTION_KEY: give the 32 bytes of a key in base64");
    expect(err).not.toContain(short);
    expect(existsSync(at("env2"))).toBe(false);
  });

  test("list, compare, manifest and cat look into it", async () => {
    await shell("copse copy tree seen --encrypt --key-file key -q");
    const all = await shell(
      "copse list crypt:seen --key-file key -0 | tr '\\0' ' ' && " +
        "copse compare tree crypt:seen --key-file key -q && " +
        "copse manifest crypt:seen --key-file key --format sha256 > sums && " +
        "(cd tree && sha256sum --quiet -c ../sums) && " +
        "copse cat crypt:seen d/b.txt --key-file key",
    );
    expect(all).toEqual({ status: 0, out: "a.txt d d/b.txt empty the second", err: "" });
  });

  const wrong: readonly [line: string, sentence: string][] = [
    ["copy tree x --encrypt", "--encrypt: give --key-file or --passphrase-file"],
    ["copy tree x --key-file key", "no location is crypt:LOCATION, and --encrypt is not there"],
    ["copy tree x --encrypt --key-file key --passphrase-file phrase", "not both"],
    ["copy tree crypt:x --compress", "is said by the crypt location"],
    ["list crypt:piped --key-file phrase", "the key file has less than 32 bytes"],
    ["copy crypt:tree x", "it is no file that copse compressed or encrypted"],
  ];
  test.each(wrong)("copse %s", async (line, sentence) => {
    const { status, out, err } = await shell(`copse ${line}`);
    expect(status).toBe(2);
    expect(out + err).toContain(sentence);
  });
});
