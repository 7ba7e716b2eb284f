// Two texts, with a zero byte between them, in pieces whose sizes the first bytes say: the answer
// is that of the slow way.
#include <assert.h>

#include "base/text.h"
#include "text_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  if (size < 2) return 0;
  uint32_t ignore = 1 + bytes[0] % 7;
  size_t piece_max = 1 + bytes[1];
  const uint8_t *begin = bytes + 2, *end = bytes + size;
  const uint8_t *zero = size > 2 ? memchr(begin, 0, size - 2) : nullptr;
  if (!zero || memchr(zero + 1, 0, (size_t)(end - zero - 1))) return 0;
  span left = {begin, (size_t)(zero - begin)}, right = {zero + 1, (size_t)(end - zero - 1)};
  if (span_equal(left, right)) return 0;
  struct texts *texts = texts_new(ignore);
  if (!texts) return 0;
  span rest[2] = {left, right};
  bool same = true;
  while (same && !texts_ended(texts)) {
    uint8_t side = texts_next(texts);
    size_t take = rest[side].size < piece_max ? rest[side].size : piece_max;
    same = texts_add(texts, side, (span){rest[side].at, take});
    rest[side] = (span){rest[side].at + take, rest[side].size - take};
  }
  assert((same ? texts_rule(texts) : 0) == oracle_rule(left, right, ignore));
  if (!same) {
    uint64_t lines = 1;
    for (size_t i = 0; i < left.size; i++) lines += left.at[i] == '\n';
    assert(texts_line(texts) >= 1 && texts_line(texts) <= lines + 1);
  }
  texts_free(texts);
  return 0;
}
