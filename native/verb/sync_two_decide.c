// sync_two_decide: what is to be done about one pair, from what both sides have and what they had.
#include "verb/sync_two.h"

enum two_change two_change(const struct two_record *record, uint8_t side, const struct entry *now,
                           uint32_t mode_bits) {
  if (!now) return record ? TWO_DELETED : TWO_NONE;
  if (!record || record->type != now->type) return TWO_CREATED;
  bool has_mode = now->type != ENTRY_LINK;
  if (has_mode && ((record->mode[side] ^ now->mode) & mode_bits)) return TWO_CHANGED;
  // The time of a directory follows what is in it.
  if (now->type == ENTRY_DIRECTORY) return TWO_SAME;
  return record->size == now->size && record->mtime_ns[side] == now->mtime_ns ? TWO_SAME
                                                                              : TWO_CHANGED;
}

enum two_verdict two_decide(enum two_change left, enum two_change right) {
  static const enum two_verdict verdicts[TWO_CHANGES][TWO_CHANGES] = {
      [TWO_NONE] =
          {[TWO_SAME] = TWO_TO_LEFT, [TWO_CHANGED] = TWO_TO_LEFT, [TWO_CREATED] = TWO_TO_LEFT},
      [TWO_SAME] = {[TWO_NONE] = TWO_TO_RIGHT,
                    [TWO_CHANGED] = TWO_TO_LEFT,
                    [TWO_CREATED] = TWO_TO_LEFT,
                    [TWO_DELETED] = TWO_DELETE_LEFT},
      [TWO_CHANGED] = {[TWO_NONE] = TWO_TO_RIGHT,
                       [TWO_SAME] = TWO_TO_RIGHT,
                       [TWO_CHANGED] = TWO_CONFLICT,
                       [TWO_CREATED] = TWO_CONFLICT,
                       [TWO_DELETED] = TWO_KEEP_LEFT},
      [TWO_CREATED] = {[TWO_NONE] = TWO_TO_RIGHT,
                       [TWO_SAME] = TWO_TO_RIGHT,
                       [TWO_CHANGED] = TWO_CONFLICT,
                       [TWO_CREATED] = TWO_CONFLICT,
                       [TWO_DELETED] = TWO_TO_RIGHT},
      [TWO_DELETED] = {[TWO_SAME] = TWO_DELETE_RIGHT,
                       [TWO_CHANGED] = TWO_KEEP_RIGHT,
                       [TWO_CREATED] = TWO_TO_LEFT},
  };
  return verdicts[left][right];
}

// One of the two file systems may keep less of a time than the other.
static bool is_same_time(int64_t left, int64_t right) {
  static const int64_t precisions[] = {100, 1000, 1'000'000, 1'000'000'000, 2'000'000'000};
  if (left == right) return true;
  int64_t later = left > right ? left : right, earlier = left > right ? right : left;
  for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++) {
    int64_t rest = later % precisions[i];
    if (rest < 0) rest += precisions[i];
    if (later - rest == earlier) return true;
  }
  return false;
}

bool two_agree(const struct entry *left, const struct entry *right, uint32_t mode_bits) {
  if (left->type != right->type || left->type == ENTRY_NONE || left->type == ENTRY_OTHER)
    return false;
  if (left->type != ENTRY_LINK && ((left->mode ^ right->mode) & mode_bits)) return false;
  if (left->type == ENTRY_DIRECTORY) return true;
  return left->size == right->size && is_same_time(left->mtime_ns, right->mtime_ns);
}
