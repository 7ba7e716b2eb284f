// What is decided about two files, and which links lead out of their tree. Both are pure.
#include "check.h"
#include "verb/sync.h"

static const struct entry base = {
    .size = 10, .mtime_ns = 5'000'000'123, .mode = 0100644, .type = ENTRY_FILE, .has = HAS_STAT};

static void decisions(void) {
  struct sync stat = {.by = COPSE_BY_STAT, .preserve = WANT_MODE | WANT_MTIME};
  struct sync content = stat, newer = stat, never = stat, nothing = stat;
  content.by = COPSE_BY_CONTENT;
  newer.overwrite = OVERWRITE_NEWER;
  never.overwrite = OVERWRITE_NEVER;
  nothing.preserve = 0;
  struct entry longer = base, later = base, private = base, coarse = base, unknown = base;
  longer.size++;
  later.mtime_ns++;
  private.mode = 0100600;
  coarse.mtime_ns = 4'000'000'000;
  unknown.mtime_ns = INT64_MIN;
  const struct {
    const struct sync *sync;
    uint64_t precision;
    const struct entry *left, *right;
    bool was_looked, is_same;
    enum sync_action action;
  } cases[] = {
      {&stat, 1, &base, &base, false, false, ACTION_NOTHING},
      {&stat, 1, &base, &longer, false, false, ACTION_COPY},
      {&stat, 1, &base, &later, false, false, ACTION_COPY},
      {&stat, 1, &base, &private, false, false, ACTION_SET},
      {&nothing, 1, &base, &private, false, false, ACTION_NOTHING},
      {&stat, 1, &base, &coarse, false, false, ACTION_COPY},
      {&stat, 2'000'000'000, &base, &coarse, false, false, ACTION_NOTHING},
      {&stat, 1'000'000'000, &base, &coarse, false, false, ACTION_COPY},
      {&stat, 1, &unknown, &base, false, false, ACTION_COPY},
      {&stat, 1, &unknown, &unknown, false, false, ACTION_COPY},
      {&content, 1, &base, &base, false, false, ACTION_LOOK},
      {&content, 1, &base, &longer, false, false, ACTION_COPY},
      {&content, 1, &base, &later, true, true, ACTION_SET},
      {&content, 1, &base, &base, true, false, ACTION_COPY},
      {&content, 1, &base, &base, true, true, ACTION_NOTHING},
      {&newer, 1, &base, &later, false, false, ACTION_KEEP},
      {&newer, 1, &later, &base, false, false, ACTION_COPY},
      {&never, 1, &later, &base, false, false, ACTION_KEEP},
      {&never, 1, &base, &base, false, false, ACTION_NOTHING},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    CHECK(sync_decide(cases[i].sync, cases[i].precision, cases[i].left, cases[i].right,
                      cases[i].was_looked, cases[i].is_same) == cases[i].action);
}

static void escapes(void) {
  CHECK(!sync_escapes(0, SPAN("a")));
  CHECK(!sync_escapes(1, SPAN("../a")));
  CHECK(!sync_escapes(0, SPAN("a/../b")));
  CHECK(!sync_escapes(2, SPAN("./..//../x")));
  CHECK(sync_escapes(0, SPAN("..")));
  CHECK(sync_escapes(0, SPAN("a/../../b")));
  CHECK(sync_escapes(1, SPAN("../../a")));
  CHECK(sync_escapes(3, SPAN("/etc")));
  CHECK(sync_escapes(3, SPAN("")));
}

static void names(void) {
  CHECK(store_name_is_ours(SPAN(".copse-0123456789abcdef.part")));
  CHECK(!store_name_is_ours(SPAN(".copse-0123456789ABCDEF.part")));
  CHECK(!store_name_is_ours(SPAN(".copse-0123456789abcde.part")));
  CHECK(!store_name_is_ours(SPAN(".copse-0123456789abcdef.pars")));
  CHECK(!store_name_is_ours(SPAN("")));
}

int main(void) {
  decisions();
  escapes();
  names();
}
