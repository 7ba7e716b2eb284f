// The numbers of native/include/copse.h. Each stands here once; test/abi.test.ts holds them against
// the header.

export const ABI = 1;

export const Verb = {
  LIST: 1,
  SCAN: 2,
  COMPARE: 3,
  SYNC: 4,
  VERIFY: 5,
  READ: 6,
  WRITE: 7,
  REMOVE: 8,
  DIGEST: 9,
  SNAPSHOT: 10,
} as const;

export const Field = { NUMBER: 1, TEXT: 2, RECORD: 3 } as const;

export const Key = {
  TOKEN: 1,
  DEADLINE: 2,
  PRIORITY: 3,
  WAITED: 4,
  LEFT: 5,
  RIGHT: 6,
  VERB: 7,
  INCLUDE: 8,
  EXCLUDE: 9,
  LINKS: 10,
  CONCURRENCY: 11,
  PROGRESS: 12,
  BANDWIDTH: 13,
  LIMIT_ENTRIES: 16,
  LIMIT_BYTES: 17,
  LIMIT_RATIO: 18,
  LIMIT_DEPTH: 19,
  LIMIT_PATH: 20,
  LIMIT_NESTED: 21,
  PATH: 24,
  BY: 64,
  STOP_AT_FIRST: 65,
  MOVES: 66,
  METADATA: 67,
  CHUNK: 68,
  SAMPLE: 69,
  SIZE_CHECK: 70,
  EMPTY_DIRECTORIES: 71,
  TEXT: 72,
  SELF: 80,
  STAT: 81,
  IGNORE_FILE: 82,
  MAX_DEPTH: 83,
  ONE_FILE_SYSTEM: 84,
  STOP_ON_ERROR: 85,
  SNAPSHOT: 86,
  FROM: 96,
  TO: 97,
  NODE: 112,
  PATTERN: 113,
  EXPLAIN: 114,
  SCOPE: 115,
  VERIFY_INTACT: 176,
  SYNC_BY: 128,
  OVERWRITE: 129,
  DELETE: 130,
  DRY_RUN: 131,
  FSYNC: 132,
  PRESERVE: 133,
  MAX_DELETE: 134,
  FORCE: 135,
  VERIFY: 136,
  SPECIAL_BITS: 137,
  RETRIES: 138,
  ALGORITHM: 240,
  CACHE: 241,
  STREAMS: 242,
  PART_MIN: 243,
  PART_MAX: 244,
} as const;

export const Node = { NAME: 1, FILE: 2, FORBIDDEN: 3, DIRECTORY: 4, MIN: 5, MAX: 6 } as const;
export const TextRule = { MATCH: 1, IGNORE: 2 } as const;
export const Text = { EOL: 1, SPACE: 2, BLANK_LINES: 4 } as const;
export const Place = {
  SCHEME: 1,
  PATH: 2,
  INNER: 3,
  SPEC: 4,
  SHOWN: 5,
  HEADER: 16,
  TIMEOUT: 17,
  RETRIES: 18,
  PROXY: 19,
  REDIRECTS: 20,
  INSECURE: 21,
  MIN_TLS: 22,
  USER: 23,
  PASSWORD: 24,
  BEARER: 25,
  CA_FILE: 26,
  CA_BLOB: 27,
  ADDRESSES: 28,
  SUB: 48,
  STRIP: 49,
  FORMATS: 50,
  RAW_EQUAL: 51,
  TREE: 52,
  PACK_NEW: 64,
  PACK_LEVEL: 65,
  PACK_COMPRESS: 66,
  FILE: 80,
  SNAPSHOT: 84,
  ALGORITHM: 81,
} as const;
export const Compress = { AUTO: 0, ALWAYS: 1, NEVER: 2 } as const;
export const Addresses = { NAMED: 0, ANY: 1, PUBLIC: 2 } as const;
export const Format = {
  TAR: 1,
  CPIO: 2,
  AR: 4,
  ISO: 8,
  ZIP: 16,
  SEVEN_ZIP: 32,
  RAR: 64,
  LHA: 128,
  CAB: 256,
} as const;
export const Links = { KEEP: 0, FOLLOW: 1, SKIP: 2 } as const;
export const By = { CONTENT: 0, HASH: 1, STAT: 2 } as const;
export const Algorithm = { BLAKE3: 0, SHA256: 1 } as const;
export const Metadata = { MODE: 1, MTIME: 2, OWNER: 4, XATTR: 8 } as const;
export const Option = {
  WORKERS: 1,
  IO_WORKERS: 2,
  CONNECTIONS: 3,
  MEMORY: 4,
  IO: 5,
  BANDWIDTH: 6,
} as const;
export const Io = { AUTO: 0, BLOCKING: 1, THREADS: 2, URING: 3 } as const;
export const EventKind = { PAGE: 1, PROGRESS: 2, ROOM: 3, DONE: 4 } as const;
export const RowKind = {
  ENTRY: 1,
  ONLY_LEFT: 2,
  ONLY_RIGHT: 3,
  DIFFERS: 4,
  MOVED: 5,
  ERROR: 6,
  SAME_BY_RULE: 7,
  MATCH: 8,
  NEAR_MISS: 9,
  INTACT: 20,
  CORRUPT: 21,
  NAMES: 30,
  SNAPSHOT: 31,
  COPIED: 10,
  CREATED: 11,
  UPDATED: 12,
  RENAMED: 13,
  SKIPPED: 14,
  DELETED: 15,
  SUMMARY: 19,
} as const;
export const Skipped = { EXISTS: 1, SPECIAL: 2 } as const;
export const Type = { NONE: 0, FILE: 1, DIRECTORY: 2, LINK: 3, OTHER: 4 } as const;
export const Reason = {
  NONE: 0,
  TYPE: 1,
  SIZE: 2,
  CONTENT: 3,
  TARGET: 4,
  MODE: 5,
  OWNER: 6,
  MTIME: 7,
  XATTR: 8,
} as const;
export const Detail = {
  LEFT_TARGET: 1,
  RIGHT_TARGET: 2,
  LEFT_MODE: 3,
  RIGHT_MODE: 4,
  LEFT_OWNER: 5,
  RIGHT_OWNER: 6,
  LEFT_HASH: 7,
  RIGHT_HASH: 8,
  FROM: 9,
  CODE: 16,
  ERRNO: 17,
  ERRNO_NAME: 18,
  STATUS: 19,
  CALL: 20,
  LOCATION: 21,
  PATH: 22,
  SENTENCE: 23,
  LINE: 72,
  MISSING: 32,
  FOUND: 33,
  NEAREST: 34,
  NEAREST_END: 35,
  CHUNK: 56,
  COPIED: 40,
  CREATED: 41,
  UPDATED: 42,
  RENAMED: 43,
  SKIPPED: 44,
  DELETED: 45,
  KEPT: 46,
  MOVED: 47,
  SAVED: 48,
  RETRIES: 49,
} as const;
export const GlobsKey = { KIND: 1, NOCASE: 2, DOT: 3, PATTERN: 4 } as const;
export const GlobsKind = { PATHS: 0, NAMES: 1 } as const;
export const GlobsAnswer = { ANY: 0, ALL: 1, BITS: 2 } as const;
export const Done = { INCOMPLETE: 1 } as const;
export const MODE_KNOWN = 1 << 16;

export const Code = {
  NOT_FOUND: -1,
  EXISTS: -2,
  DENIED: -3,
  AUTH: -4,
  IO: -5,
  NETWORK: -6,
  TIMEOUT: -7,
  THROTTLED: -8,
  CANCELLED: -9,
  PROTOCOL: -10,
  CORRUPT: -11,
  UNSAFE_PATH: -12,
  LIMIT: -13,
  CHANGED: -14,
  NO_SPACE: -15,
  BUSY: -16,
  UNSUPPORTED: -17,
  ARGUMENT: -18,
  CLOSED: -19,
  MEMORY: -20,
  INTERNAL: -21,
} as const;

/** Size and offsets of each struct, fields in the order of the header. */
export const Row = {
  size: 64,
  path_at: 0,
  path_len: 4,
  kind: 8,
  type: 9,
  reason: 10,
  code: 12,
  left_size: 16,
  right_size: 24,
  left_mtime_ns: 32,
  right_mtime_ns: 40,
  text_at: 48,
  text_len: 52,
  extra: 56,
} as const;

export const Event = {
  size: 64,
  kind: 0,
  code: 4,
  task: 8,
  page: 16,
  page_size: 24,
  rows: 32,
  heap_at: 36,
  files: 40,
  bytes: 48,
  total_bytes: 56,
} as const;

export const Stats = {
  size: 112,
  started: 0,
  done: 8,
  failed: 16,
  cancelled: 24,
  running: 32,
  queued: 40,
  steps: 48,
  wakes: 56,
  bytes_read: 64,
  bytes_written: 72,
  buffer_bytes: 80,
  buffer_limit: 88,
  io_workers: 96,
  cpu_workers: 100,
  connections: 104,
  backend: 108,
} as const;

/** What copse_abi writes when library and bindings belong together. */
export const layout: readonly number[] = [Row, Event, Stats].flatMap((struct) =>
  Object.values(struct),
);
