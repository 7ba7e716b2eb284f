// The tables of docs/ that say which test holds what: every test they name exists.

import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dir, "..");
const tables = ["runtime-table.md", "pack-table.md", "sync-table.md"];

function filesIn(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((path) => /\.(ts|c|h)$/.test(path))
    .map((path) => `${folder}/${path}`);
}

const files = ["test", "bench", ".ci"].flatMap(filesIn);
const sources = files.map((path) => readFileSync(join(root, path), "utf8").replace(/\s+/g, " "));

/** Titles are cut where the table or the title leaves something open. */
function isTitle(name: string): boolean {
  const pieces = name.split(/…|%\w|\.\.\./).map((piece) => piece.trim());
  const longest = pieces.toSorted((a, b) => b.length - a.length)[0]!;
  return sources.some((source) => source.includes(longest));
}

test.each(tables)("docs/%s names only tests that exist", (table) => {
  const page = readFileSync(join(root, "docs", table), "utf8");
  const rows = page
    .split("\n")
    .filter((line) => /^\| .* \|$/.test(line) && !/^\|-|\| test \|$/.test(line));
  expect(rows.length).toBeGreaterThan(40);
  const missing: string[] = [];
  for (const row of rows) {
    const cell = row.split(" | ").at(-1)!;
    const named = [
      ...Array.from(cell.matchAll(/"([^"]+)"/g), ([, name]) => [name!, isTitle(name!)] as const),
      ...Array.from(
        cell.matchAll(/`(test\/[^`]+)`/g),
        ([, path]) => [path!, files.includes(path!)] as const,
      ),
      ...Array.from(
        cell.matchAll(/`(\w+_test\.c)`/g),
        ([, name]) => [name!, files.includes(`test/native/${name}`)] as const,
      ),
      ...Array.from(
        cell.matchAll(/`([a-z]+(?:_[a-z]+)+)`/g),
        ([, name]) => [name!, sources.some((source) => source.includes(`void ${name}(`))] as const,
      ),
    ];
    if (named.length === 0 && !/the job `/.test(cell)) missing.push(`no test: ${row}`);
    for (const [name, isThere] of named) if (!isThere) missing.push(name);
  }
  expect(missing).toEqual([]);
});
