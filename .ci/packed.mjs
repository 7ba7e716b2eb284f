// What prepack.mjs adds to lib/ for a tarball. git ignores the same names.

import { rmSync } from "node:fs";
import { join } from "node:path";
import { root } from "./tools.mjs";

export function removePacked() {
  for (const path of ["native/prebuilt", "declarations", "index.d.ts", "async.d.ts"])
    rmSync(join(root, "lib", path), { recursive: true, force: true });
}
