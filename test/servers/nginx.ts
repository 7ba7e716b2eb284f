// A real nginx on loopback: plain, without ranges, and with TLS and HTTP/2 under a CA of its own that
// lives as long as the server. Everything is in a folder that goes with it.

import { spawnSync, type SpawnSyncReturns } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./ports.ts";
import { tied } from "./tied.ts";

export interface Nginx extends Disposable {
  /** What is served. */
  readonly root: string;
  /** HTTP/1.1 with ranges, indexes as JSON. */
  readonly http: string;
  /** HTTP/1.1 without ranges, indexes as HTML. */
  readonly plain: string;
  /** HTTP/2 over TLS 1.2 and 1.3, `localhost`. */
  readonly https: string;
  /** TLS 1.2 only. */
  readonly https12: string;
  /**
   * No index, a password (`me` and `canary-basic`) below /basic/, no HEAD below /get/, 403 below
   * /key/ without `X-Key: k`, a redirect to itself below /moved/ and to another host below /away/.
   */
  readonly closed: string;
  /** A proxy to whatever it is asked for, which says `X-Key: k`. */
  readonly proxy: string;
  readonly ca: string;
  /** "GET /path HTTP/1.1 206 bytes=5-" and so on, since the last call. */
  requests(): string[];
  /** Stops it and starts it again on the same ports. */
  restart(): Promise<void>;
}

const paths = { PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const program = Bun.which("nginx", paths);
const openssl = Bun.which("openssl", paths);

/** Why there can be no nginx here; where the tests must have one, that is a failure. */
export const nginxMissing: string | undefined =
  program && openssl ? undefined : `${program ? "openssl" : "nginx"} is not installed`;
if (nginxMissing) {
  if (process.env.COPSE_TEST_SERVERS === "required" || process.env.CI)
    throw new Error(nginxMissing);
  console.log(`skipped: ${nginxMissing}`);
}

// A port that was free may be somebody else's by the time nginx wants it: then there are others.
const attempts = 5;

/** It ended instead of answering. */
class Ended extends Error {}

export async function startNginx(): Promise<Nginx> {
  for (let left = attempts; ; left--)
    try {
      return await tryNginx();
    } catch (error) {
      if (!(error instanceof Ended) || left === 1) throw error;
    }
}

async function tryNginx(): Promise<Nginx> {
  const folder = mkdtempSync(join(tmpdir(), "copse-nginx-"));
  const root = join(folder, "www");
  mkdirSync(root);
  makeCertificates(folder);
  const [http, plain, https, https12, closed, proxy] = [0, 0, 0, 0, 0, 0].map(freePort);
  const own = (name: string): string => join(folder, name);
  // Only this one knows it, so that nobody else's answer is taken for its own.
  const mark = `/${crypto.randomUUID()}`;
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${own(name)};`)
    .join(" ");
  const tls = `ssl_certificate ${own("server.crt")}; ssl_certificate_key ${own("server.key")};`;
  const { stdout: password } = ask("openssl", ["passwd", "-apr1", "canary-basic"]);
  writeFileSync(own("users"), `me:${password}`);
  writeFileSync(
    own("nginx.conf"),
    `daemon off; master_process off; pid ${own("pid")}; error_log ${own("error.log")};
     events { worker_connections 1024; }
     http {
       log_format short '$request $status $http_range';
       access_log ${own("access.log")} short; ${temporary}
       sendfile on; etag on; keepalive_requests 1000000; default_type application/octet-stream;
       server { listen 127.0.0.1:${http}; root ${root}; autoindex on; autoindex_format json; }
       server { listen 127.0.0.1:${plain}; root ${root}; autoindex on; location / { max_ranges 0; } }
       server { listen 127.0.0.1:${https} ssl http2; ${tls} ssl_protocols TLSv1.2 TLSv1.3; root ${root};
         autoindex on; autoindex_format json; http2_max_concurrent_streams 128;
         location /insecure/ { return 302 http://localhost:${http}/; } }
       server { listen 127.0.0.1:${https12} ssl; ${tls} ssl_protocols TLSv1.2; root ${root}; }
       server { listen 127.0.0.1:${closed}; root ${root}; location = ${mark} { return 204; }
         location /digest/ { alias ${root}/; add_header Repr-Digest "sha-512=:AAAA:, sha-256=:$arg_sha256:"; }
         location /basic/ { auth_basic "x"; auth_basic_user_file ${own("users")}; alias ${root}/; }
         location /get/ { limit_except GET { deny all; } if ($request_method = HEAD) { return 405; }
           alias ${root}/; }
         location /key/ { if ($http_x_key != "k") { return 403; } alias ${root}/; }
         location /moved/ { rewrite ^/moved/(.*) /$1 redirect; }
         location /away/ { rewrite ^/away/(.*) http://localhost:${http}/$1 redirect; } }
       server { listen 127.0.0.1:${proxy};
         location / { proxy_set_header X-Key k; proxy_pass http://$http_host$request_uri; } }
     }`,
  );
  let child = start(own("nginx.conf"), folder);
  const alive = `http://127.0.0.1:${closed}${mark}`;
  try {
    await untilItAnswers(alive, child);
  } catch (error) {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  let seen = 0;
  const server: Nginx = {
    root,
    http: `http://127.0.0.1:${http}`,
    plain: `http://127.0.0.1:${plain}`,
    https: `https://localhost:${https}`,
    https12: `https://localhost:${https12}`,
    closed: `http://127.0.0.1:${closed}`,
    proxy: `http://127.0.0.1:${proxy}`,
    ca: own("ca.crt"),
    requests() {
      const lines = readFileSync(own("access.log"), "utf8").split("\n").slice(0, -1);
      const fresh = lines.slice(seen).map((line) => line.replace(/ -$/, ""));
      seen = lines.length;
      return fresh;
    },
    async restart() {
      child.kill("SIGKILL");
      await child.exited;
      child = start(own("nginx.conf"), folder);
      await untilItAnswers(alive, child);
      server.requests();
    },
    [Symbol.dispose]() {
      child.kill("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    },
  };
  server.requests();
  return server;
}

function start(config: string, folder: string): Bun.Subprocess {
  return Bun.spawn(tied([program!, "-c", config, "-p", folder]), {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "ignore",
  });
}

async function untilItAnswers(url: string, child: Bun.Subprocess): Promise<void> {
  const end = Date.now() + 20_000;
  for (;;) {
    let why: unknown = new Error(`${url} is answered by somebody else`);
    try {
      if ((await fetch(url, { proxy: "" })).status === 204) return;
    } catch (error) {
      why = error;
    }
    if (child.exitCode !== null) throw new Ended("nginx ended", { cause: why });
    if (Date.now() > end) throw why;
    await Bun.sleep(5);
  }
}

function ask(name: string, args: readonly string[], cwd?: string): SpawnSyncReturns<string> {
  const ran = spawnSync(name === "openssl" ? openssl! : name, args, { cwd, encoding: "utf8" });
  if (ran.status !== 0) throw new Error(`${name} ${args.join(" ")}: ${ran.stderr}`);
  return ran;
}

/** A CA that lives as long as the folder, and a certificate of its for the names of this machine. */
function makeCertificates(folder: string): void {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const run = (...args: readonly string[]): void => void ask("openssl", args, folder);
  const name = ["-subj", "/CN=copse-test-ca"];
  run("req", "-x509", ...key, "-days", "2", ...name, "-keyout", "ca.key", "-out", "ca.crt");
  run("req", ...key, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr");
  writeFileSync(join(folder, "names"), "subjectAltName=DNS:localhost\n");
  const sign = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"];
  run("x509", "-req", "-in", "server.csr", ...sign, "-extfile", "names", "-out", "server.crt");
  if (!existsSync(join(folder, "server.crt"))) throw new Error("openssl made no certificate");
}
