// `npm run format`: every formatter, in place.

import { installPrograms, nativeSources } from "./packages.mjs";
import { setup } from "./setup.mjs";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { bun, main, root, run, zig } from "./tools.mjs";

main(() => {
  setup();
  installPrograms(["clang-format"]);
  const tests = ["test/native", "test/fuzz"].filter((name) => existsSync(join(root, name)));
  const c = [
    ...nativeSources().map((path) => `native/${path}`),
    ...tests.flatMap((folder) =>
      readdirSync(join(root, folder)).map((name) => `${folder}/${name}`),
    ),
  ].filter((path) => /\.[ch]$/.test(path));
  const folders = ["lib", "test", "bench", ".ci"].filter((name) => existsSync(join(root, name)));
  const { program, env } = zig();
  const codes = [
    run("clang-format-19", ["-i", ...c]),
    run(bun(), ["node_modules/oxfmt/bin/oxfmt", "package.json", "tsconfig.json", ...folders]),
    run(program, ["fmt", "build.zig"], { env }),
  ];
  return Math.max(...codes);
});
