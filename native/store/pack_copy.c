#include "store/pack_copy.h"

#include <stdlib.h>

#include "store/pack_arrow.h"
#include "store/pack_frame.h"
#include "store/pack_index.h"

const uint8_t copy_magic[16] = {'C', 'O', 'P', 'S', 'E', '-', 'I', 'N',
                                'D', 'E', 'X', '-', 'C', 'O', 'P', 'Y'};
// An index that is larger is not written: it is cut into more copies.
constexpr uint64_t PLAIN_MAX = UINT64_C(1) << 31;

static int32_t corrupt(struct fault *fault, const char *what) {
  return fault_set(fault, COPSE_E_CORRUPT, "a copy of the index is damaged: %s", what);
}

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

static void put_head(uint8_t *at, const struct copy_head *head) {
  uint32_t is_last = head->is_last;
  memcpy(at, copy_magic, sizeof copy_magic);
  memcpy(at + 16, &head->at, 8);
  memcpy(at + 24, &head->size, 8);
  memcpy(at + 32, &head->from, 8);
  memcpy(at + 40, &head->records, 4);
  memcpy(at + 44, &is_last, 4);
}

int32_t copy_write(struct arrow_out *out, struct copy_head *head, struct packer *packer,
                   const struct table *rows, const struct arrow_pair *metadata, size_t pairs,
                   span records, struct fault *fault) {
  struct arrow_out plain = {};
  table_write(&plain, rows, metadata, pairs);
  arrow_put(&plain, records.at, records.size);
  size_t begin = out->size, room = plain.failed ? 0 : frame_bound(plain.size);
  uint8_t *frame = malloc(room ? room : 1);
  int64_t size = -1;
  if (room && frame)
    size = frame_write(packer, (span){plain.at, plain.size}, true, frame, room, fault);
  else
    size = no_memory(fault);
  arrow_out_free(&plain);
  if (size > 0) {
    static const uint8_t nothing[COPY_HEAD] = {};
    head->size = COPY_LEAST + (uint64_t)size;
    arrow_put(out, nothing, COPY_HEAD);
    arrow_put(out, frame, (size_t)size);
    if (!out->failed) put_head(out->at + begin, head);
    uint8_t digest[HASH_BYTES];
    if (!out->failed) hash_of((span){out->at + begin, out->size - begin}, digest);
    arrow_put(out, digest, HASH_BYTES);
    if (out->failed) size = no_memory(fault);
  }
  free(frame);
  return size < 0 ? (int32_t)size : 0;
}

bool copy_begins(span bytes, uint64_t at, struct copy_head *out) {
  if (bytes.size < COPY_HEAD || memcmp(bytes.at, copy_magic, sizeof copy_magic) != 0) return false;
  uint32_t is_last;
  memcpy(&out->at, bytes.at + 16, 8);
  memcpy(&out->size, bytes.at + 24, 8);
  memcpy(&out->from, bytes.at + 32, 8);
  memcpy(&out->records, bytes.at + 40, 4);
  memcpy(&is_last, bytes.at + 44, 4);
  out->is_last = is_last != 0;
  return out->at == at && out->from <= at && out->size > COPY_LEAST && is_last <= 1;
}

int32_t copy_check(span bytes, const struct copy_head *head, struct fault *fault) {
  struct copy_head found;
  if (!copy_begins(bytes, head->at, &found) || found.size != bytes.size)
    return corrupt(fault, "it does not begin as it should");
  uint8_t digest[HASH_BYTES];
  hash_of((span){bytes.at, bytes.size - HASH_BYTES}, digest);
  if (memcmp(digest, bytes.at + bytes.size - HASH_BYTES, HASH_BYTES) != 0)
    return corrupt(fault, "its hash fails");
  return 0;
}

int32_t copy_open(struct unpacker *unpacker, span bytes, uint8_t **plain, span *rows, span *records,
                  struct fault *fault) {
  span frame = {bytes.at + COPY_HEAD, bytes.size - COPY_LEAST};
  uint64_t size;
  int32_t code = frame_open(unpacker, frame, PLAIN_MAX, plain, &size, fault);
  if (code < 0) return code;
  int64_t stream = arrow_size((span){*plain, (size_t)size}, fault);
  if (stream < 0) {
    free(*plain);
    *plain = nullptr;
    return (int32_t)stream;
  }
  *rows = (span){*plain, (size_t)stream};
  *records = (span){*plain + stream, (size_t)size - (size_t)stream};
  return 0;
}
