// What do the primitives of copse/async cost beside the packages people use for the same? All in one
// process, in turns; every contestant's answer is checked.

import { createRequire } from "node:module";
import { Channel, Semaphore, TaskGroup } from "../lib/async/index.ts";
import { benchOptions } from "./arguments.ts";
import { copseVersion, machine } from "./machine.ts";
import { interleave, judge, type Contestant, type Measured, type Target } from "./measure.ts";
import { number, say, table, write } from "./report.ts";
import { npmRivals } from "./rivals.ts";

interface Part {
  readonly title: string;
  readonly contestants: readonly Contestant[];
  readonly targets: readonly Target[];
}

type Limit = (work: () => Promise<void>) => Promise<void>;

const LIMIT = 16;
const turn = Promise.resolve();

/** All works through one limit; equal when each was done once and never more than LIMIT at a time. */
function limited(name: string, count: number, make: () => Limit, isOurs = false): Contestant {
  return contestant(name, isOurs, async () => {
    const limit = make();
    let running = 0;
    let done = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: count }, () =>
        limit(async () => {
          most = Math.max(most, ++running);
          await turn;
          running--;
          done++;
        }),
      ),
    );
    return done === count && most === LIMIT;
  });
}

function contestant(name: string, isOurs: boolean, work: () => Promise<boolean>): Contestant {
  return {
    name,
    isOurs,
    async run() {
      const cpu = process.cpuUsage();
      const began = performance.now();
      const equal = await work();
      const milliseconds = performance.now() - began;
      const { user, system } = process.cpuUsage(cpu);
      return { equal, milliseconds, cpuMilliseconds: (user + system) / 1000, diskBytes: 0 };
    },
  };
}

function semaphores(count: number, require: NodeJS.Require): Part {
  // The packages' own types are not installed with the checkout.
  const pLimit = require("p-limit").default;
  const PQueue = require("p-queue").default;
  const mutex = require("async-mutex");
  const { Effect } = require("effect");
  const effect = contestant("effect forEach", false, async () => {
    let done = 0;
    const work = Effect.promise(async () => {
      await turn;
      done++;
    });
    const works = Array.from({ length: count }, () => work);
    await Effect.runPromise(
      Effect.forEach(works, (work: unknown) => work, { concurrency: LIMIT, discard: true }),
    );
    return done === count;
  });
  return {
    title: `Semaphore: ${count.toLocaleString("en")} works at limit ${LIMIT}`,
    contestants: [
      limited(
        "copse Semaphore.run",
        count,
        () => {
          const semaphore = new Semaphore(LIMIT);
          return (work) => semaphore.run(work);
        },
        true,
      ),
      limited("p-limit", count, () => pLimit(LIMIT)),
      limited("p-queue", count, () => {
        const queue = new PQueue({ concurrency: LIMIT });
        return (work) => queue.add(work);
      }),
      limited("async-mutex", count, () => {
        const semaphore = new mutex.Semaphore(LIMIT);
        return (work) => semaphore.runExclusive(work);
      }),
      effect,
    ],
    targets: ["p-limit", "p-queue", "async-mutex"].map((against) => ({
      ours: ["copse Semaphore.run"],
      against,
      atMost: 1 / 1.5,
    })),
  };
}

function channels(count: number): Part {
  const sum = (count * (count - 1)) / 2;
  return {
    title: `Channel(64): ${count.toLocaleString("en")} values from one to another`,
    contestants: [
      contestant("copse Channel(64)", true, async () => {
        const channel = new Channel<number>(64);
        const sending = (async () => {
          for (let i = 0; i < count; i++) await channel.send(i);
          channel.close();
        })();
        let got = 0;
        for await (const value of channel) got += value;
        await sending;
        return got === sum;
      }),
      contestant("TransformStream", false, async () => {
        const { readable, writable } = new TransformStream<number, number>(
          undefined,
          new CountQueuingStrategy({ highWaterMark: 64 }),
          new CountQueuingStrategy({ highWaterMark: 64 }),
        );
        const sending = (async () => {
          const writer = writable.getWriter();
          for (let i = 0; i < count; i++) {
            await writer.ready;
            void writer.write(i);
          }
          await writer.close();
        })();
        let got = 0;
        for await (const value of readable) got += value;
        await sending;
        return got === sum;
      }),
    ],
    targets: [{ ours: ["copse Channel(64)"], against: "TransformStream", atMost: 1 / 1.3 }],
  };
}

function groups(count: number): Part {
  return {
    title: `TaskGroup: ${count.toLocaleString("en")} children`,
    contestants: [
      contestant("copse TaskGroup.run", true, async () => {
        let done = 0;
        {
          await using group = new TaskGroup({ results: false });
          for (let i = 0; i < count; i++)
            void group.run(async () => {
              await turn;
              done++;
            });
        }
        return done === count;
      }),
      contestant("bare promises", false, async () => {
        let done = 0;
        const children: Promise<void>[] = [];
        for (let i = 0; i < count; i++)
          children.push(
            (async () => {
              await turn;
              done++;
            })(),
          );
        await Promise.all(children);
        return done === count;
      }),
    ],
    targets: [{ ours: ["copse TaskGroup.run"], against: "bare promises", atMost: 2 }],
  };
}

function text(part: Part, rows: readonly Measured[]): string {
  const fastest = Math.min(...rows.filter((row) => row.isOurs).map((row) => row.median));
  const times = table(
    ["contestant", "fastest ms", "median ms", "CPU ms", "of ours"],
    rows.map((row) => [
      row.name,
      number(row.min),
      number(row.median),
      number(row.cpu),
      number(row.median / fastest),
    ]),
  );
  const goals = table(
    ["against", "at most", "fastest", "median", "verdict"],
    part.targets.map((target) => {
      const { min, median, verdict, against, atMost } = judge(target, rows);
      return [against, number(atMost), number(min), number(median), verdict];
    }),
  );
  return `## ${part.title}\n\n${times}\n\n${goals}\n`;
}

async function main(): Promise<void> {
  const options = benchOptions(["semaphore", "channel", "group"]);
  const require = createRequire(npmRivals());
  const count = options.quick ? 5_000 : 100_000;
  const parts: Readonly<Record<string, () => Part>> = {
    semaphore: () => semaphores(count, require),
    channel: () => channels(count),
    group: () => groups(count),
  };
  const texts: string[] = [];
  for (const [id, make] of Object.entries(parts)) {
    if (options.only.length > 0 && !options.only.includes(id)) continue;
    say(`primitives: ${id}`);
    const part = make();
    // Once to warm the compiler, not counted.
    await interleave(part.contestants, 1, true);
    texts.push(text(part, await interleave(part.contestants, options.rounds, true)));
  }
  process.stdout.write(`${texts.join("\n")}\n`);
  if (options.quick || options.only.length > 0) return;
  write(
    "primitives.md",
    `# primitives: what copse/async costs beside others\n\n\`npm run bench primitives\` · ${copseVersion()} · ${machine(import.meta.dir)}\n\n${texts.join("\n")}`,
  );
}

await main();
