// What the types promise, checked by tsc (test/house.test.ts runs it): every verb has its Sync form
// with the same arguments, a Task is a full promise, results are unions one can switch over.

import { describe, expect, test } from "bun:test";
import * as copse from "../lib/index.ts";
import type {
  CompareOptions,
  Comparison,
  Difference,
  Entry,
  ErrorCode,
  Failure,
  Found,
  ListOptions,
  Location,
  Named,
  Options,
  Task,
} from "../lib/index.ts";

type Equal<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
/** Compiles only for `true`. */
function holds<_ extends true>(): void {}

type Api = typeof copse;
type Verb = {
  [Name in keyof Api]: Api[Name] extends (...args: never[]) => Task<unknown, unknown>
    ? Name
    : never;
}[keyof Api];
type Whole<Name extends Verb> = ReturnType<Api[Name]> extends Task<infer T, unknown> ? T : never;
type SyncOf<Name extends Verb> = `${Name}Sync` extends keyof Api
  ? Api[`${Name}Sync`]
  : "it has no Sync form";
// An overloaded verb shows its last form here; what `stat` adds is looked at below.
type Twins = {
  [Name in Exclude<Verb, "list">]: Equal<
    SyncOf<Name>,
    (...args: Parameters<Api[Name]>) => Whole<Name>
  >;
};

describe("every exported verb", () => {
  test("has a Sync form with the same arguments and the whole as result", () => {
    holds<Equal<Twins, { [Name in Exclude<Verb, "list">]: true }>>();
    holds<Equal<"compare" extends Verb ? true : false, true>>();
    holds<Equal<"list" extends Verb ? true : false, true>>();
    holds<Equal<Parameters<Api["list"]>, Parameters<Api["listSync"]>>>();
    holds<Equal<ReturnType<Api["listSync"]>, Whole<"list">>>();
    // The test is able to fail.
    // @ts-expect-error there is no such verb
    holds<Equal<SyncOf<"parseLocation">, never>>();
  });

  test("is exported together with it", () => {
    const names = Object.keys(copse);
    // What starts no native task, and watching, which has no end to wait for.
    const others =
      "certificateSource credential formatManifest globSet listenForSignals loadPattern parseLocation parsePattern pattern reportTo rowsOf samePattern sharedChannel sharedSemaphore toPathveinJSON watch watchSync".split(
        " ",
      );
    const functions = names.filter((name) => /^[a-z]/.test(name) && !others.includes(name));
    const verbs = functions.filter((name) => !name.endsWith("Sync"));
    expect(verbs.length).toBeGreaterThan(1);
    expect(functions.toSorted()).toEqual(verbs.flatMap((name) => [name, `${name}Sync`]).toSorted());
  });

  test("takes its options last, and they extend the common ones", () => {
    holds<Equal<NonNullable<Parameters<Api["compare"]>[2]>, CompareOptions>>();
    holds<Equal<NonNullable<Parameters<Api["list"]>[1]>, ListOptions>>();
    holds<Equal<Parameters<Api["list"]>[0], Location>>();
    holds<CompareOptions extends Options ? true : false>();
  });
});

describe("a Task", () => {
  test("is a full promise and an iterable", () => {
    holds<Task<Comparison, Difference> extends Promise<Comparison> ? true : false>();
    holds<Task<Comparison, Difference> extends AsyncIterable<Difference> ? true : false>();
    holds<Task<Comparison, Difference> extends AsyncDisposable ? true : false>();
    holds<Equal<Awaited<Task<Comparison, Difference>>, Comparison>>();
    holds<Equal<ReturnType<Api["compare"]>, Task<Comparison, Difference>>>();
    holds<Equal<ReturnType<Api["list"]>, Task<Found<Named>, Named | Failure>>>();
    const withStat = (root: Location) => copse.list(root, { stat: true });
    holds<Equal<ReturnType<typeof withStat>, Task<Found<Entry>, Entry | Failure>>>();
    const atOnce = (root: Location) => copse.listSync(root, { stat: true });
    holds<Equal<ReturnType<typeof atOnce>, Found<Entry>>>();
  });
});

describe("a Difference", () => {
  test("is switched over exhaustively by its kind", () => {
    const show = (difference: Difference): string => {
      switch (difference.kind) {
        case "only-left":
          return difference.left.path;
        case "only-right":
          return difference.right.path;
        case "differs":
          return difference.reason;
        case "moved":
          return difference.from;
        case "same-by-rule":
          return difference.rule;
        case "error":
          return difference.error.code;
      }
    };
    expect(show({ kind: "only-left", path: "a", left: { path: "a", type: "file", size: 1 } })).toBe(
      "a",
    );
  });

  test("has a side only where there is one", () => {
    const left: Extract<Difference, { kind: "only-left" }> = {
      kind: "only-left",
      path: "a",
      left: { path: "a", type: "file", size: 1 },
    };
    // @ts-expect-error an only-left row has no right side
    expect(left.right).toBeUndefined();
  });
});

test("error codes are a closed list", () => {
  const code: ErrorCode = "NOT_FOUND";
  // @ts-expect-error no such code
  const other: ErrorCode = "MISSING";
  expect<string>(code).not.toBe(other);
});
