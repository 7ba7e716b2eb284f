// Numbers as people write and read them: bytes, counts and times.

const sizePattern = /^(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?b)?|b)?$/i;
const powers = ["k", "m", "g", "t"];

/** Bytes from `4096`, `128K`, `1.5M`, `2GiB` (powers of 1024) or `2GB` (powers of 1000), as dd has it. */
export function parseBytes(text: string): number | undefined {
  const [, number, letter, unit] = sizePattern.exec(text.trim()) ?? [];
  if (number === undefined) return undefined;
  const base = unit?.toLowerCase() === "b" ? 1000 : 1024;
  const power = letter === undefined ? 0 : powers.indexOf(letter.toLowerCase()) + 1;
  const bytes = Math.round(Number(number) * base ** power);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

const durationPattern = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h)?$/i;
const milliseconds: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Milliseconds from `500`, `500ms`, `30s`, `2m` or `1h`. */
export function parseDuration(text: string): number | undefined {
  const [, number, unit = "ms"] = durationPattern.exec(text.trim()) ?? [];
  if (number === undefined) return undefined;
  return Math.round(Number(number) * (milliseconds[unit.toLowerCase()] ?? 1));
}

/** `1234567` as `1,234,567`, without the start-up cost of Intl. */
export function showCount(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `1 file`, `2 files`, `1 entry`, `2 entries`. */
export function showCounted(count: number, noun: string): string {
  const plural = noun.endsWith("y") ? `${noun.slice(0, -1)}ies` : `${noun}s`;
  return `${showCount(count)} ${count === 1 ? noun : plural}`;
}

/** Bytes with two or three figures: `56 B`, `1.2 kB`, `56 MB`. Powers of 1000, as disks are sold. */
export function showBytes(bytes: number): string {
  let amount = bytes;
  let unit = "B";
  for (const larger of ["kB", "MB", "GB", "TB", "PB", "EB"]) {
    // What would be shown as "1000 kB" is "1.0 MB".
    if (amount < 999.5) break;
    amount /= 1000;
    unit = larger;
  }
  if (unit === "B") return `${amount} B`;
  return `${amount < 9.95 ? amount.toFixed(1) : Math.round(amount)} ${unit}`;
}

/** A span of time: `8 ms`, `0.12 s`, `3.4 s`, `2 min 05 s`, `1 h 02 min`. */
export function showDuration(span: number): string {
  if (span < 10) return `${span < 0.95 ? "under 1" : Math.round(span)} ms`;
  const seconds = span / 1000;
  if (seconds < 9.995) return `${seconds.toFixed(seconds < 0.9995 ? 2 : 1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${padded(whole % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${padded(minutes % 60)} min`;
}

/** A point in time in the local zone: `2025-11-21 08:23`, to the unit asked for. */
export function showTime(time: Date, unit: "minute" | "second" | "millisecond" = "minute"): string {
  if (Number.isNaN(time.getTime())) return "unknown";
  const day = `${time.getFullYear()}-${padded(time.getMonth() + 1)}-${padded(time.getDate())}`;
  const minute = `${day} ${padded(time.getHours())}:${padded(time.getMinutes())}`;
  if (unit === "minute") return minute;
  const second = `${minute}:${padded(time.getSeconds())}`;
  if (unit === "second") return second;
  return `${second}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}

function padded(number: number): string {
  return String(number).padStart(2, "0");
}
