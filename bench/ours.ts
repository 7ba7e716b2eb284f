// copse in process, in a long-lived child of the bench: it is warm, and what it costs is not mixed
// with the bench's own memory and event loop. The bench talks to it with `Ours`.

import { readFileSync, writeFileSync } from "node:fs";
import type { CompareOptions, Difference, Location } from "../lib/index.ts";
import type { Run } from "./measure.ts";

export type Form = "await" | "sync";

export interface Question {
  readonly form: Form;
  readonly left: Location;
  readonly right: Location;
  readonly options?: Pick<
    CompareOptions,
    "stopAtFirst" | "by" | "sample" | "concurrency" | "emptyDirectories" | "cache" | "limits"
  >;
  /** Tell how far resident memory rose above what the process held before. */
  readonly memory?: boolean;
}

export interface Answer extends Run {
  readonly complete: boolean;
  readonly files: number;
  readonly differences: number;
  readonly offset?: number;
  readonly memoryBytes?: number;
}

/** The child process. One question at a time. */
export class Ours implements Disposable {
  #child: Bun.Subprocess<"ignore", "inherit", "inherit">;
  #settle: ((answer: Answer | { error: string }) => void) | undefined;
  #ended = false;

  constructor() {
    this.#child = Bun.spawn([process.execPath, import.meta.path], {
      stdio: ["ignore", "inherit", "inherit"],
      serialization: "json",
      ipc: (answer: Answer | { error: string }) => this.#settle?.(answer),
      onExit: (_child, code) => {
        this.#ended = true;
        this.#settle?.({ error: `the process that runs copse ended with exit code ${code}` });
      },
    });
  }

  async ask(question: Question): Promise<Answer> {
    if (this.#ended) throw new Error("the process that runs copse has ended");
    const { promise, resolve } = Promise.withResolvers<Answer | { error: string }>();
    this.#settle = resolve;
    this.#child.send(question);
    const answer = await promise;
    if ("error" in answer) throw new Error(answer.error);
    return answer;
  }

  [Symbol.dispose](): void {
    this.#settle = undefined;
    this.#child.disconnect();
  }
}

async function answer({ form, left, right, options, memory }: Question): Promise<Answer> {
  const bytesBefore = memory ? startPeak() : 0;
  // Not at the top: what the import costs belongs to copse, not to Bun.
  const { compare, compareSync } = await import("../lib/index.ts");
  const diskBefore = diskBytes();
  const cpuBefore = process.cpuUsage();
  const began = Bun.nanoseconds();
  const comparison =
    form === "await" ? await compare(left, right, options) : compareSync(left, right, options);
  const milliseconds = (Bun.nanoseconds() - began) / 1e6;
  const cpu = process.cpuUsage(cpuBefore);
  const first: Difference | undefined = comparison.differences[0];
  return {
    equal: comparison.equal,
    complete: comparison.complete,
    files: comparison.files,
    differences: comparison.differences.length,
    ...(first?.kind === "differs" && first.offset !== undefined ? { offset: first.offset } : {}),
    milliseconds,
    cpuMilliseconds: (cpu.user + cpu.system) / 1000,
    diskBytes: diskBytes() - diskBefore,
    ...(memory ? { memoryBytes: peakBytes() - bytesBefore } : {}),
  };
}

/** Forgets the highest resident size so far and returns the present one. Linux only. */
function startPeak(): number {
  Bun.gc(true);
  writeFileSync("/proc/self/clear_refs", "5");
  return statusBytes("VmRSS");
}

function peakBytes(): number {
  return statusBytes("VmHWM");
}

function statusBytes(field: string): number {
  const text = readFileSync("/proc/self/status", "utf8");
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0) * 1024;
}

/** What this process had the disk read so far; zero where the system does not tell. */
function diskBytes(): number {
  if (process.platform !== "linux") return 0;
  return Number(/^read_bytes: (\d+)/m.exec(readFileSync("/proc/self/io", "utf8"))?.[1] ?? 0);
}

if (import.meta.main) {
  process.on("message", (question: Question) => {
    answer(question).then(
      (found) => process.send!(found),
      (error: unknown) =>
        process.send!({ error: error instanceof Error ? error.message : String(error) }),
    );
  });
  process.on("disconnect", () => process.exit(0));
}
