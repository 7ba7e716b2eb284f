// How long tasks take, as quantiles: a histogram whose buckets grow by an eighth of a power of two, so
// that a figure is right within 9 % and a million tasks cost no more memory than one.

const STEPS = 8; // buckets for each doubling
const LEAST_MS = 2 ** -10; // what is shorter is counted here: about a microsecond
const BUCKETS = STEPS * 40; // up to 2^30 ms, twelve days

export class Latency {
  readonly #counts = new Float64Array(BUCKETS);
  #count = 0;

  add(milliseconds: number): void {
    const at = Math.floor(Math.log2(Math.max(milliseconds, LEAST_MS) / LEAST_MS) * STEPS);
    const bucket = Math.min(at, BUCKETS - 1);
    this.#counts[bucket] = this.#counts[bucket]! + 1;
    this.#count++;
  }

  /** Milliseconds that this part of the tasks did not exceed; 0 when there were none. */
  quantile(part: number): number {
    let left = Math.ceil(this.#count * part);
    if (left === 0) return 0;
    for (let bucket = 0; ; bucket++) {
      left -= this.#counts[bucket]!;
      // The upper edge: never told shorter than it was.
      if (left <= 0) return LEAST_MS * 2 ** ((bucket + 1) / STEPS);
    }
  }
}
