#include "wire/split.h"

// Of a new sample, in the averages: of the round trip as TCP does it, of the throughput more, as it
// changes with every stream that begins or ends.
constexpr double ROUND_TRIP_SHARE = 1.0 / 8, THROUGHPUT_SHARE = 1.0 / 4;

static uint64_t between(uint64_t least, uint64_t value, uint64_t most) {
  return value < least ? least : value > most ? most : value;
}

// Which bounds hold for a content of that size.
static struct split_rule rule_of(struct split_rule rule, uint64_t content) {
  if (rule.min || rule.max) return rule;
  if (content < SPLIT_SMALL) return (struct split_rule){content, content};
  if (content <= SPLIT_MIDDLE) return (struct split_rule){SPLIT_FIXED, SPLIT_FIXED};
  return (struct split_rule){SPLIT_LEAST, SPLIT_MOST};
}

// The least up to a near server, and then as much more as it is farther, in whole MiB.
static uint64_t by_round_trip(struct split_rule rule, uint64_t round_trip_ns) {
  if (rule.min == rule.max || round_trip_ns <= ROUND_TRIP_NEAR_NS) return rule.min;
  double times = (double)round_trip_ns / (double)ROUND_TRIP_NEAR_NS;
  double size = (double)rule.min * times;
  if (size >= (double)rule.max) return rule.max;
  uint64_t whole = (uint64_t)size / SPLIT_MIB * SPLIT_MIB;
  return between(rule.min, whole, rule.max);
}

uint64_t split_part(struct split_rule rule, uint64_t content, uint64_t round_trip_ns) {
  rule = rule_of(rule, content);
  uint64_t size = by_round_trip(rule, round_trip_ns);
  return size < content ? size : content;
}

uint64_t split_next(struct split_rule rule, uint64_t content, uint64_t round_trip_ns, uint64_t left,
                    uint32_t streams) {
  rule = rule_of(rule, content);
  uint64_t size = by_round_trip(rule, round_trip_ns);
  uint64_t share = left / (streams ? streams : 1) / SPLIT_MIB * SPLIT_MIB;
  if (share < size) size = between(rule.min, share, size);
  return size < left ? size : left;
}

static double average(double before, double sample, double share) {
  return before > 0 ? before + (sample - before) * share : sample;
}

uint32_t streams_adjust(struct streams *streams, const struct streams_sample *sample) {
  if (streams->fixed) return streams->target = streams->fixed;
  if (sample->round_trip_ns)
    streams->round_trip_ns =
        average(streams->round_trip_ns, (double)sample->round_trip_ns, ROUND_TRIP_SHARE);
  if (sample->bytes_a_second)
    streams->bytes_a_second =
        average(streams->bytes_a_second, (double)sample->bytes_a_second, THROUGHPUT_SHARE);
  uint32_t target = streams->target ? streams->target : STREAMS_MIN;
  bool is_calm = sample->now_ns < streams->calm_ns;
  if (sample->is_congested) {
    // One burst of refusals is one signal.
    if (!is_calm) target /= 2;
    streams->calm_ns = sample->now_ns + STREAMS_CALM_NS;
  } else if (sample->is_loss) {
    target -= (target + 3) / 4;
  } else if (is_calm || streams->round_trip_ns <= 0) {
    // As it is.
  } else if (streams->round_trip_ns > (double)ROUND_TRIP_FAR_NS) {
    target *= 2;
  } else if (streams->round_trip_ns < (double)ROUND_TRIP_NEAR_NS) {
    target /= 2;
  } else if (streams->bytes_a_second > 0 && sample->part) {
    double wanted =
        streams->bytes_a_second * streams->round_trip_ns / 1e9 / (double)sample->part + 0.5;
    target = wanted < STREAMS_MAX ? (uint32_t)wanted : STREAMS_MAX;
  }
  return streams->target = (uint32_t)between(STREAMS_MIN, target, STREAMS_MAX);
}
