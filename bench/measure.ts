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
  readonly isOurs: boolean;
  run(): Run | Promise<Run>;
  /** The same program with nothing to do; its time is taken off. */
  startUp?(): Run | Promise<Run>;
  /** Before each timed run, not timed: emptying the page cache, for instance. */
  prepare?(): void | Promise<void>;
}

export interface Measured {
  readonly name: string;
  readonly isOurs: boolean;
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
  const hasStartUp = startUps.length > 0;
  return {
    name: contestant.name,
    isOurs: contestant.isOurs,
    min: positive(Math.min(...times) - (hasStartUp ? Math.min(...startUps) : 0)),
    median: positive(median(times) - (hasStartUp ? median(startUps) : 0)),
    max: positive(Math.max(...times) - (hasStartUp ? median(startUps) : 0)),
    startUp: hasStartUp ? median(startUps) : 0,
    cpu: Math.max(0, cpu - startUpCpu),
    diskBytes: median(runs.map((run) => run.diskBytes)),
    rounds: runs.length,
  };
}

/** A run that is all start-up may come out below zero: then nobody knows what it took. */
function positive(milliseconds: number): number {
  return milliseconds > 0 ? milliseconds : NaN;
}

export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle]!;
  return ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
}

/** The goal: each of these forms of ours takes at most this part of the rival's time. */
export interface Target {
  readonly ours: readonly string[];
  readonly against: string;
  readonly atMost: number;
}

export type Verdict =
  | "met"
  | "missed"
  | "met by fastest only"
  | "met by median only"
  | "not measured";

export interface Judgement extends Target {
  /** The worst of our forms, by the fastest round and by the middle one. */
  readonly min: number;
  readonly median: number;
  readonly verdict: Verdict;
}

export function judge(target: Target, rows: readonly Measured[]): Judgement {
  const rival = rows.find((row) => row.name === target.against);
  const ours = rows.filter((row) => target.ours.includes(row.name));
  const isMeasured = rival && !Number.isNaN(rival.min + rival.median);
  if (!isMeasured || ours.length !== target.ours.length)
    return { ...target, min: NaN, median: NaN, verdict: "not measured" };
  const min = Math.max(...ours.map((row) => row.min / rival.min));
  const middle = Math.max(...ours.map((row) => row.median / rival.median));
  return { ...target, min, median: middle, verdict: verdict(min, middle, target.atMost) };
}

function verdict(min: number, middle: number, atMost: number): Verdict {
  if (min <= atMost && middle <= atMost) return "met";
  if (min <= atMost) return "met by fastest only";
  return middle <= atMost ? "met by median only" : "missed";
}
