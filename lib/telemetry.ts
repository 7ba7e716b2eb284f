// OpenTelemetry: what `runtime.stats` says as metrics, and a span for each task. The package is the
// program's own and handed in, so that copse depends on nothing.

import type { Ending } from "./engine.ts";
import { argumentError, showValue } from "./errors.ts";
import { engineOf, Runtime } from "./runtime.ts";

type Attributes = Record<string, string | number>;

interface Span {
  setAttributes(attributes: Attributes): unknown;
  setStatus(status: { code: number; message?: string }): unknown;
  recordException(error: Error): unknown;
  end(): void;
}

interface Result {
  observe(instrument: Instrument, value: number, attributes?: Attributes): void;
}

interface Instrument {
  readonly [name: string]: any; // the package's own affair
}

/** What is used of `@opentelemetry/api`: `import * as api from "@opentelemetry/api"` fits. */
export interface OpenTelemetry {
  readonly metrics: {
    getMeter(name: string): {
      createObservableCounter(name: string, options: object): Instrument;
      createObservableUpDownCounter(name: string, options: object): Instrument;
      createHistogram(
        name: string,
        options: object,
      ): { record(value: number, attributes?: Attributes): void };
      addBatchObservableCallback(callback: any, instruments: any[]): void;
      removeBatchObservableCallback(callback: any, instruments: any[]): void;
    };
  };
  readonly trace: {
    getTracer(name: string): { startSpan(name: string, options?: object): Span };
  };
  readonly SpanStatusCode: { readonly ERROR: number };
}

/**
 * Reports a runtime to OpenTelemetry until the result is disposed.
 *
 * Metrics: `copse.tasks` (by `state`), `copse.bytes` (by `direction`), `copse.wakes`, `copse.memory`,
 * `copse.threads` (by `pool`) and the histogram `copse.task.duration` in seconds (by `verb`, `state`).
 * Spans: `copse.<verb>` for each task, a child of the span that is active where it is started, with
 * `copse.files`, `copse.bytes` and, when it fails, `copse.error` and the exception.
 *
 * ```ts
 * import * as api from "@opentelemetry/api";
 * using telemetry = reportTo(api);
 * ```
 */
export function reportTo(api: OpenTelemetry, runtime: Runtime = Runtime.default): Disposable {
  if (typeof api?.metrics?.getMeter !== "function" || typeof api.trace?.getTracer !== "function")
    throw argumentError("api", `must be the module @opentelemetry/api, not ${showValue(api)}`);
  const engine = engineOf(runtime);
  const meter = api.metrics.getMeter("copse");
  const tracer = api.trace.getTracer("copse");
  const counter = (name: string, description: string, unit: string): Instrument =>
    meter.createObservableCounter(name, { description, unit });
  const level = (name: string, description: string, unit: string): Instrument =>
    meter.createObservableUpDownCounter(name, { description, unit });
  const tasks = counter("copse.tasks", "tasks that ended, by how", "{task}");
  const live = level("copse.tasks.live", "tasks that run or are queued", "{task}");
  const bytes = counter("copse.bytes", "bytes read and written", "By");
  const wakes = counter("copse.wakes", "times the event loop was woken", "{wake}");
  const memory = level("copse.memory", "bytes of buffers in use", "By");
  const threads = level("copse.threads", "native threads there are", "{thread}");
  const duration = meter.createHistogram("copse.task.duration", {
    description: "from a task's start to its end",
    unit: "s",
  });

  const instruments = [tasks, live, bytes, wakes, memory, threads];
  const collect = (result: Result): void => {
    if (engine.state === "closed") return;
    const { stats } = runtime;
    for (const state of ["done", "failed", "cancelled"] as const)
      result.observe(tasks, stats[state], { state });
    for (const state of ["running", "queued"] as const)
      result.observe(live, stats[state], { state });
    result.observe(bytes, stats.bytesRead, { direction: "read" });
    result.observe(bytes, stats.bytesWritten, { direction: "write" });
    result.observe(wakes, stats.wakes);
    result.observe(memory, stats.memory);
    result.observe(threads, stats.workers, { pool: "cpu" });
    result.observe(threads, stats.ioWorkers, { pool: "io" });
  };
  meter.addBatchObservableCallback(collect, instruments);

  const begin = (verb: string): ((ending: Ending) => void) => {
    const span = tracer.startSpan(`copse.${verb}`);
    return ({ state, milliseconds, files, bytes, error }) => {
      duration.record(milliseconds / 1000, { verb, state });
      span.setAttributes({ "copse.files": files, "copse.bytes": bytes, "copse.state": state });
      if (state === "failed") {
        const known = error instanceof Error ? error : new Error(String(error));
        span.recordException(known);
        span.setStatus({ code: api.SpanStatusCode.ERROR, message: known.message });
        if ("code" in known) span.setAttributes({ "copse.error": String(known.code) });
      }
      span.end();
    };
  };
  engine.observers.add(begin);
  return {
    [Symbol.dispose]() {
      engine.observers.delete(begin);
      meter.removeBatchObservableCallback(collect, instruments);
    },
  };
}
