// chunker: cuts content into blocks where the content itself says so. Equal stretches of two files
// give equal blocks, wherever they lie, and an inserted byte moves no cut but those beside it.
//
// The rule (docs/formats.md has it for other programs): every byte has the gear hash of itself and
// the 63 before it. A block ends at a byte whose hash is the highest within `reach` bytes on both
// sides, so that two such ends are always more than `reach` apart and no cut depends on the one
// before it. Only where none comes for `longest` bytes is a block cut at its own highest hash.
#pragma once
#include <stddef.h>
#include <stdint.h>

constexpr uint32_t CHUNK_SIZE_MIN = 1024, CHUNK_SIZE_MAX = 4 << 20;
constexpr uint32_t CHUNK_SIZE_DEFAULT = 64 * 1024;
constexpr uint32_t CHUNK_PEAKS = 64;  // see chunker.c

struct chunk_peak {
  uint64_t at, hash;
};

struct chunker {
  uint64_t gear[256];
  uint64_t threshold;       // lower hashes are never the highest within reach
  uint64_t start;           // of the block, from the beginning of the content
  uint64_t seen;            // so many bytes of the content have been hashed
  uint64_t hash;            // of the last of them
  uint32_t reach, longest;  // half of and four times the size that was asked for
  uint32_t peak_count;      // the highest hashes within reach of `seen`, falling
  bool has_candidate;       // `candidate` ends a block unless a higher hash comes within reach
  struct chunk_peak candidate;
  struct chunk_peak peaks[CHUNK_PEAKS];
};

// `size`: what blocks have on average, CHUNK_SIZE_MIN to CHUNK_SIZE_MAX.
void chunker_begin(struct chunker *chunker, uint32_t size);
// So many bytes from the beginning of a block always settle its end.
static inline size_t chunker_need(const struct chunker *chunker) {
  return (size_t)chunker->longest + chunker->reach;
}
// `bytes`: the content from the beginning of the current block on, as far as it is there; `at_end`:
// nothing follows. The size of the block, which ends it; 0: more bytes are needed. The sizes are
// the same however the content is handed over.
[[nodiscard]] size_t chunker_next(struct chunker *chunker, const uint8_t *bytes, size_t size,
                                  bool at_end);
