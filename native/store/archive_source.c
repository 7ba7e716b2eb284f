#include "store/archive_source.h"

#include <archive.h>
#include <stdlib.h>

#include "engine/task.h"

static int64_t file_read(struct archive_source *source, const uint8_t **block,
                         struct fault *fault) {
  struct archive_file *file = (struct archive_file *)source;
  if (task_cancelled(file->task) || atomic_load_explicit(file->stop, memory_order_relaxed))
    return fault_set(fault, COPSE_E_CANCELLED, "cancelled while reading an archive");
  const struct store_ops *ops = file->reader.store->ops;
  size_t got = 0;
  while (got < SOURCE_BLOCK && file->at + got < file->size) {
    uint64_t left = file->size - file->at - got;
    size_t wanted = SOURCE_BLOCK - got < left ? SOURCE_BLOCK - got : (size_t)left;
    int64_t n = ops->read(&file->reader, file->at + got, file->buffer + got, wanted, fault);
    if (n < 0) return n;
    if (n == 0 && file->size == UINT64_MAX) {  // nobody knew the size before
      file->size = file->at + got;
      file->size_found = true;
      break;
    }
    if (n == 0)
      return fault_set(fault, COPSE_E_CHANGED,
                       "the archive became shorter while it was read; run again");
    got += (size_t)n;
  }
  file->at += got;
  *block = file->buffer;
  if (got > 0) return (int64_t)got;
  // What was measured at the beginning must still be so, or two states of a file pass for one.
  struct entry now = {};
  int32_t code = ops->measure(&file->reader, &now, nullptr, fault);
  if (code < 0) return code;
  if ((!file->size_found && now.size != file->size) || now.mtime_ns != file->mtime_ns)
    return fault_set(fault, COPSE_E_CHANGED, "the archive changed while it was read; run again");
  return 0;
}

static void file_close(struct archive_source *source) {
  struct archive_file *file = (struct archive_file *)source;
  if (!file->is_lent) file->reader.store->ops->read_end(&file->reader);
  free(file->buffer);
  free(file);
}

struct archive_source *source_file(struct reader *reader, const struct entry *measured,
                                   bool is_lent, struct task *task, const _Atomic bool *stop) {
  struct archive_file *file = malloc(sizeof *file);
  uint8_t *buffer = malloc(SOURCE_BLOCK);
  if (!file || !buffer) {
    free(file);
    free(buffer);
    return nullptr;
  }
  *file = (struct archive_file){.source = {.read = file_read, .close = file_close},
                                .reader = *reader,
                                .task = task,
                                .stop = stop,
                                .is_lent = is_lent,
                                .size = measured->has & HAS_SIZE ? measured->size : UINT64_MAX,
                                .mtime_ns = measured->mtime_ns,
                                .buffer = buffer};
  return &file->source;
}

struct archive_file *source_bottom(struct archive_source *top) {
  while (top->below) top = top->below;
  return (struct archive_file *)top;
}

void source_close(struct archive_source *top) {
  while (top) {
    struct archive_source *below = top->below;
    free(top->head);
    top->close(top);
    top = below;
  }
}

static int64_t read_on(struct archive_source *source, const uint8_t **block, struct fault *fault) {
  if (source->at_end) return 0;
  int64_t got = source->read(source, block, fault);
  source->at_end = got <= 0;
  if (got > 0) source->given += (uint64_t)got;
  return got;
}

int64_t source_read(struct archive_source *source, const uint8_t **block, struct fault *fault) {
  if (source->head_size && !source->head_given) {
    source->head_given = true;
    *block = source->head;
    return (int64_t)source->head_size;
  }
  return read_on(source, block, fault);
}

int32_t source_peek(struct archive_source *source, size_t want, span *out, struct fault *fault) {
  while (source->head_size < want) {
    const uint8_t *block;
    int64_t got = read_on(source, &block, fault);
    if (got < 0) return (int32_t)got;
    if (got == 0) break;
    size_t size = source->head_size + (size_t)got;
    if (size > source->head_capacity) {
      uint8_t *head = realloc(source->head, size);
      if (!head) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
      source->head = head;
      source->head_capacity = size;
    }
    memcpy(source->head + source->head_size, block, (size_t)got);
    source->head_size = size;
  }
  *out = (span){source->head, source->head_size};
  return 0;
}

static bool begins(span bytes, const char *magic, size_t size) {
  return bytes.size >= size && memcmp(bytes.at, magic, size) == 0;
}

constexpr int GZIP = -1, XZ = -2, NONE = 0;

static int compression_of(span head) {
  if (begins(head, "\x1f\x8b", 2)) return GZIP;
  if (begins(head, "BZh", 3) && head.size >= 10 &&
      (memcmp(head.at + 4, "1AY&SY", 6) == 0 || memcmp(head.at + 4, "\x17rE8P\x90", 6) == 0))
    return ARCHIVE_FILTER_BZIP2;
  if (begins(head,
             "\xfd"
             "7zXZ\0",
             6))
    return XZ;
  if (begins(head, "\x28\xb5\x2f\xfd", 4)) return ARCHIVE_FILTER_ZSTD;
  if (begins(head, "\x04\x22\x4d\x18", 4)) return ARCHIVE_FILTER_LZ4;
  return NONE;
}

int32_t source_layers(struct archive_source *bottom, uint64_t nested, struct archive_source **top,
                      struct fault *fault) {
  struct archive_source *source = bottom;
  for (uint64_t layers = 0;; layers++) {
    span head;
    int32_t code = source_peek(source, 16, &head, fault);
    int compression = code < 0 ? NONE : compression_of(head);
    if (code == 0 && compression == NONE) {
      *top = source;
      return 0;
    }
    struct archive_source *layer = nullptr;
    if (code == 0 && layers >= nested)
      fault_set(fault, COPSE_E_LIMIT,
                "more than %llu compressions around one another (limits.nested)",
                (unsigned long long)nested);
    else if (code == 0)
      layer = compression == GZIP ? gzip_layer(source, fault)
              : compression == XZ ? xz_layer(source, fault)
                                  : filter_layer(source, compression, fault);
    if (!layer) {
      source_close(source);
      return fault->code;
    }
    source = layer;
  }
}
