// What every command that runs one verb does before, after and when it fails: its log, its line of
// progress, options and locations from the flags, and the exit status of a failure.

import { Runtime, type CopyOptions, type Location, type Options } from "../index.ts";
import type { Interruption } from "../signals.ts";
import type { Flags } from "./args.ts";
import { fail } from "./failure.ts";
import { pairs, startLog, type Log } from "./log.ts";
import { optionsFrom } from "./options.ts";
import { placesFrom } from "./place.ts";
import { startProgress, type ProgressLine } from "./progress.ts";
import { status } from "./status.ts";
import { isTerminal } from "./terminal.ts";

/** What a command has at hand while its verb works. */
export class Frame {
  readonly log: Log;
  readonly flags: Flags;
  /** What the rows printed so far have shown; the exit status when the output breaks off. */
  seen: number = status.equal;
  readonly #interruption: Interruption;
  readonly #progress: ProgressLine | undefined;
  #runtime: Runtime | undefined;
  #hasSteps = false;

  constructor(flags: Flags, interruption: Interruption, progress: ProgressLine | undefined) {
    this.log = startLog(flags["verbose"]);
    this.flags = flags;
    this.#interruption = interruption;
    this.#progress = progress;
    interruption.onHurry = progress?.end;
  }

  /** The verb's options; `flags` where some are the command's own. */
  options(flags: Flags = this.flags): Options {
    const options = optionsFrom(flags, this.#interruption, this.log);
    if (this.#progress) options.onProgress = this.#progress.update;
    this.#runtime = options.runtime;
    return options;
  }

  /** The same of a verb that copies: its steps are tried again, too. */
  copyOptions(flags: Flags): CopyOptions {
    const { retries } = this.flags;
    this.#hasSteps = true;
    const options: CopyOptions = this.options(flags);
    return typeof retries === "number" ? { ...options, retries } : options;
  }

  /** The locations as given, each with what the flags say of its kind. */
  places<const Texts extends readonly string[]>(
    ...texts: Texts
  ): Promise<{ [At in keyof Texts]: Location }> {
    // One location for each text.
    return placesFrom(texts, this.flags, { hasSteps: this.#hasSteps }) as Promise<{
      [At in keyof Texts]: Location;
    }>;
  }

  /** The verb is done: the line of progress goes, and the log says what it came to. */
  done(totals: object): void {
    this.#progress?.end();
    const { log } = this;
    log.say(1, pairs(totals));
    // Asking has a price, if a small one.
    if (log.level >= 2) log.say(2, pairs((this.#runtime ?? Runtime.default).info));
    if (log.level >= 3) log.say(3, pairs((this.#runtime ?? Runtime.default).stats));
  }
}

/** Runs a command in its frame and returns the exit status. */
export async function inFrame(
  flags: Flags,
  interruption: Interruption,
  work: (frame: Frame) => Promise<number>,
): Promise<number> {
  // Rows on the same terminal would fight with the line of progress.
  const isSilent = flags["quiet"] === true || (flags["jsonl"] === true && (await isTerminal(1)));
  const progress = isSilent ? undefined : await startProgress();
  const frame = new Frame(flags, interruption, progress);
  try {
    return await work(frame);
  } catch (error) {
    progress?.end();
    return fail(error, flags, interruption, frame.seen);
  }
}
