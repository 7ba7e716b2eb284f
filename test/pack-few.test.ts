// Packs of many files where few may be open at once. COPSE_FEW=100000 is the long form.

import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { patience } from "./patience.ts";
import { quickFolder, Scratch } from "./trees.ts";

const count = Number(process.env["COPSE_FEW"] ?? 2000);
patience(60_000 + count * 10);

test.skipIf(process.platform !== "linux")(
  `A10: pack, verify, unpack and compare ${count} files at ulimit -n 64`,
  async () => {
    // Within the time of the test: so many files take theirs to go.
    using scratch = new Scratch(quickFolder(4 * count));
    const root = scratch.at("tree");
    for (let i = 0; i < count; i++) {
      const folder = join(root, `d${i % 100}`, `e${Math.floor(i / 100) % 10}`);
      if (i < 1000) mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, `f${i}`), `file ${i}\n`);
    }
    const script = `
      import { compareSync, packSync, repairSync, unpackSync, verifySync } from ${JSON.stringify(join(import.meta.dir, "../lib/index.ts"))};
      const [root, to] = process.argv.slice(-2);
      const said = [];
      for (const format of ["znippy", "copse"]) {
        const file = to + "." + format;
        const packed = packSync(root, file, { format });
        const checked = verifySync(file);
        const out = unpackSync(file, to + "-" + format);
        const compared = compareSync(root, to + "-" + format);
        said.push([packed.errors, packed.copied, checked.ok, checked.files, out.errors, out.copied, compared.equal]);
      }
      console.log(JSON.stringify(said));`;
    const child = Bun.spawn(
      [
        "sh",
        "-c",
        'ulimit -n 64; exec "$0" -e "$1" "$2" "$3"',
        process.execPath,
        script,
        root,
        scratch.at("x"),
      ],
      { stdout: "pipe", stderr: "pipe" },
    );
    const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    expect(err).toBe("");
    const right = [0, count, true, count, 0, count, true];
    expect(JSON.parse(out)).toEqual([right, right]);
  },
);
