// sync_two: what keeps two trees equal after both were changed. Both are held against what they had
// in common when they were last synced; what comes of it are steps with a direction, which `sync`
// then does in each direction as it does any plan.
//
//   sync_two.c         both trees are walked: steps come out, or what they have in common is kept
//   sync_two_decide.c  what is to be done about one pair
//   sync_two_name.c    the name of the version that does not get the name
//   sync_two_state.c   the file that says what they had in common
#pragma once
#include "verb/sync.h"

// ── sync_two_decide.c ──

// What an entry was on each side when both were last the same. Both were of one type and size.
struct two_record {
  span name;
  enum entry_type type;
  uint64_t size;
  int64_t mtime_ns[2];
  uint32_t mode[2];
};

enum two_change : uint8_t {
  TWO_NONE,     // not there then, not there now
  TWO_SAME,     // as it was
  TWO_CHANGED,  // another content, time or mode
  TWO_CREATED,  // new, or something of another type than it was
  TWO_DELETED,
  TWO_CHANGES,
};
enum two_verdict : uint8_t {
  TWO_NOTHING,
  TWO_TO_RIGHT,
  TWO_TO_LEFT,
  TWO_DELETE_LEFT,
  TWO_DELETE_RIGHT,
  TWO_KEEP_LEFT,   // changed here and deleted there: the change is kept
  TWO_KEEP_RIGHT,  // likewise
  TWO_CONFLICT,    // two versions of one name
};
// All pure. `record` and `now` may be nullptr; `mode_bits`: of the mode, those that matter.
enum two_change two_change(const struct two_record *record, uint8_t side, const struct entry *now,
                           uint32_t mode_bits);
enum two_verdict two_decide(enum two_change left, enum two_change right);
// Both sides have the same now, as far as size, time and mode tell. Both have HAS_STAT.
bool two_agree(const struct entry *left, const struct entry *right, uint32_t mode_bits);

// ── sync_two_name.c ──

// `report.txt` of the left side becomes `report.conflict-left-20261127-134501.txt`, by the time of
// its content; from `number` 2 on with that, too. At most 255 bytes.
constexpr size_t TWO_NAME_MAX = 255;
span two_name(span name, uint8_t side, int64_t mtime_ns, uint32_t number,
              uint8_t into[TWO_NAME_MAX + 1]);

// ── sync_two_state.c ──

struct two_state;
// What was known of one directory, in order of names.
struct two_block {
  struct two_record *records;
  size_t count;
  uint8_t *bytes;
};

// `pair` names the two places: a state of others is no state. What was there is in *found; damage
// is no failure, and says no more than a state that is missing.
int32_t two_state_open(const struct io_ops *io, span path, span pair, struct two_state **out,
                       enum copse_two *found, struct fault *fault);
void two_state_close(struct two_state *state);  // nullptr is fine; what was not ended is taken back
// Nothing known of it: a count of zero. Any thread.
int32_t two_state_find(const struct two_state *state, span directory, struct two_block *out,
                       struct fault *fault);
void two_block_free(struct two_block *block);  // zeroed is fine
// Takes the records of `count` entries apart. Trusts nothing. `into` has room for them.
int32_t two_block_read(span bytes, struct two_record *into, size_t count, struct fault *fault);

// A new one, which takes the place of the old one at two_state_end. Any thread may add; each
// directory once.
int32_t two_state_begin(struct two_state *state, struct fault *fault);
int32_t two_state_add(struct two_state *state, span directory, const struct two_record *records,
                      size_t count, struct fault *fault);
// What was known of this directory, and of all below it, stays known.
int32_t two_state_carry(struct two_state *state, span directory, struct fault *fault);
// Once something could not be added or carried, the old one stays, and this says why.
int32_t two_state_end(struct two_state *state, struct fault *fault);
