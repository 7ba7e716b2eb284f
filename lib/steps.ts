// Steps: a verb that is made of several native tasks, written once as a generator. The Sync form runs
// its steps one after the other on this thread; the other form is a Task that runs the same generator.

import { Notify } from "./async/gates.ts";
import { CopseError } from "./errors.ts";
import type { Engine } from "./engine.ts";
import { Batches, Items } from "./parts.ts";
import { NativeTask, runSync, type TaskOptions, type Verb } from "./task.ts";
import type { Progress, Task } from "./types.ts";

/** What a generator yields: a task or call whose answer it gets back, or a part of its own answer. */
export type Step<Part> =
  | {
      // Each step has a whole of its own, which only the generator knows.
      readonly verb: (waited: boolean) => Verb<any, any>;
      readonly part?: never;
      readonly call?: never;
      readonly totalBytes?: never;
    }
  | {
      readonly part: Part;
      readonly verb?: never;
      readonly call?: never;
      readonly totalBytes?: never;
    }
  | {
      /** Of what the tasks that follow do all in all, for whoever watches. */
      readonly totalBytes: number;
      readonly verb?: never;
      readonly call?: never;
      readonly part?: never;
    }
  | {
      /** What needs no native task; where nothing is waited for it answers at once. */
      readonly call: (waited: boolean) => unknown;
      readonly verb?: never;
      readonly totalBytes?: never;
    };

/** Makes the whole of its parts at its end. A failed step is thrown into it. */
export type Steps<Whole, Part> = Generator<Step<Part>, (parts: Part[]) => Whole, unknown>;

const ignore = (): void => {};

/** The steps, on this thread. */
export function runSteps<Whole, Part>(
  engine: Engine,
  steps: Steps<Whole, Part>,
  options: TaskOptions,
): Whole {
  const parts: Part[] = [];
  let next = steps.next();
  while (!next.done) {
    const { verb, call, totalBytes } = next.value;
    if (!verb && !call) {
      if (totalBytes === undefined) parts.push(next.value.part);
      next = steps.next();
      continue;
    }
    let answer: unknown;
    try {
      answer = verb ? runSync(engine, verb(true), options) : call?.(true);
    } catch (error) {
      options.signal?.throwIfAborted();
      next = steps.throw(error);
      continue;
    }
    next = steps.next(answer);
  }
  return next.value(parts);
}

/** The steps as a Task. Work begins at once; iterated, it waits for a slow reader between steps. */
export class StepsTask<Whole, Part> implements Task<Whole, Part> {
  readonly #engine: Engine;
  readonly #options: TaskOptions;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #promise: Promise<Whole>;
  state: Task<Whole, Part>["state"] = "running";
  progress: Progress = { files: 0, bytes: 0 };
  #parts: Part[] = [];
  #isIterated = false;
  readonly #changed = new Notify();

  constructor(engine: Engine, steps: Steps<Whole, Part>, options: TaskOptions) {
    engine.checkOpen();
    this.#engine = engine;
    this.#options = options;
    const { signal } = options;
    this.#signal = signal ? AbortSignal.any([signal, this.#stop.signal]) : this.#stop.signal;
    this.#promise = this.#run(steps).then(
      (whole) => this.#settle("done", whole),
      (error: unknown) => {
        // What somebody cancelled on purpose is no unhandled rejection.
        if (this.#signal.aborted) this.#promise.catch(ignore);
        this.#settle(this.#signal.aborted ? "cancelled" : "failed", undefined);
        throw error;
      },
    );
  }

  get [Symbol.toStringTag](): string {
    return "Task";
  }

  #settle<T>(state: "done" | "failed" | "cancelled", whole: T): T {
    this.state = state;
    this.#wake();
    return whole;
  }

  #wake(): void {
    this.#changed.all();
  }

  async #run(steps: Steps<Whole, Part>): Promise<Whole> {
    const signal = this.#signal;
    const before = { ...this.progress };
    const total: { totalBytes?: number } = {};
    const onProgress = (progress: Progress): void => {
      this.progress = {
        files: before.files + progress.files,
        bytes: before.bytes + progress.bytes,
        ...total,
      };
      this.#options.onProgress?.(this.progress);
    };
    await Promise.resolve(); // whoever made the task has it before anything of it happens
    let next = steps.next();
    while (!next.done) {
      signal.throwIfAborted();
      const { verb, call, totalBytes } = next.value;
      if (!verb && !call) {
        if (totalBytes === undefined) this.#parts.push(next.value.part);
        else total.totalBytes = before.bytes + totalBytes;
        this.#wake();
        next = steps.next();
        continue;
      }
      while (this.#isIterated && this.#parts.length > 0 && !signal.aborted)
        await this.#changed.wait({ signal });
      signal.throwIfAborted();
      let answer: unknown;
      try {
        if (verb) {
          const task = new NativeTask(this.#engine, verb(false), {
            signal,
            ...(this.#options.onProgress ? { onProgress } : {}),
          });
          answer = await task;
          before.files = this.progress.files;
          before.bytes = this.progress.bytes;
        } else {
          answer = await call?.(false);
        }
      } catch (error) {
        signal.throwIfAborted();
        next = steps.throw(error);
        continue;
      }
      next = steps.next(answer);
    }
    return next.value(this.#isIterated ? [] : this.#parts);
  }

  // oxlint-disable-next-line unicorn/no-thenable -- a task is a promise
  then<A = Whole, B = never>(
    done?: ((value: Whole) => A | PromiseLike<A>) | null,
    failed?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#promise.then(done, failed);
  }

  catch<B = never>(failed?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<Whole | B> {
    return this.#promise.catch(failed);
  }

  finally(settled?: (() => void) | null): Promise<Whole> {
    return this.#promise.finally(settled);
  }

  cancel(reason?: unknown): void {
    if (this.state === "running")
      this.#stop.abort(reason ?? new CopseError("CANCELLED", "the task was cancelled"));
  }

  batches(): AsyncIterableIterator<readonly Part[], void, void> {
    return new Batches(this.#source());
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Part, void, void> {
    return new Items(this.#source());
  }

  toReadableStream(): ReadableStream<Part> {
    const items = new Items(this.#source());
    return new ReadableStream<Part>(
      {
        async pull(controller) {
          const { done, value } = await items.next();
          if (done) controller.close();
          else controller.enqueue(value);
        },
        cancel: (reason) => items.leave(reason),
      },
      { highWaterMark: 0 },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cancel();
    await this.#promise.then(ignore, ignore);
  }

  #source() {
    if (this.#isIterated)
      throw new CopseError("ARGUMENT", "a task can be iterated once: start another one");
    this.#isIterated = true;
    this.#promise.catch(ignore); // whoever iterates sees the failure there
    const signal = this.#signal;
    return {
      get isStopped(): boolean {
        return signal.aborted;
      },
      nextBatch: async (): Promise<readonly Part[] | undefined> => {
        for (;;) {
          if (this.#parts.length > 0 && !signal.aborted) {
            const parts = this.#parts;
            this.#parts = [];
            this.#wake();
            return parts;
          }
          if (this.state !== "running") {
            await this.#promise; // rejects with what it failed with
            return undefined;
          }
          await this.#changed.wait();
        }
      },
      leave: async (reason?: unknown): Promise<void> => {
        this.#parts = [];
        this.cancel(reason ?? new CopseError("CANCELLED", "the task was left before its end"));
        await this.#promise.then(ignore, ignore);
      },
    };
  }
}
