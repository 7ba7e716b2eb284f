// Root may read everything, so as root the tests that are about closed files skip themselves. Here they
// are run all the same, by somebody for whom closed files are closed.

import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isSanitized } from "./patience.ts";
import { canBeSomebody, nobody } from "./somebody.ts";
import { isRoot } from "./trees.ts";

const files = readdirSync(import.meta.dir)
  .filter((name) => name.endsWith(".test.ts"))
  .map((name) => join("test", name));

/** The titles of what root skips. */
function closedTo(path: string): string[] {
  const source = readFileSync(join(import.meta.dir, "..", path), "utf8");
  return [...source.matchAll(/^ *test\.skipIf\(isRoot\)\(\s*"([^"]+)"/gm)].map(
    ([, title]) => title!,
  );
}

const skipped = files
  .map((path) => [path, closedTo(path)] as const)
  .filter(([, t]) => t.length > 0);
const titles = skipped.flatMap(([, names]) => names);

test.skipIf(!isRoot || isSanitized || !canBeSomebody(tmpdir()))(
  "what root skips holds for somebody who is not root",
  () => {
    expect(titles.length).toBeGreaterThan(4);
    const { stderr, exitCode } = Bun.spawnSync(
      [
        ...nobody,
        process.execPath,
        "test",
        ...skipped.map(([path]) => path),
        "-t",
        titles.map(RegExp.escape).join("|"),
      ],
      {
        cwd: join(import.meta.dir, ".."),
        // Somebody else has no place to build in.
        env: {
          ...process.env,
          HOME: tmpdir(),
          COPSE_LIB:
            process.env["COPSE_LIB"] ?? join(import.meta.dir, "../zig-out/lib/libcopse.so"),
        },
      },
    );
    const said = stderr.toString();
    expect({ exitCode, said: exitCode === 0 ? "" : said }).toEqual({ exitCode: 0, said: "" });
    expect(said).toContain(` ${titles.length} pass\n`);
  },
);
