// What the tests of packs share: the sample archives, the tree they were made from, and a pack whose
// numbers a test may change.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CopseError, verify } from "../lib/index.ts";
import { quickFolder } from "./trees.ts";

export const samples = join(import.meta.dir, "fixtures", "packs");

/** A folder that goes with the test. */
export class Folder implements Disposable {
  readonly path: string;

  constructor(above = tmpdir()) {
    this.path = mkdtempSync(join(above, "copse-pack-"));
  }

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

/** So many lines that pack well, and are others for each word. */
export const text = (lines: number, word = "text"): string =>
  Array.from({ length: lines }, (_, i) => `line ${i} of a ${word} that packs well\n`).join("");

/** Bytes that do not pack, the same for a seed everywhere. */
export function noise(size: number, seed = 0): Buffer {
  const words = new Uint32Array(Math.ceil(size / 4));
  let state = (seed + 1) | 0;
  for (let at = 0; at < words.length; at++) {
    // xorshift32
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[at] = state;
  }
  return Buffer.from(words.buffer, 0, size);
}

/** Which flipped bits (in every so manieth byte), cuts and a byte more verify does not find in a pack. */
export async function missedDamage(whole: Buffer, step: number): Promise<string[]> {
  using folder = new Folder(quickFolder(1));
  const isFound = async (bytes: Uint8Array): Promise<boolean> => {
    try {
      return !(await verify(folder.put("damaged", bytes))).ok;
    } catch (error) {
      if (error instanceof CopseError) return true;
      throw error;
    }
  };
  // Else a check that finds fault with everything would miss nothing.
  if (await isFound(whole)) return ["the whole pack is not whole"];
  const missed: string[] = [];
  for (let at = 0; at < whole.length; at += step) {
    const flipped = Buffer.from(whole);
    flipped[at]! ^= 1 << (at % 8);
    if (!(await isFound(flipped))) missed.push(`flip at ${at}`);
    if (!(await isFound(whole.subarray(0, at)))) missed.push(`cut at ${at}`);
  }
  if (!(await isFound(Buffer.concat([whole, Buffer.from([0])])))) missed.push("a byte more");
  return missed;
}

/** The bytes of a sample, free to be changed. */
export function sample(name: "s1" | "s1noskip" | "corrupt_frame"): Buffer {
  return readFileSync(join(samples, `${name}.znippy`));
}
