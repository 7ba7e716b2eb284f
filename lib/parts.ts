// Parts: the rows of a running task one by one or a page at a time, for whoever iterates it.

const ignore = (): void => {};

/** What parts come from: a running task. */
interface Source<Part> {
  /** Somebody stopped it: what is at hand is not wanted any more. */
  readonly isStopped: boolean;
  nextBatch(): Promise<readonly Part[] | undefined>;
  leave(reason?: unknown): Promise<void>;
}

/** Hand-written, because an async generator costs several promises for every part. */
abstract class Parts<Part, Item> implements AsyncIterableIterator<Item, void, void> {
  readonly #source: Source<Part>;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #hasLeft = false;

  constructor(source: Source<Part>) {
    this.#source = source;
  }

  /** What is at hand. */
  protected abstract ready(): IteratorResult<Item, void> | undefined;
  protected abstract take(batch: readonly Part[]): IteratorResult<Item, void>;

  next(): Promise<IteratorResult<Item, void>> {
    const ready = this.#waiting === 0 ? this.#readyNow() : undefined;
    if (ready) return Promise.resolve(ready);
    this.#waiting++;
    // One after the other, also for who calls next() again before the last one answered.
    const next = this.#last.then(() => this.#step());
    this.#last = next.catch(ignore);
    return next;
  }

  #readyNow(): IteratorResult<Item, void> | undefined {
    return this.#hasLeft || this.#source.isStopped ? undefined : this.ready();
  }

  async #step(): Promise<IteratorResult<Item, void>> {
    try {
      const ready = this.#readyNow();
      if (ready) return ready;
      const batch = this.#hasLeft ? undefined : await this.#source.nextBatch();
      if (batch && !this.#hasLeft) return this.take(batch);
    } catch (error) {
      if (!this.#hasLeft) {
        this.#hasLeft = true; // thrown once, then it is over
        throw error;
      }
    } finally {
      this.#waiting--;
    }
    this.#hasLeft = true;
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<Item, void>> {
    await this.leave();
    return { done: true, value: undefined };
  }

  async leave(reason?: unknown): Promise<void> {
    this.#hasLeft = true;
    await this.#source.leave(reason);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave();
  }
}

/** A page of rows at a time. */
export class Batches<Part> extends Parts<Part, readonly Part[]> {
  protected ready(): undefined {
    return undefined;
  }

  protected take(batch: readonly Part[]): IteratorResult<readonly Part[], void> {
    return { done: false, value: batch };
  }
}

/** Row by row. */
export class Items<Part> extends Parts<Part, Part> {
  #batch: readonly Part[] = [];
  #at = 0;

  protected ready(): IteratorResult<Part, void> | undefined {
    if (this.#at === this.#batch.length) return undefined;
    return { done: false, value: this.#batch[this.#at++]! };
  }

  protected take(batch: readonly Part[]): IteratorResult<Part, void> {
    this.#batch = batch;
    this.#at = 1;
    return { done: false, value: batch[0]! }; // a batch is never empty
  }
}
