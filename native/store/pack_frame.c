#define ZSTD_STATIC_LINKING_ONLY
#define ZDICT_STATIC_LINKING_ONLY
#include "store/pack_frame.h"

#include <stdlib.h>
#include <zdict.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "store/pack_check.h"

constexpr uint32_t MAGIC = 0xD7B1A5C0, FORMAT = 25;
constexpr uint8_t BOTH_CHECKS = 3;
constexpr size_t STORE_MIN = 10;  // smaller inputs are stored
constexpr int WINDOW_LOG_MAX = 27;

static const uint8_t store_head[] = {1, 1};
static const uint8_t zstd_head[] = {2, 1, 0, 0x16, 0, 0, 0, 0};

// At level 3 a chunk of at most so many bytes is searched with one table instead of two: a fifth to
// a third less time for 0 to 4 % more bytes, and many files are no larger.
constexpr int QUICK_LEVEL = 3;
constexpr size_t QUICK_BYTES = 128 * 1024;
constexpr int QUICK_MATCH = 5;
// Tables of high levels are no larger than this (zstd takes 2^23 and 2^22 entries for a chunk of
// 4 MiB): half the memory, a tenth less time and 0.06 % more bytes at level 19.
constexpr unsigned CHAIN_LOG_MAX = 22, HASH_LOG_MAX = 21;
constexpr size_t TABLES_BYTES = 1 << 20;  // of smaller chunks they are smaller

// What zstd is told besides the level; zero: as the level says.
struct tuning {
  int strategy, match, chain_log, hash_log;
};

struct unpacker;

struct packer {
  ZSTD_CCtx *context;
  int level;
  bool is_fixed;  // a dictionary's tables are made for what the level says
  struct tuning tuning;
};

struct unpacker *unpacker_new(void) {
  ZSTD_DCtx *context = ZSTD_createDCtx();
  bool is_ready =
      context &&
      !ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_format, ZSTD_f_zstd1_magicless)) &&
      !ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, WINDOW_LOG_MAX));
  if (is_ready) return (struct unpacker *)context;
  ZSTD_freeDCtx(context);
  return nullptr;
}

void unpacker_free(struct unpacker *unpacker) { ZSTD_freeDCtx((ZSTD_DCtx *)unpacker); }

static bool set(ZSTD_CCtx *context, ZSTD_cParameter parameter, int value) {
  return !ZSTD_isError(ZSTD_CCtx_setParameter(context, parameter, value));
}

struct packer *packer_new(int level) {
  struct packer *packer = malloc(sizeof *packer);
  if (!packer) return nullptr;
  ZSTD_CCtx *context = ZSTD_createCCtx();
  *packer = (struct packer){.context = context, .level = level};
  bool is_ready = context && set(context, ZSTD_c_format, ZSTD_f_zstd1_magicless) &&
                  set(context, ZSTD_c_compressionLevel, level) &&
                  set(context, ZSTD_c_contentSizeFlag, 1) && set(context, ZSTD_c_checksumFlag, 0);
  if (is_ready) return packer;
  packer_free(packer);
  return nullptr;
}

bool unpacker_use(struct unpacker *unpacker, span dictionary) {
  return !ZSTD_isError(
      ZSTD_DCtx_loadDictionary((ZSTD_DCtx *)unpacker, dictionary.at, dictionary.size));
}

// Frames do not say its number: a pack has one, and others that read them have none.
bool packer_use(struct packer *packer, span dictionary) {
  ZSTD_CCtx *context = packer->context;
  packer->is_fixed = true;
  return set(context, ZSTD_c_dictIDFlag, 0) &&
         !ZSTD_isError(ZSTD_CCtx_loadDictionary(context, dictionary.at, dictionary.size));
}

size_t dictionary_train(uint8_t *into, size_t capacity, const uint8_t *samples, const size_t *sizes,
                        size_t count, int level) {
  // Chosen once: looking for the best takes a hundred times as long, for little.
  ZDICT_fastCover_params_t params = {
      .k = 1024, .d = 8, .f = 20, .accel = 5, .zParams = {.compressionLevel = level}};
  size_t size =
      ZDICT_trainFromBuffer_fastCover(into, capacity, samples, sizes, (unsigned)count, params);
  return ZDICT_isError(size) ? 0 : size;
}

bool dictionary_is(span bytes) {
  uint32_t magic;
  if (bytes.size < sizeof magic) return false;
  memcpy(&magic, bytes.at, sizeof magic);
  return magic == ZSTD_MAGIC_DICTIONARY;
}

void packer_free(struct packer *packer) {
  if (packer) ZSTD_freeCCtx(packer->context);
  free(packer);
}

const char *frame_version(void) { return ZSTD_versionString(); }

int32_t frame_room(uint8_t **at, size_t *capacity, uint64_t size, struct fault *fault) {
  if (size <= *capacity) return 0;
  free(*at);
  *capacity = 0;
  *at = malloc((size_t)size);
  if (!*at) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  *capacity = (size_t)size;
  return 0;
}

// ── Reading ──

static int32_t corrupt(struct fault *fault, const char *what) {
  return fault_set(fault, COPSE_E_CORRUPT, "damaged: %s", what);
}

static int32_t unsupported(struct fault *fault) {
  return fault_set(fault, COPSE_E_UNSUPPORTED,
                   "a frame of an OpenZL graph that is not read: only STORE and ZSTD are");
}

static uint32_t load32(const uint8_t *at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

// False: it is too long, or not all there.
static bool take_varint(span *rest, uint64_t *out) {
  *out = 0;
  for (unsigned shift = 0; shift < 64 && rest->size; shift += 7) {
    uint8_t byte = *rest->at;
    *rest = (span){rest->at + 1, rest->size - 1};
    if (shift == 63 && byte > 1) return false;
    *out |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return true;
  }
  return false;
}

// Goes to the first chunk.
static int32_t read_head(span frame, span *chunks, uint64_t *size, struct fault *fault) {
  if (frame.size < 7) return corrupt(fault, "a frame is too short");
  if (load32(frame.at) != MAGIC + FORMAT) {
    uint32_t format = load32(frame.at) - MAGIC;
    if (format >= 8 && format < 64)
      return fault_set(fault, COPSE_E_UNSUPPORTED, "a frame of OpenZL's format %u: only %u is read",
                       format, FORMAT);
    return corrupt(fault, "a frame does not begin as frames do");
  }
  span rest = {frame.at + 6, frame.size - 6};
  uint64_t said;
  if (!take_varint(&rest, &said) || said == 0 || rest.size < 1)
    return corrupt(fault, "a frame does not say its size");
  size_t head = (size_t)(rest.at - frame.at);
  if ((pack_check((span){frame.at, head}) & 255) != *rest.at)
    return corrupt(fault, "the check of a frame's head fails");
  if (frame.at[4] != BOTH_CHECKS || frame.at[5] != 1)
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "a frame with other flags or inputs than packs have: not read");
  *size = said - 1;
  *chunks = (span){rest.at + 1, rest.size - 1};
  return 0;
}

int32_t frame_size(span frame, uint64_t *size, struct fault *fault) {
  span chunks;
  return read_head(frame, &chunks, size, fault);
}

static bool begins_with(span rest, const uint8_t *head, size_t size) {
  return rest.size >= size && memcmp(rest.at, head, size) == 0;
}

int32_t frame_length(span bytes, uint64_t *length, struct fault *fault) {
  span rest;
  uint64_t size, packed;
  int32_t code = read_head(bytes, &rest, &size, fault);
  if (code < 0) return code;
  while (rest.size && *rest.at != 0) {
    bool is_stored = begins_with(rest, store_head, sizeof store_head);
    if (!is_stored && !begins_with(rest, zstd_head, sizeof zstd_head)) return unsupported(fault);
    size_t head = is_stored ? sizeof store_head : sizeof zstd_head;
    rest = (span){rest.at + head, rest.size - head};
    if (!take_varint(&rest, &packed) || rest.size < 8 || packed > rest.size - 8)
      return corrupt(fault, "a frame says that it is longer than it is");
    rest = (span){rest.at + packed + 8, rest.size - (size_t)packed - 8};
  }
  if (rest.size == 0) return corrupt(fault, "a frame has no end");
  *length = (uint64_t)(rest.at + 1 - bytes.at);
  return 0;
}

// One chunk into what is left of the output.
static int32_t read_chunk(struct unpacker *unpacker, span *rest, uint8_t *into, uint64_t left,
                          uint64_t *given, struct fault *fault) {
  const uint8_t *begin = rest->at;
  bool is_stored = begins_with(*rest, store_head, sizeof store_head);
  if (!is_stored && !begins_with(*rest, zstd_head, sizeof zstd_head)) return unsupported(fault);
  size_t head = is_stored ? sizeof store_head : sizeof zstd_head;
  *rest = (span){rest->at + head, rest->size - head};
  uint64_t packed;
  if (!take_varint(rest, &packed) || packed > rest->size)
    return corrupt(fault, "a frame says that it is longer than it is");
  if (is_stored) {
    if (packed > left) return corrupt(fault, "a frame holds more than it says");
    if (packed) memcpy(into, rest->at, (size_t)packed);
    *given = packed;
  } else {
    if (packed < 2 || *rest->at != 1) return unsupported(fault);
    const uint8_t *at = rest->at + 1;
    size_t size = (size_t)packed - 1;
    ZSTD_frameHeader header;
    if (ZSTD_getFrameHeader_advanced(&header, at, size, ZSTD_f_zstd1_magicless) != 0)
      return corrupt(fault, "a zstd frame does not begin as such frames do");
    if (header.frameContentSize == ZSTD_CONTENTSIZE_UNKNOWN)
      return fault_set(fault, COPSE_E_UNSUPPORTED, "a zstd frame that does not say its size");
    if (header.dictID != 0)
      return fault_set(fault, COPSE_E_UNSUPPORTED, "a zstd frame that needs a dictionary");
    if (header.frameContentSize > left) return corrupt(fault, "a frame holds more than it says");
    size_t got = ZSTD_decompressDCtx((ZSTD_DCtx *)unpacker, into, (size_t)left, at, size);
    if (ZSTD_isError(got) || got != header.frameContentSize)
      return corrupt(fault, "what it holds cannot be decompressed");
    *given = got;
  }
  const uint8_t *checks = rest->at + packed;
  *rest = (span){checks, rest->size - (size_t)packed};
  if (rest->size < 8) return corrupt(fault, "a frame ends before its checks");
  if ((uint32_t)pack_check((span){into, (size_t)*given}) != load32(checks))
    return corrupt(fault, "the check of its content fails");
  if ((uint32_t)pack_check((span){begin, (size_t)(checks + 4 - begin)}) != load32(checks + 4))
    return corrupt(fault, "the check of its compressed bytes fails");
  *rest = (span){checks + 8, rest->size - 8};
  return 0;
}

int32_t frame_read(struct unpacker *unpacker, span frame, uint8_t *into, uint64_t size,
                   struct fault *fault) {
  span rest;
  uint64_t said, filled = 0;
  int32_t code = read_head(frame, &rest, &said, fault);
  if (code < 0) return code;
  if (said != size) return corrupt(fault, "a frame and the index say different sizes");
  while (rest.size && *rest.at != 0) {
    uint64_t given = 0;
    code = read_chunk(unpacker, &rest, into + filled, size - filled, &given, fault);
    if (code < 0) return code;
    filled += given;
  }
  if (rest.size != 1) return corrupt(fault, "a frame does not end where its blob does");
  if (filled != size) return corrupt(fault, "a frame holds less than it says");
  return 0;
}

int32_t frame_open(struct unpacker *unpacker, span frame, uint64_t most, uint8_t **out,
                   uint64_t *size, struct fault *fault) {
  *out = nullptr;
  int32_t code = frame_size(frame, size, fault);
  if (code < 0) return code;
  if (*size > most || *size / EXPANSION_MAX > frame.size)
    return corrupt(fault, "a frame says more bytes than it can hold");
  uint8_t *plain = malloc((size_t)*size + 1);
  if (!plain) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  code = frame_read(unpacker, frame, plain, *size, fault);
  if (code == 0)
    *out = plain;
  else
    free(plain);
  return code;
}

// ── Writing ──

static size_t put_varint(uint8_t *at, uint64_t value) {
  size_t size = 0;
  for (; value >= 0x80; value >>= 7) at[size++] = (uint8_t)(value | 0x80);
  at[size++] = (uint8_t)value;
  return size;
}

static void put32(uint8_t *at, uint64_t value) {
  uint32_t low = (uint32_t)value;
  memcpy(at, &low, sizeof low);
}

size_t frame_bound(size_t size) { return ZSTD_compressBound(size) + 64; }

bool packer_gains(struct packer *quick, span bytes, uint8_t *into, size_t capacity) {
  // The beginning alone may be a header of a file that does not pack, or the other way round.
  const size_t places[] = {0, (bytes.size - SAMPLE_BYTES) / 2};
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    size_t packed =
        ZSTD_compress2(quick->context, into, capacity, bytes.at + places[i], SAMPLE_BYTES);
    if (ZSTD_isError(packed) || packed < SAMPLE_BYTES - SAMPLE_BYTES / 64) return true;
  }
  return false;
}

static struct tuning tuning_of(const struct packer *packer, size_t size) {
  struct tuning tuning = {};
  if (packer->is_fixed) return tuning;
  if (packer->level == QUICK_LEVEL && size <= QUICK_BYTES)
    tuning = (struct tuning){.strategy = ZSTD_fast, .match = QUICK_MATCH};
  if (size > TABLES_BYTES) {
    ZSTD_compressionParameters own = ZSTD_getCParams(packer->level, size, 0);
    if (own.chainLog > CHAIN_LOG_MAX) tuning.chain_log = CHAIN_LOG_MAX;
    if (own.hashLog > HASH_LOG_MAX) tuning.hash_log = HASH_LOG_MAX;
  }
  return tuning;
}

static bool tune(struct packer *packer, const struct tuning *to) {
  if (memcmp(&packer->tuning, to, sizeof *to) == 0) return true;
  packer->tuning = *to;
  return set(packer->context, ZSTD_c_strategy, to->strategy) &&
         set(packer->context, ZSTD_c_minMatch, to->match) &&
         set(packer->context, ZSTD_c_chainLog, to->chain_log) &&
         set(packer->context, ZSTD_c_hashLog, to->hash_log);
}

int64_t frame_write(struct packer *packer, span bytes, bool compress, uint8_t *into,
                    size_t capacity, struct fault *fault) {
  if (capacity < frame_bound(bytes.size))
    return fault_set(fault, COPSE_E_INTERNAL, "no room for a frame");
  put32(into, MAGIC + FORMAT);
  into[4] = BOTH_CHECKS;
  into[5] = 1;
  size_t at = 6 + put_varint(into + 6, (uint64_t)bytes.size + 1);
  into[at] = (uint8_t)pack_check((span){into, at});
  at++;
  size_t chunk = at, packed = bytes.size;
  if (compress && bytes.size >= STORE_MIN) {
    // Its length stands before it: room for the longest, and then it is moved to where it belongs.
    size_t from = at + sizeof zstd_head + 10;
    const struct tuning tuning = tuning_of(packer, bytes.size);
    if (!tune(packer, &tuning))
      return fault_set(fault, COPSE_E_INTERNAL, "zstd does not take its parameters");
    packed =
        ZSTD_compress2(packer->context, into + from, capacity - from - 9, bytes.at, bytes.size);
    if (ZSTD_isError(packed))
      return fault_set(fault,
                       ZSTD_getErrorCode(packed) == ZSTD_error_memory_allocation ? COPSE_E_MEMORY
                                                                                 : COPSE_E_INTERNAL,
                       "zstd: %s", ZSTD_getErrorName(packed));
    if (packed < bytes.size) {
      memcpy(into + at, zstd_head, sizeof zstd_head);
      at += sizeof zstd_head;
      at += put_varint(into + at, (uint64_t)packed + 1);
      into[at++] = 1;
      memmove(into + at, into + from, packed);
      at += packed;
    }
  }
  if (at == chunk) {
    memcpy(into + at, store_head, sizeof store_head);
    at += sizeof store_head;
    at += put_varint(into + at, bytes.size);
    if (bytes.size) memcpy(into + at, bytes.at, bytes.size);
    at += bytes.size;
  }
  put32(into + at, pack_check((span){bytes.at ? bytes.at : into, bytes.size}));
  at += 4;
  put32(into + at, pack_check((span){into + chunk, at - chunk}));
  at += 4;
  into[at++] = 0;
  return (int64_t)at;
}
