// The way out: everything that is printed goes through here, so that nothing is lost at exit, a slow
// reader slows us down instead of filling memory, and a reader that left or a full disk is noticed.

import { write, writeSync } from "node:fs";

/** The reader closed its end, as head does: no reason to say anything. */
export class OutputClosed extends Error {}

/** The same, said by the core. */
export function readerLeft(error: unknown): boolean {
  return error instanceof Error && "errno" in error && error.errno === "EPIPE";
}

/** What was to be printed could not be: the answer is incomplete. */
export class OutputFailed extends Error {}

/** A signal came while a slow reader made us wait. */
export class OutputStopped extends Error {}

let stop: AbortSignal | undefined;

/** Printing waits for the reader until the signal; without one, for as long as it takes. */
export function printUntil(signal: AbortSignal | undefined): void {
  stop = signal;
}

// Large enough that system calls do not count, small enough that a reader sees rows soon.
const chunkLength = 64 * 1024;

/** Prints the pieces, gathered into larger writes. Each write is done when the next one begins. */
export async function print(pieces: Iterable<string>): Promise<void> {
  let gathered = "";
  for (const piece of pieces) {
    gathered += piece;
    if (gathered.length >= chunkLength) {
      await printBytes(encode(gathered));
      gathered = "";
    }
  }
  if (gathered !== "") await printBytes(encode(gathered));
}

/** Writes on a thread of its own, so that a signal is heard while the reader is slow. process.stdout
 *  is not used: its first touch costs as much as all the rest of the start-up. */
export async function printBytes(bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { error, written } = await writeSome(bytes, at);
    if (!error) at += written;
    else if (error.code === "EAGAIN") await Bun.sleep(2);
    else if (error.code === "EPIPE") throw new OutputClosed();
    else throw new OutputFailed(cannotWrite(error.code));
  }
}

function writeSome(bytes: Uint8Array, at: number): Promise<Written> {
  const signal = stop;
  return new Promise((resolve, reject) => {
    const give = (): void => reject(new OutputStopped("interrupted"));
    if (signal?.aborted) return give();
    signal?.addEventListener("abort", give, { once: true });
    write(1, bytes, at, bytes.length - at, null, (error, written) => {
      signal?.removeEventListener("abort", give);
      resolve({ error, written });
    });
  });
}

/** One line on standard error. There is nowhere to report a failure of this. */
export function complain(line: string): void {
  writeError(`copse: ${line}\n`);
}

/** What is for people where standard output is for something else. */
export async function complainAll(pieces: Iterable<string>): Promise<void> {
  for (const piece of pieces) writeError(piece);
}

export function writeError(text: string): void {
  const bytes = encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += writeSync(2, bytes, at);
  } catch {
    // A closed or full standard error.
  }
}

interface Written {
  error: NodeJS.ErrnoException | null;
  written: number;
}

function cannotWrite(code = "EIO"): string {
  const why = code === "ENOSPC" ? "no space left on device" : "the write failed";
  return `cannot write to standard output: ${why} (${code}). Free some space or print elsewhere; the answer printed so far is incomplete.`;
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
