// `npm test`: set-up, build, then `bun test` with this script's arguments.

import { build, setup } from "./setup.mjs";
import { bun, jobEnvironment, main, run } from "./tools.mjs";

main(() => {
  // Where nobody looks on, a check must not be left out because its tool is missing.
  setup({ programs: process.env.CI ? ["clang-format"] : [] });
  // COPSE_LIB names a library that someone built another way.
  if (!process.env.COPSE_LIB) build();
  return run(bun(), ["test", ...process.argv.slice(2)], {
    stdio: "inherit",
    env: jobEnvironment(),
  });
});
