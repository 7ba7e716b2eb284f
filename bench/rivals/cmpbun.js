// cmpbun.js LEFT RIGHT [sync]: exit 0 when two files or two trees are equal, 1 when they differ.
//
// What a careful person writes with Bun alone: slices of 4 MiB and Buffer.compare for files; trees by
// Bun.file(...).bytes(), all pairs of a directory at once, or by readFileSync with a third argument.
import { readdirSync, readFileSync, statSync } from "node:fs";

const [, , left, right, mode] = process.argv;
const slice = 4 << 20;

async function sameFile(left, right) {
  const a = Bun.file(left);
  const b = Bun.file(right);
  if (a.size !== b.size) return false;
  for (let at = 0; at < a.size; at += slice) {
    const [x, y] = await Promise.all([
      a.slice(at, at + slice).arrayBuffer(),
      b.slice(at, at + slice).arrayBuffer(),
    ]);
    if (Buffer.compare(new Uint8Array(x), new Uint8Array(y)) !== 0) return false;
  }
  return true;
}

async function sameSmall(left, right) {
  const [x, y] = await Promise.all([Bun.file(left).bytes(), Bun.file(right).bytes()]);
  return x.length === y.length && Buffer.compare(x, y) === 0;
}

function sameSmallSync(left, right) {
  const x = readFileSync(left);
  const y = readFileSync(right);
  return x.length === y.length && Buffer.compare(x, y) === 0;
}

/** How many differences two trees have. */
async function differences(left, right) {
  const entries = readdirSync(left, { withFileTypes: true });
  const others = new Map(readdirSync(right, { withFileTypes: true }).map((e) => [e.name, e]));
  let count = 0;
  const pending = [];
  for (const entry of entries) {
    const other = others.get(entry.name);
    if (!other) {
      count++;
      continue;
    }
    others.delete(entry.name);
    const a = `${left}/${entry.name}`;
    const b = `${right}/${entry.name}`;
    if (entry.isDirectory() !== other.isDirectory()) count++;
    else if (entry.isDirectory()) count += await differences(a, b);
    else if (mode === "sync") count += sameSmallSync(a, b) ? 0 : 1;
    else pending.push(sameSmall(a, b));
  }
  for (const same of await Promise.all(pending)) if (!same) count++;
  return count + others.size;
}

const equal = statSync(left).isDirectory()
  ? (await differences(left, right)) === 0
  : await sameFile(left, right);
process.exit(equal ? 0 : 1);
