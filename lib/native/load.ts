// Finds the shared library: COPSE_LIB, then the one a package brought along, then the checkout's
// own build.

import { existsSync } from "node:fs";
import { join } from "node:path";

/** Where the library may be, in order, and where it is. */
export interface Found {
  readonly path: string | undefined;
  readonly tried: readonly string[];
}

// A literal require behind a literal test: `bun build --compile` embeds the file, and a bundler on
// another platform leaves the branch out. In a checkout there is no such file, hence the try.
function packaged(): string | undefined {
  try {
    if (process.platform === "linux" && process.arch === "x64")
      // @ts-ignore made when the package is packed
      return (require("./prebuilt/linux-x64.ts") as { default: string }).default;
    if (process.platform === "linux" && process.arch === "arm64")
      // @ts-ignore made when the package is packed
      return (require("./prebuilt/linux-arm64.ts") as { default: string }).default;
    if (process.platform === "darwin" && process.arch === "arm64")
      // @ts-ignore made when the package is packed
      return (require("./prebuilt/darwin-arm64.ts") as { default: string }).default;
  } catch {
    // Not packaged for this platform.
  }
  return undefined;
}

export function findLibrary(): Found {
  const named = process.env.COPSE_LIB;
  if (named) return { path: existsSync(named) ? named : undefined, tried: [named] };
  const tried: string[] = [];
  const file = process.platform === "darwin" ? "libcopse.dylib" : "libcopse.so";
  const inPackage = packaged();
  const places = [
    inPackage ?? join(import.meta.dir, "prebuilt", `${process.platform}-${process.arch}`, file),
    join(import.meta.dir, "..", "..", "zig-out", "lib", file),
  ];
  for (const place of places) {
    tried.push(place);
    if (existsSync(place)) return { path: place, tried };
  }
  return { path: undefined, tried };
}
