// file_partial: writers that can be resumed. The temporary has a name that follows from the file's,
// so that the next run finds it, and behind the content lies a journal: a head that says which
// content it is to become, and for each range that is there a record with its digest. A range
// counts when its record is whole and its bytes have that digest, so nothing has to reach the disk
// in any order.
//
//     content, `size` bytes | zeros to a multiple of 4096 | head | record | record | ...
//
// A head or record is 64 bytes, numbers little-endian:
//     head    "copse partial 1\0", size (8), the first 24 bytes of the content's hash, check (16)
//     record  from (8), to (8), BLAKE3 of these bytes or zeros (32), check (16)
// where check is the beginning of BLAKE3 over the content's hash and what comes before it.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/io.h"
#include "engine/thread.h"
#include "engine/task.h"
#include "store/file.h"

constexpr size_t RECORD = 64, CHECK = 16, CHECKED = RECORD - CHECK;
constexpr uint64_t ALIGN = 4096;
constexpr size_t RECORDS_MAX = 1 << 20;                       // of 1 MiB each: a TiB
constexpr size_t PIECE = 256 * 1024;                          // read at once to prove a range
constexpr int64_t KEPT_NS = 7ll * 24 * 3600 * 1'000'000'000;  // nobody will come for it any more
static const char magic[16] = "copse partial 1";
// What the kernel copied passed nobody who could have hashed it.
static const uint8_t no_digest[HASH_BYTES];

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

static void put_number(uint8_t *at, uint64_t number) {
  for (int i = 0; i < 8; i++) at[i] = (uint8_t)(number >> (8 * i));
}

static uint64_t number_at(const uint8_t *at) {
  uint64_t number = 0;
  for (int i = 0; i < 8; i++) number |= (uint64_t)at[i] << (8 * i);
  return number;
}

static void check_of(const struct file_writer *writer, const uint8_t *record,
                     uint8_t out[HASH_BYTES]) {
  struct hash hash;
  hash_begin(&hash);
  hash_add(&hash, writer->content, HASH_BYTES);
  hash_add(&hash, record, CHECKED);
  hash_end(&hash, out);
}

static void finish_record(const struct file_writer *writer, uint8_t record[RECORD]) {
  uint8_t check[HASH_BYTES];
  check_of(writer, record, check);
  memcpy(record + CHECKED, check, CHECK);
}

static bool is_whole(const struct file_writer *writer, const uint8_t record[RECORD]) {
  uint8_t check[HASH_BYTES];
  check_of(writer, record, check);
  return memcmp(record + CHECKED, check, CHECK) == 0;
}

static void make_head(const struct file_writer *writer, uint8_t head[RECORD]) {
  memcpy(head, magic, sizeof magic);
  put_number(head + 16, writer->size);
  memcpy(head + 24, writer->content, 24);
  finish_record(writer, head);
}

// ── What is there ──

static bool read_all(const struct file_writer *writer, uint64_t at, uint8_t *into, size_t size) {
  while (size > 0) {
    int64_t got = writer->io->read(writer->fd, into, size, at);
    if (got <= 0) return false;
    into += got;
    at += (uint64_t)got;
    size -= (size_t)got;
  }
  return true;
}

static bool is_proved(const struct file_writer *writer, struct range range,
                      const uint8_t digest[HASH_BYTES], uint8_t *piece) {
  struct hash hash;
  hash_begin(&hash);
  for (uint64_t at = range.from; at < range.to;) {
    uint64_t left = range.to - at;
    size_t size = left < PIECE ? (size_t)left : PIECE;
    if (task_cancelled(writer->base.store->task) || !read_all(writer, at, piece, size))
      return false;
    hash_add(&hash, piece, size);
    at += size;
  }
  uint8_t found[HASH_BYTES];
  hash_end(&hash, found);
  return memcmp(found, digest, HASH_BYTES) == 0;
}

static int by_from(const void *left, const void *right) {
  uint64_t a = ((const struct range *)left)->from, b = ((const struct range *)right)->from;
  return (a > b) - (a < b);
}

static void put_in_order(struct range *ranges, size_t *count) {
  if (*count == 0) return;
  qsort(ranges, *count, sizeof *ranges, by_from);
  size_t last = 0;
  for (size_t i = 1; i < *count; i++) {
    struct range *into = &ranges[last], *one = &ranges[i];
    if (one->from <= into->to) {
      if (one->to > into->to) into->to = one->to;
    } else {
      ranges[++last] = *one;
    }
  }
  *count = last + 1;
}

static int32_t add_range(struct range **ranges, size_t *count, struct range range,
                         struct fault *fault) {
  // There is room up to the next power of two.
  if ((*count & (*count - 1)) == 0) {
    struct range *more = realloc(*ranges, (*count ? *count * 2 : 1) * sizeof *more);
    if (!more) return no_memory(fault);
    *ranges = more;
  }
  (*ranges)[(*count)++] = range;
  return 0;
}

// Reads the journal. What is not whole ends it.
static int32_t find_kept(struct file_writer *writer, struct resume *resume, struct fault *fault) {
  uint8_t expected[RECORD], record[RECORD];
  make_head(writer, expected);
  if (!read_all(writer, writer->journal_at, record, RECORD) ||
      memcmp(record, expected, RECORD) != 0)
    return 0;
  uint8_t *piece = malloc(PIECE);
  if (!piece) return no_memory(fault);
  int32_t code = 0;
  uint64_t at = writer->journal_at + RECORD;
  for (size_t i = 0; i < RECORDS_MAX && code == 0; i++, at += RECORD) {
    if (!read_all(writer, at, record, RECORD) || !is_whole(writer, record)) break;
    struct range range = {number_at(record), number_at(record + 8)};
    if (range.from >= range.to || range.to > writer->size) break;
    bool is_claim = memcmp(record + 16, no_digest, HASH_BYTES) == 0;
    if (!is_claim && !is_proved(writer, range, record + 16, piece)) continue;
    code = is_claim ? add_range(&resume->claimed, &resume->claimed_count, range, fault)
                    : add_range(&resume->kept, &resume->kept_count, range, fault);
  }
  free(piece);
  writer->journal_at = at;
  writer->has_records = true;
  put_in_order(resume->kept, &resume->kept_count);
  put_in_order(resume->claimed, &resume->claimed_count);
  if (task_cancelled(writer->base.store->task))
    code = fault_set(fault, COPSE_E_CANCELLED, "cancelled while resuming");
  return code;
}

// ── Opening ──

// Nobody else can have made it or write to it: it is ours, private, and has one name, which it did
// not lose to the file's before it was locked.
static bool is_ours(const struct file_writer *writer) {
  const struct io_ops *io = writer->io;
  struct io_stat stat, named;
  return io->stat(writer->fd, "", true, &stat) >= 0 && (stat.mode & 0170000) == 0100000 &&
         stat.uid == geteuid() && (stat.mode & 077) == 0 && stat.links == 1 &&
         io->stat(writer->directory->fd, writer->temporary, false, &named) >= 0 &&
         named.inode == stat.inode && named.device == stat.device;
}

static void name_partial(span name, char into[static 32]) {
  struct hash hash;
  uint8_t digest[HASH_BYTES];
  hash_begin(&hash);
  hash_add(&hash, (const uint8_t *)magic, sizeof magic);
  hash_add(&hash, name.at, name.size);
  hash_end(&hash, digest);
  snprintf(into, 32, ".copse-%02x%02x%02x%02x%02x%02x%02x%02x.keep", digest[0], digest[1],
           digest[2], digest[3], digest[4], digest[5], digest[6], digest[7]);
}

span file_partial_of(span name, struct arena *arena) {
  char made[32];
  name_partial(name, made);
  return arena_copy(arena, span_of(made));
}

int32_t file_resume(struct directory *base, const struct wanted *wanted, uint64_t size,
                    struct resume *resume, struct writer **out, struct fault *fault) {
  struct file_writer *writer;
  int32_t code = file_writer_new(base, wanted, &writer, fault);
  if (code < 0) return code;
  const struct io_ops *io = writer->io;
  int at = writer->directory->fd;
  hash_of(resume->identity, writer->content);
  name_partial(writer->entry.name, writer->temporary);
  bool is_new = false;
  writer->fd = io->open(at, writer->temporary, IO_READ | IO_WRITE);
  if (writer->fd == -ENOENT) {
    writer->fd = io->open(at, writer->temporary, IO_CREATE | IO_READ);
    is_new = writer->fd >= 0;
  }
  bool is_usable = writer->fd >= 0 && io->lock(writer->fd) >= 0 && is_ours(writer);
  if (!is_usable) {
    // Somebody else's, or somebody is at it: as if it could not be resumed.
    if (writer->fd >= 0) io->close(writer->fd);
    writer->fd = -1;
    writer->temporary[0] = 0;
    code = file_writer_open(writer, fault);
    if (code == 0) *out = &writer->base;
    return code;
  }
  writer->size = size;
  writer->journal_at = (size + ALIGN - 1) / ALIGN * ALIGN;
  atomic_store_explicit(&writer->may_be_long, true, memory_order_relaxed);
  if (!is_new) code = find_kept(writer, resume, fault);
  if (code == 0 && !is_new && !writer->has_records) {  // of other content
    int cut = io->set_size(writer->fd, 0);
    if (cut < 0) code = fault_from_errno(fault, -cut, "ftruncate");
  }
  if (code < 0) {
    file_abandon(&writer->base);
    return code;
  }
  *out = &writer->base;
  return 0;
}

static int32_t append(struct file_writer *writer, const uint8_t record[RECORD],
                      struct fault *fault) {
  int64_t wrote = writer->io->write(writer->fd, record, RECORD, writer->journal_at);
  if (wrote != (int64_t)RECORD)
    return fault_from_errno(fault, wrote < 0 ? (int)-wrote : EIO, "pwrite");
  writer->journal_at += RECORD;
  return 0;
}

int32_t file_keep(struct writer *base, struct range range, const uint8_t digest[HASH_BYTES],
                  struct fault *fault) {
  struct file_writer *writer = (struct file_writer *)base;
  if (!writer->journal_at) return 0;
  uint8_t record[RECORD];
  int32_t code = 0;
  if (!writer->has_records) {
    make_head(writer, record);
    code = append(writer, record, fault);
    writer->has_records = code == 0;
  }
  if (code < 0) return code;
  put_number(record, range.from);
  put_number(record + 8, range.to);
  memcpy(record + 16, digest ? digest : no_digest, HASH_BYTES);
  finish_record(writer, record);
  return append(writer, record, fault);
}

int64_t file_reread(struct writer *base, uint64_t at, uint8_t *into, size_t size,
                    struct fault *fault) {
  const struct file_writer *writer = (const struct file_writer *)base;
  int64_t got = writer->io->read(writer->fd, into, size, at);
  return got < 0 ? fault_from_errno(fault, (int)-got, "pread") : got;
}

void file_forget(struct writer *base) { ((struct file_writer *)base)->has_records = false; }

bool file_is_kept(const char *name, const struct io_ops *io, int fd) {
  size_t size = strlen(name);
  struct io_stat stat;
  return size > 5 && strcmp(name + size - 5, ".keep") == 0 && io->stat(fd, "", true, &stat) >= 0 &&
         stat.mtime_ns > clock_wall() - KEPT_NS;
}
