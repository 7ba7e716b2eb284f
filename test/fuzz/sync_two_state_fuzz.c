// The state of a two-way sync, in memory instead of a file. Whatever comes, each record that is
// found has a name and a type, and names are in order. Each input is read twice, the second time
// with the right hash at its end, so that what lies behind it is reached too.
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "engine/io.h"
#include "verb/sync_two.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static span file;

static int open_file(int, const char *, uint32_t) { return 3; }
static int close_file(int) { return 0; }
static int stat_file(int, const char *, bool, struct io_stat *out) {
  *out = (struct io_stat){.size = file.size, .mode = 0100600};
  return 0;
}
static int64_t read_file(int, void *into, size_t size, uint64_t at) {
  if (at >= file.size) return 0;
  size_t left = file.size - (size_t)at, got = size < left ? size : left;
  memcpy(into, file.at + at, got);
  return (int64_t)got;
}

static const struct io_ops memory = {
    .open = open_file, .close = close_file, .stat = stat_file, .read = read_file};

static void visit(const struct two_state *state, span directory, int depth) {
  struct two_block block;
  struct fault fault = {};
  if (two_state_find(state, directory, &block, &fault) < 0) {
    assert(fault.code == COPSE_E_CORRUPT && block.count == 0);
    return;
  }
  for (size_t i = 0; i < block.count; i++) {
    const struct two_record *record = &block.records[i];
    assert(record->name.size > 0 && record->type >= ENTRY_FILE && record->type <= ENTRY_LINK);
    assert(i == 0 || span_compare(block.records[i - 1].name, record->name) < 0);
    if (depth < 4) visit(state, record->name, depth + 1);
  }
  two_block_free(&block);
}

static void read_state(span bytes) {
  file = bytes;
  struct two_state *state = nullptr;
  struct fault fault = {};
  enum copse_two found = COPSE_TWO_NEW;
  int32_t code = two_state_open(&memory, SPAN("state"), SPAN("pair"), &state, &found, &fault);
  assert(code == 0 || code == COPSE_E_ARGUMENT);
  if (code == 0) visit(state, (span){}, 0);
  if (code == 0 && found == COPSE_TWO_DAMAGED) {
    struct two_block block;
    assert(two_state_find(state, (span){}, &block, &fault) == 0 && block.count == 0);
  }
  two_state_close(state);
}

static void read_records(span bytes) {
  struct two_record records[8];
  struct fault fault = {};
  for (size_t count = 0; count <= 8; count++) two_block_read(bytes, records, count, &fault);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  read_state((span){bytes, size});
  read_records((span){bytes, size});
  constexpr size_t HEAD = 16;
  if (size < HEAD + 2 * HASH_BYTES) return 0;
  uint8_t *right = malloc(size);
  if (!right) return 0;
  memcpy(right, bytes, size);
  hash_of(SPAN("pair"), right + HEAD);
  hash_of((span){right, size - HASH_BYTES}, right + size - HASH_BYTES);
  read_state((span){right, size});
  free(right);
  return 0;
}
