// One listener per AbortSignal, however many wait: an event target looks through all its listeners
// whenever one is added, so that a listener each makes 100,000 waiters take minutes.

const calls = new WeakMap<AbortSignal, Set<() => void>>();

/** Calls when the signal aborts; it must not be aborted yet. The returned function takes that back. */
export function onAbort(signal: AbortSignal, call: () => void): () => void {
  let mine = calls.get(signal);
  if (!mine) {
    const all = new Set<() => void>();
    signal.addEventListener(
      "abort",
      () => {
        calls.delete(signal);
        for (const call of all) call();
      },
      { once: true },
    );
    calls.set(signal, (mine = all));
  }
  const all = mine;
  all.add(call);
  return () => void all.delete(call);
}
