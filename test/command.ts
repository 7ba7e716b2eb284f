// The command as a process of its own, for the tests of lib/cli: in a folder made for the test file,
// with pipes, through a shell, or on a pseudo-terminal of Bun's.

import { afterAll } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

export const main = join(import.meta.dir, "..", "lib", "cli", "main.ts");

export interface Ran {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

export interface Seen {
  readonly status: number;
  /** Output and errors mixed, as the person sees them. */
  readonly seen: string;
}

export interface CommandPlace {
  readonly folder: string;
  readonly environment: Record<string, string | undefined>;
  copse(...args: string[]): Promise<Ran>;
  /** Through bash, in which `copse` is the command. */
  shell(line: string, more?: Record<string, string>): Promise<Ran>;
  onTerminal(
    args: readonly string[],
    options?: { columns?: number; more?: Record<string, string> },
  ): Promise<Seen>;
  /** Paths to contents; a trailing slash is a directory, `→ x` a link to x. Returns the name. */
  plant(name: string, files: Record<string, string | Uint8Array>): string;
}

/** A folder that is gone when the test file is done, and the ways to run the command in it. */
export function commandPlace(): CommandPlace {
  const folder = mkdtempSync(join(tmpdir(), "copse-cli-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const { NO_COLOR: _, FORCE_COLOR: __, COLUMNS: ___, ...own } = process.env;
  // Nobody's own settings.
  const none = join(folder, "no-settings");
  const settings = { XDG_CONFIG_HOME: none, XDG_CONFIG_DIRS: none };
  const environment = { ...own, ...settings, TERM: "xterm-256color", TZ: "UTC" };

  function run(command: string[], more: Record<string, string> = {}): Promise<Ran> {
    return finished(
      Bun.spawn(command, {
        cwd: folder,
        env: { ...environment, ...more },
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
      }),
    );
  }

  return {
    folder,
    environment,
    copse: (...args) => run([process.execPath, main, ...args]),
    shell(line, more) {
      const script = `copse() { "${process.execPath}" "${main}" "$@"; }\n${line}`;
      return run(["bash", "-c", script], more);
    },
    async onTerminal(args, { columns = 80, more = {} } = {}) {
      const decoder = new TextDecoder();
      let seen = "";
      // The last bytes can come after the end of the process: with its terminal they have all come.
      const closed = Promise.withResolvers<void>();
      const child = Bun.spawn([process.execPath, main, ...args], {
        cwd: folder,
        env: { ...environment, ...more },
        terminal: {
          cols: columns,
          rows: 24,
          data: (_terminal: unknown, bytes: Uint8Array) => {
            seen += decoder.decode(bytes, { stream: true });
          },
          exit: () => closed.resolve(),
        },
      });
      const [status] = await Promise.all([child.exited, closed.promise]);
      return { status, seen: seen.replaceAll("\r\n", "\n") };
    },
    plant(name, files) {
      const root = join(folder, name);
      mkdirSync(root, { recursive: true });
      for (const [path, content] of Object.entries(files)) {
        const full = join(root, path);
        mkdirSync(path.endsWith("/") ? full : dirname(full), { recursive: true });
        if (path.endsWith("/")) continue;
        if (typeof content === "string" && content.startsWith("→ ")) {
          symlinkSync(content.slice(2), full);
        } else {
          writeFileSync(full, content);
          utimesSync(full, 1_700_000_000, 1_700_000_000);
        }
      }
      return name;
    },
  };
}

/** What a process said, and how it ended. */
export async function finished(child: Bun.Subprocess<"ignore", "pipe", "pipe">): Promise<Ran> {
  const [out, err, status] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { status, out, err };
}

/** Lines of JSON: rows of several kinds, looked at by field. */
export function rows(lines: string): any[] {
  return lines
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

/** The paths of the rows, without the summary, sorted. */
export function paths(lines: string): string[] {
  return rows(lines)
    .filter(({ kind }) => kind !== "summary")
    .map(({ path }) => path)
    .toSorted();
}
