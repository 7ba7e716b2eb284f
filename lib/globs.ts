// globSet: many globs asked at once. A question is a native call on this thread; the set is read
// when it is made, and what it learned of earlier texts makes later ones faster.

import { argumentError, CopseError, codeName, showValue } from "./errors.ts";
import { Code, GlobsAnswer, GlobsKey, GlobsKind } from "./native/abi.ts";
import { native, type Native } from "./native/ffi.ts";
import { Record } from "./native/record.ts";
import { checkFields, checkGlobs } from "./request.ts";
import type { GlobSet, GlobSetOptions } from "./types.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
// Paths of one native call: enough to make the call cheap, few enough to stay in the cache.
const CHUNK = 4096;
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
      this.#ask(paths, 1, GlobsAnswer.BITS, this.#bytes);
      return this.#list(new Uint32Array(answers.buffer, 0, this.#bytes / 4), 0);
    }
    const lists: (readonly number[])[] = [];
    this.#each(paths, GlobsAnswer.BITS, this.#bytes, (count) => {
      const words = new Uint32Array(answers.buffer, 0, (count * this.#bytes) / 4);
      for (let at = 0; at < words.length; at += this.#bytes / 4) lists.push(this.#list(words, at));
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
      this.#ask(paths, 1, answer, 1);
      return answers[0] === 1;
    }
    const flags: boolean[] = [];
    this.#each(paths, answer, 1, (count) => {
      for (let i = 0; i < count; i++) flags.push(answers[i] === 1);
    });
    return flags;
  }

  #each(
    paths: readonly string[],
    answer: number,
    bytes: number,
    take: (count: number) => void,
  ): void {
    if (!Array.isArray(paths))
      throw argumentError("paths", `must be a string or an array of them, not ${showValue(paths)}`);
    for (const path of paths)
      if (typeof path !== "string")
        throw argumentError("paths", `must hold strings, not ${showValue(path)}`);
    for (let at = 0; at < paths.length; at += CHUNK) {
      const some = paths.length <= CHUNK ? paths : paths.slice(at, at + CHUNK);
      this.#ask(some.join("\0"), some.length, answer, bytes);
      take(some.length);
    }
  }

  /** The answers are in `answers` then. */
  #ask(joined: string, count: number, answer: number, bytes: number): void {
    if (text.length < joined.length * 3) text = new Uint8Array(joined.length * 3);
    if (answers.length < count * bytes) answers = new Uint8Array(count * bytes);
    const { written } = encoder.encodeInto(joined, text);
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
