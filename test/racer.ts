// Run beside a test that compares: changes a tree as fast as it can until it is killed.
//
//   exchange A B      the two names trade places, at once (renameat2 RENAME_EXCHANGE)
//   churn FILE TO     the file grows, shrinks, vanishes, comes back, is replaced by another file, a directory, a
//                     pipe and a link to TO; its content never begins like anybody else's

import { dlopen } from "bun:ffi";
import {
  appendFileSync,
  mkdirSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";

const { symbols: libc } = dlopen("libc.so.6", {
  renameat2: { args: ["i32", "ptr", "i32", "ptr", "u32"], returns: "i32" },
  mkfifo: { args: ["ptr", "u32"], returns: "i32" },
});
const AT_FDCWD = -100;
const RENAME_EXCHANGE = 2;

const [what, first, second] = process.argv.slice(2);
if (first === undefined || second === undefined)
  throw new Error("racer.ts exchange|churn PATH PATH");
const pathOf = (path: string): Buffer => Buffer.from(`${path}\0`);

function exchange(left: Buffer, right: Buffer): void {
  if (libc.renameat2(AT_FDCWD, left, AT_FDCWD, right, RENAME_EXCHANGE) !== 0)
    throw new Error("renameat2 failed");
}

function churn(file: string, target: string): void {
  const fresh = `${file}.new`;
  const content = Buffer.alloc(600 * 1024, "?");
  appendFileSync(file, content);
  truncateSync(file, 300 * 1024);
  truncateSync(file, 700 * 1024);
  unlinkSync(file);
  writeFileSync(file, content);
  writeFileSync(fresh, "? short");
  renameSync(fresh, file);
  unlinkSync(file);
  mkdirSync(file);
  rmdirSync(file);
  libc.mkfifo(pathOf(file), 0o644);
  unlinkSync(file);
  symlinkSync(target, file);
  unlinkSync(file);
  writeFileSync(file, content.subarray(0, 400 * 1024));
}

const left = pathOf(first);
const right = pathOf(second);
// Whoever started it waits for this line.
process.stdout.write("running\n");
for (;;) {
  if (what === "exchange") exchange(left, right);
  else churn(first, second);
}
