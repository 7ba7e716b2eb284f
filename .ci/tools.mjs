// Where the tools of node_modules really are, and how they are run. Plain node or Bun, no packages:
// this is loaded before anything is installed.

import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, readdirSync, realpathSync, statSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(realpathSync(fileURLToPath(import.meta.url))));
const modules = join(root, "node_modules");

/** A sentence for the person at the keyboard; the scripts print it without a stack. */
export class Trouble extends Error {}

/** The set-up speaks on stderr only: stdout belongs to the job. */
export function say(sentence) {
  process.stderr.write(`copse: ${sentence}\n`);
}

/** Where on PATH a program is, or undefined. */
export function programPath(name) {
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

export function isProgram(name) {
  return programPath(name) !== undefined;
}

/** Runs a program, its output on stderr, and returns its exit code. */
export function run(program, args, options = {}) {
  const { status, signal, error } = spawnSync(program, args, {
    cwd: root,
    stdio: ["ignore", 2, 2],
    ...options,
  });
  if (error) throw new Trouble(`cannot run ${program}: ${error.message}`);
  return status ?? 128 + signalNumber(signal);
}

/** Runs a program and returns what it says on stdout, or undefined when it fails. */
export function ask(program, args, options = {}) {
  const { status, stdout } = spawnSync(program, args, {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
    ...options,
  });
  return status === 0 ? stdout : undefined;
}

/**
 * Does what needs somebody else's server, which may be busy or gone for a moment: again after a while
 * when it comes to nothing, and longer where nobody waits. What it comes to at last is given back.
 */
export function patiently(attempt) {
  for (const seconds of process.env.CI ? [5, 20, 60] : [3]) {
    const done = attempt();
    if (done) return done;
    say(`that came to nothing; once more in ${seconds} s`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, seconds * 1000);
  }
  return attempt();
}

/** What apt-get asks for again by itself. */
export const aptRetries = ["-o", "Acquire::Retries=5"];

export function signalNumber(signal) {
  return (
    { SIGHUP: 1, SIGINT: 2, SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGPIPE: 13, SIGTERM: 15 }[
      signal
    ] ?? 1
  );
}

/**
 * The real Bun. node_modules/.bin/bun is a stub until the package's install script has run, which
 * `--ignore-scripts` and Bun's own installer both prevent; the program then lies in its platform package.
 */
export function bun() {
  const placed = join(modules, "bun", "bin", "bun.exe");
  if (existsSync(placed) && statSync(placed).size > 1_000_000) return placed;
  const folder = join(modules, "@oven");
  const candidates = existsSync(folder)
    ? readdirSync(folder)
        .map((name) => join(folder, name, "bin", "bun"))
        .filter(existsSync)
    : [];
  const found = candidates.find((path) => ask(path, ["--version"]) !== undefined);
  if (!found) throw new Trouble("node_modules holds no Bun for this machine; `npm ci` installs it");
  return found;
}

/** zig as a program, not the package's node wrapper: 40 ms less, and no node needed. */
export function zig() {
  const program = join(modules, "@zigc", `${process.platform}-${process.arch}`, "bin", "zig");
  if (!existsSync(program))
    throw new Trouble("node_modules holds no zig for this machine; `npm ci` installs it");
  const env = { ...process.env, ZIG_LIB_DIR: join(modules, "@zigc", "lib") };
  // A sanitizer's runtime is for the program under test, not for the compiler.
  delete env.LD_PRELOAD;
  if (!env.HOME && !env.ZIG_GLOBAL_CACHE_DIR)
    env.ZIG_GLOBAL_CACHE_DIR = join(root, ".zig-cache", "global");
  return { program, env };
}

/** The environment for tests and jobs: the Bun of node_modules comes first on PATH. */
export function jobEnvironment() {
  return {
    ...process.env,
    PATH: [dirname(bun()), join(modules, ".bin"), process.env.PATH].join(delimiter),
  };
}

/** Is this module the script that was started, and not one that another imports? */
export function isMainScript(url) {
  return (
    process.argv[1] !== undefined &&
    realpathSync(process.argv[1]) === realpathSync(fileURLToPath(url))
  );
}

/** Runs a script's main function; a Trouble becomes one line and exit code 2. */
export function main(body) {
  Promise.resolve()
    .then(body)
    .then(
      (code) => process.exit(code ?? 0),
      (error) => {
        process.stderr.write(
          error instanceof Trouble ? `copse: ${error.message}\n` : `${error?.stack ?? error}\n`,
        );
        process.exit(2);
      },
    );
}
