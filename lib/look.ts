// What is at a path. Questions asked together go to native code together, as one task: starting one
// costs more than most answers. Each has an answer of its own.

import type { Place } from "./location.ts";
import { Verb as VerbNumber } from "./native/abi.ts";
import { forget } from "./native/record.ts";
import { aboutPaths, placeRequest } from "./request.ts";
import { Answers } from "./rows.ts";
import { engineOf } from "./runtime.ts";
import { NativeTask } from "./task.ts";
import type { Options } from "./types.ts";

// Paths of a task: enough that they share the price of it, few enough that the first answers are
// used while the next are looked up. A quarter of those that are asked about, between these.
const LEAST = 32;
const MOST = 256;
const CHARACTERS = 64 * 1024; // of all of them
const TASKS = 16; // at once; what is more waits here, so that the event loop gets its turn

/** The paths of one task. */
class Batch {
  readonly paths: string[] = [];
  characters = 0;
  readonly most: number;
  readonly #answers = Promise.withResolvers<Answers>();

  constructor(most: number) {
    this.most = most;
  }

  get answers(): Promise<Answers> {
    return this.#answers.promise;
  }

  get isFull(): boolean {
    return this.paths.length >= this.most || this.characters >= CHARACTERS;
  }

  answer(answers: Answers): void {
    this.#answers.resolve(answers);
  }

  fail(error: unknown): void {
    this.#answers.reject(error);
  }
}

/** Asks about paths of one place. */
export class Look {
  readonly #options: Options;
  readonly #place: Place;
  /** Without paths. Kept only where there is nothing secret in it. */
  readonly #request: Uint8Array | undefined;
  readonly #isNear: boolean;
  /** Takes more paths, in this microtask. */
  #open: Batch | undefined;
  /** First in, first out, from #waitingAt on. */
  #waiting: Batch[] = [];
  #waitingAt = 0;
  #running = 0;
  #unanswered = 0;

  /** `isNear`: answers take no time, so that none has to wait for another one's. */
  constructor(place: Place, options: Options, isNear: boolean) {
    this.#place = place;
    this.#options = options;
    const request = this.#encode(); // says what is wrong with the options, too
    this.#request = forget(request) ? undefined : request;
    this.#isNear = isNear;
  }

  /** What `read` makes of the answer, or the error that is it. */
  ask<T>(path: string, read: (answers: Answers, at: number, path: string) => T): Promise<T> {
    const batch = (this.#open ??= this.#begin());
    const at = batch.paths.push(path) - 1;
    batch.characters += path.length;
    this.#unanswered++;
    if (batch.isFull) this.#close(batch);
    return batch.answers.then((answers) => read(answers, at, path));
  }

  #encode(): Uint8Array {
    return placeRequest(VerbNumber.LOOK, this.#place, {}, this.#options, false);
  }

  #begin(): Batch {
    if (this.#waitingAt === this.#waiting.length) queueMicrotask(() => this.#send());
    const most = Math.min(Math.max(this.#unanswered >> 2, LEAST), MOST);
    return new Batch(this.#isNear ? most : 1);
  }

  #close(batch: Batch): void {
    this.#open = undefined;
    this.#waiting.push(batch);
  }

  #send(): void {
    if (this.#open) this.#close(this.#open);
    while (this.#running < TASKS && this.#waitingAt < this.#waiting.length)
      this.#start(this.#waiting[this.#waitingAt++]!);
    if (this.#waitingAt < this.#waiting.length) return;
    this.#waiting = [];
    this.#waitingAt = 0;
  }

  #start(batch: Batch): void {
    this.#running++;
    try {
      this.#taskOf(batch).then(
        (answers) => {
          batch.answer(answers);
          this.#ended(batch);
        },
        (error: unknown) => this.#failed(batch, error),
      );
    } catch (error) {
      // Not at once: what fails lets the next one start.
      queueMicrotask(() => this.#failed(batch, error));
    }
  }

  #failed(batch: Batch, error: unknown): void {
    batch.fail(error);
    this.#ended(batch);
  }

  #taskOf({ paths }: Batch): NativeTask<Answers, never> {
    const answers = new Answers();
    const verb = {
      request: aboutPaths(this.#request ?? this.#encode(), paths.join("\0")),
      decode(buffer: ArrayBuffer, rows: number, heapAt: number): never[] {
        answers.add(buffer, rows, heapAt);
        return [];
      },
      keeps: true,
      whole: () => answers,
    };
    return new NativeTask(engineOf(this.#options.runtime), verb, this.#options);
  }

  #ended(batch: Batch): void {
    this.#running--;
    this.#unanswered -= batch.paths.length;
    if (this.#waitingAt < this.#waiting.length) this.#send();
  }
}
