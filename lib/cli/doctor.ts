// copse doctor and copse --version: what was built, what it runs on, and whether it works here.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import own from "../../package.json";
import {
  certificateSource,
  compare,
  Runtime,
  type RuntimeInfo,
  type RuntimeStats,
} from "../index.ts";
import type { Flags } from "./args.ts";
import { escapeText } from "./escape.ts";
import { toJson } from "./json.ts";
import { print } from "./print.ts";
import { status } from "./status.ts";
import { columnsOf, isTerminal, paintFor, wrap } from "./terminal.ts";
import { showBytes } from "./units.ts";

/** One thing looked at; `wrong` says what to do when it is not as it should be. */
interface Finding {
  readonly name: string;
  readonly value: string;
  readonly wrong?: string;
}

export async function runVersion(): Promise<number> {
  const lines = [`copse ${own.version}`, `bun ${Bun.version}`];
  let code: number = status.equal;
  try {
    const { info } = Runtime.default;
    lines.push(`core ${info.version} (${info.mode})`);
    lines.push(...Object.entries(info.libraries).map(([name, version]) => `${name} ${version}`));
  } catch (error) {
    lines.push(`core not loaded: ${messageOf(error)}`);
    code = status.trouble;
  }
  await print(lines.map((line) => `${escapeText(line)}\n`));
  return code;
}

export async function runDoctor(flags: Flags): Promise<number> {
  const findings = [
    ...machine(),
    ...core(),
    ...certificates(),
    ...(await settled(flags)),
    await trial(),
  ];
  const isWell = findings.every(({ wrong }) => wrong === undefined);
  if (flags["json"]) {
    await print([`${toJson({ ok: isWell, findings })}\n`]);
  } else {
    const onTerminal = await isTerminal(1);
    const paint = await paintFor(onTerminal);
    const width = Math.max(...findings.map(({ name }) => name.length));
    const columns = (onTerminal ? columnsOf(1) : Infinity) - width - 4;
    for (const { name, value, wrong } of findings) {
      const mark = wrong === undefined ? paint.green("✓") : paint.red("✗");
      const [first = "", ...rest] = wrap(escapeText(value), columns);
      const more = wrong === undefined ? [] : wrap(escapeText(wrong), columns).map(paint.bold);
      const below = [...rest, ...more].map((line) => `  ${" ".repeat(width)}  ${line}`);
      await print([`${mark} ${name.padEnd(width)}  ${first}`, ...below].map((line) => `${line}\n`));
    }
  }
  return isWell ? status.equal : status.trouble;
}

function machine(): Finding[] {
  const oldest = "1.4.0";
  const isOld = Bun.semver.order(Bun.version, oldest) < 0;
  return [
    { name: "copse", value: own.version },
    {
      name: "bun",
      value: Bun.version,
      ...(isOld ? { wrong: `copse needs Bun ${oldest} or newer: run bun upgrade` } : {}),
    },
  ];
}

function core(): Finding[] {
  let info: RuntimeInfo;
  let stats: RuntimeStats;
  try {
    ({ info, stats } = Runtime.default);
  } catch (error) {
    return [{ name: "library", value: "not loaded", wrong: messageOf(error) }];
  }
  const isOther = info.version !== own.version;
  return [
    {
      name: "library",
      value: info.library,
      ...(process.env["COPSE_LIB"] ? { value: `${info.library} (named by COPSE_LIB)` } : {}),
    },
    {
      name: "core",
      value: `${info.version}, ${info.mode} build, wakes by ${info.wake}`,
      ...(isOther
        ? { wrong: `it belongs to another version of copse: build or install again` }
        : {}),
    },
    ...Object.entries(info.libraries).map(([name, value]) => ({ name, value })),
    { name: "system", value: `${info.system} ${info.kernel}, ${info.arch}, ${info.cores} cores` },
    {
      name: "engine",
      value: `reads by ${info.backend}, up to ${showBytes(stats.memoryLimit)} for buffers`,
    },
    { name: "io_uring", value: ringOf(info) },
    { name: "reflink", value: info.reflink ? "yes" : "no" },
    { name: "places", value: info.schemes.join(", ") },
  ];
}

/** What HTTPS trusts here when nothing else is said. */
function certificates(): Finding[] {
  const name = "trusts";
  try {
    const source = certificateSource();
    const own =
      "the certificates that Bun brings along: the system has none where they are looked for";
    return [{ name, value: source === "Bun" ? own : source }];
  } catch (error) {
    return [{ name, value: "no certificates", wrong: messageOf(error) }];
  }
}

/** Which files and variables the command reads here. */
async function settled(flags: Flags): Promise<Finding[]> {
  const name = "settings";
  try {
    const { loadSettings, shown } = await import("./config.ts");
    const { files, profile, settings, problems } = loadSettings(flags);
    const from = files.map(({ path }) => path);
    if (profile !== undefined) from.push(`profile ${profile}`);
    const wrong = problems[0];
    return [
      {
        name,
        value: `${settings.size} set; files: ${from.join(", ") || "none"}`,
        ...(wrong === undefined ? {} : { wrong }),
      },
      ...[...settings].map(([key, setting]) => {
        const value = shown(setting);
        const text = typeof value === "string" ? value : JSON.stringify(value);
        return { name: key, value: `${text} (${setting.origin})` };
      }),
    ];
  } catch (error) {
    return [{ name, value: "not read", wrong: messageOf(error) }];
  }
}

function ringOf({ ring, backend }: RuntimeInfo): string {
  const isAsked = process.env["COPSE_IO"] === "uring";
  if (ring.refused !== undefined)
    return `not here: ${ring.refused}${isAsked ? `; ${backend} instead` : ""}`;
  const how = backend === "uring" ? "in use" : "by --io uring or COPSE_IO=uring";
  return `carries ${ring.operations.join(", ")} (${how})`;
}

/** Compares two small trees, one of which differs: whether it works tells more than what it has. */
async function trial(): Promise<Finding> {
  const name = "trial";
  let folder: string | undefined;
  try {
    folder = mkdtempSync(join(tmpdir(), "copse-doctor-"));
    writeFileSync(join(folder, "left"), "one");
    writeFileSync(join(folder, "right"), "two");
    const same = await compare(join(folder, "left"), join(folder, "left"));
    const other = await compare(join(folder, "left"), join(folder, "right"));
    if (same.equal && !other.equal) return { name, value: "compared two files, rightly" };
    return { name, value: "a wrong answer", wrong: "please report this with the lines above" };
  } catch (error) {
    return { name, value: "failed", wrong: messageOf(error) };
  } finally {
    if (folder) rmSync(folder, { recursive: true, force: true });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
