// What a program's own OpenTelemetry is told, through its real SDK; the presets, the latencies and the
// signals of a runtime.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as api from "@opentelemetry/api";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { join } from "node:path";
import { compare, compareSync, CopseError, list, reportTo, Runtime } from "../lib/index.ts";
import type { RuntimeOptions } from "../lib/index.ts";
import { Latency } from "../lib/latency.ts";
import { tied } from "./servers/tied.ts";

const examples = join(import.meta.dir, "..", "examples");
const left = join(examples, "left");
const right = join(examples, "right");

describe("reportTo", () => {
  const spans = new InMemorySpanExporter();
  const metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({
    exporter: metrics,
    exportIntervalMillis: 1e8,
  });
  const meters = new MeterProvider({ readers: [reader] });

  beforeAll(() => {
    const tracers = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
    api.trace.setGlobalTracerProvider(tracers);
    api.metrics.setGlobalMeterProvider(meters);
  });

  afterAll(async () => {
    api.trace.disable();
    api.metrics.disable();
    await meters.shutdown();
  });

  /** name → attribute values joined → value, newest. */
  async function read(): Promise<Map<string, Map<string, unknown>>> {
    metrics.reset();
    await reader.forceFlush();
    const read = new Map<string, Map<string, unknown>>();
    for (const { scopeMetrics } of metrics.getMetrics())
      for (const { metrics } of scopeMetrics)
        for (const { descriptor, dataPoints } of metrics)
          read.set(
            descriptor.name,
            new Map(dataPoints.map((it) => [Object.values(it.attributes).join(" "), it.value])),
          );
    return read;
  }

  test("tells of tasks as metrics and spans, failures with their code", async () => {
    using runtime = new Runtime();
    const telemetry = reportTo(api, runtime);
    await compare(left, right, { runtime });
    compareSync(left, right, { runtime });
    const failure = list(join(examples, "missing"), { runtime });
    expect(await failure.catch((error: unknown) => error)).toBeInstanceOf(CopseError);
    const cancelled = compare(left, right, { runtime });
    cancelled.cancel();
    await cancelled.catch(() => {});

    const seen = await read();
    const { stats } = runtime;
    expect(seen.get("copse.tasks")?.get("done")).toBe(2);
    expect(seen.get("copse.tasks")?.get("failed")).toBe(1);
    expect(seen.get("copse.bytes")?.get("read")).toBe(stats.bytesRead);
    expect(stats.bytesRead).toBeGreaterThan(0);
    expect(seen.get("copse.memory")?.get("")).toBeNumber();
    expect([...(seen.get("copse.threads")?.keys() ?? [])].toSorted()).toEqual(["cpu", "io"]);
    const durations = seen.get("copse.task.duration");
    expect(durations?.get("compare done")).toMatchObject({ count: 2 });
    expect(durations?.get("list failed")).toMatchObject({ count: 1 });

    const ended = spans.getFinishedSpans();
    expect(ended.map(({ name }) => name).toSorted()).toEqual([
      "copse.compare",
      "copse.compare",
      "copse.compare",
      "copse.list",
    ]);
    const done = ended.filter(({ attributes }) => attributes["copse.state"] === "done");
    expect(done.map(({ attributes }) => attributes["copse.files"])).toEqual([8, 8]);
    const failed = ended.find(({ name }) => name === "copse.list");
    expect(failed?.status.code).toBe(api.SpanStatusCode.ERROR);
    expect(failed?.attributes["copse.error"]).toBe("NOT_FOUND");
    expect(failed?.events).toHaveLength(1);

    telemetry[Symbol.dispose]();
    spans.reset();
    await compare(left, right, { runtime });
    expect(spans.getFinishedSpans()).toEqual([]);
    // The SDK goes on telling what it heard last.
    expect((await read()).get("copse.tasks")?.get("done")).toBe(2);
  });

  test("refuses what is not the module", () => {
    // @ts-expect-error not the module
    expect(() => reportTo({})).toThrow("@opentelemetry/api");
  });
});

describe("Runtime", () => {
  test.each([
    ["forCli", Runtime.forCli()],
    ["forServer", Runtime.forServer()],
    ["forEmbedded", Runtime.forEmbedded()],
  ] as const)("%s is accepted and compares right", async (_, options) => {
    using runtime = new Runtime(options);
    expect((await compare(left, right, { runtime })).differences).toHaveLength(
      compareSync(left, right).differences.length,
    );
  });

  test("the embedded preset has one worker and steps in order", () => {
    using runtime = new Runtime(Runtime.forEmbedded());
    const named = process.env["COPSE_IO"];
    if (!named) expect(runtime.info.backend).toBe("blocking");
    expect(runtime.stats.connections).toBe(4);
  });

  test.each([
    ["workers", { workers: 0 }, "1 to 256"],
    ["ioWorkers", { ioWorkers: 1.5 }, "1 to 256"],
    ["connections", { connections: 5000 }, "1 to 4096"],
    ["memory", { memory: 1 }, "16777216"],
  ] as const)("a bad %s is refused with its name, value and range", (name, options, range) => {
    const make = (): Runtime => new Runtime(options as RuntimeOptions);
    expect(make).toThrow(name);
    expect(make).toThrow(range);
    expect(make).toThrow(String(Object.values(options)[0]));
  });

  test("latencies are those of the tasks, and balance with the counters", async () => {
    using runtime = new Runtime();
    expect(runtime.stats.latency).toEqual({ p50: 0, p99: 0 });
    for (let i = 0; i < 20; i++) await compare(left, left, { runtime });
    const { latency, started, done } = runtime.stats;
    expect([started, done]).toEqual([20, 20]);
    expect(latency.p50).toBeGreaterThan(0);
    expect(latency.p99).toBeGreaterThanOrEqual(latency.p50);
  });

  test("quantiles are right within 9 %, and never told shorter than they were", () => {
    const latency = new Latency();
    for (let i = 1; i <= 10_000; i++) latency.add(i / 10);
    for (const [part, exact] of [
      [0.5, 500],
      [0.99, 990],
      [1, 1000],
    ] as const) {
      expect(latency.quantile(part)).toBeGreaterThanOrEqual(exact);
      expect(latency.quantile(part)).toBeLessThan(exact * 1.1);
    }
    latency.add(0);
    latency.add(1e12);
    expect(latency.quantile(1)).toBeGreaterThan(1e8);
  });
});

describe("listenForSignals", () => {
  const program = `
    import { listenForSignals } from ${JSON.stringify(join(import.meta.dir, "../lib/index.ts"))};
    const interruption = listenForSignals({ name: "job" });
    interruption.onHurry = () => console.log("hurry");
    console.log("ready");
    interruption.signal.addEventListener("abort", () => console.log("stopping"));
    setInterval(() => { if (process.argv.includes("--orderly") && interruption.status) process.exit(interruption.status); }, 5);`;

  async function run(signals: readonly NodeJS.Signals[], ...args: string[]) {
    await using child = Bun.spawn(tied([process.execPath, "-e", program, "--", ...args]), {
      stdout: "pipe",
      stderr: "pipe",
    });
    const reader = child.stdout.getReader();
    const decoder = new TextDecoder();
    let said = "";
    const until = async (word: string): Promise<void> => {
      while (!said.includes(word)) {
        const { done, value } = await reader.read();
        if (done) throw new Error(`ended before it said ${word}: ${said}`);
        said += decoder.decode(value);
      }
    };
    await until("ready");
    for (const signal of signals) {
      child.kill(signal);
      if (signal === signals[0]) await until("stopping");
    }
    const code = await child.exited;
    for (let next = await reader.read(); !next.done; next = await reader.read())
      said += decoder.decode(next.value);
    return { code, said, complaint: await new Response(child.stderr).text() };
  }

  test.skipIf(process.env["COPSE_SANITIZER"] === "tsan").each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)(
    "%s: the first lets it end in order, the second does not wait",
    async (signal, code) => {
      const orderly = await run([signal], "--orderly");
      expect(orderly).toEqual({ code, said: "ready\nstopping\n", complaint: "" });
      const hurried = await run([signal, signal]);
      expect(hurried.code).toBe(code);
      expect(hurried.said).toBe("ready\nstopping\nhurry\n");
      expect(hurried.complaint).toBe("job: stopped at once\n");
    },
  );
});
