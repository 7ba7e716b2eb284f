// split: into which parts one content is cut, and over how many streams its parts come. Pure: no
// I/O and no clock, so that every number is a test and a recorded run can be replayed.
//
// A part is a range that is asked for at once; a stream is one part on its way. Small parts cost a
// round trip each, large ones leave streams without work at the end, so their size follows the size
// of the content and the round trip. How many streams are worth it follows the round trip too: each
// has its own congestion window, and a far server sends little into one.
#pragma once
#include <stdint.h>

constexpr uint64_t SPLIT_MIB = 1 << 20;
constexpr uint64_t SPLIT_SMALL = SPLIT_MIB;         // what is smaller is one part
constexpr uint64_t SPLIT_MIDDLE = 100 * SPLIT_MIB;  // up to here parts are SPLIT_FIXED
constexpr uint64_t SPLIT_FIXED = 4 * SPLIT_MIB;
constexpr uint64_t SPLIT_LEAST = 8 * SPLIT_MIB, SPLIT_MOST = 64 * SPLIT_MIB;

constexpr uint32_t STREAMS_MIN = 4, STREAMS_MAX = 32;
constexpr uint64_t ROUND_TRIP_NEAR_NS = 10'000'000, ROUND_TRIP_FAR_NS = 50'000'000;
constexpr uint64_t STREAMS_CALM_NS = 5'000'000'000;  // how long they stay halved

struct split_rule {   // both zero: by the size of the content
  uint64_t min, max;  // equal: every part has that size; else between them, by the round trip
};

// Bytes of a part of `content` bytes; of the last one what is left. `round_trip_ns` zero: nobody
// knows.
uint64_t split_part(struct split_rule rule, uint64_t content, uint64_t round_trip_ns);
// The same for the next part, when `left` bytes were given to nobody and `streams` are to share
// them: where the rule leaves a choice, so that each gets one.
uint64_t split_next(struct split_rule rule, uint64_t content, uint64_t round_trip_ns, uint64_t left,
                    uint32_t streams);

// How many streams. Zeroed, or `fixed` set to a number that stays.
struct streams {
  uint32_t fixed;
  uint32_t target;                       // zero before the first sample
  double round_trip_ns, bytes_a_second;  // moving averages; zero: not known
  uint64_t calm_ns;                      // until then nothing grows
};

struct streams_sample {
  uint64_t now_ns;
  uint64_t round_trip_ns, bytes_a_second;  // of all streams; zero: nothing new
  uint64_t part;                           // bytes
  bool is_loss;                            // a connection broke or stood still
  bool is_congested;                       // the server asks to slow down
};

// The new target: STREAMS_MIN to STREAMS_MAX, or what is fixed.
//   congestion   half, and no more until STREAMS_CALM_NS later
//   loss         a quarter less
//   > 50 ms      twice as many
//   < 10 ms      half
//   between      throughput x round trip / part
uint32_t streams_adjust(struct streams *streams, const struct streams_sample *sample);
