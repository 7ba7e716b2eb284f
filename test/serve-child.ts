// The server of serve.test.ts, a process of its own so that what it holds can be counted. Each request compares; the
// test is the client.
//
//   /pair?number=N       compares one pair of small trees, says what it found
//   /burst?count=N       N compares at once in one handler, says how many were wrong
//   /held                what the process holds, after what is not needed was given back

import { readdirSync, readFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { compare, Runtime, type Comparison } from "../lib/index.ts";

const root = process.argv[2];
const pairs = Number(process.argv[3]);
if (root === undefined || !(pairs > 0)) throw new Error("serve-child.ts ROOT PAIRS");

const ask = (number: number): PromiseLike<Comparison> =>
  compare(`${root}/left-${number % pairs}`, `${root}/right-${number % pairs}`);

/** Every third pair differs, in one file. */
function isRight(number: number, { equal, complete, differences }: Comparison): boolean {
  const differs = (number % pairs) % 3 === 0;
  return complete && equal === !differs && differences.length === Number(differs);
}

const cores = navigator.hardwareConcurrency;

function threads(): number {
  let count = 0;
  for (const id of readdirSync("/proc/self/task")) {
    try {
      if (readFileSync(`/proc/self/task/${id}/comm`, "utf8").startsWith("copse-")) count++;
    } catch {
      // It ended meanwhile.
    }
  }
  return count;
}

let threadsMost = 0;
const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  idleTimeout: 120,
  routes: {
    "/pair": async (request) => {
      const number = Number(new URL(request.url).searchParams.get("number"));
      const answer = await ask(number);
      return Response.json({ right: isRight(number, answer) });
    },
    "/burst": async (request) => {
      const count = Number(new URL(request.url).searchParams.get("count"));
      const asked = Array.from({ length: count }, (_, number) => ask(number));
      threadsMost = Math.max(threadsMost, threads());
      const answers = await Promise.allSettled(asked);
      threadsMost = Math.max(threadsMost, threads());
      const wrong = answers.filter(
        (answer, number) => answer.status === "rejected" || !isRight(number, answer.value),
      );
      return Response.json({ wrong: wrong.length });
    },
    "/held": () => {
      Bun.gc(true);
      const { info, stats } = Runtime.default;
      threadsMost = Math.max(threadsMost, threads());
      return Response.json({
        files: readdirSync("/proc/self/fd").length,
        bytes: process.memoryUsage.rss(),
        threadsMost,
        // And the one for timers. Who waits for a ring looks idle, so there they come to all that
        // the documentation allows: four a core for I/O, 8 to 32.
        threadsAllowed:
          (info.backend === "uring"
            ? cores + Math.min(Math.max(4 * cores, 8), 32)
            : info.workers + info.ioWorkers) + 1,
        stats,
        delayMilliseconds: { p99: delay.percentile(99) / 1e6, most: delay.max / 1e6 },
      });
    },
  },
});
process.stdout.write(`${server.port}\n`);
