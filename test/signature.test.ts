// Signatures of packs are minisign's: what copse signs, Debian's minisign accepts, and the other way
// round; another key, a missing signature or one of another pack is found, by status 1.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createPrivateKey, scryptSync, sign } from "node:crypto";
import { join } from "node:path";
import { CopseError, pack, packSync, verify, verifySync } from "../lib/index.ts";
import { commandPlace } from "./command.ts";
import { samples } from "./packs.ts";
import { Scratch } from "./trees.ts";
import { codeOf } from "./ways.ts";

const minisign = Bun.which("minisign");
if (!minisign)
  console.log("skipped: what minisign says of signatures, because it is not installed");
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());

const password = "correct horse"; // a canary as well: it is printed nowhere

/** A key pair as minisign writes it; with a password at a price that a test can pay. */
function makeKey(
  name: string,
  options: { password?: string } = {},
): { secret: string; open: string } {
  const seed = crypto.getRandomValues(new Uint8Array(32));
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const point = Buffer.from(key.export({ format: "jwk" }).x!, "base64url");
  const id = crypto.getRandomValues(new Uint8Array(8));
  const check = new Bun.CryptoHasher("blake2b256")
    .update("Ed")
    .update(id)
    .update(seed)
    .update(point)
    .digest();
  let hidden = Buffer.concat([id, seed, point, check]);
  const head = Buffer.alloc(54);
  head.write("Ed\0\0B2", "latin1");
  if (options.password !== undefined) {
    const salt = crypto.getRandomValues(new Uint8Array(32));
    head.write("Sc", 2, "latin1");
    head.set(salt, 6);
    head.writeBigUInt64LE(524_288n, 38);
    head.writeBigUInt64LE(16_777_216n, 46);
    // libsodium makes this of those two limits.
    const stream = scryptSync(options.password, salt, hidden.length, { N: 2 ** 14, r: 8, p: 1 });
    hidden = hidden.map((byte, i) => byte ^ stream[i]!) as typeof hidden;
  }
  const secret = scratch.at(`${name}.key`);
  const open = scratch.at(`${name}.pub`);
  const line = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
  writeFileSync(secret, `untrusted comment: secret\n${line(Buffer.concat([head, hidden]))}\n`);
  writeFileSync(
    open,
    `untrusted comment: public\n${line(Buffer.concat([Buffer.from("Ed"), id, point]))}\n`,
  );
  expect(sign(null, Buffer.from("x"), key)).toHaveLength(64);
  return { secret, open };
}

let tree = "";
beforeAll(() => {
  tree = scratch.plant("tree", { "a.txt": "a".repeat(5000), "b/c": "c" });
});

/** A signed pack and its keys. */
function signed(name: string): { file: string; open: string; secret: string } {
  const keys = makeKey(name);
  const file = scratch.at(`${name}.znippy`);
  expect(packSync(tree, file, { sign: keys.secret }).errors).toBe(0);
  return { file, ...keys };
}

function ask(...words: string[]): { status: number; said: string } {
  const { exitCode, stdout, stderr } = Bun.spawnSync([minisign!, ...words], { stdin: "ignore" });
  return { status: exitCode, said: `${stdout}${stderr}` };
}

const { copse } = commandPlace();

describe("Ed25519 over the index hash, in minisign's format", () => {
  test("a signed pack verifies with its key, and says what was signed", async () => {
    const { file, open } = signed("right");
    const found = await verify(file, { key: open });
    expect(found).toMatchObject({ ok: true, checks: [] });
    const { report } = packSync(tree, scratch.at("again.znippy"));
    expect(found.signed).toBe(`copse index-blake3:${report!.indexHash}`);
    expect(report!.indexHash).toMatch(/^[0-9a-f]{64}$/);
    // The line of the key alone will do, and the same task on this thread.
    const line = readFileSync(open, "utf8").split("\n")[1]!;
    expect(verifySync(file, { key: line })).toMatchObject({ ok: true, signed: found.signed! });
  });

  test.skipIf(!minisign)("minisign -V of Debian's package accepts the file, and no other", () => {
    const { file, open } = signed("theirs");
    expect(ask("-V", "-m", file, "-p", open)).toMatchObject({ status: 0 });
    appendFileSync(file, "x");
    expect(ask("-V", "-m", file, "-p", open).status).toBe(1);
  });

  test.skipIf(!minisign)("what minisign signed is verified, with its own keys", () => {
    const [secret, open] = [scratch.at("own.key"), scratch.at("own.pub")];
    expect(ask("-G", "-W", "-s", secret, "-p", open).status).toBe(0);
    const file = scratch.at("own.znippy");
    packSync(tree, file, { sign: secret });
    expect(ask("-V", "-m", file, "-p", open).status).toBe(0);
    expect(ask("-S", "-W", "-s", secret, "-m", file).status).toBe(0);
    expect(verifySync(file, { key: open })).toMatchObject({ ok: true });
    // A pack of znippy's own has no hash of its index: the file's is enough.
    const sample = scratch.at("s1.znippy");
    copyFileSync(join(samples, "s1.znippy"), sample);
    expect(ask("-S", "-W", "-s", secret, "-m", sample).status).toBe(0);
    expect(verifySync(sample, { key: open })).toMatchObject({ ok: true });
  });

  test("a key with a password opens with it, and with no other", async () => {
    const { secret, open } = makeKey("locked", { password });
    const file = scratch.at("locked.znippy");
    await pack(tree, file, { sign: { key: secret, password } });
    expect((await verify(file, { key: open })).ok).toBe(true);
    for (const wrong of ["Correct horse", undefined]) {
      const sign = { key: secret, ...(wrong === undefined ? {} : { password: wrong }) };
      const error = await pack(tree, scratch.at("no.znippy"), { sign }).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(CopseError);
      expect(String(error)).not.toContain("horse");
    }
    expect(existsSync(scratch.at("no.znippy"))).toBe(false);
  });
});

describe("what is not right is found, exit 1", () => {
  const cases: readonly (readonly [
    name: string,
    change: (file: string) => string | undefined,
    says: RegExp,
  ])[] = [
    ["a wrong key", () => makeKey("other").open, /another key/],
    ["a stripped signature", (file) => void rmSync(`${file}.minisig`), /no signature/],
    [
      "a signature of another pack of the same key",
      (file) => void writeFileSync(`${file}.minisig`, readFileSync(`${file}.twin`)),
      /another file/,
    ],
    [
      "a changed comment",
      (file) =>
        void writeFileSync(
          `${file}.minisig`,
          readFileSync(`${file}.minisig`, "utf8").replace("copse index", "copsf index"),
        ),
      /comment/,
    ],
    [
      "a changed signature",
      (file) => {
        const lines = readFileSync(`${file}.minisig`, "utf8").split("\n");
        const bytes = Buffer.from(lines[1]!, "base64");
        bytes[40]! ^= 1;
        lines[1] = bytes.toString("base64");
        writeFileSync(`${file}.minisig`, lines.join("\n"));
        return undefined;
      },
      /comment|another file/,
    ],
    [
      "something else",
      (file) => void writeFileSync(`${file}.minisig`, "hello\n"),
      /no signature of/,
    ],
  ];
  test.each(cases)("%s", async (name, change, says) => {
    const { file, open, secret } = signed(name.replaceAll(" ", "-"));
    const twin = scratch.plant(`twin-${name}`, { other: name });
    packSync(twin, scratch.at("twin.znippy"), { sign: secret });
    copyFileSync(scratch.at("twin.znippy.minisig"), `${file}.twin`);
    const key = change(file) ?? open;
    const found = await verify(file, { key });
    expect(found).toMatchObject({ ok: false, checks: [{ kind: "signature", path: "" }] });
    expect(found.signed).toBeUndefined();
    const [row] = found.checks;
    expect(row?.kind === "signature" && row.reason).toMatch(says);
    const { status, out } = await copse("verify", file, "--key", key);
    expect([status, out]).toEqual([1, expect.stringMatching(says)]);
    expect(await verify(file)).toMatchObject({ ok: true }); // nobody asked for a signature
  });

  test("a pack that was made again needs a signature of its own", () => {
    const { file, open } = signed("made-again");
    packSync(scratch.plant("changed", { a: "2" }), file);
    expect(verifySync(file, { key: open }).ok).toBe(false);
  });
});

test("absent by default; refused where there is no place for it, or no key", async () => {
  const file = scratch.at("plain.znippy");
  packSync(tree, file);
  expect(existsSync(`${file}.minisig`)).toBe(false);
  const { secret, open } = makeKey("codes");
  expect(await codeOf(() => pack(tree, "pack:memory:x/y", { sign: secret }))).toBe("UNSUPPORTED");
  expect(await codeOf(() => pack(tree, file, { sign: scratch.at("none") }))).toBe("NOT_FOUND");
  expect(await codeOf(() => pack(tree, file, { sign: open }))).toBe("ARGUMENT");
  expect(await codeOf(() => verify(file, { key: secret }))).toBe("ARGUMENT");
  expect(await codeOf(() => pack(tree, file, { sign: 3 as never }))).toBe("ARGUMENT");
  await pack(tree, scratch.at("dry.znippy"), { sign: secret, dryRun: true });
  expect(existsSync(scratch.at("dry.znippy.minisig"))).toBe(false);
});

test("copse pack --sign and verify --key; no secret is ever printed", async () => {
  const { secret, open } = makeKey("command", { password });
  const file = scratch.at("command.znippy");
  const from = scratch.at("password");
  writeFileSync(from, `${password}\n`);
  const key = readFileSync(secret, "utf8").split("\n")[1]!;
  const said: string[] = [];
  const run = async (...args: string[]): Promise<number> => {
    const { status, out, err } = await copse(...args);
    said.push(out, err);
    return status;
  };
  expect(
    await run("pack", tree, file, "--sign", secret, "--sign-password-file", from, "-vvv"),
  ).toBe(0);
  expect(await run("verify", file, "--key", open, "--json")).toBe(0);
  expect(await run("pack", tree, file, "--sign", secret)).toBe(2);
  expect(await run("pack", tree, file, "--sign-password-file", from)).toBe(2);
  for (const text of said) {
    expect(text).not.toContain(password);
    expect(text).not.toContain(key.slice(60, 90));
  }
  expect(JSON.parse(said[2]!)).toMatchObject({
    ok: true,
    signed: expect.stringContaining("index"),
  });
});
