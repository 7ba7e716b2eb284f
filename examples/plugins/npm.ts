// A plugin for `copse pack --plugin`: name and version of npm packages, as package.json says them.

import { gunzipSync } from "node:zlib";

/** The content of one file of a tar archive. */
function fileIn(tar: Uint8Array, isWanted: (name: string) => boolean): Uint8Array | undefined {
  const text = new TextDecoder();
  const field = (at: number, size: number): string =>
    text.decode(tar.subarray(at, at + size)).replace(/\0.*$/s, "");
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0;) {
    const size = Number.parseInt(field(at + 124, 12), 8) || 0;
    const prefix = field(at + 345, 155);
    const name = prefix ? `${prefix}/${field(at, 100)}` : field(at, 100);
    if (isWanted(name)) return tar.subarray(at + 512, at + 512 + size);
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return undefined;
}

export default {
  typeId: 2,
  match: ["*.tgz"],
  fields: { group_id: "utf8", artifact_id: "utf8", version: "utf8" },
  extract(_path: string, bytes: Uint8Array) {
    const tar = gunzipSync(bytes, { maxOutputLength: 256 * 1024 * 1024 });
    const found = fileIn(tar, (name) => /^[^/]+\/package\.json$/.test(name));
    if (!found) return null;
    const { name, version } = JSON.parse(new TextDecoder().decode(found)) as {
      name?: unknown;
      version?: unknown;
    };
    if (typeof name !== "string" || typeof version !== "string") return null;
    const [, group = "", artifact = name] = /^@([^/]+)\/(.+)$/.exec(name) ?? [];
    return { group_id: group, artifact_id: artifact, version };
  },
} as const;
