// Interleaved rounds and the numbers made of them. Every contestant of a workload runs once per round,
// and the order turns by one each round, so that a slow moment of the machine hits all alike.

/** One run of one contestant. Bytes are those that came from the disk, where the system tells. */
export interface Run {
  readonly equal: boolean;
  readonly milliseconds: number;
  readonly cpuMilliseconds: number;
  readonly diskBytes: number;
}

export interface Contestant {
  readonly name: string;
  /** How its time is shown and what it is divided by: in process, less its start-up, or as it is. */
  readonly kind: "copse" | "rival" | "command";
  run(): Run | Promise<Run>;
  /** The same program with nothing to do; its time is taken off. */
  startUp?(): Run | Promise<Run>;
  /** Before each timed run, not timed: emptying the page cache, for instance. */
  prepare?(): void | Promise<void>;
}

export interface Measured {
  readonly name: string;
  readonly kind: Contestant["kind"];
  /** What the fastest round and the middle round took, start-up taken off. */
  readonly min: number;
  readonly median: number;
  readonly max: number;
  readonly startUp: number;
  readonly cpu: number;
  readonly diskBytes: number;
  readonly rounds: number;
}

/** Runs all contestants `rounds` times, interleaved; `expected` is checked on every single run. */
export async function interleave(
  contestants: readonly Contestant[],
  rounds: number,
  expected: boolean,
): Promise<Measured[]> {
  const runs = contestants.map((): Run[] => []);
  const idle = contestants.map((): Run[] => []);
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < contestants.length; i++) {
      const at = (i + round) % contestants.length;
      const contestant = contestants[at]!;
      if (contestant.startUp) idle[at]!.push(await contestant.startUp());
      await contestant.prepare?.();
      const run = await contestant.run();
      if (run.equal !== expected) throw new Error(wrongAnswer(contestant.name, run.equal));
      runs[at]!.push(run);
    }
  }
  return contestants.map((contestant, at) => summary(contestant, runs[at]!, idle[at]!));
}

export function wrongAnswer(name: string, equal: boolean): string {
  return `${name} says ${equal ? "equal" : "different"}, which is wrong: no time of this run counts`;
}

function summary(contestant: Contestant, runs: readonly Run[], idle: readonly Run[]): Measured {
  const times = runs.map((run) => run.milliseconds);
  const startUps = idle.map((run) => run.milliseconds);
  const cpu = median(runs.map((run) => run.cpuMilliseconds));
  const startUpCpu = idle.length > 0 ? median(idle.map((run) => run.cpuMilliseconds)) : 0;
  return {
    name: contestant.name,
    kind: contestant.kind,
    // A run that is all start-up comes out near zero on either side of it: never below 10 µs.
    min: Math.max(0.01, Math.min(...times) - (idle.length > 0 ? Math.min(...startUps) : 0)),
    median: Math.max(0.01, median(times) - (idle.length > 0 ? median(startUps) : 0)),
    max: Math.max(0.01, Math.max(...times) - (idle.length > 0 ? median(startUps) : 0)),
    startUp: idle.length > 0 ? median(startUps) : 0,
    cpu: Math.max(0, cpu - startUpCpu),
    diskBytes: median(runs.map((run) => run.diskBytes)),
    rounds: runs.length,
  };
}

export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? sorted[middle]!
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

/** What the target of a workload says: ours divided by `against` is at most `atMost`. */
export interface Target {
  readonly against: string;
  readonly atMost: number;
}

export type Verdict = "met" | "missed" | "met by minimum only" | "met by median only";

/** Strict: every form of ours, by the fastest round and by the middle one. */
export function judge(
  ours: readonly Measured[],
  rival: Measured,
  atMost: number,
): { readonly min: number; readonly median: number; readonly verdict: Verdict } {
  const min = Math.max(...ours.map((row) => row.min / rival.min));
  const middle = Math.max(...ours.map((row) => row.median / rival.median));
  const byMin = min <= atMost;
  const byMedian = middle <= atMost;
  const verdict =
    byMin && byMedian
      ? "met"
      : byMin
        ? "met by minimum only"
        : byMedian
          ? "met by median only"
          : "missed";
  return { min, median: middle, verdict };
}
