// A directory that fails as a dying disk does: the kernel's own EIO, from a file system that is this
// program. Read only, and no deeper than one directory below its root.

import { dlopen } from "bun:ffi";
import { openSync, readSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { tied } from "./tied.ts";

/** Of a name: its size, and what goes wrong with it. */
export interface Ill {
  readonly size?: number;
  /** Reading from here on is EIO. */
  readonly failsAt?: number;
  /** It is listed, and looking at it is EIO. */
  readonly isUnseen?: boolean;
  /** It is a directory, and listing it is EIO. */
  readonly isShut?: boolean;
  /** No read of it returns before `releaseIll`. */
  readonly hangs?: boolean;
}

/** Whoever waits for a file that hangs is let go. */
export function releaseIll(at: string): void {
  statSync(join(at, RELEASE), { throwIfNoEntry: false });
}

const RELEASE = "..release";

/** A file system that is there until it is disposed of. */
export interface IllMount extends Disposable {
  /** Resolves when a read waits that does not return. */
  held(): Promise<void>;
}

/** Mounts it; a sentence where that cannot be done here. */
export async function mountIll(
  at: string,
  files: Readonly<Record<string, Ill>>,
): Promise<IllMount | string> {
  const child = Bun.spawn(tied([process.execPath, import.meta.path, at, JSON.stringify(files)]), {
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, COPSE_SANITIZER: "" },
  });
  const reader = child.stdout.getReader();
  const decoder = new TextDecoder();
  let said = "";
  const says = async (word: string): Promise<boolean> => {
    while (!said.includes(word)) {
      const { value } = await reader.read();
      if (value === undefined) return false;
      said += decoder.decode(value);
    }
    return true;
  };
  if (!(await says("mounted"))) {
    const complaint = (await child.stderr.text()).trim();
    return complaint || `its program ended with ${await child.exited} and said nothing`;
  }
  return {
    async held() {
      if (!(await says("held"))) throw new Error("the file system is gone");
    },
    [Symbol.dispose]() {
      releaseIll(at);
      Bun.spawnSync(["umount", "-l", at]);
      child.kill();
    },
  };
}

const [ENOENT, EIO, ENOSYS] = [2, 5, 38];
const [DIRECTORY, FILE] = [0o40755, 0o100644];
const [IN_HEADER, OUT_HEADER, ATTRIBUTES] = [40, 16, 88];
const MTIME = 1_700_000_000n;

/** A number is an errno, or all is well; nothing comes back where nothing is wanted, or not yet. */
type Answer = Uint8Array | number | undefined;

function words(bytes: number): DataView {
  return new DataView(new ArrayBuffer(bytes));
}

function putAttributes(into: DataView, at: number, node: bigint, ill: Ill | undefined): void {
  const isDirectory = ill === undefined || ill.isShut === true;
  into.setBigUint64(at, node, true);
  into.setBigUint64(at + 8, BigInt(ill?.size ?? 0), true);
  for (const time of [24, 32, 40]) into.setBigUint64(at + time, MTIME, true);
  into.setUint32(at + 60, isDirectory ? DIRECTORY : FILE, true);
  into.setUint32(at + 64, 1, true);
  into.setUint32(at + 80, 4096, true);
}

function serve(at: string, files: Readonly<Record<string, Ill>>): void {
  const names = Object.keys(files);
  const held: (() => void)[] = [];
  let isReleased = false;
  const illOf = (node: bigint): Ill | undefined => files[names[Number(node) - 2] ?? ""];

  const answers: Readonly<
    Record<number, (node: bigint, body: DataView, later: (answer: Answer) => void) => Answer>
  > = {
    1: function lookup(_, body) {
      const bytes = new Uint8Array(body.buffer, body.byteOffset, body.byteLength - 1);
      const name = new TextDecoder().decode(bytes);
      const index = names.indexOf(name);
      if (name === RELEASE) {
        isReleased = true;
        for (const go of held.splice(0)) go();
      }
      if (index < 0) return -ENOENT;
      const node = BigInt(index + 2);
      if (illOf(node)?.isUnseen) return -EIO;
      const out = words(40 + ATTRIBUTES);
      out.setBigUint64(0, node, true);
      putAttributes(out, 40, node, illOf(node));
      return new Uint8Array(out.buffer);
    },
    3: function getattr(node) {
      const out = words(16 + ATTRIBUTES);
      putAttributes(out, 16, node, illOf(node));
      return new Uint8Array(out.buffer);
    },
    14: () => new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]), // FOPEN_DIRECT_IO
    15: function read(node, body, later) {
      const ill = illOf(node) ?? {};
      const [from, size] = [Number(body.getBigUint64(8, true)), body.getUint32(16, true)];
      const end = Math.min(from + size, ill.size ?? 0, ill.failsAt ?? Infinity);
      if (from < (ill.size ?? 0) && from >= (ill.failsAt ?? Infinity)) return -EIO;
      const content = new Uint8Array(Math.max(0, end - from)).fill(65);
      if (!ill.hangs || isReleased) return content;
      held.push(() => later(content));
      writeSync(1, "held");
      return undefined;
    },
    17: () => new Uint8Array(80),
    18: () => new Uint8Array(0),
    25: () => new Uint8Array(0),
    26: function init(_, body) {
      const out = words(64);
      out.setUint32(0, 7, true);
      out.setUint32(4, Math.min(31, body.getUint32(4, true)), true);
      out.setUint32(20, 1 << 16, true);
      out.setUint32(24, 1, true);
      return new Uint8Array(out.buffer);
    },
    27: () => new Uint8Array(16),
    28: function readdir(node, body) {
      if (node !== 1n) return -EIO;
      const from = Number(body.getBigUint64(8, true));
      const parts: Uint8Array[] = [];
      for (const [i, name] of names.entries()) {
        if (i < from) continue;
        const text = new TextEncoder().encode(name);
        const out = words(24 + Math.ceil(text.length / 8) * 8);
        out.setBigUint64(0, BigInt(i + 2), true);
        out.setBigUint64(8, BigInt(i + 1), true);
        out.setUint32(16, text.length, true);
        out.setUint32(20, files[name]?.isShut ? 4 : 8, true);
        new Uint8Array(out.buffer).set(text, 24);
        parts.push(new Uint8Array(out.buffer));
      }
      return Buffer.concat(parts);
    },
    29: () => new Uint8Array(0),
    2: () => undefined, // forget wants no answer
    36: () => undefined,
    42: () => undefined,
  };

  const device = openSync("/dev/fuse", "r+");
  const libc = dlopen("libc.so.6", {
    mount: { args: ["cstring", "cstring", "cstring", "u64", "cstring"], returns: "int" },
  });
  const text = (value: string): Buffer => Buffer.from(`${value}\0`);
  const how = `fd=${device},rootmode=40000,user_id=0,group_id=0,allow_other`;
  if (libc.symbols.mount(text("ill"), text(at), text("fuse"), 6n, text(how)) !== 0)
    throw new Error("mount refuses a file system of a program");
  writeSync(1, "mounted");
  const buffer = Buffer.alloc(1 << 18);
  for (;;) {
    const size = readSync(device, buffer); // ENODEV ends it
    const view = new DataView(buffer.buffer, buffer.byteOffset, size);
    const answer = answers[view.getUint32(4, true)] ?? (() => -ENOSYS);
    const body = new DataView(buffer.buffer, buffer.byteOffset + IN_HEADER, size - IN_HEADER);
    const asked = view.getBigUint64(8, true);
    const reply = (given: Answer): void => {
      if (given === undefined) return;
      const bytes = typeof given === "number" ? new Uint8Array(0) : given;
      const head = words(OUT_HEADER);
      head.setUint32(0, OUT_HEADER + bytes.length, true);
      head.setInt32(4, typeof given === "number" ? given : 0, true);
      head.setBigUint64(8, asked, true);
      writeSync(device, Buffer.concat([new Uint8Array(head.buffer), bytes]));
    };
    reply(answer(view.getBigUint64(16, true), body, reply));
  }
}

if (import.meta.main) {
  const [at, files] = process.argv.slice(2) as [string, string]; // of mountIll
  try {
    serve(at, JSON.parse(files) as Record<string, Ill>);
  } catch (error) {
    // One line: why there is no such file system here.
    process.stderr.write(String(error));
    process.exit(1);
  }
}
