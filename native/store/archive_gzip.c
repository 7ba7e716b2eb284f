// archive_gzip: the gzip layer (RFC 1952). libarchive does not look at what follows the data, so
// this is ours: each member's header is read strictly, its checksum and length are compared, and
// nothing but another member may follow it. ISA-L inflates twice as fast as zlib.
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>

#include "store/archive_source.h"

constexpr size_t OUT_BYTES = 128 * 1024;  // two of them stay in the second-level cache

struct gzip {
  struct archive_source source;
  struct inflate_state state;
  const uint8_t *at;  // what is left of the block below
  size_t left;
  bool in_member, had_member;
  uint8_t out[OUT_BYTES];
};

static int32_t damaged(struct fault *fault, const char *what) {
  return fault_set(fault, COPSE_E_CORRUPT, "the gzip data is damaged: %s", what);
}

// 1: there are bytes, 0: the end.
static int32_t refill(struct gzip *gzip, struct fault *fault) {
  if (gzip->left > 0) return 1;
  int64_t got = source_read(gzip->source.below, &gzip->at, fault);
  if (got < 0) return (int32_t)got;
  gzip->left = (size_t)got;
  return got > 0;
}

struct header {
  struct gzip *gzip;
  struct fault *fault;
  uint8_t bytes[512];  // gathered for the checksum of the header
  size_t count;
  uint32_t crc;
  int32_t code;
};

static uint8_t take(struct header *header) {
  if (header->code < 0) return 0;
  int32_t more = refill(header->gzip, header->fault);
  if (more == 0) more = damaged(header->fault, "it ends within a header");
  if (more < 0) {
    header->code = more;
    return 0;
  }
  header->gzip->left--;
  uint8_t byte = *header->gzip->at++;
  header->bytes[header->count++] = byte;
  if (header->count == sizeof header->bytes) {
    header->crc = crc32_gzip_refl(header->crc, header->bytes, header->count);
    header->count = 0;
  }
  return byte;
}

// The first byte is there.
static int32_t read_header(struct gzip *gzip, struct fault *fault) {
  struct header header = {.gzip = gzip, .fault = fault};
  enum { CHECKED = 2, EXTRA = 4, NAME = 8, COMMENT = 16, RESERVED = 0xE0 };
  uint8_t first = take(&header), second = take(&header), method = take(&header);
  uint8_t flags = take(&header);
  if (header.code == 0 && (first != 0x1f || second != 0x8b))
    return damaged(fault, gzip->had_member ? "bytes follow its end" : "it has no header");
  if (header.code == 0 && method != 8) return damaged(fault, "an unknown method");
  if (header.code == 0 && (flags & RESERVED)) return damaged(fault, "unknown flags");
  for (size_t i = 0; i < 6; i++) take(&header);  // time, level, system
  if (flags & EXTRA) {
    size_t size = take(&header);
    size |= (size_t)take(&header) << 8;
    while (size-- && header.code == 0) take(&header);
  }
  // Names and comments have no length; ours is a bound that no honest one comes near.
  for (uint8_t text = NAME; text <= COMMENT; text <<= 1) {
    size_t size = 0;
    while ((flags & text) && take(&header) && header.code == 0)
      if (++size > 65536) return damaged(fault, "an endless name");
  }
  if ((flags & CHECKED) && header.code == 0) {
    uint32_t crc = crc32_gzip_refl(header.crc, header.bytes, header.count) & 0xffff;
    uint32_t low = take(&header), said = low | (uint32_t)take(&header) << 8;
    if (header.code == 0 && crc != said) return damaged(fault, "its header has another checksum");
  }
  return header.code;
}

static int64_t gzip_read(struct archive_source *source, const uint8_t **block,
                         struct fault *fault) {
  struct gzip *gzip = (struct gzip *)source;
  struct inflate_state *state = &gzip->state;
  state->next_out = gzip->out;
  state->avail_out = OUT_BYTES;
  while (state->avail_out > 0) {
    if (!gzip->in_member) {
      int32_t more = refill(gzip, fault);
      if (more < 0) return more;
      if (more == 0) break;
      int32_t code = read_header(gzip, fault);
      if (code < 0) return code;
      uint32_t room = state->avail_out;
      isal_inflate_init(state);
      state->crc_flag = ISAL_GZIP_NO_HDR_VER;
      state->next_out = gzip->out + (OUT_BYTES - room);
      state->avail_out = room;
      gzip->in_member = gzip->had_member = true;
    }
    int32_t more = state->block_state == ISAL_BLOCK_FINISH ? 1 : refill(gzip, fault);
    if (more < 0) return more;
    uint32_t room = state->avail_out, held = (uint32_t)gzip->left;
    state->next_in = (uint8_t *)(uintptr_t)gzip->at;
    state->avail_in = held;
    int result = isal_inflate(state);
    gzip->at += held - state->avail_in;
    gzip->left = state->avail_in;
    if (result == ISAL_INCORRECT_CHECKSUM)
      return damaged(fault, "the content has another checksum or length");
    if (result < 0) return damaged(fault, "the compressed data makes no sense");
    if (state->block_state == ISAL_BLOCK_FINISH)
      gzip->in_member = false;
    else if (more == 0 && room == state->avail_out)
      return fault_set(fault, COPSE_E_CORRUPT, "the gzip data is truncated");
  }
  *block = gzip->out;
  return (int64_t)(OUT_BYTES - state->avail_out);
}

static void gzip_close(struct archive_source *source) { free(source); }

struct archive_source *gzip_layer(struct archive_source *below, struct fault *fault) {
  struct gzip *gzip = malloc(sizeof *gzip);
  if (!gzip) {
    fault_set(fault, COPSE_E_MEMORY, "out of memory");
    return nullptr;
  }
  gzip->source = (struct archive_source){.read = gzip_read, .close = gzip_close, .below = below};
  gzip->at = nullptr;
  gzip->left = 0;
  gzip->in_member = gzip->had_member = false;
  isal_inflate_init(&gzip->state);
  return &gzip->source;
}
