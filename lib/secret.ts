// What nobody may see: whatever prints a secret, prints stars.

const inspect = Symbol.for("nodejs.util.inspect.custom");

/** Holds a password, token or key. Only what sends it asks for it. */
export class Secret<T extends string | Uint8Array = string> {
  readonly #kept: T;

  constructor(kept: T) {
    this.#kept = kept;
  }

  reveal(): T {
    return this.#kept;
  }

  toString(): string {
    return "***";
  }

  toJSON(): string {
    return "***";
  }

  [inspect](): string {
    return "***";
  }
}

const secretValues = /^(x-amz-signature|x-amz-credential|x-amz-security-token|sig|token|code)$/i;

/**
 * The text of a location without what nobody may see: passwords and the signing values of a query.
 */
export function redact(text: string): string {
  return text
    .replace(/^([^/:@\s]+):[^/@\s]*@/, "$1:***@") // me:secret@host:path
    .replace(/^((?:[A-Za-z][A-Za-z0-9+.-]+:)+\/\/[^/?#@:]*):[^/?#]*@/, "$1:***@")
    .replace(/([?&])([^=&#]+)=([^&#]*)/g, (all, mark: string, name: string) =>
      secretValues.test(name) ? `${mark}${name}=***` : all,
    );
}
