// archive_xz: the xz layer, over liblzma. libarchive lets an archive ask for a dictionary of 1 GiB
// and no caller can say otherwise, so this is ours: one that asks for more than MEMORY_MAX is
// LIMIT.
#include <lzma.h>
#include <stdlib.h>

#include "store/archive_source.h"

constexpr size_t OUT_BYTES = 128 * 1024;
constexpr uint64_t MEMORY_MAX = 136 << 20;  // a dictionary of 128 MiB; `xz -9` asks for 64

struct xz {
  struct archive_source source;
  lzma_stream stream;
  bool below_ended, has_ended;
  uint8_t out[OUT_BYTES];
};

static int32_t failed(const struct xz *xz, lzma_ret result, struct fault *fault) {
  switch (result) {
    case LZMA_MEM_ERROR:
      return fault_set(fault, COPSE_E_MEMORY, "out of memory while unpacking");
    case LZMA_MEMLIMIT_ERROR:
      return fault_set(fault, COPSE_E_LIMIT,
                       "the xz data wants %llu MiB of memory to be unpacked, more than %llu",
                       (unsigned long long)(lzma_memusage(&xz->stream) >> 20),
                       (unsigned long long)(MEMORY_MAX >> 20));
    case LZMA_BUF_ERROR:
      return fault_set(fault, COPSE_E_CORRUPT, "the xz data is truncated");
    case LZMA_OPTIONS_ERROR:
    case LZMA_UNSUPPORTED_CHECK:
      return fault_set(fault, COPSE_E_UNSUPPORTED, "the xz data uses what liblzma does not know");
    default:
      return fault_set(fault, COPSE_E_CORRUPT,
                       "the xz data is damaged, or bytes follow its end (liblzma's code %d)",
                       (int)result);
  }
}

static int64_t xz_read(struct archive_source *source, const uint8_t **block, struct fault *fault) {
  struct xz *xz = (struct xz *)source;
  lzma_stream *stream = &xz->stream;
  stream->next_out = xz->out;
  stream->avail_out = OUT_BYTES;
  while (stream->avail_out > 0 && !xz->has_ended) {
    if (stream->avail_in == 0 && !xz->below_ended) {
      int64_t got = source_read(source->below, &stream->next_in, fault);
      if (got < 0) return got;
      stream->avail_in = (size_t)got;
      xz->below_ended = got == 0;
    }
    lzma_ret result = lzma_code(stream, xz->below_ended ? LZMA_FINISH : LZMA_RUN);
    xz->has_ended = result == LZMA_STREAM_END;
    if (result != LZMA_OK && !xz->has_ended) return failed(xz, result, fault);
  }
  *block = xz->out;
  return (int64_t)(OUT_BYTES - stream->avail_out);
}

static void xz_close(struct archive_source *source) {
  lzma_end(&((struct xz *)source)->stream);
  free(source);
}

struct archive_source *xz_layer(struct archive_source *below, struct fault *fault) {
  struct xz *xz = malloc(sizeof *xz);
  if (!xz) {
    fault_set(fault, COPSE_E_MEMORY, "out of memory");
    return nullptr;
  }
  xz->source = (struct archive_source){.read = xz_read, .close = xz_close, .below = below};
  xz->stream = (lzma_stream)LZMA_STREAM_INIT;
  xz->below_ended = xz->has_ended = false;
  // Several streams after one another are one, as with the tool.
  constexpr uint32_t FLAGS = LZMA_TELL_UNSUPPORTED_CHECK | LZMA_CONCATENATED;
  lzma_ret result = lzma_stream_decoder(&xz->stream, MEMORY_MAX, FLAGS);
  if (result == LZMA_OK) return &xz->source;
  failed(xz, result, fault);
  free(xz);
  return nullptr;
}
