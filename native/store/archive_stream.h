// archive_stream: the entries of an archive from front to back, as libarchive reads its format.
// The format is found by its magic and then the only one libarchive may see. A warning of its is
// damage; the end is one only when the format says so and all bytes behind it were proved.
#pragma once
#include "copse.h"
#include "store/archive_source.h"

struct archive;
struct archive_entry;

enum archive_format : uint32_t {  // = copse_format
  FORMAT_UNKNOWN = 0,
  FORMAT_TAR = COPSE_FORMAT_TAR,
  FORMAT_CPIO = COPSE_FORMAT_CPIO,
  FORMAT_AR = COPSE_FORMAT_AR,
  FORMAT_ISO = COPSE_FORMAT_ISO,
  FORMAT_ZIP = COPSE_FORMAT_ZIP,
  FORMAT_7Z = COPSE_FORMAT_SEVEN_ZIP,
  FORMAT_RAR = COPSE_FORMAT_RAR,
  FORMAT_LHA = COPSE_FORMAT_LHA,
  FORMAT_CAB = COPSE_FORMAT_CAB,
};
constexpr uint32_t FORMATS_DEFAULT = FORMAT_TAR | FORMAT_CPIO | FORMAT_AR | FORMAT_ISO | FORMAT_ZIP;

// What the first bytes of something that is not compressed say it is.
enum archive_format format_of(span head);
constexpr size_t FORMAT_HEAD = 32768 + 6;  // an ISO image says so here
const char *format_name(enum archive_format format);

struct archive_stream {
  struct archive_source *source;  // owned
  struct archive_file *bottom;
  const struct archive_limits *limits;
  struct archive *archive;
  enum archive_format format;
  uint64_t entries;                   // that were given
  uint64_t content;                   // bytes of content that were given, gaps counted
  uint64_t gap_at;                    // of the entry: end of what was given
  uint64_t header_bytes, header_max;  // read for one header, and at most
  bool ran_out;                       // bytes were asked for behind the end
  bool in_header;
  bool is_layered;  // something was uncompressed
  struct fault below;
};

struct stream_entry {
  span name, hard_link, target;  // live until the next entry
  uint64_t size;
  int64_t mtime_ns;
  uint64_t special;
  uint64_t data_at;  // in the source, where the content is in one piece; else UINT64_MAX
  uint32_t mode, uid, gid;
  bool encrypted, is_hard_link;
};

// Takes over the source, also on failure. `password` may be empty.
int32_t stream_open(struct archive_stream *stream, struct archive_source *source,
                    enum archive_format format, const struct archive_limits *limits, span password,
                    struct fault *fault);
void stream_close(struct archive_stream *stream);
// 1: an entry; 0: the end, with everything read and proved; negative.
int32_t stream_next(struct archive_stream *stream, struct stream_entry *out, struct fault *fault);
// The next bytes of the entry's content and where they lie in it: what is left out is zero. 0: the
// end.
int64_t stream_data(struct archive_stream *stream, const uint8_t **block, uint64_t *at,
                    struct fault *fault);
// Counts `bytes` more of output that did not come through stream_data (a hole, a size that is only
// read later); LIMIT when it is too much.
int32_t stream_count(struct archive_stream *stream, uint64_t bytes, struct fault *fault);
