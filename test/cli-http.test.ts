// The command and web servers: its flags, and that no secret it was given comes out again.

import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { commandPlace } from "./command.ts";
import { answer, redirect, startUnruly } from "./servers/unruly.ts";

const place = commandPlace();
const file = join(place.folder, "small");
writeFileSync(file, "hello");

describe("copse compare with a URL", () => {
  test("equal, different, not there: 0, 1, 2", async () => {
    using server = startUnruly({ "/same": answer("hello"), "/other": answer("hallo") });
    expect((await place.copse("compare", file, `${server.url}/same`)).status).toBe(0);
    expect((await place.copse("compare", file, `${server.url}/other`)).status).toBe(1);
    const { status, err } = await place.copse("compare", file, `${server.url}/none`);
    expect(status).toBe(2);
    expect(err).toContain("404");
  });

  test("sends headers, from a file as well, and shows them nowhere", async () => {
    using server = startUnruly({ "/x": answer("hallo") });
    writeFileSync(join(place.folder, "headers"), "X-Two: canary-two\nX-Three: canary-three\n");
    for (const how of [["--json"], ["--jsonl"], ["-vvv"], []]) {
      const { status, out, err } = await place.copse(
        "compare",
        file,
        `${server.url.replace("//", "//me:canary-password@")}/x?sig=canary-signature`,
        "--header",
        "X-One: canary-one",
        "--header",
        "@headers",
        ...how,
      );
      expect(status).toBe(2); // 404: the query is part of the path
      expect(`${out}${err}`).not.toContain("canary");
    }
    const headers = server.asked.at(-1)!.headers;
    expect(headers["x-one"]).toBe("canary-one");
    expect(headers["x-three"]).toBe("canary-three");
    expect(headers["authorization"]).toStartWith("Basic ");
  });

  test("takes a credential from the environment", async () => {
    using server = startUnruly({ "/x": answer("hello") });
    const line = (value: string): Promise<{ status: number }> =>
      place.shell(`copse compare ${file} ${server.url}/x --credential my.files`, {
        COPSE_MY_FILES: value,
      });
    expect((await line("canary-token")).status).toBe(0);
    expect(server.asked[0]!.headers["authorization"]).toBe("Bearer canary-token");
    expect((await line("me:canary")).status).toBe(0);
    expect(server.asked[1]!.headers["authorization"]).toBe(`Basic ${btoa("me:canary")}`);
    const none = await place.copse("compare", file, `${server.url}/x`, "--credential", "nobody");
    expect(none.status).toBe(2);
    expect(none.err).toContain("nobody");
  });

  test("does not send one header to two servers", async () => {
    using one = startUnruly({ "/x": answer("hello") });
    using two = startUnruly({ "/x": answer("hello") });
    const args = [`${one.url}/x`, `${two.url}/x`, "--header", "X-Key: canary"];
    const { status, err } = await place.copse("compare", ...args);
    expect(status).toBe(2);
    expect(err).toContain("two servers");
    expect(one.asked.length + two.asked.length).toBe(0);
  });

  test("refuses flags that concern nothing", async () => {
    const { status, err } = await place.copse("compare", file, file, "--insecure");
    expect(status).toBe(2);
    expect(err).toContain("--insecure");
  });

  test("warns of --insecure", async () => {
    using server = startUnruly({ "/x": answer("hello") });
    const { status, err } = await place.copse("compare", file, `${server.url}/x`, "--insecure");
    expect(status).toBe(0);
    expect(err).toContain("certificates are not checked");
  });

  test("follows as many redirects as it may", async () => {
    using server = startUnruly({ "/a": redirect("/b"), "/b": answer("hello") });
    expect((await place.copse("compare", file, `${server.url}/a`)).status).toBe(0);
    const none = await place.copse("compare", file, `${server.url}/a`, "--redirects", "0");
    expect(none.status).toBe(2);
  });
});

test("copse list of an index", async () => {
  using server = startUnruly({
    "/d/": answer(
      '[{"name":"a","type":"file","size":5},{"name":"b","type":"directory"}]',
      "Content-Type: application/json\r\n",
    ),
    "/d/b/": answer("[]", "Content-Type: application/json\r\n"),
  });
  const { status, out } = await place.copse("list", `${server.url}/d/`, "-0");
  expect(status).toBe(0);
  expect(out.split("\0")).toEqual(["a", "b", ""]);
});
