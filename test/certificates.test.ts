// Which certificates HTTPS trusts when nothing is said: the variables, the system's, Bun's own. The
// command in processes of its own, because it is all about what stands around them.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { commandPlace, finished, main, type Ran } from "./command.ts";
import { nginxMissing, startNginx, type Nginx } from "./servers/nginx.ts";
import { run } from "./trees.ts";

const place = commandPlace();
const needsServer = test.skipIf(nginxMissing !== undefined);
let nginx: Nginx;

beforeAll(async () => {
  place.plant("tree", { a: "hello" });
  run("tar", "-cf", join(place.folder, "tree.tar"), "-C", join(place.folder, "tree"), "a");
  if (nginxMissing) return;
  nginx = await startNginx();
  writeFileSync(join(nginx.root, "a"), "hello");
  writeFileSync(
    join(nginx.root, "tree.tar"),
    new Uint8Array(readFileSync(join(place.folder, "tree.tar"))),
  );
});
afterAll(() => nginx?.[Symbol.dispose]());

// Where the file systems of a process can be its own, the system can have no certificates.
const bare =
  "mount -t tmpfs none /etc/ssl && { [ ! -d /etc/pki ] || mount -t tmpfs none /etc/pki; }";
const canUnshare = spawnSync("unshare", ["-m", "sh", "-c", bare]).status === 0;
if (!canUnshare) console.log("skipped: mounts of a process's own are not allowed here");

async function copse(
  args: readonly string[],
  more: Readonly<Record<string, string>>,
  isBare = false,
): Promise<Ran> {
  const { environment } = place;
  for (const name of ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"])
    delete environment[name];
  const command = isBare
    ? ["unshare", "-m", "sh", "-c", `${bare} && exec "$0" "$@"`, process.execPath, main, ...args]
    : [process.execPath, main, ...args];
  const child = Bun.spawn(command, {
    cwd: place.folder,
    env: { ...environment, ...more },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  return await finished(child);
}

async function source(more: Readonly<Record<string, string>>, isBare = false): Promise<string> {
  const { out } = await copse(["doctor", "--json"], more, isBare);
  const { findings } = JSON.parse(out) as {
    findings: { name: string; value: string; wrong?: string }[];
  };
  const { value, wrong } = findings.find(({ name }) => name === "trusts")!;
  return wrong === undefined ? value : `${value}: ${wrong}`;
}

const asked = (more: Readonly<Record<string, string>>, isBare = false): Promise<Ran> =>
  copse(["compare", "tree/a", `${nginx.https}/a`, "--retries", "0", "-q"], more, isBare);

describe("building.md, CA roots:", () => {
  needsServer("SSL_CERT_FILE, then CURL_CA_BUNDLE, and doctor says which", async () => {
    const { ca } = nginx;
    expect(await source({ SSL_CERT_FILE: ca, CURL_CA_BUNDLE: "/nowhere" })).toBe(
      `SSL_CERT_FILE=${ca}`,
    );
    expect(await source({ CURL_CA_BUNDLE: ca })).toBe(`CURL_CA_BUNDLE=${ca}`);
    expect((await asked({ SSL_CERT_FILE: ca })).status).toBe(0);
    expect((await asked({ CURL_CA_BUNDLE: ca })).status).toBe(0);
    expect((await asked({})).status).toBe(2);
  });

  needsServer(
    "one that cannot be read, or has no certificates, is named; nothing crashes",
    async () => {
      const said = "SSL_CERT_FILE names a file that cannot be read: /nowhere";
      expect(await source({ SSL_CERT_FILE: "/nowhere" })).toBe(`no certificates: ${said}`);
      const line = ["compare", "tree/a", `${nginx.https}/a`, "--retries", "0"];
      expect(await copse(line, { SSL_CERT_FILE: "/nowhere" })).toEqual({
        status: 2,
        out: "",
        err: `copse: ${said}\n`,
      });
      writeFileSync(join(place.folder, "garbage.pem"), "-----BEGIN nothing\n");
      for (const path of ["garbage.pem", "tree/a", "/dev/null", "tree"]) {
        const { status, err } = await copse(line, { SSL_CERT_FILE: path });
        expect(status).toBe(2);
        expect(err).toMatch(/^copse: https:.*certificate/);
      }
      // A place on this machine does not ask for them.
      const { status } = await copse(["compare", "tree", "tree"], { SSL_CERT_FILE: "/nowhere" });
      expect(status).toBe(0);
    },
  );

  test.skipIf(nginxMissing !== undefined || !canUnshare)(
    "where the system has none, what Bun trusts is trusted",
    async () => {
      expect(await source({}, true)).toStartWith("the certificates that Bun brings along");
      const { status, err } = await asked({}, true);
      expect({ status, err }).toEqual({ status: 2, err: "" });
      expect((await asked({ NODE_EXTRA_CA_CERTS: nginx.ca }, true)).status).toBe(0);
      expect((await asked({ SSL_CERT_FILE: nginx.ca }, true)).status).toBe(0);
    },
  );

  needsServer("they reach a server wherever its URL stands", async () => {
    const program = `import { compare } from ${JSON.stringify(join(import.meta.dir, "../lib/index.ts"))};
      const https = process.argv[1];
      for (const location of [
        https + "/a",
        { files: { a: https + "/a" } },
        { files: { a: "archive:" + https + "/tree.tar#a" } },
        { files: { a: { archive: https + "/tree.tar", path: "a" } } },
        { files: { a: "fault:delay=0:archive:" + https + "/tree.tar#a" } },
        "archive:" + https + "/tree.tar",
      ]) {
        const isFile = location === https + "/a";
        console.log((await compare(location, isFile ? "tree/a" : "tree")).equal);
      }`;
    const child = Bun.spawn([process.execPath, "-e", program, nginx.https], {
      cwd: place.folder,
      env: { ...place.environment, SSL_CERT_FILE: nginx.ca },
      stdout: "pipe",
      stderr: "pipe",
    });
    const said = (await child.stdout.text()) + (await child.stderr.text());
    expect(said).toBe("true\n".repeat(6));
  });
});
