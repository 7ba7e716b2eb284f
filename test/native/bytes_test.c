// bytes: READ, WRITE and REMOVE through the ABI, on memory, on disk, and with a store that fails on
// cue.
#include <unistd.h>
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
#include "copse.h"

static copse_id runtime;
static char folder[] = "/tmp/copse-bytes-XXXXXX";

// ── Asking ──

static void put_record(struct record_writer *writer, uint16_t key, span record) {
  size_t at = writer->size;
  record_put_text(writer, key, record);
  CHECK(writer->size <= writer->capacity);
  writer->at[at + 2] = COPSE_FIELD_RECORD;
}

// "memory:x", "file:/x" or "fault:spec:memory:x".
static size_t place(const char *location, uint8_t *into, size_t capacity) {
  struct record_writer writer = {into, capacity, 0};
  const char *colon = strchr(location, ':');
  span scheme = {(const uint8_t *)location, (size_t)(colon - location)};
  record_put_text(&writer, COPSE_PLACE_SCHEME, scheme);
  record_put_text(&writer, COPSE_PLACE_SHOWN, span_of(location));
  if (span_equal(scheme, SPAN("fault"))) {
    const char *spec = colon + 1, *inner = strchr(spec, ':');
    uint8_t record[1024];
    size_t size = place(inner + 1, record, sizeof record);
    record_put_text(&writer, COPSE_PLACE_SPEC,
                    (span){(const uint8_t *)spec, (size_t)(inner - spec)});
    put_record(&writer, COPSE_PLACE_INNER, (span){record, size});
  } else {
    record_put_text(&writer, COPSE_PLACE_PATH, span_of(colon + 1));
  }
  return writer.size;
}

static copse_id start_range(uint32_t verb, const char *location, const char *path, uint64_t from,
                            uint64_t to) {
  uint8_t request[4096], record[2048];
  struct record_writer writer = {request + 4, sizeof request - 4, 0};
  record_put_number(&writer, COPSE_KEY_VERB, verb);
  record_put_number(&writer, COPSE_KEY_WAITED, 1);
  if (path) record_put_text(&writer, COPSE_KEY_PATH, span_of(path));
  if (from) record_put_number(&writer, COPSE_KEY_FROM, from);
  if (to != UINT64_MAX) record_put_number(&writer, COPSE_KEY_TO, to);
  put_record(&writer, COPSE_KEY_LEFT, (span){record, place(location, record, sizeof record)});
  uint32_t size = (uint32_t)writer.size;
  memcpy(request, &size, 4);
  copse_id task;
  CHECK(copse_task_start(runtime, request, size + 4, &task, 1) == 1);
  return task;
}

static copse_id start(uint32_t verb, const char *location, const char *path) {
  return start_range(verb, location, path, 0, UINT64_MAX);
}

struct answer {
  int32_t code;
  uint8_t *bytes;
  size_t size, rows, rooms;
  copse_row row;  // the last one
};

// Takes one event; true after DONE.
static bool take(copse_id task, struct answer *answer, uint32_t timeout_ms, bool *nothing) {
  copse_event event;
  int32_t taken = copse_task_wait(task, &event, 1, timeout_ms);
  CHECK(taken >= 0);
  if (nothing) *nothing = taken == 0;
  if (taken == 0) return false;
  if (event.kind == COPSE_EVENT_PAGE && event.rows == 0) {
    answer->bytes = realloc(answer->bytes, answer->size + event.page_size);
    CHECK(answer->bytes);
    memcpy(answer->bytes + answer->size, (const void *)(uintptr_t)event.page, event.page_size);
    answer->size += event.page_size;
  } else if (event.kind == COPSE_EVENT_PAGE) {
    answer->rows += event.rows;
    memcpy(&answer->row, (const void *)(uintptr_t)event.page, sizeof answer->row);
  }
  if (event.kind == COPSE_EVENT_PAGE) CHECK(copse_page_release(task, event.page) == 0);
  if (event.kind == COPSE_EVENT_ROOM) answer->rooms++;
  if (event.kind != COPSE_EVENT_DONE) return false;
  answer->code = event.code;
  return true;
}

static struct answer finish(copse_id task) {
  struct answer answer = {};
  while (!take(task, &answer, 60'000, nullptr)) continue;
  CHECK(copse_task_close(task) == 0);
  return answer;
}

static int32_t code_of(copse_id task) {
  struct answer answer = finish(task);
  free(answer.bytes);
  return answer.code;
}

// Pushes all, waiting for room where there is none; then the end.
static struct answer push_all(copse_id task, const uint8_t *bytes, size_t size, size_t piece) {
  struct answer answer = {};
  for (size_t at = 0; at < size;) {
    size_t some = size - at < piece ? size - at : piece;
    int32_t code = copse_task_push(task, bytes + at, some);
    if (code == 0) {
      at += some;
      continue;
    }
    CHECK(code == COPSE_E_BUSY);
    size_t before = answer.rooms;
    while (answer.rooms == before) CHECK(!take(task, &answer, 60'000, nullptr));
  }
  CHECK(copse_task_push(task, nullptr, 0) == 0);
  while (!take(task, &answer, 60'000, nullptr)) continue;
  CHECK(copse_task_close(task) == 0);
  return answer;
}

static void write_text(const char *location, const char *path, const char *text) {
  struct answer answer =
      push_all(start(COPSE_VERB_WRITE, location, path), (const uint8_t *)text, strlen(text), 1000);
  CHECK(answer.code == 0);
  CHECK(answer.rows == 1);
  CHECK(answer.row.kind == COPSE_ROW_ENTRY && answer.row.type == COPSE_TYPE_FILE);
  CHECK(answer.row.left_size == strlen(text));
}

static bool reads(const char *location, const char *path, uint64_t from, uint64_t to,
                  const char *text) {
  struct answer answer = finish(start_range(COPSE_VERB_READ, location, path, from, to));
  CHECK(answer.code == 0);
  bool same = span_equal((span){answer.bytes, answer.size}, span_of(text));
  free(answer.bytes);
  return same;
}

static void locations(void (*test)(const char *location)) {
  static int number = 0;
  char location[128];
  snprintf(location, sizeof location, "memory:tree%d", ++number);
  test(location);
  snprintf(location, sizeof location, "file:%s/tree%d", folder, number);
  test(location);
  snprintf(location, sizeof location, "fault::memory:wrapped%d", number);
  test(location);
}

// ── Reading and writing ──

static void what_is_written_is_read(const char *location) {
  write_text(location, "a/b/hello", "hello world");
  CHECK(reads(location, "a/b/hello", 0, UINT64_MAX, "hello world"));
  CHECK(reads(location, "a/b/hello", 6, UINT64_MAX, "world"));
  CHECK(reads(location, "a/b/hello", 3, 8, "lo wo"));
  CHECK(reads(location, "a/b/hello", 3, 3, ""));
  CHECK(reads(location, "a/b/hello", 8, 100, "rld"));
  CHECK(reads(location, "a/b/hello", 11, UINT64_MAX, ""));
  CHECK(reads(location, "a/b/hello", 5000, 6000, ""));
  CHECK(reads(location, "a/b/hello", UINT64_MAX - 5, UINT64_MAX, ""));
  CHECK(code_of(start_range(COPSE_VERB_READ, location, "a/b/hello", 6, 5)) == COPSE_E_ARGUMENT);
  CHECK(code_of(start(COPSE_VERB_READ, location, "a/b")) == COPSE_E_UNSUPPORTED);
  CHECK(code_of(start(COPSE_VERB_READ, location, nullptr)) == COPSE_E_UNSUPPORTED);
  CHECK(code_of(start(COPSE_VERB_READ, location, "a/b/none")) == COPSE_E_NOT_FOUND);
  CHECK(code_of(start(COPSE_VERB_READ, location, "a/b/hello/x")) == COPSE_E_NOT_FOUND);
  CHECK(code_of(start(COPSE_VERB_READ, location, "../a")) == COPSE_E_UNSAFE_PATH);
  CHECK(code_of(start(COPSE_VERB_WRITE, location, "a/../x")) == COPSE_E_UNSAFE_PATH);
  write_text(location, "a/b/hello", "replaced");
  CHECK(reads(location, "a/b/hello", 0, UINT64_MAX, "replaced"));
  write_text(location, "empty", "");
  CHECK(reads(location, "empty", 0, UINT64_MAX, ""));
}

static void a_location_may_be_the_file(const char *location) {
  char file[160];
  snprintf(file, sizeof file, "%s-file", location);
  write_text(file, nullptr, "itself");
  CHECK(reads(file, nullptr, 0, UINT64_MAX, "itself"));
  CHECK(code_of(start(COPSE_VERB_REMOVE, file, nullptr)) == 0);
  CHECK(code_of(start(COPSE_VERB_READ, file, nullptr)) == COPSE_E_NOT_FOUND);
}

static void large_ones_come_whole(const char *location) {
  constexpr size_t SIZE = 5'000'000;
  uint8_t *bytes = malloc(SIZE);
  CHECK(bytes);
  for (size_t i = 0; i < SIZE; i++) bytes[i] = (uint8_t)(i * 2654435761u >> 13);
  static const size_t pieces[] = {300'000, 4'000'000, 64 * 1024, 1'048'576, 1'048'577};
  for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
    struct answer answer =
        push_all(start(COPSE_VERB_WRITE, location, "large"), bytes, SIZE, pieces[i]);
    CHECK(answer.code == 0 && answer.row.left_size == SIZE);
    answer = finish(start(COPSE_VERB_READ, location, "large"));
    CHECK(answer.code == 0);
    CHECK(span_equal((span){answer.bytes, answer.size}, (span){bytes, SIZE}));
    free(answer.bytes);
  }
  struct answer answer = push_all(start(COPSE_VERB_WRITE, location, "small"), bytes, 5000, 1);
  CHECK(answer.code == 0);
  answer = finish(start(COPSE_VERB_READ, location, "small"));
  CHECK(span_equal((span){answer.bytes, answer.size}, (span){bytes, 5000}));
  free(answer.bytes);
  free(bytes);
}

static void what_is_not_ended_leaves_nothing(const char *location) {
  struct answer answer = {};
  bool nothing = false;
  // With bytes waiting, with none ever pushed, and by closing.
  for (int round = 0; round < 6; round++) {
    copse_id task = start(COPSE_VERB_WRITE, location, "cancelled/part");
    if (round % 2) CHECK(copse_task_push(task, (const uint8_t *)"abc", 3) == 0);
    if (round / 2 == 1) CHECK(!take(task, &answer, 20, &nothing) && nothing);
    if (round / 2 < 2) {
      CHECK(copse_task_cancel(task) == 0);
      CHECK(copse_task_push(task, (const uint8_t *)"abc", 3) < 0);
      CHECK(code_of(task) == COPSE_E_CANCELLED);
    } else {
      CHECK(copse_task_close(task) == 0);
    }
  }
  CHECK(code_of(start(COPSE_VERB_READ, location, "cancelled/part")) == COPSE_E_NOT_FOUND);
}

static void nothing_is_pushed_behind_the_end(const char *location) {
  copse_id task = start(COPSE_VERB_WRITE, location, "ended");
  CHECK(copse_task_push(task, (const uint8_t *)"abc", 3) == 0);
  CHECK(copse_task_push(task, nullptr, 0) == 0);
  int32_t code = copse_task_push(task, (const uint8_t *)"d", 1);
  CHECK(code == COPSE_E_CLOSED);
  CHECK(code_of(task) == 0);
  CHECK(reads(location, "ended", 0, UINT64_MAX, "abc"));
  task = start(COPSE_VERB_READ, location, "ended");
  CHECK(copse_task_push(task, (const uint8_t *)"d", 1) < 0);
  CHECK(code_of(task) == 0);
}

static void removing(const char *location) {
  write_text(location, "r/f", "x");
  CHECK(code_of(start(COPSE_VERB_REMOVE, location, "r")) == COPSE_E_EXISTS);
  CHECK(code_of(start(COPSE_VERB_REMOVE, location, "r/none")) == COPSE_E_NOT_FOUND);
  CHECK(code_of(start(COPSE_VERB_REMOVE, location, "r/f")) == 0);
  CHECK(code_of(start(COPSE_VERB_REMOVE, location, "r/f")) == COPSE_E_NOT_FOUND);
  CHECK(code_of(start(COPSE_VERB_REMOVE, location, "r")) == 0);
  CHECK(code_of(start(COPSE_VERB_REMOVE, location, "r")) == COPSE_E_NOT_FOUND);
}

static void a_directory_is_not_overwritten(const char *location) {
  write_text(location, "dir/f", "x");
  CHECK(code_of(start(COPSE_VERB_WRITE, location, "dir")) == COPSE_E_EXISTS);
  CHECK(reads(location, "dir/f", 0, UINT64_MAX, "x"));
}

// Two pages are lent and no more are read until one comes back.
static void a_reader_waits_for_who_reads(void) {
  static uint8_t bytes[3'000'000];
  CHECK(push_all(start(COPSE_VERB_WRITE, "memory:slow", "f"), bytes, sizeof bytes, 500'000).code ==
        0);
  copse_stats before, after;
  CHECK(copse_runtime_stats(runtime, &before) == 0);
  copse_id task = start(COPSE_VERB_READ, "memory:slow", "f");
  copse_event events[8];
  int32_t taken = 0;
  while (taken < 2) taken += copse_task_wait(task, events + taken, 8 - (uint32_t)taken, 10'000);
  CHECK(taken == 2);
  CHECK(copse_task_wait(task, events + taken, 1, 30) == 0);
  CHECK(copse_runtime_stats(runtime, &after) == 0);
  CHECK(after.bytes_read - before.bytes_read <= 65536 + 524288);
  CHECK(copse_page_release(task, events[0].page) == 0);
  CHECK(copse_task_wait(task, events + taken, 1, 10'000) == 1);
  CHECK(copse_task_cancel(task) == 0);
  CHECK(code_of(task) == COPSE_E_CANCELLED);
}

static void links_are_followed_only_below_who_asks(void) {
  char path[128], location[128];
  snprintf(path, sizeof path, "%s/links", folder);
  snprintf(location, sizeof location, "file:%s", path);
  write_text(location, "f", "target");
  char link[160];
  snprintf(link, sizeof link, "%s/l", path);
  CHECK(symlink("f", link) == 0);
  CHECK(code_of(start(COPSE_VERB_READ, location, "l")) == COPSE_E_UNSUPPORTED);
  CHECK(code_of(start(COPSE_VERB_REMOVE, location, "l")) == 0);
  CHECK(reads(location, "f", 0, UINT64_MAX, "target"));
}

// ── Failing ──

static void every_call_may_fail(void) {
  write_text("memory:m", "d/f", "0123456789");
  static const struct {
    const char *location;
    uint32_t verb;
    const char *path;
    int32_t code;
  } table[] = {
      {"fault:find=1:memory:m", COPSE_VERB_READ, "d/f", COPSE_E_IO},
      {"fault:root=1,code=DENIED:memory:m", COPSE_VERB_READ, nullptr, COPSE_E_DENIED},
      {"fault:open=1,code=NETWORK:memory:m", COPSE_VERB_READ, "d/f", COPSE_E_NETWORK},
      {"fault:open=1,vanish:memory:m", COPSE_VERB_READ, "d/f", COPSE_E_NOT_FOUND},
      {"fault:measure=1:memory:m", COPSE_VERB_READ, "d/f", COPSE_E_IO},
      {"fault:measure=2:memory:m", COPSE_VERB_READ, "d/f", COPSE_E_IO},
      {"fault:read=1,code=CORRUPT:memory:m", COPSE_VERB_READ, "d/f", COPSE_E_CORRUPT},
      {"fault:read=1,sticky:memory:m", COPSE_VERB_READ, "d/f", COPSE_E_IO},
      {"fault:read=9:memory:m", COPSE_VERB_READ, "d/f", 0},
      {"fault:remove=1,code=BUSY:memory:m", COPSE_VERB_REMOVE, "d/f", COPSE_E_BUSY},
      {"fault:finish=1:memory:m", COPSE_VERB_READ, "d/f", COPSE_E_IO},
      {"fault:finish=1:fault:read=4:memory:m", COPSE_VERB_READ, "d/f", COPSE_E_IO},
      {"fault:writer=1,code=NO_SPACE:memory:m", COPSE_VERB_WRITE, "d/f", COPSE_E_NO_SPACE},
      {"nowhere:x", COPSE_VERB_READ, "d/f", COPSE_E_UNSUPPORTED},
      {"fault:nothing=1:memory:m", COPSE_VERB_READ, "d/f", COPSE_E_ARGUMENT},
      {"fault:read=0:memory:m", COPSE_VERB_READ, "d/f", COPSE_E_ARGUMENT},
      {"fault:read=x:memory:m", COPSE_VERB_READ, "d/f", COPSE_E_ARGUMENT},
      {"fault:read:memory:m", COPSE_VERB_READ, "d/f", COPSE_E_ARGUMENT},
      {"fault:code=NOPE:memory:m", COPSE_VERB_READ, "d/f", COPSE_E_ARGUMENT},
      {"fault:sticky=1:memory:m", COPSE_VERB_READ, "d/f", COPSE_E_ARGUMENT},
      {"fault:cut=3:memory:m", COPSE_VERB_READ, "d/f", COPSE_E_ARGUMENT},
      {"fault:,,:memory:m", COPSE_VERB_READ, "d/f", COPSE_E_ARGUMENT},
      {"fault:read=1:nowhere:x", COPSE_VERB_READ, "d/f", COPSE_E_UNSUPPORTED},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    int32_t code = code_of(start(table[i].verb, table[i].location, table[i].path));
    if (code != table[i].code) fprintf(stderr, "%s: %d\n", table[i].location, code);
    CHECK(code == table[i].code);
  }
  CHECK(reads("fault:read=1,cut=4:memory:m", "d/f", 0, UINT64_MAX, "012345"));
  CHECK(reads("fault:read=1,cut=100:memory:m", "d/f", 0, UINT64_MAX, ""));
  CHECK(reads("fault:lie=7:memory:m", "d/f", 0, UINT64_MAX, "0123456789"));

  static const char *const writes[] = {"fault:write=1:memory:m", "fault:commit=1:memory:m"};
  for (size_t i = 0; i < 2; i++) {
    copse_id task = start(COPSE_VERB_WRITE, writes[i], "d/f");
    CHECK(copse_task_push(task, (const uint8_t *)"new", 3) == 0);
    int32_t code = copse_task_push(task, nullptr, 0);
    CHECK(code == 0 || code == COPSE_E_CANCELLED);  // it may have failed by now
    CHECK(code_of(task) == COPSE_E_IO);
    CHECK(reads("memory:m", "d/f", 0, UINT64_MAX, "0123456789"));
  }
}

static void a_delay_ends_with_a_cancel(void) {
  write_text("memory:late", "f", "0123456789");
  CHECK(reads("fault:delay=2:memory:late", "f", 0, UINT64_MAX, "0123456789"));
  copse_id task = start(COPSE_VERB_READ, "fault:delay=1000000:memory:late", "f");
  struct answer answer = {};
  CHECK(!take(task, &answer, 10, nullptr));
  CHECK(copse_task_cancel(task) == 0);
  CHECK(code_of(task) == COPSE_E_CANCELLED);
}

static void open_runtime(uint32_t io_workers, uint32_t io) {
  uint8_t bytes[64];
  struct record_writer options = {bytes, sizeof bytes, 0};
  if (io_workers) record_put_number(&options, COPSE_OPTION_IO_WORKERS, io_workers);
  record_put_number(&options, COPSE_OPTION_IO, io);
  CHECK(copse_runtime_open(bytes, options.size, &runtime) == 0);
}

int main(void) {
  CHECK(mkdtemp(folder));
  static const struct {
    uint32_t io_workers, io;
  } runtimes[] = {{0, COPSE_IO_AUTO}, {1, COPSE_IO_AUTO}, {0, COPSE_IO_BLOCKING}};
  for (size_t i = 0; i < sizeof runtimes / sizeof *runtimes; i++) {
    open_runtime(runtimes[i].io_workers, runtimes[i].io);
    locations(what_is_written_is_read);
    locations(a_location_may_be_the_file);
    locations(large_ones_come_whole);
    locations(what_is_not_ended_leaves_nothing);
    locations(nothing_is_pushed_behind_the_end);
    locations(removing);
    locations(a_directory_is_not_overwritten);
    a_reader_waits_for_who_reads();
    links_are_followed_only_below_who_asks();
    every_call_may_fail();
    a_delay_ends_with_a_cancel();
    CHECK(copse_runtime_close(runtime) == 0);
  }
  char command[160];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  CHECK(system(command) == 0);
}
