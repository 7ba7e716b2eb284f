#include "verb/run_cache.h"

#include <errno.h>
#include <stdckdint.h>
#include <stdlib.h>
#include <time.h>

#include "base/record.h"
#include "engine/io.h"
#include "engine/runtime.h"
#include "engine/thread.h"

constexpr size_t RECORDS_MAX = 1 << 20;  // 80 MiB of file, and as much memory while it is in use
constexpr size_t RECORDS_FEW = 1024;     // not worth writing anew
// Kernels stamp files with the time of the last tick, at most 10 ms ago; a file system that keeps
// whole seconds shows zeros, and the coarsest keeps two of them.
constexpr int64_t TICK_NS = 20'000'000, COARSE_NS = 2'000'000'000, SECOND_NS = 1'000'000'000;
constexpr int LOCK_TRIES = 200, OPEN_TRIES = 8;
constexpr struct timespec LOCK_PAUSE = {.tv_nsec = 5'000'000};
constexpr uint8_t HEAD[16] = "copse-hashes-2\n";
constexpr uint32_t NOBODY = UINT32_MAX;

struct record {
  uint64_t device, inode, size;
  int64_t mtime_ns, ctime_ns;
  uint8_t hash[HASH_BYTES];
  uint32_t algorithm;
  uint32_t check;  // of all before it
};
static_assert(sizeof(struct record) == 80 && offsetof(struct record, check) == 76);

// What the file held is not changed while it is used, so it is asked without a lock: with one, two
// workers that ask for 200,000 files wait for each other more than they look. What is hashed in
// this run nobody asks for again.
struct cache {
  const struct io_ops *io;
  int fd;
  struct record *records;
  size_t count, capacity;
  uint32_t *slots;  // numbers of records by device, inode and algorithm; NOBODY: free
  size_t slot_count, used;
  mutex lock;  // guards the rest
  struct record *fresh;
  size_t fresh_count, fresh_capacity;
  char path[];
};

static uint64_t mix(uint64_t left, uint64_t right) {
  unsigned __int128 product = (unsigned __int128)left * right;
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

// Against torn and damaged files, not against people: whoever may write the file may write anything
// into it. Reading 200,000 records with a hash of each took as long as half of all looking up.
static uint32_t check_of(const struct record *record) {
  constexpr size_t WORDS = offsetof(struct record, check) / sizeof(uint32_t);
  uint32_t words[WORDS + 1] = {};
  memcpy(words, record, offsetof(struct record, check));
  uint64_t sum = 0xA0761D6478BD642Fu;
  for (size_t i = 0; i < WORDS; i += 2)
    sum = mix(sum ^ words[i] ^ (uint64_t)words[i + 1] << 32, 0xE7037ED1A0B428DBu + i);
  return (uint32_t)(sum ^ sum >> 32);
}

// ── The table ──

static bool is_same_file(const struct record *left, const struct record *right) {
  return left->inode == right->inode && left->device == right->device &&
         left->algorithm == right->algorithm;
}

static size_t slot_of(const struct cache *cache, const struct record *record) {
  uint64_t mixed = (record->inode ^ record->device << 32 ^ record->algorithm) * 0x9E3779B97F4A7C15;
  size_t at = (size_t)(mixed ^ mixed >> 32) & (cache->slot_count - 1);
  while (cache->slots[at] != NOBODY && !is_same_file(&cache->records[cache->slots[at]], record))
    at = (at + 1) & (cache->slot_count - 1);
  return at;
}

static bool grow_slots(struct cache *cache, size_t count) {
  uint32_t *slots = malloc(count * sizeof *slots);
  if (!slots) return false;
  memset(slots, 0xFF, count * sizeof *slots);
  uint32_t *old = cache->slots;
  size_t old_count = cache->slot_count;
  cache->slots = slots;
  cache->slot_count = count;
  for (size_t i = 0; i < old_count; i++)
    if (old[i] != NOBODY) slots[slot_of(cache, &cache->records[old[i]])] = old[i];
  free(old);
  return true;
}

static bool grow_records(struct record **records, size_t *has, size_t capacity) {
  size_t size;
  if (ckd_mul(&size, capacity, sizeof **records)) return false;
  struct record *grown = realloc(*records, size);
  if (!grown) return false;
  *records = grown;
  *has = capacity;
  return true;
}

// The newest of a file counts.
static bool add(struct cache *cache, const struct record *record) {
  size_t slots = cache->slot_count, most = cache->capacity;
  if (cache->used * 2 >= slots && !grow_slots(cache, slots ? slots * 2 : 1024)) return false;
  if (cache->count == most &&
      !grow_records(&cache->records, &cache->capacity, most ? most * 2 : 1024))
    return false;
  size_t slot = slot_of(cache, record);
  cache->used += cache->slots[slot] == NOBODY;
  cache->slots[slot] = (uint32_t)cache->count;
  cache->records[cache->count++] = *record;
  return true;
}

static bool is_newest(const struct cache *cache, size_t number) {
  return cache->slots[slot_of(cache, &cache->records[number])] == number;
}

static void forget(struct cache *cache) {
  free(cache->records);
  free(cache->slots);
  cache->records = nullptr;
  cache->slots = nullptr;
  cache->count = cache->capacity = cache->slot_count = cache->used = 0;
}

// ── The file ──

static int64_t read_at(const struct cache *cache, void *into, size_t size, uint64_t at) {
  size_t got = 0;
  while (got < size) {
    int64_t n = cache->io->read(cache->fd, (uint8_t *)into + got, size - got, at + got);
    if (n < 0) return n;
    if (n == 0) break;
    got += (size_t)n;
  }
  return (int64_t)got;
}

static int write_at(const struct cache *cache, int fd, const void *from, size_t size, uint64_t at) {
  for (size_t done = 0; done < size;) {
    int64_t n = cache->io->write(fd, (const uint8_t *)from + done, size - done, at + done);
    if (n <= 0) return n < 0 ? (int)n : -EIO;
    done += (size_t)n;
  }
  return 0;
}

// All records that pass. False: it is no cache, or not readable; or memory ran out, and then what
// was read serves.
static bool load(struct cache *cache) {
  uint8_t head[sizeof HEAD];
  if (read_at(cache, head, sizeof head, 0) != sizeof head || memcmp(head, HEAD, sizeof head) != 0)
    return false;
  struct record batch[256];
  uint64_t at = sizeof head;
  struct io_stat stat;
  // Room for all at once, so that nothing is put in its place more than once.
  if (cache->count == 0 && cache->io->stat(cache->fd, "", false, &stat) == 0 &&
      stat.size / sizeof *batch <= 2 * RECORDS_MAX) {
    size_t wanted = (size_t)(stat.size / sizeof *batch), slots = 1024;
    while (slots <= 2 * wanted) slots *= 2;
    if (!grow_slots(cache, slots) || !grow_records(&cache->records, &cache->capacity, wanted + 256))
      return false;
  }
  for (size_t records = 0; records < 2 * RECORDS_MAX;) {
    int64_t got = read_at(cache, batch, sizeof batch, at);
    if (got < 0) return false;
    size_t count = (size_t)got / sizeof *batch;
    for (size_t i = 0; i < count; i++)
      if (batch[i].check == check_of(&batch[i]) && !add(cache, &batch[i])) return false;
    records += count;
    at += (uint64_t)got;
    if ((size_t)got < sizeof batch) break;
  }
  return true;
}

// Or was, before it was damaged. Anything else is somebody's, and is not written to.
static bool is_ours(const struct cache *cache) {
  uint8_t head[sizeof HEAD];
  int64_t got = read_at(cache, head, sizeof head, 0);
  return got < 0 || span_is_nearly((span){head, (size_t)got}, (span){HEAD, sizeof HEAD});
}

static int open_file(struct cache *cache) {
  int fd = cache->io->open(IO_HERE, cache->path, IO_READ | IO_WRITE);
  if (fd != -ENOENT) return fd;
  fd = cache->io->open(IO_HERE, cache->path, IO_CREATE);
  if (fd >= 0) cache->io->close(fd);
  return fd < 0 && fd != -EEXIST ? fd : cache->io->open(IO_HERE, cache->path, IO_READ | IO_WRITE);
}

int32_t cache_open(struct runtime *runtime, span path, struct cache **out, struct fault *fault) {
  if (path.size == 0 || memchr(path.at, 0, path.size))
    return fault_set(fault, COPSE_E_ARGUMENT, "cache must be the path of a file");
  struct cache *cache = calloc(1, sizeof *cache + path.size + 1);
  if (!cache) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  memcpy(cache->path, path.at, path.size);
  cache->io = runtime->io;
  cache->fd = open_file(cache);
  struct io_stat stat = {};
  int code = cache->fd < 0 ? cache->fd : cache->io->stat(cache->fd, "", false, &stat);
  if (code >= 0 && (stat.mode & 0170000) != 0100000) code = -EINVAL;
  if (code < 0) {
    if (cache->fd >= 0) cache->io->close(cache->fd);
    free(cache);
    fault_from_errno(fault, -code, "open");
    return fault_set(fault, fault->code, "the cache of hashes cannot be used: check its path");
  }
  if (!load(cache) && !is_ours(cache)) {
    cache->io->close(cache->fd);
    forget(cache);
    free(cache);
    return fault_set(fault, COPSE_E_ARGUMENT,
                     "what is there is no cache of hashes and is left as it is: name another file");
  }
  mutex_begin(&cache->lock);
  *out = cache;
  return 0;
}

int32_t cache_open_asked(struct run *run, struct fault *fault) {
  struct task *task = run->task;
  span path = record_text((span){task->request, task->request_len}, COPSE_KEY_CACHE);
  int32_t code = path.at ? cache_open(task->runtime, path, &run->cache, fault) : 0;
  if (code < 0) task_fail(task, fault, path, (span){});
  return code;
}

// Locks the file that has the name now, which may be another than was opened.
static bool lock_file(struct cache *cache) {
  for (int tries = 0; tries < OPEN_TRIES; tries++) {
    int code = cache->io->lock(cache->fd);
    for (int i = 0; code == -EAGAIN && i < LOCK_TRIES; i++) {
      nanosleep(&LOCK_PAUSE, nullptr);
      code = cache->io->lock(cache->fd);
    }
    if (code < 0) return false;
    struct io_stat own, named;
    if (cache->io->stat(cache->fd, "", false, &own) < 0) return false;
    if (cache->io->stat(IO_HERE, cache->path, false, &named) == 0 && own.inode == named.inode &&
        own.device == named.device)
      return true;
    cache->io->close(cache->fd);
    cache->fd = open_file(cache);
    if (cache->fd < 0) return false;
  }
  return false;
}

static void append(struct cache *cache) {
  struct io_stat stat;
  uint8_t head[sizeof HEAD];
  if (cache->io->stat(cache->fd, "", false, &stat) < 0) return;
  bool ours =
      read_at(cache, head, sizeof head, 0) == sizeof head && memcmp(head, HEAD, sizeof head) == 0;
  // A damaged head: nothing behind it can be believed.
  if (!ours && (!is_ours(cache) || cache->io->set_size(cache->fd, 0) < 0 ||
                write_at(cache, cache->fd, HEAD, sizeof HEAD, 0) < 0))
    return;
  uint64_t end = ours ? stat.size - (stat.size - sizeof HEAD) % sizeof(struct record) : sizeof HEAD;
  write_at(cache, cache->fd, cache->fresh, cache->fresh_count * sizeof(struct record), end);
}

// What others appended meanwhile is in it too.
static void write_anew(struct cache *cache) {
  size_t size = strlen(cache->path) + sizeof ".new";
  char *name = malloc(size);
  int fd = -1;
  if (name) {
    memcpy(name, cache->path, size - sizeof ".new");
    memcpy(name + size - sizeof ".new", ".new", sizeof ".new");
    forget(cache);
    load(cache);
    bool all = true;
    for (size_t i = 0; i < cache->fresh_count; i++) all = add(cache, &cache->fresh[i]) && all;
    cache->io->remove(IO_HERE, name, false);  // of one that crashed; we have the lock
    if (all) fd = cache->io->open(IO_HERE, name, IO_CREATE);
  }
  if (fd >= 0) {
    constexpr size_t WANTED = RECORDS_MAX / 2;
    size_t skip = cache->used > WANTED ? cache->used - WANTED : 0;  // the oldest
    uint64_t at = sizeof HEAD;
    int code = write_at(cache, fd, HEAD, sizeof HEAD, 0);
    for (size_t i = 0; i < cache->count && code >= 0; i++) {
      if (!is_newest(cache, i)) continue;
      if (skip > 0) {
        skip--;
        continue;
      }
      code = write_at(cache, fd, &cache->records[i], sizeof *cache->records, at);
      at += sizeof *cache->records;
    }
    if (code >= 0) code = cache->io->sync(fd);
    cache->io->close(fd);
    if (code >= 0) code = cache->io->rename(IO_HERE, name, IO_HERE, cache->path, true);
    if (code < 0) cache->io->remove(IO_HERE, name, false);
  }
  free(name);
}

// Of the fresh ones, those of files that the file knew nothing of.
static size_t count_new(const struct cache *cache) {
  size_t count = 0;
  for (size_t i = 0; i < cache->fresh_count; i++)
    count += cache->used == 0 || cache->slots[slot_of(cache, &cache->fresh[i])] == NOBODY;
  return count;
}

void cache_close(struct cache *cache) {
  if (!cache) return;
  size_t all = cache->count + cache->fresh_count, newest = cache->used + count_new(cache);
  bool many = all > 2 * newest + RECORDS_FEW || all > RECORDS_MAX;
  if (cache->fresh_count > 0 && lock_file(cache)) {
    if (many)
      write_anew(cache);
    else
      append(cache);
  }
  if (cache->fd >= 0) cache->io->close(cache->fd);
  forget(cache);
  free(cache->fresh);
  mutex_end(&cache->lock);
  free(cache);
}

// ── Asking ──

static struct record record_of(const struct entry *entry, uint32_t algorithm) {
  return (struct record){.device = entry->device,
                         .inode = entry->inode,
                         .size = entry->size,
                         .mtime_ns = entry->mtime_ns,
                         .ctime_ns = entry->ctime_ns,
                         .algorithm = algorithm};
}

static bool can_be_known(const struct entry *entry) {
  return entry->ctime_ns && (entry->inode || entry->device) && (entry->has & HAS_SIZE);
}

bool cache_find(struct cache *cache, const struct entry *entry, uint32_t algorithm,
                uint8_t out[HASH_BYTES]) {
  if (!can_be_known(entry)) return false;
  if (cache->used == 0) return false;
  struct record wanted = record_of(entry, algorithm);
  uint32_t number = cache->slots[slot_of(cache, &wanted)];
  const struct record *record = number == NOBODY ? nullptr : &cache->records[number];
  bool found = record && record->size == wanted.size && record->mtime_ns == wanted.mtime_ns &&
               record->ctime_ns == wanted.ctime_ns;
  if (found) memcpy(out, record->hash, HASH_BYTES);
  return found;
}

void cache_keep(struct cache *cache, const struct entry *entry, int64_t opened_ns,
                uint32_t algorithm, const uint8_t hash[HASH_BYTES]) {
  if (!can_be_known(entry)) return;
  bool coarse = entry->ctime_ns % SECOND_NS == 0;
  int64_t grain = coarse ? COARSE_NS : TICK_NS;
  int64_t newest = entry->mtime_ns > entry->ctime_ns ? entry->mtime_ns : entry->ctime_ns;
  if (newest > opened_ns - grain) return;
  struct record record = record_of(entry, algorithm);
  memcpy(record.hash, hash, HASH_BYTES);
  record.check = check_of(&record);
  mutex_lock(&cache->lock);
  size_t has = cache->fresh_capacity;
  bool has_room = cache->fresh_count < has ||
                  (has < 2 * RECORDS_MAX &&
                   grow_records(&cache->fresh, &cache->fresh_capacity, has ? has * 2 : 1024));
  if (has_room) cache->fresh[cache->fresh_count++] = record;
  mutex_unlock(&cache->lock);
}
