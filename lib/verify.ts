import { asPack, isFile, parseLocation, type Place } from "./location.ts";
import { Detail, Done } from "./native/abi.ts";
import { checkOptions } from "./check.ts";
import { verifyRequest } from "./request.ts";
import { decodeChecks, type SyncCounts } from "./rows.ts";
import { byPath } from "./sort.ts";
import { engineOf } from "./runtime.ts";
import { besides, checkKey, checkPack, isOfIndex, readingOf } from "./signature.ts";
import { runSteps, StepsTask, type Steps } from "./steps.ts";
import { NativeTask, runSync, type Ending, type Verb } from "./task.ts";
import type { Check, Location, Task, Verification, VerifyOptions } from "./types.ts";

/** What native code says, and the hash of a pack's index where it has one. */
type Read = Verification & { indexHash?: string };

function verification(
  checks: Check[],
  ending: Ending,
  corrupt: number,
  indexHash: string | undefined,
): Read {
  const complete = ending.errors === 0 && (ending.flags & Done.INCOMPLETE) === 0;
  return {
    ok: complete && corrupt === 0,
    complete,
    files: ending.files,
    bytes: ending.bytes,
    errors: ending.errors,
    milliseconds: ending.milliseconds,
    ...(indexHash === undefined ? {} : { indexHash }),
    checks,
  };
}

/** A path or URL means the pack that is there. */
function placeOf(location: Location): Place {
  const place = parseLocation(location);
  return isFile(place) ? asPack(place) : place;
}

function verbOf(place: Place, options: VerifyOptions, waited: boolean): Verb<Read, Check> {
  const { key: _k, signature: _s, ...rest } = options;
  let corrupt = 0; // an iterated task's rows went to the reader, and still count
  let indexHash: string | undefined;
  return {
    request: verifyRequest(place, rest, waited),
    decode(buffer, rows, heapAt) {
      const checks: Check[] = [];
      for (const row of decodeChecks(buffer, rows, heapAt) as (Check | SyncCounts)[]) {
        if (row.kind === "summary") indexHash = row.counts.hex(Detail.PACK_INDEX);
        else checks.push(row);
        corrupt += Number(row.kind === "corrupt");
      }
      return checks;
    },
    order: byPath,
    whole: (rows, ending) => verification(rows, ending, corrupt, indexHash),
  };
}

/** What nobody asked for is left out. */
function plain({ indexHash: _, ...found }: Read): Verification {
  return found;
}

function* signedSteps(
  place: Place,
  key: string,
  options: VerifyOptions,
): Steps<Verification, Check> {
  const { signature } = options;
  const file = place.inner ?? place;
  const beside = signature === undefined ? besides(file) : parseLocation(signature);
  const { comment, wrong } = yield* checkPack(file, beside, key, readingOf(options));
  const found = (yield { verb: (waited) => verbOf(place, options, waited) }) as Read; // so it answers
  const reason =
    wrong ?? (isOfIndex(comment, found.indexHash) ? undefined : "the signature is of another pack");
  if (reason !== undefined) yield { part: { kind: "signature", path: "", reason } };
  for (const check of found.checks) yield { part: check };
  return (checks) => ({
    ...plain(found),
    ok: found.ok && reason === undefined,
    ...(reason === undefined && comment !== undefined ? { signed: comment } : {}),
    checks,
  });
}

function wholeOf(place: Place, options: VerifyOptions, waited: boolean): Verb<Verification, Check> {
  const verb = verbOf(place, options, waited);
  return { ...verb, whole: (rows, ending) => plain(verb.whole(rows, ending) as Read) };
}

/**
 * Reads everything in a pack (or archive) against its own checksums. A path or URL means the pack
 * that is there.
 *
 * ```ts
 * const { ok, checks } = await verify("site.znippy", { key: "site.pub" });
 * ```
 *
 * With `key` the pack must have a signature of it, too. Rejects with `CORRUPT` when the index itself
 * is damaged or the file was cut, with `UNSUPPORTED` for what is no pack.
 */
export function verify(location: Location, options: VerifyOptions = {}): Task<Verification, Check> {
  checkOptions(options);
  const place = placeOf(location);
  const key = checkKey(options.key);
  const engine = engineOf(options.runtime);
  return key === undefined
    ? new NativeTask(engine, wholeOf(place, options, false), options)
    : new StepsTask(engine, signedSteps(place, key, options), options);
}

/** `verify`, on this thread until the answer is there. */
export function verifySync(location: Location, options: VerifyOptions = {}): Verification {
  checkOptions(options);
  const place = placeOf(location);
  const key = checkKey(options.key);
  const engine = engineOf(options.runtime);
  return key === undefined
    ? runSync(engine, wholeOf(place, options, true), options)
    : runSteps(engine, signedSteps(place, key, options), options);
}
