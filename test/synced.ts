// What the tests of copy and sync say of a result and of a tree.

import { type Dirent, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import type { Transfer } from "../lib/index.ts";

export const said = ({ actions }: Transfer): string[] =>
  actions.map((action) =>
    action.kind === "error"
      ? `error ${action.path} ${action.error.code}`
      : `${action.kind} ${action.path}`,
  );

/** Every entry below, links not followed: `readdirSync` with `recursive` would follow them. */
function* below(root: string, above = ""): Generator<[name: string, entry: Dirent]> {
  for (const entry of readdirSync(join(root, above), { withFileTypes: true })) {
    const name = join(above, entry.name);
    yield [name, entry];
    if (entry.isDirectory()) yield* below(root, name);
  }
}

/** Every path below, with what is there. */
export function shape(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [name, entry] of below(root)) {
    const path = join(root, name);
    if (entry.isSymbolicLink()) found[name] = `-> ${readlinkSync(path)}`;
    else if (entry.isFile()) found[name] = readFileSync(path, "latin1");
    else found[name] = entry.isDirectory() ? "/" : "?";
  }
  return found;
}

/** What is below that has a name of ours, as an interrupted run leaves it. */
export const strays = (...roots: readonly string[]): string[] =>
  roots.flatMap((root) =>
    [...below(root)].filter(([, { name }]) => name.startsWith(".copse-")).map(([name]) => name),
  );
