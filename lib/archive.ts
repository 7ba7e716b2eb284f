// archive: locations: what may be said about an archive, checked, and which names look like one.

import { argumentError, showValue } from "./errors.ts";
import type { PlaceField } from "./location.ts";
import { Format, Place as Key } from "./native/abi.ts";
import { Secret } from "./secret.ts";
import type { ArchiveFormat } from "./types.ts";

const formats: { readonly [name in ArchiveFormat]: number } = {
  tar: Format.TAR,
  cpio: Format.CPIO,
  ar: Format.AR,
  iso: Format.ISO,
  zip: Format.ZIP,
  "7z": Format.SEVEN_ZIP,
  rar: Format.RAR,
  lha: Format.LHA,
  cab: Format.CAB,
};

// Endings of files that hold a tree. Only where the other side of a comparison is a directory does
// one of these mean "look inside".
const endings =
  /\.(?:tar(?:\.(?:gz|bz2|xz|zst|lz4))?|tgz|tbz2?|txz|tzst|zip|jar|war|apk|whl|epub|cpio|deb|iso)$/i;

/** Whether a path or URL ends as archives do. */
export function looksLikeArchive(path: string): boolean {
  return endings.test(path);
}

type Check = (value: unknown) => readonly PlaceField[];

const checks: ReadonlyMap<string, Check> = new Map<string, Check>([
  [
    "path",
    (value) => {
      if (typeof value !== "string" || value.includes("\0"))
        throw argumentError("location.path", `must be a path, not ${showValue(value)}`);
      return [[Key.SUB, value]];
    },
  ],
  [
    "strip",
    (value) => {
      if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > 1000)
        throw argumentError(
          "location.strip",
          `must be a whole number from 0 to 1000, not ${showValue(value)}`,
        );
      return [[Key.STRIP, value]];
    },
  ],
  [
    "formats",
    (value) => {
      if (!Array.isArray(value))
        throw argumentError("location.formats", `must be an array, not ${showValue(value)}`);
      let bits = 0;
      for (const name of value) {
        if (typeof name !== "string" || !Object.hasOwn(formats, name))
          throw argumentError(
            "location.formats",
            `must hold some of ${Object.keys(formats).join(", ")}, not ${showValue(name)}`,
          );
        bits |= formats[name as ArchiveFormat]; // hasOwn said so
      }
      return [[Key.FORMATS, bits]];
    },
  ],
  [
    "password",
    (value) => {
      if (typeof value !== "string" || value === "" || value.includes("\0"))
        throw argumentError("location.password", "must be a string that is not empty");
      return [[Key.PASSWORD, new Secret(value)]];
    },
  ],
  [
    "rawEqual",
    (value) => {
      if (typeof value !== "boolean")
        throw argumentError("location.rawEqual", `must be true or false, not ${showValue(value)}`);
      return [[Key.RAW_EQUAL, value ? 1 : 0]];
    },
  ],
]);

/** The fields of an archive location besides `archive` itself. */
export function archiveFields(location: object): readonly PlaceField[] {
  return Object.entries(location).flatMap(([name, value]) => {
    if (name === "archive" || value === undefined) return [];
    const check = checks.get(name);
    if (!check) throw argumentError("location", `has no field ${showValue(name)}`);
    return check(value);
  });
}

/** `FILE#sub/dir`: the file, and the directory in it that is meant. */
export function splitSub(text: string): readonly [file: string, sub: string] {
  const at = text.lastIndexOf("#");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1).replace(/\/+$/, "")];
}
