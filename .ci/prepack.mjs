// What a tarball holds besides the sources, made by `bun pm pack` and `npm pack` before they pack and
// removed by postpack.mjs after: the host's library and the declarations. Nothing is left to an
// install script on the other side.

import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { removePacked } from "./packed.mjs";
import { build, setup } from "./setup.mjs";
import { isMainScript, main, root, run, Trouble } from "./tools.mjs";

const lib = join(root, "lib");

function addLibrary() {
  const prefix = join(root, "build", "package");
  build(["-Dfault-store=false", "-Dstrip=true", "-p", prefix]);
  const platform = `${process.platform}-${process.arch}`;
  const file = process.platform === "darwin" ? "libcopse.dylib" : "libcopse.so";
  const prebuilt = join(lib, "native", "prebuilt");
  mkdirSync(join(prebuilt, platform), { recursive: true });
  copyFileSync(join(prefix, "lib", file), join(prebuilt, platform, file));
  // Written next to the library, not committed: an import of a file that is not there would break
  // every bundler run in a checkout. The path of an embedded file is relative after `bun build
  // --target=bun`, and dlopen would look it up in the working directory.
  writeFileSync(
    join(prebuilt, `${platform}.ts`),
    `import { isAbsolute, join } from "node:path";
// @ts-ignore a file, not a module: Bun gives its path and embeds it in a compiled program
import path from "./${platform}/${file}" with { type: "file" };

export default isAbsolute(path) ? path : join(import.meta.dir, path);
`,
  );
}

// Declarations lie in a folder of their own: beside the sources, an import of "./types.js" would
// lead the consumer's compiler to types.ts, and its strict flags would judge our sources.
function addDeclarations() {
  const folder = join(lib, "declarations");
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const project = join(root, ".ci", "tsconfig.declarations.json");
  if (run(process.execPath, [tsc, "-p", project, "--outDir", folder]) !== 0)
    throw new Trouble("the declarations could not be made");
  for (const name of readdirSync(folder, { recursive: true })) {
    if (!name.endsWith(".d.ts")) continue;
    const path = join(folder, name);
    const text = readFileSync(path, "utf8");
    writeFileSync(path, text.replace(/((?:from|import)\s*\(?\s*")(\.[^"]*)\.ts"/g, '$1$2.js"'));
  }
  // The internals name this type and nobody outside can reach it. A project without Bun's types does
  // not know the module it comes from.
  writeFileSync(join(folder, "native", "ffi.d.ts"), "export type Native = object;\n");
  for (const [entry, from] of [
    ["index.d.ts", "index.js"],
    ["async.d.ts", "async/index.js"],
  ])
    writeFileSync(
      join(lib, entry),
      `/// <reference lib="esnext.disposable" />\nexport * from "./declarations/${from}";\n`,
    );
}

if (isMainScript(import.meta.url))
  main(() => {
    setup();
    try {
      addLibrary();
      addDeclarations();
    } catch (error) {
      // A library left behind would be taken for the checkout's own.
      removePacked();
      throw error;
    }
  });
