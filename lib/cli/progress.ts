// One line on standard error while the work goes on, for a person who waits.

import type { Progress } from "../index.ts";
import { columnsOf, isTerminal } from "./terminal.ts";
import { writeError } from "./print.ts";
import { showBytes, showCounted, showDuration } from "./units.ts";

// What ends sooner than this needs no company.
const patience = 500;
const frame = 100;
const clearLine = "\r\x1b[K";

export interface ProgressLine {
  /** Given to the verb as `onProgress`. */
  update(progress: Progress): void;
  /** Takes the line away; nothing is drawn after this. */
  end(): void;
}

let isWanted = true;

/** No line for the rest of the process. */
export function hideProgress(): void {
  isWanted = false;
}

/** Undefined where nobody would see it, or wants to. */
export async function startProgress(): Promise<ProgressLine | undefined> {
  if (!isWanted) return undefined;
  if (process.env["TERM"] === "dumb" || !(await isTerminal(2))) return undefined;
  const began = performance.now();
  let latest: Progress = { files: 0, bytes: 0 };
  let shown = false;
  const rate = rateMeter();

  const draw = (): void => {
    const now = performance.now();
    const perSecond = rate(latest.bytes, now);
    if (now - began < patience) return;
    shown = true;
    writeError(clearLine + progressText(latest, perSecond, now - began, columnsOf(2)));
  };
  const timer = setInterval(draw, frame);
  // A line nobody needs any more never keeps the process alive.
  timer.unref();

  return {
    update(progress) {
      latest = progress;
    },
    end() {
      clearInterval(timer);
      if (shown) writeError(clearLine);
      shown = false;
    },
  };
}

/** `1,234 files  56 MB  120 MB/s  3.4 s`, with the share done and the time left where the total is known. */
export function progressText(
  { files, bytes, totalBytes }: Progress,
  perSecond: number,
  elapsed: number,
  columns: number,
): string {
  const share = totalBytes ? `${Math.min(99, Math.floor((bytes / totalBytes) * 100))} %` : "";
  const rest = totalBytes !== undefined && perSecond > 0 ? totalBytes - bytes : 0;
  const remaining = rest > 0 ? `${showDuration((rest * 1000) / perSecond)} left` : "";
  const parts = [
    showCounted(files, "file"),
    showBytes(bytes),
    `${showBytes(Math.round(perSecond))}/s`,
    showDuration(elapsed),
    share,
    remaining,
  ];
  let line = "";
  for (const part of parts.filter((part) => part !== "")) {
    const longer = line === "" ? part : `${line}  ${part}`;
    // A full line would wrap, and then clearing leaves half of it behind.
    if (longer.length >= columns) break;
    line = longer;
  }
  return line;
}

/** Bytes per second, new moments counting more than old ones, so that it neither jumps nor lags. */
function rateMeter(): (bytes: number, now: number) => number {
  let before = { bytes: 0, now: performance.now() };
  let smooth = 0;
  return (bytes, now) => {
    const seconds = (now - before.now) / 1000;
    if (seconds <= 0) return smooth;
    const current = (bytes - before.bytes) / seconds;
    const weight = smooth === 0 ? 1 : 1 - Math.exp(-seconds);
    smooth += (current - smooth) * weight;
    before = { bytes, now };
    return smooth;
  };
}
