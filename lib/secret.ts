// What nobody may see: whatever prints a secret, prints stars.

const inspect = Symbol.for("nodejs.util.inspect.custom");

/** Holds a password or token. Only what sends it asks for the text. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  reveal(): string {
    return this.#text;
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
