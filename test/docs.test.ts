// The examples of the documentation, run as written.
//
// ```sh blocks: lines that begin with `$ ` are commands, run in order in one shell in which `copse` is
// the command; what stands below a command is its output, errors included. `[...]` in it stands for
// anything within a line, a line that is only `[...]` for any number of lines. A command without
// output below it must only run: status 0 or 1. ```ts blocks are programs that must end well; a
// ```output block right after one is what it prints. All type-check together. Blocks of other kinds,
// and ones whose first line of the fence says `no-run`, are only read by people.
//
// Each block has a folder of its own, in which `examples/` is a copy.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isSanitized } from "./patience.ts";

const root = join(import.meta.dir, "..");
const pages = ["README.md", "docs/cli.md", "docs/api.md", "docs/async.md"].filter((page) =>
  existsSync(join(root, page)),
);

interface Block {
  /** Page and line, to find it by. */
  readonly name: string;
  readonly kind: string;
  readonly text: string;
  readonly output: string | undefined;
}

interface Command {
  readonly line: string;
  readonly output: string;
}

function blocksOf(page: string): Block[] {
  const text = readFileSync(join(root, page), "utf8");
  const fences = [...text.matchAll(/^```([^\n]*)\n([^]*?)^```$/gm)];
  return fences.map((fence, at) => {
    const next = fences[at + 1];
    const between = next && text.slice(fence.index + fence[0].length, next.index);
    const isFollowed = next?.[1] === "output" && between?.trim() === "";
    return {
      name: `${page}:${text.slice(0, fence.index).split("\n").length}`,
      kind: fence[1]!.trim(),
      text: fence[2]!,
      output: isFollowed ? next[2] : undefined,
    };
  });
}

function commandsOf(text: string): Command[] {
  const commands: { line: string; output: string }[] = [];
  for (const line of text.trimEnd().split("\n")) {
    if (line.startsWith("$ ")) commands.push({ line: line.slice(2), output: "" });
    else if (commands.length === 0) throw new Error(`begin with a command: ${line}`);
    else commands.at(-1)!.output += `${line}\n`;
  }
  return commands;
}

/** Whether the text is what the example promises. */
function matches(text: string, promised: string): boolean {
  const pattern = promised
    .trimEnd()
    .split("\n")
    .map((line) =>
      line === "[...]"
        ? "(?:.*\\n)*?"
        : `${line.split("[...]").map(RegExp.escape).join("[^\\n]*")}\\n`,
    )
    .join("");
  return new RegExp(`^${pattern}$`).test(text.trimEnd() === "" ? "" : `${text.trimEnd()}\n`);
}

const blocks = pages.flatMap(blocksOf);
const shellBlocks = blocks.filter(({ kind }) => kind === "sh");
const programs = blocks.filter(({ kind }) => kind === "ts");
const folder = mkdtempSync(join(tmpdir(), "copse-docs-"));

beforeAll(() => {
  const bin = join(folder, "bin");
  mkdirSync(bin);
  writeFileSync(
    join(bin, "copse"),
    `#!/bin/sh\nexec '${process.execPath}' '${join(root, "lib/cli/main.ts")}' "$@"\n`,
  );
  chmodSync(join(bin, "copse"), 0o755);
  // `import "copse"` means this checkout, as it would mean the installed package.
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(root, join(folder, "node_modules", "copse"));
  symlinkSync(join(root, "node_modules", "bun-types"), join(folder, "node_modules", "bun-types"));
  symlinkSync(join(root, "node_modules", "@types"), join(folder, "node_modules", "@types"));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A fresh folder for the block, and the environment of somebody who installed copse. */
function place(name: string): { cwd: string; env: Record<string, string | undefined> } {
  const cwd = join(folder, name.replace(/\W+/g, "-"));
  cpSync(join(root, "examples"), join(cwd, "examples"), { recursive: true });
  // Two files of one size that were copied within one tick of the clock would pass for one file.
  utimesSync(join(cwd, "examples", "right", "trees", "hazel.md"), new Date(), new Date(2025, 5, 1));
  const { NO_COLOR: _, FORCE_COLOR: __, ...own } = process.env;
  return { cwd, env: { ...own, PATH: `${join(folder, "bin")}:${own["PATH"]}`, LC_ALL: "C.UTF-8" } };
}

describe("commands of the documentation", () => {
  test.each(shellBlocks.map((block) => [block.name, block] as const))("%s", async (name, block) => {
    const commands = commandsOf(block.text);
    // A record separator before and a status after each; `$?` is the one of the command before.
    const script = commands.map(
      ({ line }) => `printf '\\036'; (exit $status)\n${line}\nstatus=$?; printf '\\037%s' $status`,
    );
    const child = Bun.spawn(["bash", "-c", `exec 2>&1; status=0\n${script.join("\n")}`], {
      ...place(name),
      stdin: "ignore",
    });
    const parts = (await child.stdout.text()).split("\x1e").slice(1);
    expect(parts).toHaveLength(commands.length);
    for (const [at, { line, output }] of commands.entries()) {
      const [said = "", status] = parts[at]!.split("\x1f");
      if (output === "")
        expect({ line, said, status }).toEqual({
          line,
          said,
          status: expect.stringMatching(/^[01]$/),
        });
      else if (!matches(said, output)) expect(`$ ${line}\n${said}`).toBe(`$ ${line}\n${output}`);
    }
  });
});

describe("programs of the documentation", () => {
  const files = programs.map((block) => [block.name, block] as const);

  test.each(files)("%s", async (name, block) => {
    const { cwd, env } = place(name);
    writeFileSync(join(cwd, "example.ts"), block.text);
    const child = Bun.spawn([process.execPath, "example.ts"], {
      cwd,
      env,
      stderr: "pipe",
      stdin: "ignore",
    });
    const [out, err, status] = await Promise.all([
      child.stdout.text(),
      child.stderr.text(),
      child.exited,
    ]);
    expect({ status, err }).toEqual({ status: 0, err: "" });
    if (block.output !== undefined && !matches(out, block.output)) expect(out).toBe(block.output);
  });

  // Once is enough; under a sanitizer tsc would take minutes to say the same.
  test.skipIf(programs.length === 0 || isSanitized)("type-check as a user's would", async () => {
    const checked = join(folder, "checked");
    mkdirSync(checked);
    for (const [at, { name, text }] of programs.entries()) {
      // Each is a module of its own, whatever it imports.
      writeFileSync(
        join(checked, `${at}-${name.replace(/\W+/g, "-")}.ts`),
        `${text}\nexport {};\n`,
      );
    }
    const own = JSON.parse(readFileSync(join(root, "tsconfig.json"), "utf8"));
    const { noUnusedLocals: _, noUnusedParameters: __, ...compilerOptions } = own.compilerOptions;
    compilerOptions.paths = {
      copse: [join(root, "lib", "index.ts")],
      "copse/async": [join(root, "lib", "async", "index.ts")],
    };
    writeFileSync(
      join(checked, "tsconfig.json"),
      JSON.stringify({ compilerOptions, include: ["*.ts"] }),
    );
    const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
    const child = Bun.spawn([process.execPath, tsc], { cwd: checked, stdin: "ignore" });
    // What the library itself is told is test/house.test.ts's concern.
    const said = (await child.stdout.text()).split("\n");
    expect(said.filter((line) => /^\d+-|^error/.test(line))).toEqual([]);
  });
});

test("every name of copse/async has an example in docs/async.md", async () => {
  const code = programs
    .filter(({ name }) => name.startsWith("docs/async.md"))
    .map(({ text }) => text);
  const names = Object.keys(await import("../lib/async/index.ts"));
  const isShown = (name: string): boolean =>
    code.some((text) =>
      new RegExp(`import \\{[^}]*\\b${name}\\b[^}]*\\} from "copse/async"`).test(text),
    );
  // What others throw is no name to begin with.
  expect(names.filter((name) => name !== "ClosedError" && !isShown(name))).toEqual([]);
});

test("every name that docs/zsync.md gives is there", async () => {
  const page = readFileSync(join(root, "docs/zsync.md"), "utf8");
  const [copse, asynchronous] = await Promise.all([
    import("../lib/index.ts"),
    import("../lib/async/index.ts"),
  ]);
  const scopes: readonly object[] = [copse, asynchronous, globalThis, await import("node:events")];
  const rows = page.split("\n## Left out")[0]!.matchAll(/^\| `.*\| (.*) \|$/gm);
  const given = [...rows].flatMap(([, here]) => Array.from(here!.matchAll(/`([^`]+)`/g)));
  // Classes, functions and their members; options, fields and modules are written otherwise.
  const names = given.map(([, name]) => name!).filter((name) => /^[A-Z][\w.]*(\(\))?$/.test(name));
  expect(names.length).toBeGreaterThan(30);
  const isThere = (name: string): boolean =>
    scopes.some((scope) => {
      let at: unknown = scope;
      for (const part of name.replace("()", "").split("."))
        at = at === null || at === undefined ? undefined : (at as Record<string, unknown>)[part];
      return at !== undefined;
    });
  // Types leave nothing to look at.
  const types = ["Task", "Infinity", "Worker", "AsyncLocalStorage"];
  expect(names.filter((name) => !types.includes(name) && !isThere(name))).toEqual([]);
});
