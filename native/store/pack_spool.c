#include "store/pack_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

constexpr size_t DESK_BYTES = 256 << 10;

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory while packing");
}

void spool_begin(struct spool *spool) {
  *spool = (struct spool){.fd = -1};
  mutex_begin(&spool->lock);
  for (uint32_t i = 0; i < DESKS_MAX; i++) mutex_begin(&spool->desks[i].lock);
}

void spool_empty(struct spool *spool) {
  if (spool->fd >= 0) close(spool->fd);
  spool->fd = -1;
  free(spool->blobs);
  free(spool->slots);
  spool->blobs = nullptr;
  spool->slots = nullptr;
}

void spool_end(struct spool *spool) {
  spool_empty(spool);
  for (uint32_t i = 0; i < DESKS_MAX; i++) {
    free(spool->desks[i].bytes);
    mutex_end(&spool->desks[i].lock);
  }
  mutex_end(&spool->lock);
}

// ── Which blobs there are ──

static uint32_t *slot_of(const struct spool *spool, const uint8_t *digest, bool is_frame) {
  uint64_t hash;
  memcpy(&hash, digest, sizeof hash);
  uint32_t mask = spool->slots_count - 1;
  for (uint32_t i = ((uint32_t)hash ^ is_frame) & mask;; i = (i + 1) & mask) {
    uint32_t *slot = &spool->slots[i];
    if (*slot == 0) return slot;
    const struct blob *blob = &spool->blobs[*slot - 1];
    if (blob->is_frame == is_frame && memcmp(blob->digest, digest, HASH_BYTES) == 0) return slot;
  }
}

static bool make_room(struct spool *spool) {
  if (spool->count == spool->capacity) {
    uint32_t capacity = spool->capacity ? spool->capacity * 2 : 256;
    if (capacity > UINT32_MAX / 4) return false;
    struct blob *blobs = realloc(spool->blobs, capacity * sizeof *blobs);
    if (!blobs) return false;
    spool->blobs = blobs;
    spool->capacity = capacity;
  }
  if (spool->count < spool->slots_count / 2) return true;
  uint32_t count = spool->slots_count ? spool->slots_count * 2 : 1024;
  uint32_t *slots = calloc(count, sizeof *slots);
  if (!slots) return false;
  free(spool->slots);
  spool->slots = slots;
  spool->slots_count = count;
  for (uint32_t i = 0; i < spool->count; i++)
    *slot_of(spool, spool->blobs[i].digest, spool->blobs[i].is_frame) = i + 1;
  return true;
}

uint32_t spool_find(struct spool *spool, const uint8_t digest[HASH_BYTES], bool is_frame) {
  mutex_lock(&spool->lock);
  uint32_t found = spool->slots_count ? *slot_of(spool, digest, is_frame) : 0;
  mutex_unlock(&spool->lock);
  return found ? found - 1 : NO_BLOB;
}

// ── The file ──

int32_t spool_file(int *fd, struct fault *fault) {
  const char *folder = getenv("TMPDIR");
  char path[4096];
  if (!folder || !*folder) folder = "/var/tmp";
  int size = snprintf(path, sizeof path, "%s/copse-XXXXXX", folder);
  if (size < 0 || (size_t)size >= sizeof path)
    return fault_set(fault, COPSE_E_ARGUMENT, "TMPDIR is too long");
  *fd = mkostemp(path, O_CLOEXEC);
  if (*fd < 0) return fault_from_errno(fault, errno, "mkostemp");
  unlink(path);
  return 0;
}

int32_t spool_write(int fd, uint64_t at, const uint8_t *bytes, size_t size, struct fault *fault) {
  while (size > 0) {
    ssize_t put = pwrite(fd, bytes, size, (off_t)at);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return fault_from_errno(fault, put < 0 ? errno : ENOSPC, "pwrite");
    bytes += put;
    at += (uint64_t)put;
    size -= (size_t)put;
  }
  return 0;
}

int32_t spool_get(int fd, uint64_t at, uint8_t *into, size_t size, struct fault *fault) {
  while (size > 0) {
    ssize_t got = pread(fd, into, size, (off_t)at);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return fault_from_errno(fault, got < 0 ? errno : EIO, "pread");
    into += got;
    at += (uint64_t)got;
    size -= (size_t)got;
  }
  return 0;
}

static int32_t write_all(struct spool *spool, uint64_t at, span bytes, struct fault *fault) {
  mutex_lock(&spool->lock);
  int32_t code = spool->fd < 0 ? spool_file(&spool->fd, fault) : 0;
  int fd = spool->fd;
  mutex_unlock(&spool->lock);
  return code < 0 ? code : spool_write(fd, at, bytes.at, bytes.size, fault);
}

static uint64_t reserve(struct spool *spool, size_t size) {
  return atomic_fetch_add_explicit(&spool->end, size, memory_order_relaxed);
}

// ── Desks ──

// The calling thread's own; with more threads than desks some share one.
static struct desk *desk_of(struct spool *spool) {
  static thread_local char here;
  for (uint32_t pass = 0; pass < 2; pass++) {
    uint32_t count = atomic_load_explicit(&spool->desks_count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++)
      if (atomic_load_explicit(&spool->desks[i].owner, memory_order_relaxed) == &here)
        return &spool->desks[i];
    if (count == DESKS_MAX) return &spool->desks[(uintptr_t)&here / 4096 % DESKS_MAX];
    if (pass > 0) break;
    mutex_lock(&spool->lock);
    count = atomic_load_explicit(&spool->desks_count, memory_order_relaxed);
    if (count < DESKS_MAX) {
      atomic_store_explicit(&spool->desks[count].owner, &here, memory_order_relaxed);
      atomic_store_explicit(&spool->desks_count, count + 1, memory_order_release);
    }
    mutex_unlock(&spool->lock);
  }
  return &spool->desks[0];
}

// Under the desk's lock.
static int32_t desk_clear(struct spool *spool, struct desk *desk, struct fault *fault) {
  if (desk->filled == 0) return 0;
  int32_t code = write_all(spool, desk->begin, (span){desk->bytes, desk->filled}, fault);
  if (code == 0) desk->filled = 0;
  return code;
}

static int32_t desk_put(struct spool *spool, struct desk *desk, span bytes, uint64_t *at,
                        struct fault *fault) {
  bool has_room = desk->bytes && bytes.size <= DESK_BYTES - desk->filled;
  int32_t code = has_room ? 0 : desk_clear(spool, desk, fault);
  if (code < 0) return code;
  if (!desk->bytes) desk->bytes = malloc(DESK_BYTES);
  if (!desk->bytes) return no_memory(fault);
  if (!has_room) desk->begin = reserve(spool, DESK_BYTES);
  if (bytes.size) memcpy(desk->bytes + desk->filled, bytes.at, bytes.size);
  *at = desk->begin + desk->filled;
  desk->filled += bytes.size;
  return 0;
}

static int32_t append(struct spool *spool, span bytes, uint64_t *at, struct fault *fault) {
  if (bytes.size > DESK_BYTES / 2) {
    *at = reserve(spool, bytes.size);
    return write_all(spool, *at, bytes, fault);
  }
  struct desk *desk = desk_of(spool);
  mutex_lock(&desk->lock);
  int32_t code = desk_put(spool, desk, bytes, at, fault);
  mutex_unlock(&desk->lock);
  return code;
}

int32_t spool_settle(struct spool *spool, struct fault *fault) {
  if (spool->fd < 0) return 0;
  int32_t code = 0;
  for (uint32_t i = 0; i < DESKS_MAX && code == 0; i++) {
    struct desk *desk = &spool->desks[i];
    mutex_lock(&desk->lock);
    code = desk_clear(spool, desk, fault);
    free(desk->bytes);
    desk->bytes = nullptr;
    mutex_unlock(&desk->lock);
  }
  spool->is_settled = code == 0;
  return code;
}

// Whoever was faster has the place; then the bytes that were put meanwhile are nobody's.
static int32_t add(struct spool *spool, const uint8_t digest[HASH_BYTES], bool is_frame,
                   uint64_t size, uint64_t at, uint32_t *out, struct fault *fault) {
  mutex_lock(&spool->lock);
  int32_t code = make_room(spool) ? 0 : no_memory(fault);
  uint32_t *slot = code == 0 ? slot_of(spool, digest, is_frame) : nullptr;
  if (code == 0 && *slot == 0) {
    struct blob *blob = &spool->blobs[spool->count++];
    *blob = (struct blob){.at = at, .size = size, .placed_at = UINT64_MAX, .is_frame = is_frame};
    memcpy(blob->digest, digest, HASH_BYTES);
    *slot = spool->count;
  }
  if (code == 0) *out = *slot - 1;
  mutex_unlock(&spool->lock);
  return code;
}

int32_t spool_add(struct spool *spool, const uint8_t digest[HASH_BYTES], bool is_frame, span bytes,
                  uint32_t *out, struct fault *fault) {
  uint64_t at;
  int32_t code = append(spool, bytes, &at, fault);
  return code < 0 ? code : add(spool, digest, is_frame, bytes.size, at, out, fault);
}

int32_t spool_note(struct spool *spool, const uint8_t digest[HASH_BYTES], uint64_t size,
                   uint32_t *out, struct fault *fault) {
  return add(spool, digest, false, size, UINT64_MAX, out, fault);
}

int32_t spool_put(struct spool *spool, span bytes, uint64_t *at, struct fault *fault) {
  return append(spool, bytes, at, fault);
}

int32_t spool_read(struct spool *spool, uint64_t at, uint8_t *into, size_t size,
                   struct fault *fault) {
  if (size == 0) return 0;
  // What was put at once lies as a whole on a desk or in the file.
  uint32_t desks =
      spool->is_settled ? 0 : atomic_load_explicit(&spool->desks_count, memory_order_acquire);
  for (uint32_t i = 0; i < desks; i++) {
    struct desk *desk = &spool->desks[i];
    mutex_lock(&desk->lock);
    bool is_here = at >= desk->begin && at < desk->begin + desk->filled;
    if (is_here) memcpy(into, desk->bytes + (at - desk->begin), size);
    mutex_unlock(&desk->lock);
    if (is_here) return 0;
  }
  return spool_get(spool->fd, at, into, size, fault);
}
