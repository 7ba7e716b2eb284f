import { parseLocation } from "./location.ts";
import { Done } from "./native/abi.ts";
import { checkOptions } from "./check.ts";
import { blocksRequest } from "./request.ts";
import { byPlace, decodeBlocks } from "./rows-blocks.ts";
import { engineOf } from "./runtime.ts";
import { NativeTask, runSync, type Verb } from "./task.ts";
import type { Block, Blocks, BlocksOptions, Location, Task } from "./types.ts";

function verbOf(location: Location, options: BlocksOptions, waited: boolean): Verb<Blocks, Block> {
  checkOptions(options);
  // An iterated task's rows went to the reader, and still count.
  const counts = { unique: 0, duplicate: 0, uniqueBytes: 0, duplicateBytes: 0 };
  return {
    request: blocksRequest(parseLocation(location), options, waited),
    decode(buffer, rows, heapAt) {
      const found = decodeBlocks(buffer, rows, heapAt);
      for (const block of found) {
        if (block.kind === "error") continue;
        counts[block.kind] += 1;
        counts[`${block.kind}Bytes`] += block.size;
      }
      return found;
    },
    order: byPlace,
    whole: (blocks, { files, bytes, errors, flags, milliseconds }) => ({
      complete: errors === 0 && (flags & Done.INCOMPLETE) === 0,
      files,
      bytes,
      errors,
      milliseconds,
      ...counts,
      blocks,
    }),
  };
}

/**
 * Cuts the files of a tree into blocks where their content says so, and says which blocks there
 * are more than once. Equal stretches give equal blocks wherever they lie, and an inserted byte
 * changes only the blocks beside it.
 *
 * ```ts
 * const { uniqueBytes, duplicateBytes } = await blocks("photos");
 * ```
 *
 * Awaited: the same answer on every machine. Iterated: as they are found, and of equal blocks the
 * one that was found first is the unique one.
 */
export function blocks(root: Location, options: BlocksOptions = {}): Task<Blocks, Block> {
  const verb = verbOf(root, options, false);
  return new NativeTask(engineOf(options.runtime), verb, options);
}

/** `blocks`, on this thread until the answer is there. */
export function blocksSync(root: Location, options: BlocksOptions = {}): Blocks {
  return runSync(engineOf(options.runtime), verbOf(root, options, true), options);
}
