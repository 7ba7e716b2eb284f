// run_cache: what is kept is found again by another process, what changed or is too young is not,
// and damage costs what it hit and nothing else.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scene.h"
#include "verb/run_cache.h"

constexpr size_t HEAD_BYTES = 16, RECORD_BYTES = 80;
constexpr int64_t OLD_NS = 1'600'000'000'000'000'001, LATER_NS = OLD_NS + 60'000'000'000;

static char path[64];

static struct entry entry_of(uint64_t number) {
  return (struct entry){.inode = number,
                        .device = 7,
                        .size = number * 3,
                        .mtime_ns = OLD_NS,
                        .ctime_ns = OLD_NS,
                        .has = HAS_STAT | HAS_SIZE};
}

static void hash_of_number(uint64_t number, uint8_t out[HASH_BYTES]) {
  hash_of((span){(const uint8_t *)&number, sizeof number}, out);
}

static struct cache *open_cache(struct runtime *runtime) {
  struct cache *cache = nullptr;
  struct fault fault = {};
  CHECK(cache_open(runtime, span_of(path), &cache, &fault) == 0);
  return cache;
}

static void keep(struct cache *cache, uint64_t from, uint64_t to) {
  for (uint64_t i = from; i < to; i++) {
    uint8_t hash[HASH_BYTES];
    struct entry entry = entry_of(i);
    hash_of_number(i, hash);
    cache_keep(cache, &entry, LATER_NS, COPSE_ALGORITHM_BLAKE3, hash);
  }
}

// How many of them are there; each that is there is right.
static uint64_t found(struct cache *cache, uint64_t from, uint64_t to) {
  uint64_t count = 0;
  for (uint64_t i = from; i < to; i++) {
    uint8_t hash[HASH_BYTES], expected[HASH_BYTES];
    struct entry entry = entry_of(i);
    if (!cache_find(cache, &entry, COPSE_ALGORITHM_BLAKE3, hash)) continue;
    hash_of_number(i, expected);
    CHECK(memcmp(hash, expected, HASH_BYTES) == 0);
    count++;
  }
  return count;
}

static off_t file_size(void) {
  struct stat stat_of;
  CHECK(stat(path, &stat_of) == 0);
  return stat_of.st_size;
}

static void change_byte(off_t at) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  uint8_t byte;
  CHECK(fd >= 0 && pread(fd, &byte, 1, at) == 1);
  byte ^= 0x10;
  CHECK(pwrite(fd, &byte, 1, at) == 1);
  close(fd);
}

static void is_kept(struct runtime *runtime) {
  struct cache *cache = open_cache(runtime);
  keep(cache, 1, 1001);
  CHECK(found(cache, 1, 1001) == 0);  // for the next run: in this one nobody asks again
  cache_close(cache);
  CHECK((size_t)file_size() == HEAD_BYTES + 1000 * RECORD_BYTES);
  struct stat stat_of;
  CHECK(stat(path, &stat_of) == 0 && (stat_of.st_mode & 0777) == 0600);
  cache = open_cache(runtime);
  CHECK(found(cache, 1, 1001) == 1000);
  // Anything else about the file is another file.
  uint8_t hash[HASH_BYTES];
  for (int what = 0; what < 6; what++) {
    struct entry entry = entry_of(5);
    if (what == 0) entry.inode++;
    if (what == 1) entry.device++;
    if (what == 2) entry.size++;
    if (what == 3) entry.mtime_ns++;
    if (what == 4) entry.ctime_ns++;
    if (what == 5) entry.has = HAS_STAT;
    CHECK(!cache_find(cache, &entry, COPSE_ALGORITHM_BLAKE3, hash));
  }
  struct entry entry = entry_of(5);
  CHECK(!cache_find(cache, &entry, COPSE_ALGORITHM_SHA256, hash));
  CHECK(cache_find(cache, &entry, COPSE_ALGORITHM_BLAKE3, hash));
  cache_close(cache);
  CHECK((size_t)file_size() == HEAD_BYTES + 1000 * RECORD_BYTES);
}

static void young_is_not_kept(struct runtime *runtime) {
  uint8_t hash[HASH_BYTES] = {};
  static const struct {
    int64_t mtime_ns, ctime_ns, opened_ns;
    bool kept;
  } cases[] = {
      {OLD_NS, OLD_NS, OLD_NS + 1'000'000, false},
      {OLD_NS, OLD_NS, OLD_NS + 25'000'000, true},
      {OLD_NS, OLD_NS, OLD_NS - 1, false},
      {OLD_NS - 5, OLD_NS, OLD_NS + 1'000'000, false},
      // Whole seconds: a file system of two.
      {OLD_NS - 1, OLD_NS - 1, OLD_NS + 1'000'000'000, false},
      {OLD_NS - 1, OLD_NS - 1, OLD_NS + 3'000'000'000, true},
      {OLD_NS, 0, LATER_NS, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct entry entry = entry_of(100'000 + i);
    entry.mtime_ns = cases[i].mtime_ns;
    entry.ctime_ns = cases[i].ctime_ns;
    struct cache *cache = open_cache(runtime);
    cache_keep(cache, &entry, cases[i].opened_ns, COPSE_ALGORITHM_BLAKE3, hash);
    cache_close(cache);
    cache = open_cache(runtime);
    CHECK(cache_find(cache, &entry, COPSE_ALGORITHM_BLAKE3, hash) == cases[i].kept);
    cache_close(cache);
  }
}

static void damage_costs_what_it_hit(struct runtime *runtime) {
  unlink(path);
  struct cache *cache = open_cache(runtime);
  keep(cache, 1, 11);
  cache_close(cache);
  for (size_t byte = 0; byte < RECORD_BYTES; byte++) {
    change_byte((off_t)(HEAD_BYTES + 3 * RECORD_BYTES + byte));
    cache = open_cache(runtime);
    CHECK(found(cache, 1, 11) == 9);
    cache_close(cache);
    change_byte((off_t)(HEAD_BYTES + 3 * RECORD_BYTES + byte));
  }
  // A record that a crash cut is as if it were not there, and the next one is whole.
  for (off_t cut = 1; cut < (off_t)RECORD_BYTES; cut += 13) {
    off_t size = file_size();
    CHECK(truncate(path, size - cut) == 0);
    cache = open_cache(runtime);
    CHECK(found(cache, 1, 11) == 9);
    keep(cache, 10, 11);
    cache_close(cache);
    CHECK(file_size() == size);
    cache = open_cache(runtime);
    CHECK(found(cache, 1, 11) == 10);
    cache_close(cache);
  }
  // Without its head nothing is believed; it is made anew.
  change_byte(3);
  cache = open_cache(runtime);
  CHECK(found(cache, 1, 11) == 0);
  keep(cache, 20, 21);
  cache_close(cache);
  cache = open_cache(runtime);
  CHECK(found(cache, 1, 21) == 1);
  cache_close(cache);
}

static void changed_files_are_written_out(struct runtime *runtime) {
  unlink(path);
  for (int round = 0; round < 12; round++) {
    struct cache *cache = open_cache(runtime);
    for (uint64_t i = 1; i <= 400; i++) {
      uint8_t hash[HASH_BYTES];
      struct entry entry = entry_of(i);
      entry.mtime_ns += round;
      hash_of_number(i, hash);
      cache_keep(cache, &entry, LATER_NS, COPSE_ALGORITHM_BLAKE3, hash);
    }
    cache_close(cache);
  }
  // 4,800 were kept of 400 files.
  CHECK((size_t)file_size() < HEAD_BYTES + 2300 * RECORD_BYTES);
  struct cache *cache = open_cache(runtime);
  uint8_t hash[HASH_BYTES];
  for (uint64_t i = 1; i <= 400; i++) {
    struct entry entry = entry_of(i);
    CHECK(!cache_find(cache, &entry, COPSE_ALGORITHM_BLAKE3, hash));
    entry.mtime_ns += 11;
    CHECK(cache_find(cache, &entry, COPSE_ALGORITHM_BLAKE3, hash));
  }
  cache_close(cache);
}

static void several_use_it_at_once(struct runtime *runtime) {
  constexpr uint64_t MANY = 8, EACH = 300;
  unlink(path);
  struct cache *caches[MANY];
  for (uint64_t i = 0; i < MANY; i++) caches[i] = open_cache(runtime);
  for (uint64_t i = 0; i < MANY; i++) keep(caches[i], 1 + i * EACH, 1 + (i + 1) * EACH);
  for (uint64_t i = 0; i < MANY; i++) cache_close(caches[i]);
  struct cache *cache = open_cache(runtime);
  CHECK(found(cache, 1, 1 + MANY * EACH) == MANY * EACH);
  cache_close(cache);
}

static void what_is_no_file_is_refused(struct runtime *runtime) {
  struct cache *cache = nullptr;
  struct fault fault = {};
  CHECK(cache_open(runtime, SPAN("/"), &cache, &fault) < 0 && fault.text[0]);
  fault = (struct fault){};
  CHECK(cache_open(runtime, SPAN(""), &cache, &fault) == COPSE_E_ARGUMENT);
  CHECK(cache_open(runtime, SPAN("a\0b"), &cache, &fault) == COPSE_E_ARGUMENT);
}

int main(void) {
  char folder[] = "/tmp/copse-cache-XXXXXX";
  CHECK(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/hashes", folder);
  int before = count_descriptors();
  struct runtime *runtime = open_runtime((span){});
  is_kept(runtime);
  young_is_not_kept(runtime);
  damage_costs_what_it_hit(runtime);
  changed_files_are_written_out(runtime);
  several_use_it_at_once(runtime);
  what_is_no_file_is_refused(runtime);
  runtime_close(runtime);
  CHECK(count_descriptors() == before);
  unlink(path);
  CHECK(rmdir(folder) == 0);
  printf("6 passed\n");
}
