// `npm run check`: formats, lints, types, layers and the ABI, without the long tests.

import { installPrograms } from "./packages.mjs";
import { build, setup } from "./setup.mjs";
import { bun, jobEnvironment, main, run } from "./tools.mjs";

main(() => {
  setup();
  installPrograms(["clang-format"]);
  build();
  const files = ["house", "layers", "abi"].map((name) => `test/${name}.test.ts`);
  return run(bun(), ["test", ...files], { stdio: "inherit", env: jobEnvironment() });
});
