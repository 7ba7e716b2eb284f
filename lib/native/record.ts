// The record format of copse.h: (key, kind, size, bytes)*, all little-endian.

import { Field } from "./abi.ts";

let scratch = new Uint8Array(4096);
let view = new DataView(scratch.buffer);
// Writes text at an offset, for which a TextEncoder wants a view made each time.
let texts = Buffer.from(scratch.buffer);

const secrets = new WeakSet<Uint8Array>();
let mayBeSecret = false; // most programs never hold one, and starting a task is to cost nothing more

/** What is left of a request that was handed over. True: it held a secret, and holds none now. */
export function forget(request: Uint8Array): boolean {
  if (!mayBeSecret || !secrets.delete(request)) return false;
  request.fill(0);
  return true;
}

/** Writes one record at a time into a buffer that is used again; `end` copies it out. */
export class Record {
  #at = 0;
  #isSecret = false;

  #room(bytes: number): void {
    if (this.#at + bytes <= scratch.length) return;
    const larger = new Uint8Array(Math.max(scratch.length * 2, this.#at + bytes));
    larger.set(scratch);
    if (this.#isSecret) scratch.fill(0);
    scratch = larger;
    view = new DataView(scratch.buffer);
    texts = Buffer.from(scratch.buffer);
  }

  #head(key: number, kind: number, size: number): void {
    view.setUint16(this.#at, key, true);
    view.setUint16(this.#at + 2, kind, true);
    view.setUint32(this.#at + 4, size, true);
    this.#at += 8;
  }

  number(key: number, value: number): this {
    this.#room(16);
    this.#head(key, Field.NUMBER, 8);
    view.setUint32(this.#at, value % 2 ** 32, true);
    view.setUint32(this.#at + 4, Math.floor(value / 2 ** 32), true);
    this.#at += 8;
    return this;
  }

  /** Signed or unsigned, all 64 bits. */
  integer(key: number, value: bigint): this {
    this.#room(16);
    this.#head(key, Field.NUMBER, 8);
    view.setBigUint64(this.#at, BigInt.asUintN(64, value), true);
    this.#at += 8;
    return this;
  }

  text(key: number, value: string): this {
    this.#room(8 + value.length * 3);
    const written = value === "" ? 0 : texts.write(value, this.#at + 8);
    this.#head(key, Field.TEXT, written);
    this.#at += written;
    return this;
  }

  bytes(key: number, value: Uint8Array): this {
    this.#room(8 + value.length);
    this.#head(key, Field.TEXT, value.length);
    scratch.set(value, this.#at);
    this.#at += value.length;
    return this;
  }

  /** Text or bytes of which nothing is kept here, nor in what `end` gave once it was handed over. */
  secret(key: number, value: string | Uint8Array): this {
    this.#isSecret = true;
    return typeof value === "string" ? this.text(key, value) : this.bytes(key, value);
  }

  /** Fields that were written before. */
  fields(record: Uint8Array): this {
    this.#room(record.length);
    if (secrets.has(record)) this.#isSecret = true;
    scratch.set(record, this.#at);
    this.#at += record.length;
    return this;
  }

  record(key: number, fill: (record: this) => void): this {
    this.#room(8);
    const begin = this.#at;
    this.#at += 8;
    fill(this);
    const end = this.#at;
    this.#at = begin;
    this.#head(key, Field.RECORD, end - begin - 8);
    this.#at = end;
    return this;
  }

  end(): Uint8Array {
    const record = scratch.slice(0, this.#at);
    if (this.#isSecret) {
      scratch.fill(0);
      secrets.add(record);
      mayBeSecret = true;
    }
    return record;
  }
}
