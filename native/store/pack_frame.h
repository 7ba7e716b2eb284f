// pack_frame: a blob that is a frame (OpenZL's format 25 in the two shapes that packs have), and
// its checks. zstd is known only here.
#pragma once
#include "base/fault.h"
#include "base/span.h"

struct unpacker;  // zstd's context; one thread at a time
struct packer;

[[nodiscard]] struct unpacker *unpacker_new(void);  // nullptr: out of memory
void unpacker_free(struct unpacker *unpacker);
// From now on frames may be told by what the dictionary holds, which is copied. False: out of
// memory.
[[nodiscard]] bool unpacker_use(struct unpacker *unpacker, span dictionary);
// The size of what is in the frame, from its head alone.
int32_t frame_size(span frame, uint64_t *size, struct fault *fault);
// How many of the bytes the frame takes up that they begin with, without looking into it.
int32_t frame_length(span bytes, uint64_t *length, struct fault *fault);
// All of the frame into `size` bytes. Every check is looked at, and the frame must end where the
// blob does.
int32_t frame_read(struct unpacker *unpacker, span frame, uint8_t *into, uint64_t size,
                   struct fault *fault);
// zstd makes at most 128 KiB out of the 4 bytes of a repeated block. What claims more is no pack,
// and no memory is taken for it.
constexpr uint64_t EXPANSION_MAX = 32768;
// The same into memory of its own, from malloc, with room for a byte more. CORRUPT: it says more
// bytes than `most`, too.
int32_t frame_open(struct unpacker *unpacker, span frame, uint64_t most, uint8_t **out,
                   uint64_t *size, struct fault *fault);

// A buffer of at least `size` bytes; what was in it is lost.
int32_t frame_room(uint8_t **at, size_t *capacity, uint64_t size, struct fault *fault);

[[nodiscard]] struct packer *packer_new(int level);  // level 1 to 22; nullptr: out of memory
void packer_free(struct packer *packer);
[[nodiscard]] bool packer_use(struct packer *packer, span dictionary);
// Makes a dictionary of samples that lie back to back. Its size; 0: none comes of them.
size_t dictionary_train(uint8_t *into, size_t capacity, const uint8_t *samples, const size_t *sizes,
                        size_t count, int level);
bool dictionary_is(span bytes);  // whether they begin as one does
// Whether compressing a chunk of SAMPLE_BYTES or more is worth the time, from two samples of it at
// zstd's level 1. `into` has room for the frame of a chunk as long.
constexpr size_t SAMPLE_BYTES = 64 * 1024;
bool packer_gains(struct packer *quick, span bytes, uint8_t *into, size_t capacity);
// The most that frame_write may need for `size` bytes.
size_t frame_bound(size_t size);
// Writes a frame; `compress` false: stored, not compressed. Bytes written, or negative.
int64_t frame_write(struct packer *packer, span bytes, bool compress, uint8_t *into,
                    size_t capacity, struct fault *fault);
const char *frame_version(void);  // of zstd: "1.5.4"
