import { Code } from "./native/abi.ts";

/** What a caller may switch on; docs/api.md says what each means. */
/**
 * What to do about an error: a code is a decision, the message and the system's own number are
 * detail. New codes may be added, none is renamed.
 */
export type ErrorCode = keyof typeof Code;

const names = new Map<number, ErrorCode>(
  // Object.entries knows the keys only as strings.
  (Object.entries(Code) as [ErrorCode, number][]).map(([name, code]) => [code, name]),
);

export function codeName(code: number): ErrorCode {
  return names.get(code) ?? "INTERNAL";
}

const retryable: ReadonlySet<ErrorCode> = new Set([
  "NETWORK",
  "TIMEOUT",
  "THROTTLED",
  "CHANGED",
  "BUSY",
  "MEMORY",
]);

/** What a message may be made of. */
export interface ErrorDetails {
  /** Where, credentials removed. */
  location?: string | undefined;
  /** Below the location. */
  path?: string | undefined;
  status?: number | undefined;
  errno?: string | undefined;
  cause?: unknown;
}

// C0, DEL, C1, bidirectional marks and zero-width characters could rewrite a terminal's line.
const unsafe = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

export function escapeForMessage(text: string): string {
  return text.replace(unsafe, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/**
 * What goes wrong in copse. Switch on `code`; `message` is for people: it names the place and the
 * next move.
 *
 * `retryable` says that the same call may work a moment later without anybody changing anything.
 */
export class CopseError extends Error {
  override readonly name = "CopseError";
  readonly code: ErrorCode;
  /** The location as given, credentials removed. */
  declare readonly location?: string;
  /** The path below the location. */
  declare readonly path?: string;
  /** HTTP status, where there is one. */
  declare readonly status?: number;
  /** "ENOENT", where there is one. */
  declare readonly errno?: string;
  readonly retryable: boolean;

  constructor(code: ErrorCode, sentence: string, details: ErrorDetails = {}) {
    const { location, path, status, errno, cause } = details;
    const place = [location, path].filter((part) => part !== undefined && part !== "").join(" › ");
    super(
      place ? `${escapeForMessage(place)}: ${sentence}` : sentence,
      cause === undefined ? undefined : { cause },
    );
    this.code = code;
    if (location !== undefined) this.location = location;
    if (path !== undefined) this.path = path;
    if (status !== undefined) this.status = status;
    if (errno !== undefined) this.errno = errno;
    this.retryable = retryable.has(code);
  }
}

/** A value as messages quote it. */
export function showValue(value: unknown): string {
  let text: string;
  try {
    text = typeof value === "string" ? JSON.stringify(value) : String(value);
  } catch {
    text = typeof value; // an object that cannot be made a string
  }
  return escapeForMessage(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}

/** A bad argument: what it is called and what is wrong with it. */
export function argumentError(name: string, problem: string): CopseError {
  return new CopseError("ARGUMENT", `${name} ${problem}`);
}
