// What the tests of packs share: the sample archives, the tree they were made from, and a pack whose
// numbers a test may change.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const samples = join(import.meta.dir, "fixtures", "packs");

/** A folder that goes with the test. */
export class Folder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "copse-pack-"));

  at(name: string): string {
    return join(this.path, name);
  }

  put(name: string, bytes: Uint8Array | string): string {
    writeFileSync(this.at(name), bytes);
    return this.at(name);
  }

  /** The tree that the samples were made from; `bad\xff.txt` as it is. */
  unpackTree(): string {
    const file = join(samples, "tree1.tar");
    const { status, stderr } = spawnSync("tar", ["-xf", file, "-C", this.path]);
    if (status !== 0) throw new Error(String(stderr));
    return this.at("tree1");
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** The bytes of a sample, free to be changed. */
export function sample(name: "s1" | "s1noskip" | "corrupt_frame"): Buffer {
  return readFileSync(join(samples, `${name}.znippy`));
}
