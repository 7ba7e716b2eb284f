// `npm test`: set-up, build, then `bun test` with this script's arguments.

import { archivers, installPrograms } from "./packages.mjs";
import { build, setup } from "./setup.mjs";
import { bun, jobEnvironment, main, run } from "./tools.mjs";

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
  // More than five seconds on a busy machine are no failure. (bunfig.toml has no key for it, and what a
  // preload sets holds for the first file only.) A later --timeout among the arguments wins.
  return run(bun(), ["test", "--timeout", "30000", ...process.argv.slice(2)], {
    stdio: "inherit",
    env: jobEnvironment(),
  });
});
