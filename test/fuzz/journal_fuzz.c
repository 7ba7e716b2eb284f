// What an interrupted run left of a file: a partial with a journal behind its content, by whomever
// it was damaged. Whatever it holds, the ranges that are believed are in order, apart and within
// the file, and hold the bytes that their records speak of.
//
// The first byte says how large the file is, the second which parts are made right first, so that
// what lies behind the checks is reached; the rest is the journal.
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/record.h"
#include "engine/runtime.h"
#include "store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

constexpr size_t RECORD = 64, CHECKED = 48, ALIGN = 4096, SIZE_MAX_ = 16 * 4096;
#define NAME SPAN("file")
#define IDENTITY SPAN("which content it is")

static struct runtime *runtime;
static struct task task;
static struct store store;
static struct directory *root;
static struct arena arena;
static char folder[64];
static uint8_t content[SIZE_MAX_];
static uint8_t identity[HASH_BYTES];

static void end(void) { rmdir(folder); }

static void begin(void) {
  struct fault fault = {};
  snprintf(folder, sizeof folder, "%s/copse-fuzz-XXXXXX",
           access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
  assert(mkdtemp(folder));
  atexit(end);
  assert(runtime_open(&runtime, (span){}, &fault) == 0);
  task.runtime = runtime;
  static uint8_t place[256];
  struct record_writer writer = {place, sizeof place, 0};
  record_put_text(&writer, COPSE_PLACE_SCHEME, SPAN("file"));
  record_put_text(&writer, COPSE_PLACE_PATH, span_of(folder));
  assert(store_open(&store, (span){place, writer.size}, &task, &fault) == 0);
  arena_begin(&arena);
  struct entry entry;
  assert(store.ops->root(&store, &arena, &entry, &root, &fault) == 0);
  for (size_t i = 0; i < sizeof content; i++) content[i] = (uint8_t)(i * 7 + i / 251);
  hash_of(IDENTITY, identity);
}

static void put_number(uint8_t *at, uint64_t number) {
  for (int i = 0; i < 8; i++) at[i] = (uint8_t)(number >> (8 * i));
}

static uint64_t number_at(const uint8_t *at) {
  uint64_t number = 0;
  for (int i = 0; i < 8; i++) number |= (uint64_t)at[i] << (8 * i);
  return number;
}

static void mend_check(uint8_t record[RECORD]) {
  uint8_t joined[HASH_BYTES + CHECKED], check[HASH_BYTES];
  memcpy(joined, identity, HASH_BYTES);
  memcpy(joined + HASH_BYTES, record, CHECKED);
  hash_of((span){joined, sizeof joined}, check);
  memcpy(record + CHECKED, check, RECORD - CHECKED);
}

static void mend_head(uint8_t record[RECORD], uint64_t size) {
  memcpy(record, "copse partial 1", 16);
  put_number(record + 16, size);
  memcpy(record + 24, identity, 24);
  mend_check(record);
}

// By its last byte a record is left as it is, gets its check, or a range and digest that fit, too.
static void mend_record(uint8_t record[RECORD], uint64_t size) {
  uint8_t how = record[RECORD - 1];
  if (how % 4 == 0) return;
  if (how % 4 > 1) {
    put_number(record, number_at(record) % (size + 2));
    put_number(record + 8, number_at(record + 8) % (size + 2));
  }
  uint64_t from = number_at(record), to = number_at(record + 8);
  if (how % 4 == 3 && from < to && to <= size)
    hash_of((span){content + from, (size_t)(to - from)}, record + 16);
  mend_check(record);
}

static void check_ranges(const struct range *ranges, size_t count, uint64_t size) {
  for (size_t i = 0; i < count; i++) {
    assert(ranges[i].from < ranges[i].to && ranges[i].to <= size);
    assert(i == 0 || ranges[i - 1].to < ranges[i].from);
  }
}

// The same journal read in the plainest way: which bytes are believed (1) or claimed (2).
static void model(const uint8_t *journal, size_t journal_size, uint64_t size, const uint8_t *there,
                  uint8_t *out) {
  static const uint8_t none[HASH_BYTES];
  uint8_t head[RECORD], mended[RECORD], digest[HASH_BYTES];
  memset(out, 0, (size_t)size);
  mend_head(head, size);
  if (journal_size < RECORD || memcmp(journal, head, RECORD) != 0) return;
  for (size_t i = RECORD; i + RECORD <= journal_size; i += RECORD) {
    const uint8_t *record = journal + i;
    memcpy(mended, record, RECORD);
    mend_check(mended);
    uint64_t from = number_at(record), to = number_at(record + 8);
    if (memcmp(record, mended, RECORD) != 0 || from >= to || to > size) return;
    uint8_t how = memcmp(record + 16, none, HASH_BYTES) == 0 ? 2 : 1;
    hash_of((span){there + from, (size_t)(to - from)}, digest);
    if (how == 1 && memcmp(record + 16, digest, HASH_BYTES) != 0) continue;
    for (uint64_t at = from; at < to; at++) out[at] |= how;
  }
}

static void paint(const struct range *ranges, size_t count, uint8_t how, uint8_t *out) {
  for (size_t i = 0; i < count; i++)
    for (uint64_t at = ranges[i].from; at < ranges[i].to; at++) out[at] |= how;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  if (!runtime) begin();
  if (size < 2) return 0;
  uint64_t file_size = 1 + bytes[0] * 256ull, at = (file_size + ALIGN - 1) / ALIGN * ALIGN;
  size_t journal_size = size - 2;
  uint8_t *journal = malloc(journal_size + 1);
  if (!journal) return 0;
  memcpy(journal, bytes + 2, journal_size);
  if ((bytes[1] & 1) && journal_size >= RECORD) mend_head(journal, file_size);
  for (size_t i = RECORD; (bytes[1] & 2) && i + RECORD <= journal_size; i += RECORD)
    mend_record(journal + i, file_size);

  struct entry entry = {.name = NAME, .type = ENTRY_FILE, .mode = 0100644};
  struct wanted wanted = {.entry = &entry, .what = WANT_MODE};
  char path[128];
  struct arena own;
  arena_begin(&own);
  span partial = store.ops->partial(NAME, &own);
  assert(partial.at && store_name_is_ours(partial));
  snprintf(path, sizeof path, "%s/%s", folder, (const char *)partial.at);
  arena_free(&own);
  int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
  assert(fd >= 0);
  // What is not there reads as zeros.
  uint64_t there = bytes[1] & 4 ? file_size / 2 : file_size;
  assert(pwrite(fd, content, there, 0) == (ssize_t)there);
  assert(journal_size == 0 ||
         pwrite(fd, journal, journal_size, (off_t)at) == (ssize_t)journal_size);
  close(fd);
  static uint8_t now[SIZE_MAX_], expected[SIZE_MAX_], found[SIZE_MAX_];
  memset(now, 0, sizeof now);
  memcpy(now, content, (size_t)there);
  model(journal, journal_size, file_size, now, expected);
  free(journal);

  struct resume resume = {.identity = IDENTITY};
  struct writer *writer = nullptr;
  struct fault fault = {};
  int32_t code = store.ops->resume(root, &wanted, file_size, &resume, &writer, &fault);
  if (code == 0) {
    check_ranges(resume.kept, resume.kept_count, file_size);
    check_ranges(resume.claimed, resume.claimed_count, file_size);
    memset(found, 0, sizeof found);
    paint(resume.kept, resume.kept_count, 1, found);
    paint(resume.claimed, resume.claimed_count, 2, found);
    assert(memcmp(found, expected, (size_t)file_size) == 0);
    store.ops->abandon(writer);
  } else {
    assert(fault.code == code && fault.text[0]);
  }
  free(resume.kept);
  free(resume.claimed);
  unlink(path);
  return 0;
}
