#include "store/archive_stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
  enum archive_format format;
  const char *name;
  int (*support)(struct archive *);
} formats[] = {
    {FORMAT_TAR, "tar", archive_read_support_format_tar},
    {FORMAT_CPIO, "cpio", archive_read_support_format_cpio},
    {FORMAT_AR, "ar", archive_read_support_format_ar},
    {FORMAT_ISO, "iso", archive_read_support_format_iso9660},
    {FORMAT_ZIP, "zip", archive_read_support_format_zip_seekable},
    {FORMAT_7Z, "7z", archive_read_support_format_7zip},
    {FORMAT_RAR, "rar", archive_read_support_format_rar},
    {FORMAT_RAR, "rar", archive_read_support_format_rar5},  // a format of its own behind one name
    {FORMAT_LHA, "lha", archive_read_support_format_lha},
    {FORMAT_CAB, "cab", archive_read_support_format_cab},
};
constexpr size_t FORMATS = sizeof formats / sizeof *formats;

const char *format_name(enum archive_format format) {
  for (size_t i = 0; i < FORMATS; i++)
    if (formats[i].format == format) return formats[i].name;
  return "unknown";
}

// A tar archive is known by the checksum of its first header, which all of its dialects have.
static bool is_tar(span head) {
  if (head.size < 512) return false;
  uint32_t sum = 0, said = 0;
  int32_t signed_sum = 0;
  for (size_t i = 0; i < 512; i++) {
    bool in_field = i >= 148 && i < 156;
    sum += in_field ? ' ' : head.at[i];
    signed_sum += in_field ? ' ' : (int8_t)head.at[i];
  }
  size_t at = 148, digits = 0;
  while (at < 156 && head.at[at] == ' ') at++;
  for (; at < 156 && head.at[at] >= '0' && head.at[at] <= '7'; at++, digits++)
    said = said * 8 + (head.at[at] - '0');
  return digits > 0 && (said == sum || (int32_t)said == signed_sum);
}

// An archive of nothing: only the blocks that end it.
static bool is_empty_tar(span head) {
  if (head.size < 1024) return false;
  for (size_t i = 0; i < 1024; i++)
    if (head.at[i] != 0) return false;
  return true;
}

enum archive_format format_of(span head) {
  static const struct {
    enum archive_format format;
    size_t at, size;
    const char *magic;
  } known[] = {
      {FORMAT_ZIP, 0, 4, "PK\3\4"},         {FORMAT_ZIP, 0, 4, "PK\5\6"},
      {FORMAT_CPIO, 0, 5, "07070"},         {FORMAT_CPIO, 0, 2, "\xc7\x71"},
      {FORMAT_CPIO, 0, 2, "\x71\xc7"},      {FORMAT_AR, 0, 8, "!<arch>\n"},
      {FORMAT_7Z, 0, 6, "7z\xbc\xaf'\x1c"}, {FORMAT_RAR, 0, 6, "Rar!\x1a\7"},
      {FORMAT_CAB, 0, 4, "MSCF"},           {FORMAT_ISO, 32769, 5, "CD001"},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (head.size >= known[i].at + known[i].size &&
        memcmp(head.at + known[i].at, known[i].magic, known[i].size) == 0)
      return known[i].format;
  if (head.size > 21 && memcmp(head.at + 2, "-lh", 3) == 0 && head.at[6] == '-') return FORMAT_LHA;
  return is_tar(head) || is_empty_tar(head) ? FORMAT_TAR : FORMAT_UNKNOWN;
}

// libarchive keeps in memory what it reads to find the next entry: a name as long as it says it is,
// a whole directory of an ISO image.
static uint64_t header_max(uint64_t entries) {
  constexpr uint64_t LEAST = 1 << 20, AN_ENTRY = 160;
  return entries < UINT32_MAX ? LEAST + entries * AN_ENTRY : UINT64_MAX;
}

// Names in some formats are Unicode, and libarchive asks the locale what bytes they are here. No
// answer of ours depends on the user's.
static locale_t utf8(void) {
  static _Atomic(locale_t) made;
  locale_t locale = atomic_load(&made);
  if (locale) return locale;
  locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  locale_t expected = nullptr;
  if (locale && !atomic_compare_exchange_strong(&made, &expected, locale)) {
    freelocale(locale);
    locale = expected;
  }
  return locale;
}

// ── Reading for libarchive ──

static la_ssize_t on_read(struct archive *archive, void *data, const void **block) {
  struct archive_stream *stream = data;
  const uint8_t *bytes = nullptr;
  int64_t got = source_read(stream->source, &bytes, &stream->below);
  *block = bytes;
  if (got > 0 && stream->in_header) {
    stream->header_bytes += (uint64_t)got;
    if (stream->header_bytes > stream->header_max)
      got = fault_set(&stream->below, COPSE_E_LIMIT,
                      "more than %llu bytes say what one entry is (limits.entries); raise the "
                      "limit if you trust the archive",
                      (unsigned long long)stream->header_max);
  }
  if (got > 0) return (la_ssize_t)got;
  if (got == 0) {
    stream->ran_out = true;
    return 0;
  }
  archive_set_error(archive, EIO, "the bytes below failed");
  return ARCHIVE_FATAL;
}

// The bottom layer of all can go anywhere.
static la_int64_t on_skip(struct archive *, void *data, la_int64_t request) {
  struct archive_file *file = ((struct archive_stream *)data)->bottom;
  if (file->source.head_size && !file->source.head_given) return 0;
  uint64_t left = file->size - file->at, wanted = request > 0 ? (uint64_t)request : 0;
  if (wanted > left) wanted = left;
  file->at += wanted;
  return (la_int64_t)wanted;
}

static la_int64_t on_seek(struct archive *, void *data, la_int64_t offset, int whence) {
  struct archive_file *file = ((struct archive_stream *)data)->bottom;
  uint64_t head_left = file->source.head_given ? 0 : file->source.head_size;
  int64_t base = whence == SEEK_SET   ? 0
                 : whence == SEEK_CUR ? (int64_t)(file->at - head_left)
                                      : (int64_t)file->size;
  int64_t at = base + offset;
  if (at < 0 || (uint64_t)at > file->size) return ARCHIVE_FATAL;
  file->source.head_given = true;
  file->source.at_end = false;
  file->at = (uint64_t)at;
  return at;
}

static int32_t failed(struct archive_stream *stream, struct fault *fault) {
  if (stream->below.code < 0) {
    *fault = stream->below;
    return fault->code;
  }
  int number = archive_errno(stream->archive);
  if (number == ENOMEM) return fault_set(fault, COPSE_E_MEMORY, "out of memory while unpacking");
  const char *why = archive_error_string(stream->archive);
  if (!why) why = "it makes no sense";
  if (stream->ran_out)
    return fault_set(fault, COPSE_E_CORRUPT, "the archive is truncated (%s)", why);
  if (strstr(why, "assphrase") || strstr(why, "ncrypt"))
    return fault_set(fault, COPSE_E_AUTH,
                     "the archive is encrypted: give its password, or another one (%s)", why);
  return fault_set(fault, COPSE_E_CORRUPT, "the archive is damaged: %s", why);
}

int32_t stream_open(struct archive_stream *stream, struct archive_source *source,
                    enum archive_format format, const struct archive_limits *limits, span password,
                    struct fault *fault) {
  *stream = (struct archive_stream){.source = source,
                                    .bottom = source_bottom(source),
                                    .limits = limits,
                                    .format = format,
                                    .header_max = header_max(limits->entries),
                                    .is_layered = source->below != nullptr};
  struct archive *archive = stream->archive = archive_read_new();
  if (!archive) {
    stream_close(stream);
    return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  }
  // A warning from a format that lacks a helper of its is no failure: it says so when it needs it.
  for (size_t i = 0; i < FORMATS; i++)
    if (formats[i].format == format) formats[i].support(archive);
  char *word = password.size ? malloc(password.size + 1) : nullptr;
  if (word) {
    memcpy(word, password.at, password.size);
    word[password.size] = 0;
    archive_read_add_passphrase(archive, word);
    memset(word, 0, password.size);
    free(word);
  }
  archive_read_set_read_callback(archive, on_read);
  archive_read_set_callback_data(archive, stream);
  if (!stream->is_layered) {
    archive_read_set_skip_callback(archive, on_skip);
    archive_read_set_seek_callback(archive, on_seek);
  }
  locale_t before = uselocale(utf8());
  int result = archive_read_open1(archive);
  uselocale(before);
  if (result == ARCHIVE_OK) return 0;
  int32_t code = failed(stream, fault);
  stream_close(stream);
  return code;
}

void stream_close(struct archive_stream *stream) {
  if (stream->archive) archive_read_free(stream->archive);
  source_close(stream->source);
  stream->archive = nullptr;
  stream->source = nullptr;
}

// ── Limits ──

static int32_t check(struct archive_stream *stream, struct fault *fault) {
  uint64_t unpacked = stream->is_layered ? stream->source->given : 0;
  if (unpacked < stream->content) unpacked = stream->content;
  if (unpacked > stream->limits->bytes)
    return fault_set(fault, COPSE_E_LIMIT,
                     "more than %llu bytes come out of the archive (limits.bytes); raise the limit "
                     "if you trust it",
                     (unsigned long long)stream->limits->bytes);
  uint64_t packed = stream->bottom->at;
  if (unpacked > RATIO_FROM_BYTES && packed && unpacked / packed >= stream->limits->ratio)
    return fault_set(fault, COPSE_E_LIMIT,
                     "%llu bytes came out of %llu bytes of archive, more than %llu to 1 "
                     "(limits.ratio); raise the limit if you trust it",
                     (unsigned long long)unpacked, (unsigned long long)packed,
                     (unsigned long long)stream->limits->ratio);
  return 0;
}

int32_t stream_count(struct archive_stream *stream, uint64_t bytes, struct fault *fault) {
  if (__builtin_add_overflow(stream->content, bytes, &stream->content))
    stream->content = UINT64_MAX;
  return check(stream, fault);
}

// ── Entries ──

static int32_t finish(struct archive_stream *stream, struct fault *fault) {
  if (stream->below.code < 0) return failed(stream, fault);
  // Writers end these formats with a mark. Who asked for bytes behind the last one has not seen it.
  if (stream->ran_out && (stream->format == FORMAT_TAR || stream->format == FORMAT_CPIO))
    return fault_set(fault, COPSE_E_CORRUPT,
                     "the archive is truncated: it ends without the mark of its end");
  if (stream->ran_out && stream->format == FORMAT_ISO)
    return fault_set(fault, COPSE_E_CORRUPT,
                     "the image is truncated: it names places that are not in it");
  // ar has no such mark. libarchive takes half a header for the end: it leaves those bytes unread.
  uint64_t all = stream->is_layered ? stream->source->given : stream->bottom->at;
  if (stream->format == FORMAT_AR && (uint64_t)archive_filter_bytes(stream->archive, 0) != all)
    return fault_set(fault, COPSE_E_CORRUPT,
                     "the archive is truncated: it ends inside of what one entry is");
  const uint8_t *block;
  int64_t got;
  while ((got = source_read(stream->source, &block, fault)) > 0) {
    int32_t code = check(stream, fault);
    if (code < 0) return code;
  }
  return (int32_t)got;
}

static span text_of(const char *text) { return span_of(text); }

// A name that is no text in the locale comes as the bytes it is, with this warning.
static bool is_about_text(struct archive *archive) {
  const char *why = archive_error_string(archive);
  return why && strstr(why, "can't be converted");
}

int32_t stream_next(struct archive_stream *stream, struct stream_entry *out, struct fault *fault) {
  struct archive_entry *entry;
  locale_t before = uselocale(utf8());
  stream->header_bytes = 0;
  stream->in_header = true;
  // libarchive takes ENOMEM here for its own when a name is no text, and ends the process then.
  errno = 0;
  int result = archive_read_next_header(stream->archive, &entry);
  stream->in_header = false;
  bool passes = result == ARCHIVE_OK || (result == ARCHIVE_WARN && is_about_text(stream->archive));
  if (passes) {
    const char *hard_link = archive_entry_hardlink(entry);
    *out = (struct stream_entry){
        .name = text_of(archive_entry_pathname(entry)),
        .hard_link = text_of(hard_link),
        .is_hard_link = hard_link != nullptr,
        .target = text_of(archive_entry_symlink(entry)),
        .size = archive_entry_size_is_set(entry) && archive_entry_size(entry) > 0
                    ? (uint64_t)archive_entry_size(entry)
                    : 0,
        .mtime_ns = INT64_MIN,
        .mode = archive_entry_mode(entry),
        .uid = (uint32_t)archive_entry_uid(entry),
        .gid = (uint32_t)archive_entry_gid(entry),
        .special = archive_entry_rdev(entry),
        .data_at = UINT64_MAX,
        .encrypted = archive_entry_is_encrypted(entry) > 0,
    };
  }
  uselocale(before);
  if (result == ARCHIVE_EOF) return finish(stream, fault);
  if (!passes) return failed(stream, fault);
  int64_t seconds = archive_entry_mtime(entry), ns;
  if (archive_entry_mtime_is_set(entry) &&
      !__builtin_mul_overflow(seconds, (int64_t)1'000'000'000, &ns) &&
      !__builtin_add_overflow(ns, (int64_t)archive_entry_mtime_nsec(entry), &ns))
    out->mtime_ns = ns;
  bool in_one_piece =
      stream->format == FORMAT_TAR || stream->format == FORMAT_CPIO || stream->format == FORMAT_AR;
  if (in_one_piece && archive_entry_sparse_count(entry) == 0)
    out->data_at = (uint64_t)archive_filter_bytes(stream->archive, 0);
  stream->gap_at = 0;
  if (++stream->entries > stream->limits->entries)
    return fault_set(fault, COPSE_E_LIMIT,
                     "the archive has more than %llu entries (limits.entries); raise the limit if "
                     "you trust it",
                     (unsigned long long)stream->limits->entries);
  int32_t code = check(stream, fault);
  return code < 0 ? code : 1;
}

int64_t stream_data(struct archive_stream *stream, const uint8_t **block, uint64_t *at,
                    struct fault *fault) {
  const void *bytes = nullptr;
  size_t size = 0;
  la_int64_t offset = 0;
  int result = ARCHIVE_OK;
  while (size == 0 && result == ARCHIVE_OK)
    result = archive_read_data_block(stream->archive, &bytes, &size, &offset);
  if (result == ARCHIVE_EOF) return 0;
  if (result != ARCHIVE_OK) return failed(stream, fault);
  uint64_t begin = (uint64_t)offset;
  if (offset < 0 || begin < stream->gap_at || begin + size < begin)
    return fault_set(fault, COPSE_E_CORRUPT, "the archive is damaged: content lies over itself");
  int32_t code = stream_count(stream, begin + size - stream->gap_at, fault);
  if (code < 0) return code;
  stream->gap_at = begin + size;
  *block = bytes;
  *at = begin;
  return (int64_t)size;
}
