// Where configuration files are.

import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";

export type Level = "system" | "user" | "project" | "named";

/** A file that is there. */
export interface ConfigFile {
  readonly path: string;
  readonly level: Level;
}

/** In the order in which they are read; the later one wins. Throws when the named one is not there. */
export function filesInForce(
  named: unknown,
  environment: NodeJS.ProcessEnv = process.env,
): ConfigFile[] {
  const home = homedir();
  // Of these variables only absolute paths count, and an empty one is one that is not set.
  const absolute = (name: string): string[] =>
    (environment[name] ?? "").split(":").filter((path) => path.startsWith("/"));
  const system = absolute("XDG_CONFIG_DIRS");
  if (system.length === 0) system.push("/etc");
  const own =
    process.platform === "darwin"
      ? join(home, "Library", "Application Support")
      : (absolute("XDG_CONFIG_HOME")[0] ?? join(home, ".config"));
  const usual: ConfigFile[] = [
    ...system.toReversed().map((path): ConfigFile => ({ path, level: "system" })),
    { path: own, level: "user" } as const,
  ].map(({ path, level }) => ({ path: join(path, "copse", "config.toml"), level }));
  const found = usual.filter(({ path }) => existsSync(path));
  const project = projectFile(home);
  if (project) found.push({ path: project, level: "project" });
  const more = typeof named === "string" ? named : environment["COPSE_CONFIG"];
  if (!more) return found;
  if (!existsSync(more)) throw new Error(`${more}: there is no such configuration file`);
  // Who names the project's own file takes it as his own.
  return [
    ...found.filter(({ path }) => resolve(path) !== resolve(more)),
    { path: more, level: "named" },
  ];
}

/** `copse.toml` here or above, no further than the repository or the home directory. */
function projectFile(home: string): string | undefined {
  let here: string;
  try {
    here = process.cwd();
  } catch {
    return undefined; // it was removed: there is nothing in it
  }
  for (let folder = here; ;) {
    const path = join(folder, "copse.toml");
    if (existsSync(path)) return relative(here, path);
    const above = dirname(folder);
    if (above === folder || folder === home || existsSync(join(folder, ".git"))) return undefined;
    folder = above;
  }
}
