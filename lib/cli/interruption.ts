// Ctrl-C and SIGTERM: the first asks the work to stop and lets the command end in order, the second
// does not wait.

import { writeError } from "./print.ts";
import { status } from "./status.ts";

export interface Interruption {
  /** Given to the verb. */
  readonly signal: AbortSignal;
  /** The exit status once a signal came. */
  readonly status: number | undefined;
  /** What to take off the screen when there is no time for an orderly end. */
  onHurry: (() => void) | undefined;
}

export function listenForSignals(): Interruption {
  const controller = new AbortController();
  let exit: number | undefined;
  const interruption: Interruption = {
    signal: controller.signal,
    get status() {
      return exit;
    },
    onHurry: undefined,
  };
  const arrive = (code: number): void => {
    if (exit !== undefined) {
      interruption.onHurry?.();
      writeError("copse: stopped at once\n");
      process.exit(code);
    }
    exit = code;
    controller.abort(new Error("interrupted"));
  };
  process.on("SIGINT", () => arrive(status.interrupted));
  process.on("SIGTERM", () => arrive(status.terminated));
  return interruption;
}
