// `npm test`: set-up, build, then `bun test` with this script's arguments.

import { build, setup } from "./setup.mjs";
import { bun, jobEnvironment, main, root, run } from "./tools.mjs";

main(() => {
  setup();
  build();
  return run(bun(), ["test", ...process.argv.slice(2)], {
    cwd: root,
    stdio: "inherit",
    env: jobEnvironment(),
  });
});
