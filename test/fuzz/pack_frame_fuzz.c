// A blob that is a frame. Whatever comes, no more is written than the frame's size says; and what
// is made a frame here comes out as it went in. The check of the head is made right first, so that
// what lies behind it is reached.
#include <assert.h>
#include <stdlib.h>
#include <xxhash.h>

#include "store/pack_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

constexpr uint64_t LONGEST = 1 << 20;

static void read_frame(span frame) {
  struct fault fault = {};
  uint64_t said = 0;
  int32_t code = frame_size(frame, &said, &fault);
  assert(code == 0 || fault.code == code);
  if (code < 0 || said > LONGEST) return;
  struct unpacker *unpacker = unpacker_new();
  uint8_t *into = malloc(said ? (size_t)said : 1);
  if (unpacker && into) {
    code = frame_read(unpacker, frame, into, said, &fault);
    assert(code == 0 || fault.code == code);
  }
  free(into);
  if (unpacker) unpacker_free(unpacker);
}

static void mend_head(uint8_t *frame, size_t size) {
  size_t at = 6;
  while (at < size && at < 16 && frame[at] & 0x80) at++;
  at++;
  if (at < size) frame[at] = (uint8_t)XXH3_64bits(frame, at);
}

static void there_and_back(span bytes, int level, bool compress) {
  struct packer *packer = packer_new(level);
  struct unpacker *unpacker = unpacker_new();
  size_t room = frame_bound(bytes.size);
  uint8_t *frame = malloc(room), *into = malloc(bytes.size + 1);
  if (packer && unpacker && frame && into) {
    struct fault fault = {};
    int64_t size = frame_write(packer, bytes, compress, frame, room, &fault);
    assert(size > 0 && (size_t)size <= room);
    assert(frame_read(unpacker, (span){frame, (size_t)size}, into, bytes.size, &fault) == 0);
    assert(bytes.size == 0 || memcmp(into, bytes.at, bytes.size) == 0);
  }
  free(frame);
  free(into);
  if (packer) packer_free(packer);
  if (unpacker) unpacker_free(unpacker);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  uint8_t *copy = malloc(size ? size : 1);
  if (!copy) return 0;
  if (size) memcpy(copy, bytes, size);
  span frame = {copy, size};
  read_frame(frame);
  mend_head(copy, size);
  read_frame(frame);
  if (size > 1) there_and_back((span){copy + 1, size - 1}, 1 + copy[0] % 5, copy[0] & 128);
  free(copy);
  return 0;
}
