// Settings beside the command line: files, the environment, profiles; who wins, what is refused, and
// what is shown of them. The real command, in folders made for it.

import { describe, expect, test } from "bun:test";
import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { commands } from "../lib/cli/commands.ts";
import { nameOf } from "../lib/cli/flags.ts";
import { flagOf, keys, later, profiles, shortNames } from "../lib/cli/keys.ts";
import { commandPlace, finished, main, type Ran } from "./command.ts";
import { run } from "./trees.ts";

const { environment, onTerminal, plant } = commandPlace();

interface Written {
  readonly system?: string;
  readonly user?: string;
  readonly project?: string;
  readonly named?: string;
  /** More files, by paths in the working directory. */
  readonly files?: Readonly<Record<string, string>>;
}

interface Place extends Disposable {
  readonly folder: string;
  /** Files of these names are there: what `copse ls -0` tells is what is not left out. */
  copse(args: readonly string[], more?: Readonly<Record<string, string>>): Promise<Ran>;
}

/** A home, a system and a working directory `work/here`, each with its file. */
function settings(written: Written): Place {
  const folder = mkdtempSync(join(tmpdir(), "copse-config-"));
  const put = (path: string, text: string | undefined): void => {
    if (text === undefined) return;
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  put("etc/copse/config.toml", written.system);
  put("home/copse/config.toml", written.user);
  put("work/copse.toml", written.project);
  put("named.toml", written.named);
  put("work/here/a", "a");
  put("work/.git/HEAD", "");
  for (const [path, text] of Object.entries(written.files ?? {})) put(`work/here/${path}`, text);
  return {
    folder,
    async copse(args, more = {}) {
      const child = Bun.spawn([process.execPath, main, ...args], {
        cwd: join(folder, "work", "here"),
        env: {
          ...environment,
          XDG_CONFIG_DIRS: join(folder, "etc"),
          XDG_CONFIG_HOME: join(folder, "home"),
          ...more,
        },
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
      });
      return await finished(child);
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** What a key is in force as, and from where. */
async function inForce(
  place: Place,
  key: string,
  args: readonly string[] = [],
  more: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { out, err } = await place.copse(["config", "show", "--json", ...args], more);
  expect(err).toBe("");
  const { settings } = JSON.parse(out) as {
    settings: { key: string; value: unknown; origin: string }[];
  };
  const { value, origin } = settings.find((one) => one.key === key)!;
  return `${JSON.stringify(value)} ${origin.replaceAll(place.folder, "")}`;
}

/** Options as -vv tells them. */
function options({ err }: Ran): unknown {
  return JSON.parse(/options (.*)/.exec(err)![1]!);
}

const exclude = (name: string): string => `# what is left out\n[exclude]\npatterns = ["${name}"]\n`;

describe("who wins", () => {
  test("sync.md 7: flags over environment over named, project, user and system files over what is built in", async () => {
    const levels = ["system", "user", "project", "named", "environment", "flag"] as const;
    const files = Object.fromEntries(levels.map((level) => [`${level}.x`, ""]));
    using place = settings({
      system: exclude("system.x"),
      user: exclude("user.x"),
      project: exclude("project.x"),
      named: exclude("named.x"),
      files,
    });
    const expected: readonly (readonly [string, string])[] = [
      ["system", '["system.x"] /etc/copse/config.toml:3'],
      ["user", '["user.x"] /home/copse/config.toml:3'],
      ["project", '["project.x"] ../copse.toml:3'],
      ["named", '["named.x"] /named.toml:3'],
      ["environment", '["environment.x"] COPSE_EXCLUDE_PATTERNS'],
    ];
    const left = async (args: readonly string[], more: Record<string, string>): Promise<string> => {
      const { out } = await place.copse(["ls", ".", "-0", "--include", "*.x", ...args], more);
      return levels.filter((level) => !out.split("\0").includes(`${level}.x`)).join();
    };
    // From the lowest level on, each with all those below it.
    const noUser = { XDG_CONFIG_HOME: "/nowhere" };
    const named = [`--config=${place.folder}/named.toml`];
    expect(await inForce(place, "exclude.patterns", ["--no-config"])).toBe('"nothing" built in');
    expect(await left(["--no-config"], {})).toBe("");
    rmSync(join(place.folder, "work", "copse.toml"));
    expect(await inForce(place, "exclude.patterns", [], noUser)).toBe(expected[0]![1]);
    expect(await left([], noUser)).toBe("system");
    expect(await inForce(place, "exclude.patterns")).toBe(expected[1]![1]);
    expect(await left([], {})).toBe("user");
    writeFileSync(join(place.folder, "work", "copse.toml"), exclude("project.x"));
    expect(await inForce(place, "exclude.patterns")).toBe(expected[2]![1]);
    expect(await left([], {})).toBe("project");
    expect(await inForce(place, "exclude.patterns", named)).toBe(expected[3]![1]);
    expect(await left(named, {})).toBe("named");
    const variable = { COPSE_CONFIG: `${place.folder}/named.toml` };
    expect(await left([], variable)).toBe("named");
    const more = { COPSE_EXCLUDE_PATTERNS: "environment.x", ...variable };
    expect(await inForce(place, "exclude.patterns", [], more)).toBe(expected[4]![1]);
    expect(await left([], more)).toBe("environment");
    expect(await left(["--exclude", "flag.x"], more)).toBe("flag");
  });

  test("sync.md 8: every key has its variable, some a short one", async () => {
    using place = settings({ user: "[defaults]\nworkers = 2\n" });
    expect(await inForce(place, "defaults.workers", [], { COPSE_WORKERS: "3" })).toBe(
      '"3" COPSE_WORKERS',
    );
    const both = { COPSE_WORKERS: "3", COPSE_DEFAULTS_WORKERS: "4" };
    expect(await inForce(place, "defaults.workers", [], both)).toBe('"4" COPSE_DEFAULTS_WORKERS');
    expect(await inForce(place, "defaults.workers", [], { COPSE_WORKERS: "" })).toStartWith("2 ");
    const ran = await place.copse(["compare", ".", ".", "-vv"], {
      COPSE_DEFAULTS_MOVES: "1",
      COPSE_DEFAULTS_CHUNK_SIZE: "64K",
      COPSE_DEFAULTS_WORKERS: "auto",
      COPSE_INCLUDE_PATTERNS: "*.{a,b},c",
      COPSE_DEFAULTS_TASK_TIMEOUT: "90s",
    });
    expect(options(ran)).toEqual({
      moves: true,
      chunkSize: 65_536,
      include: ["*.{a,b}", "c"],
      timeout: 90_000,
    });
    expect(ran.err).not.toContain("runtime {");
    const level = await place.copse(["ls", "."], { COPSE_LOG_LEVEL: "debug" });
    expect(level.err).toContain("options {");
    for (const id of shortNames.values())
      expect(keys.some(({ section, name }) => `${section}.${name}` === id)).toBe(true);
  });

  test("a profile is over [defaults] of files and under the environment; flags choose it before all", async () => {
    using place = settings({
      user: `[defaults]
profile = "lan"
concurrency = 5
chunk_size = "3M"
[profiles.mine]
concurrency = 7
[profiles.mine.exclude]
patterns = ["*.tmp"]
[profiles.wan]
retries = 9
`,
    });
    const asked = async (args: readonly string[], more = {}): Promise<unknown> =>
      options(await place.copse(["compare", ".", ".", "-vv", ...args], more));
    expect(await asked([])).toEqual({ concurrency: 16, chunkSize: 16 << 20 });
    expect(await asked(["--profile", "auto"])).toEqual({ concurrency: 5, chunkSize: 3 << 20 });
    expect(await asked(["--profile", "mine"])).toEqual({
      concurrency: 7,
      chunkSize: 3 << 20,
      exclude: ["*.tmp"],
    });
    expect(await asked([], { COPSE_PROFILE: "wan" })).toEqual({
      concurrency: 8,
      chunkSize: 4 << 20,
    });
    const both = { COPSE_PROFILE: "wan", COPSE_DEFAULTS_CONCURRENCY: "11" };
    expect(await asked(["--profile", "small-files"], both)).toEqual({
      concurrency: 11,
      chunkSize: 256 << 10,
    });
    expect(await asked(["--concurrency", "12"], both)).toMatchObject({ concurrency: 12 });
    expect(await inForce(place, "defaults.retries", ["--profile", "wan"])).toBe(
      "9 /home/copse/config.toml:10",
    );
    expect(await inForce(place, "defaults.checksum", ["--profile", "wan"])).toBe(
      "true profile wan",
    );
  });

  test.each(Object.entries(profiles))(
    "the profile %s is in force for copy",
    async (name, values) => {
      using place = settings({});
      const ran = await place.copse(["copy", "a", "b", "-n", "-vv", "--profile", name]);
      expect(ran.status).toBe(0);
      const said = options(ran) as Record<string, unknown>;
      expect(said["concurrency"]).toBe(values["concurrency"]);
      expect(said["by"]).toBe(
        values["checksum"] === undefined ? undefined : values["checksum"] ? "content" : "stat",
      );
      const runtime = /runtime (\{.*\})/.exec(ran.err)?.[1];
      expect(runtime && JSON.parse(runtime)).toEqual(
        values["memory"]
          ? { memory: values["memory"], ...(values["io"] ? { io: values["io"] } : {}) }
          : undefined,
      );
    },
  );

  test("what a file sets can be taken back: every switch has its other side", async () => {
    using place = settings({
      user: "[defaults]\nmoves = true\nsample = false\ndelete = false\nfollow_symlinks = true\npreserve_times = false\npreserve_owner = true\n",
    });
    const compared = ["compare", ".", ".", "-vv"];
    const set = { moves: true, sample: false, links: "follow" };
    expect(options(await place.copse(compared))).toEqual(set);
    const back = await place.copse([...compared, "--no-moves", "--sample", "--links", "skip"]);
    expect(options(back)).toEqual({ moves: false, sample: true, links: "skip" });
    const synced = ["sync", ".", "../other", "-n", "-vv"];
    const kept = { delete: false, dryRun: true, links: "follow", preserve: ["mode", "owner"] };
    expect(options(await place.copse(synced))).toEqual(kept);
    const more = ["--delete", "--preserve", "mtime"];
    expect(options(await place.copse([...synced, ...more]))).toEqual({
      delete: true,
      dryRun: true,
      links: "follow",
      preserve: ["mtime"],
    });
  });

  test("settings of servers and archives count for servers and archives, and disturb nobody else", async () => {
    const seen: string[] = [];
    using server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch(request) {
        seen.push(request.headers.get("user-agent") ?? "");
        return new Response("a");
      },
    });
    using place = settings({
      user: '[http]\nuser_agent = "grove/1"\ntimeout = "5s"\n[defaults]\nretries = 0\nraw_equal = true\n',
    });
    expect((await place.copse(["compare", "a", "a"])).status).toBe(0);
    const url = new URL("/a", server.url).href;
    expect(await place.copse(["compare", "a", url, "-q"])).toEqual({ status: 0, out: "", err: "" });
    await place.copse(["compare", "a", url, "-q", "--user-agent", "other"]);
    await place.copse(["compare", "a", url, "-q", "--header", "User-Agent: mine"]);
    expect(seen).toEqual(["grove/1", "other", "mine"]);
  });

  test("how what is the same is found is nothing that both ways could take", async () => {
    using place = settings({ user: "[defaults]\nchecksum = true\n", files: { "from/x": "x" } });
    const both = await place.copse(["sync", "from", "to", "--two-way", "--state", "../state"]);
    expect(both).toMatchObject({ status: 0, err: "" });
  });

  test("a key of one's own encrypts copies and opens crypt: places, and disturbs nobody else", async () => {
    const user = '[encryption]\nenabled = true\nkey_file = "key"\n[compression]\nlevel = 5\n';
    using place = settings({ user, files: { key: "k".repeat(32), "from/text": "x".repeat(5000) } });
    expect((await place.copse(["copy", "from", "to"])).status).toBe(0);
    const stored = readFileSync(join(place.folder, "work/here/to/text"));
    expect(stored.subarray(0, 13).toString()).toBe("copse crypt 1");
    expect(stored.length).toBeLessThan(1000);
    expect((await place.copse(["compare", "from", "crypt:to"])).status).toBe(0);
    expect((await place.copse(["compare", "from", "from"])).status).toBe(0);
    // What is said on the command line is instead of it.
    const other = join(place.folder, "work/here/other");
    writeFileSync(other, "a passphrase");
    const wrong = await place.copse(["compare", "from", "crypt:to", "--passphrase-file", other]);
    expect(wrong.status).toBe(2);
    expect(wrong.out).toContain("it is encrypted: give its key");
    const plain = await place.copse(["copy", "from", "plain", "--no-encrypt", "--no-compress"]);
    expect(plain).toMatchObject({ status: 0 });
    expect(readFileSync(join(place.folder, "work/here/plain/text")).length).toBe(5000);
  });
});

describe("the file of a project", () => {
  const forbidden = keys.filter(({ trusted }) => trusted);
  const valueOf: Readonly<Record<string, string>> = {
    "defaults.limits": '["entries=none"]',
    "defaults.cache": '"/somewhere"',
    "defaults.max_delete": "5",
    "http.proxy": '"http://proxy:3128"',
    "http.ca": '"ca.pem"',
    "http.min_tls": '"1.3"',
    "http.addresses": '"any"',
    "compression.level": "5",
    "encryption.key_file": '"key"',
    "encryption.passphrase_file": '"words"',
  };

  test("may not set what concerns trust, deleting and what is written elsewhere", async () => {
    expect(forbidden.map(({ section, name }) => `${section}.${name}`)).toEqual([
      "defaults.limits",
      "defaults.cache",
      "defaults.preserve_owner",
      "defaults.special_bits",
      "defaults.delete",
      "defaults.max_delete",
      "http.proxy",
      "http.ca",
      "http.min_tls",
      "http.danger_accept_invalid_certs",
      "http.addresses",
      "compression.level",
      "encryption.enabled",
      "encryption.key_file",
      "encryption.passphrase_file",
    ]);
    const lines = forbidden.map(({ section, name }) => {
      const written = valueOf[`${section}.${name}`] ?? "true";
      return `${section}.${name} = ${written}`;
    });
    const text = `${lines.join("\n")}\n[profiles.mine]\ndelete = false\n`;
    using place = settings({ project: text, named: text });
    const { err, status } = await place.copse(["config", "validate"]);
    expect(err.trimEnd().split("\n")).toEqual([
      ...forbidden.map(
        ({ section, name }, at) =>
          `copse: ../copse.toml:${at + 1}: ${section}.${name}: a project's file may not set this; write it in your own, or use --config`,
      ),
      `copse: ../copse.toml:${lines.length + 2}: defaults.delete: a project's file may not set this; write it in your own, or use --config`,
    ]);
    expect(status).toBe(2);
    const refused = await place.copse(["ls", "."]);
    expect(refused.err).toContain("../copse.toml:1: defaults.limits: a project's file may not");
    expect(refused.status).toBe(2);
    // One's own file may, and whoever names a file takes it as his own.
    expect((await place.copse(["config", "validate", "../../named.toml"])).status).toBe(0);
    expect((await place.copse(["ls", ".", "--config", "../copse.toml"])).status).toBe(0);
    expect((await place.copse(["ls", ".", "--no-config"])).status).toBe(0);
  });

  test("is looked for above, up to the repository", async () => {
    using place = settings({ project: exclude("a") });
    mkdirSync(join(place.folder, "work/here/deep/er"), { recursive: true });
    const deep = async (): Promise<string> => {
      const line = `cd deep/er && exec "$0" "$@"`;
      const child = Bun.spawn(["sh", "-c", line, process.execPath, main, "ls", "-0", "../.."], {
        cwd: join(place.folder, "work", "here"),
        env: environment,
        stdout: "pipe",
      });
      return (await child.stdout.text()).replaceAll("\0", " ");
    };
    expect(await deep()).toBe("deep deep/er ");
    mkdirSync(join(place.folder, "work/here/.git"));
    expect(await deep()).toBe(".git a deep deep/er ");
  });

  test.skipIf(process.getuid?.() !== 0)("of somebody else is not believed", async () => {
    using place = settings({ project: exclude("a") });
    chownSync(join(place.folder, "work", "copse.toml"), 65_534, 65_534);
    const { err, status } = await place.copse(["ls", "."]);
    expect(err).toBe(
      "copse: ../copse.toml: belongs to somebody else; --config takes it all the same, --no-config not\n",
    );
    expect(status).toBe(2);
    expect((await place.copse(["ls", ".", "-0", "--config", "../copse.toml"])).out).toBe("");
    expect((await place.copse(["ls", ".", "-0", "--no-config"])).out).toBe("a\0");
  });
});

describe("what is wrong is said with file, line, key and what was meant", () => {
  const wrong: readonly (readonly [text: string, said: string])[] = [
    [
      "[defaults]\n\nchunk_sise = 5\n",
      ":3: defaults.chunk_sise: there is no such key; did you mean defaults.chunk_size?",
    ],
    [
      "[defaults]\nproxy = 'x'\n",
      ":2: defaults.proxy: there is no such key; did you mean http.proxy?",
    ],
    ["[default]\nworkers = 1\n", ":1: default: there is no such section; did you mean defaults?"],
    ["workers = 1\n", ":1: workers: there is no such section; write it below [defaults]"],
    ["[zoo]\n", ":1: zoo: there is no such section"],
    ["[defaults]\nworkers = 257\n", ":2: defaults.workers: must be from 1 to 256, not 257"],
    ["[defaults]\nworkers = 1.5\n", ":2: defaults.workers: Give a whole number."],
    ["[defaults]\nworkers = true\n", ":2: defaults.workers: give a text or a number"],
    ["[defaults]\nmoves = 'yes'\n", ":2: defaults.moves: give true or false"],
    ["[defaults]\npreserve_times = 1\n", ":2: defaults.preserve_times: give true or false"],
    ["[defaults]\nio = 'fast'\n", ":2: defaults.io: give one of auto, blocking, threads, uring"],
    [
      "[defaults]\nfollow_symlinks = 'keep'\n",
      ":2: defaults.follow_symlinks: give one of true, false",
    ],
    [
      "[defaults]\nchunk_size = '5 apples'\n",
      ":2: defaults.chunk_size: Give a number of bytes, such as 4096, 128K, 16M or 2G.",
    ],
    [
      "[defaults]\nchunk_size = '2G'\n",
      ":2: defaults.chunk_size: must be from 65536 to 1073741824, not 2G",
    ],
    [
      "[defaults]\nmetadata = ['size']\n",
      ":2: defaults.metadata: Give one or more of mode, mtime, owner, xattr.",
    ],
    ["[exclude]\npatterns = [1]\n", ":2: exclude.patterns: give a list of texts"],
    ["[exclude]\npatterns = ''\n", ":2: exclude.patterns: give a list of texts"],
    ["[http]\ntimeout = 30\n", ":2: http.timeout: say the unit, such as 30s"],
    [
      "[http]\nuser_agent = 'a\\nb'\n".replace("'a\\nb'", '"a\\nb"'),
      ":2: http.user_agent: must not be empty, nor two lines",
    ],
    ["[http]\nproxy = {}\n", ":2: http.proxy: give a text or a number"],
    [
      "[defaults]\nretry_delay = '1s'\n",
      ":2: defaults.retry_delay: this version has nothing it could set; take it out",
    ],
    ["[s3]\nregion = 'x'\n", ":2: s3.region: this version has nothing it could set; take it out"],
    ["[defaults]\nprofile = 5\n", ":2: defaults.profile: give the name of a profile"],
    ["[profiles]\nlan = 5\n", ":2: write [profiles.lan] with keys below"],
    [
      "[profiles.'my own']\nretires = 5\n",
      ":2: defaults.retires: there is no such key; did you mean defaults.retries?",
    ],
    ["[defaults]\na = 1\n\nb = \n", ":4: Missing value after '='; values must be on the same line"],
    ["[defaults]\nx = [\n1,\n2\n]\nx = 3\n", ":6: Cannot redefine key 'x'"],
    ["\u202e = 1\n", ":1: "],
  ];

  test("in one's own file", async () => {
    using place = settings({});
    const files = wrong.map(([text], at) => {
      writeFileSync(join(place.folder, `${at}.toml`), text);
      return `../../${at}.toml`;
    });
    // One process for all: what it says goes by file.
    const script = files.map((file) => `"$0" "$@" ${file}; echo "status $?" >&2`).join("\n");
    const child = Bun.spawn(["sh", "-c", script, process.execPath, main, "config", "validate"], {
      cwd: join(place.folder, "work", "here"),
      env: environment,
      stderr: "pipe",
    });
    const said = (await child.stderr.text()).split(/(?<=status \d\n)/);
    for (const [at, [text, expected]] of wrong.entries()) {
      expect(`${text}\n${said[at]}`).toStartWith(`${text}\ncopse: ${files[at]}${expected}`);
      expect(said[at]).toEndWith("status 2\n");
      expect(said[at]).not.toContain("\u202e");
    }
  });

  test("a file that is none, is too large, or not UTF-8; one that is not there", async () => {
    using place = settings({});
    run("mkfifo", join(place.folder, "pipe"));
    writeFileSync(join(place.folder, "large"), Buffer.alloc((1 << 20) + 1, "#"));
    writeFileSync(join(place.folder, "bytes"), Buffer.from([0x23, 0xff]));
    for (const [file, sentence] of [
      ["../../pipe", "is no regular file"],
      ["../..", "is no regular file"],
      ["../../large", "has more than 1048576 bytes"],
      ["../../bytes", "is not UTF-8"],
    ])
      expect(await place.copse(["ls", ".", "--config", file!])).toEqual({
        status: 2,
        out: "",
        err: `copse: ${file}: ${sentence}\n`,
      });
    const { err, out } = await place.copse(["ls", ".", "--json"], { COPSE_CONFIG: "nowhere.toml" });
    expect(err).toBe("copse: nowhere.toml: there is no such configuration file\n");
    expect(JSON.parse(out)).toMatchObject({ complete: false });
  });

  test("in the environment, where what a credential may be called is let be", async () => {
    using place = settings({});
    for (const [name, said] of [
      ["COPSE_DEFAULTS_WORKRS", "there is no such key; did you mean COPSE_DEFAULTS_WORKERS?"],
      ["COPSE_DEFAULTS_RETRY_DELAY", "this version has nothing it could set; take it out"],
      ["COPSE_DEFAULTS_ZEBRAS_ARE_STRIPED", "there is no such key"],
      ["COPSE_HTTP_TIMEOUTS", "there is no such key; did you mean COPSE_HTTP_TIMEOUT?"],
      ["COPSE_HTTP_TIMEOUT", "http.timeout: Give a time, such as 30s, 2m or 500ms."],
      ["COPSE_PROFILE", "there is no profile soon"],
    ]) {
      const { err, status } = await place.copse(["ls", "."], { [name!]: "soon" });
      expect(err).toStartWith(`copse: ${name}: ${said}`);
      expect(status).toBe(2);
    }
    expect((await place.copse(["ls", "."], { COPSE_HTTP_EXAMPLE_COM: "token" })).status).toBe(0);
  });

  test("of several, the first, and how many more", async () => {
    using place = settings({ user: "[defaults]\na = 1\nb = 2\nc = 3\n" });
    const { err } = await place.copse(["ls", "."]);
    expect(err).toEndWith(
      "config.toml:2: defaults.a: there is no such key (and 2 more: copse config validate)\n",
    );
  });
});

describe("config show and validate", () => {
  test("secrets are hidden wherever a value is shown", async () => {
    using place = settings({ user: '[http]\nproxy = "http://me:canary-proxy@127.0.0.1:1"\n' });
    for (const args of [
      ["config", "show"],
      ["config", "show", "--json"],
      ["config", "validate"],
      ["doctor", "--json"],
      ["compare", "a", "http://127.0.0.1:1/", "--retries", "0", "-vvv", "--json"],
    ]) {
      const { out, err } = await place.copse(args);
      expect(out + err).not.toContain("canary");
    }
    expect(await inForce(place, "http.proxy")).toStartWith('"http://me:***@127.0.0.1:1" ');
  });

  test("a report has every key, one file can be asked for, validate says what it read", async () => {
    using place = settings({ user: "[defaults]\nworkers = 2\n", named: exclude("*.o") });
    const { out, status } = await place.copse(["config", "show"]);
    expect(out.trimEnd().split("\n")).toHaveLength(keys.length);
    expect(out).toMatch(/^defaults\.workers {2,}2 {2,}.*config\.toml:2$/m);
    expect(out).toMatch(/^defaults\.delete {2,}true {2,}built in$/m);
    expect(status).toBe(0);
    expect((await place.copse(["config", "show", "../../named.toml"])).out).toMatch(
      /^exclude\.patterns {2,}\["\*\.o"\] {2,}\S*named\.toml:3$/m,
    );
    const { out: good } = await place.copse(["config", "validate"]);
    expect(good).toBe(`${place.folder}/home/copse/config.toml: good\n`);
    expect((await place.copse(["config", "validate", "--no-config"])).out).toBe(
      "no configuration file is read here\n",
    );
    const json = await place.copse(["config", "validate", "nowhere.toml", "--json"]);
    expect(JSON.parse(json.out)).toEqual({
      ok: false,
      files: ["nowhere.toml"],
      problems: ["nowhere.toml: there is no such file"],
    });
    expect(json.status).toBe(2);
  });

  test("sync.md 1: profiles list and show, those of files too", async () => {
    using place = settings({
      user: "[profiles.mine]\nconcurrency = 3\n\n[profiles.lan]\nstreams = 2\n",
    });
    const list = await place.copse(["profiles", "list"]);
    expect(list.out.trimEnd().split("\n")).toEqual([...Object.keys(profiles), "mine"]);
    const show = await place.copse(["profiles", "show", "lan"]);
    expect(show.out).toMatch(/^defaults\.concurrency +16 +built in$/m);
    expect(show.out).toMatch(/^defaults\.streams +2 +\S*config\.toml:5$/m);
    const json = await place.copse(["profiles", "show", "mine", "--json"]);
    expect(JSON.parse(json.out).profiles).toMatchObject([
      { name: "mine", settings: [{ key: "defaults.concurrency", value: 3 }] },
    ]);
    const wrong = await place.copse(["profiles", "show", "lam"]);
    expect(wrong).toMatchObject({ status: 2 });
    expect(wrong.err).toContain("there is no profile lam; did you mean lan?");
    for (const line of [["list", "lan"], ["show"]])
      expect(await place.copse(["profiles", ...line])).toMatchObject({ status: 2 });
  });

  test("doctor says where settings come from, and what is wrong with them", async () => {
    using place = settings({ user: "[defaults]\nworkers = 2\n" });
    const { out } = await place.copse(["doctor", "--profile", "lan"]);
    expect(out).toMatch(/✓ settings +\d set; files: \S*home\/copse\/config\.toml, profile lan\n/);
    expect(out).toMatch(/✓ defaults\.workers +2 \(\S*home\/copse\/config\.toml:2\)\n/);
    expect(out).toMatch(/✓ defaults\.concurrency +16 \(profile lan\)\n/);
    const wrong = await place.copse(["doctor"], { COPSE_DEFAULTS_WORKRS: "1" });
    expect(wrong.out).toMatch(/✗ settings .*\n +COPSE_DEFAULTS_WORKRS: there is no such key/);
    expect(wrong.status).toBe(2);
  });
});

describe("keys", () => {
  test("each stands for a flag, and a file with all of them is good", async () => {
    const samples: Readonly<Record<string, string>> = {
      patterns: '["*.x"]',
      ignore_files: '[".gitignore"]',
      limits: '["bytes=2G", "ratio=none"]',
      metadata: '["mode", "mtime"]',
      formats: '["tar,zip", "cpio"]',
      bwlimit: '"10M"',
      chunk_size: '"1M"',
      memory: '"64M"',
      task_timeout: '"2m"',
      timeout: '"30s"',
      io: '"threads"',
      priority: '"low"',
      on_error: '"stop"',
      by: '"stat"',
      overwrite: '"newer"',
      level: '"trace"',
      user_agent: '"x"',
      proxy: '"http://p:1"',
      ca: '"ca.pem"',
      min_tls: '"1.3"',
      addresses: '"public"',
      "compression.level": "5",
      key_file: '"key"',
      passphrase_file: '"words"',
    };
    const numbers = /workers$|concurrency|streams|retries|max_|_limit/;
    const lines = keys.map(({ section, name }) => {
      const value =
        samples[`${section}.${name}`] ?? samples[name] ?? (numbers.test(name) ? "5" : "true");
      return `${section}.${name} = ${value}`;
    });
    using place = settings({ user: `${lines.join("\n")}\n` });
    expect(await place.copse(["config", "validate"])).toMatchObject({ status: 0, err: "" });
    const { out } = await place.copse(["config", "show"]);
    expect(out).not.toContain("built in");
    for (const key of keys) {
      const flag = flagOf(key);
      expect(nameOf(flag)).toBe(key.flag);
      expect(later.has(`${key.section}.${key.name}`)).toBe(false);
      const isSwitch = !/[<[]/.test(flag.flags);
      if (key.words || key.part) expect(isSwitch && !/-v,/.test(flag.flags)).toBe(false);
    }
    expect(commands.some(({ name }) => name === "config")).toBe(true);
  });

  test("progress = false takes the line away", async () => {
    plant("twin", { a: "a" });
    const slow = "compare fault:delay=1500:twin twin --timeout 900ms".split(" ");
    const more = { COPSE_DEFAULTS_PROGRESS: "false", NO_COLOR: "1" };
    expect((await onTerminal(slow, { more })).seen).not.toContain("\x1b[K");
    expect((await onTerminal([...slow, "--progress"], { more })).seen).toContain("\x1b[K");
  });
});

test("the library reads no file and none of these variables", async () => {
  using place = settings({ project: "this is no TOML", user: exclude("a") });
  const program = `import { list } from ${JSON.stringify(join(import.meta.dir, "../lib/index.ts"))};
    console.log((await list(".")).map(({ path }) => path).join());`;
  const child = Bun.spawn([process.execPath, "-e", program], {
    cwd: join(place.folder, "work", "here"),
    env: {
      ...environment,
      XDG_CONFIG_HOME: join(place.folder, "home"),
      COPSE_EXCLUDE_PATTERNS: "a",
      COPSE_DEFAULTS_NONSENSE: "1",
    },
    stdout: "pipe",
  });
  expect(await child.stdout.text()).toBe("a\n");
});
