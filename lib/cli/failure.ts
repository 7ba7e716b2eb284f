// What is said when the command as a whole could not do its work: a sentence for the person, and for
// a program that reads standard output a document that cannot be taken for an answer.

import { escapeText } from "./escape.ts";
import type { Flags } from "./args.ts";
import type { Interruption } from "../signals.ts";
import { errorFields, toJson } from "./json.ts";
import {
  complain,
  OutputClosed,
  OutputFailed,
  OutputStopped,
  print,
  printUntil,
  writeError,
} from "./print.ts";
import { status } from "./status.ts";

/** Returns the exit status. `known` is what the rows printed so far have shown. */
export async function fail(
  error: unknown,
  flags: Flags,
  interruption: Interruption,
  known: number = status.equal,
): Promise<number> {
  if (error instanceof OutputClosed) return interruption.status ?? known;
  const quiet = flags["quiet"] === true;
  const stopped = interruption.status;
  const isOurs = stopped !== undefined || isSentence(error);
  const fields =
    stopped === undefined
      ? errorFields(error)
      : { code: "CANCELLED", message: "interrupted", retryable: false };
  if (!quiet) {
    const sentence = isOurs ? inFlags(String(fields["message"]), flags) : undefined;
    complain(escapeText(sentence ?? `internal error: ${String(error)}`));
    if (flags["verbose"] && error instanceof Error) {
      // Names inside the stack are as hostile as anywhere; its line breaks are wanted.
      writeError(`${(error.stack ?? "").split("\n").map(escapeText).join("\n")}\n`);
    }
  }
  if (error instanceof OutputFailed) return status.trouble;
  // Half a document is out already; another one after it would help nobody.
  if (error instanceof OutputStopped) return stopped ?? status.trouble;
  printUntil(undefined);
  try {
    const document = { equal: false, complete: false, error: fields };
    if (flags["json"]) await print([`${toJson(document)}\n`]);
    if (flags["jsonl"]) await print([`${toJson({ kind: "summary", ...document })}\n`]);
  } catch {
    // The sentence is out; there is nobody left to read the document.
  }
  return stopped ?? status.trouble;
}

/** The library names its options; the person gave flags. */
function inFlags(message: string, flags: Flags): string {
  const said = /^(?:twoWay\.)?([a-z][A-Za-z]*)(?= (?:must|cannot|lies|\w+ needs) )/.exec(message);
  const [whole = "", name = ""] = said ?? [];
  if (!Object.hasOwn(flags, name)) return message;
  return `${flagOf(name)}${message.slice(whole.length)}`;
}

/** `--max-depth` of `maxDepth`. */
export function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (capital) => `-${capital.toLowerCase()}`)}`;
}

/** Errors of the library, and those it throws as plain Error before it is loaded, are written for
 *  people; TypeError and the like are mistakes of ours. */
function isSentence(error: unknown): boolean {
  return error instanceof Error && (error.name === "Error" || error.name === "CopseError");
}
