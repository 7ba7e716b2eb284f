import { parseLocation } from "./location.ts";
import { Done } from "./native/abi.ts";
import { checkOptions, verifyRequest } from "./request.ts";
import { byPath, decodeChecks } from "./rows.ts";
import { engineOf } from "./runtime.ts";
import { NativeTask, runSync, type Ending, type Verb } from "./task.ts";
import type { Check, Location, Task, Verification, VerifyOptions } from "./types.ts";

function verification(checks: Check[], ending: Ending, corrupt: number): Verification {
  const complete = ending.errors === 0 && (ending.flags & Done.INCOMPLETE) === 0;
  return {
    ok: complete && corrupt === 0,
    complete,
    files: ending.files,
    bytes: ending.bytes,
    errors: ending.errors,
    milliseconds: ending.milliseconds,
    checks,
  };
}

function verbOf(location: Location, options: VerifyOptions, waited: boolean) {
  checkOptions(options);
  const place = parseLocation(location);
  let corrupt = 0; // an iterated task's rows went to the reader, and still count
  const verb: Verb<Verification, Check> = {
    request: verifyRequest(place, options, waited),
    decode(buffer, rows, heapAt) {
      const checks = decodeChecks(buffer, rows, heapAt);
      for (const { kind } of checks) corrupt += Number(kind === "corrupt");
      return checks;
    },
    order: byPath,
    whole: (rows, ending) => verification(rows, ending, corrupt),
  };
  return verb;
}

/**
 * Reads everything in a pack (or archive) against its own checksums. A path or URL means the pack
 * that is there.
 *
 * ```ts
 * const { ok, checks } = await verify("site.znippy");
 * ```
 *
 * Rejects with `CORRUPT` when the index itself is damaged or the file was cut, with `UNSUPPORTED`
 * for what is no pack.
 */
export function verify(location: Location, options: VerifyOptions = {}): Task<Verification, Check> {
  const verb = verbOf(location, options, false);
  return new NativeTask(engineOf(options.runtime), verb, options);
}

/** `verify`, on this thread until the answer is there. */
export function verifySync(location: Location, options: VerifyOptions = {}): Verification {
  return runSync(engineOf(options.runtime), verbOf(location, options, true), options);
}
