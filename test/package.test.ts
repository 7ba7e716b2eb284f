// The way from the sources to somebody else's project: pack, install, type-check, run, compile.
// Packing happens in a copy of the checkout, because it puts files into lib/ for a moment.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isSanitized, within } from "./patience.ts";

const root = join(import.meta.dir, "..");
// Kept between runs for its build cache.
const copy = join(root, "build", "packing");
const platform = `${process.platform}-${process.arch}`;
const slow = within(300_000);

// What a project elsewhere looks like: outside the checkout, with a path that breaks careless code.
const elsewhere = realpathSync(mkdtempSync(join(tmpdir(), "copse-package-")));
const project = join(elsewhere, "ein Projekt für 木");
const bin = join(elsewhere, "bin");
const environment = cleanEnvironment();

function cleanEnvironment(): Record<string, string | undefined> {
  // The tests' own bun is first on PATH under its usual name. What names a library of ours, and what
  // npm told this process, is not passed on.
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(COPSE_LIB|NODE_PATH|npm_(package|lifecycle|config)_.*)$/.test(name),
  );
  return { ...Object.fromEntries(kept), PATH: `${bin}:${process.env.PATH}`, NO_COLOR: "1" };
}

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function run(program: string, args: readonly string[], cwd = project, env = environment): Ran {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd,
    env,
    encoding: "utf8",
  });
  if (error) throw error;
  return { code: status, out: stdout, err: stderr };
}

function mustRun(program: string, args: readonly string[], cwd = project): string {
  const ran = run(program, args, cwd);
  if (ran.code !== 0)
    throw new Error(`${program} ${args.join(" ")}: exit code ${ran.code}\n${ran.out}${ran.err}`);
  return ran.out + ran.err;
}

/** Writes files below a folder; a name's folders come with it. */
function write(folder: string, files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(folder, name, ".."), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
}

function refreshCopy(): void {
  mkdirSync(copy, { recursive: true });
  for (const name of readdirSync(copy))
    if (name !== ".zig-cache") rmSync(join(copy, name), { recursive: true, force: true });
  for (const name of readdirSync(root)) {
    if (["node_modules", ".git", ".zig-cache", "zig-out", "build", "bench"].includes(name))
      continue;
    cpSync(join(root, name), join(copy, name), { recursive: true });
  }
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
}

const program = `
import { compare, compareSync } from "copse";
import type { Comparison } from "copse";

const [left = "", right = ""] = process.argv.slice(2);
const sync: Comparison = compareSync(left, right);
void compare(left, right).then((result) => {
  const paths: string[] = result.differences.map((difference) => difference.path);
  console.log(JSON.stringify([result.equal, sync.equal, paths.toSorted()]));
});
`;
const answer = '[false,false,["changed.txt","new.txt"]]';

const strict = {
  target: "esnext",
  module: "preserve",
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  noUnusedLocals: true,
  noImplicitOverride: true,
  verbatimModuleSyntax: true,
  noEmit: true,
};

let tarball = "";
let contents: string[] = [];

// The sanitizer jobs build no package.
const once = isSanitized ? describe.skip : describe;

once("the package", () => {
  beforeAll(() => {
    mkdirSync(bin, { recursive: true });
    for (const name of ["bun", "bunx"]) symlinkSync(process.execPath, join(bin, name));
    mkdirSync(project);
    write(project, {
      "package.json": '{ "name": "elsewhere", "private": true, "type": "module" }',
      "use.ts": program,
      "a/same.txt": "same",
      "a/changed.txt": "one",
      "b/same.txt": "same",
      "b/changed.txt": "two",
      "b/new.txt": "new",
    });
    refreshCopy();
    mustRun("bun", ["pm", "pack", "--destination", elsewhere], copy);
    tarball = readdirSync(elsewhere).find((name) => name.endsWith(".tgz")) ?? "";
    contents = mustRun("tar", ["-tzf", join(elsewhere, tarball)], elsewhere)
      .trim()
      .split("\n");
  }, slow);

  afterAll(() => rmSync(elsewhere, { recursive: true, force: true }));

  test("holds the host's library, the sources, the declarations, the notices and nothing else", () => {
    const expected = /^package\/(package\.json|README\.md|LICENSE|THIRD_PARTY\.md|lib\/.*)$/;
    expect(contents.filter((name) => !expected.test(name))).toEqual([]);
    expect(contents.filter((name) => /test|bench|\.map$|\.log$/.test(name))).toEqual([]);
    const library = process.platform === "darwin" ? "libcopse.dylib" : "libcopse.so";
    for (const name of [
      "README.md",
      "LICENSE",
      "THIRD_PARTY.md",
      "lib/index.ts",
      "lib/index.d.ts",
      "lib/async/index.ts",
      "lib/async.d.ts",
      "lib/node.js",
      "lib/cli/main.ts",
      `lib/native/prebuilt/${platform}.ts`,
      `lib/native/prebuilt/${platform}/${library}`,
    ])
      expect(contents).toContain(`package/${name}`);
    expect(Bun.file(join(elsewhere, tarball)).size).toBeLessThan(8 << 20);
  });

  test("leaves the checkout as it was", () => {
    for (const name of [
      "lib/native/prebuilt",
      "lib/declarations",
      "lib/index.d.ts",
      "lib/async.d.ts",
    ])
      expect(existsSync(join(copy, name))).toBeFalse();
  });

  test(
    "installs without running anything",
    () => {
      const said = mustRun("bun", ["add", join(elsewhere, tarball)]);
      expect(said).toContain("installed copse@");
      expect(said).not.toMatch(/postinstall|blocked/i);
      const { scripts } = JSON.parse(
        readFileSync(join(project, "node_modules/copse/package.json"), "utf8"),
      );
      expect(Object.keys(scripts ?? {}).filter((name) => /install|prepare/.test(name))).toEqual([]);
    },
    slow,
  );

  test("ships a library without the failing store, without paths of the machine that built it", () => {
    const library = readFileSync(
      join(installed(), `native/prebuilt/${platform}/libcopse.so`),
      "latin1",
    );
    expect(library).not.toContain(root);
    expect(library).not.toContain("fault_store");
  });

  test("type-checks under strict flags, with the DOM's types and with Bun's", () => {
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const checks = {
      "tsconfig.dom.json": {
        compilerOptions: { ...strict, types: [] },
        files: ["use.ts", "process.d.ts"],
      },
      "tsconfig.bun.json": {
        compilerOptions: { ...strict, lib: ["esnext"], types: ["bun-types"], skipLibCheck: true },
        files: ["use.ts"],
      },
    };
    write(project, { "process.d.ts": "declare const process: { argv: string[] };" });
    symlinkSync(join(root, "node_modules/bun-types"), join(project, "node_modules/bun-types"));
    for (const [name, config] of Object.entries(checks)) {
      write(project, { [name]: JSON.stringify(config) });
      mustRun("bun", [tsc, "-p", name]);
    }
  });

  test("runs", () => {
    expect(mustRun("bun", ["use.ts", "a", "b"]).trim()).toBe(answer);
  });

  test.each([
    [0, ["a", "a"]],
    [1, ["a", "b"]],
    [2, ["a", "missing"]],
  ])("`bunx copse compare` ends with %d", (code, sides) => {
    const ran = run("bunx", ["copse", "compare", ...sides]);
    expect([ran.code, ran.err.includes("    at ")]).toEqual([code, false]);
  });

  test.each([["--compile"], ["--compile --bytecode"], ["--target=bun"]])(
    "works after `bun build %s`, from another working directory",
    (flags) => {
      const isProgram = flags.startsWith("--compile");
      const made = join(elsewhere, `made ${flags.replaceAll(/\W+/g, "-")}`);
      mustRun("bun", [
        "build",
        ...flags.split(" "),
        "use.ts",
        ...(isProgram ? ["--outfile", made] : ["--outdir", made]),
      ]);
      const sides = ["a", "b"].map((side) => join(project, side));
      // The program must not find the library by luck where it was built.
      const hidden = join(elsewhere, "hidden");
      const modules = join(project, "node_modules");
      cpSync(modules, hidden, { recursive: true, verbatimSymlinks: true });
      rmSync(modules, { recursive: true });
      try {
        const ran = isProgram
          ? run(made, sides, "/")
          : run("bun", [join(made, "use.js"), ...sides], "/");
        expect([ran.out.trim(), ran.err]).toEqual([answer, ""]);
      } finally {
        cpSync(hidden, modules, { recursive: true, verbatimSymlinks: true });
        rmSync(hidden, { recursive: true });
      }
    },
    slow,
  );

  test("says in one sentence that node is not enough", () => {
    const node = Bun.which("node", { PATH: process.env.PATH ?? "" });
    // Bun puts itself in node's place where node is missing.
    if (
      !node ||
      spawnSync(node, ["-p", "process.versions.bun ?? ''"], { encoding: "utf8" }).stdout.trim()
    ) {
      console.log("skipped: the import by node, because node is not installed");
      return;
    }
    const script = 'import("copse").catch((error) => console.log(error.message))';
    const { out } = run(node, ["--input-type=module", "-e", script]);
    expect(out).toMatch(/^copse runs on Bun [^\n]+\n$/);
  });

  test("says in one error where it looked when the library is missing", () => {
    rmSync(join(installed(), "native", "prebuilt"), { recursive: true });
    const script = `import { compareSync } from "copse"; try { compareSync("a", "b"); } catch (error) { console.log(JSON.stringify([error.name, error.code, error.message])); }`;
    write(project, { "missing.ts": script });
    const [name, code, message] = JSON.parse(mustRun("bun", ["missing.ts"]));
    expect([name, typeof code]).toEqual(["CopseError", "string"]);
    expect(message).toContain(platform);
    expect(message).toContain("COPSE_LIB");
    const ran = run("bunx", ["copse", "compare", "a", "b"]);
    expect(ran.code).toBe(2);
    expect(ran.err).toContain("COPSE_LIB");
    expect(ran.err).not.toContain("    at ");
  });
});

function installed(): string {
  return join(project, "node_modules", "copse", "lib");
}
