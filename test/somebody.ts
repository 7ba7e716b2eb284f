// Programs that are run as somebody who is not root, for whom closed files are closed.

import { join } from "node:path";
import { isRoot } from "./trees.ts";

/** The beginning of a command that is run as nobody. */
export const nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
const library = join(import.meta.dir, "..", "lib", "index.ts");

/** What a program prints that has the library as `copse`. As root it is run by nobody. */
export function asSomebody(program: string, home: string): string {
  const { stdout, stderr, exitCode } = Bun.spawnSync(
    [
      ...(isRoot ? nobody : []),
      process.execPath,
      "-e",
      `const copse = await import(${JSON.stringify(library)});\n${program}`,
    ],
    { env: { ...process.env, HOME: home } },
  );
  if (exitCode !== 0) throw new Error(stderr.toString());
  return stdout.toString();
}

/** Whether that can be done here; says why not. */
export function canBeSomebody(home: string): boolean {
  try {
    return asSomebody(`console.log("here");`, home) === "here\n";
  } catch {
    console.log("skipped: closed files, because another user cannot run the library here");
    return false;
  }
}
