// compare with `text`: white space that is no difference, in files chosen by glob.

import { afterAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { compare, compareSync, Runtime, type TextRule } from "../lib/index.ts";
import { gzip, tarOf } from "./archives.ts";
import { commandPlace, rows } from "./command.ts";
import { isSanitized, someSeed } from "./patience.ts";
import { startUnruly, type Reply } from "./servers/unruly.ts";
import { groundsIn, Random, run, Scratch } from "./trees.ts";
import { codeOfSync, facts, leaveNothingOpen, ways } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const { file, memory } = groundsIn(() => scratch);
const grounds = [memory, file];

const all: TextRule = { eol: true, space: true, blankLines: true };

/** One pair, as the only file of two trees in memory. */
async function pair(left: string, right: string, text: TextRule): Promise<string> {
  const [l, r] = [await memory.plant({ t: left }), await memory.plant({ t: right })];
  return facts(compareSync(l, r, { text })).join();
}

describe("a text", () => {
  const same: readonly (readonly [string, string, TextRule, string])[] = [
    ["a\r\nb\r\n", "a\nb\n", { eol: true }, "eol"],
    ["a\r\nb\n", "a\nb\r\n", { eol: true }, "eol"],
    ["a\r\nb\r\n", "a\nb\n", { space: true }, "space"],
    ["a\r\nb\r\n", "a\nb\n", all, "eol"],
    ["a \t\r\nb\n", "a\nb", { space: true }, "space"],
    ["a", "a\n", { space: true }, "space"],
    ["a \n \n", "a\n\n", { space: true }, "space"],
    ["a\n   ", "a\n\n", { space: true }, "space"],
    ["\n\na\n\n\nb\n\n", "a\nb\n", { blankLines: true }, "blankLines"],
    ["\n\na\n \nb", "\n\na\n\nb\n", all, "space"],
    ["\n\na\n \nb", "a\nb\n", all, "space+blankLines"],
    ["a\r\n\r\nb\n", "a\nb\n", { eol: true, blankLines: true }, "eol+blankLines"],
    ["a\r\n\r\nb\n", "a\r\nb\r\n", all, "eol+blankLines"],
    ["\n \n", "", all, "space+blankLines"],
    ["\n", "", { blankLines: true }, "blankLines"],
  ];
  for (const [left, right, text, rule] of same)
    test(`${Bun.inspect(left)} is ${Bun.inspect(right)} by ${rule}`, async () => {
      expect(await pair(left, right, text)).toBe(`same-by-rule ${rule} t`);
      expect(await pair(right, left, text)).toBe(`same-by-rule ${rule} t`);
    });

  const different: readonly (readonly [string, string, TextRule])[] = [
    ["a\rb", "a\nb", all],
    ["a\r\r\n", "a\n", { eol: true }],
    ["a\r", "a", { eol: true, blankLines: true }],
    ["a\n", "a", { eol: true, blankLines: true }],
    [" a\n", "a\n", all],
    ["a  b\n", "a b\n", all],
    ["a\n \nb\n", "a\nb\n", { blankLines: true }],
    ["a\n\nb\n", "a\nb\n", { space: true, eol: true }],
    ["a\n", "a\nb\n", all],
    ["", "a", all],
    ["a\0\r\n", "a\0\n", all],
    ["a\r\n\0", "a\n\0", all],
  ];
  for (const [left, right, text] of different)
    test(`${Bun.inspect(left)} is not ${Bun.inspect(right)} whatever is ignored of ${Object.keys(text)}`, async () => {
      expect(await pair(left, right, text)).toStartWith("differs ");
      expect(await pair(right, left, text)).toStartWith("differs ");
    });
});

describe("compare with text", () => {
  test("rows of files that are the same by rule are counted apart and leave the answer equal, in every way and on every ground", async () => {
    for (const ground of grounds) {
      const [l, r] = [
        await ground.plant({ "a.md": "a\r\n", "b.md": "b \n", same: "s\n", "c.txt": "c" }),
        await ground.plant({ "a.md": "a\n", "b.md": "b\n", same: "s\n", "c.txt": "c" }),
      ];
      for (const way of ways) {
        const answer = await way.compare(l, r, { text: { ...all, match: ["*.md"] } });
        expect(facts(answer)).toEqual(["same-by-rule eol a.md", "same-by-rule space b.md"]);
        expect(answer).toMatchObject({ equal: true, complete: true, sameByRule: 2, files: 4 });
        const [row] = answer.differences;
        expect(row).toMatchObject({ left: { size: 3 }, right: { size: 2 } });
        const plain = await way.compare(l, r);
        expect(facts(plain)).toEqual(["differs size a.md", "differs size b.md"]);
        expect(plain.sameByRule).toBe(0);
      }
    }
  });

  test("globs choose; of several rules for a file the first counts; other files are compared byte by byte", async () => {
    const tree = { "x.md": "x\r\n", "docs/y.md": "y\r\n", "z.txt": "z\r\n", "docs/w.txt": "w \n" };
    const other = { "x.md": "x\n", "docs/y.md": "y\n", "z.txt": "z\n", "docs/w.txt": "w\n" };
    const [l, r] = [await memory.plant(tree), await memory.plant(other)];
    expect(
      facts(
        compareSync(l, r, {
          text: [
            { match: ["docs/*.md", "x.*"], eol: true },
            { match: ["**/*.txt"], blankLines: true },
            { match: ["*.txt"], space: true },
          ],
        }),
      ),
    ).toEqual([
      "differs content@1 docs/w.txt",
      "same-by-rule eol docs/y.md",
      "same-by-rule eol x.md",
      "differs content@1 z.txt",
    ]);
    expect(compareSync(l, r, { text: all })).toMatchObject({ equal: true, sameByRule: 4 });
  });

  test("a single pair of files has the name of its location", async () => {
    const l = scratch.at("single.md");
    const r = scratch.at("single.other");
    writeFileSync(l, "one\r\ntwo\r\n");
    writeFileSync(r, "one\ntwo\n");
    for (const match of [["*.md"], ["*.other"]])
      expect(facts(await compare(l, r, { text: { match, eol: true } }))).toEqual([
        "same-by-rule eol ",
      ]);
    expect(facts(await compare(l, r, { text: { match: ["*.txt"], eol: true } }))).toEqual([
      "differs size ",
    ]);
  });

  test("a text that differs says where: the first byte, and the first line that differs in more than may be ignored", async () => {
    const differ = async (left: string, right: string): Promise<unknown> => {
      const [l, r] = [await memory.plant({ t: left }), await memory.plant({ t: right })];
      const [row] = compareSync(l, r, { text: all }).differences;
      return row?.kind === "differs" ? [row.reason, row.offset, row.line] : row;
    };
    expect(await differ("a\r\n\n\nb\nc\n", "a\nb\nd\n")).toEqual(["content", 1, 5]);
    expect(await differ("a\nb\n", "a\nb\n\nc\n")).toEqual(["content", 4, 3]);
    expect(await differ("a\nb", "a\nb\n\nc\n")).toEqual(["content", 3, 3]);
    expect(await differ("a\nb\n\n \nc", "a\nb\n")).toEqual(["content", 4, 5]);
    expect(await differ("x", "y")).toEqual(["content", 0, 1]);
    // Binary: as without the option.
    expect(await differ("\0a\r\n", "\0a\n")).toEqual(["size", undefined, undefined]);
    expect(await differ("\0a", "\0b")).toEqual(["content", 1, undefined]);
  });

  test("a zero byte anywhere in either file makes every byte count", async () => {
    const long = "line of a text\r\n".repeat(60_000);
    const unix = long.replaceAll("\r", "");
    const cases = [
      [long + "\0", unix + "\0"],
      [long + "\0", unix],
      [long, unix + "\0"],
      [`\0${long}`, `\0${unix}`],
      [`${long}\0${long}`, `${unix}\0${unix}`],
    ] as const;
    for (const [left, right] of cases) {
      expect(await pair(left, right, all)).toBe("differs size t");
      expect(await pair(right, left, all)).toBe("differs size t");
    }
    expect(await pair(long, unix, all)).toBe("same-by-rule eol t");
  });

  test("neither lines nor white space have to fit anywhere", async () => {
    const spaces = " \t".repeat(200_000);
    const line = "x".repeat(700_001);
    expect(await pair(`a${spaces}\nb\n`, "a\nb\n", { space: true })).toBe("same-by-rule space t");
    expect(await pair(`a${spaces}b\r\n`, `a${spaces}b\n`, all)).toBe("same-by-rule eol t");
    expect(await pair(`a${spaces}b\n`, `a${spaces} b\n`, all)).toBe("differs content@400001 t");
    expect(await pair(`a${spaces}b \n`, `a${" \t".repeat(199_999)}\t b\n`, all)).toBe(
      "differs content@399999 t",
    );
    expect(await pair(`${line}\r\n${line}`, `${line}\n${line}`, all)).toBe("same-by-rule eol t");
    expect(await pair("\n".repeat(900_000) + line, `${line}\n`, all)).toBe(
      "same-by-rule space+blankLines t",
    );
    expect(await pair(line, "\r\n".repeat(500_000) + `${line}y`, all)).toBe("differs content@0 t");
  });

  test("metadata that differs too is the row", async () => {
    const l = scratch.plant("mode-left", { t: "a\r\n" });
    const r = scratch.plant("mode-right", { t: "a\n" });
    run("chmod", "600", `${l}/t`);
    run("chmod", "644", `${r}/t`);
    const text = { eol: true };
    expect(facts(compareSync(l, r, { text, metadata: ["mode"] }))).toEqual(["differs mode t"]);
    run("chmod", "600", `${r}/t`);
    expect(facts(compareSync(l, r, { text, metadata: ["mode"] }))).toEqual(["same-by-rule eol t"]);
  });

  test("stopAtFirst goes on over what is the same by rule", async () => {
    const [l, r] = [
      await memory.plant({ a: "a\r\n", b: "b", c: "c\r\n" }),
      await memory.plant({ a: "a\n", b: "B", c: "c\n" }),
    ];
    expect(compareSync(l, r, { text: all, stopAtFirst: true }).equal).toBe(false);
    const only = { text: all, stopAtFirst: true, exclude: ["b"] };
    expect(compareSync(l, r, only)).toMatchObject({ equal: true, sameByRule: 2 });
  });

  test("with a cache of hashes, too", async () => {
    const l = scratch.plant("cache-left", { t: "a\r\nb\n", u: "u\n" });
    const r = scratch.plant("cache-right", { t: "a\nb\n", u: "v\n" });
    for (let i = 0; i < 2; i++)
      expect(facts(compareSync(l, r, { text: all, cache: scratch.at("hashes") }))).toEqual([
        "same-by-rule eol t",
        "differs content@0 u",
      ]);
  });

  test("content that is read only onward: packed archives, and a server that says no length", async () => {
    const entries = (eol: string) =>
      ["a", "b", "c", "d"].map((name) => ({
        name,
        content: Buffer.from(`${name}${eol}`.repeat(40_000) + (name === "c" ? eol.length : "")),
      }));
    const plain = scratch.plant("unpacked", {});
    for (const { name, content } of entries("\n")) writeFileSync(`${plain}/${name}`, content);
    writeFileSync(scratch.at("crlf.tar.gz"), gzip(tarOf(...entries("\r\n"))));
    writeFileSync(scratch.at("lf.tar.gz"), gzip(tarOf(...entries("\n").toReversed())));
    const says = ["a", "b", "d"].map((name) => `same-by-rule eol ${name}`);
    says.splice(2, 0, "differs content@1 c");
    for (const right of [plain, `archive:${scratch.at("lf.tar.gz")}`]) {
      const answer = compareSync(`archive:${scratch.at("crlf.tar.gz")}`, right, { text: all });
      expect(facts(answer)).toEqual(says);
      expect(answer.differences[2]).toMatchObject({ line: 40_001 });
    }
    const body = "line\r\n".repeat(100_000);
    const chunked = ({ write, end }: Reply): void => {
      write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
      for (let at = 0; at < body.length; at += 50_000) {
        const piece = body.slice(at, at + 50_000);
        write(`${piece.length.toString(16)}\r\n${piece}\r\n`);
      }
      write("0\r\n\r\n");
      end();
    };
    using server = startUnruly({ "/t.md?v=1": chunked });
    using runtime = new Runtime();
    const here = scratch.at("t.md");
    writeFileSync(here, body.replaceAll("\r", ""));
    const text = { match: ["*.md"], eol: true };
    expect(facts(await compare(here, `${server.url}/t.md?v=1`, { text, runtime }))).toEqual([
      "same-by-rule eol ",
    ]);
    expect(server.asked.filter(({ method }) => method === "GET")).toHaveLength(1);
  });

  test("a manifest has no text, and by: hash and stat compare none", async () => {
    const l = await memory.plant({ t: "a" });
    writeFileSync(scratch.at("list"), `${"0".repeat(64)}  t\n`);
    const list = `manifest:${scratch.at("list")}`;
    expect(codeOfSync(() => compareSync(l, list, { text: all }))).toBe("UNSUPPORTED");
    for (const by of ["hash", "stat"] as const)
      expect(codeOfSync(() => compareSync(l, l, { by, text: all }))).toBe("ARGUMENT");
    const wrong: unknown[] = [
      {},
      { match: ["*"] },
      { eol: 1 },
      { eol: true, tabs: true },
      { eol: true, match: "*.md" },
      { eol: true, match: [""] },
      [{ eol: true }, null],
      "eol",
    ];
    for (const text of wrong)
      expect(codeOfSync(() => compareSync(l, l, { text: text as TextRule }))).toBe("ARGUMENT");
  });
});

describe("at random,", () => {
  type Name = "eol" | "space" | "blankLines";
  const orders: readonly (readonly Name[])[] = [
    ["eol"],
    ["blankLines"],
    ["space"],
    ["eol", "blankLines"],
    ["space", "blankLines"],
  ];

  /** The text without what is ignored, and for each character the line it comes from. */
  function reduced(text: string, ignore: readonly Name[]): { out: string; lines: number[] } {
    let out = "";
    const lines: number[] = [];
    const pieces = text.split("\n");
    pieces.forEach((piece, i) => {
      const isLast = i === pieces.length - 1;
      if (isLast && piece === "") return;
      let end = isLast ? "" : "\n";
      let line = piece;
      if (ignore.includes("space")) {
        line = line.replace(/[ \t\v\f\r]+$/, "");
        end = "\n";
      } else if (ignore.includes("eol") && !isLast) line = line.replace(/\r$/, "");
      if (ignore.includes("blankLines") && line === "") return;
      out += line + end;
      for (let k = 0; k < line.length + end.length; k++) lines.push(i + 1);
    });
    return { out, lines };
  }

  function lineOf(left: string, right: string, ignore: readonly Name[]): number {
    const [one, other] = [reduced(left, ignore), reduced(right, ignore)];
    let at = 0;
    while (at < one.out.length && one.out[at] === other.out[at]) at++;
    const ends = left.split("\n").length - 1;
    const isOpen = ignore.includes("space") && left !== "" && !left.endsWith("\n");
    return one.lines[at] ?? ends + 1 + Number(isOpen);
  }

  const alphabet = ["a", "b", " ", "\t", "\r", "\n", "\r\n", "\n\n", "  \r\n", "aa\n", "\v"];

  function randomText(random: Random): string {
    let text = "";
    for (let i = random.below(random.chance(3) ? 4 : 14); i > 0; i--) text += random.pick(alphabet);
    if (random.chance(40)) text += " ".repeat(random.below(3000)) + random.pick(alphabet);
    if (random.chance(60)) text += "ab \r\n\n".repeat(random.below(9000));
    return text;
  }

  /** The same text with other white space, and now and then another letter. */
  function changed(random: Random, text: string): string {
    let other = text;
    for (let i = random.below(4); i > 0; i--) {
      const [from, to] = random.pick([
        ["\r\n", "\n"],
        ["\n", "\r\n"],
        ["\n\n", "\n"],
        ["\n", "\n\n"],
        ["\n", " \n"],
        [" \n", "\n"],
        ["a", "a\n"],
        ["b", random.chance(3) ? "c" : "b"],
      ] as const);
      other = random.chance(2) ? other.replaceAll(from, to) : other.replace(from, to);
    }
    return random.chance(4) ? other + random.pick(alphabet) : other;
  }

  const count = Number(process.env["COPSE_ORACLE"] ?? (isSanitized ? 200 : 500));
  const seed = someSeed(1_000_000_000);

  test(`${count} pairs of seed ${seed} are what lines say, and never the same where diff sees a difference`, () => {
    const random = new Random(seed);
    const [l, r] = [scratch.plant("random-left", {}), scratch.plant("random-right", {})];
    const pairs = Array.from({ length: count }, (_, i) => {
      const left = randomText(random);
      const right = random.chance(5) ? randomText(random) : changed(random, left);
      writeFileSync(`${l}/${i}`, left);
      writeFileSync(`${r}/${i}`, right);
      return [left, right] as const;
    });
    const seen = { same: 0, ruled: 0, different: 0 };
    for (const ignore of [...orders, ["eol", "space", "blankLines"] as const]) {
      const text = Object.fromEntries(ignore.map((name) => [name, true]));
      const chunkSize = random.pick([5, 4096, 300_000]);
      const answer = compareSync(l, r, { text, chunkSize });
      const said = new Map(answer.differences.map((row) => [row.path, row]));
      pairs.forEach(([left, right], i) => {
        const row = said.get(String(i));
        const rule = orders.find(
          (some) =>
            some.every((name) => (ignore as readonly Name[]).includes(name)) &&
            reduced(left, some).out === reduced(right, some).out,
        );
        const what = `seed ${seed}, pair ${i}, ${ignore}: ${Bun.inspect(left.slice(0, 99))} ${Bun.inspect(right.slice(0, 99))}`;
        if (left === right) {
          expect(row, what).toBeUndefined();
          seen.same++;
        } else if (rule) {
          expect(row, what).toMatchObject({ kind: "same-by-rule", rule: rule.join("+") });
          seen.ruled++;
        } else {
          const bytes = [Buffer.from(left), Buffer.from(right)] as const;
          let offset = 0;
          while (offset < bytes[0].length && bytes[0][offset] === bytes[1][offset]) offset++;
          const line = lineOf(left, right, ignore);
          expect(row, what).toMatchObject({ kind: "differs", reason: "content", offset, line });
          seen.different++;
        }
      });
      expect(answer.sameByRule).toBe(
        answer.differences.filter(({ kind }) => kind === "same-by-rule").length,
      );
    }
    for (const [what, times] of Object.entries(seen))
      expect([what, times > 0]).toEqual([what, true]);

    // GNU diff matches lines first and looks at what is blank then, so what it calls the same is,
    // and not always the other way round. A '\r' at the very end is an end of line to it.
    for (const [flags, text] of [
      [["--strip-trailing-cr"], { eol: true }],
      [["-Z"], { space: true }],
      [["-B"], { blankLines: true }],
      [["--strip-trailing-cr", "-Z", "-B"], all],
    ] as const) {
      const found = Bun.spawnSync(["diff", "-rq", "-a", ...flags, l, r], {
        env: { ...process.env, LC_ALL: "C" },
      });
      const differing = new Set(
        [...found.stdout.toString().matchAll(/^Files \S*\/(\d+) and/gm)].map(([, name]) => name),
      );
      const answer = compareSync(l, r, { text });
      const ours = new Set(
        answer.differences.flatMap(({ kind, path }) => (kind === "differs" ? [path] : [])),
      );
      const isExact = !flags.some((flag) => flag === "-B");
      for (const path of ours)
        if (![l, r].some((root) => readFileSync(`${root}/${path}`, "latin1").endsWith("\r")))
          expect(`${flags} ${path} ${differing.has(path)}`).toBe(`${flags} ${path} true`);
      if (isExact)
        for (const path of differing)
          expect(`${flags} ${path} ${ours.has(path!)}`).toBe(`${flags} ${path} true`);
    }
  });
});

describe("copse compare --text", () => {
  const { copse, plant } = commandPlace();
  test("leaves out what it names, in files of a glob, and says it", async () => {
    plant("one", { "a.md": "a \r\n\r\nb\n", "b.txt": "b\r\n" });
    plant("two", { "a.md": "a\nb\n", "b.txt": "b\n" });
    const both = await copse("compare", "one", "two", "--text", "eol,space,blank-lines");
    expect(both.out.replace(/· \d+ files.*/, "· WORK")).toBe(`2 the same by rule
  = a.md   space+blankLines
  = b.txt  eol

equal, 2 the same by rule · WORK
`);
    expect(both.status).toBe(0);
    const some = await copse(
      "compare",
      "one",
      "two",
      "--jsonl",
      "--text",
      "*.md=space,blank-lines",
    );
    expect(some.status).toBe(1);
    expect(rows(some.out)).toMatchObject([
      { kind: "same-by-rule", rule: "space+blankLines", path: "a.md" },
      { kind: "differs", path: "b.txt" },
      { kind: "summary", equal: false, sameByRule: 1 },
    ]);
    const rest = ["--text", "*.md=space,blank-lines", "--text", "eol"];
    const two = await copse("compare", "one", "two", "--jsonl", ...rest);
    expect(two.status).toBe(0);
    expect((await copse("compare", "one", "two", "-q", ...rest)).status).toBe(0);
    const wrong = await copse("compare", "one", "two", "--text", "*.md=tabs");
    expect(wrong.status).toBe(2);
    expect(wrong.err).toContain("eol, space, blank-lines");
  });
});
