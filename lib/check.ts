// Checks of what a caller gives: each complains of its field by name.

import { argumentError, showValue } from "./errors.ts";

export function oneOf<T extends string>(name: string, value: unknown, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === value);
  if (found === undefined)
    throw argumentError(name, `must be one of ${choices.join(", ")}, not ${showValue(value)}`);
  return found;
}

export function whole(name: string, value: unknown, least: number, most: number): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most)
    throw argumentError(
      name,
      `must be a whole number from ${least} to ${most}, not ${showValue(value)}`,
    );
  return value;
}

export function flag(name: string, value: unknown): boolean {
  if (typeof value !== "boolean")
    throw argumentError(name, `must be true or false, not ${showValue(value)}`);
  return value;
}

/** Where a pack, or a file in one, is from. */
export function checkRepo(name: string, value: unknown): string {
  if (typeof value !== "string" || value.includes("\0") || value.length > 4096)
    throw argumentError(name, "must be a text of at most 4,096 characters without NUL");
  return value;
}

/** For globSet, too. */
export function checkGlobs(name: string, value: unknown): readonly string[] {
  if (!Array.isArray(value))
    throw argumentError(name, `must be an array of globs, not ${showValue(value)}`);
  for (const glob of value)
    if (typeof glob !== "string" || glob === "" || glob.includes("\0"))
      throw argumentError(name, `must hold non-empty strings without NUL, not ${showValue(glob)}`);
  return value;
}

/** Options must be an object before their fields are looked at. */
export function checkOptions(options: unknown): asserts options is object {
  if (typeof options !== "object" || options === null || Array.isArray(options))
    throw argumentError("options", `must be an object, not ${showValue(options)}`);
}

/** An object with no other fields than these. */
export function checkFields(name: string, value: unknown, fields: readonly string[]): void {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw argumentError(name, `must be an object, not ${showValue(value)}`);
  for (const field of Object.keys(value))
    if (!fields.includes(field)) throw argumentError(name, `has no field ${showValue(field)}`);
}
