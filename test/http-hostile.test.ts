// http: locations against a server that lies, stalls, breaks off and leads astray (security.md 13 to
// 19). Each case has the answer it must get; none may be "equal".

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  compare,
  copy,
  CopseError,
  list,
  Runtime,
  Store,
  type ErrorCode,
  type HttpLocation,
} from "../lib/index.ts";
import { isSanitized, within } from "./patience.ts";
import { freePort } from "./servers/ports.ts";
import { answer, raw, redirect, startUnruly, type Script, type Unruly } from "./servers/unruly.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const body = "0123456789";
const large = new Uint8Array(2 * MIB).map((_, i) => (i * 7 + (i >> 8)) & 255);
/** Milliseconds that a case may take where the time is not what it is about; a retried one as well. */
const timeout = 60_000;

let folder: string;
let small: string;
let big: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "copse-unruly-"));
  small = join(folder, "small");
  big = join(folder, "big");
  writeFileSync(small, body);
  writeFileSync(big, large);
  const old = new Date("2024-05-06T07:08:09Z");
  utimesSync(small, old, old);
  utimesSync(big, old, old);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What comparing the small file with `/` of a server of this script gives: how, and which error. */
async function outcome(
  script: Script,
  fields: Partial<HttpLocation> = {},
  file = small,
): Promise<{ said: "equal" | "differs" | ErrorCode; message: string; asked: Unruly["asked"] }> {
  using server = startUnruly({ "/x": script });
  const location = { url: `${server.url}/x`, timeout, ...fields };
  try {
    const { equal, differences } = await compare(file, location);
    const [row] = differences;
    if (row?.kind !== "error")
      return { said: equal ? "equal" : "differs", message: "", asked: server.asked };
    return { said: row.error.code, message: row.error.message, asked: server.asked };
  } catch (error) {
    if (!(error instanceof CopseError)) throw error;
    return { said: error.code, message: error.message, asked: server.asked };
  }
}

const ok = "HTTP/1.1 200 OK\r\n";

describe("lengths", () => {
  test.each<[string, string, Script]>([
    ["right", "equal", answer(body)],
    ["none, and the connection ends", "equal", raw(`${ok}\r\n`, body)],
    [
      "chunked",
      "equal",
      raw(`${ok}Transfer-Encoding: chunked\r\n\r\n`, "4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n"),
    ],
    ["twice the same", "equal", raw(`${ok}Content-Length: 10\r\nContent-Length: 10\r\n\r\n`, body)],
    [
      "two that differ",
      "PROTOCOL",
      raw(`${ok}Content-Length: 10\r\nContent-Length: 11\r\n\r\n`, body),
    ],
    ["negative", "PROTOCOL", raw(`${ok}Content-Length: -10\r\n\r\n`, body)],
    ["2^64", "PROTOCOL", raw(`${ok}Content-Length: 18446744073709551616\r\n\r\n`, body)],
    ["2^64 + 10", "PROTOCOL", raw(`${ok}Content-Length: 18446744073709551626\r\n\r\n`, body)],
    ["no number", "PROTOCOL", raw(`${ok}Content-Length: ten\r\n\r\n`, body)],
    ["hexadecimal", "PROTOCOL", raw(`${ok}Content-Length: 0xa\r\n\r\n`, body)],
    ["a list", "PROTOCOL", raw(`${ok}Content-Length: 10, 10\r\n\r\n`, body)],
    ["longer than the body", "NETWORK", raw(`${ok}Content-Length: 10\r\n\r\n`, "01234")],
    [
      "a chunk that is none",
      "NETWORK",
      raw(`${ok}Transfer-Encoding: chunked\r\n\r\n`, "zz\r\n0123456789\r\n0\r\n\r\n"),
    ],
    [
      "chunks that break off",
      "NETWORK",
      raw(`${ok}Transfer-Encoding: chunked\r\n\r\n`, "a\r\n0123456789\r\n"),
    ],
    ["shorter content", "differs", answer("01234")],
    ["longer content", "differs", answer(`${body}!`)],
  ])("%s: %s", async (_, expected, script) => {
    const { said } = await outcome(script, { retries: 0 });
    expect(said).toBe(expected as ErrorCode);
  });
});

describe("answers that are none", () => {
  test.each<[string, ErrorCode, Script]>([
    ["nothing at all", "NETWORK", ({ end }) => end()],
    ["a reset", "NETWORK", ({ reset }) => reset()],
    ["HTTP/0.9", "PROTOCOL", raw("just bytes\r\n")],
    [
      "endless headers",
      "LIMIT",
      endless(ok, "X-Pad: 0123456789012345678901234567890123456789\r\n"),
    ],
    ["endless answers of 100", "LIMIT", endless("", "HTTP/1.1 100 Continue\r\n\r\n")],
    [
      "gzip that nobody asked for",
      "PROTOCOL",
      answer(Bun.gzipSync(body), "Content-Encoding: gzip\r\n"),
    ],
    [
      "a part that nobody asked for",
      "PROTOCOL",
      answer("01234", "Content-Range: bytes 0-4/10\r\n", "206 Partial Content"),
    ],
    ["a bad Content-Range", "PROTOCOL", answer(body, "Content-Range: bytes 5-2/10\r\n")],
    ["204", "PROTOCOL", answer("", "", "204 No Content")],
    ["304", "PROTOCOL", answer("", "", "304 Not Modified")],
    ["400", "PROTOCOL", answer("no", "", "400 Bad Request")],
    ["401", "AUTH", answer("no", "", "401 Unauthorized")],
    ["403", "DENIED", answer("no", "", "403 Forbidden")],
    ["404", "NOT_FOUND", answer("no", "", "404 Not Found")],
    ["410", "NOT_FOUND", answer("no", "", "410 Gone")],
    ["429", "THROTTLED", answer("no", "", "429 Too Many Requests")],
    ["500", "NETWORK", answer("no", "", "500 Oops")],
    ["503", "BUSY", answer("no", "", "503 Busy")],
    [
      "a huge body of an error",
      "NOT_FOUND",
      endless("HTTP/1.1 404 Not Found\r\n\r\n", "x".repeat(1000)),
    ],
    ["an escape in the reason", "NOT_FOUND", answer("", "", "404 \u001b[2J\u0007")],
  ])("%s: %s", async (_, expected, script) => {
    const { said, message } = await outcome(script, { retries: 0 });
    expect(said).toBe(expected);
    expect(message).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
  });

  test("the status is in the error", async () => {
    using server = startUnruly({ "/x": answer("", "", "403 Forbidden") });
    const error = await compare(small, `${server.url}/x`).then(
      () => undefined,
      (error: unknown) => error as CopseError,
    );
    expect(error).toMatchObject({ code: "DENIED", status: 403 });
  });
});

/** Writes `again` until the other end has gone, as fast as that takes it. */
function endless(first: string, again: string): Script {
  return async ({ write, wait, isBehind }) => {
    write(first);
    do for (let i = 0; i < 50 && !isBehind(); i++) write(again);
    while (await wait(1));
  };
}

describe("time", () => {
  const slow: readonly [string, Script][] = [
    ["no answer", () => {}],
    ["half a head", ({ write }) => write("HTTP/1.1 200 OK\r\nContent-Le")],
    ["no body", ({ write }) => write(`${ok}Content-Length: 10\r\n\r\n`)],
    [
      "a drip in the head",
      async ({ write, wait }) => {
        write("HTTP/1.1 200 OK\r\nX: ");
        while (await wait(20)) write("x");
      },
    ],
    [
      "a drip in the body",
      async ({ write, wait }) => {
        write(`${ok}Content-Length: 10\r\n\r\n`);
        for (const byte of body) {
          write(byte);
          if (!(await wait(300))) return; // three seconds in all
        }
      },
    ],
    [
      "a refusal whose body does not come",
      ({ write }) => write("HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\n"),
    ],
  ];

  test.each(slow)("%s ends by the timeout", async (name, script) => {
    const begin = performance.now();
    const isRefusal = name.startsWith("a refusal");
    // A refusal has to come in time before its body does not.
    const { said } = await outcome(script, { timeout: isRefusal ? 3000 : 400, retries: 3 });
    expect(said).toBe(isRefusal ? "NOT_FOUND" : "TIMEOUT");
    expect(performance.now() - begin).toBeLessThan(within(6000));
  });

  test.each(slow)("%s is left at once when it is cancelled", async (_, script) => {
    using server = startUnruly({ "/x": script });
    await using runtime = new Runtime();
    const task = compare(small, { url: `${server.url}/x`, timeout: 60_000 }, { runtime });
    const settled = task.then(
      () => "done",
      (error: unknown) => (error as CopseError).code,
    );
    while (server.asked.length === 0) await Bun.sleep(1);
    await Bun.sleep(20);
    task.cancel();
    expect(await settled).toBe("CANCELLED");
    while (runtime.stats.running > 0) await Bun.sleep(1);
    expect(runtime.stats).toMatchObject({ running: 0, queued: 0 });
  });

  test("a host that nobody listens on is NETWORK, tried again as often as asked", async () => {
    const url = `http://127.0.0.1:${freePort()}/x`;
    const error = (await compare(small, { url, retries: 1 }).catch(
      (e: unknown) => e,
    )) as CopseError;
    expect(error).toMatchObject({ code: "NETWORK", retryable: true });
    expect(error.message).toContain("127.0.0.1");
  });

  test("a name that no host has", async () => {
    const url = "http://nowhere.invalid/x";
    const error = (await compare(small, { url, retries: 0, timeout: 30_000 }).catch(
      (e: unknown) => e,
    )) as CopseError;
    expect(error.code).toBeOneOf(["NETWORK", "TIMEOUT"]);
  });
});

describe("trying again", () => {
  const fails =
    (times: number, failure: Script, then: Script): Script =>
    (reply) =>
      reply.asked.length <= times ? failure(reply) : then(reply);

  test.each<[string, Script]>([
    ["a reset", ({ reset }) => reset()],
    ["500", answer("no", "", "500 Oops")],
    ["503 with Retry-After: 0", answer("no", "Retry-After: 0\r\n", "503 Busy")],
    ["429 with an odd Retry-After", answer("no", "Retry-After: soon\r\n", "429 Slow down")],
    ["429 with a negative Retry-After", answer("no", "Retry-After: -5\r\n", "429 Slow down")],
    [
      "503 with a date that has passed",
      answer("no", "Retry-After: Wed, 15 Nov 2023 22:13:20 GMT\r\n", "503 Busy"),
    ],
  ])("after %s it works", async (_, failure) => {
    const { said, asked } = await outcome(fails(2, failure, answer(body)));
    expect(said).toBe("equal");
    expect(asked.length).toBe(3);
  });

  test("no more often than retries says", async () => {
    const failure = answer("no", "Retry-After: 0\r\n", "503 Busy");
    const { said, asked } = await outcome(failure, { retries: 2 });
    expect(said).toBe("BUSY");
    expect(asked.length).toBe(3);
  });

  test("a Retry-After behind the timeout is not waited for", async () => {
    const { said, asked } = await outcome(answer("", "Retry-After: 3600\r\n", "429 Slow down"));
    expect(said).toBe("THROTTLED");
    expect(asked.length).toBe(1);
  });

  test("what does not change is not tried again", async () => {
    const { asked } = await outcome(answer("", "", "404 Not Found"));
    expect(asked.length).toBe(1);
  });
});

describe("a body that breaks off is resumed", () => {
  const tag = 'ETag: "v1"\r\nAccept-Ranges: bytes\r\n';
  const cut: Script = ({ write, end }) => {
    write(`${ok}${tag}Content-Length: ${large.length}\r\n\r\n`);
    write(large.subarray(0, 700_000));
    end();
  };
  const resumed =
    (second: Script): Script =>
    (reply) =>
      reply.now.method === "HEAD"
        ? answer(large, tag)(reply)
        : reply.asked.length === 1
          ? cut(reply)
          : second(reply);
  const rest = (from: number, said: string, to = large.length): Script =>
    answer(large.subarray(from, to), `${tag}${said}`, "206 Partial Content");

  test("with a range, when the server has the same content", async () => {
    const script = resumed((reply) => {
      const from = Number(/^bytes=(\d+)-$/.exec(reply.now.headers["range"] ?? "")![1]);
      return rest(
        from,
        `Content-Range: bytes ${from}-${large.length - 1}/${large.length}\r\n`,
      )(reply);
    });
    const { said, asked } = await outcome(script, {}, big);
    expect(said).toBe("equal");
    expect(asked[1]!.headers["if-range"]).toBe('"v1"');
    expect(asked[1]!.headers["range"]).toBe("bytes=700000-");
  });

  test("from the start, when the server has no ranges", async () => {
    expect((await outcome(resumed(answer(large, tag)), {}, big)).said).toBe("equal");
  });

  test.each<[string, ErrorCode, Script]>([
    ["other content", "CHANGED", answer(large, 'ETag: "v2"\r\n')],
    ["content of another length", "CHANGED", answer(large.subarray(1), tag)],
    ["no validator any more", "CHANGED", answer(large)],
    [
      "a shifted range",
      "PROTOCOL",
      rest(700_001, `Content-Range: bytes 700001-${large.length - 1}/${large.length}\r\n`),
    ],
    [
      "another total",
      "CHANGED",
      rest(
        700_000,
        `Content-Range: bytes 700000-${large.length - 2}/${large.length - 1}\r\n`,
        large.length - 1,
      ),
    ],
    [
      "a range that ends before its total",
      "PROTOCOL",
      rest(700_000, `Content-Range: bytes 700000-${large.length - 1}/${large.length + 5}\r\n`),
    ],
    [
      "a range without an end that fits",
      "PROTOCOL",
      rest(700_000, "Content-Range: bytes 700000-700009/*\r\n"),
    ],
    ["206 without Content-Range", "PROTOCOL", rest(700_000, "")],
    [
      "several parts",
      "PROTOCOL",
      rest(
        700_000,
        `Content-Type: multipart/byteranges; boundary=x\r\nContent-Range: bytes 700000-${large.length - 1}/${large.length}\r\n`,
      ),
    ],
    ["nothing there", "CHANGED", answer("", "Content-Range: bytes */5\r\n", "416 No Range")],
  ])("not with %s: %s", async (_, expected, second) => {
    const { said } = await outcome(resumed(second), { retries: 1 }, big);
    expect(said).toBe(expected);
  });
});

describe("redirects", () => {
  const headers = { "X-Api-Key": "canary-header", Authorization: "Bearer canary-bearer" };

  test("are followed on the same host, with what the user sends", async () => {
    using server = startUnruly({
      "/a": redirect("/b", 301),
      "/b": redirect("c?x=1", 307),
      "/c?x=1": answer(body),
    });
    expect((await compare(small, { url: `${server.url}/a`, headers })).equal).toBe(true);
    expect(server.asked.map(({ path }) => path)).toEqual(["/a", "/b", "/c?x=1"]);
    for (const { headers } of server.asked) {
      expect(headers["x-api-key"]).toBe("canary-header");
      expect(headers["authorization"]).toBe("Bearer canary-bearer");
    }
  });

  test.each(["header", "basic", "token"])("to another origin lose the user's %s", async (kind) => {
    using other = startUnruly({ "/x": answer(body) });
    using server = startUnruly({ "/x": redirect(`${other.url}/x`) });
    const given = {
      header: { headers },
      basic: { username: "me", password: "canary-password" },
      token: { token: "canary-token" },
    }[kind];
    expect((await compare(small, { url: `${server.url}/x`, ...given })).equal).toBe(true);
    expect(JSON.stringify(server.asked)).toMatch(/canary|Basic/);
    expect(JSON.stringify(other.asked)).not.toMatch(/canary|authorization|x-api-key|Basic/i);
  });

  test("and get nothing back when they return", async () => {
    using other = startUnruly({ "/x": (reply) => redirect(`${home}/y`)(reply) });
    using server = startUnruly({ "/x": redirect(`${other.url}/x`), "/y": answer(body) });
    const home = server.url;
    expect((await compare(small, { url: `${server.url}/x`, headers })).equal).toBe(true);
    expect(server.asked[1]!.headers["x-api-key"]).toBeUndefined();
  });

  test("what a server writes before the @ is sent to nobody", async () => {
    using server = startUnruly({
      "/x": (reply) => redirect(`http://evil:word@127.0.0.1:${port}/y`)(reply),
      "/y": answer(body),
    });
    const { port } = server;
    expect((await compare(small, `${server.url}/x`)).equal).toBe(true);
    expect(server.asked[1]!.headers["authorization"]).toBeUndefined();
  });

  test.each([
    ["the metadata service", "http://169.254.169.254/latest/meta-data/"],
    ["it as one number", "http://2852039166/"],
    ["it mapped into IPv6", "http://[::ffff:169.254.169.254]/"],
    ["it through NAT64", "http://[64:ff9b::a9fe:a9fe]/"],
    ["a private network", "http://10.0.0.1/"],
    ["a carrier's network", "http://100.64.0.1/"],
    ["any address", "http://0.0.0.0/"],
    ["this machine in octal", "http://0177.0.0.1/"],
    ["this machine by IPv6", "http://[::1]/"],
    ["a unique local address", "http://[fd00::1]/"],
    ["a link's address", "http://[fe80::1]/"],
  ])("to %s are refused", async (_, to) => {
    using server = startUnruly({ "/x": redirect(to) });
    // By name, so that 127.0.0.1 is another host as well.
    const url = `http://localhost:${server.port}/x`;
    const { code } = (await compare(small, { url, retries: 0, timeout: 30_000 }).catch(
      (e: unknown) => e,
    )) as CopseError;
    expect(code).toBe("DENIED");
  });

  test("to a name that leads to this machine are refused when it is connected to", async () => {
    using inner = startUnruly({ "/x": answer(body) });
    using server = startUnruly({ "/x": redirect(`http://localhost:${inner.port}/x`) });
    const url = `${server.url}/x`;
    const refused = (await compare(small, { url }).catch((e: unknown) => e)) as CopseError;
    expect(refused.code).toBe("DENIED");
    expect(inner.asked.length).toBe(0);
    // Also when there is a connection that could be used again.
    await using runtime = new Runtime();
    const open = `http://localhost:${inner.port}/x`;
    expect((await compare(small, open, { runtime })).equal).toBe(true);
    const again = await compare(small, { url }, { runtime }).catch((e: unknown) => e as CopseError);
    expect(again).toMatchObject({ code: "DENIED" });
    expect(inner.asked.length).toBe(1);
    // And not when the caller says so.
    expect((await compare(small, { url, addresses: "any" })).equal).toBe(true);
  });

  test("addresses: public refuses the first one too", async () => {
    using server = startUnruly({ "/x": answer(body) });
    for (const host of ["127.0.0.1", "localhost"]) {
      const location = { url: `http://${host}:${server.port}/x`, addresses: "public" } as const;
      const refused = (await compare(small, location).catch((e: unknown) => e)) as CopseError;
      expect(refused.code).toBe("DENIED");
    }
    expect(server.asked.length).toBe(0);
  });

  test.each([
    ["DENIED", "file:///etc/passwd"],
    ["DENIED", "gopher://127.0.0.1/x"],
    ["DENIED", "ftp://127.0.0.1/x"],
    ["PROTOCOL", "foo://127.0.0.1/x"],
    ["PROTOCOL", ""],
    ["PROTOCOL", "http://"],
    ["PROTOCOL", "http://[::1"],
    ["PROTOCOL", "http://127.0.0.1:99999/"],
    ["PROTOCOL", "/x\u0001y"],
  ])("%s for a redirect to %j", async (expected, to) => {
    const { said } = await outcome(redirect(to), { retries: 0 });
    expect(said).toBe(expected as ErrorCode);
  });

  test("two that differ are none", async () => {
    const script = raw(
      "HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n",
    );
    expect((await outcome(script)).said).toBe("PROTOCOL");
  });

  test("in a circle end after as many as redirects says", async () => {
    const loop = await outcome(redirect("/x"));
    expect(loop.said).toBe("LIMIT");
    expect(loop.asked.length).toBe(11);
    expect((await outcome(redirect("/x"), { redirects: 3 })).asked.length).toBe(4);
    const none = await outcome(redirect("/x"), { redirects: 0 });
    expect(none.said).toBe("PROTOCOL");
    expect(none.asked.length).toBe(1);
  });
});

describe("indexes", () => {
  const json = (text: string): Script => answer(text, "Content-Type: application/json\r\n");
  const html = (text: string): Script => answer(text, "Content-Type: text/html\r\n");

  async function listed(script: Script): Promise<string[] | ErrorCode> {
    using server = startUnruly({ "/d/": script, "/d/a%20b": answer("x") });
    try {
      return (await list(`${server.url}/d/`)).map(({ path }) => path);
    } catch (error) {
      if (error instanceof CopseError) return error.code;
      throw error;
    }
  }

  test.each<[string, string[] | ErrorCode, Script]>([
    ["an empty JSON index", [], json("[]")],
    [
      "JSON with odd names",
      ["a\n", "ü🌳"],
      json(
        '[{"name":"ü\\ud83c\\udf33","type":"file","size":1},{"name":"a\\n","type":"file","size":1}]'.replaceAll(
          "ü",
          "\u00c3\u00bc",
        ),
      ),
    ],
    ["a name that leads up", "UNSAFE_PATH", json('[{"name":"../x","type":"file","size":1}]')],
    ["..", "UNSAFE_PATH", json('[{"name":"..","type":"directory"}]')],
    ["an empty name", "UNSAFE_PATH", json('[{"name":"","type":"file","size":1}]')],
    ["a NUL in a name", "UNSAFE_PATH", json('[{"name":"a\\u0000b","type":"file","size":1}]')],
    [
      "one name for two things",
      "PROTOCOL",
      json('[{"name":"a","type":"file","size":1},{"name":"a","type":"directory"}]'),
    ],
    ["JSON that breaks off", "PROTOCOL", json('[{"name":"a","type":"file"')],
    ["half a pair of surrogates", "PROTOCOL", json('[{"name":"\\ud83c","type":"file"}]')],
    ["JSON of something else", "UNSUPPORTED", json('{"error":"x"}')],
    ["a page that is no index", "UNSUPPORTED", html('<h1>Welcome</h1><a href="x">x</a>')],
    ["an image", "UNSUPPORTED", answer("GIF89a", "Content-Type: image/gif\r\n")],
    [
      "HTML with sort orders, the parent, other places, twice the same",
      ["a b", "sub&<"],
      html(
        '<title>Index of /d/</title><h1>Index of /d/</h1><A HREF="?C=N;O=D">N</a><a href="../">up</a><a class=x href=\'a%20b\'>1</a><a href="/d/a%20b">2</a><a href="https://other/x">3</a><a href="mailto:me">4</a><a href="sub&amp;%3c/">s</a>',
      ),
    ],
    ["an encoded slash in HTML", "UNSAFE_PATH", html('<h1>Index of /</h1><a href="a%2fb">x</a>')],
    ["encoded dots in HTML", "UNSAFE_PATH", html('<h1>Index of /</h1><a href="%2e%2e">x</a>')],
  ])("%s", async (_, expected, script) => {
    const found = await listed(async (reply) => {
      if (reply.now.path === "/d/") await script(reply);
    });
    expect(found).toEqual(expected);
  });

  test("directories in each other without end are a LIMIT", async () => {
    const index = json('[{"name":"d","type":"directory"}]');
    const paths = Array.from({ length: 300 }, (_, i): [string, Script] => [
      `/${"d/".repeat(i)}`,
      index,
    ]);
    using server = startUnruly(Object.fromEntries(paths));
    const found = await list(`${server.url}/`);
    expect(found.complete).toBe(false);
    expect(found.errors.map(({ error }) => error.code)).toEqual(["LIMIT"]);
    expect(found).toHaveLength(257);
  });

  test("one without an end is a LIMIT, and memory stays flat", async () => {
    using server = startUnruly({
      "/d/": endless(`${ok}Content-Type: application/json\r\n\r\n[`, " ".repeat(64 * KIB)),
    });
    const before = process.memoryUsage.rss();
    const error = (await list(`${server.url}/d/`).catch((e: unknown) => e)) as CopseError;
    expect(error.code).toBe("LIMIT");
    if (!isSanitized) expect(process.memoryUsage.rss() - before).toBeLessThan(300 * MIB);
  });
});

test("runtime.md 2: servers that are slow do not keep local work waiting", async () => {
  using server = startUnruly(
    Object.fromEntries(Array.from({ length: 30 }, (_, i): [string, Script] => [`/${i}`, () => {}])),
  );
  await using runtime = new Runtime({ ioWorkers: 2, workers: 1 });
  const waiting = Array.from({ length: 30 }, (_, i) =>
    compare(small, { url: `${server.url}/${i}`, timeout: 60_000 }, { runtime }),
  );
  for (const task of waiting) task.catch(() => {});
  while (server.asked.length < 2) await Bun.sleep(1);
  for (let i = 0; i < 5; i++)
    expect((await compare(big, big, { runtime, sizeCheck: false })).equal).toBe(true);
  // And all that may be are under way, though there are two workers.
  while (server.asked.length < 10) await Bun.sleep(1);
  for (const task of waiting) task.cancel();
  await Promise.allSettled(waiting);
});

test("compare.md 2, 18 and 19: a server without HEAD and ranges is read all the same", async () => {
  const script: Script = (reply) =>
    reply.now.method === "HEAD" ? answer("", "", "405 No")(reply) : answer(large)(reply);
  expect((await outcome(script, {}, big)).said).toBe("equal");
  using server = startUnruly({ "/x": script });
  const store = new Store(server.url);
  expect(await store.stat("x")).toMatchObject({ type: "file", size: large.length });
  const part = await new Response(store.read("x", { start: 100, end: 200 })).bytes();
  expect(Buffer.compare(part, large.subarray(100, 200))).toBe(0);
});

test("content that changes between two answers is CHANGED", async () => {
  using server = startUnruly({
    "/x": ({ now, asked, write }) => {
      const tag = `ETag: "v${asked.length}"\r\n`;
      answer(large, tag)({ now, asked, write } as Parameters<Script>[0]);
    },
  });
  const { differences } = await compare(big, `${server.url}/x`);
  expect(differences).toEqual([expect.objectContaining({ kind: "error" })]);
  const [row] = differences;
  if (row?.kind === "error") expect(row.error.code).toBe("CHANGED");
});

test("an endless body costs a buffer, not memory", async () => {
  const body = endless(`${ok}\r\n`, "x".repeat(64 * KIB));
  using server = startUnruly({
    "/x": (reply) => (reply.now.method === "HEAD" ? raw(`${ok}\r\n`)(reply) : body(reply)),
  });
  await using runtime = new Runtime();
  const reader = new Store(server.url, { runtime }).read("x").getReader();
  const before = process.memoryUsage.rss();
  for (let i = 0; i < 100; i++) await reader.read();
  await Bun.sleep(100);
  expect(process.memoryUsage.rss() - before).toBeLessThan(200 * MIB);
  await reader.cancel();
});

describe("a copy of content that changes on the way", () => {
  const other = large.map((byte) => byte ^ 0x55);
  /** Half of it, then an end: whoever goes on finds other content. */
  const half =
    (tag: string, content: Uint8Array): Script =>
    ({ now, write, end }) => {
      write(`${ok}ETag: "${tag}"\r\nContent-Length: ${content.length}\r\n\r\n`);
      if (now.method === "HEAD") return;
      write(content.subarray(0, content.length / 2));
      end();
    };

  test("begins anew and has the new content", async () => {
    using server = startUnruly({
      "/x": (reply) =>
        (reply.asked.length === 1 ? half("v1", large) : answer(other, 'ETag: "v2"\r\n'))(reply),
    });
    const to = join(folder, "changed");
    const result = await copy(`${server.url}/x`, to);
    expect(result).toMatchObject({ copied: 1, retries: 1, errors: 0 });
    expect(Buffer.compare(readFileSync(to), other)).toBe(0);
    expect(readdirSync(folder).filter((name) => name.startsWith(".copse"))).toEqual([]);
  });

  test("is CHANGED when it never comes to an end, and the old file stays", async () => {
    using server = startUnruly({
      "/x": (reply) => half(`v${reply.asked.length}`, large)(reply),
    });
    const to = join(folder, "unchanged");
    writeFileSync(to, "old");
    const result = await copy(`${server.url}/x`, to, { retries: 50 });
    expect(result).toMatchObject({ copied: 0, errors: 1 });
    const [row] = result.actions;
    if (row?.kind !== "error") throw new Error("no error row");
    expect(row.error.code).toBe("CHANGED");
    expect(result.retries).toBe(2);
    expect(readFileSync(to, "utf8")).toBe("old");
    expect(readdirSync(folder).filter((name) => name.startsWith(".copse"))).toEqual([]);
  });
});
