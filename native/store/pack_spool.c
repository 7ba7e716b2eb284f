#include "store/pack_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

constexpr size_t BUFFER_BYTES = 1 << 20;

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory while packing");
}

void spool_begin(struct spool *spool) {
  *spool = (struct spool){.fd = -1};
  mutex_begin(&spool->lock);
}

void spool_end(struct spool *spool) {
  if (spool->fd >= 0) close(spool->fd);
  free(spool->blobs);
  free(spool->slots);
  free(spool->buffer);
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

static int32_t write_all(struct spool *spool, uint64_t at, const uint8_t *bytes, size_t size,
                         struct fault *fault) {
  int32_t code = spool->fd < 0 ? spool_file(&spool->fd, fault) : 0;
  return code < 0 ? code : spool_write(spool->fd, at, bytes, size, fault);
}

static int32_t append(struct spool *spool, span bytes, struct fault *fault) {
  if (!spool->buffer) spool->buffer = malloc(BUFFER_BYTES);
  if (!spool->buffer) return no_memory(fault);
  if (bytes.size > BUFFER_BYTES - spool->filled) {
    int32_t code = write_all(spool, spool->begin, spool->buffer, spool->filled, fault);
    if (code < 0) return code;
    spool->begin += spool->filled;
    spool->filled = 0;
    if (bytes.size > BUFFER_BYTES) {
      code = write_all(spool, spool->begin, bytes.at, bytes.size, fault);
      if (code == 0) spool->begin += bytes.size;
      return code;
    }
  }
  if (bytes.size) memcpy(spool->buffer + spool->filled, bytes.at, bytes.size);
  spool->filled += bytes.size;
  return 0;
}

// `bytes.at` nullptr: they are elsewhere.
static int32_t add(struct spool *spool, const uint8_t digest[HASH_BYTES], bool is_frame, span bytes,
                   uint32_t *out, struct fault *fault) {
  mutex_lock(&spool->lock);
  int32_t code = make_room(spool) ? 0 : no_memory(fault);
  uint32_t *slot = code == 0 ? slot_of(spool, digest, is_frame) : nullptr;
  if (code == 0 && *slot == 0) {
    uint64_t at = bytes.at ? spool->begin + spool->filled : UINT64_MAX;
    if (bytes.at) code = append(spool, bytes, fault);
    if (code == 0) {
      struct blob *blob = &spool->blobs[spool->count++];
      *blob = (struct blob){
          .at = at, .size = bytes.size, .placed_at = UINT64_MAX, .is_frame = is_frame};
      memcpy(blob->digest, digest, HASH_BYTES);
      *slot = spool->count;
    }
  }
  if (code == 0) *out = *slot - 1;
  mutex_unlock(&spool->lock);
  return code;
}

int32_t spool_add(struct spool *spool, const uint8_t digest[HASH_BYTES], bool is_frame, span bytes,
                  uint32_t *out, struct fault *fault) {
  return add(spool, digest, is_frame, bytes.at ? bytes : SPAN(""), out, fault);
}

int32_t spool_note(struct spool *spool, const uint8_t digest[HASH_BYTES], uint64_t size,
                   uint32_t *out, struct fault *fault) {
  return add(spool, digest, false, (span){nullptr, (size_t)size}, out, fault);
}

int32_t spool_put(struct spool *spool, span bytes, uint64_t *at, struct fault *fault) {
  mutex_lock(&spool->lock);
  *at = spool->begin + spool->filled;
  int32_t code = append(spool, bytes, fault);
  mutex_unlock(&spool->lock);
  return code;
}

int32_t spool_read(struct spool *spool, uint64_t at, uint8_t *into, size_t size,
                   struct fault *fault) {
  if (size == 0) return 0;
  // What was put at once lies as a whole in the buffer or in the file.
  mutex_lock(&spool->lock);
  bool is_here = at >= spool->begin;
  if (is_here) memcpy(into, spool->buffer + (at - spool->begin), size);
  mutex_unlock(&spool->lock);
  return is_here ? 0 : spool_get(spool->fd, at, into, size, fault);
}
