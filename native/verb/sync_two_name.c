// sync_two_name: the name of the version that does not get the name.
#include <stdio.h>
#include <time.h>

#include "verb/sync_two.h"

constexpr size_t ENDING_MAX = 16;  // what is longer is part of the name

span two_name(span name, uint8_t side, int64_t mtime_ns, uint32_t number,
              uint8_t into[TWO_NAME_MAX + 1]) {
  size_t dot = name.size;
  while (dot > 0 && name.at[dot - 1] != '.') dot--;
  // ".profile" has no ending.
  size_t ending = dot > 1 && name.size - dot < ENDING_MAX ? name.size - dot + 1 : 0;
  time_t seconds = (time_t)(mtime_ns == INT64_MIN ? 0 : mtime_ns / 1'000'000'000);
  struct tm at = {};
  gmtime_r(&seconds, &at);
  char stamp[32] = "0", middle[96];
  strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &at);
  int size = number > 1 ? snprintf(middle, sizeof middle, ".conflict-%s-%s-%u",
                                   side == LEFT ? "left" : "right", stamp, number)
                        : snprintf(middle, sizeof middle, ".conflict-%s-%s",
                                   side == LEFT ? "left" : "right", stamp);
  size_t middle_size = size > 0 ? (size_t)size : 0, stem = name.size - ending;
  if (stem + middle_size + ending > TWO_NAME_MAX) {
    stem = TWO_NAME_MAX - middle_size - ending;
    // Not in the middle of a character.
    while (stem > 1 && (name.at[stem] & 0xC0) == 0x80) stem--;
  }
  memcpy(into, name.at, stem);
  memcpy(into + stem, middle, middle_size);
  memcpy(into + stem + middle_size, name.at + name.size - ending, ending);
  into[stem + middle_size + ending] = 0;
  return (span){into, stem + middle_size + ending};
}
