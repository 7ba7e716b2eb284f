// What a flag's text says: each function gives the value or throws the next move as a sentence.
// `before` is the value so far of a repeated flag.

import { parseBytes, parseDuration } from "./units.ts";

export const formatNames = ["tar", "zip", "cpio", "ar", "iso", "7z", "rar", "lha", "cab"];
export const limitNames = ["entries", "bytes", "ratio", "depth", "pathLength", "nested"] as const;

export function gather(text: string, before: unknown): string[] {
  return [...(Array.isArray(before) ? before : []), text];
}

export function bytes(text: string): number {
  const parsed = parseBytes(text);
  if (parsed === undefined)
    throw new Error("Give a number of bytes, such as 4096, 128K, 16M or 2G.");
  return parsed;
}

export function chunks(text: string): number | string | { min: number; max: number } {
  if (text === "auto") return text;
  const [min = "", max] = text.split("-");
  return max === undefined ? bytes(min) : { min: bytes(min), max: bytes(max) };
}

export function duration(text: string): number {
  const parsed = parseDuration(text);
  if (parsed === undefined) throw new Error("Give a time, such as 30s, 2m or 500ms.");
  return parsed;
}

export function count(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new Error("Give a whole number.");
  return Number(text);
}

const profiles = ["low-memory", "default", "high-memory", "max-throughput"];

export function memory(text: string): number | string {
  if (profiles.includes(text)) return text;
  const parsed = parseBytes(text);
  if (parsed === undefined)
    throw new Error(`Give a number of bytes, such as 64M, or one of ${profiles.join(", ")}.`);
  return parsed;
}

const textNames = ["eol", "space", "blank-lines"];

/** NAMES, or GLOB=NAMES. */
export function text(rule: string, before: unknown): unknown[] {
  const at = rule.lastIndexOf("=");
  const names = rule.slice(at + 1).split(",");
  if (names.some((name) => !textNames.includes(name)) || at === 0)
    throw new Error(`Give one or more of ${textNames.join(", ")}, after a glob and = or without.`);
  const chosen = names.map((name) => [name === "blank-lines" ? "blankLines" : name, true]);
  const match = at > 0 ? { match: [rule.slice(0, at)] } : {};
  return [...(Array.isArray(before) ? before : []), { ...match, ...Object.fromEntries(chosen) }];
}

const metadataNames = ["mode", "mtime", "owner", "xattr"];

export function metadata(text: string, before: unknown): string[] {
  const names = text.split(",").map((name) => name.trim());
  const wrong = names.find((name) => !metadataNames.includes(name));
  if (wrong !== undefined) throw new Error(`Give one or more of ${metadataNames.join(", ")}.`);
  return [...new Set([...(Array.isArray(before) ? before : []), ...names])];
}

export function formats(text: string): string[] {
  const names = text.split(",").map((name) => name.trim());
  if (names.some((name) => !formatNames.includes(name)))
    throw new Error(`Give one or more of ${formatNames.join(", ")}.`);
  return names;
}

export function limits(text: string, before: unknown): Record<string, number> {
  const found: Record<string, number> = { ...(before as Record<string, number> | undefined) };
  for (const part of text.split(",")) {
    const [name = "", value = ""] = part.split("=");
    const known = limitNames.find(
      (known) => known.toLowerCase() === name.replaceAll("-", "").toLowerCase(),
    );
    if (known === undefined)
      throw new Error(`Give name=value, the name one of ${limitNames.join(", ")}.`);
    const parsed = /^(none|infinity)$/i.test(value) ? Infinity : parseBytes(value);
    if (parsed === undefined)
      throw new Error(`Give ${known} a number, such as 1000 or 1G, or none.`);
    found[known] = parsed;
  }
  return found;
}
