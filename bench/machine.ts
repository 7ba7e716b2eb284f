// What kind of machine a result comes from: enough to judge it, nothing that names the machine.

import { existsSync, readFileSync, realpathSync } from "node:fs";
import { availableParallelism, loadavg, release, totalmem } from "node:os";
import { join } from "node:path";

/** "2 cores x64, 24 GiB, linux 6.18, ext4, Debian GNU/Linux 12 (bookworm)" */
export function machine(folder: string): string {
  const kernel = /^\d+\.\d+/.exec(release())?.[0] ?? release();
  return [
    `${availableParallelism()} cores ${process.arch}`,
    `${Math.round(totalmem() / 2 ** 30)} GiB`,
    `${process.platform} ${kernel}`,
    fileSystem(folder),
    systemName(),
  ]
    .filter((word) => word !== undefined)
    .join(", ");
}

/** A machine that does something else gives figures nobody should believe. */
export function load(): number {
  return Math.round((loadavg()[0] ?? 0) * 100) / 100;
}

export function copseVersion(): string {
  const manifest = readFileSync(join(import.meta.dir, "..", "package.json"), "utf8");
  // package.json of this repository.
  return (JSON.parse(manifest) as { version: string }).version;
}

/** "ext4": the type of the longest mount point above the folder. */
export function fileSystem(folder: string): string | undefined {
  if (!existsSync("/proc/self/mountinfo")) return;
  const path = `${realpathSync(folder)}/`;
  let longest = "";
  let type: string | undefined;
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const [before, after] = line.split(" - ");
    const point = before?.split(" ")[4];
    if (!point || !after) continue;
    const prefix = point.endsWith("/") ? point : `${point}/`;
    // A later line covers an earlier one of the same place.
    if (!path.startsWith(prefix) || prefix.length < longest.length) continue;
    longest = prefix;
    type = after.split(" ")[0];
  }
  return type;
}

function systemName(): string | undefined {
  if (!existsSync("/etc/os-release")) return;
  return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1];
}
