// path: what is safe below a root, and taking paths apart.
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                        \
    }                                                                 \
  } while (0)

#include "base/path.h"

static void safe_ones(void) {
  static const char *const safe[] = {"",    "a",     "a/b", "...", "a..b", "a/.b/b.", ".a",
                                     "..a", "a\\..", "~",   " ",   "a\nb", "C:",      "\xff\xfe"};
  for (size_t i = 0; i < sizeof safe / sizeof *safe; i++) {
    struct fault fault;
    CHECK(path_safe(span_of(safe[i]), &fault) == 0);
  }
}

static void unsafe_ones(void) {
  static const char *const unsafe[] = {"/",   "/a",   "a/",    ".",    "..",  "./a",    "../a",
                                       "a/.", "a/..", "a/./b", "a//b", "//a", "a/../b", "a//"};
  for (size_t i = 0; i < sizeof unsafe / sizeof *unsafe; i++) {
    struct fault fault = {};
    CHECK(path_safe(span_of(unsafe[i]), &fault) == COPSE_E_UNSAFE_PATH);
    CHECK(fault.code == COPSE_E_UNSAFE_PATH);
    CHECK(fault.text[0]);
  }
  struct fault fault;
  CHECK(path_safe(SPAN("a\0b"), &fault) == COPSE_E_UNSAFE_PATH);
  CHECK(path_safe(SPAN("a\0"), &fault) == COPSE_E_UNSAFE_PATH);
}

static void parts_come_in_order(void) {
  span rest = SPAN("//a/bc//d/"), part;
  CHECK(path_next(&rest, &part) && span_equal(part, SPAN("a")));
  CHECK(path_next(&rest, &part) && span_equal(part, SPAN("bc")));
  CHECK(path_next(&rest, &part) && span_equal(part, SPAN("d")));
  CHECK(!path_next(&rest, &part));
  CHECK(!path_next(&rest, &part));
  rest = (span){};
  CHECK(!path_next(&rest, &part));
}

static void name_and_parent(void) {
  static const struct {
    const char *path, *parent, *name;
  } table[] = {
      {"", "", ""}, {"a", "", "a"}, {"a/b", "a", "b"}, {"a/b/c", "a/b", "c"}, {"/a", "", "a"}};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    CHECK(span_equal(path_name(span_of(table[i].path)), span_of(table[i].name)));
    CHECK(span_equal(path_parent(span_of(table[i].path)), span_of(table[i].parent)));
  }
  CHECK(path_name((span){}).size == 0);
  CHECK(path_parent((span){}).size == 0);
}

int main(void) {
  safe_ones();
  unsafe_ones();
  parts_come_in_order();
  name_and_parent();
}
