// Names and messages are other people's text: a file can be called anything, and a terminal obeys
// what it is sent. Everything that is shown to a person passes through here, terminal or not, because
// a log is read on a terminal later.

// Controls (C0, DEL, C1), format characters (bidi, zero-width, tags), line and paragraph separators,
// lone surrogates, and what is drawn as nothing.
const hidden = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Default_Ignorable_Code_Point}]/gu;
const hiddenOrBackslash = /[\\\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Default_Ignorable_Code_Point}]/gu;
// Most text is plain, and property classes are slow next to this.
const plain = /^[ -[\]-~]*$/;

const short: Record<string, string> = { "\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\" };

/** A file name or link target as it is shown. No two names look alike: backslashes are doubled, and
 *  bytes that are not UTF-8 (known when `bytes` is given) become `\xff`. */
export function escapeName(name: string, bytes?: Uint8Array): string {
  if (bytes) return escapeBytes(bytes);
  return plain.test(name) ? name : name.replace(hiddenOrBackslash, escaped);
}

/** A sentence as it is shown: what hides or obeys is escaped, backslashes stay. */
export function escapeText(text: string): string {
  return plain.test(text) ? text : text.replace(hidden, escaped);
}

/** JSON text with the same meaning in which nothing hides and nothing is obeyed. JSON itself takes
 *  care of C0 only. All these characters stand inside strings, so a `\u` sequence can stand for them. */
export function escapeJson(json: string): string {
  if (/^[ -~]*$/.test(json)) return json;
  return json.replace(hidden, (character) =>
    Array.from({ length: character.length }, (_, at) => unit(character.charCodeAt(at))).join(""),
  );
}

/** A location as it is shown: without user, password and the query, which may hold a signature. */
export function escapeLocation(location: string): string {
  const url = /^([a-z][a-z0-9+.-]*:\/\/)(?:[^/?#]*@)?([^?#]*)/i.exec(location);
  return escapeName(url ? `${url[1]}${url[2]}` : location);
}

function escaped(character: string): string {
  const code = character.codePointAt(0)!;
  const known = short[character];
  if (known !== undefined) return known;
  return code < 0x80 ? `\\x${hex(code, 2)}` : `\\u{${hex(code, 0)}}`;
}

function escapeBytes(bytes: Uint8Array): string {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let text = "";
  for (let at = 0; at < bytes.length;) {
    const size = sequenceLength(bytes[at]!);
    try {
      text += escapeName(decoder.decode(bytes.subarray(at, at + size)));
      at += size;
    } catch {
      text += `\\x${hex(bytes[at]!, 2)}`;
      at += 1;
    }
  }
  return text;
}

function sequenceLength(first: number): number {
  if (first < 0xc0) return 1;
  if (first < 0xe0) return 2;
  return first < 0xf0 ? 3 : 4;
}

function unit(code: number): string {
  return `\\u${hex(code, 4)}`;
}

function hex(number: number, width: number): string {
  return number.toString(16).padStart(width, "0");
}
