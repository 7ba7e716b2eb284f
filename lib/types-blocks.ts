// The public types of blocks.

import type { Failure, Totals, WalkOptions } from "./types.ts";

/** What `blocks` takes. */
export interface BlocksOptions extends WalkOptions {
  /** Bytes that blocks have on average, 1 KiB to 4 MiB. Default 64 KiB. */
  size?: number;
}

/** Where the block is whose content another one has. */
export interface BlockPlace {
  path: string;
  /** Only when the path is not UTF-8. */
  pathBytes?: Uint8Array;
  offset: number;
}

interface BlockFields extends BlockPlace {
  /** Bytes: half the asked for size to four times it; the last of a file may be smaller. */
  size: number;
  /** BLAKE3 of its content, hex digits. */
  hash: string;
}

/** A stretch of a file: the first of its content, or one with content that another one has. */
export type Block =
  | ({ kind: "unique" } & BlockFields)
  | ({ kind: "duplicate"; of: BlockPlace } & BlockFields)
  | Failure;

/** What `blocks` found. */
export interface Blocks extends Totals {
  /** False when anything could not be read: an error row. */
  complete: boolean;
  /** Blocks of different content. */
  unique: number;
  /** Blocks whose content another one has. */
  duplicate: number;
  uniqueBytes: number;
  duplicateBytes: number;
  /**
   * In the order of paths and offsets; the first of equal ones is the unique one. Empty when the
   * task was iterated.
   */
  blocks: Block[];
}
