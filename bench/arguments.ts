// What every bench can be told: `bun run bench [name] [--quick] [--rounds N] [--only ID,ID]`.

import { parseArgs } from "node:util";
import { say } from "./report.ts";

export interface BenchOptions {
  /** Small workloads and few rounds; answers are checked, nothing is judged or written. */
  readonly quick: boolean;
  readonly rounds: number;
  /** Names of the parts to run; all when empty. Results are written for all only. */
  readonly only: readonly string[];
}

/** Ends the process with a sentence when the arguments make no sense. */
export function benchOptions(parts: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      rounds: { type: "string" },
      only: { type: "string", default: "" },
    },
  });
  const rounds = Number(values.rounds ?? (values.quick ? 2 : 7));
  if (!Number.isInteger(rounds) || rounds < 1) refuse("--rounds takes a number of at least 1");
  const only = values.only.split(",").filter((id) => id !== "");
  const unknown = only.find((id) => !parts.includes(id));
  if (unknown !== undefined) refuse(`no part ${unknown}; there are ${parts.join(", ")}`);
  return { quick: values.quick, rounds, only };
}

function refuse(sentence: string): never {
  say(sentence);
  process.exit(2);
}
