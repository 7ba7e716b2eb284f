// A server must not outlive the test that started it, however that test ended.

const setpriv = process.platform === "linux" ? Bun.which("setpriv") : null;

/** The command, killed by the system when the process that runs it ends. Linux only: elsewhere as it is. */
export function tied(command: readonly string[]): string[] {
  return setpriv ? [setpriv, "--pdeathsig", "KILL", "--", ...command] : [...command];
}
