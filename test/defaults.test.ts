// What a runtime says for its tasks: each of komparu's 18 parameters changes what happens by
// `new Runtime({ defaults })`, the call wins over it, and undefined is not a value.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import {
  compare,
  copy,
  CopseError,
  list,
  manifest,
  Runtime,
  scan,
  Store,
  type CompareOptions,
  type Defaults,
  type HttpLocation,
  type Location,
} from "../lib/index.ts";
import { nginxMissing, startNginx, type Nginx } from "./servers/nginx.ts";
import { startUnruly, type Unruly } from "./servers/unruly.ts";
import { run } from "./trees.ts";

const MIB = 1 << 20;
let folder: string;
let nginx: Nginx | undefined;
let slow: Unruly;

function plant(files: Readonly<Record<string, string | Uint8Array>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
}

const here = (path: string): string => join(folder, path);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "copse-defaults-"));
  const large = Buffer.alloc(3 * MIB, 3);
  const late = Buffer.from(large);
  late[3 * MIB - 1] = 4;
  plant({
    hello: "hello",
    hullo: "hullo",
    longer: "hello!",
    "large/same": large,
    "large/copy": large,
    "large/late": late,
    "logs/left/a.txt": "a",
    "logs/left/a.log": "one",
    "logs/right/a.txt": "a",
    "logs/right/a.log": "two",
    "links/left/file": "",
    "links/right/file": "",
    "zeros/zero": Buffer.alloc(20 * MIB),
    ...Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`many/d${i}/f`, `${i}`])),
  });
  symlinkSync("file", here("links/left/link"));
  run("tar", "-cf", here("small.tar"), "-C", here("logs/left"), ".");
  run("tar", "-czf", here("zeros.tar.gz"), "-C", here("zeros"), ".");
  // The head of the answer comes late; with this it is late however slow the machine is.
  slow = startUnruly({
    "/hello": async (reply) => {
      if (await reply.wait(500)) reply.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    },
  });
  if (nginxMissing) return;
  nginx = await startNginx();
  writeFileSync(join(nginx.root, "hello"), "hello");
  run("tar", "-cf", join(nginx.root, "small.tar"), "-C", here("logs/left"), ".");
});

afterAll(() => {
  nginx?.[Symbol.dispose]();
  slow[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});

// ── What can be observed ──

type Fields = Partial<Omit<HttpLocation, "url">>;

interface Asked {
  /** Of its own. */
  readonly runtime: Runtime;
  readonly options: CompareOptions;
  readonly fields: Fields;
}

/** `equal`, the kinds and reasons of the rows, each once, or the code of what it failed with. */
async function answerOf(left: Location, right: Location, options: CompareOptions): Promise<string> {
  try {
    const { equal, differences } = await compare(left, right, options);
    if (equal) return "equal";
    const kinds = differences.map((row) => {
      if (row.kind === "error") return row.error.code;
      return row.kind === "differs" ? row.reason : row.kind;
    });
    return [...new Set(kinds)].join(" ");
  } catch (error) {
    if (error instanceof CopseError) return error.code;
    throw error;
  }
}

const files =
  (left: string, right: string, more: CompareOptions = {}) =>
  ({ runtime, options }: Asked): Promise<string> =>
    answerOf(left.replace("$", folder), here(right), { ...more, ...options, runtime });

const onServer =
  (url: () => string, more: Fields = {}) =>
  ({ runtime, fields, options }: Asked): Promise<string> =>
    answerOf(
      here("hello"),
      { url: url(), retries: 0, ...more, ...fields },
      { ...options, runtime },
    );

interface Parameter {
  /** As komparu calls it, and as copse does. */
  readonly komparu: string;
  readonly copse: string;
  readonly observe: (asked: Asked) => Promise<string>;
  /** Without anything said. */
  readonly plain: string;
  readonly defaults: Defaults;
  /** By the default of the runtime. */
  readonly changed: string;
  /** What the call says against it: it is as `plain` then. */
  readonly call: Omit<Defaults, "http"> & Fields;
  /** Only with a server. */
  readonly server?: true;
}

const parameters: readonly Parameter[] = [
  {
    komparu: "chunk_size",
    copse: "chunkSize",
    // The 100th read fails, and with larger chunks it does not come to that.
    observe: files("fault:read=100:$/large/same", "large/copy"),
    plain: "equal",
    defaults: { chunkSize: 4096 },
    changed: "IO",
    call: { chunkSize: 131_072 },
  },
  {
    komparu: "size_precheck",
    copse: "sizeCheck",
    observe: files("$/hello", "longer"),
    plain: "size",
    defaults: { sizeCheck: false },
    changed: "content",
    call: { sizeCheck: true },
  },
  {
    komparu: "quick_check",
    copse: "sample",
    async observe({ runtime, options }) {
      const said = { stopAtFirst: true, ...options, runtime };
      const { equal, bytes } = await compare(here("large/same"), here("large/late"), said);
      return `${equal} ${bytes < MIB ? "after a look" : "after reading all"}`;
    },
    plain: "false after a look",
    defaults: { sample: false },
    changed: "false after reading all",
    call: { sample: true },
  },
  {
    komparu: "headers",
    copse: "http.headers",
    observe: onServer(() => `${nginx!.closed}/key/hello`),
    plain: "DENIED",
    defaults: { http: { headers: { "X-Key": "k" } } },
    changed: "equal",
    call: { headers: {} },
    server: true,
  },
  {
    komparu: "timeout",
    copse: "http.timeout",
    observe: onServer(() => `${slow.url}/hello`),
    plain: "equal",
    defaults: { http: { timeout: 100 } },
    changed: "TIMEOUT",
    call: { timeout: 30_000 },
  },
  {
    komparu: "follow_redirects",
    copse: "http.redirects",
    observe: onServer(() => `${nginx!.closed}/moved/hello`),
    plain: "equal",
    defaults: { http: { redirects: 0 } },
    changed: "PROTOCOL",
    call: { redirects: 1 },
    server: true,
  },
  {
    komparu: "verify_ssl",
    copse: "http.insecure",
    observe: onServer(() => `${nginx!.https}/hello`),
    plain: "DENIED",
    defaults: { http: { insecure: true } },
    changed: "equal",
    call: { insecure: false },
    server: true,
  },
  {
    komparu: "proxy",
    copse: "http.proxy",
    // Only the proxy says the key.
    observe: onServer(() => `${nginx!.closed}/key/hello`),
    plain: "DENIED",
    get defaults() {
      return { http: { proxy: nginx!.proxy } };
    },
    changed: "equal",
    call: { proxy: "" },
    server: true,
  },
  {
    komparu: "follow_symlinks",
    copse: "links",
    observe: files("$/links/left", "links/right"),
    plain: "only-left",
    defaults: { links: "skip" },
    changed: "equal",
    call: { links: "keep" },
  },
  {
    komparu: "max_workers",
    copse: "concurrency",
    // Every call takes a while, so that there is work for more than one thread where it may be.
    async observe({ runtime, options }) {
      const left = `fault:delay=5:${here("many")}`;
      const answer = await answerOf(left, here("many"), { ...options, runtime });
      return `${answer} by ${runtime.stats.ioWorkers > 1 ? "several threads" : "one thread"}`;
    },
    plain: "equal by several threads",
    defaults: { concurrency: 1 },
    changed: "equal by one thread",
    call: { concurrency: 0 },
  },
  {
    komparu: "ignore",
    copse: "exclude",
    observe: files("$/logs/left", "logs/right"),
    plain: "content",
    defaults: { exclude: ["*.log"] },
    changed: "equal",
    call: { exclude: [] },
  },
  {
    komparu: "max_decompressed_size",
    copse: "limits.bytes",
    observe: files("archive:$/small.tar", "logs/left"),
    plain: "equal",
    defaults: { limits: { bytes: 3 } },
    changed: "LIMIT",
    call: { limits: { bytes: Infinity } },
  },
  {
    komparu: "max_compression_ratio",
    copse: "limits.ratio",
    observe: files("archive:$/zeros.tar.gz", "zeros"),
    plain: "LIMIT",
    defaults: { limits: { ratio: Infinity } },
    changed: "equal",
    call: { limits: { ratio: 200 } },
  },
  {
    komparu: "max_archive_entries",
    copse: "limits.entries",
    observe: files("archive:$/small.tar", "logs/left"),
    plain: "equal",
    defaults: { limits: { entries: 1 } },
    changed: "LIMIT",
    call: { limits: { entries: 100_000 } },
  },
  {
    komparu: "max_entry_name_length",
    copse: "limits.pathLength",
    observe: files("archive:$/small.tar", "logs/left"),
    plain: "equal",
    defaults: { limits: { pathLength: 4 } },
    changed: "LIMIT",
    call: { limits: { pathLength: 4096 } },
  },
  {
    komparu: "comparison_timeout",
    copse: "timeout",
    observe: ({ runtime, options }) =>
      answerOf(here("hello"), `${slow.url}/hello`, { ...options, runtime }),
    plain: "equal",
    defaults: { timeout: 100 },
    changed: "TIMEOUT",
    call: { timeout: Infinity },
  },
  {
    komparu: "allow_private_redirects",
    copse: "http.addresses",
    observe: onServer(() => `${nginx!.closed}/away/hello`),
    plain: "DENIED",
    defaults: { http: { addresses: "any" } },
    changed: "equal",
    call: { addresses: "named" },
    server: true,
  },
  {
    komparu: "hash_compare",
    copse: "by",
    async observe({ runtime, options }) {
      const { differences } = await compare(here("hello"), here("hullo"), { ...options, runtime });
      const [row] = differences;
      return row?.kind === "differs" && row.left.hash ? "by digests" : "by bytes";
    },
    plain: "by bytes",
    defaults: { by: "hash" },
    changed: "by digests",
    call: { by: "content" },
  },
];

/** One observation, in a runtime of its own. */
async function observed(
  { copse, observe }: Parameter,
  defaults: Defaults | undefined,
  call: Parameter["call"],
): Promise<string> {
  await using runtime = new Runtime(defaults && { defaults });
  const ofPlace = copse.startsWith("http.");
  // Which of both it is the row's name says.
  const options = (ofPlace ? {} : call) as CompareOptions;
  return await observe({ runtime, options, fields: (ofPlace ? call : {}) as Fields });
}

describe("each of komparu's 18 parameters is a default of a runtime, and the call wins", () => {
  test("there are 18", () => {
    expect(new Set(parameters.map(({ komparu }) => komparu)).size).toBe(18);
  });

  for (const parameter of parameters) {
    const { komparu, copse, plain, changed, call, server } = parameter;
    test.skipIf(Boolean(server && nginxMissing))(
      `compare.md 1.2: ${komparu} is ${copse}`,
      async () => {
        const { defaults } = parameter;
        const nothing = Object.fromEntries(Object.keys(call).map((name) => [name, undefined]));
        expect(await observed(parameter, undefined, {})).toBe(plain);
        expect(await observed(parameter, defaults, {})).toBe(changed);
        expect(await observed(parameter, defaults, nothing)).toBe(changed);
        expect(await observed(parameter, defaults, call)).toBe(plain);
        expect(await observed(parameter, undefined, call)).toBe(plain);
      },
    );
  }
});

describe("bad defaults are refused before anything is made, by name", () => {
  const wrong: readonly (readonly [name: string, defaults: object])[] = [
    ["defaults.chunkSize", { chunkSize: 0 }],
    ["defaults.sizeCheck", { sizeCheck: 1 }],
    ["defaults.sample", { sample: "yes" }],
    ["defaults.http.headers", { http: { headers: { "X-A": "a\r\nX-B: b" } } }],
    ["defaults.http.timeout", { http: { timeout: -1 } }],
    ["defaults.http.redirects", { http: { redirects: 1.5 } }],
    ["defaults.http.insecure", { http: { insecure: 1 } }],
    ["defaults.http.proxy", { http: { proxy: "nowhere" } }],
    ["defaults.links", { links: true }],
    ["defaults.concurrency", { concurrency: 257 }],
    ["defaults.exclude", { exclude: "*.log" }],
    ["defaults.limits.bytes", { limits: { bytes: -1 } }],
    ["defaults.limits.ratio", { limits: { ratio: 0 } }],
    ["defaults.limits.entries", { limits: { entries: "many" } }],
    ["defaults.limits.pathLength", { limits: { pathLength: NaN } }],
    ["defaults.timeout", { timeout: 0 }],
    ["defaults.http.addresses", { http: { addresses: "private" } }],
    ["defaults.by", { by: "size" }],
    ["defaults.http.minTls", { http: { minTls: "1.1" } }],
    ["defaults.http.ca", { http: { ca: "/nowhere/ca.pem" } }],
    // One call's own, one server's own, and what nobody knows.
    ["stopAtFirst", { stopAtFirst: true }],
    ["signal", { signal: AbortSignal.timeout(1000) }],
    ["defaults.http.token", { http: { token: "canary-token" } }],
    ["defaults.http.password", { http: { password: "canary-password" } }],
    ["url", { http: { url: "http://x/" } }],
    ["toString", { toString: true }],
    ["defaults.limits", { limits: { bites: 1 } }],
    ["defaults.http", { http: true }],
  ];

  test.each(wrong)("%s", (name, defaults) => {
    let error: unknown;
    try {
      new Runtime({ defaults: defaults as Defaults }).close();
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(CopseError);
    const { code, message } = error as CopseError;
    expect(code).toBe("ARGUMENT");
    expect(message).toContain(name);
    expect(message).not.toContain("canary");
  });

  test.each([[null], [5], ["x"], [[]]])("defaults: %p", (defaults) => {
    expect(() => new Runtime({ defaults: defaults as unknown as Defaults })).toThrow("defaults");
  });
});

describe("defaults", () => {
  test("each limit is a setting of its own", async () => {
    await using runtime = new Runtime({ defaults: { limits: { bytes: 3 } } });
    const ask = (limits: CompareOptions["limits"]): Promise<string> =>
      answerOf(`archive:${here("small.tar")}`, here("logs/left"), { runtime, limits: limits! });
    expect(await ask({ entries: 100 })).toBe("LIMIT");
    expect(await ask({ entries: 100, bytes: undefined! })).toBe("LIMIT");
    expect(await ask({ entries: 100, bytes: 1000 })).toBe("equal");
    await expect(ask(null as never)).resolves.toBe("ARGUMENT");
  });

  test("count for every verb that has the option, and in no other runtime", async () => {
    await using runtime = new Runtime({ defaults: { exclude: ["*.log"], by: "hash" } });
    const names = async (found: PromiseLike<readonly { path: string }[]>): Promise<string[]> =>
      (await found).map(({ path }) => path);
    const root = here("logs/left");
    expect(await names(list(root, { runtime }))).toEqual(["a.txt"]);
    expect(await names(list(root))).toEqual(["a.log", "a.txt"]);
    expect(await names(manifest(root, { runtime }))).toEqual(["a.txt"]);
    expect(await names(scan(root, { files: ["a.log"] }, { runtime }))).toEqual([]);
    expect(await names(scan(root, { files: ["a.log"] }, { runtime, exclude: [] }))).toEqual([""]);
    expect((await copy(root, here("copied"), { runtime })).copied).toBe(1);
    await using store = new Store(root, { runtime });
    expect(await names(store.list())).toEqual(["a.txt"]);
    expect(await names(store.list("", { exclude: ["*.txt"] }))).toEqual(["a.log"]);
    expect(await new Response(store.read("a.log")).text()).toBe("one");
  });

  test("chunkSize is that of compare: parts of a copy are something else", async () => {
    await using runtime = new Runtime({ defaults: { chunkSize: 1 } });
    expect((await copy(here("hello"), here("copied-by-1"), { runtime })).copied).toBe(1);
    expect(await answerOf(here("hello"), here("copied-by-1"), { runtime })).toBe("equal");
  });

  test("are what they were when the runtime was made", async () => {
    const exclude = ["*.log"];
    await using runtime = new Runtime({ defaults: { exclude } });
    exclude.length = 0;
    expect(await answerOf(here("logs/left"), here("logs/right"), { runtime })).toBe("equal");
  });

  test.skipIf(Boolean(nginxMissing))(
    "reach servers in tables and under archives, certificates too",
    async () => {
      const { https, ca } = nginx!;
      await using runtime = new Runtime({ defaults: { http: { ca, retries: 0 } } });
      const table = { files: { hello: `${https}/hello` } };
      const own = { files: { hello: here("hello") } };
      expect(await answerOf(table, own, { runtime })).toBe("equal");
      expect(await answerOf(table, own, {})).toBe("DENIED");
      const packed = `archive:${https}/small.tar`;
      expect(await answerOf(packed, here("logs/left"), { runtime })).toBe("equal");
      // A file of an archive on a server, as one file of a table.
      const inside = { files: { a: `${packed}#a.txt` } };
      const plain = { files: { a: here("logs/left/a.txt") } };
      expect(await answerOf(inside, plain, { runtime })).toBe("equal");
      expect(await answerOf(inside, plain, {})).toBe("DENIED");
      // What a location says itself is not overridden.
      const said = { files: { hello: { url: `${https}/hello`, insecure: true } } };
      expect(await answerOf(said, own, { runtime })).toBe("equal");
    },
  );
});
