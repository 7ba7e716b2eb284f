// What a string, a URL or an object means as a place, and that no message gives a secret away.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { CopseError, parseLocation, type Location } from "../lib/index.ts";
import { isSanitized, someSeed } from "./patience.ts";

// Enough for a search through a grammar this small; a failure prints its seed.
const RUNS = isSanitized ? 200 : 2000;
fc.configureGlobal({ seed: someSeed() });

// A caller may give anything: the types are for those who have a compiler.
function refusal(location: unknown): CopseError {
  try {
    parseLocation(location as Location);
  } catch (error) {
    if (error instanceof CopseError) return error;
    throw error;
  }
  throw new Error(`${String(location)} was taken for a place`);
}

describe("a location that is a local path", () => {
  const paths = [
    "dir",
    "/usr/include",
    ".",
    "..",
    "../x/",
    "./a:b",
    "./user@host:path",
    "./https://host/x",
    "/a/user@host:x",
    "a:b",
    "C:\\x",
    "c:/x",
    ":",
    ":x",
    "1a:x",
    "a_b:x",
    "dir/s3://x",
    "a b",
    "naïve/日本",
    "-",
    "~",
    "line\nbreak",
    "100%",
    "%2e%2e",
    "x?sig=1",
    "a@b",
    "@",
  ];
  test.each(paths)("%j is taken as it is", (path) => {
    expect(parseLocation(path)).toMatchObject({ scheme: "file", path });
  });

  test.each([
    ["file:///a%20b", "/a b"],
    ["file:///%C3%BC", "/ü"],
    ["file:/a/b", "/a/b"],
    ["FILE:///a", "/a"],
    ["file://localhost/a", "/a"],
    ["file:///a%23b%3Fc", "/a#b?c"],
    ["file:///a/../b", "/b"],
  ])("%s is the path %s", (url, path) => {
    expect(parseLocation(url)).toMatchObject({ scheme: "file", path });
    expect(parseLocation(new URL(url))).toMatchObject({ scheme: "file", path });
    expect(parseLocation({ url })).toMatchObject({ scheme: "file", path });
    expect(parseLocation({ url: new URL(url) })).toMatchObject({ scheme: "file", path });
  });

  test("a URL made from a path leads back to the path", () => {
    const path = "/tmp/a b#c?d%e;ü\n[x]\\y";
    expect(parseLocation(Bun.pathToFileURL(path))).toMatchObject({ scheme: "file", path });
  });

  test.each(["file://server/share", "file:///a%00b", "file:///a%2fb", "file:///a%2Fb"])(
    "%s is refused",
    (url) => expect(refusal(url).code).toBe("ARGUMENT"),
  );
});

describe("a location in memory", () => {
  test.each([
    ["memory:scratch", "scratch"],
    ["memory:scratch/sub/dir", "scratch/sub/dir"],
    ["MEMORY:x", "x"],
  ])("%s is the tree %s", (location, path) => {
    expect(parseLocation(location)).toMatchObject({ scheme: "memory", path });
  });

  test.each(["memory:", "memory:/x"])("%s has no name and is refused", (location) => {
    expect(refusal(location).code).toBe("ARGUMENT");
  });
});

describe("a location that wraps another", () => {
  test("fault: has a specification and an inner place", () => {
    expect(parseLocation("fault:read=3,sticky:memory:x/y")).toMatchObject({
      scheme: "fault",
      spec: "read=3,sticky",
      inner: { scheme: "memory", path: "x/y" },
    });
    expect(parseLocation("fault:list=1:/a:b")).toMatchObject({
      inner: { scheme: "file", path: "/a:b" },
    });
  });

  test("what is wrapped is judged like any other location", () => {
    expect(refusal("fault:read=3").code).toBe("ARGUMENT");
    expect(refusal("fault:read=3:").code).toBe("ARGUMENT");
    expect(refusal("fault:read=3:ftp://x").code).toBe("UNSUPPORTED");
  });
});

describe("a location on the web", () => {
  test.each([
    ["http://host/x", "http://host/x"],
    ["https://host", "https://host/"],
    ["HTTPS://HOST/x", "https://host/x"],
    ["HtTp://host:80/a b", "http://host/a%20b"],
    ["https://host/x#part", "https://host/x"],
  ])("%s is the URL %s", (location, path) => {
    expect(parseLocation(location)).toMatchObject({ scheme: "http", path });
    expect(parseLocation(new URL(location))).toMatchObject({ scheme: "http", path });
    expect(parseLocation({ url: location, retries: 1 })).toMatchObject({ scheme: "http", path });
  });

  test.each(["http://", "https:///", "http://a b/", "http://host:99999/"])(
    "%j is none and an ARGUMENT",
    (location) => expect(refusal(location).code).toBe("ARGUMENT"),
  );

  const url = "https://host/x";
  test.each([
    ["timeout", { url, timeout: -1 }],
    ["timeout", { url, timeout: 0 }],
    ["timeout", { url, timeout: Infinity }],
    ["retries", { url, retries: 0.5 }],
    ["redirects", { url, redirects: -1 }],
    ["proxy", { url, proxy: "host:3128" }],
    ["proxy", { url, proxy: "file:///x" }],
    ["insecure", { url, insecure: "yes" }],
    ["minTls", { url, minTls: "1.1" }],
    ["addresses", { url, addresses: "some" }],
    ["ca", { url, ca: "/nowhere/ca.pem" }],
    ["token", { url, token: 5 }],
    ["token", { url: "https://me@host/x", token: "t" }],
    ["username", { url, password: "p" }],
    ["headers", { url, headers: 5 }],
    ["headers", { url, headers: { "a b": "x" } }],
    ["headers", { url, headers: [["a"]] }],
    ["headers", { url, headers: { a: "x\r\nb: y" } }],
    ["headers", { url, headers: { a: 5 } }],
    ["Range", { url, headers: { Range: "bytes=0-1" } }],
    ["Host", { url, headers: { Host: "other" } }],
    ["colour", { url, colour: "red" }],
  ])("a bad %s is an ARGUMENT that names it", (name, location) => {
    const error = refusal(location);
    expect(error.code).toBe("ARGUMENT");
    expect(error.message).toContain(name);
  });

  test("compare.md 1.2: CR and LF in a header are refused, and not shown", () => {
    const error = refusal({ url, headers: { "X-Key": "hush\r\nX: y" } });
    expect(error.code).toBe("ARGUMENT");
    expect(error.message).toContain("X-Key");
    expect(error.message).not.toContain("hush");
  });

  test.each([
    "https://me:hush@host/x",
    "https://me:p@hush@host/x",
    "https://host/x?X-Amz-Signature=hush",
    "https://host/x?a=1&X-Amz-Credential=hush&b=2",
    "https://host/x?sig=hush#f",
    { url, headers: { "X-Key": "hush" } },
    { url, token: "hush" },
    { url, username: "me", password: "hush" },
    { url, proxy: "http://me:hush@proxy:1" },
  ])("security.md 19: a place shows no secret", (location) => {
    const place = parseLocation(location);
    expect(`${Bun.inspect(place, { depth: 9 })} ${JSON.stringify(place)}`).not.toContain("hush");
  });
});

test("a location in a web server's archive takes the server's fields", () => {
  const place = parseLocation({
    url: "archive:https://host/a.zip#sub/",
    token: "hush",
    retries: 1,
  });
  expect(place).toMatchObject({ scheme: "archive", inner: { scheme: "http" } });
  expect(place.inner!.path).toBe("https://host/a.zip");
  expect(place.inner!.fields).toHaveLength(2);
  expect(`${Bun.inspect(place, { depth: 9 })} ${JSON.stringify(place)}`).not.toContain("hush");
  expect(refusal({ url: "archive:https://host/a.zip", colour: "red" }).code).toBe("ARGUMENT");
  expect(refusal({ url: "archive:a.zip", token: "hush" }).code).toBe("ARGUMENT");
});

describe("a table of files", () => {
  test("holds a place for each path", () => {
    expect(
      parseLocation({ files: { a: "x", "b/c": "memory:t", d: "http://host/x" } }),
    ).toMatchObject({
      scheme: "files",
      entries: [
        ["a", { scheme: "file", path: "x" }],
        ["b/c", { scheme: "memory" }],
        ["d", { scheme: "http" }],
      ],
    });
  });

  test.each(["", "/a", "a/", "a//b", "../a", "a/..", "."])("the path %j is refused", (path) => {
    expect(refusal({ files: { [path]: "x" } }).code).toBe("UNSAFE_PATH");
  });

  test.each([[{ files: 5 }], [{ files: ["x"] }], [{ files: { a: 5 } }], [{ files: {}, url: "x" }]])(
    "%j is an ARGUMENT",
    (location) => expect(refusal(location).code).toBe("ARGUMENT"),
  );
});

describe("sync.md 33: a scheme that is not built yet", () => {
  test.each([
    ["ssh://host/x", "sftp"],
    ["sftp://host/x", "sftp"],
    ["SFTP://host/x", "sftp"],
    ["user@host:path", "sftp"],
    ["user@host:", "sftp"],
    ["user@host:2222:path", "sftp"],
    ["user@[::1]:path", "sftp"],
    ["user@[fe80::1%eth0]:2222:path", "sftp"],
    ["s3://bucket/key", "s3"],
    ["S3://bucket/key", "s3"],
    ["az://container/x", "azure"],
    ["azure://container/x", "azure"],
    ["gs://bucket/x", "gs"],
    ["pack:s3://bucket/a.znippy", "s3"],
  ])("%s is UNSUPPORTED and says %s", (location, named) => {
    const error = refusal(location);
    expect(error.code).toBe("UNSUPPORTED");
    expect(error.message).toContain(named);
    expect(error.retryable).toBe(false);
  });

  test("the object form says the same, also with its credentials", () => {
    const error = refusal({ url: "s3://bucket/key", region: "eu-west-1", secretAccessKey: "hush" });
    expect(error.code).toBe("UNSUPPORTED");
    expect(error.message).toContain("s3");
    expect(error.message).not.toContain("hush");
    expect(refusal({ url: new URL("sftp://host/x") }).code).toBe("UNSUPPORTED");
  });
});

describe("a scheme nobody knows", () => {
  test.each([
    ["ftp://host/x", "ftp"],
    ["foo:bar", "foo"],
    ["ab:c", "ab"],
    ["git+ssh://host/x", "git+ssh"],
    ["x-y.z:rest", "x-y.z"],
  ])("%s is UNSUPPORTED, names %s and tells how to mean a file", (location, scheme) => {
    const error = refusal(location);
    expect(error.code).toBe("UNSUPPORTED");
    expect(error.message).toContain(`"${scheme}"`);
    expect(error.message).toContain(`./${scheme}:`);
  });
});

describe("what is no location", () => {
  test.each([
    ["an empty path", ""],
    ["a NUL byte", "a\0b"],
    ["an empty url", { url: "" }],
    ["a number", 5],
    ["nothing", undefined],
    ["null", null],
    ["an object without a url", {}],
    ["a url that is a number", { url: 5 }],
    ["an array", ["a"]],
  ])("%s is an ARGUMENT", (_, location) => expect(refusal(location).code).toBe("ARGUMENT"));

  test("an unknown field is named", () => {
    const error = refusal({ url: "dir", colour: "red" });
    expect(error.code).toBe("ARGUMENT");
    expect(error.message).toContain("colour");
  });
});

describe("security.md 19: no message has a secret", () => {
  test.each([
    "sftp://me:hush@host/x",
    "ftp://me:hush@host/x",
    "archive:sftp://me:hush@host/a.zip",
    "s3://me:p@hush@host/x",
    "ftp://host/x?X-Amz-Signature=hush",
    "ftp://host/x?a=1&X-Amz-Credential=hush&b=2",
    "ftp://host/x?x-amz-security-token=hush",
    "ftp://host/x?sig=hush#f",
    "ftp://host/x?token=hush",
    "ftp://host/x?code=hush",
    "me:hush@host:path",
  ])("of %s", (location) => {
    const error = refusal(location);
    expect(`${error.message} ${error.location ?? ""} ${Bun.inspect(error)}`).not.toContain("hush");
  });

  test("what is no secret stays readable", () => {
    const { message } = refusal("sftp://me:hush@host/x?sig=hush&page=7");
    expect(message).toContain("me");
    expect(message).toContain("host/x");
    expect(message).toContain("page=7");
  });

  test("whatever the password is", () => {
    const secret = fc.stringMatching(/^[A-Za-z0-9!$&'()*+,;=._~%-]{6,20}$/).map((s) => `q${s}q`);
    fc.assert(
      fc.property(fc.constantFrom("sftp", "s3", "ftp"), secret, (scheme, password) => {
        const error = refusal(`${scheme}://user:${password}@host/path`);
        return !error.message.includes(password) && !error.location?.includes(password);
      }),
      { numRuns: RUNS },
    );
  });
});

test("control and bidirectional characters are escaped in messages", () => {
  const { message } = refusal("ftp://host/\u001b[2J\u202e\u0007");
  expect(message).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
});

test("every text is a place, or a CopseError with ARGUMENT or UNSUPPORTED", () => {
  const part = fc.constantFrom(
    "",
    "a",
    "file",
    "memory",
    "fault",
    "s3",
    ":",
    "/",
    "//",
    "@",
    "[",
    "]",
    "%",
    "%00",
    "?",
    "#",
    "\\",
    "\0",
    "ü",
    ".",
    "..",
    "localhost",
    "x=1",
  );
  const text = fc.oneof(
    fc.string(),
    fc.array(part, { maxLength: 8 }).map((parts) => parts.join("")),
  );
  fc.assert(
    fc.property(text, (location) => {
      try {
        const { scheme, path } = parseLocation(location);
        return (
          ["file", "memory", "fault", "http"].includes(scheme) &&
          path !== "" &&
          !path.includes("\0")
        );
      } catch (error) {
        return error instanceof CopseError && ["ARGUMENT", "UNSUPPORTED"].includes(error.code);
      }
    }),
    { numRuns: RUNS },
  );
});
