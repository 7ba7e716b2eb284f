// `npm run build`: set-up, then `zig build` with this script's arguments.

import { build, setup } from "./setup.mjs";
import { main } from "./tools.mjs";

main(() => {
  setup();
  build(process.argv.slice(2));
});
