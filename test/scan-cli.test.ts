// The commands that stand on scan: what they print, and their exit status.

import { afterAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tied } from "./servers/tied.ts";
import { Scratch } from "./trees.ts";

const main = join(import.meta.dir, "..", "lib", "cli", "main.ts");
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());

async function copse(
  ...args: readonly string[]
): Promise<{ out: string; err: string; status: number }> {
  const child = Bun.spawn([process.execPath, main, ...args], {
    cwd: scratch.path,
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, NO_COLOR: "1" },
  });
  const [out, err, status] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { out, err, status };
}

scratch.plant("data", { "s1/f": "1", "s1/odd\nname/f": "", "t/s1/f": "22", "s2/g": "" });
writeFileSync(scratch.at("s.json"), '{"name": "s*", "files": ["f"]}');
writeFileSync(scratch.at("any.yaml"), "files: [f]\n");
writeFileSync(scratch.at("none.toml"), 'name = "nobody"\n');

describe("copse scan", () => {
  test("row 27: root and path as one, sorted, a line for each pattern; 0 found, 1 none, 2 trouble", async () => {
    expect(await copse("scan", "data/", "-p", "s.json")).toEqual({
      out: "data/s1\ndata/t/s1\n",
      err: "",
      status: 0,
    });
    expect((await copse("scan", "data", "-p", "s.json", "-p", "any.yaml")).out).toBe(
      "data/s1\ndata/s1\ndata/s1/odd\\nname\ndata/t/s1\ndata/t/s1\n",
    );
    expect(await copse("scan", "data", "-p", "none.toml")).toEqual({ out: "", err: "", status: 1 });
    for (const args of [
      ["scan", "data"],
      ["scan", "nowhere", "-p", "s.json"],
      ["scan", "data", "-p", "nowhere.json"],
      ["scan", "data", "-p", "data/s1/f"],
    ]) {
      const { out, err, status } = await copse(...args);
      expect({ out, status }).toEqual({ out: "", status: 2 });
      expect(err).toStartWith("copse: ");
    }
  });

  test("--json, --jsonl and -0", async () => {
    const { out } = await copse("scan", "data", "-p", "s.json", "--json");
    expect(JSON.parse(out)).toEqual({
      matches: [
        { path: "s1", pattern: "s.json", root: "data" },
        { path: "t/s1", pattern: "s.json", root: "data" },
      ],
      errors: [],
      complete: true,
    });
    const lines = (await copse("scan", "data", "-p", "s.json", "--jsonl")).out.trim().split("\n");
    expect(lines.map((line) => JSON.parse(line).kind).toSorted()).toEqual([
      "match",
      "match",
      "summary",
    ]);
    expect((await copse("scan", "data", "-p", "any.yaml", "-0")).out).toBe(
      "data/s1\0data/s1/odd\nname\0data/t/s1\0",
    );
  });

  test("a reader that leaves early ends it quietly", async () => {
    const script = `"$1" "$2" scan data -p any.yaml | head -1`;
    const child = Bun.spawn(
      ["bash", "-o", "pipefail", "-c", script, "sh", process.execPath, main],
      {
        cwd: scratch.path,
        stdout: "pipe",
        stderr: "pipe",
      },
    );
    expect(await child.stdout.text()).toBe("data/s1\n");
    expect(await child.stderr.text()).toBe("");
  });
});

test("what is said of a wrong root, flag or pattern: its name as the person gave it, and what to do", async () => {
  const table: readonly (readonly [args: readonly string[], says: string])[] = [
    [["scan", "s.json", "-p", "s.json"], "copse: s.json: it is a file; scan wants a directory\n"],
    [
      ["scan", "nowhere", "-p", "s.json"],
      "copse: nowhere: no such file or directory: check the path\n",
    ],
    [["watch", "s.json"], "copse: s.json: it is no directory; watch wants one\n"],
    [["watch", "nowhere"], "copse: nowhere: no such file or directory: check the path\n"],
    [["list", "data", "--max-depth", "0"], "copse: --max-depth must be a whole number from 1 "],
    [
      ["scan", "data", "-p", "s.json", "--ignore-files", ""],
      "copse: --ignore-files must hold names of files",
    ],
    [
      ["scan", "data", "-p", "s.json", "--explain", "-0"],
      "copse: option '--explain' cannot be used with option '-0, --null'\n",
    ],
  ];
  await Promise.all(
    table.map(async ([args, says]) => {
      const { out, err, status } = await copse(...args);
      expect([args, out, status]).toEqual([args, "", 2]);
      expect(err).toStartWith(says);
    }),
  );
});

test("scan and assess look into archives, as list does", async () => {
  expect(
    Bun.spawnSync(["tar", "cf", scratch.at("data.tar"), "-C", scratch.path, "data"]).exitCode,
  ).toBe(0);
  const flags = ["-p", "s.json", "--archives", "--strip", "1"];
  expect((await copse("scan", "data.tar", ...flags)).out).toBe("data.tar/s1\ndata.tar/t/s1\n");
  expect((await copse("scan", "archive:data.tar", "-p", "s.json")).status).toBe(0);
  const { status, err } = await copse("scan", "data", "-p", "s.json", "--strip", "1");
  expect([status, err]).toEqual([2, expect.stringContaining("no location is an archive")]);
});

describe("copse assess, pattern and shuffle", () => {
  test("assess: the directories above, nearest first", async () => {
    const { out, status } = await copse("assess", "data/t/s1/f", "-p", "s.json");
    expect([out, status]).toEqual([`${scratch.at("data/t/s1")}\n`, 0]);
    expect((await copse("assess", "data/s2/g", "-p", "s.json")).status).toBe(1);
  });

  test("infer: what is printed fits its example", async () => {
    const { out, status } = await copse("pattern", "infer", "data/t");
    expect(status).toBe(0);
    writeFileSync(scratch.at("t.json"), out);
    expect((await copse("scan", "data", "-p", "t.json")).out).toBe("data/t\n");
  });

  test("row 28: shuffle says what it does, clashes are trouble", async () => {
    const clash = await copse("shuffle", "data", "out", "-p", "s.json", "--dry-run");
    expect(clash.status).toBe(2);
    expect(clash.err).toContain("2 matches would go there; --on-conflict says what then\n");
    expect(await copse("shuffle", "data", "out", "-p", "s.json", "-n", "-q")).toEqual({
      out: "",
      err: "",
      status: 2,
    });
    const dry = await copse(
      "shuffle",
      "data",
      "out",
      "-p",
      "s.json",
      "--on-conflict",
      "suffix",
      "--dry-run",
    );
    expect(dry.status).toBe(0);
    expect(dry.out).toEndWith("Would copy 2 files, 3 B of 2 matches to out\n");
    const done = await copse("shuffle", "data", "out", "-p", "s.json", "--on-conflict", "suffix");
    expect(done.out).toEndWith("Copied 2 files, 3 B of 2 matches to out\n");
    expect(readFileSync(scratch.at("out/s1-2/f"), "utf8")).toBe("22");
    expect((await copse("shuffle", "data", "out", "-p", "none.toml")).status).toBe(1);
    const again = await copse("shuffle", "data/t", "out", "-p", "s.json");
    expect([again.status, again.err]).toEqual([
      2,
      expect.stringContaining("the destination is there already; --overwrite merges into it\n"),
    ]);
    expect((await copse("shuffle", "data/t", "out", "-p", "s.json", "--overwrite")).status).toBe(0);
    expect(readFileSync(scratch.at("out/s1/f"), "utf8")).toBe("22");
  });
});

test("copse watch prints a line for each change until it is interrupted", async () => {
  const root = scratch.plant("watched", { "a/g": "" });
  await using child = Bun.spawn(
    tied([
      "env",
      "--default-signal=INT",
      process.execPath,
      main,
      "watch",
      root,
      "-p",
      "any.yaml",
      "--initial",
    ]),
    { cwd: scratch.path, stdout: "pipe", stderr: "pipe" },
  );
  let out = "";
  let wrote = false;
  for await (const chunk of child.stdout) {
    out += new TextDecoder().decode(chunk);
    if (!wrote && out.includes("added      a/g")) {
      writeFileSync(`${root}/a/f`, "");
      wrote = true;
    }
    if (out.includes("matched") && out.includes("added      a/f")) break;
  }
  child.kill("SIGINT");
  expect(await child.exited).toBe(130);
  expect(out).toContain("added      a/f\n");
  expect(out).toContain("matched    a  any.yaml\n");
});
