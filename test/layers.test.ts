// Which file may use which (docs/architecture.md). A failure names the file, what it uses and the
// rule. Prefer changing the code to changing the tables below.

import { expect, test } from "bun:test";
import { Glob } from "bun";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, posix } from "node:path";

// Data flows left to right; a file may use its own layer and anything to the left of it.
const nativeLayers = ["base", "engine", "wire", "store", "tree", "verb", "abi"];

// Files of one layer that must not know each other, except for these shared ones.
const strangers: Record<string, readonly string[]> = {
  store: ["store", "open", "paths"],
  verb: ["verb", "pump", "run", "inflow", "cutter"],
};
// Files whose job is to know all their siblings: scheme → store, and the driver.
const gatherers = ["store/open", "verb/run"];

// A third-party or system header has one home.
const homes: Record<string, RegExp> = {
  "curl/": /^wire\/http/,
  libssh2: /^wire\/ssh/,
  archive: /^store\/archive/,
  "isa-l": /^store\/archive/,
  libdeflate: /^store\/archive/,
  lzma: /^store\/archive/,
  zlib: /^store\/archive/,
  zstd: /^store\/(crypt|pack)/,
  xxhash: /^store\/pack/,
  blake3: /^base\/hash/,
  "openssl/": /^(base\/(hash|seal)|wire\/sign)/,
  "linux/io_uring": /^engine\/io_uring/,
  "sys/eventfd": /^engine\/wake/,
  threads: /^engine\//,
  pthread: /^engine\//,
};

// The same for lib/: names of files, or folders with a slash. One row is one layer.
const libLayers = [
  ["native/", "async/", "types", "types-blocks", "types-transfer"],
  ["errors", "latency", "signals", "body"],
  ["check"],
  ["engine"],
  [
    "pattern",
    "secret",
    "minisign",
    "archive",
    "crypt",
    "http",
    "location",
    "request-steps",
    "request",
  ],
  ["runtime"],
  [
    "parts",
    "merge",
    "task",
    "telemetry",
    "sort",
    "rows",
    "order",
    "steps",
    "signature",
    "entries",
    "talk",
    "rows-blocks",
  ],
  ["plan", "two-way"],
  [
    "credential",
    "look",
    "store",
    "globs",
    "list",
    "compare",
    "manifest",
    "scan",
    "sync",
    "pack",
    "repair",
    "verify",
    "blocks",
  ],
  [
    "compare-all",
    "assess",
    "infer",
    "shuffle",
    "watching",
    "watch",
    "watch-sync",
    "snapshot",
    "shared",
  ],
  ["index"],
  ["cli/"],
];
// What may stand after `from` besides a path: everywhere in lib/, and only below lib/cli/.
const platform = /^(node:|bun$|bun:)/;
const cliPackages = ["commander", "picocolors"];
// Listening for Ctrl-C begins before anybody knows whether the library is needed.
const cliUses = ["index.ts", "signals.ts", "async/index.ts"];
// Those who come second run on unheard; async/ aborts them and waits.
const secondRace = /\bPromise\.(race|any)\(/;

function nativeRank(path: string): number {
  return nativeLayers.indexOf(path.includes("/") ? path.split("/")[0]! : "abi");
}

/** "store/archive_gzip.c" → "archive": files of one family know each other. */
function family(path: string): string {
  return path.split("/")[1]!.split(/[_.]/)[0]!;
}

async function wrongIncludes(root: string): Promise<string[]> {
  const wrong: string[] = [];
  const headers = new Map<string, string[]>();
  for await (const file of new Glob("**/*.{c,h}").scan(root)) {
    if (file.startsWith("include/") || file.startsWith("third_party/")) continue;
    if (nativeRank(file) < 0) wrong.push(`${file}: its folder is no layer`);
    const text = await Bun.file(join(root, file)).text();
    const own: string[] = [];
    for (const [, quote, target] of text.matchAll(/^\s*#\s*include\s*(["<])([^">]+)/gm)) {
      if (quote === "<") {
        const home = Object.entries(homes).find(([name]) => target!.startsWith(name))?.[1];
        if (home && !home.test(file)) wrong.push(`${file}: <${target}> belongs to ${home.source}`);
      } else if (target === "copse.h") {
        continue;
      } else if (!target!.includes("/")) {
        wrong.push(`${file}: write ${target} with its folder`);
      } else {
        own.push(target!);
        if (nativeRank(target!) > nativeRank(file)) wrong.push(`${file}: ${target} is downstream`);
        else if (isStranger(file, target!)) wrong.push(`${file}: ${target} is a stranger`);
      }
    }
    if (file.endsWith(".h")) headers.set(file, own);
  }
  return wrong.concat(cycles(headers)).toSorted();
}

function isStranger(file: string, target: string): boolean {
  const layer = file.split("/")[0]!;
  const shared = strangers[layer];
  if (!shared || !target.startsWith(`${layer}/`) || family(target) === family(file)) return false;
  return !shared.includes(family(target)) && !gatherers.includes(`${layer}/${family(file)}`);
}

function libRank(path: string): number {
  return libLayers.findIndex((names) =>
    names.some((name) => (name.endsWith("/") ? path.startsWith(name) : path === `${name}.ts`)),
  );
}

async function wrongImports(root: string): Promise<string[]> {
  const wrong: string[] = [];
  const files = new Map<string, string[]>();
  const transpiler = new Bun.Transpiler({ loader: "ts" });
  for await (const file of new Glob("**/*.ts").scan(root)) {
    // What the packaging step writes is nobody's source.
    if (/^(declarations|native\/prebuilt)\/|\.d\.ts$/.test(file)) continue;
    if (libRank(file) < 0) wrong.push(`${file}: it is in no layer`);
    const text = await Bun.file(join(root, file)).text();
    if (!file.startsWith("async/") && secondRace.test(text))
      wrong.push(`${file}: several works at once are of async/`);
    const own: string[] = [];
    for (const { path } of transpiler.scanImports(text.replace(/^#!.*/, ""))) {
      const inCli = file.startsWith("cli/");
      if (path === "bun:ffi" && !file.startsWith("native/"))
        wrong.push(`${file}: bun:ffi belongs to native/`);
      if (!path.startsWith(".")) {
        const known = platform.test(path) || (inCli && cliPackages.includes(path));
        if (!known) wrong.push(`${file}: the library has no package ${path} at run time`);
        continue;
      }
      const target = posix.join(dirname(file), path);
      own.push(target);
      if (target.startsWith("native/prebuilt/")) continue;
      if (target.startsWith("../")) {
        if (target !== "../package.json") wrong.push(`${file}: ${target} is outside lib/`);
      } else if (libRank(target) > libRank(file)) wrong.push(`${file}: ${target} is downstream`);
      else if (file.startsWith("async/") && !target.startsWith("async/"))
        wrong.push(`${file}: async/ stands alone`);
      else if (inCli && !target.startsWith("cli/") && !cliUses.includes(target))
        wrong.push(`${file}: the command uses index.ts, not ${target}`);
    }
    files.set(file, own);
    if (file === "index.ts" && !isContents(text))
      wrong.push("index.ts: it is a table of contents, only `export … from`");
  }
  return wrong.concat(cycles(files)).toSorted();
}

function isContents(text: string): boolean {
  const code = text.replace(/\/\*[^]*?\*\/|\/\/.*$/gm, "");
  return code.replace(/export\s+(type\s+)?(\*|\{[^}]*\})\s*from\s*"[^"]+";?/g, "").trim() === "";
}

/** Every file that can reach itself, as one line per circle. */
function cycles(uses: ReadonlyMap<string, readonly string[]>): string[] {
  const found = new Set<string>();
  const done = new Set<string>();
  const visit = (file: string, trail: readonly string[]): void => {
    const at = trail.indexOf(file);
    if (at >= 0) {
      const circle = trail.slice(at);
      const first = circle.indexOf([...circle].toSorted()[0]!);
      const turned = [...circle.slice(first), ...circle.slice(0, first)];
      found.add(`${turned.join(" → ")} → ${turned[0]}: a circle`);
    } else if (!done.has(file)) {
      for (const next of uses.get(file) ?? []) visit(next, [...trail, file]);
      done.add(file);
    }
  };
  for (const file of uses.keys()) visit(file, []);
  return [...found];
}

const root = join(import.meta.dir, "..");

test("native files only use what is upstream", async () => {
  expect(await wrongIncludes(join(root, "native"))).toEqual([]);
});

test("lib files only use what is upstream", async () => {
  expect(await wrongImports(join(root, "lib"))).toEqual([]);
});

/** Writes files into a folder of their own, hands it to `check`, removes it. */
async function planted<T>(
  files: Record<string, string>,
  check: (root: string) => Promise<T>,
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "copse-layers-"));
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    return await check(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("each native rule catches a planted fault", async () => {
  const wrong = await planted(
    {
      "base/path.c": '#include "engine/pool.h"\n',
      "base/span.h": '#include "span2.h"\n',
      "store/file.c":
        '#include "store/memory.h"\n#include "store/store.h"\n#include "store/file.h"\n',
      "store/open.c": '#include "store/memory.h"\n',
      "store/archive_gzip.c": '#include "store/archive.h"\n#include <zlib.h>\n',
      "verb/list.c": '#include "verb/run.h"\n#include "verb/scan.h"\n#include <curl/curl.h>\n',
      "tree/a.h": '#include "tree/b.h"\n',
      "tree/b.h": '#include "tree/a.h"\n',
      "extra/x.c": "",
      "abi.c": '#include "verb/run.h"\n#include "copse.h"\n',
    },
    wrongIncludes,
  );
  expect(wrong).toEqual([
    "base/path.c: engine/pool.h is downstream",
    "base/span.h: write span2.h with its folder",
    "extra/x.c: its folder is no layer",
    "store/file.c: store/memory.h is a stranger",
    "tree/a.h → tree/b.h → tree/a.h: a circle",
    "verb/list.c: <curl/curl.h> belongs to ^wire\\/http",
    "verb/list.c: verb/scan.h is a stranger",
  ]);
});

test("each lib rule catches a planted fault", async () => {
  const wrong = await planted(
    {
      "errors.ts": 'import { x } from "./task.ts"; x();',
      "types.ts": 'import type { Task } from "./task.ts"; export type A = Task;',
      "task.ts": 'import { dlopen } from "bun:ffi"; import { red } from "picocolors"; dlopen(red);',
      "async/race.ts": 'import { x } from "../types.ts"; x();',
      "list.ts": 'import { y } from "./store.ts"; await Promise.race([y()]);',
      "store.ts": 'import { z } from "./list.ts"; z();',
      "cli/main.ts":
        '#!/usr/bin/env bun\nimport { red } from "picocolors"; import { x } from "../task.ts"; import { y } from "../index.ts"; red(x, y);',
      "index.ts":
        '/** Contents. */\nexport { list } from "./list.ts";\nexport type * from "./types.ts";\nconsole.log(1);',
      "extra.ts": 'import { x } from "../native/x.ts"; x();',
      "native/load.ts":
        'try { require("./prebuilt/linux-x64.ts"); } catch {}\nimport "node:path"; import p from "../../package.json"; p();',
    },
    wrongImports,
  );
  expect(wrong).toEqual([
    "async/race.ts: async/ stands alone",
    "cli/main.ts: the command uses index.ts, not task.ts",
    "errors.ts: task.ts is downstream",
    "extra.ts: ../native/x.ts is outside lib/",
    "extra.ts: it is in no layer",
    "index.ts: it is a table of contents, only `export … from`",
    "list.ts → store.ts → list.ts: a circle",
    "list.ts: several works at once are of async/",
    "task.ts: bun:ffi belongs to native/",
    "task.ts: the library has no package picocolors at run time",
  ]);
});
