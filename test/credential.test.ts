// sync.md 49: the secret store first, then COPSE_<SERVICE>, else nothing. The store itself is the
// system's; here it is one that a test can fill, in place of Bun's.

import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { CopseError, credential } from "../lib/index.ts";

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

  test.each(["lib", "LIB", "http"])("the variable of %s means something else", async (service) => {
    process.env.COPSE_LIB ??= "";
    process.env.COPSE_HTTP = "canary";
    expect(await credential(service, { keyring: false })).toBeNull();
  });

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
