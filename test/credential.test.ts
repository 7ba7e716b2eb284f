// sync.md 49: the secret store first, then COPSE_<SERVICE>, else nothing. The store is the system's: at the
// end a real one, before that one that a test can fill or lock, in place of Bun's.

import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CopseError, credential } from "../lib/index.ts";
import { isSanitized, within } from "./patience.ts";
import { Scratch } from "./trees.ts";

const names = ["COPSE_FILES_EXAMPLE_COM", "COPSE_LIB", "COPSE_HTTP", "COPSE_A_B_1"];
const before = names.map((name) => [name, process.env[name]] as const);

afterEach(() => {
  for (const [name, value] of before)
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
});

describe("credential", () => {
  test("is the environment's where the secret store has none", async () => {
    process.env.COPSE_FILES_EXAMPLE_COM = "canary";
    expect(await credential("files.example.com")).toBe("canary");
    expect(await credential("Files-Example.com", { keyring: false })).toBe("canary");
    expect(await credential("files.example.com", { environment: false })).toBeNull();
    delete process.env.COPSE_FILES_EXAMPLE_COM;
    expect(await credential("files.example.com")).toBeNull();
  });

  test("everything but letters and digits is an underscore", async () => {
    process.env.COPSE_A_B_1 = "canary";
    expect(await credential("a/b:1", { keyring: false })).toBe("canary");
  });

  test("an empty variable is none", async () => {
    process.env.COPSE_FILES_EXAMPLE_COM = "";
    expect(await credential("files.example.com", { keyring: false })).toBeNull();
  });

  test.each(["lib", "LIB", "http", "defaults.workers"])(
    "the variable of %s means something else",
    async (service) => {
      process.env.COPSE_LIB ??= "";
      process.env.COPSE_HTTP = "canary";
      process.env.COPSE_DEFAULTS_WORKERS = "3";
      expect(await credential(service, { keyring: false })).toBeNull();
      delete process.env.COPSE_DEFAULTS_WORKERS;
    },
  );

  test("the secret store comes first, under the name copse, and can be left out", async () => {
    process.env.COPSE_FILES_EXAMPLE_COM = "from the environment";
    const get = spyOn(Bun.secrets, "get").mockImplementation((async (what: {
      service: string;
      name: string;
    }) =>
      what.service === "copse" && what.name === "files.example.com"
        ? "from the store"
        : null) as typeof Bun.secrets.get);
    try {
      expect(await credential("files.example.com")).toBe("from the store");
      expect(await credential("files.example.com", { keyring: false })).toBe(
        "from the environment",
      );
      get.mockImplementation((() => Promise.reject(new Error("locked"))) as typeof Bun.secrets.get);
      expect(await credential("files.example.com")).toBe("from the environment");
    } finally {
      get.mockRestore();
    }
  });

  test("a bad name or option is an ARGUMENT", async () => {
    const wrong = [
      () => credential(""),
      () => credential(5 as unknown as string),
      () => credential("x", { keyring: "no" as unknown as boolean }),
      () => credential("x", { colour: "red" } as object),
    ];
    for (const ask of wrong) {
      const error = await ask().catch((e: unknown) => e);
      expect(error).toBeInstanceOf(CopseError);
      expect((error as CopseError).code).toBe("ARGUMENT");
    }
  });
});

const needed = ["dbus-run-session", "gnome-keyring-daemon"].filter((name) => !Bun.which(name));
if (needed.length > 0) console.log(`skipped: a real secret store needs ${needed.join(" and ")}`);

/** The daemon and its bus go into the background, and may stay there when their session is over. */
function stopAllOf(home: string): void {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      if (readFileSync(`/proc/${pid}/environ`, "utf8").includes(`HOME=${home}\0`))
        process.kill(Number(pid), "SIGKILL");
    } catch {
      // It is over, or of somebody else.
    }
  }
}

// Nothing of it is of the core, so one run of it is enough.
const once = test.skipIf(needed.length > 0 || isSanitized);
once("gnome-keyring, through Bun, on a bus of its own", () => {
  using scratch = new Scratch();
  const [home, run] = [scratch.at("home"), scratch.at("run")];
  for (const path of [home, run]) mkdirSync(path, { mode: 0o700 });
  const script = `import { credential } from "${join(import.meta.dir, "../lib/index.ts")}";
    const kept = { service: "copse", name: "files.example.com" };
    const ask = async (name, options) => console.log(String(await credential(name, options)));
    await ask("files.example.com");
    await Bun.secrets.set({ ...kept, value: "canary-keyring" });
    await ask("files.example.com");
    await ask("files.example.com", { keyring: false });
    await ask("files.example.com", { environment: false });
    await ask("other.example.com");
    await Bun.secrets.delete(kept);
    await ask("files.example.com");`;
  // The daemon wants a password for the store that it makes, on its input.
  const command = `printf x | gnome-keyring-daemon --unlock --components=secrets >&2; exec "$0" -e "$1"`;
  // Into files: a daemon that outlives its bus would hold a pipe open.
  const [said, complaints] = [scratch.at("said"), scratch.at("complaints")];
  const { exitCode } = Bun.spawnSync(
    ["dbus-run-session", "--", "sh", "-c", command, process.execPath, script],
    {
      stdin: "ignore",
      stdout: Bun.file(said),
      stderr: Bun.file(complaints),
      timeout: within(20_000),
      env: {
        ...process.env,
        HOME: home,
        XDG_RUNTIME_DIR: run,
        XDG_DATA_HOME: home,
        XDG_CACHE_HOME: home,
        COPSE_FILES_EXAMPLE_COM: "canary-environment",
      },
    },
  );
  stopAllOf(home);
  expect(exitCode, readFileSync(complaints, "utf8")).toBe(0);
  expect(readFileSync(said, "utf8").trim().split("\n")).toEqual([
    "canary-environment",
    "canary-keyring",
    "canary-environment",
    "canary-keyring",
    "null",
    "canary-environment",
  ]);
});
