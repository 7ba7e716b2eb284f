// glob_fold: upper and lower case are one.
#include "base/glob_program.h"

static const struct {
  uint32_t first, last;
  uint32_t step;
  int32_t add;
} table[] = {
#define FOLD(first, last, step, add) {first, last, step, add},
#include "base/fold.def"
#undef FOLD
};

uint32_t glob_fold(uint32_t character) {
  size_t low = 0, high = sizeof table / sizeof *table;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (table[middle].last < character)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == sizeof table / sizeof *table || character < table[low].first) return character;
  if ((character - table[low].first) % table[low].step) return character;
  return (uint32_t)((int64_t)character + table[low].add);
}

bool glob_fold_range(size_t *at, uint32_t first, uint32_t last, uint32_t *lower_first,
                     uint32_t *lower_last) {
  for (; *at < sizeof table / sizeof *table; ++*at) {
    uint32_t low = table[*at].first, high = table[*at].last, step = table[*at].step;
    if (first > low) low += (first - low + step - 1) / step * step;
    if (last < high && last >= table[*at].first) high -= (high - last + step - 1) / step * step;
    if (low > high || low < first || high > last) continue;
    *lower_first = (uint32_t)((int64_t)low + table[*at].add);
    *lower_last = (uint32_t)((int64_t)high + table[*at].add);
    ++*at;
    return true;
  }
  return false;
}
