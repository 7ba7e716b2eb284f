// A lane is one connection with the part that comes over it. What was given to no lane is a list of
// ranges. A lane goes on where it ended as long as that is free, so that each reads a share of the
// content from its beginning to its end; one that has nothing to go on with takes the second half
// of the largest rest, and when nothing is left, of what another lane has still to get. The first
// lane is the answer that was there already: it has no end, and is let go when it comes to what
// another lane has.
//
// In order, lanes take the next part each, and all but the first one run ahead no further than
// their buffers.
#include "store/http_split.h"

#include <stdlib.h>

#include "engine/runtime.h"
#include "wire/split.h"

constexpr size_t LEAD_BYTES = 1 << 20;  // of a lane, when its bytes are taken as they come
// In order, a lane must hold a whole part, or it stands still until its turn.
constexpr size_t LEAD_IN_ORDER = SPLIT_FIXED;
constexpr uint32_t LANES_IN_ORDER = 8;            // 32 MiB of lead
constexpr uint64_t SAMPLE_LEAST_NS = 20'000'000;  // between two looks at the number of streams

struct lane {
  struct exchange *exchange;
  uint64_t at, end;
  uint32_t losses, refusals;
  bool is_whole;  // goes on behind its end
  bool is_answered, is_reserved;
};

struct http_split {
  struct http_split_from from;
  uint64_t size;
  struct split_rule rule;
  struct streams streams;
  struct http_gate gate;
  struct range *left;  // given to no lane, in order
  size_t left_count, left_capacity;
  uint64_t left_bytes;
  struct lane lanes[STREAMS_MAX];  // in order: by where they are
  uint32_t lane_count, turn;
  bool is_single;  // the server gives no parts
  // Since the last sample:
  uint64_t sampled_ns, bytes;
  // The least so far: one that waited behind our own bytes says nothing of the distance, and would
  // ask for more streams to wait behind.
  uint64_t round_trip_ns;
};

bool http_split_fits(const struct store *store, const struct http_answer *first, bool in_order,
                     bool is_wanted) {
  // What is put together must be known to be one content.
  bool is_known = (first->is_strong && first->etag[0]) || first->mtime_ns != COPSE_UNKNOWN_TIME;
  if (!first->ranges || !is_known || first->size == COPSE_UNKNOWN) return false;
  if (is_wanted) return true;
  if (!store->splits || store->streams == 1 || first->size < SPLIT_SMALL) return false;
  // A near server fills one connection faster than a reader in order empties it.
  if (in_order && !store->streams && first->round_trip_ns < ROUND_TRIP_NEAR_NS) return false;
  return split_part(store->parts, first->size, first->round_trip_ns) < first->size;
}

// ── What is left ──

static bool left_insert(struct http_split *split, size_t at, struct range range) {
  if (split->left_count == split->left_capacity) {
    size_t capacity = split->left_capacity ? split->left_capacity * 2 : 16;
    struct range *more = realloc(split->left, capacity * sizeof *more);
    if (!more) return false;
    split->left = more;
    split->left_capacity = capacity;
  }
  memmove(split->left + at + 1, split->left + at, (split->left_count - at) * sizeof *split->left);
  split->left[at] = range;
  split->left_count++;
  return true;
}

static bool left_begin(struct http_split *split) {
  uint64_t at = split->from.at;
  for (size_t i = 0; i <= split->from.done_count; i++) {
    bool is_last = i == split->from.done_count;
    uint64_t to = is_last ? split->size : split->from.done[i].from;
    if (at < to) {
      if (!left_insert(split, split->left_count, (struct range){at, to})) return false;
      split->left_bytes += to - at;
    }
    if (!is_last && split->from.done[i].to > at) at = split->from.done[i].to;
  }
  return true;
}

static bool is_next_of_a_lane(const struct http_split *split, uint64_t from) {
  for (uint32_t i = 0; i < split->lane_count; i++)
    if (split->lanes[i].end == from) return true;
  return false;
}

// The next part, for a lane that ended at `end`. False: nothing is left.
static bool take_part(struct http_split *split, uint64_t end, struct range *part) {
  if (split->left_count == 0) return false;
  size_t at = 0;
  for (size_t i = 0; i < split->left_count && !split->from.in_order; i++) {
    const struct range *one = &split->left[i], *best = &split->left[at];
    if (one->from == end || one->to - one->from > best->to - best->from) at = i;
    if (one->from == end) break;
  }
  uint64_t size = split_next(split->rule, split->size, (uint64_t)split->streams.round_trip_ns,
                             split->left_bytes, split->streams.target);
  if (split->from.in_order && size > LEAD_IN_ORDER) size = LEAD_IN_ORDER;
  uint64_t least = split_part(split->rule, split->size, 0);
  bool is_elastic = least < split_part(split->rule, split->size, 3600 * ROUND_TRIP_FAR_NS);
  struct range *range = &split->left[at];
  uint64_t bytes = range->to - range->from;
  bool is_of_another =
      !split->from.in_order && range->from != end && is_next_of_a_lane(split, range->from);
  if (is_of_another && bytes >= (is_elastic ? 2 * least : least + 1)) {
    uint64_t half = range->from + (bytes / 2 + least - 1) / least * least;
    if (left_insert(split, at + 1, (struct range){half, split->left[at].to}))
      split->left[at++].to = half;
    range = &split->left[at];
    bytes = range->to - range->from;
  }
  // No crumbs: two of equal size, or one.
  if (is_elastic && bytes > size && bytes - size < least)
    size = bytes / 2 < least ? bytes : bytes / 2;
  *part =
      (struct range){range->from, range->to - range->from < size ? range->to : range->from + size};
  range->from = part->to;
  split->left_bytes -= part->to - part->from;
  if (range->from == range->to) {
    split->left_count--;
    memmove(range, range + 1, (split->left_count - at) * sizeof *range);
  }
  return true;
}

// ── Lanes ──

static size_t lead_of(const struct http_split *split) {
  return split->from.in_order ? LEAD_IN_ORDER : LEAD_BYTES;
}

static uint32_t lanes_max(const struct http_split *split) {
  uint32_t most = split->streams.target, connections = split->from.store->runtime->connections;
  if (most > connections) most = connections;
  if (split->from.in_order && most > LANES_IN_ORDER) most = LANES_IN_ORDER;
  return most < STREAMS_MAX ? most : STREAMS_MAX;
}

static int32_t lane_send(struct http_split *split, struct lane *lane, struct range part,
                         struct fault *fault) {
  struct http_request request = *split->from.request;
  const struct http_answer *first = split->from.first;
  request.url = span_of(split->from.url);
  request.from = part.from;
  request.to = split->is_single ? 0 : part.to;
  request.size = first->size;
  if (first->is_strong) request.etag = span_of(first->etag);
  request.gate = &split->gate;
  request.lead_max = lead_of(split);
  request.large = true;
  bool is_reserved = lane->is_reserved;
  *lane = (struct lane){.at = part.from,
                        .end = part.to,
                        .is_whole = split->is_single,
                        .is_reserved = is_reserved,
                        .exchange = http_send(split->from.store->runtime, &request, fault)};
  return lane->exchange ? 0 : fault->code;
}

static void lane_end(struct http_split *split, uint32_t i) {
  struct lane *lane = &split->lanes[i];
  http_drop(lane->exchange);
  if (lane->is_reserved) buffer_release(&split->from.store->runtime->buffers, lead_of(split));
  split->lane_count--;
  memmove(lane, lane + 1, (split->lane_count - i) * sizeof *lane);
}

// The second half of what the lane with the most work has still to get, where both halves are worth
// a request; that lane ends earlier, and its connection with it.
static bool steal_part(struct http_split *split, struct range *part) {
  if (split->from.in_order || split->is_single) return false;
  struct lane *most = nullptr;
  for (uint32_t i = 0; i < split->lane_count; i++) {
    struct lane *lane = &split->lanes[i];
    if (!most || lane->end - lane->at > most->end - most->at) most = lane;
  }
  uint64_t least = split_part(split->rule, split->size, 0);
  if (!most || most->end - most->at < 2 * least) return false;
  *part = (struct range){most->at + (most->end - most->at) / 2, most->end};
  most->end = part->from;
  return true;
}

// As many lanes as there should be, as far as there is work and memory for them.
static int32_t open_lanes(struct http_split *split, struct fault *fault) {
  while (split->lane_count < lanes_max(split)) {
    bool is_reserved = buffer_reserve(&split->from.store->runtime->buffers, lead_of(split));
    struct range part;
    // With one it goes on, too.
    bool may_begin = is_reserved || split->lane_count == 0;
    if (!may_begin || !(take_part(split, COPSE_UNKNOWN, &part) || steal_part(split, &part))) {
      if (is_reserved) buffer_release(&split->from.store->runtime->buffers, lead_of(split));
      return 0;
    }
    struct lane *lane = &split->lanes[split->lane_count++];
    *lane = (struct lane){.is_reserved = is_reserved};
    int32_t code = lane_send(split, lane, part, fault);
    if (code < 0) return code;
  }
  return 0;
}

// Its part is there. Goes on with the next one, or ends.
static int32_t lane_next(struct http_split *split, uint32_t i, struct fault *fault) {
  struct lane *lane = &split->lanes[i];
  struct range part;
  bool goes_on = !split->from.in_order && split->lane_count <= lanes_max(split);
  if (!goes_on || !take_part(split, lane->end, &part)) {
    lane_end(split, i);
    return 0;
  }
  if (lane->is_whole && part.from == lane->end) {
    lane->end = part.to;
    return 0;
  }
  http_drop(lane->exchange);
  return lane_send(split, lane, part, fault);
}

// ── How many ──

static void sample(struct http_split *split, bool is_loss, bool is_congested) {
  uint64_t now = clock_now(), since = now - split->sampled_ns;
  uint64_t apart = (uint64_t)split->streams.round_trip_ns;
  if (apart < SAMPLE_LEAST_NS) apart = SAMPLE_LEAST_NS;
  bool is_early = since < apart && split->streams.target;
  if (is_early && !is_loss && !is_congested) return;
  double rate = since ? (double)split->bytes * 1e9 / (double)since : 0;
  struct streams_sample what = {
      .now_ns = now,
      .round_trip_ns = split->round_trip_ns,
      .bytes_a_second = is_early ? 0 : (uint64_t)rate,
      .part = split_next(split->rule, split->size, (uint64_t)split->streams.round_trip_ns,
                         split->left_bytes, split->streams.target),
      .is_loss = is_loss,
      .is_congested = is_congested,
  };
  streams_adjust(&split->streams, &what);
  if (is_early) return;
  split->sampled_ns = now;
  split->bytes = 0;
}

static void count_round_trip(struct http_split *split, const struct http_answer *answer) {
  uint64_t seen = answer->round_trip_ns;
  if (seen && (!split->round_trip_ns || seen < split->round_trip_ns)) split->round_trip_ns = seen;
}

// ── Reading ──

static int32_t is_other(struct fault *fault) {
  return fault_set(fault, COPSE_E_CHANGED, "the content changed while it was read; run again");
}

// 1: the lane's answer is there, and what it should be. 0: not yet.
static int32_t lane_answered(struct http_split *split, struct lane *lane, struct fault *fault) {
  if (lane->is_answered) return 1;
  struct http_answer answer;
  int32_t code = http_answered(lane->exchange, &answer, fault);
  if (code <= 0) return code;
  const struct http_answer *first = split->from.first;
  if (answer.status == 416 || answer.size != first->size || answer.mtime_ns != first->mtime_ns)
    return is_other(fault);
  lane->is_answered = true;
  count_round_trip(split, &answer);
  return 1;
}

static int64_t lane_take(struct http_split *split, struct lane *lane, uint8_t *into, size_t size,
                         struct fault *fault) {
  int32_t code = lane_answered(split, lane, fault);
  if (code <= 0) return code;
  struct http_taken taken;
  uint64_t left = lane->end - lane->at;
  int64_t got = http_take(lane->exchange, into, left < size ? (size_t)left : size, &taken, fault);
  if (taken.losses > lane->losses || taken.refusals > lane->refusals)
    sample(split, taken.losses > lane->losses, taken.refusals > lane->refusals);
  lane->losses = taken.losses;
  lane->refusals = taken.refusals;
  if (got == 0 && taken.is_over) return is_other(fault);
  if (got > 0) lane->at += (uint64_t)got;
  return got;
}

// The server gives no parts after all: everything again, as one answer.
static int32_t begin_single(struct http_split *split, uint64_t at, struct fault *fault) {
  *fault = (struct fault){};
  while (split->lane_count > 0) lane_end(split, 0);
  split->left_count = 0;
  split->left_bytes = 0;
  split->is_single = true;
  split->lane_count = 1;
  split->lanes[0] = (struct lane){};
  return lane_send(split, &split->lanes[0], (struct range){at, split->size}, fault);
}

// Whatever a lane has: bytes, or zero when none has any.
static int64_t take_any(struct http_split *split, uint64_t *at, uint8_t *into, size_t size,
                        struct fault *fault) {
  uint32_t lanes = split->from.in_order && split->lane_count ? 1 : split->lane_count;
  for (uint32_t i = 0; i < lanes; i++) {
    uint32_t which = (split->turn + i) % lanes;
    struct lane *lane = &split->lanes[which];
    uint64_t before = lane->at;
    int64_t got = lane_take(split, lane, into, size, fault);
    if (got == 0) continue;
    if (got < 0) return got;
    *at = before;
    split->bytes += (uint64_t)got;
    split->turn = which;  // the disk likes what follows
    int32_t code = lane->at == lane->end ? lane_next(split, which, fault) : 0;
    return code < 0 ? code : got;
  }
  return 0;
}

int64_t http_split_read(struct http_split *split, uint64_t *at, uint8_t *into, size_t size,
                        struct fault *fault) {
  for (;;) {
    uint64_t seen = http_gate_told(&split->gate);
    sample(split, false, false);
    int64_t got = open_lanes(split, fault);
    if (got == 0 && split->lane_count == 0) return 0;
    uint64_t next = split->lane_count ? split->lanes[0].at : 0;
    // In order, the others' answers tell how far the server is.
    for (uint32_t i = 1; i < split->lane_count && got >= 0 && split->from.in_order; i++) {
      int32_t code = lane_answered(split, &split->lanes[i], fault);
      if (code < 0) got = code;
    }
    if (got == 0) got = take_any(split, at, into, size, fault);
    if (got == COPSE_E_UNSUPPORTED && !split->is_single)
      got = begin_single(split, split->from.in_order ? next : 0, fault);
    if (got != 0) return got;
    if (!http_gate_wait(&split->gate, seen, split->from.store->task))
      return fault_set(fault, COPSE_E_CANCELLED, "cancelled while reading");
  }
}

// ── Beginning and end ──

struct http_split *http_split_begin(const struct http_split_from *from) {
  struct http_split *split = calloc(1, sizeof *split);
  if (!split) {
    http_drop(from->exchange);
    return nullptr;
  }
  split->from = *from;
  split->from.exchange = nullptr;
  split->size = from->first->size;
  split->rule = from->store->parts;
  split->streams.fixed = from->store->streams;
  http_gate_begin(&split->gate);
  bool good = left_begin(split);
  split->from.done = nullptr;
  count_round_trip(split, from->first);
  sample(split, false, false);
  split->sampled_ns = clock_now();
  struct range part;
  bool is_useful = good && from->exchange && split->left_count && split->left[0].from == 0 &&
                   take_part(split, 0, &part);
  if (is_useful) {
    http_watch(from->exchange, &split->gate);
    split->lanes[split->lane_count++] = (struct lane){
        .exchange = from->exchange,
        .end = part.to,
        .is_whole = true,
        .is_answered = true,
        .is_reserved = buffer_reserve(&from->store->runtime->buffers, lead_of(split))};
  } else {
    http_drop(from->exchange);
  }
  if (good) return split;
  http_split_end(split);
  return nullptr;
}

void http_split_end(struct http_split *split) {
  if (!split) return;
  while (split->lane_count > 0) lane_end(split, split->lane_count - 1);
  http_gate_end(&split->gate);
  free(split->left);
  free(split);
}
