// Packs that were made once and stay as they are: they are always read, and made again byte for byte
// with the version of zstd that made them. COPSE_GOLDEN=write makes them anew.

import { afterAll, expect, test } from "bun:test";
import { chmodSync, linkSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compareSync, listSync, packSync, Runtime, verifySync } from "../lib/index.ts";
import { samples } from "./packs.ts";
import { directory, link, Random, run, Scratch } from "./trees.ts";

const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());

const metadata = ["mode", "mtime"] as const;
/** A number that every machine draws alike. */
const noise = (seed: number, size: number) => new Random(seed).bytes(size);

/** One of everything that a pack keeps, with times and modes of its own. */
function tree(): string {
  const root = scratch.plant("golden", {
    "a/deep/er/text.log": Array.from({ length: 400 }, (_, i) => `line ${i} of a text\n`).join(""),
    "a/noise.bin": noise(1, 70_000),
    "a/photo.png": noise(2, 300),
    "dïr/日本/ファイル.txt": "名前",
    "empty.txt": "",
    "long.bin": Buffer.concat([noise(3, 4096), Buffer.alloc(4_300_000, "ab"), noise(4, 99)]),
    "same-1.txt": "the same\n".repeat(30),
    "same-2.txt": "the same\n".repeat(30),
    emptydir: directory,
    dangling: link("nowhere"),
    link: link("a/noise.bin"),
  });
  writeFileSync(Buffer.concat([Buffer.from(`${root}/bad`), Buffer.from([0xff])]), "bytes");
  linkSync(`${root}/same-1.txt`, `${root}/twin.txt`);
  chmodSync(`${root}/a/photo.png`, 0o600);
  chmodSync(`${root}/emptydir`, 0o711);
  run(
    "sh",
    "-c",
    `chmod 755 '${root}' && find '${root}' -type f ! -name photo.png -exec chmod 644 {} +`,
  );
  run("sh", "-c", `find '${root}' -type d ! -name emptydir -exec chmod 755 {} +`);
  run("sh", "-c", `find '${root}' -exec touch -h -d '2020-03-04 05:06:07.123456789 UTC' {} +`);
  utimesSync(`${root}/a/photo.png`, 1, 1);
  run("touch", "-h", "-d", "2020-03-04 05:06:07.123456789 UTC", `${root}/a`);
  return root;
}

const root = tree();
using runtime = new Runtime();
const zstd = runtime.info.libraries["zstd"] ?? "";

for (const format of ["znippy", "copse"] as const) {
  // golden-copse-zstd-1.5.4.pack: the version that made it.
  const isGolden = new RegExp(`^golden-${format}-zstd-(.*)\\.pack$`);
  test(`the golden pack of format ${format} holds its tree, and is made again`, () => {
    const made = scratch.at(`${format}.pack`);
    packSync(root, made, { format });
    if (process.env["COPSE_GOLDEN"] === "write")
      writeFileSync(join(samples, `golden-${format}-zstd-${zstd}.pack`), readFileSync(made));
    const names = readdirSync(samples).filter((name) => isGolden.test(name));
    expect(names).not.toEqual([]);
    for (const name of names) {
      const file = join(samples, name);
      expect(verifySync(file)).toMatchObject({ ok: true, files: 10 });
      expect(compareSync(root, `pack:${file}`, { metadata }).differences).toEqual([]);
      expect(listSync(`pack:${file}`)).toHaveLength(listSync(root).length);
      if (isGolden.exec(name)?.[1] === zstd)
        expect(readFileSync(made).equals(readFileSync(file))).toBe(true);
    }
  });
}
