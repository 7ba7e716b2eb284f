// What runs beside a test must not outlive the tests, however they end.

const setpriv = process.platform === "linux" ? Bun.which("setpriv") : null;

/** The command, killed by the system when the process that runs it ends. Linux only: elsewhere as it is. */
export function tied(command: readonly string[]): string[] {
  return setpriv ? [setpriv, "--pdeathsig", "KILL", "--", ...command] : [...command];
}
