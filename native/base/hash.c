// hash: see hash.h. The only file that knows the headers of BLAKE3 and of a SHA-256.
#include "base/hash.h"

#include <blake3.h>
#include <blake3_impl.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <string.h>

static_assert(sizeof(blake3_hasher) <= sizeof(struct hash));
static_assert(alignof(blake3_hasher) <= alignof(struct hash));
static_assert(HASH_BYTES == BLAKE3_OUT_LEN);

// BLAKE3 looks for the processor's features when it is first used and writes what it finds into a
// plain variable. The first user does that alone; the others wait for the moment it takes.
static void find_features(void) {
  enum { NOBODY, SOMEBODY, DONE };
  static _Atomic int state = NOBODY;
  if (atomic_load_explicit(&state, memory_order_acquire) == DONE) return;
  int expected = NOBODY;
  if (atomic_compare_exchange_strong(&state, &expected, SOMEBODY)) {
    blake3_hasher hasher;
    uint8_t digest[HASH_BYTES];
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, "", 1);
    blake3_hasher_finalize(&hasher, digest, HASH_BYTES);
    atomic_store_explicit(&state, DONE, memory_order_release);
  }
  while (atomic_load_explicit(&state, memory_order_acquire) != DONE) {
  }
}

void hash_begin(struct hash *hash) {
  find_features();
  blake3_hasher_init((blake3_hasher *)(void *)hash->state);
}

void hash_add(struct hash *hash, const uint8_t *bytes, size_t size) {
  if (size) blake3_hasher_update((blake3_hasher *)(void *)hash->state, bytes, size);
}

void hash_end(const struct hash *hash, uint8_t out[HASH_BYTES]) {
  blake3_hasher_finalize((const blake3_hasher *)(const void *)hash->state, out, HASH_BYTES);
}

void hash_of(span bytes, uint8_t out[HASH_BYTES]) {
  struct hash hash;
  hash_begin(&hash);
  hash_add(&hash, bytes.at, bytes.size);
  hash_end(&hash, out);
}

// ── Side by side ──

constexpr size_t SMALL_CHUNKS = HASH_SMALL / BLAKE3_CHUNK_LEN;
constexpr size_t CHUNK_BLOCKS = BLAKE3_CHUNK_LEN / BLAKE3_BLOCK_LEN;
// BLAKE3 reads two and four lanes by vectors that reach that far behind one of them, where in its
// own use the next lane begins. So here something of the span follows each lane.
constexpr size_t READS_ON = 48;

// One of the spans: the values of its chunks, and of what they become pair by pair, up to its root.
struct small {
  const uint8_t *at;
  size_t size, chunks, left;
  uint8_t values[SMALL_CHUNKS + 2][HASH_BYTES];  // READS_ON more than there are
};

// What one call of BLAKE3 does at once: as many blocks from each place, of one kind.
struct lanes {
  const uint8_t *in[HASH_TOGETHER];
  uint8_t *out[HASH_TOGETHER];
  size_t count, blocks;
  uint64_t chunk;
  uint8_t flags, first, last;  // of all blocks, and beside those of the first and the last
};

static void lanes_end(struct lanes *lanes) {
  uint8_t made[HASH_TOGETHER * HASH_BYTES];
  if (lanes->count == 0) return;
  blake3_hash_many(lanes->in, lanes->count, lanes->blocks, IV, lanes->chunk, false, lanes->flags,
                   lanes->first, lanes->last, made);
  for (size_t i = 0; i < lanes->count; i++)
    memcpy(lanes->out[i], made + i * HASH_BYTES, HASH_BYTES);
  lanes->count = 0;
}

static void lanes_add(struct lanes *lanes, const uint8_t *in, uint8_t *out) {
  if (lanes->count == HASH_TOGETHER) lanes_end(lanes);
  lanes->in[lanes->count] = in;
  lanes->out[lanes->count++] = out;
}

// Those that more of the span follows.
static void whole_chunks(struct small *all, size_t count) {
  struct lanes lanes = {.blocks = CHUNK_BLOCKS, .first = CHUNK_START, .last = CHUNK_END};
  for (; lanes.chunk < SMALL_CHUNKS - 1; lanes.chunk++) {
    size_t begin = lanes.chunk * BLAKE3_CHUNK_LEN, end = begin + BLAKE3_CHUNK_LEN;
    for (size_t i = 0; i < count; i++) {
      struct small *small = &all[i];
      if (small->size <= end) continue;
      const uint8_t *in = small->at + begin;
      if (small->size - end >= READS_ON)
        lanes_add(&lanes, in, small->values[lanes.chunk]);
      else
        blake3_hash_many(&in, 1, CHUNK_BLOCKS, IV, lanes.chunk, false, 0, CHUNK_START, CHUNK_END,
                         small->values[lanes.chunk]);
    }
    lanes_end(&lanes);
  }
}

// What is left behind so many blocks of the last chunk: one block or two.
static void last_blocks(struct small *small, size_t blocks) {
  size_t chunk = small->chunks - 1;
  size_t at = chunk * BLAKE3_CHUNK_LEN + blocks * BLAKE3_BLOCK_LEN;
  uint8_t start = blocks ? 0 : CHUNK_START;
  uint32_t words[8];
  if (blocks > 0)
    load_key_words(small->values[chunk], words);
  else
    memcpy(words, IV, sizeof words);
  for (; small->size - at > BLAKE3_BLOCK_LEN; at += BLAKE3_BLOCK_LEN, start = 0)
    blake3_compress_in_place(words, small->at + at, BLAKE3_BLOCK_LEN, chunk, start);
  uint8_t block[BLAKE3_BLOCK_LEN] = {}, flags = start | CHUNK_END;
  if (chunk == 0) flags |= ROOT;
  memcpy(block, small->at + at, small->size - at);
  blake3_compress_in_place(words, block, (uint8_t)(small->size - at), chunk, flags);
  store_cv_words(small->values[chunk], words);
}

// The chunk that a span ends with is seldom whole, nor is its last block. What comes before is done
// together with spans that have as many chunks, and blocks in the last one.
static void last_chunks(struct small *all, size_t count) {
  constexpr uint8_t NOBODY = UINT8_MAX;
  uint8_t heads[SMALL_CHUNKS * CHUNK_BLOCKS], next[HASH_TOGETHER];
  memset(heads, NOBODY, sizeof heads);
  for (size_t i = 0; i < count; i++) {
    size_t rest = all[i].size - (all[i].chunks - 1) * BLAKE3_CHUNK_LEN;
    size_t kind = (all[i].chunks - 1) * CHUNK_BLOCKS;
    if (rest > READS_ON) kind += (rest - READS_ON) / BLAKE3_BLOCK_LEN;
    next[i] = heads[kind];
    heads[kind] = (uint8_t)i;
  }
  for (size_t kind = 0; kind < sizeof heads; kind++) {
    struct lanes lanes = {
        .blocks = kind % CHUNK_BLOCKS, .chunk = kind / CHUNK_BLOCKS, .first = CHUNK_START};
    const size_t begin = lanes.chunk * BLAKE3_CHUNK_LEN;
    for (size_t i = heads[kind]; i != NOBODY && lanes.blocks > 0; i = next[i])
      lanes_add(&lanes, all[i].at + begin, all[i].values[lanes.chunk]);
    lanes_end(&lanes);
    for (size_t i = heads[kind]; i != NOBODY; i = next[i]) last_blocks(&all[i], lanes.blocks);
  }
}

// What two values become lies where the first of an earlier pair was, which has been read by then;
// one without a neighbour goes up as it is.
static bool pair_up(struct small *all, size_t count, bool is_root) {
  struct lanes lanes = {.blocks = 1, .flags = PARENT};
  if (is_root) lanes.flags |= ROOT;
  bool goes_on = false;
  for (size_t i = 0; i < count; i++)
    if (all[i].left > 1 && (all[i].left == 2) == is_root)
      for (size_t k = 0; k + 1 < all[i].left; k += 2)
        lanes_add(&lanes, all[i].values[k], all[i].values[k / 2]);
  lanes_end(&lanes);
  for (size_t i = 0; i < count; i++) {
    struct small *small = &all[i];
    if (small->left < 2 || (small->left == 2) != is_root) continue;
    if (small->left % 2)
      memcpy(small->values[small->left / 2], small->values[small->left - 1], HASH_BYTES);
    small->left = (small->left + 1) / 2;
    goes_on = true;
  }
  return goes_on;
}

void hash_each(const span *spans, size_t count, uint8_t (*out)[HASH_BYTES]) {
  struct small all[HASH_TOGETHER];
  uint8_t whose[HASH_TOGETHER];
  size_t smalls = 0;
  find_features();
  for (size_t i = 0; i < count; i++) {
    if (spans[i].size > HASH_SMALL) {
      hash_of(spans[i], out[i]);
      continue;
    }
    size_t chunks = (spans[i].size + BLAKE3_CHUNK_LEN - 1) / BLAKE3_CHUNK_LEN;
    whose[smalls] = (uint8_t)i;
    struct small *small = &all[smalls++];
    small->at = spans[i].size ? spans[i].at : (const uint8_t *)"";
    small->size = spans[i].size;
    small->left = small->chunks = chunks ? chunks : 1;
  }
  whole_chunks(all, smalls);
  last_chunks(all, smalls);
  while (pair_up(all, smalls, false)) {
  }
  (void)pair_up(all, smalls, true);
  for (size_t i = 0; i < smalls; i++) memcpy(out[whose[i]], all[i].values[0], HASH_BYTES);
}

const char *hash_version(void) { return blake3_version(); }

bool digest_begin(struct digest *digest, uint32_t algorithm) {
  digest->algorithm = algorithm;
  digest->sha256 = nullptr;
  if (algorithm != COPSE_ALGORITHM_SHA256) {
    hash_begin(&digest->blake3);
    return true;
  }
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  if (context && EVP_DigestInit_ex(context, EVP_sha256(), nullptr) == 1) {
    digest->sha256 = context;
    return true;
  }
  EVP_MD_CTX_free(context);
  return false;
}

bool digest_add(struct digest *digest, const uint8_t *bytes, size_t size) {
  if (digest->sha256) return EVP_DigestUpdate(digest->sha256, bytes, size) == 1;
  hash_add(&digest->blake3, bytes, size);
  return true;
}

bool digest_end(struct digest *digest, uint8_t out[HASH_BYTES]) {
  bool done = true;
  if (!digest->sha256 && out) hash_end(&digest->blake3, out);
  if (digest->sha256 && out) done = EVP_DigestFinal_ex(digest->sha256, out, nullptr) == 1;
  EVP_MD_CTX_free(digest->sha256);
  digest->sha256 = nullptr;
  return done;
}
