import { asNewPack, asPack, isFile, parseLocation, type Place } from "./location.ts";
import { checkOptions, packFields } from "./request.ts";
import { engineOf } from "./runtime.ts";
import { checkSign, openKey, signPack } from "./signature.ts";
import { runSteps, StepsTask, type Steps } from "./steps.ts";
import { transferVerb } from "./sync.ts";
import { NativeTask, runSync, type Verb } from "./task.ts";
import { CopseError } from "./errors.ts";
import type {
  Action,
  CopyOptions,
  Location,
  PackOptions,
  SignOptions,
  Task,
  Transfer,
} from "./types.ts";

/** What is to be done, when all that was said is good. */
interface Work {
  readonly verb: (waited: boolean) => Verb<Transfer, Action>;
  readonly pack: Place;
  readonly sign: SignOptions | undefined;
}

function packWork(from: Location, to: Location, options: PackOptions): Work {
  checkOptions(options);
  const {
    level: _l,
    compress: _c,
    packageType: _t,
    repo: _r,
    format: _f,
    sign,
    ...copying
  } = options;
  const place = parseLocation(from);
  const pack = asNewPack(parseLocation(to), packFields(options));
  const work: Work = {
    verb: (waited) => transferVerb(place, pack, copying, false, waited),
    pack,
    sign: checkSign(sign),
  };
  if (work.sign && pack.inner?.scheme !== "file")
    throw new CopseError("UNSUPPORTED", "only packs in local files are signed", {
      location: pack.shown,
    });
  return work;
}

function* signedSteps({ verb, pack, sign }: Work, options: PackOptions): Steps<Transfer, Action> {
  const key = sign && !options.dryRun ? yield* openKey(sign) : undefined;
  const whole = (yield { verb }) as Transfer; // as the verb answers
  for (const action of whole.actions) yield { part: action };
  const { priority, bandwidth } = options;
  const reading = {
    ...(priority === undefined ? {} : { priority }),
    ...(bandwidth === undefined ? {} : { bandwidth }),
  };
  if (key && pack.inner && whole.report)
    yield* signPack(pack.inner, key, whole.report.indexHash, reading);
  return (actions) => ({ ...whole, actions });
}

/**
 * Packs a tree into one file of znippy's format, compressed and hashed. The file gets its name when it
 * is whole; what had it before is replaced. The same tree, level and zstd version give the same bytes.
 *
 * ```ts
 * const { copied, bytes } = await pack("site", "site.znippy", { level: 9 });
 * ```
 *
 * `copy(from, "pack:FILE")` is the same with zstd's level 3.
 */
export function pack(
  from: Location,
  to: Location,
  options: PackOptions = {},
): Task<Transfer, Action> {
  const work = packWork(from, to, options);
  const engine = engineOf(options.runtime);
  return work.sign
    ? new StepsTask(engine, signedSteps(work, options), options)
    : new NativeTask(engine, work.verb(false), options);
}

/** `pack`, on this thread until it is done. */
export function packSync(from: Location, to: Location, options: PackOptions = {}): Transfer {
  const work = packWork(from, to, options);
  const engine = engineOf(options.runtime);
  return work.sign
    ? runSteps(engine, signedSteps(work, options), options)
    : runSync(engine, work.verb(true), options);
}

function unpackVerb(
  from: Location,
  to: Location,
  options: CopyOptions,
  waited: boolean,
): Verb<Transfer, Action> {
  const place = parseLocation(from);
  const tree = isFile(place) ? asPack(place) : place;
  return transferVerb(tree, parseLocation(to), options, false, waited);
}

/**
 * Copies what is in a pack (or an archive, by its name) into a directory: `copy("pack:FILE", to)`.
 * Every byte is proved before its file gets its name; entries that would leave the directory are error
 * rows, and the others are there.
 */
export function unpack(
  from: Location,
  to: Location,
  options: CopyOptions = {},
): Task<Transfer, Action> {
  return new NativeTask(engineOf(options.runtime), unpackVerb(from, to, options, false), options);
}

/** `unpack`, on this thread until it is done. */
export function unpackSync(from: Location, to: Location, options: CopyOptions = {}): Transfer {
  return runSync(engineOf(options.runtime), unpackVerb(from, to, options, true), options);
}
