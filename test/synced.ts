// What the tests of copy and sync say of a result and of a tree.

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import type { Transfer } from "../lib/index.ts";

export const said = ({ actions }: Transfer): string[] =>
  actions.map((action) =>
    action.kind === "error"
      ? `error ${action.path} ${action.error.code}`
      : `${action.kind} ${action.path}`,
  );

/** Every path below, with what is there. */
export function shape(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  const visit = (below: string): void => {
    // Not recursive by itself: that would follow links to directories.
    for (const entry of readdirSync(join(root, below), { withFileTypes: true })) {
      const name = join(below, entry.name);
      const path = join(root, name);
      if (entry.isSymbolicLink()) found[name] = `-> ${readlinkSync(path)}`;
      else if (entry.isFile()) found[name] = readFileSync(path, "latin1");
      else found[name] = entry.isDirectory() ? "/" : "?";
      if (entry.isDirectory()) visit(name);
    }
  };
  visit("");
  return found;
}
