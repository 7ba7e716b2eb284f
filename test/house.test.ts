// What a machine can check about the sources, so that no reviewer has to. `npm run check` runs this
// file with the layers and the ABI.

import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { isSanitized, patience } from "./patience.ts";

// Compilers take their time on a machine that does other things too.
patience(120_000);
const root = join(import.meta.dir, "..");
const modules = join(root, "node_modules");
// The sanitizer jobs run every test file again; the sources are the same ones.
const once = isSanitized ? describe.skip : describe;

/** Everything that is committed or would be, by paths relative to the root. */
function ownFiles(): string[] {
  const listed = spawnSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 64 << 20,
  });
  const names =
    listed.status === 0
      ? listed.stdout.split("\n")
      : [...new Bun.Glob("**/*").scanSync({ cwd: root, dot: true })].filter(
          (path) =>
            !/(^|\/)(node_modules|\.git|\.zig-cache|zig-out|build|third_party)\//.test(path),
        );
  return names.filter((path) => path !== "" && existsSync(join(root, path))).toSorted();
}

function ask(program: string, args: readonly string[]): { status: number | null; said: string } {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 64 << 20,
  });
  return { status, said: error ? error.message : `${stdout}${stderr}`.trim() };
}

function expectClean(program: string, args: readonly string[], remedy: string): void {
  const { status, said } = ask(program, args);
  if (status !== 0) throw new Error(`${said}\n${remedy}`);
}

const files = ownFiles();

once("formatters and compilers agree", () => {
  const clangFormat = ["clang-format-19", "clang-format"].find((name) =>
    / version 19\./.test(ask(name, ["--version"]).said),
  );
  const c = files.filter((path) => /^(native|test\/native|test\/fuzz)\/.*\.[ch]$/.test(path));
  if (!clangFormat && !process.env.CI) {
    console.log("skipped: the format of C, because clang-format 19 is not installed");
  }
  test.skipIf(!clangFormat && !process.env.CI)("C is formatted", () => {
    expect(clangFormat).toBeString();
    expectClean(clangFormat!, ["--dry-run", "-Werror", ...c], "`npm run format` does it");
  });

  test("TypeScript and scripts are formatted", () => {
    const folders = ["lib", "test", "bench", ".ci"].filter((name) => existsSync(join(root, name)));
    const oxfmt = join(modules, "oxfmt", "bin", "oxfmt");
    const args = [oxfmt, "--list-different", "package.json", "tsconfig.json", ...folders];
    expectClean(process.execPath, args, "`npm run format` does it");
  });

  test("build.zig is formatted", () => {
    const zig = join(modules, "@zigc", `${process.platform}-${process.arch}`, "bin", "zig");
    expectClean(zig, ["fmt", "--check", "build.zig"], "`npm run format` does it");
  });

  test("oxlint has nothing to say", () => {
    const oxlint = join(modules, "oxlint", "bin", "oxlint");
    expectClean(process.execPath, [oxlint, "--quiet"], "");
  });

  test("tsc has nothing to say", () => {
    const tsc = join(modules, "typescript", "bin", "tsc");
    expectClean(process.execPath, [tsc, "--noEmit"], "");
  });
});

once("what is committed", () => {
  test("names no registry and no path of the machine it was made on", () => {
    // Spelt with spaces, so that this file does not hold what it looks for.
    const needles =
      "/work /,/root /,/tmp /bash,registry. npmjs,npmjs. org,pypi. org,crates. io,proxy. golang,deb. debian,archive. ubuntu"
        .replaceAll(" ", "")
        .split(",");
    const wrong = files.flatMap((path) => {
      const text = readFileSync(join(root, path), "latin1");
      return needles
        .filter((needle) => text.includes(needle))
        .map((needle) => `${path}: ${needle}`);
    });
    expect(wrong).toEqual([]);
  });

  test("is source: nothing built, nothing downloaded, nothing huge", () => {
    const wrong = files.filter(
      (path) =>
        /\.(so|dylib|a|o|node|exe|tgz)$/.test(path) ||
        path.startsWith("native/third_party/") ||
        statSync(join(root, path)).size > 1 << 20,
    );
    expect(wrong).toEqual([]);
  });

  test("has no file that tells two stories", () => {
    const sources = files.filter((path) => /\.(c|h|ts|mjs|zig)$/.test(path));
    const lines = (path: string) => readFileSync(join(root, path), "utf8").split("\n").length;
    expect(sources.filter((path) => lines(path) > 900)).toEqual([]);
  });

  test("locks packages by version and checksum, not by address", () => {
    const lock = readFileSync(join(root, "package-lock.json"), "utf8");
    expect(lock).not.toContain('"resolved"');
    const own = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    const ranges = Object.values({ ...own.dependencies, ...own.devDependencies });
    expect(ranges.filter((range) => !/^\d+\.\d+\.\d+$/.test(String(range)))).toEqual([]);
  });

  test("runs nothing when it is installed", () => {
    const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    const atInstall = ["preinstall", "install", "postinstall", "prepare"];
    expect(Object.keys(scripts).filter((name) => atInstall.includes(name))).toEqual([]);
  });
});

once("every public name is explained", () => {
  const index = join(root, "lib", "index.ts");
  test.skipIf(!existsSync(index))("by a doc comment where it is declared", () => {
    const missing: string[] = [];
    const contents = readFileSync(index, "utf8").replace(/\/\*[^]*?\*\/|\/\/.*$/gm, "");
    for (const [, names, from] of contents.matchAll(
      /export\s+(?:type\s+)?(\*|\{[^}]*\})\s*from\s*"\.\/([^"]+)"/g,
    )) {
      const text = readFileSync(join(root, "lib", from!), "utf8");
      const listed =
        names === "*" ? declared(text) : names!.replace(/[{}]|\btype\b/g, "").split(",");
      for (const entry of listed) {
        const name = entry.trim().split(/\s+as\s+/)[0]!;
        if (name !== "" && !isExplained(text, name)) missing.push(`${from}: ${name}`);
      }
    }
    expect(missing).toEqual([]);
  });
});

function declared(text: string): string[] {
  const pattern =
    /^export\s+(?:declare\s+)?(?:async\s+)?(?:function\*?|(?:abstract\s+)?class|interface|type|const)\s+(\w+)/gm;
  return [...text.matchAll(pattern)].map(([, name]) => name!);
}

function isExplained(text: string, name: string): boolean {
  const declaration = String.raw`export\s+(?:declare\s+)?(?:async\s+)?(?:function\*?|(?:abstract\s+)?class|interface|type|const)\s+${name}\b`;
  return new RegExp(String.raw`\*/\s*\n${declaration}`).test(text);
}
