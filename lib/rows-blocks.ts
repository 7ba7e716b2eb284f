// The rows of a blocks task, and the one answer that they come to, however many threads there were.

import { Detail, Row, RowKind } from "./native/abi.ts";
import { known, Page, rowOf, withBytes } from "./rows.ts";
import { byPath, Pause, SLICE_ROWS } from "./sort.ts";
import type { Block, BlockPlace, Failure } from "./types.ts";

function blockOf(page: Page, row: number): Block {
  const { view } = page;
  const kind = view.getUint8(row + Row.kind);
  if (kind !== RowKind.UNIQUE && kind !== RowKind.DUPLICATE) return rowOf(page, row) as Failure; // there are no others
  const path = page.path(row);
  const details = page.details(row);
  const fields = {
    path: path.text,
    offset: known(view, row + Row.extra) ?? 0,
    size: known(view, row + Row.left_size) ?? 0,
    hash: details?.hex(Detail.LEFT_HASH) ?? "",
  };
  if (kind === RowKind.UNIQUE)
    return withBytes<Extract<Block, { kind: "unique" }>>({ kind: "unique", ...fields }, path);
  const from = details?.name(Detail.FROM);
  const offset = known(view, row + Row.right_size) ?? 0;
  const of = withBytes<BlockPlace>({ path: from?.text ?? "", offset }, from ?? { text: "" });
  return withBytes<Extract<Block, { kind: "duplicate" }>>(
    { kind: "duplicate", ...fields, of },
    path,
  );
}

/** All rows of a page of a blocks task. `buffer` is lent: nothing of it is kept. */
export function decodeBlocks(buffer: ArrayBuffer, rows: number, heapAt: number): Block[] {
  const page = new Page(buffer, heapAt);
  return Array.from({ length: rows }, (_, i) => blockOf(page, i * Row.size));
}

type Seen = Exclude<Block, Failure>;

function placeOf({ path, pathBytes, offset }: Seen): BlockPlace {
  return pathBytes ? { path, pathBytes, offset } : { path, offset };
}

/** Which of equal blocks came first depends on threads; here it is the first in order. */
class Firsts {
  readonly #found = new Map<string, Seen>();

  settle(block: Block): Block {
    if (block.kind === "error") return block;
    const first = this.#found.get(block.hash);
    if (first) return { ...block, kind: "duplicate", of: placeOf(first) };
    this.#found.set(block.hash, block);
    if (block.kind === "unique") return block;
    const { of: _, ...fields } = block;
    return { ...fields, kind: "unique" };
  }
}

async function settleInSlices(rows: Block[]): Promise<Block[]> {
  const sorted = await byPath.inSlices(rows);
  const firsts = new Firsts();
  const pause = new Pause();
  for (let at = 0; at < sorted.length; at++) {
    sorted[at] = firsts.settle(sorted[at]!); // below its length
    if (at % SLICE_ROWS === 0 && pause.isDue) await pause.wait();
  }
  return sorted;
}

/** Blocks of one file come in the order of their offsets, and sorting keeps it. */
export const byPlace = {
  now(rows: Block[]): Block[] {
    const firsts = new Firsts();
    return byPath.now(rows).map((row) => firsts.settle(row));
  },
  inSlices(rows: Block[]): Block[] | Promise<Block[]> {
    return rows.length <= SLICE_ROWS ? byPlace.now(rows) : settleInSlices(rows);
  },
};
