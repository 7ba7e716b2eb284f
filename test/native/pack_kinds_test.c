// Kinds of a pack's files: found again as what they are, and in a time that does not grow with the
// square of how many a hostile pack says there are.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "store/pack_making.h"
#include "store/pack_rows.h"

constexpr size_t NAME = 9;

struct made {
  struct arrow arrow;
  uint8_t *types, *names;
  uint32_t *offsets;
  struct rows rows;
};

// So many rows, each of `count / of` kinds in turn.
static struct made make(size_t count, size_t of) {
  struct made made = {.types = calloc(count, 1),
                      .names = malloc(count * NAME + 1),
                      .offsets = calloc(count + 1, sizeof(uint32_t)),
                      .rows = {calloc(count, sizeof(struct row)), count}};
  for (size_t i = 0; i < count; i++) {
    size_t kind = i % of;
    made.types[i] = (uint8_t)(kind % 7);
    snprintf((char *)made.names + i * NAME, NAME + 1, "r%08zu", kind);
    made.offsets[i + 1] = (uint32_t)((i + 1) * NAME);
    made.rows.at[i].row = (uint32_t)i;
  }
  made.arrow = (struct arrow){.columns = 2, .rows = count};
  made.arrow.column[0] = (struct arrow_column){
      .name = SPAN("copse_type"), .data = {made.types, count}, .width = 1, .type = ARROW_INT8};
  made.arrow.column[1] =
      (struct arrow_column){.name = SPAN("copse_repo"),
                            .offsets = {(const uint8_t *)made.offsets, (count + 1) * 4},
                            .data = {made.names, count * NAME},
                            .type = ARROW_UTF8};
  return made;
}

static void drop(struct made *made) {
  free(made->types);
  free(made->names);
  free(made->offsets);
  free(made->rows.at);
}

static uint64_t cpu_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (uint64_t)now.tv_sec * 1'000'000'000 + (uint64_t)now.tv_nsec;
}

static uint64_t kinds_of(size_t count, size_t of) {
  struct made made = make(count, of);
  struct pack_index index = {};
  struct fault fault = {};
  arena_begin(&index.arena);
  uint64_t before = cpu_ns();
  CHECK(rows_kinds(&made.rows, 0, &index, &made.arrow, false, &fault) == 0);
  uint64_t took = cpu_ns() - before;
  CHECK(index.kinds_count == of);
  for (size_t i = 0; i < count; i++) {
    // In the order in which they came.
    CHECK(made.rows.at[i].kind == i % of);
    const struct pack_kind *kind = &index.kinds[i % of];
    CHECK(kind->type == made.types[i]);
    CHECK(span_equal(kind->repo, (span){made.names + i * NAME, NAME}));
  }
  free(index.kinds);
  arena_free(&index.arena);
  drop(&made);
  return took;
}

static uint64_t sections_of(size_t count, size_t of) {
  struct made made = make(count, of);
  struct making making = {.by_kind.order = section_order};
  mutex_begin(&making.lock);
  uint64_t before = cpu_ns();
  for (size_t i = 0; i < count; i++) {
    span repo = {made.names + i * NAME, NAME};
    struct pack_section *section = section_find(&making, made.types[i], repo);
    CHECK(section && section->type == made.types[i] && span_equal(section->repo, repo));
    CHECK(section == making.sections[i % of]);
  }
  uint64_t took = cpu_ns() - before;
  CHECK(making.sections_count == of);
  for (size_t i = 0; i < of; i++) section_drop(&making, making.sections[i]);
  free(making.sections);
  mutex_end(&making.lock);
  drop(&made);
  return took;
}

// Sixteen times as many take about twenty times as long, and 256 times if all are looked through.
static void is_not_quadratic(uint64_t (*take)(size_t count, size_t of)) {
  constexpr size_t FEW = 3000, MANY = 16 * FEW;
  uint64_t few = UINT64_MAX, many = UINT64_MAX;
  for (int i = 0; i < 3; i++) {
    uint64_t took = take(FEW, FEW);
    if (took < few) few = took;
  }
  for (int i = 0; i < 3 && many / 90 > few; i++) {
    uint64_t took = take(MANY, MANY);
    if (took < many) many = took;
  }
  CHECK(many / 90 <= few);
}

int main(void) {
  kinds_of(1, 1);
  kinds_of(100, 1);
  kinds_of(100, 7);
  sections_of(100, 1);
  sections_of(100, 7);
  is_not_quadratic(kinds_of);
  is_not_quadratic(sections_of);
  return 0;
}
