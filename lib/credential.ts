import { argumentError, showValue } from "./errors.ts";
import { checkFields } from "./check.ts";

/** Where `credential` may look. */
export interface CredentialOptions {
  /** The system's secret store. Default true. */
  keyring?: boolean;
  /** The variable `COPSE_<SERVICE>`. Default true. */
  environment?: boolean;
}

// Variables that mean something else to the command: names of its own, and sections of its settings.
const reserved = new Set([
  "CONFIG",
  "ENCRYPTION_KEY",
  "ENCRYPTION_KEY_FILE",
  "IO",
  "LIB",
  "LOG_LEVEL",
  "PROFILE",
  "SSH_KEY",
  "WORKERS",
]);
const sections = [
  "AZURE",
  "COMPRESSION",
  "DEFAULTS",
  "ENCRYPTION",
  "EXCLUDE",
  "GCS",
  "HTTP",
  "INCLUDE",
  "LOGGING",
  "PROFILES",
  "S3",
  "SSH",
];

/**
 * A password or token that the user keeps outside the program: from the system's secret store (name
 * `copse`, the service as its key), else from the environment variable `COPSE_<SERVICE>`, else
 * `null`.
 *
 * ```ts
 * const token = await credential("files.example.com");
 * await compare("site", { url: "https://files.example.com/site/", token: token ?? undefined });
 * ```
 *
 * The service's name in capitals, everything but letters and digits an underscore, is the name of
 * the variable. Names that mean something else to the command (`lib`, `http`, …) are read from the
 * secret store only.
 */
export async function credential(
  service: string,
  options: CredentialOptions = {},
): Promise<string | null> {
  if (typeof service !== "string" || service === "" || service.includes("\0"))
    throw argumentError("service", `must be a name, not ${showValue(service)}`);
  checkFields("options", options, ["keyring", "environment"]);
  const { keyring = true, environment = true } = options;
  for (const [name, value] of Object.entries({ keyring, environment }))
    if (typeof value !== "boolean")
      throw argumentError(name, `must be true or false, not ${showValue(value)}`);
  const kept = keyring ? await fromKeyring(service) : null;
  if (kept !== null) return kept;
  return environment ? fromEnvironment(service) : null;
}

async function fromKeyring(service: string): Promise<string | null> {
  try {
    return await Bun.secrets.get({ service: "copse", name: service });
  } catch {
    // No secret store here, or it is locked: that is the usual case on a server.
    return null;
  }
}

function fromEnvironment(service: string): string | null {
  const name = service.toUpperCase().replace(/[^A-Z0-9]/g, "_");
  if (reserved.has(name) || sections.includes(name) || name.startsWith("DEFAULTS_")) return null;
  return process.env[`COPSE_${name}`] || null;
}
