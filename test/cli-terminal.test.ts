// The command and the world around it: hostile names, closed and full outputs, signals, terminals.

import { beforeAll, describe, expect, test } from "bun:test";
import { closeSync, constants, existsSync, openSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { commandPlace, main, rows, type Ran } from "./command.ts";
import { isSanitized } from "./patience.ts";
import { tied } from "./servers/tied.ts";

const { folder, environment, copse, shell, onTerminal, plant } = commandPlace();
const text = (letter: string, length: number): string => letter.repeat(length);

beforeAll(() => {
  const shared = { "same.txt": "same", "deep/down/same.txt": text("s", 5000) };
  plant("left", { ...shared, "content.txt": text("a", 100), "only/here": "" });
  plant("right", { ...shared, "content.txt": text("b", 100), "added.txt": "" });
  plant("copy", shared);
  plant("twin", shared);
  // Enough rows to fill any pipe.
  plant("wide", Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`dir/file-${i}`, ""])));
  plant("plain", {});
});

describe("names that would trick a terminal", () => {
  const tricky = {
    "red\x1b[31m": "red\\x1b[31m",
    "line\nbreak": "line\\nbreak",
    "c1\u009bx": "c1\\u{9b}x",
    "bidi\u202egpj.exe": "bidi\\u{202e}gpj.exe",
    "zero\u200bwidth": "zero\\u{200b}width",
    "back\\slash": "back\\\\slash",
    "déjà vu 日本": "déjà vu 日本",
  };
  // What may come out raw: everything but what hides or obeys. The report has its own line breaks.
  const hidden = /[^\P{Cc}\n]|[\p{Cf}\p{Zl}\p{Zp}]/u;

  beforeAll(() => {
    plant("tricky", Object.fromEntries(Object.keys(tricky).map((name) => [name, "1"])));
    symlinkSync("to\x1b]52;c;AAAA\x07", join(folder, "tricky/link"));
    // A name that is not UTF-8, which a string cannot hold.
    writeFileSync(
      Buffer.concat([Buffer.from(join(folder, "tricky/")), Buffer.from("b\xff\xfed", "latin1")]),
      "",
    );
  });

  test("are escaped in the report, on a terminal or not", async () => {
    const { out } = await copse("compare", "tricky", "plain");
    expect(out).not.toMatch(hidden);
    for (const shown of Object.values(tricky)) expect(out).toContain(`  - ${shown} `);
    expect(out).toContain("  - b\\xff\\xfed ");
    expect(out).toContain("link → to\\x1b]52;c;AAAA\\x07");
    const { seen } = await onTerminal(["compare", "tricky", "plain"], { more: { NO_COLOR: "1" } });
    expect(seen).not.toMatch(hidden);
    const listed = await copse("list", "tricky");
    expect(listed.out).not.toMatch(hidden);
    expect(listed.out).toContain("  b\\xff\\xfed\n");
  });

  test("are escaped in messages", async () => {
    const { out, err } = await copse("compare", "no\x1b[31m\u202ewhere", "plain");
    expect(out).toBe("");
    expect(err).toMatch(/^copse: no/);
    expect(err).not.toMatch(hidden);
    expect((await copse("compare", "a", "b", "--x\x1b[31m")).err).not.toMatch(hidden);
    expect((await copse("list", "tricky", "-vvv")).err).not.toMatch(hidden);
  });

  test("are JSON strings in JSON, with nothing raw, and bytes in hex", async () => {
    for (const form of ["--json", "--jsonl"]) {
      const { out } = await copse("compare", "tricky", "plain", form);
      expect(out).not.toMatch(hidden);
      const found = form === "--json" ? JSON.parse(out).differences : rows(out);
      const names = found.map(({ path }: { path: string }) => path);
      for (const name of Object.keys(tricky)) expect(names).toContain(name);
      const raw = found.find(({ pathBytes }: { pathBytes?: string }) => pathBytes);
      expect(raw).toMatchObject({ path: "b\ufffd\ufffdd", pathBytes: "62fffe64" });
    }
  });

  test("are raw bytes with -0", async () => {
    const child = Bun.spawn([process.execPath, main, "list", "tricky", "-0"], {
      cwd: folder,
      env: environment,
    });
    const names = Buffer.from(await child.stdout.bytes())
      .toString("latin1")
      .split("\0");
    expect(names.pop()).toBe("");
    const wanted = [...Object.keys(tricky), "link"].map((name) =>
      Buffer.from(name).toString("latin1"),
    );
    expect(names).toEqual([...wanted, "b\xff\xfed"].toSorted());
  });
});

describe("standard output", () => {
  test("closed by its reader ends quietly", async () => {
    for (const form of ["", "--json", "--jsonl"]) {
      const { out, err } = await shell(
        `copse compare wide plain ${form} | head -1 > /dev/null; echo "\${PIPESTATUS[0]}"`,
      );
      expect({ form, out, err }).toEqual({ form, out: "1\n", err: "" });
    }
    const listed = await shell(`copse list wide --jsonl | head -1 | cut -c1-8`);
    expect(listed).toEqual({ status: 0, out: '{"kind":\n', err: "" });
    expect((await shell("copse compare left right >&-")).err).toBe("");
  });

  test.skipIf(!existsSync("/dev/full"))("that is full is trouble, and says so", async () => {
    for (const line of ["compare left right", "compare left right --json", "list left", "--help"]) {
      const { status, err } = await shell(`copse ${line} > /dev/full`);
      expect({ line, status }).toEqual({ line, status: 2 });
      expect(err).toMatch(/^copse: cannot write to standard output: no space left on device.+\n$/);
    }
  });
});

// ThreadSanitizer holds signals back until a blocking call returns, so a program under it is not the
// one a user interrupts.
describe.skipIf(process.env["COPSE_SANITIZER"] === "tsan")("signals", () => {
  /** Reads that take so long that nothing ends by itself. */
  const slow = ["compare", "fault:delay=20000:copy", "twin"];

  async function signalled(signals: readonly NodeJS.Signals[], ...more: string[]): Promise<Ran> {
    await using child = Bun.spawn(tied([process.execPath, main, ...slow, "-v", ...more]), {
      cwd: folder,
      env: environment,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    let err = "";
    const decoder = new TextDecoder();
    const waiting = [...signals];
    for await (const bytes of child.stderr) {
      err += decoder.decode(bytes, { stream: true });
      // The work has begun once it says so.
      if (err.includes("comparing") && waiting.length > 0) {
        for (const signal of waiting.splice(0)) child.kill(signal);
      }
    }
    return { status: await child.exited, out: await child.stdout.text(), err };
  }

  test("Ctrl-C stops the work and exits 130", async () => {
    const { status, out, err } = await signalled(["SIGINT"]);
    expect({ status, out }).toEqual({ status: 130, out: "" });
    expect(err).toContain("copse: interrupted\n");
  });

  test("with --json there is a document that is no answer", async () => {
    const { status, out } = await signalled(["SIGINT"], "--json");
    expect(status).toBe(130);
    expect(JSON.parse(out)).toMatchObject({ equal: false, error: { code: "CANCELLED" } });
  });

  test("Ctrl-C is heard while the reader of standard output sleeps", async () => {
    const pipe = join(folder, "pipe");
    expect(Bun.spawnSync(["mkfifo", pipe]).exitCode).toBe(0);
    // Both ends are ours, so opening does not wait, and nobody reads.
    const end = openSync(pipe, constants.O_RDWR);
    const command = [process.execPath, main, "compare", "wide", "plain", "--json", "-v"];
    await using child = Bun.spawn(tied(command), {
      cwd: folder,
      env: environment,
      stdin: "ignore",
      stdout: end,
      stderr: "pipe",
    });
    let err = "";
    for await (const bytes of child.stderr) {
      err += new TextDecoder().decode(bytes);
      // The answer is there, and more of it than a pipe takes.
      if (err.includes("equal false")) child.kill("SIGINT");
    }
    expect(await child.exited).toBe(130);
    closeSync(end);
  });

  test("SIGTERM exits 143, a second signal does not wait", async () => {
    expect((await signalled(["SIGTERM"])).status).toBe(143);
    expect((await signalled(["SIGINT", "SIGINT"])).status).toBe(130);
  });
});

describe("on a terminal", () => {
  test("the report has colours; NO_COLOR and TERM=dumb take them away, FORCE_COLOR brings them", async () => {
    const { status, seen } = await onTerminal(["compare", "left", "right"]);
    expect(status).toBe(1);
    expect(seen).toContain("\x1b[32m+\x1b[39m added.txt");
    expect(seen).toContain("\x1b[31m-\x1b[39m only/");
    for (const more of [{ NO_COLOR: "1" }, { TERM: "dumb" }, { NO_COLOR: "1", FORCE_COLOR: "1" }]) {
      expect((await onTerminal(["compare", "left", "right"], { more })).seen).not.toContain("\x1b");
    }
    expect((await copse("compare", "left", "right")).out).not.toContain("\x1b");
    const forced = await shell("copse compare left right", { FORCE_COLOR: "1" });
    expect(forced.out).toContain("\x1b[32m+");
  });

  test("no line is wider than the terminal; names lose their middle", async () => {
    const names = [
      `${text("deep/", 30)}module.c`,
      `${text("x", 200)}.txt`,
      `${text("日本", 40)}.md`,
    ];
    plant("narrow-left", Object.fromEntries(names.map((name) => [name, "1"])));
    plant("narrow-right", {
      ...Object.fromEntries(names.map((name) => [name, "2"])),
      link: `→ ${text("t", 300)}`,
    });
    plant("narrow-left", { link: `→ ${text("s", 300)}`, [`gone/${text("y", 150)}`]: "" });
    for (const columns of [40, 80, 132]) {
      const { seen } = await onTerminal(["compare", "narrow-left", "narrow-right"], { columns });
      const widths = seen.split("\n").map((line) => Bun.stringWidth(line));
      expect(Math.max(...widths)).toBeLessThanOrEqual(columns);
      expect(seen).toContain("…");
      expect(seen).toContain("module.c");
      const listed = await onTerminal(["list", "narrow-left"], { columns });
      expect(
        Math.max(...listed.seen.split("\n").map((line) => Bun.stringWidth(line))),
      ).toBeLessThanOrEqual(columns);
    }
  });

  test("doctor cuts its lines between words", async () => {
    const { seen } = await onTerminal(["doctor"], { columns: 60, more: { NO_COLOR: "1" } });
    const lines = seen.split("\n").filter((line) => / {2}\S+ \S/.test(line));
    expect(lines.length).toBeGreaterThan(8);
    expect(lines.filter((line) => Bun.stringWidth(line) > 60)).toEqual([]);
    expect(seen.replace(/\s+/g, " ")).toContain("places file, memory, http,");
  });

  test("progress with its rate shows after half a second and is gone at the end", async () => {
    // Long enough for a line on a machine that stops for a while.
    const line = `fault:delay=60000:copy twin --timeout 4s`.split(" ");
    const { seen } = await onTerminal(["compare", ...line], { more: { NO_COLOR: "1" } });
    expect(seen).toMatch(/\r\x1b\[K\d+ files?  .+ k?M?B\/s  /);
    // What is left on the last line is only the message.
    expect(seen.split("\r\x1b[K").at(-1)).toMatch(/^copse: .*timeout.*\n$/);
    // Nothing is quick under a sanitizer.
    if (isSanitized) return;
    // One of a few: on a busy machine a run may take longer than what is quick.
    let isQuiet = false;
    for (let i = 0; i < 10 && !isQuiet; i++) {
      const quick = await onTerminal(["compare", "copy", "twin"], { more: { NO_COLOR: "1" } });
      isQuiet = !quick.seen.includes("\x1b[K");
    }
    expect(isQuiet).toBe(true);
  });

  test("progress of a tree has bytes, total, rate, share and the time left, within the width", async () => {
    const files = Array.from({ length: 60 }, (_, i) => [`d${i % 5}/f${i}`, text("f", 30_000)]);
    plant("many", Object.fromEntries(files));
    const line = "sync many many-copy --bandwidth 1M".split(" ");
    for (const columns of [80, 40]) {
      const { seen, status } = await onTerminal(line.with(2, `many-${columns}`), { columns });
      expect(status).toBe(0);
      const lines = seen.split(/\r\x1b\[K|\n/).filter((one) => one.includes(" files  "));
      expect(lines.length).toBeGreaterThan(2);
      for (const one of lines) expect(one.length).toBeLessThan(columns);
      const whole =
        columns === 80
          ? /^\d+ files  [\d.]+ [kM]B of 1\.8 MB  [\d.]+ [kM]B\/s  [\d.]+ s  \d+ %  [\d.]+ m?s left$/
          : /^\d+ files  [\d.]+ [kM]B of 1\.8 MB  [\d.]+ [kM]B\/s/;
      expect(lines.some((one) => whole.test(one))).toBe(true);
      // The line is taken away before the report.
      expect(seen).toMatch(/\r\x1b\[K(?:\x1b\[1m)?60 copied/);
    }
    const plain = await onTerminal(line.with(2, "many-plain"), { more: { NO_COLOR: "1" } });
    expect(plain.seen).toMatch(/ \d+ %  /);
    expect(plain.seen.replaceAll("\x1b[K", "")).not.toContain("\x1b");
  });

  test("there is none where standard error is no terminal, nor with -q", async () => {
    const slow = `fault:delay=1500:copy twin --timeout 900ms`.split(" ");
    expect((await copse("compare", ...slow)).err).not.toContain("\x1b");
    expect((await onTerminal(["compare", ...slow, "-q"])).seen).toBe("");
  });

  test("a listing ends with a count", async () => {
    const { seen } = await onTerminal(["list", "copy"], { more: { NO_COLOR: "1" } });
    expect(seen).toEndWith("2 files, 2 directories, 5.0 kB\n");
  });
});
