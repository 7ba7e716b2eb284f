/** It was closed: nothing can be sent, taken or started any more. */
export class ClosedError extends Error {
  readonly code = "CLOSED";
  override readonly name = "ClosedError";
}

export function wholeNumber(name: string, value: number, least: number): number {
  if (!Number.isInteger(value) || value < least)
    throw new RangeError(`${name} must be a whole number from ${least}, not ${String(value)}`);
  return value;
}

/** Also Infinity, which a whole number is not. */
export function wholeOrInfinite(name: string, value: number, least: number): number {
  return value === Infinity ? value : wholeNumber(name, value, least);
}

export function positive(name: string, value: number): number {
  if (!(value > 0)) throw new RangeError(`${name} must be above 0, not ${String(value)}`);
  return value;
}
