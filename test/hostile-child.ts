// Run by hostile.test.ts as different users and with few descriptors: asks about three odd trees and about /proc, and
// prints what it heard as one JSON document.

import { closeSync, openSync } from "node:fs";
import {
  compare,
  compareSync,
  CopseError,
  list,
  listSync,
  type Comparison,
  type Difference,
} from "../lib/index.ts";

const [left, right, changed, what] = process.argv.slice(2);
if (left === undefined || right === undefined || changed === undefined)
  throw new Error("hostile-child.ts LEFT RIGHT CHANGED [full]");

function fact(row: Difference): string {
  switch (row.kind) {
    case "differs":
      return `differs ${row.reason}${row.offset === undefined ? "" : `@${row.offset}`} ${row.path}`;
    case "error":
      return `error ${row.error.code} ${row.path}`;
    case "moved":
      return `moved ${row.from} to ${row.path}`;
    case "only-left":
      return `only-left ${row.left.type} ${row.path}`;
    case "only-right":
      return `only-right ${row.right.type} ${row.path}`;
    case "same-by-rule":
      return `same-by-rule ${row.rule} ${row.path}`;
  }
}

/** All rows; none for an answer that is equal, and only for that one. */
function factsOf({ differences, equal }: Comparison): string[] {
  const facts = differences.map(fact);
  return equal === (facts.length === 0) ? facts : [`equal is ${equal}`, ...facts];
}

async function endOf(ask: () => unknown): Promise<string> {
  try {
    await ask();
    return "an answer";
  } catch (error) {
    return error instanceof CopseError ? error.code : String(error);
  }
}

/** Places that have no end, or no size, or whose entries go while they are looked at. */
async function processes(): Promise<Record<string, string>> {
  const mine = "/proc/self";
  const other = `/proc/${process.ppid}`;
  const timeout = 700; // /proc/PID/pagemap has some hundred gigabytes
  const questions: Record<string, () => unknown> = {
    "the process and its parent": () => compare(mine, other, { timeout }),
    "the process and its parent, sync": () => compareSync(mine, other, { timeout }),
    "the same process": () => compare(mine, `/proc/${process.pid}`, { timeout }),
    descriptors: () => compare(`${mine}/fdinfo`, `${other}/fdinfo`),
    threads: () => list(`${mine}/task`),
    "what it holds, followed": () =>
      list(`${mine}/fd`, { links: "follow", limits: { entries: 5000 }, timeout }),
    "everything from there": () =>
      listSync(mine, { links: "follow", limits: { entries: 5000, depth: 4 }, timeout }),
    settings: () => compare("/proc/sys/vm", "/proc/sys/kernel", { timeout }),
  };
  const said: Record<string, string> = {};
  for (const [name, ask] of Object.entries(questions)) said[name] = await endOf(ask);
  return said;
}

/** With every descriptor in use. */
function full(): { full: string; after: boolean } {
  compareSync(left!, left!, { include: ["pipe"] }); // the runtime needs one of its own
  const taken: number[] = [];
  try {
    for (;;) taken.push(openSync("/dev/null", "r"));
  } catch {
    // Now there is none.
  }
  let code = "an answer";
  try {
    compareSync(left!, right!);
  } catch (error) {
    if (error instanceof CopseError) ({ code } = error);
  }
  for (const fd of taken) closeSync(fd);
  return { full: code, after: compareSync(left!, right!).equal };
}

async function everything(): Promise<unknown> {
  const listed = await list(left!);
  const different = factsOf(await compare(left!, changed!)).toSorted();
  const messages: string[] = [];
  for (const path of ["new\nline/x", "\u001b[31mred/x", "\u202etxt/x", "\u200b/x"])
    for (const ask of [
      () => listSync(`${left}/${path}`),
      () => compareSync(`${left}/${path}`, right!),
    ])
      try {
        ask();
      } catch (error) {
        messages.push(error instanceof CopseError ? error.message : "no CopseError\n");
      }
  return {
    listed: listed.length,
    complete: listed.complete && listSync(left!).complete,
    equal: [
      ...factsOf(await compare(left!, right!)),
      ...factsOf(compareSync(left!, right!, { by: "hash" })),
    ],
    followed: factsOf(await compare(left!, right!, { links: "follow" })),
    changed: different,
    messages,
    processes: await processes(),
  };
}

process.stdout.write(JSON.stringify(what === "full" ? full() : await everything()));
