import { asNewPack, asPack, asPoured, isFile, parseLocation, type Place } from "./location.ts";
import { checkOptions } from "./check.ts";
import { fillRequest, packFields } from "./request.ts";
import { engineOf } from "./runtime.ts";
import { checkSign, openKey, readingOf, signPack } from "./signature.ts";
import { runSteps, StepsTask, type Steps } from "./steps.ts";
import { transferOf, transferVerb } from "./sync.ts";
import { conversation, Plugins } from "./talk.ts";
import { NativeTask, runSync, type Verb } from "./task.ts";
import { argumentError, CopseError } from "./errors.ts";
import { framesNow, framesOf, isEntries } from "./entries.ts";
import { PackFlags, Place as PlaceKey } from "./native/abi.ts";
import type {
  Action,
  CopyOptions,
  Location,
  PackEntry,
  PackOptions,
  SignOptions,
  Task,
  Transfer,
} from "./types.ts";

/** What a pack is made of. */
export type PackSource = Location | AsyncIterable<PackEntry> | Iterable<PackEntry>;

/** What is to be done, when all that was said is good. */
interface Work {
  readonly verb: (waited: boolean) => Verb<Transfer, Action>;
  readonly pack: Place;
  readonly sign: SignOptions | undefined;
}

/** The place of the new pack, and what it is told. */
function newPack(
  to: Location | WritableStream<Uint8Array>,
  options: PackOptions,
  plugins: Plugins | undefined,
): Place {
  // A pack of one kind is of that kind, as the original has it.
  const packageType = options.packageType ?? plugins?.typeId;
  const known = packageType === undefined ? options : { ...options, packageType };
  const fields = [...packFields(known)];
  if (plugins) fields.push(plugins.field());
  const isPoured = to instanceof WritableStream;
  const keeps = options.append === undefined ? 0 : PackFlags.KEEPS;
  fields.push([PlaceKey.PACK_FLAGS, keeps | (isPoured ? PackFlags.POURS : 0)]);
  return isPoured ? asPoured(fields) : asNewPack(parseLocation(to), fields);
}

/** What is left of the options for the verb. */
function copyingOf(options: PackOptions): CopyOptions {
  const {
    level: _l,
    compress: _c,
    packageType: _t,
    repo: _r,
    format: _f,
    seed: _s,
    append: _a,
    sign: _g,
    plugins: _p,
    ...copying
  } = options;
  return copying;
}

function packWork(
  from: PackSource,
  to: Location | WritableStream<Uint8Array>,
  options: PackOptions,
): Work {
  checkOptions(options);
  const plugins = options.plugins && new Plugins(options.plugins);
  const pack = newPack(to, options, plugins);
  const copying = copyingOf(options);
  const source = isEntries(from) ? from : parseLocation(from);
  const sink = to instanceof WritableStream && !options.dryRun ? to : undefined;
  const work: Work = {
    verb: (waited) => {
      const verb = isEntries(source)
        ? fillVerb(source, pack, copying, waited)
        : transferVerb(source, pack, copying, false, waited);
      return { ...verb, ...conversation(plugins, sink) };
    },
    pack,
    sign: checkSign(options.sign),
  };
  if (work.sign && pack.inner?.scheme !== "file")
    throw new CopseError("UNSUPPORTED", "only packs in local files are signed", {
      location: pack.shown,
    });
  return work;
}

function fillVerb(
  entries: AsyncIterable<PackEntry> | Iterable<PackEntry>,
  pack: Place,
  options: CopyOptions,
  waited: boolean,
): Verb<Transfer, Action> {
  for (const name of ["include", "exclude", "links"] as const)
    if (options[name] !== undefined)
      throw argumentError(name, "is about trees: leave out what is not to be packed");
  const verb = transferOf(fillRequest(pack, options, waited));
  if (!waited) return { ...verb, feed: () => framesOf(entries) };
  if (!(Symbol.iterator in entries))
    throw argumentError("from", "has entries that come: packSync waits for nothing");
  return { ...verb, feed: () => framesNow(entries) };
}

function* signedSteps({ verb, pack, sign }: Work, options: PackOptions): Steps<Transfer, Action> {
  const key = sign && !options.dryRun ? yield* openKey(sign) : undefined;
  const whole = (yield { verb }) as Transfer; // as the verb answers
  for (const action of whole.actions) yield { part: action };
  // A timeout is of the packing.
  const { timeout: _, ...rest } = options;
  if (key && pack.inner && whole.report)
    yield* signPack(pack.inner, key, whole.report.indexHash, readingOf(rest));
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
 * `from` may be a sequence of files instead, each `{ path, data }`, which is asked for the next one
 * when there is room for it; `to` a stream, which gets the pack onward and is closed when it is whole.
 * `copy(from, "pack:FILE")` is the same with zstd's level 3.
 */
export function pack(
  from: PackSource,
  to: Location | WritableStream<Uint8Array>,
  options: PackOptions = {},
): Task<Transfer, Action> {
  const work = packWork(from, to, options);
  const engine = engineOf(options.runtime);
  return work.sign
    ? new StepsTask(engine, signedSteps(work, options), options)
    : new NativeTask(engine, work.verb(false), options);
}

/**
 * `pack`, on this thread until it is done. Nothing is waited for: entries and their data are there,
 * plugins answer at once, and the pack does not go to a stream.
 */
export function packSync(
  from: PackSource,
  to: Location | WritableStream<Uint8Array>,
  options: PackOptions = {},
): Transfer {
  if (to instanceof WritableStream)
    throw argumentError("to", "is a stream, which has to be waited for: use pack");
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
