// pattern: what a record of nodes is compiled to, which nodes a name fits, and which files. Names
// are those that a person would write.
#include "tree/pattern.h"

#include <stdio.h>

#include "base/record.h"
#include "check.h"
#include "copse.h"

static uint8_t bytes[1 << 20];
static struct record_writer request;
static struct arena arena;

static void begin(void) {
  request = (struct record_writer){bytes, sizeof bytes, 0};
  arena_begin(&arena);
}

// Node by node: what `write` puts into it.
static void node(void (*write)(struct record_writer *writer, uint32_t with), uint32_t with) {
  static uint8_t inner[1 << 16];
  struct record_writer writer = {inner, sizeof inner, 0};
  write(&writer, with);
  CHECK(writer.size <= writer.capacity);
  size_t at = request.size;
  record_put_text(&request, COPSE_KEY_NODE, (span){inner, writer.size});
  CHECK(request.size <= request.capacity);
  request.at[at + 2] = COPSE_FIELD_RECORD;
}

static void root(uint32_t which) { record_put_number(&request, COPSE_KEY_PATTERN, which); }

static int32_t compile(struct patterns **out, struct fault *fault) {
  span record = {request.at, request.size};
  CHECK(record_check(record, fault) == 0);
  *out = nullptr;
  return patterns_compile(record, &arena, out, fault);
}

static struct patterns *compiled(void) {
  struct patterns *patterns;
  struct fault fault = {};
  CHECK(compile(&patterns, &fault) == 0);
  return patterns;
}

static void end(struct patterns *patterns) {
  patterns_free(patterns);
  arena_free(&arena);
}

static void refused(const char *why) {
  struct patterns *patterns;
  struct fault fault = {};
  CHECK(compile(&patterns, &fault) == COPSE_E_ARGUMENT);
  if (!strstr(fault.text, why)) fprintf(stderr, "%s, not: %s\n", fault.text, why);
  CHECK(strstr(fault.text, why));
  end(patterns);
}

static void put(struct record_writer *writer, uint16_t key, const char *text) {
  record_put_text(writer, key, span_of(text));
}

// ── Nodes ──

static void leaf(struct record_writer *writer, uint32_t) {
  put(writer, COPSE_NODE_NAME, "d*");
  put(writer, COPSE_NODE_FILE, "*.c");
  put(writer, COPSE_NODE_FILE, "m*");
}

static void counted(struct record_writer *writer, uint32_t) {
  put(writer, COPSE_NODE_NAME, "*");
  put(writer, COPSE_NODE_FILE, "*.c");
  record_put_number(writer, COPSE_NODE_MIN, 2);
  record_put_number(writer, COPSE_NODE_MAX, 3);
  put(writer, COPSE_NODE_FORBIDDEN, "*.c");  // not the glob of the file: it counts directories, too
  put(writer, COPSE_NODE_FORBIDDEN, "bad");
}

static void above(struct record_writer *writer, uint32_t) {
  record_put_number(writer, COPSE_NODE_DIRECTORY, 0);
  record_put_number(writer, COPSE_NODE_DIRECTORY, 1);
  record_put_number(writer, COPSE_NODE_MIN, 0);
  record_put_number(writer, COPSE_NODE_MAX, 1);
}

static void parts(void) {
  begin();
  node(leaf, 0);
  node(counted, 0);
  node(above, 0);
  root(2);
  root(0);
  root(2);
  struct patterns *patterns = compiled();
  CHECK(patterns->node_count == 3 && patterns->node_words == 1 && patterns->root_count == 3);
  CHECK(patterns->root[0] == 2 && patterns->root[1] == 0 && patterns->root[2] == 2);
  CHECK(bit_get(patterns->roots, 0) && !bit_get(patterns->roots, 1) && bit_get(patterns->roots, 2));
  // "*.c" of two nodes is one glob, the forbidden one another.
  CHECK(patterns->glob_count == 4 && globs_count(patterns->own) == 2);
  const struct pattern_node *first = &patterns->nodes[0], *second = &patterns->nodes[1],
                            *third = &patterns->nodes[2];
  CHECK(first->files.count == 2 && first->files.at[0].what == second->files.at[0].what);
  CHECK(second->files.at[0].min == 2 && second->files.at[0].max == 3);
  CHECK(first->files.at[1].min == 1 && first->files.at[1].max == NO_BOUND);
  CHECK(second->forbidden.count == 2 && bit_get(patterns->forbidden, second->forbidden.at[0].what));
  CHECK(!bit_get(patterns->forbidden, first->files.at[0].what));
  CHECK(patterns->looks_at_directories);
  CHECK(!first->any_name && second->any_name && third->any_name && third->name == NO_BOUND);
  // A bound belongs to the piece before it.
  CHECK(third->directories.count == 2 && third->directories.at[0].min == 1);
  CHECK(third->directories.at[1].min == 0 && third->directories.at[1].max == 1);
  CHECK(!first->waits && !second->waits && third->waits);
  // What is required, here and below: two files; one directory and its two files.
  CHECK(first->weight == 2 && second->weight == 1 && third->weight == 3);
  CHECK(bit_get(patterns->below + 2, 0) && bit_get(patterns->below + 2, 1));
  end(patterns);
}

static uint64_t named(const struct patterns *patterns, const char *name) {
  struct matcher *own = matcher_take(patterns->own);
  CHECK(own && patterns->node_words == 1);
  uint64_t nodes = 0;
  patterns_name(patterns, own, span_of(name), &nodes);
  matcher_give(own);
  return nodes;
}

static void names(void) {
  begin();
  node(leaf, 0);
  node(counted, 0);
  node(above, 0);
  struct patterns *patterns = compiled();
  CHECK(named(patterns, "data") == 7);
  CHECK(named(patterns, "other") == 6);
  CHECK(named(patterns, "") == 6);
  end(patterns);
}

static void files(void) {
  begin();
  node(leaf, 0);
  node(counted, 0);
  node(above, 0);
  struct patterns *patterns = compiled();
  uint32_t c = patterns->nodes[0].files.at[0].what, m = patterns->nodes[0].files.at[1].what;
  uint32_t bad = patterns->nodes[1].forbidden.at[1].what;
  uint32_t found[4] = {};
  CHECK(!files_fit(patterns, 0, found) && files_fit(patterns, 2, found));
  found[c] = 1;
  CHECK(!files_fit(patterns, 0, found));
  found[m] = 1;  // one file may be both
  CHECK(files_fit(patterns, 0, found) && !files_fit(patterns, 1, found));
  for (uint32_t count = 2; count <= 3; count++) {
    found[c] = count;
    CHECK(files_fit(patterns, 1, found));
  }
  found[bad] = 1;
  CHECK(!files_fit(patterns, 1, found) && files_fit(patterns, 0, found));
  found[bad] = 0;
  found[c] = 4;
  CHECK(!files_fit(patterns, 1, found) && files_fit(patterns, 0, found));
  end(patterns);
}

// ── More than a word of bits ──

static void numbered(struct record_writer *writer, uint32_t with) {
  char text[32];
  snprintf(text, sizeof text, "n%u", with);
  put(writer, COPSE_NODE_NAME, text);
  snprintf(text, sizeof text, "f%u", with);
  put(writer, COPSE_NODE_FILE, text);
  if (with > 0) record_put_number(writer, COPSE_NODE_DIRECTORY, with - 1);
}

static void many(void) {
  constexpr uint32_t COUNT = 150;
  begin();
  for (uint32_t i = 0; i < COUNT; i++) node(numbered, i);
  root(COUNT - 1);
  struct patterns *patterns = compiled();
  CHECK(patterns->node_words == 3 && patterns->glob_words == 3 && patterns->glob_count == COUNT);
  struct matcher *own = matcher_take(patterns->own);
  CHECK(own);
  for (uint32_t i = 0; i < COUNT; i++) {
    char name[32];
    snprintf(name, sizeof name, "n%u", i);
    uint64_t nodes[3] = {};
    patterns_name(patterns, own, span_of(name), nodes);
    CHECK(bit_next(nodes, 0, COUNT) == i && bit_next(nodes, i + 1, COUNT) == COUNT);
    CHECK(patterns->nodes[i].weight == 2 * i + 1);
    const uint64_t *below = patterns->below + (size_t)i * 3;
    CHECK(bit_next(below, 0, COUNT) == (i ? i - 1 : COUNT));
  }
  matcher_give(own);
  end(patterns);
}

static void bits(void) {
  uint64_t words[3] = {};
  CHECK(bit_next(words, 0, 192) == 192 && bit_next(words, 5, 5) == 5);
  for (uint32_t at = 0; at < 192; at += 63) bit_set(words, at);
  uint32_t seen = 0;
  for (uint32_t at = bit_next(words, 0, 192); at < 192; at = bit_next(words, at + 1, 192))
    CHECK(at == 63 * seen++);
  CHECK(seen == 4 && bit_next(words, 127, 189) == 189);
}

// ── What cannot be ──

static void itself(struct record_writer *writer, uint32_t) {
  record_put_number(writer, COPSE_NODE_DIRECTORY, 0);
}

static void crowded(struct record_writer *writer, uint32_t with) {
  for (uint32_t i = 0; i < with; i++) put(writer, COPSE_NODE_FILE, "f");
}

static void empty(struct record_writer *, uint32_t) {}

static void broken(struct record_writer *writer, uint32_t) {
  put(writer, COPSE_NODE_FILE, "{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{");
}

static void refusals(void) {
  begin();
  node(itself, 0);
  refused("names a directory that is not there");
  begin();
  node(empty, 0);
  root(1);
  refused("a pattern that is not there");
  begin();
  for (uint32_t i = 0; i <= NODES_MAX; i++) node(empty, 0);
  refused("at most 4096 directories");
  begin();
  for (uint32_t i = 0; i <= PIECES_MAX / 1000; i++) node(crowded, 1000);
  refused("at most 65536 globs");
  begin();
  node(broken, 0);
  refused("braces more than 16 deep");
  patterns_free(nullptr);
}

int main(void) {
  parts();
  names();
  files();
  many();
  bits();
  refusals();
}
