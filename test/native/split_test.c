// split: the sizes of parts and the number of streams, with the numbers of the design.
#include "wire/split.h"

#include "check.h"

constexpr uint64_t MIB = 1 << 20, MS = 1'000'000;
static const struct split_rule automatic = {};

static void parts_follow_the_size(void) {
  static const struct {
    uint64_t content, near, far;  // at 5 and at 100 ms
  } cases[] = {
      {0, 0, 0},
      {1, 1, 1},
      {MIB - 1, MIB - 1, MIB - 1},
      {MIB, MIB, MIB},
      {MIB + 1, MIB + 1, MIB + 1},
      {4 * MIB + 1, 4 * MIB, 4 * MIB},
      {100 * MIB, 4 * MIB, 4 * MIB},
      {100 * MIB + 1, 8 * MIB, 64 * MIB},
      {5ull << 40, 8 * MIB, 64 * MIB},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    CHECK(split_part(automatic, cases[i].content, 5 * MS) == cases[i].near);
    CHECK(split_part(automatic, cases[i].content, 100 * MS) == cases[i].far);
  }
}

static void parts_follow_the_round_trip(void) {
  static const struct {
    double ms;
    uint64_t mib;
  } cases[] = {{0, 8},   {0.1, 8}, {9.9, 8}, {10, 8},  {15, 12},    {20, 16},
               {50, 40}, {79, 63}, {80, 64}, {81, 64}, {10'000, 64}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    uint64_t ns = (uint64_t)(cases[i].ms * (double)MS);
    CHECK(split_part(automatic, 1024 * MIB, ns) == cases[i].mib * MIB);
    // Up to 100 MiB the size is fixed.
    CHECK(split_part(automatic, 100 * MIB, ns) == 4 * MIB);
  }
}

static void what_is_given_holds(void) {
  const struct split_rule fixed = {3'000'000, 3'000'000}, between = {MIB, 2 * MIB};
  CHECK(split_part(fixed, 100, 50 * MS) == 100);
  CHECK(split_part(fixed, 5 * MIB, 0) == 3'000'000);
  CHECK(split_part(fixed, 500 * MIB, 500 * MS) == 3'000'000);
  CHECK(split_next(fixed, 500 * MIB, 500 * MS, 4 * MIB, 32) == 3'000'000);
  CHECK(split_part(between, 500 * MIB, 10 * MS) == MIB);
  CHECK(split_part(between, 500 * MIB, 500 * MS) == 2 * MIB);
  CHECK(split_part(between, MIB / 2, 500 * MS) == MIB / 2);
}

static void the_rest_is_shared(void) {
  constexpr uint64_t ALL = 256 * MIB;
  CHECK(split_next(automatic, ALL, 100 * MS, ALL, 1) == 64 * MIB);
  CHECK(split_next(automatic, ALL, 100 * MS, ALL, 8) == 32 * MIB);
  CHECK(split_next(automatic, ALL, 100 * MS, ALL, 32) == 8 * MIB);
  CHECK(split_next(automatic, ALL, 100 * MS, 64 * MIB, 32) == 8 * MIB);
  CHECK(split_next(automatic, ALL, 100 * MS, 3 * MIB, 32) == 3 * MIB);
  CHECK(split_next(automatic, ALL, 100 * MS, 0, 32) == 0);
  CHECK(split_next(automatic, ALL, 0, ALL, 0) == 8 * MIB);
  CHECK(split_next(automatic, 50 * MIB, 100 * MS, 50 * MIB, 32) == 4 * MIB);
}

static uint32_t adjusted(struct streams *streams, double ms) {
  return streams_adjust(streams,
                        &(struct streams_sample){.round_trip_ns = (uint64_t)(ms * (double)MS),
                                                 .bytes_a_second = 100'000'000,
                                                 .part = MIB});
}

static void the_round_trip_decides(void) {
  static const struct {
    double ms;
    uint32_t after;
  } cases[] = {{9.9, 8}, {10, 4}, {50, 5}, {50.1, 32}};  // of 16; 100 MB/s * 50 ms / 1 MiB = 4.8
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct streams streams = {.target = 16};
    CHECK(adjusted(&streams, cases[i].ms) == cases[i].after);
  }
  struct streams far = {}, near = {.target = 32};
  const uint32_t grows[] = {8, 16, 32, 32}, shrinks[] = {16, 8, 4, 4};
  for (int i = 0; i < 4; i++) {
    CHECK(adjusted(&far, 60) == grows[i]);
    CHECK(adjusted(&near, 1) == shrinks[i]);
  }
}

static void the_formula_decides_between(void) {
  static const struct {
    uint64_t bytes_a_second, part;
    uint32_t target;
  } cases[] = {
      {100 * MIB, 4 * MIB, 4},   // 0.5
      {1024 * MIB, 4 * MIB, 5},  // 5.12
      {1024 * MIB, MIB, 20},     // 20.48
      {8192 * MIB, MIB, 32},    {UINT64_MAX, 1, 32},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct streams streams = {.target = 16};
    struct streams_sample sample = {
        .round_trip_ns = 20 * MS, .bytes_a_second = cases[i].bytes_a_second, .part = cases[i].part};
    CHECK(streams_adjust(&streams, &sample) == cases[i].target);
  }
}

static void losses_take_a_quarter(void) {
  struct streams streams = {.target = 32, .round_trip_ns = 60e6};
  const uint32_t expected[] = {24, 18, 13, 9, 6, 4, 4};
  for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
    CHECK(streams_adjust(&streams, &(struct streams_sample){.is_loss = true}) == expected[i]);
}

static void congestion_halves_for_a_while(void) {
  constexpr uint64_t BEGIN = 1'000 * MS;
  struct streams streams = {.target = 32, .round_trip_ns = 60e6};
  struct streams_sample sample = {.now_ns = BEGIN, .is_congested = true};
  CHECK(streams_adjust(&streams, &sample) == 16);
  // The same burst.
  sample.now_ns += 10 * MS;
  CHECK(streams_adjust(&streams, &sample) == 16);
  uint64_t end = sample.now_ns + STREAMS_CALM_NS;
  sample = (struct streams_sample){.now_ns = end - 1, .round_trip_ns = 60 * MS};
  CHECK(streams_adjust(&streams, &sample) == 16);
  // A loss counts meanwhile, too.
  CHECK(streams_adjust(&streams, &(struct streams_sample){.now_ns = end - 1, .is_loss = true}) ==
        12);
  sample.now_ns = end;
  CHECK(streams_adjust(&streams, &sample) == 24);
  CHECK(streams_adjust(&streams, &sample) == 32);
  sample = (struct streams_sample){.now_ns = end + 1, .is_congested = true};
  CHECK(streams_adjust(&streams, &sample) == 16);
}

static void averages_move_slowly(void) {
  struct streams streams = {};
  adjusted(&streams, 40);
  // One late answer is no far server.
  CHECK(adjusted(&streams, 100) < 32);
  CHECK(streams.round_trip_ns > 47e6 && streams.round_trip_ns < 48e6);
  for (int i = 0; i < 20; i++) adjusted(&streams, 100);
  CHECK(streams.target == 32);
}

static void a_number_stays(void) {
  struct streams streams = {.fixed = 2};
  CHECK(adjusted(&streams, 200) == 2);
  CHECK(streams_adjust(&streams, &(struct streams_sample){.is_loss = true}) == 2);
  CHECK(streams_adjust(&streams, &(struct streams_sample){.is_congested = true}) == 2);
}

int main(void) {
  parts_follow_the_size();
  parts_follow_the_round_trip();
  what_is_given_holds();
  the_rest_is_shared();
  the_round_trip_decides();
  the_formula_decides_between();
  losses_take_a_quarter();
  congestion_halves_for_a_while();
  averages_move_slowly();
  a_number_stays();
  printf("10 passed\n");
}
