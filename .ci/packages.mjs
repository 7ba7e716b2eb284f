// Packages of the system: which are missing, and how they come.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { aptRetries, ask, isProgram, patiently, root, run, say, Trouble } from "./tools.mjs";

// A header is found by pkg-config's name for its library. `neededBy` is the beginning of the sources
// that use it (build.zig has the same table): while there is none, its absence is only mentioned.
const libraries = [
  {
    library: "libcurl",
    neededBy: "wire/http",
    debian: "libcurl4-openssl-dev",
    fedora: "libcurl-devel",
    arch: "curl",
    alpine: "curl-dev",
    brew: "curl",
  },
  {
    library: "libarchive",
    neededBy: "store/archive",
    debian: "libarchive-dev",
    fedora: "libarchive-devel",
    arch: "libarchive",
    alpine: "libarchive-dev",
    brew: "libarchive",
  },
  {
    library: "libssh2",
    neededBy: "wire/ssh",
    debian: "libssh2-1-dev",
    fedora: "libssh2-devel",
    arch: "libssh2",
    alpine: "libssh2-dev",
    brew: "libssh2",
  },
  {
    library: "libzstd",
    neededBy: "store/pack",
    debian: "libzstd-dev",
    fedora: "libzstd-devel",
    arch: "zstd",
    alpine: "zstd-dev",
    brew: "zstd",
  },
  {
    library: "libxxhash",
    neededBy: "store/pack",
    debian: "libxxhash-dev",
    fedora: "xxhash-devel",
    arch: "xxhash",
    alpine: "xxhash-dev",
    brew: "xxhash",
  },
  {
    library: "libisal",
    neededBy: "store/archive",
    debian: "libisal-dev",
    fedora: "isa-l-devel",
    arch: "isa-l",
    alpine: "isa-l-dev",
    brew: "isa-l",
  },
  {
    library: "libdeflate",
    neededBy: "store/archive",
    debian: "libdeflate-dev",
    fedora: "libdeflate-devel",
    arch: "libdeflate",
    alpine: "libdeflate-dev",
    brew: "libdeflate",
  },
  {
    library: "liblzma",
    neededBy: "store/archive",
    debian: "liblzma-dev",
    fedora: "xz-devel",
    arch: "xz",
    alpine: "xz-dev",
    brew: "xz",
  },
  {
    library: "libcrypto",
    neededBy: "base/hash",
    debian: "libssl-dev",
    fedora: "openssl-devel",
    arch: "openssl",
    alpine: "openssl-dev",
    brew: "openssl",
  },
];
const pkgConfig = {
  debian: "pkg-config",
  fedora: "pkgconf-pkg-config",
  arch: "pkgconf",
  alpine: "pkgconf",
  brew: "pkgconf",
};

// Programs that only the checks use.
const programs = {
  clang: {
    program: "clang-19",
    debian: ["clang-19", "libclang-rt-19-dev"],
    fedora: ["clang", "compiler-rt"],
    arch: ["clang", "compiler-rt"],
    alpine: ["clang19", "compiler-rt"],
    brew: ["llvm@19"],
  },
  // Gives the sanitizers' reports their files and lines.
  symbolizer: {
    program: "llvm-symbolizer-19",
    debian: ["llvm-19"],
    fedora: ["llvm"],
    arch: ["llvm"],
    alpine: ["llvm19"],
    brew: ["llvm@19"],
  },
  "clang-format": {
    program: "clang-format-19",
    debian: ["clang-format-19"],
    fedora: ["clang-tools-extra"],
    arch: ["clang"],
    alpine: ["clang19-extra-tools"],
    brew: ["clang-format"],
  },
  valgrind: {
    program: "valgrind",
    debian: ["valgrind"],
    fedora: ["valgrind"],
    arch: ["valgrind"],
    alpine: ["valgrind"],
    brew: ["valgrind"],
  },
  git: {
    program: "git",
    debian: ["git"],
    fedora: ["git"],
    arch: ["git"],
    alpine: ["git"],
    brew: ["git"],
  },
  nginx: {
    program: "nginx",
    debian: ["nginx-light"],
    fedora: ["nginx"],
    arch: ["nginx"],
    alpine: ["nginx"],
    brew: ["nginx"],
  },
  minisign: {
    program: "minisign",
    debian: ["minisign"],
    fedora: ["minisign"],
    arch: ["minisign"],
    alpine: ["minisign"],
    brew: ["minisign"],
  },
  openssl: {
    program: "openssl",
    debian: ["openssl"],
    fedora: ["openssl"],
    arch: ["openssl"],
    alpine: ["openssl"],
    brew: ["openssl"],
  },
  bsdtar: {
    program: "bsdtar",
    debian: ["libarchive-tools"],
    fedora: ["bsdtar"],
    arch: ["libarchive"],
    alpine: ["libarchive-tools"],
    brew: ["libarchive"],
  },
  zip: {
    program: "zip",
    debian: ["zip"],
    fedora: ["zip"],
    arch: ["zip"],
    alpine: ["zip"],
    brew: ["zip"],
  },
  "7z": {
    program: "7z",
    debian: ["p7zip-full"],
    fedora: ["p7zip", "p7zip-plugins"],
    arch: ["p7zip"],
    alpine: ["7zip"],
    brew: ["p7zip"],
  },
  genisoimage: {
    program: "genisoimage",
    debian: ["genisoimage"],
    fedora: ["genisoimage"],
    arch: ["cdrtools"],
    alpine: ["cdrkit"],
    brew: ["cdrtools"],
  },
  cpio: {
    program: "cpio",
    debian: ["cpio"],
    fedora: ["cpio"],
    arch: ["cpio"],
    alpine: ["cpio"],
    brew: ["cpio"],
  },
  bzip2: {
    program: "bzip2",
    debian: ["bzip2"],
    fedora: ["bzip2"],
    arch: ["bzip2"],
    alpine: ["bzip2"],
    brew: ["bzip2"],
  },
  xz: {
    program: "xz",
    debian: ["xz-utils"],
    fedora: ["xz"],
    arch: ["xz"],
    alpine: ["xz"],
    brew: ["xz"],
  },
  zstd: {
    program: "zstd",
    debian: ["zstd"],
    fedora: ["zstd"],
    arch: ["zstd"],
    alpine: ["zstd"],
    brew: ["zstd"],
  },
  lz4: {
    program: "lz4",
    debian: ["lz4"],
    fedora: ["lz4"],
    arch: ["lz4"],
    alpine: ["lz4"],
    brew: ["lz4"],
  },
  ar: {
    program: "ar",
    debian: ["binutils"],
    fedora: ["binutils"],
    arch: ["binutils"],
    alpine: ["binutils"],
    brew: ["binutils"],
  },
  // The secret store that Bun asks, with a bus of its own to run on.
  keyring: {
    program: "gnome-keyring-daemon",
    debian: ["gnome-keyring", "libsecret-1-0"],
    fedora: ["gnome-keyring", "libsecret"],
    arch: ["gnome-keyring", "libsecret"],
    alpine: ["gnome-keyring", "libsecret"],
    brew: ["libsecret"],
  },
  bus: {
    program: "dbus-run-session",
    debian: ["dbus"],
    fedora: ["dbus-daemon"],
    arch: ["dbus"],
    alpine: ["dbus"],
    brew: ["dbus"],
  },
  fd: {
    program: "fdfind",
    debian: ["fd-find"],
    fedora: ["fd-find"],
    arch: ["fd"],
    alpine: ["fd"],
    brew: ["fd"],
  },
  rg: {
    program: "rg",
    debian: ["ripgrep"],
    fedora: ["ripgrep"],
    arch: ["ripgrep"],
    alpine: ["ripgrep"],
    brew: ["ripgrep"],
  },
  xfs: {
    program: "mkfs.xfs",
    debian: ["xfsprogs"],
    fedora: ["xfsprogs"],
    arch: ["xfsprogs"],
    alpine: ["xfsprogs"],
    brew: [],
  },
  btrfs: {
    program: "mkfs.btrfs",
    debian: ["btrfs-progs"],
    fedora: ["btrfs-progs"],
    arch: ["btrfs-progs"],
    alpine: ["btrfs-progs"],
    brew: [],
  },
  // Linux only: what the system is asked for, by thread.
  strace: {
    program: "strace",
    debian: ["strace"],
    fedora: ["strace"],
    arch: ["strace"],
    alpine: ["strace"],
    brew: [],
  },
  rsync: {
    program: "rsync",
    debian: ["rsync"],
    fedora: ["rsync"],
    arch: ["rsync"],
    alpine: ["rsync"],
    brew: ["rsync"],
  },
};

const installers = {
  debian: { program: "apt-get", command: "apt-get install -y --no-install-recommends" },
  fedora: { program: "dnf", command: "dnf install -y" },
  arch: { program: "pacman", command: "pacman -S --needed --noconfirm" },
  alpine: { program: "apk", command: "apk add" },
  brew: { program: "brew", command: "brew install" },
};

/** The development headers. Those that the sources use must be there, the rest may come later. */
export function installLibraries() {
  const missing = missingLibraries();
  if (missing.length === 0) return;
  const sources = nativeSources();
  const needed = missing.filter((row) => sources.some((path) => path.startsWith(row.neededBy)));
  install(
    missing.map((row) => row.library),
    (distribution) =>
      (isProgram("pkg-config") ? [] : [pkgConfig[distribution]]).concat(
        missing.map((row) => row[distribution]),
      ),
    {
      required: needed.length > 0,
    },
  );
}

/** What makes the archives of the tests. */
export const archivers = [
  "bsdtar",
  "zip",
  "7z",
  "genisoimage",
  "cpio",
  "bzip2",
  "xz",
  "zstd",
  "lz4",
  "ar",
];

/**
 * Programs by their names above, such as "clang" or "valgrind". What is not required may stay missing:
 * who uses it says so.
 */
export function installPrograms(names, { required = true } = {}) {
  const missing = names.filter((name) => !isProgram(programs[name].program));
  if (missing.length === 0) return;
  install(missing, (distribution) => missing.flatMap((name) => programs[name][distribution]), {
    required,
  });
}

function missingLibraries() {
  const names = libraries.map((row) => row.library);
  // One call is the whole check on every run but the first.
  if (ask("pkg-config", ["--exists", ...names]) !== undefined) return [];
  return libraries.filter((row) => ask("pkg-config", ["--exists", row.library]) === undefined);
}

function install(what, packagesFor, { required }) {
  const distribution = Object.keys(installers).find((name) => isProgram(installers[name].program));
  if (!distribution) {
    const sentence = `${what.join(", ")} missing, and no package manager known here (apt-get, dnf, pacman, apk, brew)`;
    if (required) throw new Trouble(sentence);
    return say(`${sentence}; the build does not use them yet`);
  }
  const packages = packagesFor(distribution);
  const { command } = installers[distribution];
  const isRoot = process.getuid?.() === 0;
  if (distribution === "debian" && (isRoot || ask("sudo", ["-n", "true"]) !== undefined)) {
    say(`installing ${packages.join(" ")}`);
    if (aptInstall(packages, isRoot ? [] : ["sudo", "-n"])) return;
  }
  const line = `${isRoot || distribution === "brew" ? "" : "sudo "}${command} ${packages.join(" ")}`;
  if (required) throw new Trouble(`${what.join(", ")} missing; please run: ${line}`);
  say(`${what.join(", ")} missing; the build does not use them yet, later: ${line}`);
}

function aptInstall(packages, prefix) {
  const apt = (...args) => {
    const [program, ...rest] = [
      ...prefix,
      "env",
      "DEBIAN_FRONTEND=noninteractive",
      "apt-get",
      "-qq",
      "-o",
      "Dpkg::Use-Pty=0",
      "-o",
      "DPkg::Lock::Timeout=300",
      ...aptRetries,
      ...args,
    ];
    // Debian's own lines ("Selecting previously unselected ...") would bury ours.
    return run(program, rest, { stdio: ["ignore", "ignore", 2] }) === 0;
  };
  const wanted = ["install", "-y", "--no-install-recommends", ...packages];
  return (hasPackageLists() && apt(...wanted)) || patiently(() => apt("update") && apt(...wanted));
}

export function hasPackageLists() {
  const folder = "/var/lib/apt/lists";
  return existsSync(folder) && readdirSync(folder).some((name) => name.includes("_Packages"));
}

/** Compiler and linker arguments for the system libraries that these sources use. */
export function systemFlags(sources) {
  const used = libraries.filter((row) => sources.some((path) => path.startsWith(row.neededBy)));
  if (used.length === 0) return { compile: [], link: [] };
  const names = used.map((row) => row.library);
  const words = (option) =>
    (ask("pkg-config", [option, ...names]) ?? "").split(/\s+/).filter(Boolean);
  return { compile: words("--cflags"), link: words("--libs") };
}

/** Paths below native/ of everything that is ours. */
export function nativeSources(folder = "") {
  const path = join(root, "native", folder);
  if (!existsSync(path)) return [];
  return readdirSync(path, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name === "third_party") return [];
    const at = `${folder}${entry.name}`;
    return entry.isDirectory() ? nativeSources(`${at}/`) : [at];
  });
}

/** "Debian GNU/Linux 12 (bookworm)", for messages and bench results. */
export function systemName() {
  const text = existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "";
  return /^PRETTY_NAME="?([^"\n]*)/m.exec(text)?.[1] ?? process.platform;
}
