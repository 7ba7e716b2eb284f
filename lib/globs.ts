// globSet: many globs asked at once. A question is a native call on this thread; the set is read
// when it is made, and what it learned of earlier texts makes later ones faster.

import { argumentError, CopseError, codeName, showValue } from "./errors.ts";
import { Code, GlobsAnswer, GlobsKey, GlobsKind } from "./native/abi.ts";
import { native, type Native } from "./native/ffi.ts";
import { Record } from "./native/record.ts";
import { checkFields, checkGlobs } from "./check.ts";
import type { GlobSet, GlobSetOptions } from "./types.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
// Paths of one native call: enough to make the call cheap, few enough to stay in the cache.
const CHUNK = 4096;
// Paths up to this long are put into the buffer byte by byte, where they are ASCII: it takes a
// nanosecond a character, and no string of all of them has to be made first. Longer ones are joined.
const SHORT = 40;
const none: readonly number[] = Object.freeze([]);
let text = new Uint8Array(4096);
let answers = new Uint8Array(4096);

const closing = new FinalizationRegistry((id: number) => native().copse_globs_close(id));

function requestOf(patterns: readonly string[], options: GlobSetOptions): Uint8Array {
  checkGlobs("patterns", patterns);
  checkFields("options", options, ["kind", "nocase", "dot"]);
  const { kind = "path", nocase = false, dot = true } = options;
  if (kind !== "path" && kind !== "name")
    throw argumentError("kind", `must be one of path, name, not ${showValue(kind)}`);
  for (const [name, value] of Object.entries({ nocase, dot }))
    if (typeof value !== "boolean")
      throw argumentError(name, `must be true or false, not ${showValue(value)}`);
  const record = new Record()
    .number(GlobsKey.KIND, kind === "name" ? GlobsKind.NAMES : GlobsKind.PATHS)
    .number(GlobsKey.NOCASE, Number(nocase))
    .number(GlobsKey.DOT, Number(dot));
  for (const pattern of patterns) record.text(GlobsKey.PATTERN, pattern);
  return record.end();
}

class Globs implements GlobSet {
  readonly length: number;
  readonly #native: Native = native();
  readonly #bytes: number; // of the answer to one path
  #id: number;
  /** Answers of a set of at most 32 globs, by their bits: most paths match the same few. */
  readonly #lists = new Map<number, readonly number[]>();

  constructor(patterns: readonly string[], options: GlobSetOptions) {
    const request = requestOf(patterns, options);
    this.length = patterns.length;
    this.#bytes = 8 * (Math.floor(patterns.length / 64) + 1);
    const id = new BigUint64Array(1);
    const sentence = new Uint8Array(512);
    const code = this.#native.copse_globs_open(
      request,
      request.length,
      id,
      sentence,
      sentence.length,
    );
    if (code < 0)
      throw new CopseError(
        codeName(code),
        decoder.decode(sentence.subarray(0, sentence.indexOf(0))),
      );
    this.#id = Number(id[0]);
    closing.register(this, this.#id, this);
  }

  test(path: string): boolean;
  test(paths: readonly string[]): boolean[];
  test(paths: string | readonly string[]): boolean | boolean[] {
    return this.#flags(paths, GlobsAnswer.ANY);
  }

  all(path: string): boolean;
  all(paths: readonly string[]): boolean[];
  all(paths: string | readonly string[]): boolean | boolean[] {
    return this.#flags(paths, GlobsAnswer.ALL);
  }

  match(path: string): readonly number[];
  match(paths: readonly string[]): (readonly number[])[];
  match(paths: string | readonly string[]): readonly number[] | (readonly number[])[] {
    if (typeof paths === "string") {
      this.#ask(paths, GlobsAnswer.BITS, this.#bytes);
      return this.#list(new Uint32Array(answers.buffer, 0, this.#bytes / 4), 0);
    }
    // oxlint-disable-next-line unicorn/no-new-array -- of that length, so that it need not grow
    const lists = new Array<readonly number[]>(lengthOf(paths));
    this.#each(paths, GlobsAnswer.BITS, this.#bytes, (from, to) => {
      const words = new Uint32Array(answers.buffer, 0, ((to - from) * this.#bytes) / 4);
      const step = this.#bytes / 4;
      for (let i = from, at = 0; i < to; i++, at += step) lists[i] = this.#list(words, at);
    });
    return lists;
  }

  [Symbol.dispose](): void {
    closing.unregister(this);
    if (this.#id) this.#native.copse_globs_close(this.#id);
    this.#id = 0;
  }

  #flags(paths: string | readonly string[], answer: number): boolean | boolean[] {
    if (typeof paths === "string") {
      this.#ask(paths, answer, 1);
      return answers[0] === 1;
    }
    // oxlint-disable-next-line unicorn/no-new-array -- of that length, so that it need not grow
    const flags = new Array<boolean>(lengthOf(paths));
    this.#each(paths, answer, 1, (from, to) => {
      for (let i = from; i < to; i++) flags[i] = answers[i - from] === 1;
    });
    return flags;
  }

  #each(
    paths: readonly string[],
    answer: number,
    bytes: number,
    take: (from: number, to: number) => void,
  ): void {
    let areShort = true;
    for (let from = 0; from < paths.length; from += CHUNK) {
      const to = Math.min(from + CHUNK, paths.length);
      let written: number = areShort ? putShort(paths, from, to) : -1;
      areShort = written >= 0;
      if (!areShort) written = putJoined(paths.slice(from, to));
      this.#answer(written, to - from, answer, bytes);
      take(from, to);
    }
  }

  /** The answers are in `answers` then. */
  #ask(path: string, answer: number, bytes: number): void {
    this.#answer(put(path), 1, answer, bytes);
  }

  /** Of what is in `text`. */
  #answer(written: number, count: number, answer: number, bytes: number): void {
    if (answers.length < count * bytes) answers = new Uint8Array(count * bytes);
    const code = this.#native.copse_globs_match(
      this.#id,
      text,
      written,
      count,
      answer,
      answers,
      answers.length,
    );
    if (code >= 0) return;
    if (code === Code.CLOSED) throw new CopseError("CLOSED", "the glob set was disposed");
    if (code === Code.ARGUMENT) throw argumentError("paths", "must hold strings without NUL");
    throw new CopseError(codeName(code), "out of memory while matching globs");
  }

  #list(words: Uint32Array, at: number): readonly number[] {
    if (this.length <= 32) {
      const bits = words[at]!;
      if (bits === 0) return none;
      let list = this.#lists.get(bits);
      if (!list) {
        if (this.#lists.size === 1024) this.#lists.clear(); // a set that matches at random
        this.#lists.set(bits, (list = indexes(words, at, 1)));
      }
      return list;
    }
    return indexes(words, at, this.#bytes / 4);
  }
}

function lengthOf(paths: readonly string[]): number {
  if (!Array.isArray(paths))
    throw argumentError("paths", `must be a string or an array of them, not ${showValue(paths)}`);
  return paths.length;
}

function refuse(path: unknown): never {
  throw argumentError("paths", `must hold strings, not ${showValue(path)}`);
}

/** Bytes written to `text`. */
function put(joined: string): number {
  if (text.length < joined.length * 3) text = new Uint8Array(joined.length * 3);
  return encoder.encodeInto(joined, text).written;
}

function putJoined(paths: readonly string[]): number {
  for (const path of paths) if (typeof path !== "string") refuse(path);
  return put(paths.join("\0"));
}

/** -1: there is one that is not short, or not ASCII. */
function putShort(paths: readonly string[], from: number, to: number): number {
  const most = (to - from) * (SHORT + 1);
  if (text.length < most) text = new Uint8Array(most);
  const into = text;
  let at = 0;
  for (let i = from; i < to; i++) {
    const path = paths[i]!;
    if (typeof path !== "string") refuse(path);
    const { length } = path;
    if (length > SHORT) return -1;
    let seen = 0;
    for (let k = 0; k < length; k++) {
      const code = path.charCodeAt(k);
      seen |= code;
      into[at + k] = code;
    }
    if (seen > 127) return -1;
    at += length;
    into[at++] = 0;
  }
  return at - 1; // no NUL after the last one
}

function indexes(words: Uint32Array, at: number, count: number): readonly number[] {
  const list: number[] = [];
  for (let i = 0; i < count; i++)
    for (let bits = words[at + i]!; bits !== 0; bits &= bits - 1)
      list.push(i * 32 + 31 - Math.clz32(bits & -bits));
  return list.length > 0 ? Object.freeze(list) : none;
}

/**
 * A set of globs that is asked as one: which of them match a path, whether any or all do, for one
 * path or an array in one native call.
 *
 * ```ts
 * const sources = globSet(["**\/*.ts", "**\/*.c", "test/**"]);
 * sources.match("test/glob.ts"); // [0, 2]
 * ```
 */
export function globSet(patterns: readonly string[], options: GlobSetOptions = {}): GlobSet {
  return new Globs(patterns, options);
}
