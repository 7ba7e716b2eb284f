// One verb in a process of its own: prints how far the memory it held rose above what Bun itself took.
// Pages of files are none of it: Bun's executable has many, and more of them come in as it runs.
// `bun bench/peak.ts pack|unpack|verify FROM [TO] [LEVEL]`. Linux only.

import { readFileSync } from "node:fs";

function held(): number {
  const text = readFileSync("/proc/self/status", "utf8");
  const fields = text.matchAll(/^Rss(?:Anon|Shmem):\s+(\d+) kB/gm);
  return fields.reduce((sum, [, kilobytes]) => sum + Number(kilobytes) * 1024, 0);
}

const [verb = "", from = "", to = "", level = "3"] = process.argv.slice(2);
Bun.gc(true);
const before = held();
let most = before;
const look = (): void => {
  most = Math.max(most, held());
};
const timer = setInterval(look, 2);
const { pack, unpack, verify } = await import("../lib/index.ts");
if (verb === "pack") await pack(from, to, { level: Number(level) });
else if (verb === "unpack") await unpack(from, to);
else if (verb === "verify") await verify(from);
else throw new Error(`no verb ${verb}`);
look();
clearInterval(timer);
console.log(most - before);
