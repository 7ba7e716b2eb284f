// A plugin for `copse pack --plugin`: group, artifact and version of Java archives, as the
// pom.properties that Maven puts into them says, else as their path in a repository does.

import { inflateRawSync } from "node:zlib";

/** The content of one file of a zip archive, found by its directory at the end. */
function fileIn(zip: Buffer, isWanted: (name: string) => boolean): Buffer | undefined {
  const end = zip.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"));
  if (end < 0 || end + 22 > zip.length) return undefined;
  let at = zip.readUInt32LE(end + 16);
  for (let left = zip.readUInt16LE(end + 10); left > 0 && at + 46 <= zip.length; left -= 1) {
    const [name, extra, comment] = [28, 30, 32].map((field) => zip.readUInt16LE(at + field));
    if (isWanted(zip.toString("utf8", at + 46, at + 46 + name!))) {
      const local = zip.readUInt32LE(at + 42);
      const begin = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
      const packed = zip.subarray(begin, begin + zip.readUInt32LE(at + 20));
      const isStored = zip.readUInt16LE(at + 10) === 0;
      return isStored ? packed : inflateRawSync(packed, { maxOutputLength: 1024 * 1024 });
    }
    at += 46 + name! + extra! + comment!;
  }
  return undefined;
}

export default {
  typeId: 1,
  match: ["*.jar", "*.war"],
  fields: { group_id: "utf8", artifact_id: "utf8", version: "utf8" },
  extract(path: string, bytes: Uint8Array) {
    const zip = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const said = fileIn(zip, (name) => /^META-INF\/maven\/.*\/pom\.properties$/.test(name));
    if (said) {
      const values = new Map(
        [...said.toString("utf8").matchAll(/^(\w+)=(.*?)\r?$/gm)].map((m) => [m[1]!, m[2]!]),
      );
      const group = values.get("groupId");
      const artifact = values.get("artifactId");
      const version = values.get("version");
      if (group && artifact && version) return { group_id: group, artifact_id: artifact, version };
    }
    // org/example/tool/1.2/tool-1.2.jar
    const [, group, artifact, version] = /^(.+)\/([^/]+)\/([^/]+)\/\2-\3[^/]*$/.exec(path) ?? [];
    if (!group || !artifact || !version) return null;
    return { group_id: group.replaceAll("/", "."), artifact_id: artifact, version };
  },
} as const;
