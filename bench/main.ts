// `bun run bench [compare|async] [--quick] [--rounds N] [--only ID,ID]`
//
// Without a name both benches run. Close everything else first: figures from a busy machine are noise.

import { parseArgs } from "node:util";
import { asyncBench } from "./async.bench.ts";
import { compareBench } from "./compare.bench.ts";
import type { BenchOptions } from "./compare.bench.ts";
import { say } from "./report.ts";

const benches: Record<string, (options: BenchOptions) => Promise<void>> = {
  compare: compareBench,
  async: asyncBench,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    only: { type: "string", default: "" },
  },
});
const unknown = positionals.find((name) => !Object.hasOwn(benches, name));
const rounds = Number(values.rounds ?? (values.quick ? 2 : 7));
if (unknown !== undefined || !Number.isInteger(rounds) || rounds < 1) {
  say(
    unknown === undefined
      ? "--rounds takes a number of at least 1"
      : `no bench ${unknown}; there are ${Object.keys(benches).join(", ")}`,
  );
  process.exit(2);
}
const options = {
  quick: values.quick,
  rounds,
  only: values.only.split(",").filter((id) => id !== ""),
};
for (const name of positionals.length > 0 ? positionals : Object.keys(benches)) {
  await benches[name]!(options);
}
