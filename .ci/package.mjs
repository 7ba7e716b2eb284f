// `npm run package`: the tarball, as `bun pm pack` makes it.

import { setup } from "./setup.mjs";
import { bun, jobEnvironment, main, root, run } from "./tools.mjs";

main(() => {
  setup();
  return run(bun(), ["pm", "pack", ...process.argv.slice(2)], {
    cwd: root,
    stdio: "inherit",
    env: jobEnvironment(),
  });
});
