// One verb in a process of its own: prints how far resident memory rose above what Bun itself took.
// `bun bench/peak.ts pack|unpack|verify FROM [TO] [LEVEL]`. Linux only.

import { readFileSync, writeFileSync } from "node:fs";

function status(field: string): number {
  const text = readFileSync("/proc/self/status", "utf8");
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? NaN) * 1024;
}

const [verb = "", from = "", to = "", level = "3"] = process.argv.slice(2);
Bun.gc(true);
writeFileSync("/proc/self/clear_refs", "5");
const before = status("VmRSS");
const { pack, unpack, verify } = await import("../lib/index.ts");
if (verb === "pack") await pack(from, to, { level: Number(level) });
else if (verb === "unpack") await unpack(from, to);
else if (verb === "verify") await verify(from);
else throw new Error(`no verb ${verb}`);
console.log(status("VmHWM") - before);
