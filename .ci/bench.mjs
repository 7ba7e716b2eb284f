// `npm run bench [name ...]`: set-up, build, then bench/<name>.bench.ts, all of them by default.

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { installPrograms } from "./packages.mjs";
import { build, setup } from "./setup.mjs";
import { bun, isProgram, jobEnvironment, main, root, run, Trouble } from "./tools.mjs";

main(() => {
  setup();
  build();
  const all = readdirSync(join(root, "bench"))
    .filter((name) => name.endsWith(".bench.ts"))
    .toSorted();
  // Names come first; from the first option on, everything goes to the bench.
  const given = process.argv.slice(2);
  const end = given.findIndex((word) => word.startsWith("-"));
  const names = end < 0 ? given : given.slice(0, end);
  const options = end < 0 ? [] : given.slice(end);
  const unknown = names.filter((name) => !all.includes(`${name}.bench.ts`));
  if (unknown.length > 0) throw new Trouble(`no such bench: ${unknown.join(", ")}`);
  const chosen = names.length > 0 ? names.map((name) => `${name}.bench.ts`) : all;
  // Elsewhere than on Debian fd has its own name. Without them their rows are left out.
  if (chosen.includes("walk.bench.ts"))
    installPrograms(isProgram("fd") ? ["rg"] : ["fd", "rg"], { required: false });
  const codes = chosen.map((name) =>
    run(bun(), [join("bench", name), ...options], { stdio: "inherit", env: jobEnvironment() }),
  );
  return Math.max(0, ...codes);
});
