// copse.h: the whole C ABI. Nothing outside this header is exported, and this is the only native
// file that lib/ knows.
//
// Shape: a runtime owns threads, buffers and one wake-up fd. A task is one running verb. Requests
// go in as a flat record of options; results come out as pages of 64-byte rows plus a text heap.
//
// Rules that hold for every function here:
//   - Returns a negative COPSE_E_* code on failure, zero or a count on success. No errno, no
//     thread-local "last error": details travel in the row that reports them, or are fetched with
//     copse_task_error after DONE.
//   - Input memory is copied before the call returns. Output memory is lent: a page belongs to the
//     caller from the event that names it until copse_page_release.
//   - Runtimes and tasks are 52-bit ids, not pointers: a stale id is COPSE_E_CLOSED, never a crash,
//     and it fits a JavaScript number. Zero is never an id.
//   - Any thread may call anything, except that one runtime is drained by one thread at a time, and
//     one waited task is waited for by one thread at a time.
//
// A record is a sequence of fields without padding, all little-endian:
//     u16 key, u8 field kind (enum copse_field), u8 zero, u32 size, then `size` bytes.
// A NUMBER is 8 bytes (u64; signed values as two's complement; a bool is 0 or 1). TEXT is bytes
// without a terminator. RECORD is a nested record. A key that may occur many times is repeated.
// Unknown keys, wrong kinds and sizes that do not fit are COPSE_E_ARGUMENT.
#ifndef COPSE_H
#define COPSE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define COPSE_API __attribute__((visibility("default")))
#else
#define COPSE_API
#endif

constexpr uint32_t COPSE_ABI = 1;  // Bumped whenever a struct or a meaning below changes.

typedef uint64_t copse_id;

// Codes are decisions for the caller; the sentence and the system's number travel beside them.
// Only ever appended to. The same list with a sentence each is base/errors.def.
enum copse_error : int32_t {
  COPSE_E_NOT_FOUND = -1,
  COPSE_E_EXISTS = -2,
  COPSE_E_DENIED = -3,
  COPSE_E_AUTH = -4,
  COPSE_E_IO = -5,
  COPSE_E_NETWORK = -6,
  COPSE_E_TIMEOUT = -7,
  COPSE_E_THROTTLED = -8,
  COPSE_E_CANCELLED = -9,
  COPSE_E_PROTOCOL = -10,
  COPSE_E_CORRUPT = -11,
  COPSE_E_UNSAFE_PATH = -12,
  COPSE_E_LIMIT = -13,
  COPSE_E_CHANGED = -14,
  COPSE_E_NO_SPACE = -15,
  COPSE_E_BUSY = -16,
  COPSE_E_UNSUPPORTED = -17,
  COPSE_E_ARGUMENT = -18,
  COPSE_E_CLOSED = -19,
  COPSE_E_MEMORY = -20,
  COPSE_E_INTERNAL = -21,
};

enum copse_field : uint8_t {
  COPSE_FIELD_NUMBER = 1,
  COPSE_FIELD_TEXT = 2,
  COPSE_FIELD_RECORD = 3,
};

enum copse_verb : uint32_t {
  COPSE_VERB_LIST = 1,       // entries of a tree
  COPSE_VERB_SCAN = 2,       // directories that match structure patterns
  COPSE_VERB_COMPARE = 3,    // differences between two trees
  COPSE_VERB_SYNC = 4,       // make the right tree like the left (copy, sync, pack, unpack)
  COPSE_VERB_VERIFY = 5,     // re-read a tree against its own checksums
  COPSE_VERB_READ = 6,       // bytes of one file
  COPSE_VERB_WRITE = 7,      // bytes of one file, pushed by the caller
  COPSE_VERB_REMOVE = 8,     // one file, link or empty directory
  COPSE_VERB_DIGEST = 9,     // entries of a tree, files with the hash of their content
  COPSE_VERB_SNAPSHOT = 10,  // keeps what a tree holds, to be looked at again without it; removing
                             // the place "snapshot" of that number frees it
  COPSE_VERB_BLOCKS = 11,    // the blocks that the content of a tree falls into
  COPSE_VERB_FILL = 12,      // many files, pushed by the caller, into a pack that is made
  COPSE_VERB_LOOK = 13,      // what is at each of several paths
  COPSE_VERB_TWO_WAY = 14,   // what is to be done to make two trees equal after both were changed
  COPSE_VERB_SHARED = 15,    // waits for its turn at a shared thing; takes no deadline
};

// Keys of a request record. Below 64: every verb understands them. From 64 up: one verb's own.
enum copse_key : uint16_t {
  COPSE_KEY_TOKEN = 1,     // number: cancelled together by copse_runtime_cancel; absent: none
  COPSE_KEY_DEADLINE = 2,  // number: milliseconds from now; past them the task ends with TIMEOUT
  COPSE_KEY_PRIORITY = 3,  // number: 0 high, 1 normal (default), 2 low
  COPSE_KEY_WAITED = 4,    // bool: events come by copse_task_wait only, the fd stays quiet
  COPSE_KEY_LEFT = 5,      // record: a place
  COPSE_KEY_RIGHT = 6,     // record: a place
  COPSE_KEY_VERB = 7,      // number: enum copse_verb
  COPSE_KEY_INCLUDE = 8,   // text, repeated: a glob
  COPSE_KEY_EXCLUDE = 9,   // text, repeated: a glob
  COPSE_KEY_LINKS = 10,    // number: enum copse_links
  COPSE_KEY_CONCURRENCY = 11,  // number: jobs of this task at once; 0 or absent: the runtime's
  COPSE_KEY_PROGRESS = 12,     // number: milliseconds between PROGRESS events; absent: none
  COPSE_KEY_BANDWIDTH = 13,    // number: bytes per second; absent: no limit
  COPSE_KEY_UNTOLD = 14,       // number: bits 1 << enum copse_row_kind; rows of these are not told
  COPSE_KEY_LIMIT_ENTRIES = 16,
  COPSE_KEY_LIMIT_BYTES = 17,
  COPSE_KEY_LIMIT_RATIO = 18,
  COPSE_KEY_LIMIT_DEPTH = 19,
  COPSE_KEY_LIMIT_PATH = 20,
  COPSE_KEY_LIMIT_NESTED = 21,
  COPSE_KEY_PATH = 24,  // text: the entry inside LEFT that READ, WRITE, REMOVE and LIST mean

  COPSE_KEY_PATHS = 44,  // look, text: paths inside LEFT, a '\0' between them. An ENTRY row each
                         // without a path, or an ERROR row, in their order; of type NONE where
                         // there is nothing

  COPSE_KEY_SHARED = 40,        // shared, number: id of copse_shared_open
  COPSE_KEY_SHARED_CALL = 41,   // shared, number: TAKE, SEND or RECEIVE
  COPSE_KEY_SHARED_COUNT = 42,  // shared, number: permits; default 1
  COPSE_KEY_SHARED_VALUE = 43,  // shared, text: what is sent; a received value comes as bytes

  COPSE_KEY_BY = 64,                 // compare, number: enum copse_by
  COPSE_KEY_STOP_AT_FIRST = 65,      // compare, bool
  COPSE_KEY_MOVES = 66,              // compare, bool
  COPSE_KEY_METADATA = 67,           // compare, number: bits of enum copse_metadata
  COPSE_KEY_CHUNK = 68,              // compare, number: bytes per read
  COPSE_KEY_SAMPLE = 69,             // compare, bool, default true
  COPSE_KEY_SIZE_CHECK = 70,         // compare, bool, default true: unequal sizes need no reading
  COPSE_KEY_EMPTY_DIRECTORIES = 71,  // compare, bool, default true: false leaves out one-sided
                                     // directories that hold nothing
  COPSE_KEY_TEXT = 72,               // compare by content, record, repeated: enum copse_text_rule;
                                     // of those whose globs match a file the first one counts
  COPSE_KEY_SELF = 80,               // list, bool: only the entry itself, not what is below it
  COPSE_KEY_COLUMNS = 89,            // list, bool: with STAT, what plugins found, as packs have it
  COPSE_KEY_STAT = 81,         // list, bool: sizes, times, modes and targets too, not only names
                               // and types
  COPSE_KEY_IGNORE_FILE = 82,  // list, scan, text, repeated: files of this name say what is left
                               // out, as git reads a .gitignore
  COPSE_KEY_MAX_DEPTH = 83,    // list, scan, number: what lies deeper is not looked at; 1: only
                               // what the root itself holds
  COPSE_KEY_ONE_FILE_SYSTEM = 84,  // list, scan, bool: other file systems are not entered
  COPSE_KEY_STOP_ON_ERROR = 85,    // list, scan, bool: what would be an ERROR row fails the task
  COPSE_KEY_SNAPSHOT = 86,         // snapshot, number, not zero: what the caller calls it
  COPSE_KEY_FROM = 96,             // read, number: first byte
  COPSE_KEY_TO = 97,               // read, number: one past the last byte
  COPSE_KEY_VERIFY_INTACT = 176,   // verify, bool: a row for every intact file too
  COPSE_KEY_NODE = 112,     // scan, record, repeated: enum copse_node; children before parents
  COPSE_KEY_PATTERN = 113,  // scan, number, repeated: the node that is the next pattern
  COPSE_KEY_EXPLAIN = 114,  // scan, bool: NEAR_MISS rows, too
  COPSE_KEY_SCOPE = 115,    // scan, number: 0 every directory, 1 the root only, 2 the root, and a
                            // MATCH row for each node of each directory below (`extra`: the node)

  COPSE_KEY_SYNC_BY = 128,     // sync, number: enum copse_by; default STAT
  COPSE_KEY_OVERWRITE = 129,   // sync, number: 0 different (default), 1 newer, 2 never
  COPSE_KEY_DELETE = 130,      // sync, bool: what only the right side has goes, last
  COPSE_KEY_DRY_RUN = 131,     // sync, bool: only the rows
  COPSE_KEY_FSYNC = 132,       // bool, default true: what is written lasts through a power loss
  COPSE_KEY_PRESERVE = 133,    // sync, number: bits of enum copse_metadata; default mode and mtime
  COPSE_KEY_MAX_DELETE = 134,  // sync, number: nothing is deleted when it would be more
  COPSE_KEY_FORCE = 135,       // sync, bool: an empty left side may empty the right one
  COPSE_KEY_VERIFY = 136,      // sync, bool: what was written is read again
  COPSE_KEY_SPECIAL_BITS = 137,  // sync, bool: set-user-ID, set-group-ID and sticky bits are kept
  COPSE_KEY_RETRIES = 138,       // sync, number: of what may work a moment later; default 3
  COPSE_KEY_HARD_LINKS = 139,    // sync, bool: names of one file stay names of one file
  COPSE_KEY_BACKUP = 140,        // sync, record: a place; what is replaced or deleted is kept there
  COPSE_KEY_SYNC_MOVES = 141,    // sync, bool: what has another name on the left is renamed
  COPSE_KEY_HAS_PLAN = 142,      // sync, bool: only the steps that follow are done
  COPSE_KEY_STEP = 143,          // sync, record, repeated: enum copse_step
  COPSE_KEY_BATCH =
      166,  // sync, number: of several tasks of one number only one gives a file its name

  COPSE_KEY_DELTA = 175,  // sync, number: a large file is made of the one it replaces: 0 never, 1
                          // where the file system shares blocks (default), 2 always
  COPSE_KEY_BLOCK_SIZE = 208,  // blocks, number: bytes on average, 1 KiB to 4 MiB; default 64 KiB
  COPSE_KEY_TWO_STATE = 150,   // two-way, text: path of the file that says what both had in common
  COPSE_KEY_TWO_PAIR = 151,    // two-way, text: names the two places; a state of others is an error
  COPSE_KEY_TWO_KEEP = 152,  // two-way, bool: nothing is decided; what both have in common is kept
  COPSE_KEY_CONFLICT = 153,  // two-way, number: enum copse_conflict

  COPSE_KEY_ALGORITHM = 240,  // digest, number: enum copse_algorithm
  COPSE_KEY_CACHE = 241,      // compare, digest, text: path of the file that keeps hashes
  COPSE_KEY_STREAMS = 242,    // sync, read, number: connections for one content; absent: by the
                              // server's distance
  COPSE_KEY_PART_MIN = 243,   // sync, read, number: bytes asked for at once; absent: by the size
  COPSE_KEY_PART_MAX = 244,
  COPSE_KEY_RESUME = 245,  // sync, bool, default true: what came of a file of a web server is kept
                           // when the run ends early, and the next one goes on with it
};

// A directory of a pattern. Bounds belong to the piece before them; without any, files and
// directories must be there at least once.
enum copse_node : uint16_t {
  COPSE_NODE_NAME = 1,       // text: a glob; absent: any name
  COPSE_NODE_FILE = 2,       // text, repeated: a glob
  COPSE_NODE_FORBIDDEN = 3,  // text, repeated: a glob that no file and no directory may have
  COPSE_NODE_DIRECTORY = 4,  // number, repeated: a node before this one
  COPSE_NODE_MIN = 5,        // number
  COPSE_NODE_MAX = 6,        // number
};

// A file that is pushed to FILL: this record, then its content. Each piece of both is a u32 length
// and so many bytes; an empty piece ends the file.
enum copse_given : uint16_t {
  COPSE_GIVEN_PATH = 1,   // text: below the root
  COPSE_GIVEN_MODE = 2,   // number: permission bits; absent: not kept, as the next
  COPSE_GIVEN_MTIME = 3,  // number: nanoseconds
  COPSE_GIVEN_TYPE = 4,   // number: COPSE_PLACE_PACK_TYPE of this file; absent: the pack's
  COPSE_GIVEN_REPO = 5,   // text: COPSE_PLACE_PACK_REPO likewise
};

// White space that is no difference in some files.
enum copse_text_rule : uint16_t {
  COPSE_TEXT_RULE_MATCH = 1,   // text, repeated: a glob, as those of INCLUDE
  COPSE_TEXT_RULE_IGNORE = 2,  // number: bits of enum copse_text
};
enum copse_text : uint32_t {
  COPSE_TEXT_EOL = 1,          // "\r\n" is "\n"
  COPSE_TEXT_SPACE = 2,        // white space before a line's end, and a missing "\n" at the end
  COPSE_TEXT_BLANK_LINES = 4,  // lines that hold nothing
};

// Two-way: what is done about two versions of one name.
enum copse_conflict : uint32_t {
  COPSE_CONFLICT_BOTH = 0,  // the newer one has the name, the other one a name of its own
  COPSE_CONFLICT_NEWER = 1,
  COPSE_CONFLICT_LEFT = 2,
  COPSE_CONFLICT_RIGHT = 3,
};
// `extra` of a row of two-way: the side that it is to change. Zero: it is done already.
enum copse_toward : uint32_t { COPSE_TOWARD_RIGHT = 1, COPSE_TOWARD_LEFT = 2 };
// What there was of a state.
enum copse_two : uint32_t { COPSE_TWO_NEW = 0, COPSE_TWO_KNOWN = 1, COPSE_TWO_DAMAGED = 2 };
enum copse_two_seen : uint32_t {
  COPSE_TWO_SEEN_CHANGED = 1,      // what both have in common is not what the state says
  COPSE_TWO_SEEN_UNSEEN_LEFT = 2,  // not all of this side was seen
  COPSE_TWO_SEEN_UNSEEN_RIGHT = 4,
  COPSE_TWO_SEEN_EMPTY_LEFT = 8,  // this side has nothing in it
  COPSE_TWO_SEEN_EMPTY_RIGHT = 16,
};

// What a dry run said of one step.
enum copse_step : uint16_t {
  COPSE_STEP_PATH = 1,        // text
  COPSE_STEP_KIND = 2,        // number: enum copse_row_kind
  COPSE_STEP_TYPES = 3,       // number: copse_row.type
  COPSE_STEP_LEFT_SIZE = 4,   // number, as the three below; absent: not known
  COPSE_STEP_LEFT_MTIME = 5,  // nanoseconds
  COPSE_STEP_RIGHT_SIZE = 6,
  COPSE_STEP_RIGHT_MTIME = 7,
  COPSE_STEP_FROM = 8,  // text: of RENAMED
};

// A place: where a tree or file is.
enum copse_place : uint16_t {
  COPSE_PLACE_SCHEME = 1,  // text: "file", "memory", "fault", ...
  COPSE_PLACE_PATH = 2,    // text: bytes of the path; for memory: the name of the tree, then /path
  COPSE_PLACE_INNER = 3,   // record: the place that a wrapping scheme wraps
  COPSE_PLACE_SPEC = 4,    // text: what a wrapping scheme is told
  COPSE_PLACE_SHOWN =
      5,  // text: the location as messages show it, credentials removed; default: PATH
  // http: SCHEME is "http", PATH the URL without credentials and fragment.
  COPSE_PLACE_HEADER = 16,     // text, repeated: "Name: value"
  COPSE_PLACE_TIMEOUT = 17,    // number: milliseconds
  COPSE_PLACE_RETRIES = 18,    // number
  COPSE_PLACE_PROXY = 19,      // text: a URL
  COPSE_PLACE_REDIRECTS = 20,  // number: at most; zero follows none
  COPSE_PLACE_INSECURE = 21,   // bool: certificates are not checked
  COPSE_PLACE_MIN_TLS = 22,    // number: 12 or 13
  COPSE_PLACE_USER = 23,       // text
  COPSE_PLACE_PASSWORD = 24,   // text
  COPSE_PLACE_BEARER = 25,     // text
  COPSE_PLACE_CA_FILE = 26,    // text: a file of certificates (PEM)
  COPSE_PLACE_CA_BLOB = 27,    // text: the certificates themselves
  COPSE_PLACE_ADDRESSES = 28,  // number: enum copse_addresses
  // archive: INNER is the file it lies in; its password is PASSWORD.
  COPSE_PLACE_SUB = 48,        // text: the directory or file in it that is the root
  COPSE_PLACE_STRIP = 49,      // number: wrapper directories to go through, at most
  COPSE_PLACE_FORMATS = 50,    // number: bits of enum copse_format; absent: the default
  COPSE_PLACE_RAW_EQUAL = 51,  // bool: equal packed bytes and checksums need no unpacking
  COPSE_PLACE_TREE =
      52,  // any place, record: the place to open where the other side is a directory
  // files: a table. What concerns TLS may stand here, before its files, for all of their places.
  COPSE_PLACE_PACK_NEW = 64,       // bool: a pack that is to be made, what is there is replaced
  COPSE_PLACE_PACK_LEVEL = 65,     // number: zstd's level, 1 to 22, default 3
  COPSE_PLACE_PACK_COMPRESS = 66,  // number: enum copse_compress
  COPSE_PLACE_PACK_TYPE = 67,      // number, 0 to 127: the manifest's pkg_type, default 0
  COPSE_PLACE_PACK_REPO = 68,      // text: the manifest's repo, default empty
  COPSE_PLACE_PACK_SEED = 69,      // record: a place, whose blobs are used again for equal content
  COPSE_PLACE_PACK_ASK = 70,       // record: enum copse_ask
  COPSE_PLACE_PACK_FLAGS = 71,     // number: bits of enum copse_pack_flags

  COPSE_PLACE_PACK_FORMAT = 75,  // number: enum copse_pack_format, of a pack that is to be made
  COPSE_PLACE_PACK_REPAIR = 74,  // bool: an index that is damaged is made again from its copies

  COPSE_PLACE_FILE = 80,       // record, repeated: PATH, and INNER: the place that is this file
  COPSE_PLACE_SNAPSHOT = 84,   // snapshot, number: COPSE_KEY_SNAPSHOT of the task that took it
  COPSE_PLACE_ALGORITHM = 81,  // manifest, number: enum copse_algorithm of lines that do not say
  // crypt: INNER holds the files, compressed or encrypted. Of the four secrets at most one; a file
  // is read when it is first needed.
  COPSE_PLACE_CRYPT_LEVEL = 88,       // number: zstd's level of what is written, 1 to 22; 0: it is
                                      // not compressed; absent: as 0 where there is a secret, and
                                      // without one nothing can be written
  COPSE_PLACE_CRYPT_KEY = 89,         // text: 32 bytes
  COPSE_PLACE_CRYPT_KEY_FILE = 90,    // text: path of a file of 32 bytes
  COPSE_PLACE_CRYPT_PASSPHRASE = 91,  // text: 1 to 1024 bytes
  COPSE_PLACE_CRYPT_PASSPHRASE_FILE = 92,  // text: path of a file that has it in its first line
  COPSE_PLACE_FD = 93,                     // fd, number: a descriptor that is open
};

// Which addresses an http place may lead to.
enum copse_addresses : uint32_t {
  COPSE_ADDRESSES_NAMED =
      0,  // any that the place names; public ones where a redirect names another
  COPSE_ADDRESSES_ANY = 1,
  COPSE_ADDRESSES_PUBLIC = 2,
};

enum copse_format : uint32_t {
  COPSE_FORMAT_TAR = 1,
  COPSE_FORMAT_CPIO = 2,
  COPSE_FORMAT_AR = 4,
  COPSE_FORMAT_ISO = 8,
  COPSE_FORMAT_ZIP = 16,
  COPSE_FORMAT_SEVEN_ZIP = 32,
  COPSE_FORMAT_RAR = 64,
  COPSE_FORMAT_LHA = 128,
  COPSE_FORMAT_CAB = 256,
};
enum copse_pack_format : uint32_t { COPSE_PACK_FORMAT_ZNIPPY = 0, COPSE_PACK_FORMAT_COPSE = 1 };
enum copse_pack_flags : uint32_t {
  COPSE_PACK_FLAGS_POURS = 1,  // there is no INNER: the caller gets the pack, as pages of bytes
  COPSE_PACK_FLAGS_KEEPS = 2,  // what SEED holds, and has no other content, is in the new pack too
};
// Which files of a new pack the caller is asked about, and the columns its answers are for.
enum copse_ask : uint16_t {
  COPSE_ASK_MATCH = 1,   // text, repeated: a glob, as those of INCLUDE
  COPSE_ASK_TEXT = 2,    // text, repeated, as the next, with which it is one list: a column's name
  COPSE_ASK_NUMBER = 3,  // of u32
};
// Pages of bytes of a task that makes a pack: a head and what follows it, again and again. A head
// is u32 kind, u32 size of the path, u64 number of the question, u64 size of the content.
enum copse_said : uint32_t {
  COPSE_SAID_FILE = 1,  // then a bit for each glob that matches (u64s), the path, the content
  COPSE_SAID_PACK = 2,  // the last: then the pack
};
constexpr uint32_t COPSE_SAID_HEAD = 24;
// What is pushed to answer COPSE_SAID_FILE, once for each.
enum copse_answer : uint16_t {
  COPSE_ANSWER_FILE = 1,      // number: of the question
  COPSE_ANSWER_TYPE = 2,      // number, 0 to 127; absent: nothing is known of it
  COPSE_ANSWER_COLUMN = 3,    // record, repeated: INDEX and NUMBER or TEXT
  COPSE_ANSWER_INDEX = 4,     // number: of the column, from 0
  COPSE_ANSWER_NUMBER = 5,    // number
  COPSE_ANSWER_TEXT = 6,      // text, UTF-8
  COPSE_ANSWER_SENTENCE = 7,  // text: why there is no answer, for an ERROR row
  COPSE_ANSWER_CODE = 8,      // number: its COPSE_E_*
};
enum copse_compress : uint32_t {
  COPSE_COMPRESS_AUTO = 0,
  COPSE_COMPRESS_ALWAYS = 1,
  COPSE_COMPRESS_NEVER = 2,
};
enum copse_links : uint32_t { COPSE_LINKS_KEEP = 0, COPSE_LINKS_FOLLOW = 1, COPSE_LINKS_SKIP = 2 };
enum copse_by : uint32_t { COPSE_BY_CONTENT = 0, COPSE_BY_HASH = 1, COPSE_BY_STAT = 2 };
enum copse_algorithm : uint32_t { COPSE_ALGORITHM_BLAKE3 = 0, COPSE_ALGORITHM_SHA256 = 1 };
enum copse_metadata : uint32_t {
  COPSE_METADATA_MODE = 1,
  COPSE_METADATA_MTIME = 2,
  COPSE_METADATA_OWNER = 4,
  COPSE_METADATA_XATTR = 8,
};

// Keys of the options record of copse_runtime_open.
enum copse_option : uint16_t {
  COPSE_OPTION_WORKERS = 1,      // CPU workers
  COPSE_OPTION_IO_WORKERS = 2,   // I/O workers
  COPSE_OPTION_CONNECTIONS = 3,  // network transfers at once
  COPSE_OPTION_MEMORY = 4,       // bytes for buffers and unread pages
  COPSE_OPTION_IO = 5,           // enum copse_io
  COPSE_OPTION_BANDWIDTH = 6,    // bytes per second over all tasks
};
enum copse_io : uint32_t {
  COPSE_IO_AUTO = 0,
  COPSE_IO_BLOCKING = 1,
  COPSE_IO_THREADS = 2,
  COPSE_IO_URING = 3,
};

enum copse_event_kind : uint32_t {
  COPSE_EVENT_PAGE = 1,      // rows or bytes are ready
  COPSE_EVENT_PROGRESS = 2,  // at most one pending per task; the newest replaces the older
  COPSE_EVENT_ROOM = 3,      // a write task can take more pushed bytes
  COPSE_EVENT_DONE = 4,      // exactly one per task, always the last
};

enum copse_row_kind : uint8_t {
  COPSE_ROW_ENTRY = 1,
  COPSE_ROW_ONLY_LEFT = 2,
  COPSE_ROW_ONLY_RIGHT = 3,
  COPSE_ROW_DIFFERS = 4,
  COPSE_ROW_MOVED = 5,
  COPSE_ROW_ERROR = 6,
  COPSE_ROW_SAME_BY_RULE = 7,  // `reason` is the bits of enum copse_text that it took
  COPSE_ROW_MATCH = 8,         // scan: a directory fits pattern number `extra`
  COPSE_ROW_NEAR_MISS = 9,     // scan: it does not, by `left_size` pieces; the text says which
  COPSE_ROW_INTACT = 20,       // verify
  COPSE_ROW_CORRUPT = 21,      // verify: details CHUNK and SENTENCE
  COPSE_ROW_UNIQUE = 25,       // blocks: `left_size` bytes from `extra` on; the detail LEFT_HASH
  COPSE_ROW_DUPLICATE = 26,    // the same, and its content is that of the block at `right_size` in
                               // the file at the detail FROM
  COPSE_ROW_NAMES = 30,  // list without STAT: entries of the directory `path`, `extra` of them; the
                         // text has for each a digit, its enum copse_type, its name and a '\0'
  COPSE_ROW_SNAPSHOT = 31,  // snapshot, once, the last: `left_size` entries in `right_size` bytes
                            // of memory
  COPSE_ROW_COPIED = 10,    // sync: a file or link. The left side is what was copied, the right
                            // side, in a dry run, what it replaces
  COPSE_ROW_CREATED = 11,   // a directory
  COPSE_ROW_UPDATED = 12,   // only metadata
  COPSE_ROW_RENAMED = 13,
  COPSE_ROW_SKIPPED = 14,  // `reason` is an enum copse_skipped
  COPSE_ROW_DELETED = 15,
  COPSE_ROW_LINKED = 16,  // a further name of the file at the detail FROM
  COPSE_ROW_CONFLICT =
      27,  // two-way: two versions of one name. `reason` is an enum copse_conflict:
           // what became of it; of BOTH the detail AS is the other's new name
  // The last: details from COPSE_DETAIL_COPIED on; and one more from a pack, with those from
  // COPSE_DETAIL_PACK_FILES on.
  COPSE_ROW_SUMMARY = 19,
};

enum copse_skipped : uint16_t {
  COPSE_SKIPPED_EXISTS = 1,   // the right one stays, as `overwrite` says
  COPSE_SKIPPED_SPECIAL = 2,  // a pipe, socket or device
};

enum copse_type : uint8_t {
  COPSE_TYPE_NONE = 0,
  COPSE_TYPE_FILE = 1,
  COPSE_TYPE_DIRECTORY = 2,
  COPSE_TYPE_LINK = 3,
  COPSE_TYPE_OTHER = 4,
};

enum copse_reason : uint16_t {
  COPSE_REASON_NONE = 0,
  COPSE_REASON_TYPE = 1,
  COPSE_REASON_SIZE = 2,
  COPSE_REASON_CONTENT = 3,
  COPSE_REASON_TARGET = 4,
  COPSE_REASON_MODE = 5,
  COPSE_REASON_OWNER = 6,
  COPSE_REASON_MTIME = 7,
  COPSE_REASON_XATTR = 8,
};

// Keys of the record in a row's text, and of the record copse_task_error writes.
enum copse_detail : uint16_t {
  COPSE_DETAIL_LEFT_TARGET = 1,  // text: a link's target
  COPSE_DETAIL_RIGHT_TARGET = 2,
  COPSE_DETAIL_LEFT_MODE = 3,  // number: permission bits (07777)
  COPSE_DETAIL_RIGHT_MODE = 4,
  COPSE_DETAIL_LEFT_OWNER = 5,  // number: uid << 32 | gid
  COPSE_DETAIL_RIGHT_OWNER = 6,
  COPSE_DETAIL_LEFT_HASH = 7,  // text: 32 raw bytes, BLAKE3 or what a manifest has
  COPSE_DETAIL_RIGHT_HASH = 8,
  COPSE_DETAIL_FROM = 9,         // text: the left path of a moved file
  COPSE_DETAIL_CODE = 16,        // number: COPSE_E_*
  COPSE_DETAIL_ERRNO = 17,       // number
  COPSE_DETAIL_ERRNO_NAME = 18,  // text: "ENOENT"
  COPSE_DETAIL_STATUS = 19,      // number: HTTP status
  COPSE_DETAIL_CALL = 20,        // text: the system call or library call that failed
  COPSE_DETAIL_LOCATION = 21,    // text: the location as given, credentials removed
  COPSE_DETAIL_PATH = 22,        // text: path below it
  COPSE_DETAIL_SENTENCE = 23,    // text: what happened and what to do, for people
  COPSE_DETAIL_LINE = 72,        // number: of the left text, from 1: the first that differs
  // A near miss is a sequence: each piece that is missing, what was found of it, and for a
  // directory the nearest that has its name, with the pieces which that lacks up to the end.
  COPSE_DETAIL_MISSING = 32,  // number: 1 file, 2 directory, 3 forbidden | place in the node << 8
  COPSE_DETAIL_FOUND = 33,    // number: how many there are
  COPSE_DETAIL_NEAREST = 34,  // text: a name
  COPSE_DETAIL_NEAREST_END = 35,         // number: zero
  COPSE_DETAIL_CHUNK = 56,               // number: of the part of the content that is damaged
  COPSE_DETAIL_PACK_FILES = 57,          // number, as all up to 65: files in the pack
  COPSE_DETAIL_PACK_DIRECTORIES = 58,    // its root included
  COPSE_DETAIL_PACK_COMPRESSED = 59,     // files that went through the compressor
  COPSE_DETAIL_PACK_STORED = 60,         // files that were stored as they are
  COPSE_DETAIL_PACK_BYTES_IN = 61,       // of all files
  COPSE_DETAIL_PACK_BYTES_OUT = 62,      // of the pack
  COPSE_DETAIL_PACK_COMPRESSED_IN = 63,  // of the files that went through the compressor
  COPSE_DETAIL_PACK_STORED_IN = 64,
  COPSE_DETAIL_PACK_CHUNKS = 65,  // rows of its index
  COPSE_DETAIL_PACK_INDEX = 66,   // text: 32 raw bytes, BLAKE3, what a signature is made of
  COPSE_DETAIL_PACK_REUSED = 67,  // number: bytes of the pack that came from its seed as they were
  COPSE_DETAIL_PACK_REUSED_IN = 68,  // number: of content in them
  COPSE_DETAIL_PACK_NUMBERED = 70,   // number: files of a repaired pack that have lost their names
  COPSE_DETAIL_PACK_NUMBERED_IN = 71,  // text: the directory that they are in
  COPSE_DETAIL_PACK_LOST_KINDS = 73,   // number, 1: nothing said of what kind its files were
  COPSE_DETAIL_NAME = 80,     // text: in rows about a single file, the name that it has got
  COPSE_DETAIL_COPIED = 40,   // number, as all up to 55: files and links copied
  COPSE_DETAIL_CREATED = 41,  // directories made
  COPSE_DETAIL_UPDATED = 42,  // entries whose metadata was set
  COPSE_DETAIL_RENAMED = 43,
  COPSE_DETAIL_SKIPPED = 44,  // files and links that were left as they were
  COPSE_DETAIL_DELETED = 45,
  COPSE_DETAIL_KEPT = 46,      // entries that were not deleted though only the right side has them
  COPSE_DETAIL_MOVED = 47,     // bytes of copied files
  COPSE_DETAIL_SAVED = 48,     // bytes of them that were there already
  COPSE_DETAIL_RETRIES = 49,   // steps that were tried again
  COPSE_DETAIL_RESUMED = 50,   // bytes that an interrupted run had brought already
  COPSE_DETAIL_LINKED = 51,    // further names of files
  COPSE_DETAIL_VERIFIED = 52,  // files that were read again and are right
  COPSE_DETAIL_COPY_NS = 53,   // nanoseconds: listing, deciding and copying, which go on at once
  COPSE_DETAIL_MOVE_NS = 54,   // finding what moved, and renaming it
  COPSE_DETAIL_DELETE_NS = 55,
  COPSE_DETAIL_AS = 100,             // text: the path that the other version of a conflict has got
  COPSE_DETAIL_TWO_STATE = 101,      // number: enum copse_two | bits of enum copse_two_seen << 8
  COPSE_DETAIL_COLUMN = 102,         // text: a column's name; its value is the next field
  COPSE_DETAIL_COLUMN_TEXT = 103,    // text
  COPSE_DETAIL_COLUMN_NUMBER = 104,  // number
  COPSE_DETAIL_WAY_CLONE = 80,       // number: bytes that were shared (reflink)
  COPSE_DETAIL_WAY_COPY_RANGE = 81,  // bytes that copy_file_range moved
  COPSE_DETAIL_WAY_SENDFILE = 96,    // bytes that went from a file to a socket
  COPSE_DETAIL_WAY_SPLICE = 82,  // bytes that went through a pipe; the rest was read and written
};

// Keys of the record of copse_globs_open.
enum copse_globs_key : uint16_t {
  COPSE_GLOBS_KEY_KIND = 1,     // number: enum copse_globs_kind
  COPSE_GLOBS_KEY_NOCASE = 2,   // bool: upper and lower case are one
  COPSE_GLOBS_KEY_DOT = 3,      // bool, default true: wildcards match a '.' that begins a name
  COPSE_GLOBS_KEY_PATTERN = 4,  // text, repeated: their order is that of the answers' bits
};
enum copse_globs_kind : uint32_t { COPSE_GLOBS_PATHS = 0, COPSE_GLOBS_NAMES = 1 };
enum copse_globs_answer : uint32_t {
  COPSE_GLOBS_ANSWER_ANY = 0,   // a byte for each text: 1 when some glob matches
  COPSE_GLOBS_ANSWER_ALL = 1,   // a byte for each text: 1 when every glob matches
  COPSE_GLOBS_ANSWER_BITS = 2,  // a bit for each glob, in bytes up to a multiple of 8 above the
                                // count: 8 * (globs / 64 + 1) for each text
};

// Keys of the record of copse_shared_open.
enum copse_shared_key : uint16_t {
  COPSE_SHARED_KEY_KIND = 1,  // number: enum copse_shared_kind
  COPSE_SHARED_KEY_NAME = 2,  // text: 1 to 256 bytes
  COPSE_SHARED_KEY_SIZE = 3,  // number: permits (at least 1), or values that wait to be received
};
enum copse_shared_kind : uint32_t { COPSE_SHARED_SEMAPHORE = 0, COPSE_SHARED_CHANNEL = 1 };
enum copse_shared_call : uint32_t {
  COPSE_SHARED_CALL_TAKE = 0,     // `size` permits: 1 taken, 0 not now
  COPSE_SHARED_CALL_GIVE = 1,     // `size` permits of those taken through this id
  COPSE_SHARED_CALL_SEND = 2,     // the bytes, at most 1 MiB: 1 sent, 0 not now
  COPSE_SHARED_CALL_RECEIVE = 3,  // a value's size + 1, received when it fits; 0 none now; CLOSED
  COPSE_SHARED_CALL_END = 4,      // nothing can be sent any more
  COPSE_SHARED_CALL_COUNT = 5,    // free permits, or values that wait
};

constexpr uint64_t COPSE_UNKNOWN = UINT64_MAX;     // a size or an offset nobody knows
constexpr int64_t COPSE_UNKNOWN_TIME = INT64_MIN;  // a time nobody knows
constexpr uint64_t COPSE_MODE_KNOWN = 1 << 16;     // see copse_row.extra

// One row of a result page: one cache line, no pointers.
typedef struct copse_row {
  uint32_t path_at, path_len;      // from the start of the page: bytes as the store gave them
  uint8_t kind;                    // enum copse_row_kind
  uint8_t type;                    // enum copse_type: left's (or the entry's) in the low four bits,
                                   // right's in the high four
  uint16_t reason;                 // enum copse_reason
  int32_t code;                    // COPSE_E_*, zero unless kind is ERROR
  uint64_t left_size, right_size;  // an ENTRY row uses left
  int64_t left_mtime_ns, right_mtime_ns;
  uint32_t text_at, text_len;  // a record of enum copse_detail, from the start of the page
  uint64_t extra;              // DIFFERS: first differing offset or COPSE_UNKNOWN. ENTRY, ONLY_*:
                               // permission bits | COPSE_MODE_KNOWN, or zero
} copse_row;
static_assert(sizeof(copse_row) == 64);

typedef struct copse_event {
  uint32_t kind;
  int32_t code;        // DONE: 0 or COPSE_E_*
  copse_id task;       // whose event this is
  uint64_t page;       // PAGE: address of the first row (or byte), lent until copse_page_release or
                       // copse_page_keep. Zero: the rows lie behind this event
  uint64_t page_size;  // PAGE: bytes in the page: rows, a gap, then the text heap to the end
  uint32_t rows;     // PAGE: number of rows; zero for a page of raw bytes. ROOM: bytes welcome now
  uint32_t heap_at;  // PAGE of rows: where the text heap begins. DONE: bits of enum copse_done.
                     // PROGRESS: of enum copse_progress_said
  uint64_t files, bytes,
      total_bytes;  // PROGRESS and DONE: running totals (total COPSE_UNKNOWN: not
                    // known). A DONE has the number of ERROR rows in total_bytes
} copse_event;
static_assert(sizeof(copse_event) == 64);

enum copse_progress_said : uint32_t {
  COPSE_PROGRESS_SAID_GROWS = 1,  // total_bytes is what was found so far
};

enum copse_done : uint32_t {
  COPSE_DONE_INCOMPLETE = 1,  // something was not looked at: an error row, or stopAtFirst stopped
};

// Counters since the runtime was opened. started == done + failed + cancelled + running + queued.
typedef struct copse_stats {
  uint64_t started, done, failed, cancelled, running, queued;
  uint64_t steps, wakes, bytes_read, bytes_written, buffer_bytes, buffer_limit;
  uint32_t io_workers, cpu_workers, connections, backend;
} copse_stats;
static_assert(sizeof(copse_stats) == 112);

// Fills `layout` with sizeof and offsetof of every shared struct, in the order of abi.ts, and
// returns COPSE_ABI. lib/ compares both at load and refuses a library that does not match.
// Order: sizeof row, offsetof each row field as declared; the same for event, then for stats.
COPSE_API uint32_t copse_abi(uint32_t *layout, uint32_t capacity);
COPSE_API const char *copse_error_name(int32_t code);
// What was built and what it runs on, as JSON text: version, mode, wake, schemes, libraries with
// versions, kernel, cores, features. Writes at most `capacity` bytes, returns the full length.
COPSE_API int32_t copse_about(uint8_t *into, size_t capacity);

// Runtime
COPSE_API int32_t copse_runtime_open(const uint8_t *options, size_t options_len, copse_id *out);
COPSE_API int32_t copse_runtime_close(copse_id runtime);  // cancels, waits, frees
COPSE_API int32_t copse_runtime_fd(copse_id runtime);     // readable while a task has events
COPSE_API int32_t copse_runtime_stats(copse_id runtime, copse_stats *out);
// Takes up to `capacity` events of all tasks that are not waited, oldest first, one task's events
// in order. Rows of a small page may lie behind their event, and behind them their text, in as many
// elements as that takes: `page` is zero then, and nothing is to be released. Returns the number of
// elements. A full array means "call again": the wake flag stays raised until a call returns fewer.
COPSE_API int32_t copse_runtime_drain(copse_id runtime, copse_event *events, uint32_t capacity);
// Cancels every task started with this token: one call for one AbortSignal.
COPSE_API int32_t copse_runtime_cancel(copse_id runtime, uint32_t token);

// Task
// Starts one or several tasks. Requests lie back to back, each a u32 length and then that many
// bytes of record; `out` gets one id per request. A bad request is a task too: its DONE says
// ARGUMENT and copse_task_error tells why. Returns how many started; fewer than were given means
// that the runtime is full (65,536 tasks) or out of memory: BUSY or MEMORY when it was the first.
COPSE_API int32_t copse_task_start(copse_id runtime, const uint8_t *requests, size_t requests_len,
                                   copse_id *out, uint32_t capacity);
// Waited tasks only. Returns the number of events taken; 0 when the time is over.
COPSE_API int32_t copse_task_wait(copse_id task, copse_event *events, uint32_t capacity,
                                  uint32_t timeout_ms);
// Write tasks only. Copies the bytes; zero bytes end the file. BUSY: wait for ROOM and push again.
COPSE_API int32_t copse_task_push(copse_id task, const uint8_t *bytes, size_t len);
// Idempotent; DONE still arrives. 1: it comes too late, what the task makes is getting its name.
COPSE_API int32_t copse_task_cancel(copse_id task);
// After a DONE with a code: writes a record of enum copse_detail and returns its full length, which
// may exceed `capacity`.
COPSE_API int32_t copse_task_error(copse_id task, uint8_t *into, size_t capacity);
COPSE_API int32_t copse_task_close(copse_id task);  // cancels if still running, frees
COPSE_API int32_t copse_page_release(copse_id task, uint64_t page);
// The same, but the caller keeps the bytes, which may outlive the task and the runtime, until
// copse_page_free on any thread. Its second argument is for collectors that pass one.
COPSE_API int32_t copse_page_keep(copse_id task, uint64_t page);
COPSE_API void copse_page_free(void *page, void *unused);

// Globs: a set that answers at once, on the caller's thread. They are no tasks, because a question
// takes less time than handing it to a worker.
// After a failure `sentence` says why, for people, with a '\0' at its end.
COPSE_API int32_t copse_globs_open(const uint8_t *record, size_t record_len, copse_id *out,
                                   uint8_t *sentence, size_t sentence_capacity);
// `texts` are `count` texts with a '\0' between them. ARGUMENT when they are more or fewer, or when
// the answers do not fit.
COPSE_API int32_t copse_globs_match(copse_id globs, const uint8_t *texts, size_t texts_len,
                                    uint32_t count, uint32_t answer, uint8_t *into,
                                    size_t capacity);
COPSE_API int32_t copse_globs_close(copse_id globs);

// Semaphores and channels that all threads of the process have in common: one for each name. An id
// belongs to its thread; when it is closed, or its thread ends, what was taken through it goes
// back.
COPSE_API int32_t copse_shared_open(const uint8_t *record, size_t record_len, copse_id *out,
                                    uint8_t *sentence, size_t sentence_capacity);
// One step that does not wait, by enum copse_shared_call. Who has to wait starts a task.
COPSE_API int32_t copse_shared_call(copse_id shared, uint32_t call, uint8_t *bytes, size_t size);
COPSE_API int32_t copse_shared_close(copse_id shared);

#endif
