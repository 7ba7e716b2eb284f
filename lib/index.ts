export { compare, compareSync } from "./compare.ts";
export { apply, applySync, copy, copySync, rowsOf, sync, syncSync } from "./sync.ts";
export { compareAll, compareAllSync } from "./compare-all.ts";
export { formatManifest, manifest, manifestSync } from "./manifest.ts";
export { list, listSync } from "./list.ts";
export { scan, scanSync } from "./scan.ts";
export { snapshot, snapshotSync } from "./snapshot.ts";
export { assess, assessSync } from "./assess.ts";
export { shuffle, shuffleSync } from "./shuffle.ts";
export { watch } from "./watch.ts";
export { watchSync } from "./watch-sync.ts";
export { inferPattern, inferPatternSync } from "./infer.ts";
export {
  loadPattern,
  parsePattern,
  pattern,
  PatternBuilder,
  samePattern,
  toPathveinJSON,
} from "./pattern.ts";
export { pack, packSync, unpack, unpackSync } from "./pack.ts";
export { blocks, blocksSync } from "./blocks.ts";
export { repair, repairSync } from "./repair.ts";
export { verify, verifySync } from "./verify.ts";
export { globSet } from "./globs.ts";
export {
  sharedChannel,
  sharedSemaphore,
  type SharedChannel,
  type SharedSemaphore,
} from "./shared.ts";
export type { Body } from "./body.ts";
export { Store, type ByteRange, type StoreCan, type StoreOptions } from "./store.ts";
export { credential, type CredentialOptions } from "./credential.ts";
export { Runtime } from "./runtime.ts";
export { listenForSignals, type Interruption } from "./signals.ts";
export { reportTo, type OpenTelemetry } from "./telemetry.ts";
export { CopseError, type ErrorCode } from "./errors.ts";
export { certificateSource } from "./http.ts";
export { parseLocation, type Place } from "./location.ts";
export type * from "./types.ts";
