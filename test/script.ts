// A program in a process of its own: what holds for exit codes, signals, unhandled rejections and
// whole lives of processes cannot be seen from inside this one.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tied } from "./servers/tied.ts";

export interface Outcome {
  readonly exitCode: number | null;
  readonly signalCode: NodeJS.Signals | number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ScriptOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Before the script's path; `["--hot"]`, `["test"]`. */
  readonly args?: readonly string[];
  /** Programs that start Bun: `["nice"]`. */
  readonly wrapper?: readonly string[];
  /** What the file is called. */
  readonly name?: string;
}

/** A script that runs, and its folder, which goes when the script is disposed of. */
export class Script implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "copse-script-"));
  readonly path: string;
  readonly process: Bun.Subprocess<"ignore", "pipe", "pipe">;
  readonly #lines: AsyncIterator<string>;
  readonly #stderr: Promise<string>;
  #stdout = "";

  /** `source` may use everything `copse` exports, and `root` for the checkout's own path. */
  constructor(
    source: string,
    { env = {}, args = [], wrapper = [], name = "script.ts" }: ScriptOptions = {},
  ) {
    const root = join(import.meta.dir, "..");
    this.path = join(this.folder, name);
    const index = JSON.stringify(join(root, "lib", "index.ts"));
    const names =
      "compare, compareSync, list, listSync, syncSync, Store, Runtime, CopseError, parseLocation";
    writeFileSync(this.path, `import { ${names} } from ${index};\n${source}`);
    this.process = Bun.spawn(
      // With default dispositions: a test that runs in the background ignores SIGINT, and so would
      // the script.
      tied(["env", "--default-signal=INT", ...wrapper, process.execPath, ...args, this.path]),
      {
        cwd: this.folder,
        env: { ...process.env, ...env },
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
      },
    );
    this.#lines = this.#read();
    this.#stderr = new Response(this.process.stderr).text();
  }

  async *#read(): AsyncGenerator<string, void, void> {
    let rest = "";
    for await (const text of this.process.stdout.pipeThrough(new TextDecoderStream())) {
      this.#stdout += text;
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      yield* lines;
    }
    if (rest !== "") yield rest;
  }

  /** The next line of its stdout. */
  async line(): Promise<string> {
    const { done, value } = await this.#lines.next();
    if (done) throw new Error(`the script ended: ${await this.#stderr}`);
    return value;
  }

  async outcome(): Promise<Outcome> {
    while (!(await this.#lines.next()).done);
    await this.process.exited;
    const { exitCode, signalCode } = this.process;
    return { exitCode, signalCode, stdout: this.#stdout, stderr: await this.#stderr };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill("SIGKILL");
    await this.process.exited;
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The whole run of a script. */
export async function run(source: string, options?: ScriptOptions): Promise<Outcome> {
  await using script = new Script(source, options);
  return await script.outcome();
}

/** What this process has open; only Linux can tell. */
export const openFiles = (): number => readdirSync("/proc/self/fd").length;

/** Threads of ours: how many Bun has is its own affair, and another number on each machine. */
export function threads(): number {
  return readdirSync("/proc/self/task").filter((id) => {
    try {
      return readFileSync(`/proc/self/task/${id}/comm`, "utf8").startsWith("copse-");
    } catch {
      return false; // it ended meanwhile
    }
  }).length;
}

/** The same for the source of a script, where it is `threads()`. */
export const countThreads = `
  import * as fs from "node:fs";
  const threads = () => fs.readdirSync("/proc/self/task").filter((id) => {
    try { return fs.readFileSync("/proc/self/task/" + id + "/comm", "utf8").startsWith("copse-"); } catch { return false; }
  }).length;`;
