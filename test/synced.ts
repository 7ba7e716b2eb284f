// What the tests of copy and sync say of a result and of a tree.

import {
  type Dirent,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { Transfer } from "../lib/index.ts";

export const said = ({ actions }: Transfer): string[] =>
  actions.map((action) =>
    action.kind === "error"
      ? `error ${action.path} ${action.error.code}`
      : `${action.kind} ${action.path}`,
  );

/** A file with a time of its own, so that what is newer is no matter of the clock. */
export function putFile(root: string, path: string, content: string, seconds: number): void {
  const full = join(root, path);
  mkdirSync(dirname(full), { recursive: true });
  writeFileSync(full, content);
  utimesSync(full, seconds, seconds);
}

/** The same with a link, in the place of what is there. */
export function putLink(root: string, path: string, target: string, seconds: number): void {
  const full = join(root, path);
  rmSync(full, { force: true });
  symlinkSync(target, full);
  lutimesSync(full, seconds, seconds);
}

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
