// The plan of copse apply: what --dry-run --json printed.

import { readFileSync } from "node:fs";
import { CopseError, type Plan } from "../index.ts";

const known = new Map<string, Plan>();

/** `-` is standard input, which is read once. Whether it is a plan, apply says. */
export function planIn(path: string): Plan {
  const before = known.get(path);
  if (before !== undefined) return before;
  let plan: Plan;
  try {
    plan = JSON.parse(readFileSync(path === "-" ? 0 : path, "utf8")) as Plan;
  } catch (error) {
    throw noPlan(
      path,
      `the plan ${error instanceof SyntaxError ? "is no JSON" : "cannot be read"}`,
    );
  }
  if (typeof (plan as Partial<Plan> | null)?.plan !== "object") throw noPlan(path, "it is no plan");
  known.set(path, plan);
  return plan;
}

function noPlan(path: string, why: string): CopseError {
  const sentence = `${why}: give what --dry-run --json printed`;
  return new CopseError("ARGUMENT", sentence, { location: path });
}

/** Where the plan goes from and to, or nothing. */
export function placesOfPlan(plan: Plan): string[] {
  const { from, to } = (plan as Partial<Plan> | null)?.plan ?? {};
  return [from, to].filter((text) => typeof text === "string");
}
