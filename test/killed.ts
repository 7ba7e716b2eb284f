// A program that is killed with SIGKILL at some moment, for the tests of what is there afterwards.

import { expect } from "bun:test";
import { lstatSync } from "node:fs";
import { join } from "node:path";
import { someSeed } from "./patience.ts";
import { tied } from "./servers/tied.ts";

/** Where the moments come from. */
export const seed = someSeed(1_000_000_000);

export interface Killed {
  /** It had not come to its end. */
  readonly wasRunning: boolean;
  /** What `body` gave back, where it came to its end. */
  readonly said: string;
}

/**
 * Runs `body`, which has the library as `copse`, in a process of its own, and kills that: so many
 * milliseconds after it began, or as soon as `when` says so.
 */
export async function killed(body: string, when: number | (() => boolean)): Promise<Killed> {
  const library = JSON.stringify(join(import.meta.dir, "..", "lib", "index.ts"));
  const script = `const copse = await import(${library});
    const work = async () => { ${body} };
    process.stdout.write("go");
    const said = (await work()) ?? "";
    process.stdout.write("done" + said);`;
  await using child = Bun.spawn(tied([process.execPath, "-e", script]), {
    stdout: "pipe",
    stderr: "inherit",
  });
  const reader = child.stdout.getReader();
  const decoder = new TextDecoder();
  let all = decoder.decode((await reader.read()).value);
  expect(all.slice(0, 2)).toBe("go");
  if (typeof when === "number") await Bun.sleep(when);
  else while (child.exitCode === null && !when()) await Bun.sleep(1);
  child.kill("SIGKILL");
  await child.exited;
  for (let part = await reader.read(); !part.done; part = await reader.read())
    all += decoder.decode(part.value);
  const [, said] = all.split("done");
  return { wasRunning: said === undefined, said: said ?? "" };
}

/** How many of these paths have become another file since now, or come to be one, or gone. */
export function changesOf(paths: readonly string[]): () => number {
  const inode = (path: string): number | undefined =>
    lstatSync(path, { throwIfNoEntry: false })?.ino;
  const before = paths.map(inode);
  return () => paths.filter((path, i) => inode(path) !== before[i]).length;
}
