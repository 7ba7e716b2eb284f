// Many sorted runs made one, of which no more than the first values are there at once.

/** A run in order: an array, or what makes each value when it is asked for. */
export interface Sorted<T> {
  readonly length: number;
  at(index: number): T | undefined;
}

interface Head<T> {
  value: T;
  /** Of it in its run. */
  index: number;
  readonly run: Sorted<T>;
  /** Of the run: what is equal comes in the order of runs. */
  readonly number: number;
}

/** The least one is `heap[0]`; the ones below number i are 2i + 1 and 2i + 2. */
function sink<T>(heap: Head<T>[], isBefore: (left: Head<T>, right: Head<T>) => boolean): void {
  const [moved] = heap;
  if (!moved) return;
  let at = 0;
  for (;;) {
    const left = heap[2 * at + 1];
    const right = heap[2 * at + 2];
    if (!left) break;
    const isRight = right !== undefined && isBefore(right, left);
    const least = isRight ? right : left;
    if (isBefore(moved, least)) break;
    heap[at] = least;
    at = 2 * at + (isRight ? 2 : 1);
  }
  heap[at] = moved;
}

export function* merge<T>(
  runs: Iterable<Sorted<T>>,
  compare: (left: T, right: T) => number,
): Generator<T, void> {
  const order = (left: Head<T>, right: Head<T>): number =>
    compare(left.value, right.value) || left.number - right.number;
  const isBefore = (left: Head<T>, right: Head<T>): boolean => order(left, right) < 0;
  const heap: Head<T>[] = [];
  for (const run of runs) {
    const value = run.at(0);
    if (value !== undefined) heap.push({ value, index: 0, run, number: heap.length });
  }
  heap.sort(order); // what is sorted is in order for a heap
  for (let head = heap[0]; head; head = heap[0]) {
    yield head.value;
    const next = ++head.index < head.run.length ? head.run.at(head.index) : undefined;
    if (next !== undefined) {
      head.value = next;
    } else {
      const last = heap.pop()!; // there is one: the head
      if (last !== head) heap[0] = last;
    }
    sink(heap, isBefore);
  }
}
