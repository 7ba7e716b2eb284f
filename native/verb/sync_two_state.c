// sync_two_state: the file that says what two trees had in common when they were last synced.
//
//   head      "copse-two-way-1\n", then BLAKE3 of what names the two places
//   blocks    one a directory, in any order: u32 bytes of its path, u32 records, u64 bytes of them,
//             the path, the records in order of names
//   record    u32 bytes of the name, u32 type, u64 size, i64 mtime of both sides, u32 mode of both
//             sides, the name
//   table     for each block in order of hashes: u64 the first bytes of BLAKE3 of its path, u64
//   where
//             it begins
//   trailer   u64 where the table begins, u64 blocks, BLAKE3 of all before it
//
// All numbers are little-endian. It is read by pread, a block when its directory is visited, so
// that memory holds the table only. A new one is written beside the old one and takes its name when
// all of it is on the disk.
#include "verb/sync_two.h"

#include <errno.h>
#include <stdckdint.h>
#include <stdlib.h>

#include "engine/io.h"

constexpr uint8_t HEAD[16] = {'c', 'o', 'p', 's', 'e', '-', 't', 'w',
                              'o', '-', 'w', 'a', 'y', '-', '1', '\n'};
constexpr uint64_t BEGIN = sizeof HEAD + HASH_BYTES;
constexpr size_t BLOCK_HEAD = 16, RECORD_HEAD = 40, SLOT = 16, TRAILER = 16 + HASH_BYTES;
constexpr size_t BUFFER = 256 * 1024;
constexpr size_t BLOCK_MAX = 1 << 30;  // of a directory with ten million entries
#define NEW ".new"

struct slot {  // of a block
  uint64_t hash, at;
};

struct two_state {
  const struct io_ops *io;
  int fd;  // of the old one; -1: there is none
  uint64_t table_at;
  struct slot *places;  // by hash
  size_t count;
  uint8_t pair[HASH_BYTES];
  // The new one.
  mutex lock;  // guards all below
  int new_fd;  // -1: none
  struct hash hash;
  struct slot *new_places;
  size_t new_count, new_capacity;
  uint64_t new_at;
  uint8_t *buffer;
  size_t filled;
  struct fault failure;  // the first; what lacks something never gets the name
  char *new_path;
  char path[];
};

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

static int32_t damaged(struct fault *fault) {
  return fault_set(fault, COPSE_E_CORRUPT, "the state file is damaged");
}

static uint32_t u32_at(const uint8_t *at) {
  return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}
static uint64_t u64_at(const uint8_t *at) { return u32_at(at) | (uint64_t)u32_at(at + 4) << 32; }
static uint8_t *put_u32(uint8_t *at, uint32_t number) {
  for (int i = 0; i < 4; i++) at[i] = (uint8_t)(number >> 8 * i);
  return at + 4;
}
static uint8_t *put_u64(uint8_t *at, uint64_t number) {
  return put_u32(put_u32(at, (uint32_t)number), (uint32_t)(number >> 32));
}

static uint64_t place_hash(span directory) {
  uint8_t hash[HASH_BYTES];
  hash_of(directory, hash);
  return u64_at(hash);
}

static int by_hash(const void *left, const void *right) {
  const struct slot *a = left, *b = right;
  return a->hash < b->hash ? -1 : a->hash > b->hash;
}

// ── Reading ──

// All of it, or a fault.
static int32_t read_at(const struct io_ops *io, int fd, void *into, size_t size, uint64_t at,
                       struct fault *fault) {
  for (size_t got = 0; got < size;) {
    int64_t n = io->read(fd, (uint8_t *)into + got, size - got, at + got);
    if (n < 0) return fault_from_errno(fault, (int)-n, "pread");
    if (n == 0) return damaged(fault);
    got += (size_t)n;
  }
  return 0;
}

int32_t two_block_read(span bytes, struct two_record *into, size_t count, struct fault *fault) {
  for (size_t i = 0; i < count; i++) {
    if (bytes.size < RECORD_HEAD) return damaged(fault);
    const uint8_t *at = bytes.at;
    size_t name = u32_at(at);
    uint32_t type = u32_at(at + 4);
    if (name == 0 || name > bytes.size - RECORD_HEAD) return damaged(fault);
    if (type != ENTRY_FILE && type != ENTRY_DIRECTORY && type != ENTRY_LINK) return damaged(fault);
    into[i] = (struct two_record){
        .name = {at + RECORD_HEAD, name},
        .type = (enum entry_type)type,
        .size = u64_at(at + 8),
        .mtime_ns = {(int64_t)u64_at(at + 16), (int64_t)u64_at(at + 24)},
        .mode = {u32_at(at + 32), u32_at(at + 36)},
    };
    if (i > 0 && span_compare(into[i - 1].name, into[i].name) >= 0) return damaged(fault);
    bytes = (span){at + RECORD_HEAD + name, bytes.size - RECORD_HEAD - name};
  }
  return bytes.size ? damaged(fault) : 0;
}

struct block_head {
  size_t path, count, bytes;
};

static int32_t read_head(const struct two_state *state, uint64_t at, struct block_head *out,
                         struct fault *fault) {
  uint8_t head[BLOCK_HEAD];
  if (at < BEGIN || at > state->table_at || state->table_at - at < BLOCK_HEAD)
    return damaged(fault);
  int32_t code = read_at(state->io, state->fd, head, sizeof head, at, fault);
  if (code < 0) return code;
  uint64_t path = u32_at(head), count = u32_at(head + 4), bytes = u64_at(head + 8);
  uint64_t room = state->table_at - at - BLOCK_HEAD;
  if (path > room || bytes > room - path || bytes > BLOCK_MAX || count > bytes / RECORD_HEAD)
    return damaged(fault);
  *out = (struct block_head){(size_t)path, (size_t)count, (size_t)bytes};
  return 0;
}

void two_block_free(struct two_block *block) {
  free(block->records);
  free(block->bytes);
  *block = (struct two_block){};
}

// The block at `at` when it is that directory's: 1, 0.
static int32_t read_block(const struct two_state *state, uint64_t at, span directory,
                          struct two_block *out, struct fault *fault) {
  struct block_head head;
  int32_t code = read_head(state, at, &head, fault);
  if (code < 0 || head.path != directory.size) return code;
  out->bytes = malloc(head.path + head.bytes + 1);
  out->records = malloc((head.count + 1) * sizeof *out->records);
  if (!out->bytes || !out->records)
    code = no_memory(fault);
  else
    code =
        read_at(state->io, state->fd, out->bytes, head.path + head.bytes, at + BLOCK_HEAD, fault);
  bool is_it = code == 0 && span_equal((span){out->bytes, head.path}, directory);
  if (is_it) {
    span records = {out->bytes + head.path, head.bytes};
    code = two_block_read(records, out->records, head.count, fault);
    out->count = head.count;
    if (code == 0) return 1;
  }
  two_block_free(out);
  return code;
}

int32_t two_state_find(const struct two_state *state, span directory, struct two_block *out,
                       struct fault *fault) {
  *out = (struct two_block){};
  if (state->count == 0) return 0;
  uint64_t hash = place_hash(directory);
  size_t low = 0, high = state->count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (state->places[middle].hash < hash)
      low = middle + 1;
    else
      high = middle;
  }
  int32_t code = 0;
  for (; code == 0 && low < state->count && state->places[low].hash == hash; low++)
    code = read_block(state, state->places[low].at, directory, out, fault);
  return code < 0 ? code : 0;
}

// Whether all that comes before the last hash has it, in pieces.
static int32_t check(const struct two_state *state, uint64_t size, struct fault *fault) {
  uint8_t *buffer = malloc(BUFFER), kept[HASH_BYTES], found[HASH_BYTES];
  if (!buffer) return no_memory(fault);
  struct hash hash;
  hash_begin(&hash);
  int32_t code = 0;
  uint64_t end = size - HASH_BYTES;
  for (uint64_t at = 0; at < end && code == 0;) {
    size_t piece = end - at < BUFFER ? (size_t)(end - at) : BUFFER;
    code = read_at(state->io, state->fd, buffer, piece, at, fault);
    hash_add(&hash, buffer, code == 0 ? piece : 0);
    at += piece;
  }
  free(buffer);
  hash_end(&hash, found);
  if (code == 0) code = read_at(state->io, state->fd, kept, sizeof kept, end, fault);
  if (code == 0 && memcmp(kept, found, sizeof kept) != 0) code = damaged(fault);
  return code;
}

static int32_t load(struct two_state *state, struct fault *fault) {
  struct io_stat stat;
  uint8_t head[BEGIN], trailer[TRAILER];
  int gone = state->io->stat(state->fd, "", true, &stat);
  if (gone < 0) return fault_from_errno(fault, -gone, "fstat");
  if ((stat.mode & 0170000) != 0100000)
    return fault_set(fault, COPSE_E_ARGUMENT, "the state is no regular file: name another one");
  size_t begin = stat.size < sizeof HEAD ? (size_t)stat.size : sizeof HEAD;
  int32_t code = read_at(state->io, state->fd, head, begin, 0, fault);
  if (code == 0 && !span_is_nearly((span){head, begin}, (span){HEAD, sizeof HEAD}))
    return fault_set(fault, COPSE_E_ARGUMENT,
                     "what is there is no state file and is left as it is: name another one");
  if (code == 0 && stat.size < BEGIN + TRAILER) return damaged(fault);
  if (code == 0) code = read_at(state->io, state->fd, head, sizeof head, 0, fault);
  if (code == 0 && memcmp(head, HEAD, sizeof HEAD) != 0) code = damaged(fault);
  if (code == 0) code = check(state, stat.size, fault);
  if (code == 0)
    code = read_at(state->io, state->fd, trailer, sizeof trailer, stat.size - TRAILER, fault);
  if (code < 0) return code;
  uint64_t table_at = u64_at(trailer), count = u64_at(trailer + 8), end = stat.size - TRAILER;
  if (table_at < BEGIN || table_at > end || (end - table_at) / SLOT != count ||
      (end - table_at) % SLOT != 0)
    return damaged(fault);
  if (memcmp(head + sizeof HEAD, state->pair, HASH_BYTES) != 0)
    return fault_set(fault, COPSE_E_ARGUMENT, "the state file is that of two other places");
  size_t size = (size_t)(end - table_at);
  uint8_t *table = malloc(size + 1);
  state->places = malloc(size + 1);
  static_assert(sizeof *state->places == SLOT);
  if (!table || !state->places)
    code = no_memory(fault);
  else
    code = read_at(state->io, state->fd, table, size, table_at, fault);
  for (size_t i = 0; i < count && code == 0; i++) {
    state->places[i] = (struct slot){u64_at(table + i * SLOT), u64_at(table + i * SLOT + 8)};
    if (i > 0 && by_hash(&state->places[i - 1], &state->places[i]) > 0) code = damaged(fault);
  }
  free(table);
  if (code < 0) return code;
  state->count = (size_t)count;
  state->table_at = table_at;
  return 0;
}

int32_t two_state_open(const struct io_ops *io, span path, span pair, struct two_state **out,
                       enum copse_two *found, struct fault *fault) {
  if (path.size == 0 || memchr(path.at, 0, path.size))
    return fault_set(fault, COPSE_E_ARGUMENT, "the state must be the path of a file");
  struct two_state *state = calloc(1, sizeof *state + 2 * (path.size + 1) + sizeof NEW);
  if (!state) return no_memory(fault);
  memcpy(state->path, path.at, path.size);
  state->new_path = state->path + path.size + 1;
  memcpy(state->new_path, path.at, path.size);
  memcpy(state->new_path + path.size, NEW, sizeof NEW);
  state->io = io;
  state->new_fd = -1;
  hash_of(pair, state->pair);
  mutex_begin(&state->lock);
  *out = state;
  *found = COPSE_TWO_NEW;
  state->fd = io->open(IO_HERE, state->path, IO_READ | IO_FOLLOW);
  if (state->fd == -ENOENT) return 0;
  if (state->fd < 0) return fault_from_errno(fault, -state->fd, "open");
  struct fault why = {};
  int32_t code = load(state, &why);
  *found = code == 0 ? COPSE_TWO_KNOWN : COPSE_TWO_DAMAGED;
  if (code == 0 || code == COPSE_E_CORRUPT) return 0;
  *fault = why;
  return code;
}

void two_state_close(struct two_state *state) {
  if (!state) return;
  if (state->fd >= 0) state->io->close(state->fd);
  if (state->new_fd >= 0) {
    state->io->close(state->new_fd);
    state->io->remove(IO_HERE, state->new_path, false);
  }
  free(state->places);
  free(state->new_places);
  free(state->buffer);
  mutex_end(&state->lock);
  free(state);
}

// ── Writing ──

// What the new one lacks would be new on both sides, and after a torn write its hash is not its
// own.
static int32_t remember(struct two_state *state, int32_t code, const struct fault *fault) {
  if (code == 0) return 0;
  mutex_lock(&state->lock);
  if (state->failure.code == 0) state->failure = *fault;
  mutex_unlock(&state->lock);
  return code;
}

// The lock is held, as by the next two.
static int32_t flush(struct two_state *state, struct fault *fault) {
  for (size_t done = 0; done < state->filled;) {
    uint64_t at = state->new_at - state->filled + done;
    int64_t n = state->io->write(state->new_fd, state->buffer + done, state->filled - done, at);
    if (n <= 0) return fault_from_errno(fault, n < 0 ? (int)-n : EIO, "pwrite");
    done += (size_t)n;
  }
  state->filled = 0;
  return 0;
}

static int32_t append(struct two_state *state, const uint8_t *bytes, size_t size,
                      struct fault *fault) {
  hash_add(&state->hash, bytes, size);
  while (size > 0) {
    size_t room = BUFFER - state->filled, piece = size < room ? size : room;
    memcpy(state->buffer + state->filled, bytes, piece);
    state->filled += piece;
    state->new_at += piece;
    bytes += piece;
    size -= piece;
    int32_t code = state->filled == BUFFER ? flush(state, fault) : 0;
    if (code < 0) return code;
  }
  return 0;
}

int32_t two_state_begin(struct two_state *state, struct fault *fault) {
  state->buffer = malloc(BUFFER);
  if (!state->buffer) return no_memory(fault);
  state->io->remove(IO_HERE, state->new_path, false);  // of one that was killed
  state->new_fd = state->io->open(IO_HERE, state->new_path, IO_CREATE);
  if (state->new_fd < 0) {
    fault_from_errno(fault, -state->new_fd, "open");
    return fault_set(fault, fault->code, "the state cannot be kept: check the path of its file");
  }
  hash_begin(&state->hash);
  int32_t code = append(state, HEAD, sizeof HEAD, fault);
  return code < 0 ? code : append(state, state->pair, HASH_BYTES, fault);
}

static int32_t place_add(struct two_state *state, span directory, struct fault *fault) {
  if (state->new_count == state->new_capacity) {
    size_t capacity = state->new_capacity ? state->new_capacity * 2 : 64, size;
    struct slot *more =
        ckd_mul(&size, capacity, sizeof *more) ? nullptr : realloc(state->new_places, size);
    if (!more) return no_memory(fault);
    state->new_places = more;
    state->new_capacity = capacity;
  }
  state->new_places[state->new_count++] = (struct slot){place_hash(directory), state->new_at};
  return 0;
}

static int32_t add(struct two_state *state, span directory, const struct two_record *records,
                   size_t count, struct fault *fault) {
  size_t size = BLOCK_HEAD + directory.size, bytes = 0;
  for (size_t i = 0; i < count; i++) bytes += RECORD_HEAD + records[i].name.size;
  if (directory.size > UINT32_MAX || count > UINT32_MAX || bytes > BLOCK_MAX)
    return fault_set(fault, COPSE_E_LIMIT, "a directory with too many entries");
  uint8_t *block = malloc(size + bytes), *at = block;
  if (!block) return no_memory(fault);
  at = put_u32(at, (uint32_t)directory.size);
  at = put_u32(at, (uint32_t)count);
  at = put_u64(at, bytes);
  if (directory.size) memcpy(at, directory.at, directory.size);
  at += directory.size;
  for (size_t i = 0; i < count; i++) {
    const struct two_record *record = &records[i];
    at = put_u32(at, (uint32_t)record->name.size);
    at = put_u32(at, record->type);
    at = put_u64(at, record->size);
    for (uint8_t side = 0; side < 2; side++) at = put_u64(at, (uint64_t)record->mtime_ns[side]);
    for (uint8_t side = 0; side < 2; side++) at = put_u32(at, record->mode[side]);
    memcpy(at, record->name.at, record->name.size);
    at += record->name.size;
  }
  mutex_lock(&state->lock);
  int32_t code = place_add(state, directory, fault);
  if (code == 0) code = append(state, block, size + bytes, fault);
  mutex_unlock(&state->lock);
  free(block);
  return code;
}

int32_t two_state_add(struct two_state *state, span directory, const struct two_record *records,
                      size_t count, struct fault *fault) {
  return count == 0 ? 0 : remember(state, add(state, directory, records, count, fault), fault);
}

// Directories that are still to be carried.
struct path {
  uint8_t *at;
  size_t size;
};
struct paths {
  struct path *at;
  size_t count, capacity;
};

static int32_t paths_add(struct paths *paths, span above, span name, struct fault *fault) {
  if (paths->count == paths->capacity) {
    size_t capacity = paths->capacity ? paths->capacity * 2 : 16;
    struct path *more = realloc(paths->at, capacity * sizeof *more);
    if (!more) return no_memory(fault);
    paths->at = more;
    paths->capacity = capacity;
  }
  size_t slash = above.size && name.size ? 1 : 0;
  uint8_t *path = malloc(above.size + slash + name.size + 1);
  if (!path) return no_memory(fault);
  if (above.size) memcpy(path, above.at, above.size);
  if (slash) path[above.size] = '/';
  if (name.size) memcpy(path + above.size + slash, name.at, name.size);
  paths->at[paths->count++] = (struct path){path, above.size + slash + name.size};
  return 0;
}

int32_t two_state_carry(struct two_state *state, span directory, struct fault *fault) {
  struct paths paths = {};
  int32_t code = paths_add(&paths, directory, (span){}, fault);
  while (code == 0 && paths.count > 0) {
    uint8_t *bytes = paths.at[--paths.count].at;
    span path = {bytes, paths.at[paths.count].size};
    struct two_block block;
    code = two_state_find(state, path, &block, fault);
    if (code == 0) code = two_state_add(state, path, block.records, block.count, fault);
    for (size_t i = 0; i < block.count && code == 0; i++)
      if (block.records[i].type == ENTRY_DIRECTORY)
        code = paths_add(&paths, path, block.records[i].name, fault);
    two_block_free(&block);
    free(bytes);
  }
  while (paths.count > 0) free(paths.at[--paths.count].at);
  free(paths.at);
  return remember(state, code, fault);
}

// The directory that holds it, so that the name lasts too. Some file systems flush none.
static void settle(struct two_state *state) {
  char *slash = strrchr(state->new_path, '/');
  if (slash) *slash = 0;
  const char *above = !slash ? "." : slash == state->new_path ? "/" : state->new_path;
  int fd = state->io->open(IO_HERE, above, IO_READ | IO_DIRECTORY | IO_FOLLOW);
  if (slash) *slash = '/';
  if (fd < 0) return;
  state->io->sync(fd);
  state->io->close(fd);
}

static int32_t write_end(struct two_state *state, struct fault *fault) {
  uint64_t table_at = state->new_at;
  if (state->new_count) qsort(state->new_places, state->new_count, SLOT, by_hash);
  int32_t code = 0;
  for (size_t i = 0; i < state->new_count && code == 0; i++) {
    uint8_t place[SLOT];
    put_u64(put_u64(place, state->new_places[i].hash), state->new_places[i].at);
    code = append(state, place, sizeof place, fault);
  }
  uint8_t end[16], hash[HASH_BYTES];
  put_u64(put_u64(end, table_at), state->new_count);
  if (code == 0) code = append(state, end, sizeof end, fault);
  hash_end(&state->hash, hash);
  if (code == 0) code = append(state, hash, sizeof hash, fault);
  return code < 0 ? code : flush(state, fault);
}

int32_t two_state_end(struct two_state *state, struct fault *fault) {
  mutex_lock(&state->lock);
  int32_t code = state->failure.code;
  if (code < 0)
    *fault = state->failure;
  else
    code = write_end(state, fault);
  int failed = 0;
  const char *call = "fsync";
  if (code == 0) failed = state->io->sync(state->new_fd);
  int closed = state->io->close(state->new_fd);
  state->new_fd = -1;
  if (failed >= 0 && closed < 0) failed = closed, call = "close";
  if (code == 0 && failed >= 0) {
    failed = state->io->rename(IO_HERE, state->new_path, IO_HERE, state->path, true);
    call = "renameat";
  }
  if (code == 0 && failed < 0) code = fault_from_errno(fault, -failed, call);
  if (code < 0) state->io->remove(IO_HERE, state->new_path, false);
  if (code == 0) settle(state);
  mutex_unlock(&state->lock);
  return code;
}
