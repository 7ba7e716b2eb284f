// Fetches BLAKE3's official C source into a git-ignored folder. No distribution packages it as a
// library for C, but Debian and Ubuntu ship the crate's source, which holds it in `c/`; elsewhere
// cargo fetches the same crate. Every file is checked against blake3.sha256 before it is used.

import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hasPackageLists } from "./packages.mjs";
import { aptRetries, ask, isProgram, patiently, root, run, say, Trouble } from "./tools.mjs";

const folder = join(root, "native", "third_party", "blake3");
const crateVersion = "1.8.2";

/** version → file name → SHA-256 */
function pins() {
  const versions = new Map();
  for (const line of readFileSync(join(root, ".ci", "blake3.sha256"), "utf8")
    .trim()
    .split("\n")) {
    const [digest, path] = line.split(/\s+/);
    const [version, name] = path.split("/");
    if (!versions.has(version)) versions.set(version, new Map());
    versions.get(version).set(name, digest);
  }
  return versions;
}

export function fetchBlake3() {
  if (existsSync(join(folder, "VERSION"))) return;
  const known = pins();
  const temporary = mkdtempSync(join(tmpdir(), "copse-blake3-"));
  const refusals = [];
  try {
    for (const from of [fromDebian, fromCargo]) {
      const source = from(temporary);
      if (!source) continue;
      const wrong = mismatch(source, known);
      if (wrong)
        refusals.push(
          `${from.name === "fromDebian" ? "the distribution's" : "cargo's"} copy was refused: ${wrong}`,
        );
      else return place(source, known);
    }
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  throw new Trouble(
    [
      "BLAKE3's C source could not be fetched: it needs apt-get (package librust-blake3-dev) or cargo, and a network",
      ...refusals,
    ].join("; "),
  );
}

function fromDebian(temporary) {
  if (!isProgram("apt-get") || !isProgram("dpkg")) return;
  say("fetching BLAKE3's C source (package librust-blake3-dev)");
  const work = join(temporary, "debian");
  mkdirSync(work);
  // The sandbox user of apt must be able to write here, else apt prints a warning.
  chmodSync(temporary, 0o755);
  chmodSync(work, 0o777);
  const download = (options) =>
    ask("apt-get", ["-qq", ...aptRetries, ...options, "download", "librust-blake3-dev"], {
      cwd: work,
    }) !== undefined && readdirSync(work).find((name) => name.endsWith(".deb"));
  let archive = hasPackageLists() && download([]);
  if (!archive) {
    // No lists, or lists too old: read them anew into a folder of our own, which needs no root.
    const state = join(temporary, "state");
    const cache = join(temporary, "cache");
    mkdirSync(join(state, "lists", "partial"), { recursive: true });
    mkdirSync(join(cache, "archives", "partial"), { recursive: true });
    const own = [
      "-o",
      `Dir::State=${state}`,
      "-o",
      `Dir::Cache=${cache}`,
      "-o",
      "Dir::State::status=/var/lib/dpkg/status",
      "-o",
      "APT::Sandbox::User=",
    ];
    const update = ["-qq", ...aptRetries, ...own, "update"];
    archive = patiently(() => ask("apt-get", update) !== undefined && download(own));
  }
  if (!archive || ask("dpkg", ["-x", join(work, archive), join(work, "x")]) === undefined) return;
  const crates = join(work, "x", "usr", "share", "cargo", "registry");
  const crate = readdirSync(crates).find((name) => name.startsWith("blake3-"));
  return crate && join(crates, crate, "c");
}

function fromCargo(temporary) {
  if (!isProgram("cargo")) return;
  say(`fetching BLAKE3's C source (crate blake3 ${crateVersion})`);
  const work = join(temporary, "cargo");
  mkdirSync(join(work, "src"), { recursive: true });
  writeFileSync(join(work, "src", "lib.rs"), "");
  writeFileSync(
    join(work, "Cargo.toml"),
    `[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\nblake3 = "=${crateVersion}"\n`,
  );
  const vendor = ["vendor", "--quiet", "vendor"];
  if (!patiently(() => run("cargo", vendor, { cwd: work, stdio: "ignore" }) === 0)) return;
  const source = join(work, "vendor", "blake3", "c");
  return existsSync(source) ? source : undefined;
}

function versionOf(source) {
  return /BLAKE3_VERSION_STRING "([^"]+)"/.exec(
    readFileSync(join(source, "blake3.h"), "utf8"),
  )?.[1];
}

function mismatch(source, known) {
  const version = versionOf(source);
  const files = known.get(version);
  if (!files) return `version ${version} is not pinned in .ci/blake3.sha256`;
  for (const [name, digest] of files) {
    const path = join(source, name);
    if (!existsSync(path)) return `${name} of ${version} is missing`;
    if (createHash("sha256").update(readFileSync(path)).digest("hex") !== digest)
      return `${name} of ${version} has another SHA-256`;
  }
}

function place(source, known) {
  const version = versionOf(source);
  const fresh = `${folder}.${process.pid}`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { recursive: true });
  for (const name of known.get(version).keys()) copyFileSync(join(source, name), join(fresh, name));
  writeFileSync(join(fresh, "VERSION"), `${version}\n`);
  rmSync(folder, { recursive: true, force: true });
  renameSync(fresh, folder);
}
