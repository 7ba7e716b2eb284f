// A file system of some kind in a file, mounted while it is used. Linux, and root.

import { mkdirSync } from "node:fs";
import { join } from "node:path";

const programs: Readonly<Record<string, readonly string[]>> = {
  // Small files need more inodes than it makes by itself.
  ext4: ["mkfs.ext4", "-qF", "-N", "800000"],
  xfs: ["mkfs.xfs", "-q"],
  btrfs: ["mkfs.btrfs", "-q"],
};

const run = (...command: readonly string[]): boolean =>
  Bun.which(command[0]!) !== null &&
  Bun.spawnSync([...command], { stdout: "ignore", stderr: "ignore" }).success;

/** What `work` says of a folder on such a file system, or a row that says why there is none. */
export async function onLoop(
  below: string,
  kind: string,
  mebibytes: number,
  work: (folder: string) => Promise<readonly (readonly string[])[]>,
): Promise<readonly (readonly string[])[]> {
  const image = join(below, `${kind}.image`);
  const folder = join(below, kind);
  mkdirSync(folder, { recursive: true });
  const make = programs[kind] ?? [`mkfs.${kind}`];
  if (!run("truncate", "-s", `${mebibytes}M`, image) || !run(...make, image))
    return [[`on ${kind}`, "-", "-", "-", "-", `not measured: no mkfs.${kind}`]];
  if (!run("mount", "-o", "loop", image, folder))
    return [[`on ${kind}`, "-", "-", "-", "-", "not measured: it cannot be mounted here"]];
  try {
    return await work(folder);
  } finally {
    // Lazily: whoever still looks into it must not keep it mounted.
    run("umount", "-l", folder);
    run("rm", "-f", image);
  }
}
