// Packs of copse's own format: small files together. All that is asked of packs is asked of them, too.
// COPSE_FLIPS=all flips every byte, COPSE_LONG=1 packs 20,000 files.

import { afterAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import {
  compare,
  compareSync,
  CopseError,
  listSync,
  pack,
  packSync,
  repairSync,
  Runtime,
  Store,
  unpackSync,
  verify,
  verifySync,
} from "../lib/index.ts";
import { commandPlace } from "./command.ts";
import { missedDamage } from "./packs.ts";
import { isLong, within } from "./patience.ts";
import { asTree, directory, link, Random, randomTree, Scratch } from "./trees.ts";

const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const step = process.env["COPSE_FLIPS"] === "all" ? 1 : 13;
const format = "copse";
const metadata = ["mode", "mtime"] as const;

const words = Array.from({ length: 500 }, (_, i) => `${(i * 7919).toString(36)}${i}`);
function prose(random: Random, size: number): string {
  let text = "";
  while (text.length < size) text += `${words[random.below(words.length)]!} `;
  return text;
}

/** So many small files that a dictionary is made of them. */
function many(name: string, count: number): string {
  const random = new Random(3);
  return scratch.plant(
    name,
    Object.fromEntries(
      Array.from(
        { length: count },
        (_, i) => [`d${i % 17}/f${i}.txt`, prose(random, 1000 + random.below(3000))] as const,
      ),
    ),
  );
}

test(
  "random trees come out as they went in, also by way of the other format",
  async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const grown = randomTree(new Random(seed));
      // Links that lead out are not taken from a pack, which is another test.
      for (const [path, plant] of grown)
        if (typeof plant === "object" && "target" in plant && plant.target === "..")
          grown.set(path, link("."));
      const root = scratch.plant(`random-${seed}`, asTree(grown));
      const file = scratch.at(`random-${seed}.pack`);
      expect(packSync(root, file, { format, level: 1 + (seed % 19) }).errors).toBe(0);
      expect((await verify(file)).ok).toBe(true);
      expect(await compare(root, `pack:${file}`, { metadata })).toMatchObject({ equal: true });
      const other = scratch.at(`random-${seed}.znippy`);
      packSync(`pack:${file}`, other);
      expect(compareSync(root, `pack:${other}`, { metadata }).differences).toEqual([]);
    }
  },
  within(60_000),
);

test("what is packed already by its name, large, empty or the same is there like all else", () => {
  const root = scratch.plant("kinds", {
    "a.png": new Random(1).bytes(500),
    "b.txt": "same",
    "c.txt": "same",
    "d.txt": "",
    "e.log": prose(new Random(2), 5_000_000),
    "f.gz": "same",
    "g.bin": new Random(4).bytes(130_000),
    h: directory,
    i: link("b.txt"),
  });
  for (const compress of ["auto", "always", "never"] as const) {
    const file = scratch.at("kinds.pack");
    const { report } = packSync(root, file, { format, compress });
    expect(report).toMatchObject({ files: 7, bytesOut: statSync(file).size });
    expect(compareSync(root, `pack:${file}`, { metadata }).differences).toEqual([]);
    expect(verifySync(file)).toMatchObject({ ok: true, files: 7 });
  }
});

describe("many small files", () => {
  const root = many("many", 2500);
  const file = scratch.at("many.pack");
  packSync(root, file, { format });
  const whole = readFileSync(file);

  test("take less than half of what the other format needs", () => {
    packSync(root, scratch.at("many.znippy"));
    expect(whole.length).toBeLessThan(statSync(scratch.at("many.znippy")).size / 2);
    expect(compareSync(root, `pack:${file}`).equal).toBe(true);
  });

  test("the same bytes for any number of workers", () => {
    for (const options of [{ workers: 1, ioWorkers: 1 }, { workers: 3 }]) {
      using runtime = new Runtime(options);
      packSync(root, scratch.at("again.pack"), { format, runtime });
      expect(readFileSync(scratch.at("again.pack")).equals(whole)).toBe(true);
    }
  });

  test("all workers pack groups, and a budget that is spent costs time only", async () => {
    using runtime = new Runtime({ workers: 2, memory: 16 << 20 });
    packSync(root, scratch.at("poor.pack"), { format, runtime });
    expect(readFileSync(scratch.at("poor.pack")).equals(whole)).toBe(true);
    using both = new Runtime({ workers: 2 });
    await pack(root, scratch.at("both.pack"), { format, level: 17, runtime: both });
    // Ticks of 10 ms, of the threads that this runtime started last.
    const used = readdirSync("/proc/self/task").flatMap((id) => {
      const stat = readFileSync(`/proc/self/task/${id}/stat`, "utf8");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return stat.includes("(copse-cpu)") ? Number(fields[11]) : [];
    });
    expect(used.slice(-2).every((ticks) => ticks > 5)).toBe(true);
  });

  test("a pack that is cancelled while groups are packed leaves nothing", async () => {
    const before = readdirSync(scratch.at("")).sort();
    for (const after of [20, 80, 200]) {
      const work = pack(root, scratch.at("cancelled.pack"), {
        format,
        level: 22,
        signal: AbortSignal.timeout(after),
      });
      const ended = await work.then(
        () => "done",
        (error: unknown) => (error as Error).name,
      );
      expect(ended).toBe("TimeoutError");
      expect(readdirSync(scratch.at("")).sort()).toEqual(before);
    }
  });

  test("one file is read with its group, and no more", async () => {
    const [, some] = listSync(`pack:${file}`).filter(({ type }) => type === "file");
    using runtime = new Runtime();
    const store = new Store(`pack:${file}`, { runtime });
    const bytes = await new Response(store.read(some!.path)).bytes();
    expect(Buffer.from(bytes).equals(readFileSync(`${root}/${some!.path}`))).toBe(true);
  });

  test("unpack gives all of them", () => {
    const out = scratch.at("many-out");
    expect(unpackSync(file, out)).toMatchObject({ errors: 0, copied: 2500 });
    expect(compareSync(root, out, { metadata }).differences).toEqual([]);
  });

  test("a dictionary that is damaged is found, and costs nothing; both cost the groups", async () => {
    // The first frame of the pack.
    const once = Buffer.from(whole);
    once[500]! ^= 4;
    writeFileSync(scratch.at("once.pack"), once);
    const found = await verify(scratch.at("once.pack"));
    expect(found).toMatchObject({ ok: false, errors: 0 });
    expect(found.checks).toMatchObject([{ kind: "corrupt", path: "" }]);
    expect(compareSync(root, `pack:${scratch.at("once.pack")}`).equal).toBe(true);
    const length = firstFrame(whole);
    const second = whole.indexOf(whole.subarray(0, length), length);
    expect(second).toBeGreaterThan(length);
    once[second + 500]! ^= 4;
    writeFileSync(scratch.at("both.pack"), once);
    const both = await verify(scratch.at("both.pack"));
    expect(both.ok).toBe(false);
    expect(both.checks.filter(({ kind }) => kind === "corrupt").length).toBeGreaterThan(2400);
  });

  test("with the index cut off all names come back; with the copies gone the groups do", () => {
    const cut = scratch.at("many-cut.pack");
    const mended = scratch.at("many-mended.pack");
    writeFileSync(cut, whole.subarray(0, -500));
    expect(repairSync(cut, mended, { format })).toMatchObject({
      copied: 2500,
      errors: 0,
      recovered: { numbered: 0 },
    });
    expect(compareSync(root, `pack:${mended}`).equal).toBe(true);
    writeFileSync(cut, whole.subarray(0, whole.indexOf("COPSE-INDEX-COPY")));
    const { recovered, errors, copied } = repairSync(cut, mended);
    expect([errors, recovered]).toEqual([0, { numbered: copied, folder: "recovered" }]);
    const bytes = listSync(`pack:${mended}`, { stat: true }).reduce((n, e) => n + (e.size ?? 0), 0);
    expect(bytes).toBe(
      listSync(root, { stat: true }).reduce((n, e) => n + (e.type === "file" ? e.size! : 0), 0),
    );
  });

  test("damage anywhere is found", async () => {
    const random = new Random(8);
    for (let i = 0; i < 12; i++) {
      const copy = Buffer.from(whole);
      copy[random.below(copy.length)]! ^= 1 << random.below(8);
      writeFileSync(scratch.at("flip.pack"), copy);
      const found = await verify(scratch.at("flip.pack")).then(
        ({ ok }) => !ok,
        (error: unknown) => error instanceof CopseError,
      );
      expect(found).toBe(true);
    }
  });
});

/** How long the frame is that the bytes begin with: the next one begins as frames do. */
function firstFrame(bytes: Buffer): number {
  return bytes.indexOf(Buffer.from([0, 0xd9, 0xa5, 0xb1, 0xd7, 3, 1]), 8) + 1;
}

const smalls: [string, Parameters<Scratch["plant"]>[1]][] = [
  ["one file", { a: "text" }],
  [
    "a group of several kinds",
    {
      "a/text.log": "line of a text that packs well\n".repeat(200),
      "b.bin": new Random(1).bytes(300),
      c: link("a"),
      d: directory,
      "e.txt": "",
      f: "same",
      g: "same",
      "h.png": new Random(5).bytes(64),
    },
  ],
  ["nothing but directories", { a: directory, b: link("a") }],
];
test.each(smalls)(
  `every flipped byte and every cut is found (every ${step}th): %s`,
  async (name, tree) => {
    const root = scratch.plant(name, tree);
    const file = scratch.at(`${name}.pack`);
    packSync(root, file, { format });
    expect(await missedDamage(readFileSync(file), step)).toEqual([]);
  },
  within(600_000),
);

test.skipIf(!isLong || !Bun.which("zstd"))(
  "20,000 small files take no more than tar and zstd -3 need",
  () => {
    const root = many("twenty", 20_000);
    const file = scratch.at("twenty.pack");
    packSync(root, file, { format });
    const tar = scratch.at("twenty.tar.zst");
    Bun.spawnSync(["sh", "-c", `tar -C ${root} -cf - . | zstd -q -3 -f -o ${tar}`]);
    console.log(`copse ${statSync(file).size}, tar.zst ${statSync(tar).size}`);
    expect(statSync(file).size).toBeLessThanOrEqual(statSync(tar).size);
  },
  within(300_000),
);

describe("copse pack --format copse", () => {
  const { copse } = commandPlace();
  test("and list, cat, verify, compare and unpack take it as any pack", async () => {
    const root = scratch.plant("cli", { "a/b.txt": "hello", c: "there" });
    const file = scratch.at("cli.pack");
    expect((await copse("pack", root, file, "--format", "copse")).status).toBe(0);
    expect((await copse("list", `pack:${file}`)).out).toContain("a/b.txt");
    expect((await copse("cat", file, "a/b.txt")).out).toBe("hello");
    expect((await copse("verify", file)).status).toBe(0);
    expect((await copse("compare", root, `pack:${file}`)).status).toBe(0);
    expect((await copse("unpack", file, scratch.at("cli-out"))).status).toBe(0);
    expect(compareSync(root, scratch.at("cli-out")).equal).toBe(true);
    expect((await copse("pack", root, file, "--format", "zip")).status).toBe(2);
  });
});
