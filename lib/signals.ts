// Ctrl-C and SIGTERM for commands: the first asks the work to stop and lets the program end in order,
// the second does not wait.

import { writeSync } from "node:fs";

/** What `listenForSignals` gives. Disposing stops listening. */
export interface Interruption extends Disposable {
  /** Hand it to the verbs: it aborts at the first signal. */
  readonly signal: AbortSignal;
  /** The exit status once a signal came: 130 for SIGINT, 143 for SIGTERM. */
  readonly status: number | undefined;
  /** Called before the second signal ends the process: to tidy the screen. It must not wait. */
  onHurry: (() => void) | undefined;
}

/**
 * Listens for SIGINT and SIGTERM: the first aborts `signal`, so that native work stops and cleans up;
 * a second one ends the process at once, and says so when the program gave its name. The exit status is
 * 130 or 143 both times.
 */
export function listenForSignals(options: { readonly name?: string } = {}): Interruption {
  const controller = new AbortController();
  let exit: number | undefined;
  const arrive = (code: number): void => {
    if (exit !== undefined) {
      interruption.onHurry?.();
      if (options.name) writeSync(2, `${options.name}: stopped at once\n`);
      process.exit(code);
    }
    exit = code;
    controller.abort(new Error("interrupted"));
  };
  const onInterrupt = (): void => arrive(130);
  const onTerminate = (): void => arrive(143);
  const interruption: Interruption = {
    signal: controller.signal,
    get status() {
      return exit;
    },
    onHurry: undefined,
    [Symbol.dispose]() {
      process.off("SIGINT", onInterrupt);
      process.off("SIGTERM", onTerminate);
    },
  };
  process.on("SIGINT", onInterrupt);
  process.on("SIGTERM", onTerminate);
  return interruption;
}
