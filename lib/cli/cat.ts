// copse cat: the bytes of one file of a place, also of a pack or archive.

import { parseLocation, Store, type Interruption } from "../index.ts";
import type { Flags } from "./args.ts";
import { fail } from "./failure.ts";
import { isDirectory, placesFrom } from "./place.ts";
import { OutputClosed, readerLeft } from "./print.ts";

export async function runCat(
  location: string,
  path: string,
  flags: Flags,
  interruption: Interruption,
): Promise<number> {
  try {
    const [place = location] = await placesFrom([treeOf(location)], flags);
    await using store = new Store(place, { signal: interruption.signal });
    await store.send(path, 1);
    return 0;
  } catch (error) {
    return fail(readerLeft(error) ? new OutputClosed() : error, flags, interruption);
  }
}

/** What a file's name or a URL stands for: the tree in it. A directory is one itself. */
function treeOf(location: string): string {
  const { scheme, path, tree } = parseLocation(location);
  if (scheme !== "file" && scheme !== "http") return location;
  if (scheme === "file" && isDirectory(path)) return location;
  return `${tree?.scheme ?? "pack"}:${location}`;
}
