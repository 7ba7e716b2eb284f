// snapshot: what a tree holds, kept in native memory as a location.

import { CopseError } from "./errors.ts";
import { parseLocation, placeKey, type Place } from "./location.ts";
import { Done, Place as PlaceKey, Verb as VerbNumber } from "./native/abi.ts";
import { decodeSnapshot, type Counted } from "./rows.ts";
import { sortByPath } from "./sort.ts";
import { checkOptions } from "./check.ts";
import { placeRequest, snapshotRequest } from "./request.ts";
import { engineOf, Runtime } from "./runtime.ts";
import { locationBelow } from "./scan.ts";
import { NativeTask, runSync, type Ending, type Verb } from "./task.ts";
import type { Failure, Location, Snapshot, Task, WalkOptions } from "./types.ts";

const ignore = (): void => {};

/** What native code keeps under a number. */
interface Kept {
  readonly runtime: Runtime;
  readonly place: Place;
}

function forget({ runtime, place }: Kept): Promise<void> {
  if (runtime.state !== "open") return Promise.resolve(); // it went with its runtime
  const request = placeRequest(VerbNumber.REMOVE, place, {}, { runtime }, false);
  const verb: Verb<void, never> = { request, decode: () => [], whole: ignore };
  // A task that failed or was left took none.
  return new NativeTask(engineOf(runtime), verb, {}).then(ignore, ignore);
}

// Also of a task that is left or fails: the snapshot is made before it starts, and if nobody gets
// it, it is collected.
const forgotten = new FinalizationRegistry<Kept>((kept) => void forget(kept));

class Held implements Snapshot {
  readonly root: Location;
  readonly #kept: Kept;
  #isClosed = false;
  entries = 0;
  bytes = 0;
  errors: readonly Failure[] = [];
  complete = false;

  constructor(root: Location, kept: Kept) {
    this.root = root;
    this.#kept = kept;
    forgotten.register(this, kept, this);
  }

  get [Symbol.toStringTag](): string {
    return "Snapshot";
  }

  [placeKey](): Place {
    const { place } = this.#kept;
    if (!this.#isClosed) return place;
    throw new CopseError("CLOSED", "the snapshot was closed: take a new one", {
      location: place.shown,
    });
  }

  close(): void {
    void this[Symbol.asyncDispose]();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    forgotten.unregister(this);
    await forget(this.#kept);
  }
}

/** 52 bits, which nobody meets again by chance: a number of another runtime means nothing here. */
function newNumber(): number {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
  return (high >>> 12) * 2 ** 32 + low + 1;
}

/** Whoever iterates gets what could not be looked at; the counts go to the snapshot. */
function failuresOf(rows: readonly (Failure | Counted)[], held: Held): Failure[] {
  const counted = rows.find((row): row is Counted => row.kind === "counted");
  if (counted) ({ entries: held.entries, bytes: held.bytes } = counted);
  return rows.filter((row): row is Failure => row.kind === "error");
}

function finish(held: Held, failures: Failure[], ending: Ending): Held {
  held.errors = sortByPath(failures);
  held.complete = ending.errors === 0 && (ending.flags & Done.INCOMPLETE) === 0;
  return held;
}

function verbFor(root: Location, options: WalkOptions, waited: boolean): Verb<Snapshot, Failure> {
  checkOptions(options);
  const number = newNumber();
  const real = parseLocation(root);
  const request = snapshotRequest(real, number, options, waited);
  const place: Place = {
    scheme: "snapshot",
    path: "",
    shown: real.scheme === "snapshot" ? real.shown : `snapshot of ${real.shown}`,
    fields: [[PlaceKey.SNAPSHOT, number]],
  };
  const held = new Held(locationBelow(root, ""), {
    runtime: options.runtime ?? Runtime.default,
    place,
  });
  return {
    request,
    decode: (buffer, rows, heapAt) => failuresOf(decodeSnapshot(buffer, rows, heapAt), held),
    whole: (failures, ending) => finish(held, failures, ending),
  };
}

/**
 * What a tree holds now, as a location: names, types, sizes, times, modes and link targets, kept in
 * memory until it is closed. What lists, scans or compares it afterwards does no I/O. Files are not
 * read.
 *
 * ```ts
 * await using before = await snapshot("data");
 * const sessions = await scan(before, { name: "ses-*" });
 * const changed = await compare(before, "data", { by: "stat" });
 * ```
 *
 * `links`, `maxDepth`, `include` and so on are decided here: what was left out cannot be had from
 * it. It belongs to its runtime and is used with that one.
 */
export function snapshot(root: Location, options: WalkOptions = {}): Task<Snapshot, Failure> {
  return new NativeTask(engineOf(options.runtime), verbFor(root, options, false), options);
}

/** `snapshot`, on this thread until it is taken. */
export function snapshotSync(root: Location, options: WalkOptions = {}): Snapshot {
  return runSync(engineOf(options.runtime), verbFor(root, options, true), options);
}
