// text: pairs of random texts in pieces of random sizes, against the slow way.
#include "base/text.h"

#include <stdio.h>

#include "check.h"
#include "text_oracle.h"

static uint64_t state = 88172645463325252u;
static uint32_t below(uint32_t most) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 32) % most;
}

constexpr size_t TEXT_MAX = 200'000;

static size_t grow(uint8_t *text) {
  static const char *const parts[] = {"a", "b", " ", "\t", "\r", "\n", "\r\n", "\n\n", " \n", "\v"};
  size_t size = 0, count = below(12);
  for (size_t i = 0; i < count; i++) {
    const char *part = parts[below(sizeof parts / sizeof *parts)];
    // Now and then one that is longer than any buffer.
    size_t times = below(30) ? 1 : 1 + below(TEXT_MAX / 32);
    for (size_t k = 0; k < times && size + 2 < TEXT_MAX; k++) {
      memcpy(text + size, part, strlen(part));
      size += strlen(part);
    }
  }
  return size;
}

// The same text with other white space.
static size_t change(const uint8_t *text, size_t size, uint8_t *out) {
  size_t made = 0;
  uint32_t ends = below(3), often = 1 + below(4);
  for (size_t i = 0; i < size && made + 4 < TEXT_MAX; i++) {
    bool now = below(often) == 0;
    if (text[i] == '\n' && now && ends == 0) out[made++] = '\r';
    if (text[i] == '\n' && now && ends == 1) out[made++] = ' ';
    if (text[i] == '\r' && now && ends == 2) continue;
    out[made++] = text[i] == 'b' && below(400) == 0 ? 'c' : text[i];
    if (text[i] == '\n' && now && ends == 2) out[made++] = '\n';
  }
  return made;
}

static uint32_t answer(span left, span right, uint32_t ignore, uint64_t *line) {
  struct texts *texts = texts_new(ignore);
  CHECK(texts);
  span rest[2] = {left, right};
  size_t same = 0, most = left.size < right.size ? left.size : right.size;
  while (same < most && left.at[same] == right.at[same]) same++;
  // What both have may be said in any pieces, and need not be said whole.
  for (size_t at = 0, size; at < same; at += size) {
    if (below(5) == 0) break;
    size = 1 + below((uint32_t)(same - at));
    texts_both(texts, (span){left.at + at, size});
    for (int side = 0; side < 2; side++)
      rest[side] = (span){rest[side].at + size, rest[side].size - size};
  }
  bool is_same = true;
  while (is_same && !texts_ended(texts)) {
    uint8_t side = texts_next(texts);
    size_t size = rest[side].size;
    if (size > TEXT_PIECE) size = TEXT_PIECE;
    if (size && below(2)) size = 1 + below((uint32_t)size);
    is_same = texts_add(texts, side, (span){rest[side].at, size});
    rest[side] = (span){rest[side].at + size, rest[side].size - size};
  }
  *line = is_same ? 0 : texts_line(texts);
  uint32_t rule = is_same ? texts_rule(texts) : 0;
  texts_free(texts);
  return rule;
}

int main(void) {
  constexpr int ROUNDS = 3000;
  uint8_t *left = malloc(TEXT_MAX), *right = malloc(TEXT_MAX);
  CHECK(left && right);
  int same = 0, different = 0;
  for (int round = 0; round < ROUNDS; round++) {
    span one = {left, grow(left)};
    span other = {right, below(4) ? change(left, one.size, right) : grow(right)};
    uint32_t ignore = 1 + below(7);
    uint64_t line, again;
    uint32_t rule = answer(one, other, ignore, &line);
    if (one.size != other.size || memcmp(left, right, one.size) != 0)
      CHECK(rule == oracle_rule(one, other, ignore));
    // Whatever the pieces are.
    CHECK(rule == answer(one, other, ignore, &again));
    CHECK(line == again);
    *(rule ? &same : &different) += 1;
  }
  CHECK(same > ROUNDS / 20 && different > ROUNDS / 20);
  free(left);
  free(right);
  printf("%d passed\n", ROUNDS);
}
