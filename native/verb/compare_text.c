// compare_text: files that are the same but for white space that does not count.
//
// A pair is read once, from the front, so that it makes no difference where it comes from. As long
// as the bytes are the same that is all; from the first difference on each side goes its own pace
// (base/text.h). A zero byte makes both binary: then every byte counts.
#include <stdlib.h>

#include "base/glob.h"
#include "base/path.h"
#include "base/record.h"
#include "base/text.h"
#include "verb/compare.h"

// ── Rules ──

struct texting {
  struct globs *globs;
  uint32_t ignore[];  // of each glob
};

static int32_t rules_read(struct texting *texting, span request, struct glob_source *sources,
                          struct fault *fault) {
  struct field rule, field;
  size_t count = 0;
  while (record_next(&request, &rule, fault) == 1) {
    if (rule.key != COPSE_KEY_TEXT) continue;
    uint64_t ignore = record_number(rule.bytes, COPSE_TEXT_RULE_IGNORE, 0);
    if (ignore == 0 || ignore > (COPSE_TEXT_EOL | COPSE_TEXT_SPACE | COPSE_TEXT_BLANK_LINES))
      return fault_set(fault, COPSE_E_ARGUMENT, "a rule of text that ignores nothing");
    for (span rest = rule.bytes; record_next(&rest, &field, fault) == 1;) {
      if (field.key != COPSE_TEXT_RULE_MATCH) continue;
      if (field.bytes.size == 0) return fault_set(fault, COPSE_E_ARGUMENT, "an empty glob");
      texting->ignore[count] = (uint32_t)ignore;
      sources[count++].pattern = field.bytes;
    }
  }
  return globs_compile(sources, count, GLOB_RULES, 0, &texting->globs, fault);
}

int32_t texting_begin(span request, struct texting **out, struct fault *fault) {
  *out = nullptr;
  size_t count = 0;
  struct field rule, field;
  for (span rest = request; record_next(&rest, &rule, fault) == 1;)
    for (span inner = rule.bytes;
         rule.key == COPSE_KEY_TEXT && record_next(&inner, &field, fault) == 1;)
      count += field.key == COPSE_TEXT_RULE_MATCH;
  if (count == 0) return 0;
  struct texting *texting = calloc(1, sizeof *texting + count * sizeof *texting->ignore);
  struct glob_source *sources = calloc(count, sizeof *sources);
  int32_t code = texting && sources ? 0 : fault_set(fault, COPSE_E_MEMORY, "out of memory");
  if (code == 0) code = rules_read(texting, request, sources, fault);
  free(sources);
  if (code == 0)
    *out = texting;
  else
    texting_free(texting);
  return code;
}

void texting_free(struct texting *texting) {
  if (!texting) return;
  globs_free(texting->globs);
  free(texting);
}

static uint32_t ignored(const struct texting *texting, const uint64_t *matched) {
  for (size_t i = 0; i < globs_count(texting->globs); i++)
    if (globs_has(matched, i)) return texting->ignore[i];
  return 0;
}

// A root that is a file has no name in any tree: that of its location counts.
static span name_of_root(const struct store *store) {
  span shown = store->shown;
  const uint8_t *query = shown.size ? memchr(shown.at, '?', shown.size) : nullptr;
  if (query && memmem(shown.at, shown.size, "://", 3)) shown.size = (size_t)(query - shown.at);
  return path_name(shown);
}

uint32_t texting_of(struct spot *spot, const struct pair *pair) {
  const struct texting *texting = compare_of(spot->run)->texting;
  struct matcher *matcher = texting ? matcher_take(texting->globs) : nullptr;
  if (!matcher) return 0;
  uint32_t ignore = 0;
  if (!spot->node->nameless) {
    matcher_enter(matcher, spot_path(spot));
    ignore = ignored(texting, matcher_below(matcher, pair->left->name));
  }
  for (uint8_t side = 0; spot->node->nameless && side < 2 && !ignore; side++)
    ignore = ignored(texting, matcher_match(matcher, name_of_root(&spot->run->store[side])));
  matcher_give(matcher);
  return ignore;
}

// ── One pair ──

struct feed {
  const uint8_t *at;  // read, and not looked at
  size_t size;
  uint64_t next;  // where to read on
  bool ended;
};

static int32_t feed_fill(struct both *both, struct worker *worker, uint8_t side, struct feed *feed,
                         struct fault *fault) {
  if (feed->size || feed->ended) return 0;
  struct reader *reader = &both->reader[side];
  both->side = side;
  reader->at_end = false;
  int64_t got = run_read_full(reader, feed->next, worker->slab[side], both->chunk,
                              both->before[side].size, fault);
  if (got < 0) return (int32_t)got;
  feed->at = worker->slab[side];
  feed->size = (size_t)got;
  feed->next += (uint64_t)got;
  feed->ended = reader->at_end;
  return 0;
}

static void feed_take(struct feed *feed, size_t size) {
  feed->at += size;
  feed->size -= size;
}

static bool has_zero(span bytes) { return bytes.size && memchr(bytes.at, 0, bytes.size); }

static int32_t cancelled(struct fault *fault) {
  return fault_set(fault, COPSE_E_CANCELLED, "cancelled");
}

// Up to the first difference, whose place is out->offset; out->equal: there is none. *binary: the
// bytes before it have a zero.
static int32_t go_together(struct both *both, struct spot *spot, struct texts *texts,
                           struct feed feed[2], bool *binary, struct content *out,
                           struct fault *fault) {
  out->offset = 0;
  for (;;) {
    if (run_over(both->run)) return cancelled(fault);
    int32_t code = feed_fill(both, spot->worker, LEFT, &feed[LEFT], fault);
    if (code == 0) code = feed_fill(both, spot->worker, RIGHT, &feed[RIGHT], fault);
    if (code < 0) return code;
    size_t size = feed[LEFT].size < feed[RIGHT].size ? feed[LEFT].size : feed[RIGHT].size;
    size_t same = memcmp(feed[LEFT].at, feed[RIGHT].at, size) == 0
                      ? size
                      : first_difference(feed[LEFT].at, feed[RIGHT].at, size);
    span bytes = {feed[LEFT].at, same};
    *binary = *binary || has_zero(bytes);
    if (!*binary) texts_both(texts, bytes);
    out->offset += same;
    spot->bytes += same;
    feed_take(&feed[LEFT], same);
    feed_take(&feed[RIGHT], same);
    // A side that gave nothing has ended.
    if (same == size && size > 0) continue;
    out->equal = feed[LEFT].size == 0 && feed[RIGHT].size == 0;
    return 0;
  }
}

// From the first difference on.
static int32_t go_apart(struct both *both, struct spot *spot, struct texts *texts,
                        struct feed feed[2], bool *binary, struct content *out,
                        struct fault *fault) {
  while (!texts_ended(texts)) {
    if (run_over(both->run)) return cancelled(fault);
    uint8_t side = texts_next(texts);
    int32_t code = feed_fill(both, spot->worker, side, &feed[side], fault);
    if (code < 0) return code;
    size_t size = feed[side].size < TEXT_PIECE ? feed[side].size : TEXT_PIECE;
    span piece = {feed[side].at, size};
    *binary = has_zero(piece);
    if (*binary) return 0;
    if (side == LEFT) spot->bytes += size;
    if (!texts_add(texts, side, piece)) {
      out->line = texts_line(texts);
      return 0;
    }
    feed_take(&feed[side], size);
  }
  out->rule = texts_rule(texts);
  return 0;
}

int32_t compare_text(struct both *both, struct spot *spot, const struct pair *pair, uint32_t ignore,
                     const int64_t got[2], struct content *out, struct fault *fault) {
  int32_t code = both_measure(both, pair, fault);
  if (code < 0) return code;
  const struct entry *left = &both->before[LEFT], *right = &both->before[RIGHT];
  if (run_is_same(spot->run, left, right)) {
    out->equal = true;
    return 0;
  }
  spot->bytes -= (uint64_t)(got[LEFT] < got[RIGHT] ? got[LEFT] : got[RIGHT]);
  struct feed feed[2] = {};
  for (uint8_t side = 0; side < 2; side++) {
    struct reader *reader = &both->reader[side];
    feed[side].at = spot->worker->slab[side];
    // What can be read again is: it was not measured yet when it was read.
    if (reader->access == READ_ANYWHERE) continue;
    const struct entry *entry = &both->before[side];
    bool has_more = (entry->has & HAS_SIZE) && (uint64_t)got[side] < entry->size;
    feed[side] = (struct feed){.at = spot->worker->slab[side],
                               .size = (size_t)got[side],
                               .next = (uint64_t)got[side],
                               .ended = reader->at_end && !has_more};
  }
  struct texts *texts = texts_new(ignore);
  if (!texts) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  bool binary = false;
  code = go_together(both, spot, texts, feed, &binary, out, fault);
  if (code == 0 && !out->equal && !binary)
    code = go_apart(both, spot, texts, feed, &binary, out, fault);
  texts_free(texts);
  if (code < 0) return code;
  out->reason = COPSE_REASON_CONTENT;
  bool sure = left->has & right->has & HAS_SIZE;
  if (binary && !out->equal && compare_of(spot->run)->size_check && sure &&
      left->size != right->size) {
    out->reason = COPSE_REASON_SIZE;
    out->offset = COPSE_UNKNOWN;
  }
  return both_unchanged(both, spot->node, pair, fault);
}
