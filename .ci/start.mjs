// `npm start`: set-up, build, then the command. Without arguments it compares the two trees of
// examples/, and exits 0 whether or not they differ, which they do.

import { spawn } from "node:child_process";
import { join } from "node:path";
import { build, setup } from "./setup.mjs";
import { bun, jobEnvironment, main, root, signalNumber } from "./tools.mjs";

main(async () => {
  setup();
  build();
  const given = process.argv.slice(2);
  const args = given.length > 0 ? given : ["compare", "examples/left", "examples/right"];
  // A relative location means what it means where the person typed it.
  const cwd = given.length > 0 ? (process.env.INIT_CWD ?? root) : root;
  const child = spawn(bun(), [join(root, "lib/cli/main.ts"), ...args], {
    cwd,
    stdio: "inherit",
    env: jobEnvironment(),
  });
  // The command decides what Ctrl-C means; it has the same terminal.
  for (const signal of ["SIGINT", "SIGTERM"])
    process.on(signal, () => signal === "SIGTERM" && child.kill(signal));
  const code = await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status, signal) => resolve(status ?? 128 + signalNumber(signal)));
  });
  return given.length === 0 && code === 1 ? 0 : code;
});
