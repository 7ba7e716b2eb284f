// What is known about the terminal, if there is one.

import { fstatSync, statSync } from "node:fs";

/** Colours by name; each returns its text unchanged where colours are off. */
export interface Paint {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
  cyan(text: string): string;
  magenta(text: string): string;
}

const same = (text: string): string => text;
const noPaint: Paint = {
  bold: same,
  dim: same,
  red: same,
  green: same,
  yellow: same,
  cyan: same,
  magenta: same,
};

/** Asks cheaply first: loading node:tty takes longer than comparing two thousand small files. */
export async function isTerminal(descriptor: 1 | 2): Promise<boolean> {
  try {
    const found = fstatSync(descriptor);
    if (!found.isCharacterDevice() || found.rdev === statSync("/dev/null").rdev) return false;
  } catch {
    return false;
  }
  return (await import("node:tty")).isatty(descriptor);
}

/** Columns of the terminal, never so few that nothing fits. */
export function columnsOf(descriptor: 1 | 2): number {
  const { columns } = descriptor === 1 ? process.stdout : process.stderr;
  return Math.max(columns > 0 ? columns : 80, 40);
}

/** NO_COLOR beats FORCE_COLOR, which beats what the output is. */
export async function paintFor(terminal: boolean): Promise<Paint> {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  const forced = FORCE_COLOR !== undefined && FORCE_COLOR !== "" && FORCE_COLOR !== "0";
  const refused = (NO_COLOR ?? "") !== "" || FORCE_COLOR === "0";
  if (refused || !(forced || (terminal && TERM !== "dumb"))) return noPaint;
  const { default: colours } = await import("picocolors");
  return colours.createColors(true);
}

/** The text in at most `width` columns, its middle left out where it is longer: the begin of a path
 *  says where, its end says what. */
export function shorten(text: string, width: number): string {
  if (Bun.stringWidth(text) <= width) return text;
  const characters = [...new Intl.Segmenter().segment(text)].map(({ segment }) => segment);
  const room = Math.max(width - 1, 2);
  const tailRoom = Math.ceil(room * 0.6);
  let tail = "";
  let last = characters.length;
  while (last > 0 && Bun.stringWidth(characters[last - 1]! + tail) <= tailRoom) {
    last -= 1;
    tail = characters[last]! + tail;
  }
  let head = "";
  for (let at = 0; at < last; at += 1) {
    if (Bun.stringWidth(head + characters[at]! + tail) > room) break;
    head += characters[at]!;
  }
  return `${head}…${tail}`;
}

/** The text with spaces up to `width` columns. */
export function padEnd(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - Bun.stringWidth(text)));
}

/** The words of a sentence in lines of at most `width` columns; a longer word keeps its own line. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (line === "" || Bun.stringWidth(longer) <= width) line = longer;
    else {
      lines.push(line);
      line = word;
    }
  }
  return [...lines, line];
}
