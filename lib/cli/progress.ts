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
  const rate = rateMeter(1);
  // Small and large files take turns; what is left is seen by the mean of both.
  const mean = rateMeter(10);

  const draw = (): void => {
    const now = performance.now();
    const rates = { now: rate(latest.bytes, now), mean: mean(latest.bytes, now) };
    if (now - began < patience) return;
    shown = true;
    writeError(clearLine + progressText(latest, rates, now - began, columnsOf(2)));
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

/**
 * `1,234 files  56 MB of 340 MB  120 MB/s  3.4 s  16 %  2.4 s left`. Without the total where it is
 * not known, and `of 340 MB+` without share and time while it grows.
 */
export function progressText(
  { files, bytes, totalBytes, plannedBytes }: Progress,
  rates: { readonly now: number; readonly mean: number },
  elapsed: number,
  columns: number,
): string {
  const share = totalBytes ? `${Math.min(99, Math.floor((bytes / totalBytes) * 100))} %` : "";
  const rest = totalBytes !== undefined && rates.mean > 0 ? totalBytes - bytes : 0;
  const remaining = rest > 0 ? `${showDuration((rest * 1000) / rates.mean)} left` : "";
  const known = totalBytes ?? plannedBytes ?? 0;
  const of = known > 0 ? ` of ${showBytes(known)}${totalBytes === undefined ? "+" : ""}` : "";
  const parts = [
    showCounted(files, "file"),
    `${showBytes(bytes)}${of}`,
    `${showBytes(Math.round(rates.now))}/s`,
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

/** Bytes per second of about the last so many seconds, so that it neither jumps nor lags. */
function rateMeter(span: number): (bytes: number, now: number) => number {
  let before = { bytes: 0, now: performance.now() };
  const sum = { bytes: 0, seconds: 0 };
  return (bytes, now) => {
    const seconds = (now - before.now) / 1000;
    const kept = Math.exp(-seconds / span);
    sum.bytes = sum.bytes * kept + bytes - before.bytes;
    sum.seconds = sum.seconds * kept + seconds;
    before = { bytes, now };
    return sum.seconds > 0 ? sum.bytes / sum.seconds : 0;
  };
}
