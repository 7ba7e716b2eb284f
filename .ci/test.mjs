// `npm test`: set-up, build, then `bun test` with this script's arguments. Says at the end which files
// took longest.

import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { archivers, installPrograms } from "./packages.mjs";
import { build, setup } from "./setup.mjs";
import { bun, jobEnvironment, main, root, run, say } from "./tools.mjs";

// What Linux alone mounts.
const fileSystems = process.platform === "linux" ? ["xfs", "btrfs"] : [];

main(() => {
  // Where nobody looks on, a check must not be left out because its tool is missing.
  setup({ programs: process.env.CI ? ["clang-format"] : [] });
  // Servers that the tests start, and what makes their archives. Where one cannot be had, its tests are left out and say so.
  installPrograms(
    [
      "git",
      "nginx",
      "openssl",
      "minisign",
      "strace",
      "rsync",
      ...fileSystems,
      "keyring",
      "bus",
      ...archivers,
    ],
    {
      required: Boolean(process.env.CI),
    },
  );
  // COPSE_LIB names a library that someone built another way.
  if (!process.env.COPSE_LIB) build();
  const timings = join(root, "build", "timings.json");
  mkdirSync(join(root, "build"), { recursive: true });
  rmSync(timings, { force: true });
  // A minute on a slow machine that is busy is no failure. (bunfig.toml has no key for it, and what a
  // preload sets holds for the first file only.) A later --timeout among the arguments wins.
  const ours = ["--timeout", "120000", "--timings", timings, "--update-timings"];
  const code = run(bun(), ["test", ...ours, ...process.argv.slice(2)], {
    stdio: "inherit",
    env: jobEnvironment(),
  });
  sayLongest(timings);
  return code;
});

function sayLongest(timings) {
  if (!existsSync(timings)) return;
  const files = Object.entries(JSON.parse(readFileSync(timings, "utf8")).files);
  if (files.length < 10) return;
  const longest = files.toSorted(([, left], [, right]) => right - left).slice(0, 10);
  const all = files.reduce((sum, [, milliseconds]) => sum + milliseconds, 0);
  const words = longest.map(([name, took]) => `${(took / 1000).toFixed(1)} ${name}`);
  say(`${files.length} files took ${(all / 1000).toFixed(0)} s, longest: ${words.join(", ")}`);
}
