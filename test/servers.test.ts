// The servers that tests start end with them.

import { expect, test } from "bun:test";
import { join } from "node:path";
import { nginxMissing } from "./servers/nginx.ts";

const canTie = process.platform === "linux" && Bun.which("setpriv") !== null;

test.skipIf(nginxMissing !== undefined || !canTie)(
  "nginx ends with a test that was killed",
  async () => {
    const script = `import { startNginx } from "${join(import.meta.dir, "servers/nginx.ts")}";
      console.log((await startNginx()).http);`;
    const child = Bun.spawn([process.execPath, "-e", `${script} setInterval(() => {}, 1000);`], {
      stdout: "pipe",
      stderr: "inherit",
    });
    let url = "";
    for await (const chunk of child.stdout) {
      url += Buffer.from(chunk).toString();
      if (url.endsWith("\n")) break;
    }
    url = url.trim();
    expect((await fetch(`${url}/`)).status).toBe(200);
    child.kill("SIGKILL");
    await child.exited;
    // It is gone as soon as the system has come to it.
    const answers = (): Promise<boolean> =>
      fetch(`${url}/`).then(
        () => true,
        () => false,
      );
    while (await answers()) await Bun.sleep(5);
  },
);
