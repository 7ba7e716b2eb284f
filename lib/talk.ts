// What native code says while it finishes a pack, and what it is answered (copse.h): files that
// plugins look into, and the pack itself where it goes to a stream.

import { argumentError, CopseError, showValue } from "./errors.ts";
import { Answer, Ask, Code, Place as PlaceKey, Said, SAID_HEAD } from "./native/abi.ts";
import { Record } from "./native/record.ts";
import type { PlaceField } from "./location.ts";
import { checkGlobs, whole } from "./check.ts";
import type { Verb } from "./task.ts";
import type { PackPlugin, PluginFields } from "./types.ts";

/** What is said, one after the other. */
type Heard =
  | {
      readonly kind: "file";
      readonly number: number;
      /** For each glob whether it matches. */
      readonly matches: (glob: number) => boolean;
      readonly path: string;
      readonly bytes: Uint8Array;
    }
  | { readonly kind: "pack"; readonly bytes: Uint8Array; readonly isLast: boolean };

const nothing = new Uint8Array(0);
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Takes pages as they come and makes of them what they say. */
class Ear {
  readonly #words: number;
  #kept: Uint8Array = nothing; // the beginning of a head
  #file: { file: Extract<Heard, { kind: "file" }>; filled: number } | undefined;
  #left: number | undefined; // of the pack

  constructor(globs: number) {
    this.#words = Math.floor(globs / 64) + 1;
  }

  *take(page: Uint8Array): Generator<Heard> {
    let rest = this.#kept.length > 0 ? Buffer.concat([this.#kept, page]) : page;
    this.#kept = nothing;
    for (;;) {
      if (this.#left !== undefined) {
        this.#left -= rest.length;
        yield { kind: "pack", bytes: rest, isLast: this.#left === 0 };
        return;
      }
      if (this.#file) {
        const { file, filled } = this.#file;
        const part = rest.subarray(0, file.bytes.length - filled);
        file.bytes.set(part, filled);
        this.#file.filled += part.length;
        rest = rest.subarray(part.length);
        if (this.#file.filled < file.bytes.length) return;
        this.#file = undefined;
        yield file;
      }
      const used = this.#head(rest);
      if (used === 0) {
        this.#kept = rest.slice();
        return;
      }
      rest = rest.subarray(used);
      if (rest.length === 0 && this.#left !== undefined) return;
    }
  }

  /** Bytes of a head that is whole; 0: more has to come. */
  #head(bytes: Uint8Array): number {
    if (bytes.length < SAID_HEAD) return 0;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const size = Number(view.getBigUint64(16, true));
    if (view.getUint32(0, true) === Said.PACK) {
      this.#left = size;
      return SAID_HEAD;
    }
    const bits = SAID_HEAD + this.#words * 8;
    const end = bits + view.getUint32(4, true);
    if (bytes.length < end) return 0;
    const globs = bytes.slice(SAID_HEAD, bits);
    const file = {
      kind: "file" as const,
      number: Number(view.getBigUint64(8, true)),
      matches: (glob: number) => (globs[glob >> 3]! & (1 << (glob & 7))) !== 0,
      path: utf8.decode(bytes.subarray(bits, end)),
      bytes: new Uint8Array(size),
    };
    this.#file = { file, filled: 0 };
    return end;
  }
}

// ── Plugins ──

interface Column {
  readonly name: string;
  readonly kind: "utf8" | "uint32";
}

/** Checked, with where its globs are among all. */
interface Checked {
  readonly plugin: PackPlugin;
  readonly first: number;
  readonly end: number;
  /** Which column each of its fields is. */
  readonly columns: ReadonlyMap<string, number>;
}

const reserved =
  /^(?:relative_path|chunk_seq|fdata_offset|compressed|uncompressed_size|blob_offset|blob_size|checksum|pkg_type|copse_.*)$/;

/** The plugins of one pack. */
export class Plugins {
  readonly #all: Checked[] = [];
  readonly #globs: string[] = [];
  readonly #columns: Column[] = [];

  constructor(plugins: readonly PackPlugin[]) {
    if (!Array.isArray(plugins))
      throw argumentError("plugins", `must be an array, not ${showValue(plugins)}`);
    for (const plugin of plugins) this.#add(plugin);
  }

  #add(plugin: PackPlugin): void {
    if (typeof plugin !== "object" || plugin === null)
      throw argumentError("plugins", `must hold objects, not ${showValue(plugin)}`);
    const { typeId, match, fields, extract } = plugin;
    whole("plugin.typeId", typeId, 0, 127);
    if (typeof extract !== "function")
      throw argumentError("plugin.extract", `must be a function, not ${showValue(extract)}`);
    if (typeof fields !== "object" || fields === null)
      throw argumentError("plugin.fields", `must be an object, not ${showValue(fields)}`);
    const first = this.#globs.length;
    this.#globs.push(...checkGlobs("plugin.match", match));
    const columns = new Map(
      Object.entries(fields).map(([name, kind]) => [name, this.#column(name, kind)] as const),
    );
    this.#all.push({ plugin, first, end: this.#globs.length, columns });
  }

  /** Fields of one name are one column, whosever they are. */
  #column(name: string, kind: "utf8" | "uint32"): number {
    if (kind !== "utf8" && kind !== "uint32")
      throw argumentError(
        `plugin.fields.${name}`,
        `must be one of utf8, uint32, not ${showValue(kind)}`,
      );
    if (name === "" || name.includes("\0") || reserved.test(name))
      throw argumentError("plugin.fields", `cannot have the name ${showValue(name)}`);
    const at = this.#columns.findIndex((column) => column.name === name);
    if (at < 0) return this.#columns.push({ name, kind }) - 1;
    if (this.#columns[at]!.kind !== kind)
      throw argumentError(`plugin.fields.${name}`, "is of two kinds, in two plugins");
    return at;
  }

  /** Of the only one. */
  get typeId(): number | undefined {
    return this.#all.length === 1 ? this.#all[0]!.plugin.typeId : undefined;
  }

  get globs(): number {
    return this.#globs.length;
  }

  field(): PlaceField {
    return [
      PlaceKey.PACK_ASK,
      (record) => {
        for (const glob of this.#globs) record.text(Ask.MATCH, glob);
        for (const { name, kind } of this.#columns)
          record.text(kind === "utf8" ? Ask.TEXT : Ask.NUMBER, name);
      },
    ];
  }

  /** Asks those whose globs match, in their order, and answers for all of them. */
  answer(
    file: Extract<Heard, { kind: "file" }>,
    say: (bytes: Uint8Array) => void,
  ): void | Promise<void> {
    const mine = this.#all.filter(({ first, end }) => {
      for (let glob = first; glob < end; glob++) if (file.matches(glob)) return true;
      return false;
    });
    const values = new Map<number, string | number>();
    let type: number | undefined;
    const finish = (error?: unknown): void => say(this.#record(file.number, type, values, error));
    const take = (
      { plugin, columns }: Checked,
      found: PluginFields | null | undefined | void,
    ): void => {
      if (!found) return;
      type ??= plugin.typeId;
      for (const [name, value] of Object.entries(found)) {
        const column = columns.get(name);
        if (column === undefined)
          throw new CopseError("ARGUMENT", `the plugin gave ${name}, which is none of its fields`);
        if (value === null || value === undefined || values.has(column)) continue;
        values.set(column, this.#value(column, value));
      }
    };
    try {
      const asked = eachOf(mine.values(), (one) => {
        const found = one.plugin.extract(file.path, file.bytes);
        return isPromise(found) ? found.then((late) => take(one, late)) : take(one, found);
      });
      return asked ? asked.then(() => finish(), finish) : finish();
    } catch (error) {
      return finish(error);
    }
  }

  #value(column: number, value: string | number): string | number {
    const { name, kind } = this.#columns[column]!;
    const isRight =
      kind === "utf8"
        ? typeof value === "string" && value.length <= 65_536
        : Number.isInteger(value) && Number(value) >= 0 && Number(value) < 2 ** 32;
    if (!isRight) throw new CopseError("ARGUMENT", `the plugin gave a ${name} that is no ${kind}`);
    return value;
  }

  #record(
    number: number,
    type: number | undefined,
    values: ReadonlyMap<number, string | number>,
    error: unknown,
  ): Uint8Array {
    const record = new Record().number(Answer.FILE, number);
    if (error !== undefined) {
      const code = error instanceof CopseError ? Code[error.code] : Code.CORRUPT;
      const why = error instanceof Error ? error.message : String(error);
      const sentence = `it is packed, but a plugin could not read it: ${why}`;
      return record
        .integer(Answer.CODE, BigInt(code))
        .text(Answer.SENTENCE, sentence.slice(0, 500))
        .end();
    }
    if (type !== undefined) record.number(Answer.TYPE, type);
    for (const [column, value] of values)
      record.record(Answer.COLUMN, (inner) => {
        inner.number(Answer.INDEX, column);
        if (typeof value === "string") inner.text(Answer.TEXT, value);
        else inner.number(Answer.NUMBER, value);
      });
    return record.end();
  }
}

function isPromise(value: unknown): value is Promise<PluginFields | null | undefined | void> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === "function";
}

/** One after the other; waits only where there is something to wait for. */
function eachOf<T>(
  items: Iterator<T>,
  work: (item: T) => void | Promise<void>,
): void | Promise<void> {
  for (let next = items.next(); !next.done; next = items.next()) {
    const wait = work(next.value);
    if (wait) return wait.then(() => eachOf(items, work));
  }
  return undefined;
}

// ── The pack itself ──

/** What a verb that makes a pack has besides, when there is somebody to listen. */
export function conversation(
  plugins: Plugins | undefined,
  sink: WritableStream<Uint8Array> | undefined,
): Pick<Verb<unknown, unknown>, "listen" | "failed"> {
  if (!plugins && !sink) return {};
  const ear = new Ear(plugins?.globs ?? 0);
  const writer = sink?.getWriter();
  const write = async (bytes: Uint8Array, isLast: boolean): Promise<void> => {
    if (!writer) return;
    await writer.ready;
    // What the sink does with an error it says itself; a closed one rejects.
    if (bytes.length > 0) await writer.write(bytes);
    if (isLast) await writer.close();
  };
  return {
    listen: (page, say) =>
      eachOf(ear.take(page), (heard) =>
        heard.kind === "pack" ? write(heard.bytes, heard.isLast) : plugins?.answer(heard, say),
      ),
    failed: (reason) => {
      writer?.abort(reason).catch(() => {});
    },
  };
}
