// Runtime: threads, buffers and limits as the user sees them; engine.ts is what runs.

import { withTimeout } from "./async/race.ts";
import { Engine, openNative } from "./engine.ts";
import { argumentError, showValue } from "./errors.ts";
import { Io, Option } from "./native/abi.ts";
import { libraryPath } from "./native/ffi.ts";
import { Record } from "./native/record.ts";
import { checkDefaults, defaultsKey, type CheckedDefaults } from "./request.ts";
import type { RuntimeInfo, RuntimeOptions, RuntimeStats } from "./types.ts";

const GRACE_DEFAULT_MS = 10_000;

// ── Options ──

const profiles = {
  "low-memory": 256e6,
  default: 2 ** 30,
  "high-memory": 4e9,
  "max-throughput": 8e9,
} as const;
const backends = {
  auto: Io.AUTO,
  blocking: Io.BLOCKING,
  threads: Io.THREADS,
  uring: Io.URING,
} as const;

const optionNames: readonly string[] = [
  "workers",
  "ioWorkers",
  "connections",
  "memory",
  "bandwidth",
  "io",
  "defaults",
];

function numberBetween(name: string, value: unknown, least: number, most: number): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most)
    throw argumentError(
      name,
      `must be a whole number from ${least} to ${most}, not ${showValue(value)}`,
    );
  return value;
}

function encode(options: RuntimeOptions): Uint8Array {
  if (typeof options !== "object" || options === null)
    throw argumentError("runtime options", `must be an object, not ${showValue(options)}`);
  const record = new Record();
  for (const name of Object.keys(options))
    if (!optionNames.includes(name))
      throw argumentError("runtime options", `have no field ${showValue(name)}`);
  const { workers, ioWorkers, connections, memory, bandwidth } = options;
  if (workers !== undefined)
    record.number(Option.WORKERS, numberBetween("workers", workers, 1, 256));
  if (ioWorkers !== undefined)
    record.number(Option.IO_WORKERS, numberBetween("ioWorkers", ioWorkers, 1, 256));
  if (connections !== undefined)
    record.number(Option.CONNECTIONS, numberBetween("connections", connections, 1, 4096));
  if (bandwidth !== undefined)
    record.number(
      Option.BANDWIDTH,
      numberBetween("bandwidth", bandwidth, 1, Number.MAX_SAFE_INTEGER),
    );
  if (typeof memory === "string") {
    if (!Object.hasOwn(profiles, memory))
      throw argumentError(
        "memory",
        `must be a number of bytes or one of ${Object.keys(profiles).join(", ")}, not ${showValue(memory)}`,
      );
    record.number(Option.MEMORY, profiles[memory]);
  } else if (memory !== undefined) {
    record.number(Option.MEMORY, numberBetween("memory", memory, 16 * 2 ** 20, 2 ** 40));
  }
  const { io = "auto" } = options;
  const named = process.env.COPSE_IO || io;
  // The variable overrides the option, and hides nothing that is wrong with it.
  for (const [name, value] of Object.entries({ io, COPSE_IO: named }))
    if (!Object.hasOwn(backends, value))
      throw argumentError(
        name,
        `must be one of ${Object.keys(backends).join(", ")}, not ${showValue(value)}`,
      );
  record.number(Option.IO, backends[named as keyof typeof backends]); // hasOwn said so
  return record.end();
}

// Kept on the object under a registered symbol: with --hot an older evaluation of this module may
// have made it.
const engineKey = Symbol.for("copse.engine");
const defaultKey = Symbol.for("copse.runtime");

interface Shared {
  [defaultKey]?: Runtime;
}

/**
 * Threads, buffers and limits that tasks share. Most programs never make one: `Runtime.default` is
 * made on first use.
 */
export class Runtime implements Disposable, AsyncDisposable {
  readonly [engineKey]: Engine;
  readonly [defaultsKey]: CheckedDefaults | undefined;

  constructor(options: RuntimeOptions = {}) {
    const bytes = encode(options);
    const { defaults } = options;
    this[defaultsKey] = defaults === undefined ? undefined : checkDefaults(defaults);
    this[engineKey] = new Engine(bytes);
  }

  /** One for each JavaScript thread, made on first use and again after it was closed. */
  static get default(): Runtime {
    // The global object is shared with other evaluations of this module.
    const shared = globalThis as Shared;
    const made = shared[defaultKey];
    if (made && made[engineKey].state === "open") return made;
    return (shared[defaultKey] = new Runtime());
  }

  /** For a command: the whole machine for one job. */
  static forCli(): RuntimeOptions {
    return { io: "auto", memory: "default", connections: 64 };
  }

  /** For a server: a core is left to the event loop, more transfers at once. */
  static forServer(): RuntimeOptions {
    const cores = navigator.hardwareConcurrency;
    return {
      io: "auto",
      workers: Math.max(1, cores - 1),
      ioWorkers: Math.min(Math.max(2 * cores, 4), 16),
      memory: "default",
      connections: 128,
    };
  }

  /** For a small container or inside another program: one worker, steps in order, little memory. */
  static forEmbedded(): RuntimeOptions {
    return { io: "blocking", memory: 64 * 2 ** 20, connections: 4 };
  }

  /** What this runtime runs on. */
  get info(): RuntimeInfo {
    const engine = this[engineKey];
    const stats = engine.state === "closed" ? undefined : engine.stats();
    const names = ["auto", "blocking", "threads", "uring"] as const;
    const backend = names[stats?.backend ?? Io.THREADS];
    return {
      ...about(),
      library: libraryPath(),
      backend: backend === undefined || backend === "auto" ? "threads" : backend,
      workers: stats?.workers ?? 0,
      ioWorkers: stats?.ioWorkers ?? 0,
    };
  }

  /** Counters since it was made; they balance at every moment. */
  get stats(): RuntimeStats {
    const { backend: _, ...stats } = this[engineKey].stats();
    return stats;
  }

  get state(): "open" | "draining" | "closed" {
    return this[engineKey].state;
  }

  /**
   * Refuses new tasks, lets running ones end for `grace` milliseconds (default 10,000), then
   * cancels them and closes.
   */
  async shutdown(options: { grace?: number } = {}): Promise<void> {
    const grace = options.grace ?? GRACE_DEFAULT_MS;
    if (typeof grace !== "number" || !(grace >= 0))
      throw argumentError("grace", `must be milliseconds, at least 0, not ${showValue(grace)}`);
    const engine = this[engineKey];
    if (engine.state === "open") engine.state = "draining";
    // A grace that is over is no failure.
    if (grace > 0 && engine.pending > 0)
      await withTimeout(grace, (signal) => engine.whenIdle({ signal })).catch(() => {});
    engine.close();
  }

  /** Cancels what runs, waits for it, frees everything. Again: nothing. */
  close(): void {
    this[engineKey].close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown({ grace: 0 });
  }
}

/** The native runtime of the public one, or of the default. */
export function engineOf(runtime: Runtime | undefined): Engine {
  if (
    runtime !== undefined &&
    !(typeof runtime === "object" && runtime !== null && engineKey in runtime)
  )
    throw argumentError("runtime", `must be a Runtime, not ${showValue(runtime)}`);
  return (runtime ?? Runtime.default)[engineKey];
}

type About = Omit<RuntimeInfo, "library" | "backend" | "workers" | "ioWorkers">;

function about(): About {
  const { copse_about } = openNative();
  let bytes = new Uint8Array(1024);
  const size = copse_about(bytes, bytes.length);
  if (size > bytes.length) copse_about((bytes = new Uint8Array(size)), size);
  // The library writes exactly this; test/runtime.test.ts looks at every field.
  return JSON.parse(new TextDecoder().decode(bytes.subarray(0, size))) as About;
}
