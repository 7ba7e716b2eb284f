// copse blocks: the blocks that the content of a tree falls into, and which are there again.

import { blocks, type Block, type Blocks, type BlocksOptions } from "../index.ts";
import type { Interruption } from "../signals.ts";
import type { Flags } from "./args.ts";
import { escapeLocation, escapeName, escapeText } from "./escape.ts";
import { inFrame, type Frame } from "./frame.ts";
import { documentJson, rowToJson, toJson } from "./json.ts";
import { print } from "./print.ts";
import { status } from "./status.ts";
import { showBytes, showCounted, showDuration } from "./units.ts";

export async function runBlocks(
  location: string,
  flags: Flags,
  interruption: Interruption,
): Promise<number> {
  return inFrame(flags, interruption, (frame) => cut(location, frame));
}

async function cut(location: string, frame: Frame): Promise<number> {
  const { flags } = frame;
  const options: BlocksOptions = frame.options();
  frame.log.say(1, `cutting ${escapeLocation(location)}`);
  const [place] = await frame.places(location);
  const task = blocks(place, options);
  if (flags["jsonl"]) {
    for await (const rows of task.batches()) {
      if (rows.some(({ kind }) => kind === "error")) frame.seen = status.trouble;
      await print(rows.map((row) => `${rowToJson(row)}\n`));
    }
  }
  const found = await task;
  const { blocks: rows, ...totals } = found;
  frame.done(totals);
  if (!found.complete) frame.seen = status.trouble;
  if (flags["quiet"] === true) return frame.seen;
  if (flags["jsonl"]) await print([`${toJson({ kind: "summary", ...totals })}\n`]);
  else if (flags["json"]) await print(documentJson(totals, "blocks", rows));
  else await print(lines(found));
  return frame.seen;
}

function lineOf(block: Block): string {
  const name = escapeName(block.path, block.pathBytes);
  if (block.kind === "error") return `! ${name}  ${escapeText(block.error.message)}\n`;
  const said = `${name}  ${block.offset}+${block.size}  ${block.hash.slice(0, 16)}`;
  if (block.kind === "unique") return `+ ${said}\n`;
  const { path, pathBytes, offset } = block.of;
  return `= ${said}  ${escapeName(path, pathBytes)}  ${offset}\n`;
}

function* lines(found: Blocks): Generator<string> {
  for (const block of found.blocks) yield lineOf(block);
  const { unique, duplicate, uniqueBytes, duplicateBytes } = found;
  const errors = found.errors > 0 ? ` · ${showCounted(found.errors, "error")}` : "";
  yield `${showCounted(unique, "block")} of ${showBytes(uniqueBytes)} · ${showCounted(duplicate, "duplicate")} of ${showBytes(duplicateBytes)}${errors} · ${showCounted(found.files, "file")} read in ${showDuration(found.milliseconds)}\n`;
}
