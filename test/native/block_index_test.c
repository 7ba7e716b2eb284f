// block_index: the first block of each content, from any number of threads, within its budget.
#include "tree/block_index.h"

#include <string.h>

#include "check.h"

constexpr uint32_t BLOCKS = 20'000 / SHRINK;
constexpr uint32_t THREADS = 4;

static struct block block_of(uint32_t number) {
  struct block block = {.offset = number * 7ull, .size = number + 1};
  hash_of((span){(const uint8_t *)&number, sizeof number}, block.hash);
  return block;
}

static void test_first(void) {
  struct buffers buffers;
  buffers_begin(&buffers, 64 << 20);
  struct block_index index;
  struct fault fault = {};
  block_index_begin(&index, &buffers);
  struct block first;
  CHECK(!block_index_find(&index, block_of(0).hash, &first));
  int64_t a = block_index_file(&index, SPAN("a"), &fault);
  int64_t b = block_index_file(&index, SPAN("dir/b"), &fault);
  CHECK(a == 0 && b == 1);
  span path;
  for (uint32_t i = 0; i < BLOCKS; i++) {
    struct block block = block_of(i);
    block.file = i % 2 ? (uint32_t)b : (uint32_t)a;
    CHECK(block_index_add(&index, &block, &first, &path, &fault) == 0);
  }
  for (uint32_t i = 0; i < BLOCKS; i++) {
    struct block block = block_of(i);
    block.offset = UINT64_MAX;
    CHECK(block_index_add(&index, &block, &first, &path, &fault) == 1);
    CHECK(first.offset == i * 7ull && first.size == i + 1);
    CHECK(span_equal(path, i % 2 ? SPAN("dir/b") : SPAN("a")));
    CHECK(block_index_find(&index, block.hash, &first) && first.offset == i * 7ull);
  }
  CHECK(index.count == BLOCKS && !block_index_find(&index, block_of(BLOCKS).hash, &first));
  // As block_index.h says; a segment that has just begun is not counted.
  CHECK(index.reserved <= 59ull * BLOCKS + 4096 * sizeof(struct block) + 1024);
  CHECK(atomic_load(&buffers.taken) == index.reserved);
  block_index_end(&index);
  CHECK(atomic_load(&buffers.taken) == 0);
}

static void test_limit(void) {
  struct buffers buffers;
  buffers_begin(&buffers, 1 << 20);
  struct block_index index;
  block_index_begin(&index, &buffers);
  struct fault fault = {};
  CHECK(block_index_file(&index, SPAN("a"), &fault) == 0);
  int32_t code = 0;
  uint32_t count = 0;
  for (; code == 0 && count < 100'000; count += code == 0) {
    struct block block = block_of(count), first;
    span path;
    code = block_index_add(&index, &block, &first, &path, &fault);
  }
  CHECK(code == COPSE_E_LIMIT && strstr(fault.text, "size") && count >= 8192);
  CHECK(atomic_load(&buffers.taken) <= 1 << 20);
  int64_t file = 0;
  for (int i = 0; file >= 0 && i < 100'000; i++) file = block_index_file(&index, SPAN("b"), &fault);
  CHECK(file == COPSE_E_LIMIT);
  struct block first;
  for (uint32_t i = 0; i < count; i++)
    CHECK(block_index_find(&index, block_of(i).hash, &first) && first.size == i + 1);
  block_index_end(&index);
  CHECK(atomic_load(&buffers.taken) == 0);
}

// Of equal blocks exactly one is the first, whoever comes with it.
struct adder {
  struct block_index *index;
  uint32_t firsts, number;
};

static void *add_all(void *argument) {
  struct adder *adder = argument;
  for (uint32_t i = 0; i < BLOCKS; i++) {
    struct block block = block_of(adder->number % 2 ? BLOCKS - 1 - i : i), first;
    span path;
    struct fault fault = {};
    int32_t code = block_index_add(adder->index, &block, &first, &path, &fault);
    CHECK(code == 0 || (code == 1 && first.size == block.size && span_equal(path, SPAN("a"))));
    adder->firsts += code == 0;
  }
  return nullptr;
}

static void test_threads(void) {
  struct buffers buffers;
  buffers_begin(&buffers, 64 << 20);
  struct block_index index;
  block_index_begin(&index, &buffers);
  struct fault fault = {};
  CHECK(block_index_file(&index, SPAN("a"), &fault) == 0);
  struct adder adders[THREADS];
  pthread_t threads[THREADS];
  for (uint32_t i = 0; i < THREADS; i++) {
    adders[i] = (struct adder){&index, 0, i};
    CHECK(pthread_create(&threads[i], nullptr, add_all, &adders[i]) == 0);
  }
  uint32_t firsts = 0;
  for (uint32_t i = 0; i < THREADS; i++) {
    pthread_join(threads[i], nullptr);
    firsts += adders[i].firsts;
  }
  CHECK(firsts == BLOCKS && index.count == BLOCKS);
  block_index_end(&index);
}

int main(void) {
  test_first();
  test_limit();
  test_threads();
}
