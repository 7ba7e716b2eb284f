// Fetches libarchive's own test archives into build/corpus/libarchive/: good, odd and broken ones of
// every format, and real ones of formats that nothing here can write. They come in Debian's source
// package, pinned by its hash; nothing of it is committed. `node .ci/corpus.mjs` says where they are.

import { createHash } from "node:crypto";
import {
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
import {
  aptRetries,
  ask,
  isMainScript,
  isProgram,
  main,
  patiently,
  root,
  say,
  Trouble,
} from "./tools.mjs";

const name = "libarchive_3.6.2.orig.tar.xz";
const digest = "9e2c1b80d5fbe59b61308fdfab6c79b5021d7ff4ff2489fb12daf0a96a83551d";
const folder = join(root, "build", "corpus", "libarchive");

/** The folder with the archives; where they cannot be had: undefined, or a Trouble when `required`. */
export function fetchCorpus({ required = false } = {}) {
  if (existsSync(join(folder, "VERSION"))) return folder;
  const temporary = mkdtempSync(join(tmpdir(), "copse-corpus-"));
  try {
    const why = fetchSource(temporary) ?? unpack(temporary);
    if (!why) return folder;
    const sentence = `libarchive's test archives could not be had: ${why}`;
    if (required) throw new Trouble(sentence);
    say(sentence);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** Puts the source package into a folder; says why not, where it cannot. */
function fetchSource(temporary) {
  if (!isProgram("apt-get") || !isProgram("xz") || !isProgram("gzip"))
    return "it needs apt-get, xz and gzip";
  say("fetching libarchive's test archives (Debian's source package)");
  // Lists of our own: those of the system name no sources, and are not ours to change.
  const sources = join(temporary, "sources");
  const options = [`Dir::Etc::sourcelist=/dev/null`, `Dir::Etc::sourceparts=${sources}`];
  for (const part of ["State::lists", "Cache::archives"]) {
    const own = join(temporary, part.split("::")[1]);
    mkdirSync(join(own, "partial"), { recursive: true });
    options.push(`Dir::${part}=${own}`);
  }
  options.push(`Dir::Cache=${join(temporary, "cache")}`, "APT::Sandbox::User=");
  mkdirSync(join(temporary, "cache"));
  writeSources(sources);
  const apt = (...args) =>
    ask(
      "apt-get",
      ["-qq", ...aptRetries, ...options.flatMap((option) => ["-o", option]), ...args],
      {
        cwd: temporary,
      },
    );
  const fetched = patiently(() => {
    if (apt("update") === undefined) return false;
    return (
      apt("source", "--download-only", "libarchive") !== undefined && existsSync(at(temporary))
    );
  });
  if (!fetched) return `apt-get has no ${name}, or knows no sources`;
  const found = createHash("sha256")
    .update(readFileSync(at(temporary)))
    .digest("hex");
  if (found !== digest) return `${name} has another SHA-256`;
}

const at = (temporary) => join(temporary, name);

/** The system's list of package servers, asked for sources instead of packages. */
function writeSources(into) {
  const from = "/etc/apt";
  const files = ["sources.list", ...list(join(from, "sources.list.d"), "sources.list.d/")];
  mkdirSync(into);
  for (const file of files.filter((path) => /\.(list|sources)$/.test(path))) {
    if (!existsSync(join(from, file))) continue;
    const text = readFileSync(join(from, file), "utf8");
    const asked = text.replace(/^(Types:.*\b)?deb(?!-src)\b/gm, "$1deb-src");
    writeFileSync(join(into, file.replaceAll("/", "-")), asked);
  }
}

const list = (path, prefix) =>
  existsSync(path) ? readdirSync(path).map((file) => `${prefix}${file}`) : [];

function unpack(temporary) {
  const made = join(temporary, "made");
  mkdirSync(made);
  const wanted = ["*/libarchive/test/*.uu", "*/contrib/oss-fuzz/corpus.zip"];
  const options = ["--wildcards", "--strip-components=3", ...wanted];
  if (ask("tar", ["-xJf", at(temporary), "-C", made, ...options]) === undefined)
    return `tar cannot unpack ${name}`;
  for (const file of readdirSync(made)) {
    if (!file.endsWith(".uu")) continue;
    const path = join(made, file.slice(0, -3));
    writeFileSync(path, decode(readFileSync(join(made, file), "latin1")));
    rmSync(join(made, file));
    if (path.endsWith(".Z") && ask("gzip", ["-df", path]) === undefined)
      return `gzip cannot unpack ${file}`;
  }
  writeFileSync(join(made, "VERSION"), `${digest}  ${name}\n`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, ".."), { recursive: true });
  // Moved in one step, so that a folder that is there is whole. tmp may be another file system.
  const beside = `${folder}.${process.pid}`;
  if (ask("cp", ["-r", made, beside]) === undefined) return `no room below ${folder}`;
  renameSync(beside, folder);
}

/** What `uuencode` made of some bytes. */
function decode(text) {
  const lines = text.slice(text.indexOf("\nbegin ") + 1).split("\n");
  const bytes = [];
  const value = (line, i) => ((line.charCodeAt(i) || 32) - 32) & 63;
  for (const line of lines.slice(1)) {
    const size = value(line, 0);
    if (size === 0) break;
    const part = [];
    for (let i = 1; part.length < size; i += 4) {
      const four = [0, 1, 2, 3].reduce((sum, k) => sum * 64 + value(line, i + k), 0);
      part.push(four >> 16, (four >> 8) & 255, four & 255);
    }
    bytes.push(...part.slice(0, size));
  }
  return Buffer.from(bytes);
}

if (isMainScript(import.meta.url))
  main(() => console.log(fetchCorpus({ required: true }).replace(`${root}/`, "")));
