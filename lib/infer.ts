import { resolve } from "node:path";
import { CopseError } from "./errors.ts";
import { list, listSync } from "./list.ts";
import { parseLocation } from "./location.ts";
import type { Found, Location, Named, Options, Pattern } from "./types.ts";

interface Directory {
  readonly name: string;
  readonly files: string[];
  readonly directories: Map<string, Directory>;
}

const directory = (name: string): Directory => ({ name, files: [], directories: new Map() });

const escaped = (name: string): string => name.replace(/[\\*?[\]{}!,]/g, "\\$&");

/** Names that differ in their numbers only have one shape. */
const shapeOf = (name: string): string => escaped(name).replace(/\d+/g, "*");

/** What all directories of a group have is required, what some have is optional. */
function common(group: readonly Directory[]): Pattern {
  const files = new Map<string, { names: Set<string>; in: number }>();
  const below = new Map<string, { members: Directory[]; in: number }>();
  for (const { files: names, directories } of group) {
    for (const [shape, found] of Map.groupBy(names, shapeOf)) {
      const known = files.get(shape) ?? { names: new Set<string>(), in: 0 };
      for (const name of found) known.names.add(name);
      known.in++;
      files.set(shape, known);
    }
    for (const [shape, found] of Map.groupBy(directories.values(), ({ name }) => shapeOf(name))) {
      const known = below.get(shape) ?? { members: [], in: 0 };
      known.members.push(...found);
      known.in++;
      below.set(shape, known);
    }
  }
  const lists = {
    files: [] as string[],
    directories: [] as Pattern[],
    optionalFiles: [] as string[],
    optionalDirectories: [] as Pattern[],
  };
  const byName = ([one]: [string, unknown], [other]: [string, unknown]): number =>
    one < other ? -1 : 1;
  for (const [shape, { names, in: holders }] of [...files].toSorted(byName)) {
    const [only = ""] = names;
    const glob = names.size === 1 ? escaped(only) : shape;
    lists[holders === group.length ? "files" : "optionalFiles"].push(glob);
  }
  for (const [shape, { members, in: holders }] of [...below].toSorted(byName)) {
    const names = new Set(members.map(({ name }) => name));
    const [only = ""] = names;
    const name = names.size === 1 ? escaped(only) : shape;
    const pattern = { name, ...common(members) };
    lists[holders === group.length ? "directories" : "optionalDirectories"].push(pattern);
  }
  return Object.fromEntries(Object.entries(lists).filter(([, list]) => list.length > 0));
}

function infer(root: Location, found: Found<Named>): Pattern {
  // A pattern of half a tree would not be what the tree is like.
  const [failure] = found.errors;
  if (failure) throw failure.error;
  const place = parseLocation(root);
  const path = place.scheme === "file" ? resolve(place.path) : place.path;
  const top = directory(path.replace(/\/+$/, "").replace(/^.*\//, ""));
  for (const entry of found) {
    if (entry.path === "" && entry.type !== "directory")
      throw new CopseError("ARGUMENT", "it is a file; a pattern describes a directory", {
        location: place.shown,
      });
    if (entry.pathBytes || (entry.type !== "file" && entry.type !== "directory")) continue;
    const parts = entry.path.split("/");
    const name = parts.pop()!; // split gives at least one
    let at: Directory | undefined = top;
    for (const part of parts) at = at?.directories.get(part);
    if (entry.type === "file") at?.files.push(name);
    else at?.directories.set(name, directory(name));
  }
  return { ...(top.name === "" ? {} : { name: escaped(top.name) }), ...common([top]) };
}

/**
 * A pattern that a directory fits. Names that differ in their numbers only become one glob; what
 * all directories of such a name hold is required, what some hold is optional.
 */
export async function inferPattern(root: Location, options: Options = {}): Promise<Pattern> {
  return infer(root, await list(root, options));
}

/** `inferPattern`, on this thread until it is there. */
export function inferPatternSync(root: Location, options: Options = {}): Pattern {
  return infer(root, listSync(root, options));
}
