// Sorted runs made one: the same as sorting all of them, and a value is made when its turn comes.

import { expect, test } from "bun:test";
import { merge } from "../lib/merge.ts";
import { Random } from "./trees.ts";

const compare = (left: { value: number }, right: { value: number }): number =>
  left.value - right.value;

test("random runs: what sorting gives, equal ones in the order of runs", () => {
  const random = new Random(4711);
  for (let turn = 0; turn < 500; turn++) {
    const runs = Array.from({ length: random.below(20) }, (_, run) =>
      Array.from({ length: random.below(8) }, () => ({ value: random.below(50), run })).toSorted(
        compare,
      ),
    );
    expect([...merge(runs, compare)]).toEqual(runs.flat().toSorted(compare));
  }
});

test("a value is made when it is the next of its run, once", () => {
  let made = 0;
  const runs = Array.from({ length: 10 }, (_, i) => ({
    length: 100,
    at(index: number) {
      made++;
      return { value: index * 10 + i };
    },
  }));
  let told = 0;
  for (const { value } of merge(runs, compare)) {
    expect(value).toBe(told++);
    expect(made).toBeLessThanOrEqual(told + 10);
  }
  expect([told, made]).toEqual([1000, 1000]);
});
