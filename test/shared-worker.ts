// A Worker of shared.test.ts: does at random what its seed says, and tells what it saw.

import { sharedChannel, sharedSemaphore } from "../lib/index.ts";

interface Job {
  readonly kind: "limit" | "send" | "receive" | "hold" | "wait";
  readonly name: string;
  readonly size: number;
  readonly count: number;
  readonly seed: number;
}

/** A small generator of numbers from 0 to below 1. */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Aborted at some moment, or never. */
function signalOf(next: () => number): AbortSignal | undefined {
  return next() < 0.3 ? AbortSignal.timeout(Math.floor(next() * 3)) : undefined;
}

async function work({ kind, name, size, count, seed }: Job): Promise<unknown> {
  const next = random(seed);
  if (kind === "hold" || kind === "wait") {
    const semaphore = sharedSemaphore(name, size); // held until this Worker is terminated
    kept.push(semaphore);
    if (kind === "hold") kept.push(await semaphore.acquire({ count }));
    postMessage("ready");
    if (kind === "wait") await semaphore.acquire({ count });
    return new Promise(() => setInterval(() => {}, 1000));
  }
  if (kind === "limit") {
    using semaphore = sharedSemaphore(name, size);
    const inside = new Int32Array(shared!);
    let done = 0;
    let most = 0;
    const one = async (): Promise<void> => {
      const wanted = 1 + Math.floor(next() * Math.min(3, size));
      const signal = signalOf(next);
      try {
        using _permit =
          next() < 0.1
            ? semaphore.tryAcquire(wanted)
            : await semaphore.acquire({ count: wanted, ...(signal ? { signal } : {}) });
        if (!_permit) return;
        most = Math.max(most, Atomics.add(inside, 0, wanted) + wanted);
        if (next() < 0.5) await Bun.sleep(0);
        Atomics.sub(inside, 0, wanted);
        done++;
      } catch (error) {
        if (!signal?.aborted || error !== signal.reason) throw error;
      }
    };
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let i = 0; i < count / 8; i++) await one();
      }),
    );
    return { done, most };
  }
  using channel = sharedChannel<[number, number, string]>(name, size);
  if (kind === "send") {
    const sent: number[] = [];
    for (let i = 0; i < count; i++) {
      const signal = signalOf(next);
      try {
        await channel.send(
          [seed, i, "x".repeat(Math.floor(next() ** 8 * 200_000))],
          signal ? { signal } : {},
        );
        sent.push(i);
      } catch (error) {
        if (!signal?.aborted || error !== signal.reason) throw error;
      }
    }
    return sent;
  }
  const received: [number, number][] = [];
  for (;;) {
    const signal = signalOf(next);
    try {
      const { value, done } = await channel.receive(signal ? { signal } : {});
      if (done) return received;
      received.push([value[0], value[1]]);
    } catch (error) {
      if (!signal?.aborted || error !== signal.reason) throw error;
    }
  }
}

const kept: unknown[] = []; // what is forgotten is given back by the garbage collector
let shared: SharedArrayBuffer | undefined;
declare const self: Worker;
self.addEventListener(
  "message",
  async ({ data }: MessageEvent<Job & { inside?: SharedArrayBuffer }>) => {
    shared = data.inside;
    try {
      postMessage({ result: await work(data) });
    } catch (error) {
      postMessage({ failure: String(error instanceof Error ? error.stack : error) });
    }
  },
);
