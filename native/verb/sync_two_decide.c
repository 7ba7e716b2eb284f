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

bool two_agree(const struct entry *left, const struct entry *right, uint32_t mode_bits) {
  if (left->type != right->type || left->type == ENTRY_NONE || left->type == ENTRY_OTHER)
    return false;
  if (left->type != ENTRY_LINK && ((left->mode ^ right->mode) & mode_bits)) return false;
  if (left->type == ENTRY_DIRECTORY) return true;
  if (left->size != right->size) return false;
  // One of the two file systems may keep less of a time than the other.
  return sync_may_be_same_time(left->mtime_ns, right->mtime_ns) ||
         sync_may_be_same_time(right->mtime_ns, left->mtime_ns);
}
