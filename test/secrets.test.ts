// Secrets that a user hands over come out nowhere: not in the list of processes, nor on standard output
// or error, nor in errors, JSON, and what a console shows of an object.

import { afterAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import {
  compare,
  compareSync,
  CopseError,
  copy,
  list,
  parseLocation,
  Runtime,
  Store,
  type Location,
} from "../lib/index.ts";
import { commandPlace, main } from "./command.ts";
import { tied } from "./servers/tied.ts";
import { answer, redirect, startUnruly, type Script } from "./servers/unruly.ts";

const place = commandPlace();
const file = join(place.folder, "small");
writeFileSync(file, "hello");

const refused = (status: string): Script => answer("no", "", status);
const scripts: Record<string, Script> = {
  "/good": answer("hello"),
  "/other": answer("hallo"),
  "/401": refused("401 Unauthorized"),
  "/403": refused("403 Forbidden"),
  "/407": refused("407 Proxy Authentication Required"),
  "/500": refused("500 Broken"),
  "/cut": (reply) => {
    reply.write("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhel");
    reply.reset();
  },
  "/nonsense": (reply) => {
    reply.write("this is no HTTP\r\n\r\n");
    reply.end();
  },
  "/moved": redirect("http://someone:canary-away@127.0.0.1:1/x?sig=canary-moved&token=canary-t"),
};

/** Every process of the machine, by its arguments and its own name for itself. */
function processes(): string {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((id) =>
      ["cmdline", "comm"].map((what) => {
        try {
          return readFileSync(`/proc/${id}/${what}`, "latin1");
        } catch {
          return ""; // it is gone
        }
      }),
    )
    .join("\n");
}

describe("the command", () => {
  // Everything that takes a secret without its being an argument.
  writeFileSync(join(place.folder, "headers"), "X-Key: canary-header\nCookie: id=canary-cookie\n");
  writeFileSync(join(place.folder, "password"), "canary-zip\n");
  writeFileSync(
    join(place.folder, "config.toml"),
    '[http]\nproxy = "http://me:canary-proxy@127.0.0.1:9"\n',
  );
  const environment = { COPSE_MY_SERVER: "me:canary-password", COPSE_TOKEN: "canary-token" };
  const ways: readonly (readonly string[])[] = [
    ["--header", "@headers"],
    ["--credential", "my.server"],
    ["--credential", "token", "--header", "@headers"],
  ];

  test("the list of processes never has them, from the start of a command to its end", async () => {
    let open = (): void => {};
    const held: Script = async (reply) => {
      await new Promise<void>((resolve) => (open = resolve));
      await answer("hello")(reply);
    };
    using server = startUnruly({ "/held": held });
    for (const way of ways) {
      const before = server.asked.length;
      await using child = Bun.spawn(
        tied([process.execPath, main, "compare", file, `${server.url}/held`, ...way, "-vvv"]),
        {
          cwd: place.folder,
          env: { ...place.environment, ...environment },
          stdin: "ignore",
          stdout: "pipe",
          stderr: "pipe",
        },
      );
      let looks = 0;
      while (server.asked.length === before) {
        expect(child.exitCode).toBeNull();
        expect(processes()).not.toContain("canary");
        looks += 1;
        await Bun.sleep(1);
      }
      // The server has them, and the command waits: it is looked at once more in the midst of its work.
      expect(JSON.stringify(server.asked.at(-1))).toMatch(/canary|Basic/);
      const seen = processes();
      expect(seen).toContain("/held");
      expect(seen).not.toContain("canary");
      expect(looks).toBeGreaterThan(0);
      open();
      const said = (await child.stdout.text()) + (await child.stderr.text());
      expect(await child.exited).toBe(0);
      expect(said).not.toContain("canary");
    }
  });

  test("standard output and error never have them, whatever the server does", async () => {
    using server = startUnruly(scripts);
    const paths = ["/good", "/other", "/401", "/403", "/500", "/cut", "/nonsense", "/moved"];
    const lines = paths.flatMap((path) =>
      [["--json"], ["-vvv"]].map((how, at) => {
        const way = ways[at]!;
        return `copse compare ${file} ${server.url}${path} --retries 0 ${[...way, ...how].join(" ")}`;
      }),
    );
    lines.push(
      `copse ls ${server.url}/403/ ${ways[2]!.join(" ")} --jsonl`,
      `copse compare ${file} ${server.url}/good --config config.toml --retries 0 -vvv`,
      "copse config show --config config.toml --json",
      "copse doctor --config config.toml",
      `copse compare archive:${file} ${place.folder} --password-file password -vvv --json`,
    );
    // Said by the user in a location, and repeated to nobody.
    const said = server.url.replace("//", "//me:canary-url@");
    for (const path of ["/good", "/403", "/none"])
      lines.push(`copse compare ${file} '${said}${path}?sig=canary-sig' --retries 0 -vvv --json`);
    const { out, err } = await place.shell(lines.join("\n"), environment);
    expect(out).toContain('"equal":true');
    expect(err).toContain("403");
    expect(`${out}${err}`).not.toContain("canary");
    expect(JSON.stringify(server.asked)).toContain("canary-header");
  });
});

describe("the library", () => {
  const fields = {
    headers: { "X-Key": "canary-header", Cookie: "canary-cookie" },
    username: "me",
    password: "canary-password",
    retries: 0,
  };
  const errors: unknown[] = [];
  const server = startUnruly(scripts);
  afterAll(() => server[Symbol.dispose]());

  /** All ways in which somebody looks at a thing. */
  function looks(thing: unknown): string {
    const deep = { depth: Infinity, showHidden: true, getters: true };
    const texts = [Bun.inspect(thing), inspect(thing, deep), String(thing)];
    try {
      texts.push(JSON.stringify(thing) ?? "");
    } catch {
      // What has a circle in it has no JSON.
    }
    if (thing instanceof Error) {
      texts.push(thing.message, thing.stack ?? "", JSON.stringify({ ...thing }));
      if (thing.cause !== undefined) texts.push(looks(thing.cause));
    }
    return texts.join("\n");
  }

  const located = (path: string): readonly Location[] => {
    const url = `${server.url}${path}`;
    const inUrl = `${url.replace("//", "//me:canary-url@")}?sig=canary-sig&token=canary-query`;
    return [
      { url, ...fields },
      { url, headers: fields.headers, token: "canary-token", retries: 0 },
      inUrl,
      new URL(inUrl),
      { url, proxy: "http://me:canary-proxy@127.0.0.1:1", retries: 0 },
      { files: { a: { url, ...fields } } },
      { archive: { url, ...fields }, password: "canary-zip" },
      `archive:${inUrl}#a`,
      `pack:${inUrl}`,
      `manifest:${inUrl}`,
    ];
  };

  test("places, stores and runtimes hold them where nobody sees them", () => {
    for (const location of located("/good")) {
      expect(looks(parseLocation(location))).not.toContain("canary");
      expect(looks(new Store(location))).not.toContain("canary");
    }
    using runtime = new Runtime({
      defaults: { http: { headers: fields.headers, proxy: "http://me:canary@127.0.0.1:1" } },
    });
    expect(looks(runtime)).not.toContain("canary");
  });

  test("errors and tasks never tell them, whatever fails", async () => {
    for (const path of Object.keys(scripts))
      for (const location of located(path)) {
        const task = compare(location, file, { timeout: 20_000 });
        expect(looks(task)).not.toContain("canary");
        errors.push(
          await task.then(
            ({ differences }) => differences,
            (error: unknown) => error,
          ),
        );
        errors.push(
          await copy(location, join(place.folder, "out"), { dryRun: true }).then(
            ({ actions }) => actions,
            (error: unknown) => error,
          ),
        );
      }
    errors.push(await list(located("/403")[0]!).catch((error: unknown) => error));
    const failed = errors.filter((error) => error instanceof CopseError);
    expect(failed.length).toBeGreaterThan(50);
    expect(new Set(failed.map(({ code }) => code)).size).toBeGreaterThan(4);
    for (const error of errors) expect(looks(error)).not.toContain("canary");
  });

  test("a bad value is named and not shown", () => {
    const url = `${server.url}/good`;
    for (const bad of [
      { url, headers: { "X-Key": "canary\r\nX-Other: 1" } },
      { url, password: "canary\n", username: "me" },
      { url, token: "canary\0" },
      { url, proxy: "me:canary@host" },
      { url, password: "canary" },
      { url, token: "canary", username: "me" },
      { archive: file, password: "canary\0" },
      "http://me:canary@",
      "http://me:%ff%00canary@host/",
      "s3://key:canary@bucket/a",
      "sftp://me:canary@host/x",
      "me:canary@host:path",
      "nonsense://me:canary@host",
    ]) {
      let error: unknown;
      try {
        compareSync(bad as Location, file);
      } catch (caught) {
        error = caught;
      }
      expect(error).toBeInstanceOf(CopseError);
      expect(looks(error)).not.toContain("canary");
    }
  });
});
