// memory: the store as a verb sees it: trees by name, whole files or none, and what a reader holds.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                        \
    }                                                                 \
  } while (0)

#include "base/record.h"
#include "engine/runtime.h"
#include "store/store.h"
#include "tree/join.h"

static struct runtime *runtime;
static struct task task;
static struct fault fault;

static void open_place(struct store *store, const char *path) {
  uint8_t bytes[512];
  struct record_writer place = {bytes, sizeof bytes, 0};
  record_put_text(&place, COPSE_PLACE_SCHEME, SPAN("memory"));
  record_put_text(&place, COPSE_PLACE_PATH, span_of(path));
  CHECK(store_open(store, (span){bytes, place.size}, &task, &fault) == 0);
  store->shown = SPAN("memory:");  // the record above goes
}

// The directory an entry below the root stands in, held, and its name; missing ones are made on
// request. The path "" is the root itself.
static int32_t parent_of(struct store *store, const char *path, bool make, span *name,
                         struct directory **out, struct fault *own) {
  static thread_local char kept[512];
  struct arena arena;
  arena_begin(&arena);
  struct entry root;
  struct directory *at;
  int32_t code = store->ops->above(store, make, &arena, &root, &at, own);
  CHECK(code == 0 || code == COPSE_E_NOT_FOUND);
  span rest = span_of(path), part = root.name;
  while (code == 0 && rest.size > 0) {
    struct entry entry = {.name = part, .type = ENTRY_DIRECTORY, .mtime_ns = INT64_MIN};
    struct directory *below;
    code = store->ops->enter(at, &entry, &below, own);
    if (code == COPSE_E_NOT_FOUND && make) {
      code = store->ops->create(at, &(struct wanted){.entry = &entry}, &below, own);
      if (code == COPSE_E_EXISTS) code = store->ops->enter(at, &entry, &below, own);
    }
    store->ops->leave(at);
    at = below;
    size_t length = 0;
    while (length < rest.size && rest.at[length] != '/') length++;
    part = (span){rest.at, length};
    length += length < rest.size;
    rest = (span){rest.at + length, rest.size - length};
  }
  if (code == 0) {
    CHECK(part.size < sizeof kept);
    memcpy(kept, part.at, part.size);
    *name = (span){(const uint8_t *)kept, part.size};
    *out = at;
  }
  arena_free(&arena);
  return code;
}

static int32_t open_writer(struct store *store, const char *path, uint32_t mode, int64_t mtime_ns,
                           struct writer **writer, struct fault *own) {
  struct entry entry = {.type = ENTRY_FILE, .mode = mode, .mtime_ns = mtime_ns};
  struct directory *directory;
  int32_t code = parent_of(store, path, true, &entry.name, &directory, own);
  if (code < 0) return code;
  struct wanted wanted = {.entry = &entry, .what = (mode ? WANT_MODE : 0u) | WANT_MTIME};
  code = store->ops->writer(directory, &wanted, writer, own);
  store->ops->leave(directory);
  return code;
}

static struct writer *begin(struct store *store, const char *path, uint32_t mode,
                            int64_t mtime_ns) {
  struct writer *writer = nullptr;
  CHECK(open_writer(store, path, mode, mtime_ns, &writer, &fault) == 0);
  return writer;
}

static void put(struct store *store, const char *path, const char *content) {
  struct writer *writer = begin(store, path, 0, INT64_MIN);
  CHECK(store->ops->write(writer, 0, (const uint8_t *)content, strlen(content), &fault) == 0);
  struct entry out = {};
  CHECK(store->ops->commit(writer, strlen(content), &out, &fault) == 0);
  CHECK(out.has & HAS_STAT);
  CHECK(out.size == strlen(content));
  CHECK(out.type == ENTRY_FILE);
}

static int32_t cannot_put(struct store *store, const char *path) {
  struct entry out = {};
  struct writer *writer;
  int32_t code = open_writer(store, path, 0, INT64_MIN, &writer, &fault);
  return code < 0 ? code : store->ops->commit(writer, 0, &out, &fault);
}

static int32_t create(struct store *store, const char *path) {
  struct entry entry = {.type = ENTRY_DIRECTORY, .mode = 0700, .mtime_ns = INT64_MIN};
  struct directory *directory, *made;
  int32_t code = parent_of(store, path, true, &entry.name, &directory, &fault);
  if (code < 0) return code;
  code = store->ops->create(directory, &(struct wanted){.entry = &entry, .what = WANT_MODE}, &made,
                            &fault);
  store->ops->leave(directory);
  if (code == 0) store->ops->leave(made);
  return code;
}

static int32_t take_away(struct store *store, const char *path, struct fault *own) {
  struct entry entry = {};
  struct directory *directory;
  int32_t code = parent_of(store, path, false, &entry.name, &directory, own);
  if (code < 0) return code;
  code = store->ops->remove(directory, &entry, own);
  store->ops->leave(directory);
  return code;
}

static int32_t look(struct store *store, const char *path, struct entry *out) {
  struct arena arena;
  arena_begin(&arena);
  struct directory *directory;
  *out = (struct entry){};
  int32_t code = *path ? store->ops->find(store, span_of(path), &arena, out, &directory, &fault)
                       : store->ops->root(store, &arena, out, &directory, &fault);
  if (code == 0) store->ops->leave(directory);
  arena_free(&arena);
  out->name = (span){};
  return code;
}

static struct directory *root_of(struct store *store) {
  struct arena arena;
  arena_begin(&arena);
  struct entry entry;
  struct directory *root;
  CHECK(store->ops->root(store, &arena, &entry, &root, &fault) == 0);
  CHECK(entry.type == ENTRY_DIRECTORY);
  arena_free(&arena);
  return root;
}

static void read_all(struct reader *reader, char *into, size_t size) {
  size_t got = 0;
  while (!reader->at_end) {
    int64_t n = reader->store->ops->read(reader, got, (uint8_t *)into + got, 3, &fault);
    CHECK(n >= 0);
    got += (size_t)n;
    CHECK(got < size);
  }
  into[got] = 0;
}

static bool holds(struct store *store, const char *path, const char *content) {
  struct arena arena;
  arena_begin(&arena);
  struct entry entry;
  struct directory *parent;
  CHECK(store->ops->find(store, span_of(path), &arena, &entry, &parent, &fault) == 0);
  struct reader reader = {};
  CHECK(store->ops->reader(parent, &entry, &reader, &fault) == 0);
  char text[256];
  read_all(&reader, text, sizeof text);
  store->ops->read_end(&reader);
  store->ops->leave(parent);
  arena_free(&arena);
  return strcmp(text, content) == 0;
}

static void names_of_trees_are_the_first_part(void) {
  struct store one, two, below;
  struct entry entry;
  open_place(&one, "one");
  open_place(&two, "two/");
  CHECK(look(&one, "", &entry) == COPSE_E_NOT_FOUND);
  put(&one, "a/b/c", "hello");
  open_place(&below, "one/a/b");
  CHECK(holds(&one, "a/b/c", "hello"));
  CHECK(holds(&below, "c", "hello"));
  CHECK(look(&two, "", &entry) == COPSE_E_NOT_FOUND);
  CHECK(look(&one, "", &entry) == 0 && entry.type == ENTRY_DIRECTORY);
  CHECK(look(&one, "a", &entry) == 0 && entry.type == ENTRY_DIRECTORY);
  CHECK(look(&one, "a/b/c", &entry) == 0 && entry.type == ENTRY_FILE && entry.size == 5);
  CHECK(look(&one, "a/x", &entry) == COPSE_E_NOT_FOUND);
  CHECK(look(&one, "a/b/c/d", &entry) == COPSE_E_NOT_FOUND);
  store_close(&one);
  store_close(&two);
  store_close(&below);
}

static void bad_places_are_refused(void) {
  static const char *const bad[] = {"", "/", "/x", "a/../b", "..", "a//b", "./a"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    uint8_t bytes[128];
    struct record_writer place = {bytes, sizeof bytes, 0};
    record_put_text(&place, COPSE_PLACE_SCHEME, SPAN("memory"));
    record_put_text(&place, COPSE_PLACE_PATH, span_of(bad[i]));
    struct store store = {};
    CHECK(store_open(&store, (span){bytes, place.size}, &task, &fault) < 0);
    store_close(&store);
  }
}

static void a_tree_may_be_a_file(void) {
  struct store store;
  open_place(&store, "file");
  put(&store, "", "alone");
  struct arena arena;
  arena_begin(&arena);
  struct entry entry;
  struct directory *directory;
  CHECK(store.ops->root(&store, &arena, &entry, &directory, &fault) == 0);
  CHECK(entry.type == ENTRY_FILE);
  CHECK(store.ops->stat(directory, &entry, false, &fault) == 0);
  struct reader reader = {};
  CHECK(store.ops->reader(directory, &entry, &reader, &fault) == 0);
  char text[16];
  read_all(&reader, text, sizeof text);
  CHECK(strcmp(text, "alone") == 0);
  store.ops->read_end(&reader);
  store.ops->leave(directory);
  arena_free(&arena);
  CHECK(cannot_put(&store, "below") == COPSE_E_CHANGED);
  CHECK(take_away(&store, "", &fault) == 0);
  CHECK(look(&store, "", &entry) == COPSE_E_NOT_FOUND);
  store_close(&store);
}

static void mode_and_mtime_are_kept(void) {
  struct store store;
  open_place(&store, "times");
  struct entry entry;
  struct writer *writer = begin(&store, "x", 0640, 1234567890123456789);
  CHECK(store.ops->commit(writer, 0, &entry, &fault) == 0);
  CHECK(look(&store, "x", &entry) == 0);
  CHECK(entry.mtime_ns == 1234567890123456789);
  CHECK((entry.mode & 07777) == 0640);
  CHECK(entry.size == 0);
  uint64_t inode = entry.inode;
  put(&store, "x", "again");  // keeps the bits, as on a disk
  CHECK(look(&store, "x", &entry) == 0);
  CHECK((entry.mode & 07777) == 0640);
  CHECK(entry.mtime_ns != 1234567890123456789);
  CHECK(entry.inode != inode);
  CHECK(create(&store, "d/e") == 0);
  CHECK(look(&store, "d/e", &entry) == 0 && (entry.mode & 07777) == 0700);
  CHECK(create(&store, "d/e") == COPSE_E_EXISTS);
  CHECK(create(&store, "x") == COPSE_E_EXISTS);
  CHECK(create(&store, "x/y") == COPSE_E_CHANGED);
  struct directory *root = root_of(&store);
  struct entry link = {.name = SPAN("l"), .type = ENTRY_LINK, .target = SPAN("x")};
  CHECK(store.ops->make(root, &(struct wanted){.entry = &link}, &fault) == COPSE_E_UNSUPPORTED);
  store.ops->leave(root);
  store_close(&store);
}

static void names_are_bounded(void) {
  struct store store;
  open_place(&store, "names");
  char name[260];
  memset(name, 'n', sizeof name);
  name[255] = 0;
  put(&store, name, "fits");
  name[255] = 'n';
  name[256] = 0;
  CHECK(cannot_put(&store, name) == COPSE_E_LIMIT);
  store_close(&store);
}

static void listings_are_complete(void) {
  struct store store;
  open_place(&store, "list");
  char name[32];
  for (int i = 0; i < 3000; i++) {
    snprintf(name, sizeof name, "f%d", i * 7919 % 3000);
    put(&store, name, "");
  }
  put(&store, "sub/x", "");
  struct directory *root = root_of(&store);
  struct listing listing;
  listing_begin(&listing);
  // Names only, in order of their bytes; then the same as whole entries.
  listing.takes_less = true;
  CHECK(store.ops->list(root, &listing, &fault) == 0 && join_sort(&listing, &fault) == 0);
  CHECK(listing.count == 3001 && !listing.entries);
  struct entry room[2] = {};
  for (size_t i = 0; i < listing.count; i++) {
    struct entry *entry = listing_entry(&listing, i, &room[i % 2]);
    CHECK(i == 0 || span_compare(room[(i + 1) % 2].name, entry->name) < 0);
    CHECK(entry->type == (span_equal(entry->name, SPAN("sub")) ? ENTRY_DIRECTORY : ENTRY_FILE));
  }
  CHECK(listing_complete(&listing, &fault) == 0 && join_sort(&listing, &fault) == 0);
  CHECK(listing.entries && span_equal(listing.entries[0].name, SPAN("f0")));
  CHECK(span_equal(listing_entry(&listing, 3000, room)->name, SPAN("sub")));
  listing_free(&listing);
  listing_begin(&listing);
  CHECK(store.ops->list(root, &listing, &fault) == 0);
  CHECK(listing.count == 3001);
  bool seen[3000] = {};
  for (size_t i = 0; i < listing.count; i++) {
    struct entry *entry = &listing.entries[i];
    if (entry->type == ENTRY_DIRECTORY) {
      CHECK(span_equal(entry->name, SPAN("sub")));
      continue;
    }
    CHECK(entry->type == ENTRY_FILE);
    int n = atoi((const char *)entry->name.at + 1);
    CHECK(n >= 0 && n < 3000 && !seen[n]);
    seen[n] = true;
  }
  listing_free(&listing);
  store.ops->leave(root);
  store_close(&store);
}

static void a_reader_keeps_what_it_opened(void) {
  struct store store;
  open_place(&store, "keep");
  put(&store, "f", "old content");
  struct directory *root = root_of(&store);
  struct entry entry = {.name = SPAN("f"), .type = ENTRY_FILE};
  struct reader reader = {};
  CHECK(store.ops->reader(root, &entry, &reader, &fault) == 0);
  put(&store, "f", "new");
  CHECK(take_away(&store, "f", &fault) == 0);
  char text[32];
  read_all(&reader, text, sizeof text);
  CHECK(strcmp(text, "old content") == 0);
  struct entry measured = {};
  bool holes = true;
  CHECK(store.ops->measure(&reader, &measured, &holes, &fault) == 0);
  CHECK(measured.size == 11 && !holes);
  uint8_t byte;
  CHECK(store.ops->read(&reader, 11, &byte, 1, &fault) == 0);
  CHECK(store.ops->read(&reader, UINT64_MAX, &byte, 1, &fault) == 0);
  store.ops->read_end(&reader);
  CHECK(store.ops->reader(root, &entry, &reader, &fault) == COPSE_E_NOT_FOUND);
  store.ops->leave(root);
  store_close(&store);
}

static void abandoned_and_failed_writes_leave_nothing(void) {
  struct store store;
  open_place(&store, "abandon");
  struct entry out = {};
  struct writer *writer = begin(&store, "new/dir/f", 0644, INT64_MIN);
  CHECK(store.ops->write(writer, 0, (const uint8_t *)"xyz", 3, &fault) == 0);
  store.ops->abandon(writer);
  CHECK(look(&store, "new/dir/f", &out) == COPSE_E_NOT_FOUND);

  // What was free when it began is taken by a directory when it ends; the directory stays
  // meanwhile.
  put(&store, "here", "x");
  writer = begin(&store, "d", 0644, INT64_MIN);
  CHECK(create(&store, "d") == 0);
  CHECK(store.ops->commit(writer, 0, &out, &fault) == COPSE_E_EXISTS);
  writer = begin(&store, "p/q", 0644, INT64_MIN);
  CHECK(take_away(&store, "p", &fault) == COPSE_E_EXISTS);
  store.ops->abandon(writer);
  CHECK(take_away(&store, "p", &fault) == 0);
  CHECK(cannot_put(&store, "d") == COPSE_E_EXISTS);
  CHECK(cannot_put(&store, "here/below") == COPSE_E_CHANGED);
  CHECK(cannot_put(&store, "here/far/below") == COPSE_E_CHANGED);
  store_close(&store);
}

static void writes_may_come_in_any_order(void) {
  struct store store;
  open_place(&store, "order");
  struct writer *writer = begin(&store, "f", 0644, INT64_MIN);
  CHECK(store.ops->write(writer, 6, (const uint8_t *)"world", 5, &fault) == 0);
  CHECK(store.ops->write(writer, 0, (const uint8_t *)"hello", 5, &fault) == 0);
  CHECK(store.ops->write(writer, 5, (const uint8_t *)" ", 1, &fault) == 0);
  CHECK(store.ops->write(writer, 11, nullptr, 0, &fault) == 0);
  CHECK(store.ops->write(writer, UINT64_MAX - 2, (const uint8_t *)"much", 4, &fault) ==
        COPSE_E_NO_SPACE);
  struct entry out = {};
  CHECK(store.ops->commit(writer, 11, &out, &fault) == 0);
  CHECK(holds(&store, "f", "hello world"));
  store_close(&store);
}

static void removing(void) {
  struct store store;
  open_place(&store, "remove");
  put(&store, "d/e/f", "x");
  CHECK(take_away(&store, "d", &fault) == COPSE_E_EXISTS);
  CHECK(strstr(fault.text, "not empty"));
  CHECK(take_away(&store, "d/none", &fault) == COPSE_E_NOT_FOUND);
  CHECK(take_away(&store, "d/e/f/g", &fault) == COPSE_E_CHANGED);

  // Who holds a directory that is removed sees an empty one.
  struct directory *root = root_of(&store), *d, *e;
  CHECK(store.ops->enter(root, &(struct entry){.name = SPAN("d")}, &d, &fault) == 0);
  CHECK(store.ops->enter(d, &(struct entry){.name = SPAN("e")}, &e, &fault) == 0);
  CHECK(take_away(&store, "d/e/f", &fault) == 0);
  CHECK(take_away(&store, "d/e", &fault) == 0);
  struct listing listing;
  listing_begin(&listing);
  CHECK(store.ops->list(e, &listing, &fault) == 0);
  CHECK(listing.count == 0);
  listing_free(&listing);
  struct entry gone = {.name = SPAN("f")};
  CHECK(store.ops->stat(e, &gone, false, &fault) == COPSE_E_NOT_FOUND);
  put(&store, "d/e", "a file now");
  CHECK(store.ops->enter(d, &(struct entry){.name = SPAN("e")}, &(struct directory *){}, &fault) ==
        COPSE_E_CHANGED);
  struct reader reader;
  CHECK(store.ops->reader(root, &(struct entry){.name = SPAN("d")}, &reader, &fault) ==
        COPSE_E_CHANGED);
  store.ops->leave(e);
  store.ops->leave(d);
  store.ops->leave(root);
  store.ops->leave(nullptr);
  store_close(&store);
}

static void a_deep_tree_is_freed_without_recursion(void) {
  constexpr size_t DEPTH = 200'000;
  char *path = malloc(2 * DEPTH);
  CHECK(path);
  for (size_t i = 0; i < DEPTH; i++) {
    path[2 * i] = 'd';
    path[2 * i + 1] = '/';
  }
  path[2 * DEPTH - 1] = 0;
  struct store store;
  open_place(&store, "deep");
  put(&store, path, "bottom");
  free(path);
  store_close(&store);
}

// Readers see the whole old or the whole new content while writers replace, add and remove. For the
// sanitizers too.
static void *churn(void *argument) {
  unsigned seed = (unsigned)(uintptr_t)argument;
  struct fault own = {};
  struct store store;
  uint8_t bytes[128];
  struct record_writer place = {bytes, sizeof bytes, 0};
  record_put_text(&place, COPSE_PLACE_SCHEME, SPAN("memory"));
  record_put_text(&place, COPSE_PLACE_PATH, SPAN("churn"));
  CHECK(store_open(&store, (span){bytes, place.size}, &task, &own) == 0);
  for (int round = 0; round < 3000; round++) {
    seed = seed * 1664525u + 1013904223u;
    struct arena arena;
    arena_begin(&arena);
    struct entry entry = {};
    struct directory *parent;
    struct writer *writer;
    struct reader reader;
    if (seed >> 30 == 0) {
      // The directory may be taken away between the two.
      int32_t code = open_writer(&store, "d/f", 0644, INT64_MIN, &writer, &own);
      CHECK(code == 0 || code == COPSE_E_NOT_FOUND);
      uint8_t content[64];
      memset(content, 'a' + (int)(seed >> 16 & 15), sizeof content);
      if (code == 0) {
        CHECK(store.ops->write(writer, 0, content, sizeof content, &own) == 0);
        code = store.ops->commit(writer, sizeof content, &entry, &own);
        CHECK(code == 0 || code == COPSE_E_NOT_FOUND || code == COPSE_E_CHANGED);
      }
    } else if (seed >> 29 == 2) {
      int32_t code = take_away(&store, seed >> 28 & 1 ? "d/f" : "d", &own);
      CHECK(code == 0 || code == COPSE_E_NOT_FOUND || code == COPSE_E_EXISTS);
    } else if (store.ops->find(&store, SPAN("d/f"), &arena, &entry, &parent, &own) == 0) {
      if (store.ops->reader(parent, &entry, &reader, &own) == 0) {
        uint8_t content[65];
        CHECK(store.ops->read(&reader, 0, content, sizeof content, &own) == 64);
        for (size_t i = 1; i < 64; i++) CHECK(content[i] == content[0]);
        store.ops->read_end(&reader);
      }
      struct listing listing;
      listing_begin(&listing);
      CHECK(store.ops->list(parent, &listing, &own) == 0);
      CHECK(listing.count <= 1);
      listing_free(&listing);
      store.ops->leave(parent);
    }
    arena_free(&arena);
  }
  store_close(&store);
  return nullptr;
}

static void many_threads_at_once(void) {
  pthread_t threads[4];
  for (uintptr_t i = 0; i < 4; i++)
    CHECK(pthread_create(&threads[i], nullptr, churn, (void *)(i + 1)) == 0);
  for (size_t i = 0; i < 4; i++) pthread_join(threads[i], nullptr);
}

int main(void) {
  CHECK(runtime_open(&runtime, (span){}, &fault) == 0);
  task.runtime = runtime;
  names_of_trees_are_the_first_part();
  bad_places_are_refused();
  a_tree_may_be_a_file();
  mode_and_mtime_are_kept();
  names_are_bounded();
  listings_are_complete();
  a_reader_keeps_what_it_opened();
  abandoned_and_failed_writes_leave_nothing();
  writes_may_come_in_any_order();
  removing();
  a_deep_tree_is_freed_without_recursion();
  many_threads_at_once();
  runtime_close(runtime);
}
