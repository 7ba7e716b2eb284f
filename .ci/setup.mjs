// Makes a fresh clone ready to build: npm packages, system packages, BLAKE3's source. Each part is
// looked at on every run and costs milliseconds when there is nothing to do. Speaks on stderr only.

import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fetchBlake3 } from "./blake3.mjs";
import { removePacked } from "./packed.mjs";
import { installLibraries, installPrograms } from "./packages.mjs";
import {
  isMainScript,
  isProgram,
  main,
  patiently,
  root,
  run,
  say,
  Trouble,
  zig,
} from "./tools.mjs";

/** `programs`: what this job needs besides, by the names of packages.mjs. */
export function setup({ programs = [] } = {}) {
  installModules();
  installLibraries();
  installPrograms(programs);
  fetchBlake3();
}

/** `zig build` with these arguments; its own check takes 0.1 s when nothing changed. */
export function build(args = []) {
  // What an interrupted `bun pm pack` left would be loaded instead of this build.
  removePacked();
  const { program, env } = zig();
  const code = run(program, ["build", ...args], { env });
  if (code !== 0)
    throw new Trouble(`the build failed (zig build ${args.join(" ")})`.replace(" )", ")"));
}

function installModules() {
  const lockfile = join(root, "package-lock.json");
  const stamp = join(root, "node_modules", ".copse-lockfile");
  const digest = createHash("sha256").update(readFileSync(lockfile)).digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === digest) return;
  // npm writes this file last, so it is also the sign of an installation that was not cut short.
  const installed = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(lockfile).mtimeMs) {
    say("installing npm packages (half a minute, once)");
    const [program, ...args] = installCommand();
    if (!patiently(() => run(program, args) === 0))
      throw new Trouble(`${basename(program)} ${args.join(" ")} failed; its messages are above`);
  }
  writeFileSync(stamp, digest);
}

function installCommand() {
  const npm = ["ci", "--include=dev", "--include=optional", "--loglevel=error"];
  // Under `npm start` this is npm itself; under `bun run` it is Bun, which reads npm's lockfile.
  const parent = process.env.npm_execpath;
  if (parent && /npm-cli\.c?js$/.test(parent) && !process.versions.bun)
    return [process.execPath, parent, ...npm];
  if (process.versions.bun) return [process.execPath, "install", "--frozen-lockfile", "--no-save"];
  if (isProgram("npm")) return ["npm", ...npm];
  throw new Trouble("npm is missing; it comes with node, or run `bun run start` with Bun");
}

if (isMainScript(import.meta.url)) main(() => setup());
