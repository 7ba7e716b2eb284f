// What a bench prints and what it writes to results/: Markdown that is also readable in a terminal.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const results = join(import.meta.dir, "results");

/** A table with padded columns; the first is text, the others are numbers and lean right. */
export function table(head: readonly string[], given: readonly (readonly string[])[]): string {
  // A bar would begin a new column.
  const rows = given.map((row) => row.map((cell) => cell.replaceAll("|", "\\|")));
  const widths = head.map((title, column) =>
    Math.max(title.length, 3, ...rows.map((row) => (row[column] ?? "").length)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
      )
      .join(" | ")} |`;
  const rule = widths.map((width, column) =>
    column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`,
  );
  return [line(head), line(rule), ...rows.map(line)].join("\n");
}

/** Three digits that mean something: "0.312", "4.71", "52.3", "1,044". */
export function number(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  if (value >= 1000) return Math.round(value).toLocaleString("en");
  return value >= 100 ? value.toFixed(0) : value.toPrecision(value < 0.01 ? 2 : 3);
}

export function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

export function write(file: string, text: string): void {
  mkdirSync(results, { recursive: true });
  writeFileSync(join(results, file), text);
  process.stderr.write(`wrote bench/results/${file}\n`);
}

/** One line on stderr while the bench runs; the tables go to stdout. */
export function say(sentence: string): void {
  process.stderr.write(`${sentence}\n`);
}
