// limit: the bucket by a clock of its own: rates, fractions, debt and what a full one holds.
#include "engine/limit.h"

#include "check.h"

constexpr uint64_t SECOND = 1'000'000'000;

static void none_is_no_limit(void) {
  struct limit limit;
  limit_begin(&limit, 0, 0);
  limit_take(&limit, UINT64_MAX, 0);
  CHECK(limit_wait_ns(&limit, 0) == 0 && limit_piece(&limit) == SIZE_MAX);
  limit_end(&limit);
}

static void debt_is_paid_by_time(void) {
  struct limit limit;
  limit_begin(&limit, 1000, 5 * SECOND);
  CHECK(limit_wait_ns(&limit, 5 * SECOND) == 0);
  limit_take(&limit, 3000, 5 * SECOND);
  uint64_t wait = limit_wait_ns(&limit, 5 * SECOND);
  CHECK(wait >= 3 * SECOND && wait <= 3 * SECOND + 2);
  CHECK(limit_wait_ns(&limit, 7 * SECOND) >= SECOND);
  CHECK(limit_wait_ns(&limit, 8 * SECOND + 1) == 0);
  CHECK(limit_wait_ns(&limit, 4 * SECOND) == 0);  // a clock that goes back takes nothing
  limit_end(&limit);
}

// A byte a second, looked at every millisecond: nothing is lost between the looks.
static void fractions_are_kept(void) {
  struct limit limit;
  limit_begin(&limit, 1, 0);
  limit_take(&limit, 1, 0);
  uint64_t now = 0;
  while (limit_wait_ns(&limit, now) > 0) now += 1'000'000;
  CHECK(now >= SECOND && now <= SECOND + 2'000'000);
  limit_end(&limit);
}

static void a_long_rest_saves_a_tenth_of_a_second(void) {
  struct limit limit;
  limit_begin(&limit, 1'000'000, 0);
  CHECK(limit_wait_ns(&limit, 3600 * SECOND) == 0);
  limit_take(&limit, 1'000'000, 3600 * SECOND);
  uint64_t wait = limit_wait_ns(&limit, 3600 * SECOND);
  CHECK(wait > 899'000'000 && wait < 901'000'000);
  CHECK(limit_piece(&limit) == 100'000);
  limit_end(&limit);
  limit_begin(&limit, 10, 0);
  CHECK(limit_piece(&limit) == 4096);
  limit_end(&limit);
}

static void huge_numbers_are_no_trouble(void) {
  struct limit limit;
  limit_begin(&limit, UINT64_MAX, 0);
  limit_take(&limit, UINT64_MAX, 1);
  CHECK(limit_wait_ns(&limit, 1) <= 2 * SECOND);
  limit_end(&limit);
  limit_begin(&limit, 1, 0);
  for (int i = 0; i < 100; i++) limit_take(&limit, UINT64_MAX, 0);
  CHECK(limit_wait_ns(&limit, 0) >= SECOND);
  limit_end(&limit);
}

int main(void) {
  none_is_no_limit();
  debt_is_paid_by_time();
  fractions_are_kept();
  a_long_rest_saves_a_tenth_of_a_second();
  huge_numbers_are_no_trouble();
}
