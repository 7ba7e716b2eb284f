// The programs of examples/, run as a person would.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { within } from "./patience.ts";
import { tied } from "./servers/tied.ts";

const root = join(import.meta.dir, "..");
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "copse-examples-"));
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(root, join(folder, "node_modules", "copse"));
  mkdirSync(join(folder, "from"));
  for (let i = 0; i < 50; i++) writeFileSync(join(folder, "from", `f${i}`), "x".repeat(i * 100));
  writeFileSync(
    join(folder, "serve-progress.ts"),
    readFileSync(join(root, "examples", "serve-progress.ts")),
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Said {
  readonly done?: boolean;
  readonly copied?: number;
  readonly transferred?: number;
  readonly files?: number;
  readonly code?: string;
}

test(
  "serve-progress tells of a copy over a WebSocket, and its end",
  async () => {
    await using server = Bun.spawn(tied([process.execPath, "serve-progress.ts", "from", "to"]), {
      cwd: folder,
      env: { ...process.env, PORT: "0" },
      stdout: "pipe",
      stderr: "inherit",
    });
    const { value } = await server.stdout.getReader().read();
    const address = new TextDecoder().decode(value).trim();
    expect(await (await fetch(address)).text()).toContain("/progress");
    const socket = new WebSocket(`${address.replace(/^http/, "ws")}progress`);
    await new Promise((resolve) => socket.addEventListener("open", resolve));
    const said: Said[] = [];
    const ended = new Promise<Said>((resolve) =>
      socket.addEventListener("message", ({ data }) => {
        const one = JSON.parse(String(data)) as Said;
        said.push(one);
        if (one.done !== undefined) resolve(one);
      }),
    );
    expect(await (await fetch(`${address}start`)).text()).toBe("started");
    const last = await ended;
    expect(last).toMatchObject({ done: true, copied: 50, transferred: 122_500 });
    for (const one of said.slice(0, -1)) expect(one.files).toBeLessThanOrEqual(51);
    socket.close();
    server.kill();
  },
  within(30_000),
);
