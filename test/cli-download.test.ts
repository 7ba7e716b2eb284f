// copse download (dl): what it is called, where it goes, what it says, and how it ends.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { commandPlace, main, type Ran } from "./command.ts";
import { tied } from "./servers/tied.ts";
import { answer, startUnruly, type Script, type Unruly } from "./servers/unruly.ts";

const place = commandPlace();
let server: Unruly;
const MIB = 1024 * 1024;
let isSlow = false;
const large = Buffer.alloc(6 * MIB, "0123456789abcdef");

function named(disposition: string): Script {
  return answer("named", `Content-Disposition: ${disposition}\r\n`);
}

beforeAll(() => {
  server = startUnruly({
    "/a.txt": answer("aaa"),
    "/b.txt": answer("bbbb"),
    "/other/a.txt": answer("other"),
    "/with%20space.txt": answer("space"),
    "/x?sig=canary-signature": answer("signed"),
    "/x": answer("x"),
    "/get/1": named('attachment; filename="report 1.txt"'),
    "/get/2": named("attachment; filename*=UTF-8''na%C3%AFve.txt"),
    "/get/3": named("attachment; filename=../../escaped"),
    "/get/4": named("attachment; filename=.profile"),
    "/get/5": named("attachment; filename=/etc/passwd"),
    "/get/6": named("attachment; filename=same.txt"),
    "/get/7": answer("another", "Content-Disposition: attachment; filename=same.txt\r\n"),
    "/": answer("[]", "Content-Type: application/json\r\n"),
    "/late": answer("no", "", "500 Internal"),
    "/large": async (reply) => {
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(reply.now.headers["range"] ?? "") ?? [];
      const head = 'Accept-Ranges: bytes\r\nETag: "1"\r\n';
      if (from === undefined) return answer(large, head)(reply);
      const part = large.subarray(Number(from), Number(to) + 1);
      reply.write(
        `HTTP/1.1 206 Partial\r\n${head}Content-Range: bytes ${from}-${to}/${large.length}\r\nContent-Length: ${part.length}\r\n\r\n`,
      );
      for (let at = 0; at < part.length; at += 64 * 1024) {
        reply.write(part.subarray(at, at + 64 * 1024));
        if (isSlow && !(await reply.wait(50))) return;
      }
    },
  });
});
afterAll(() => {
  server[Symbol.dispose]();
});

let count = 0;
const fresh = (): string => join(place.folder, `into-${count++}`);
const dl = (...args: string[]): Promise<Ran> => place.copse("dl", ...args);

describe("where it goes", () => {
  test("several URLs into a directory that is made", async () => {
    const into = join(fresh(), "deep");
    const { status, out } = await dl(`${server.url}/a.txt`, `${server.url}/b.txt`, into);
    expect(status).toBe(0);
    expect(readFileSync(join(into, "a.txt"), "utf8")).toBe("aaa");
    expect(readFileSync(join(into, "b.txt"), "utf8")).toBe("bbbb");
    expect(out).toMatch(/^\+ a\.txt {2}3 B\n\+ b\.txt {2}4 B\n2 fetched · 7 B in .*\n$/);
  });

  test("two answers with one name: the first stays, the second is EXISTS, 2", async () => {
    for (const parallel of ["1", "2"]) {
      const into = fresh();
      const both = [`${server.url}/get/6`, `${server.url}/get/7`, into];
      const { status, out } = await dl(...both, "--parallel", parallel);
      expect([status, out.includes("EXISTS")]).toEqual([2, true]);
      expect(readdirSync(into)).toEqual(["same.txt"]);
      expect(readFileSync(join(into, "same.txt"), "utf8")).toMatch(
        parallel === "1" ? /^named$/ : /^(named|another)$/,
      );
    }
    const apart = [fresh(), fresh()] as const;
    await dl(`${server.url}/get/6`, apart[0]);
    await dl(`${server.url}/get/7`, apart[0]); // a run of its own may replace it
    expect(readFileSync(join(apart[0], "same.txt"), "utf8")).toBe("another");
  });

  test("here, when no directory is named", async () => {
    const into = fresh();
    mkdirSync(into);
    const { status } = await place.shell(`cd ${into} && copse download ${server.url}/a.txt -q`);
    expect(status).toBe(0);
    expect(readdirSync(into)).toEqual(["a.txt"]);
  });

  test("--output names the file", async () => {
    const file = join(fresh(), "made", "c.txt");
    expect((await dl(`${server.url}/a.txt`, "-o", file)).status).toBe(0);
    expect(readFileSync(file, "utf8")).toBe("aaa");
  });

  test("--output - is standard output, and nothing else is written there", async () => {
    const { status, out, err } = await dl(`${server.url}/large`, "-o", "-");
    expect([status, err]).toEqual([0, ""]);
    expect(out).toBe(large.toString());
  });

  test("a directory's index comes as a tree", async () => {
    const into = fresh();
    expect((await dl(`${server.url}/`, into)).status).toBe(0);
    expect(readdirSync(into)).toEqual([]);
  });
});

describe("what it is called", () => {
  test.each([
    ["/get/1", "report 1.txt"],
    ["/get/2", "naïve.txt"],
    ["/get/3", "escaped"],
    ["/get/4", "4"],
    ["/get/5", "passwd"],
    ["/with%20space.txt", "with space.txt"],
  ])("%s: %s", async (path, name) => {
    const into = fresh();
    const { status, out } = await dl(server.url + path, into);
    expect(status).toBe(0);
    expect(readdirSync(into)).toEqual([name]);
    expect(out).toStartWith(`+ ${name}  `);
  });
});

describe("how it ends", () => {
  test("one that is not there is a line; the others come; 2", async () => {
    const into = fresh();
    const { status, out } = await dl(`${server.url}/nothing`, `${server.url}/a.txt`, into);
    expect(status).toBe(2);
    expect(readdirSync(into)).toEqual(["a.txt"]);
    expect(out).toContain("! ");
    expect(out).toContain("404");
    expect(out).toContain("1 fetched, 1 error");
  });

  test.each([
    [["a.txt"], "is no http or https URL"],
    [["http://127.0.0.1:1/a", "http://127.0.0.1:1/b", "-o", "x"], "names one file"],
    [["http://127.0.0.1:1/a", "dir", "-o", "x"], "not both"],
    [["http://127.0.0.1:1/a", "http://127.0.0.1:1/d/a"], "have the name a"],
    [["http://127.0.0.1:1/a", "-o", "-", "--json"], "nothing else"],
    [["http://127.0.0.1:1/a", "--streams", "33"], "streams must be"],
    [["http://127.0.0.1:1/a", "--streams", "many"], "Give a whole number"],
    [["http://127.0.0.1:1/a", "--chunk-size", "8M-4M"], "chunkSize"],
  ])("%j is refused", async (args, sentence) => {
    const { status, err } = await dl(...args);
    expect(status).toBe(2);
    expect(err).toContain(sentence);
  });

  test("what is there already is fetched again only when it differs", async () => {
    const into = fresh();
    await dl(`${server.url}/a.txt`, into, "-q");
    writeFileSync(join(into, "a.txt"), "mine");
    const never = await dl(`${server.url}/a.txt`, into, "--overwrite", "never");
    expect([never.status, readFileSync(join(into, "a.txt"), "utf8")]).toEqual([0, "mine"]);
    expect(never.out).toContain("1 there already");
    expect((await dl(`${server.url}/a.txt`, into)).status).toBe(0);
    expect(readFileSync(join(into, "a.txt"), "utf8")).toBe("aaa");
  });

  test("--dry-run fetches nothing", async () => {
    const into = fresh();
    const { status, out } = await dl(`${server.url}/a.txt`, into, "-n");
    expect(status).toBe(0);
    expect(out).toContain("+ ");
    expect(existsSync(into)).toBe(false);
  });

  test("--json and --jsonl say the same, with the URL of each", async () => {
    const into = fresh();
    const urls = [`${server.url}/a.txt`, `${server.url}/nothing`];
    const json = await dl(...urls, into, "--json");
    const document = JSON.parse(json.out);
    expect(document).toMatchObject({ urls: 2, copied: 1, errors: 1, complete: false });
    expect(document.actions).toMatchObject([
      { url: urls[0], kind: "copied", name: "a.txt", size: 3 },
      { url: urls[1], kind: "error", error: { code: "NOT_FOUND", status: 404 } },
    ]);
    const lines = (await dl(...urls, fresh(), "--jsonl")).out.trim().split("\n");
    expect(lines.map((line) => JSON.parse(line).kind).sort()).toEqual([
      "copied",
      "error",
      "summary",
    ]);
  });

  test("no secret of a URL is shown", async () => {
    const url = `${server.url.replace("//", "//me:canary-password@")}/x?sig=canary-signature`;
    for (const how of [[], ["--json"], ["--jsonl"], ["-vv"]]) {
      const { out, err } = await dl(url, fresh(), ...how);
      expect(`${out}${err}`).not.toContain("canary");
    }
  });

  test("an interrupted one goes on", async () => {
    const into = fresh();
    const url = `${server.url}/large`;
    isSlow = true;
    await using child = Bun.spawn(
      tied([process.execPath, main, "dl", url, into, "--chunk-size", "1M", "--streams", "3"]),
      {
        env: place.environment,
        stdout: "ignore",
        stderr: "ignore",
      },
    );
    const isBegun = (): boolean =>
      existsSync(into) && readdirSync(into).some((name) => name.endsWith(".keep"));
    while (!isBegun()) await Bun.sleep(5);
    await Bun.sleep(400);
    child.kill("SIGINT");
    expect(await child.exited).toBe(130);
    expect(readdirSync(into).every((name) => name.endsWith(".keep"))).toBe(true);
    isSlow = false;
    const { status } = await dl(url, into, "--streams", "8", "--chunk-size", "1M-2M");
    expect(status).toBe(0);
    expect(readdirSync(into)).toEqual(["large"]);
    expect(readFileSync(join(into, "large")).equals(large)).toBe(true);
  });
});
