#include "store/archive_zip.h"

#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <time.h>

#include "engine/task.h"

enum zip_method : uint16_t { STORED = 0, DEFLATED = 8 };
enum zip_flag : uint16_t {
  ENCRYPTED = 1,
  DESCRIPTOR = 8,
  PATCHED = 32,
  STRONG = 64,
  MASKED = 8192
};

constexpr size_t END_BYTES = 22, END64_BYTES = 56, LOCATOR_BYTES = 20, CENTRAL_BYTES = 46,
                 LOCAL_BYTES = 30;
constexpr uint32_t END_MAGIC = 0x06054b50, END64_MAGIC = 0x06064b50, LOCATOR_MAGIC = 0x07064b50,
                   CENTRAL_MAGIC = 0x02014b50, LOCAL_MAGIC = 0x04034b50,
                   DESCRIPTOR_MAGIC = 0x08074b50;
// Content up to this size is unpacked in one go, which libdeflate does a third faster than a
// decoder that can stop. Larger content comes through a window.
constexpr uint64_t WHOLE_BYTES = 1 << 20;
constexpr size_t WINDOW_BYTES = 128 * 1024;
constexpr size_t EXTRA_GUESS = 64;  // local headers seldom have more
constexpr size_t DESCRIPTOR_MOST = 24;

// What one open entry needs; kept for the next one, because making it costs page faults.
struct zip_scratch {
  struct zip_scratch *next;
  struct libdeflate_decompressor *whole;
  struct inflate_state *state;
  uint8_t *packed, *content;
  size_t packed_size, content_size;
};

struct zip_reader {
  struct zip_file *zip;
  struct item item;
  struct zip_scratch *scratch;
  uint64_t data_at;
  const uint8_t *packed;  // all of it, when it is small; in the scratch
  bool unpacked;          // all of it is in the scratch
  uint64_t at, packed_at;
  uint32_t crc;
  bool checked;  // the content came by in order from the first byte
};

static uint16_t get16(const uint8_t *at) { return (uint16_t)(at[0] | at[1] << 8); }
static uint32_t get32(const uint8_t *at) {
  return (uint32_t)get16(at) | (uint32_t)get16(at + 2) << 16;
}
static uint64_t get64(const uint8_t *at) { return get32(at) | (uint64_t)get32(at + 4) << 32; }

static uint32_t crc_of(uint32_t crc, const uint8_t *bytes, size_t size) {
  return crc32_gzip_refl(crc, bytes, size);
}

static int32_t damaged(struct fault *fault, const char *what) {
  return fault_set(fault, COPSE_E_CORRUPT, "the zip file is damaged: %s", what);
}

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory while reading a zip file");
}

static int32_t read_at(struct zip_file *zip, uint64_t at, uint8_t *into, size_t size,
                       struct fault *fault) {
  struct reader reader = zip->reader;  // its state is this call's own
  bool single = reader.access != READ_ANYWHERE;
  size_t got = 0;
  while (got < size) {
    if (single) mutex_lock(&zip->reading);
    int64_t n = reader.store->ops->read(&reader, at + got, into + got, size - got, fault);
    if (single) mutex_unlock(&zip->reading);
    if (n < 0) return (int32_t)n;
    if (n == 0) return fault_set(fault, COPSE_E_CHANGED, "the archive became shorter; run again");
    got += (size_t)n;
  }
  return 0;
}

void zip_begin(struct zip_file *zip, const struct reader *reader, uint64_t size) {
  *zip = (struct zip_file){.reader = *reader, .size = size};
  mutex_begin(&zip->lock);
  mutex_begin(&zip->reading);
}

void zip_end(struct zip_file *zip) {
  for (struct zip_scratch *scratch = zip->free, *next; scratch; scratch = next) {
    next = scratch->next;
    libdeflate_free_decompressor(scratch->whole);
    free(scratch->state);
    free(scratch->packed);
    free(scratch->content);
    free(scratch);
  }
  mutex_end(&zip->reading);
  mutex_end(&zip->lock);
}

// ── The central directory ──

struct ending {
  uint64_t entries, size, offset, end;  // end: where the directory's bytes end in the file
};

static int32_t find_ending64(struct zip_file *zip, uint64_t end_at, struct ending *ending,
                             struct fault *fault) {
  uint8_t locator[LOCATOR_BYTES], end64[END64_BYTES];
  if (end_at < LOCATOR_BYTES + END64_BYTES) return 0;
  int32_t code = read_at(zip, end_at - LOCATOR_BYTES, locator, sizeof locator, fault);
  if (code < 0 || get32(locator) != LOCATOR_MAGIC) return code;
  uint64_t at = get64(locator + 8), most = end_at - LOCATOR_BYTES - END64_BYTES;
  if (get32(locator + 4) != 0 || get32(locator + 16) > 1)
    return fault_set(fault, COPSE_E_UNSUPPORTED, "a zip file of several parts");
  if (at > most) return damaged(fault, "its zip64 record lies outside of it");
  code = read_at(zip, at, end64, sizeof end64, fault);
  if (code == 0 && get32(end64) != END64_MAGIC) {  // bytes in front move everything
    at = most;
    code = read_at(zip, at, end64, sizeof end64, fault);
  }
  if (code < 0) return code;
  if (get32(end64) != END64_MAGIC) return damaged(fault, "its zip64 record is not there");
  if (get64(end64 + 4) != end_at - LOCATOR_BYTES - at - 12)
    return damaged(fault, "its zip64 record has another size");
  if (get32(end64 + 16) != 0 || get32(end64 + 20) != 0 || get64(end64 + 24) != get64(end64 + 32))
    return fault_set(fault, COPSE_E_UNSUPPORTED, "a zip file of several parts");
  // Where the short record says something, it must say the same.
  if ((ending->entries != 0xffff && ending->entries != get64(end64 + 32)) ||
      (ending->size != UINT32_MAX && ending->size != get64(end64 + 40)) ||
      (ending->offset != UINT32_MAX && ending->offset != get64(end64 + 48)))
    return damaged(fault, "its two end records disagree");
  *ending = (struct ending){get64(end64 + 32), get64(end64 + 40), get64(end64 + 48), at};
  return 0;
}

static int32_t find_ending(struct zip_file *zip, struct ending *ending, struct fault *fault) {
  size_t size = zip->size < END_BYTES + 65535 ? (size_t)zip->size : END_BYTES + 65535;
  if (size < END_BYTES) return damaged(fault, "it is too short");
  uint8_t *tail = malloc(size);
  if (!tail) return no_memory(fault);
  int32_t code = read_at(zip, zip->size - size, tail, size, fault);
  size_t at = size - END_BYTES;
  bool found = false;
  for (; code == 0; at--) {
    found = get32(tail + at) == END_MAGIC && get16(tail + at + 20) == size - at - END_BYTES;
    if (found || at == 0) break;
  }
  const uint8_t *end = tail + at;
  if (code == 0 && !found)
    code = damaged(fault, "it has no end record (truncated, or bytes follow it)");
  if (code == 0 &&
      (get16(end + 4) != 0 || get16(end + 6) != 0 || get16(end + 8) != get16(end + 10)))
    code = fault_set(fault, COPSE_E_UNSUPPORTED, "a zip file of several parts");
  uint64_t end_at = zip->size - size + at;
  if (code == 0) {
    *ending = (struct ending){get16(end + 10), get32(end + 12), get32(end + 16), end_at};
    code = find_ending64(zip, end_at, ending, fault);
  }
  free(tail);
  if (code < 0) return code;
  if (ending->size > ending->end || ending->offset > ending->end - ending->size)
    return damaged(fault, "its directory lies outside of it");
  if (ending->entries > ending->size / CENTRAL_BYTES)
    return damaged(fault, "its directory is too small for its entries");
  zip->limit = ending->end - ending->size;
  zip->base = zip->limit - ending->offset;
  return 0;
}

struct central {
  struct item_facts facts;
  struct zip_facts zip;
  span name;
};

static int32_t read_extras(struct central *central, span extras, uint64_t *offset,
                           struct fault *fault) {
  bool wants_size = central->facts.size == UINT32_MAX,
       wants_packed = central->zip.packed == UINT32_MAX, wants_offset = *offset == UINT32_MAX;
  while (extras.size >= 4) {
    uint16_t id = get16(extras.at), size = get16(extras.at + 2);
    if (size > extras.size - 4) return damaged(fault, "an extra field is longer than its room");
    const uint8_t *at = extras.at + 4, *end = at + size;
    if (id == 1) {
      uint64_t *fields[] = {wants_size ? &central->facts.size : nullptr,
                            wants_packed ? &central->zip.packed : nullptr,
                            wants_offset ? offset : nullptr};
      for (size_t i = 0; i < 3; i++) {
        if (!fields[i]) continue;
        if (end - at < 8) return damaged(fault, "a zip64 field is too short");
        *fields[i] = get64(at);
        at += 8;
      }
      wants_size = wants_packed = wants_offset = false;
    } else if (id == 0x5455 && size >= 5 && (at[0] & 1)) {
      central->facts.mtime_ns = (int64_t)(int32_t)get32(at + 1) * 1'000'000'000;
    } else if (id == 0x7875 && size >= 3 && at[0] == 1) {
      size_t uid_size = at[1];
      if (uid_size == 4 && size >= 11 && at[6] == 4) {
        central->facts.uid = get32(at + 2);
        central->facts.gid = get32(at + 7);
      }
    }
    extras = (span){end, extras.size - 4 - size};
  }
  return 0;
}

// Without a better one: local time to two seconds, as every tool takes it.
static int64_t dos_time(uint16_t time, uint16_t date) {
  struct tm broken = {.tm_sec = (time & 31) * 2,
                      .tm_min = time >> 5 & 63,
                      .tm_hour = time >> 11,
                      .tm_mday = date & 31,
                      .tm_mon = (date >> 5 & 15) - 1,
                      .tm_year = (date >> 9) + 80,
                      .tm_isdst = -1};
  time_t seconds = date ? mktime(&broken) : (time_t)-1;
  return seconds == (time_t)-1 ? INT64_MIN : (int64_t)seconds * 1'000'000'000;
}

static int32_t read_central(struct zip_file *zip, const uint8_t *at, struct central *out,
                            struct fault *fault) {
  constexpr uint32_t KIND = 0170000, FILE_KIND = 0100000, DIRECTORY_KIND = 0040000;
  uint16_t name_size = get16(at + 28), extra_size = get16(at + 30);
  out->name = (span){at + CENTRAL_BYTES, name_size};
  out->zip = (struct zip_facts){.packed = get32(at + 20),
                                .crc = get32(at + 16),
                                .name_crc = crc_of(0, out->name.at, name_size),
                                .method = get16(at + 10),
                                .flags = get16(at + 8),
                                .name_size = name_size};
  out->facts = (struct item_facts){.size = get32(at + 24), .mtime_ns = INT64_MIN};
  uint64_t offset = get32(at + 42);
  int32_t code = read_extras(out, (span){out->name.at + name_size, extra_size}, &offset, fault);
  if (code < 0) return code;
  if (get16(at + 34) != 0)
    return fault_set(fault, COPSE_E_UNSUPPORTED, "a zip file of several parts");
  if (out->facts.mtime_ns == INT64_MIN)
    out->facts.mtime_ns = dos_time(get16(at + 12), get16(at + 14));
  uint8_t system = at[5];
  uint32_t mode = system == 3 || system == 19 ? get32(at + 38) >> 16 : 0;
  bool slash = name_size && out->name.at[name_size - 1] == '/';
  bool is_directory = slash || (mode & KIND) == DIRECTORY_KIND;
  if (is_directory && out->facts.size != 0) return damaged(fault, "a directory with content");
  if (is_directory)
    mode = DIRECTORY_KIND | (mode & 07777 ? mode & 07777 : 0755);
  else if ((mode & KIND) == 0)
    mode = FILE_KIND | (mode & 07777 ? mode & 07777 : 0644);
  out->facts.mode = mode;
  // Room for the header, the name and the packed bytes before the directory begins.
  uint64_t room = zip->limit - zip->base, need = LOCAL_BYTES + name_size;
  if (offset > room || need > room - offset || out->zip.packed > room - offset - need)
    return damaged(fault, "an entry lies outside of it");
  out->facts.at = offset + zip->base;
  if (!(out->zip.flags & ENCRYPTED) && out->zip.method == STORED &&
      out->zip.packed != out->facts.size)
    return damaged(fault, "stored content of another size");
  if (out->facts.size == 0 && out->zip.packed > WHOLE_BYTES)
    return damaged(fault, "packed bytes that hold nothing");
  return 0;
}

struct extent {
  uint64_t begin, end;
};

static int compare_extents(const void *left, const void *right) {
  const struct extent *a = left, *b = right;
  return a->begin < b->begin ? -1 : a->begin > b->begin;
}

static int32_t check_overlap(struct extent *extents, size_t count, struct fault *fault) {
  qsort(extents, count, sizeof *extents, compare_extents);
  for (size_t i = 1; i < count; i++)
    if (extents[i].begin < extents[i - 1].end) return damaged(fault, "two entries overlap");
  return 0;
}

static int32_t read_link(struct zip_file *zip, struct central *central, uint8_t *into, size_t most,
                         struct fault *fault) {
  if (central->zip.flags & 1)
    return fault_set(fault, COPSE_E_AUTH, "a link in the zip file is encrypted");
  if (!zip_is_ours(&central->zip))
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "a link in the zip file is packed by method %u, which is not read here",
                     central->zip.method);
  if (central->facts.size > most)
    return fault_set(fault, COPSE_E_LIMIT, "the target of a link is longer than %zu bytes", most);
  struct item item = {.at = central->facts.at & 0xffffffffffff,
                      .size = central->facts.size & 0xffffffffffff,
                      .zip = central->zip};
  struct zip_reader *reader;
  int32_t code = zip_open(zip, &item, &reader, fault);
  if (code < 0) return code;
  bool at_end = false;
  int64_t got = zip_read(reader, 0, into, most, &at_end, fault);
  zip_close(reader);
  if (got < 0) return (int32_t)got;
  central->facts.target = (span){into, (size_t)got};
  return 0;
}

static int32_t check_limits(const struct zip_file *zip, const struct archive_limits *limits,
                            uint64_t unpacked, struct fault *fault) {
  if (unpacked > limits->bytes)
    return fault_set(fault, COPSE_E_LIMIT,
                     "the zip file says it holds more than %llu bytes (limits.bytes); raise the "
                     "limit if you trust it",
                     (unsigned long long)limits->bytes);
  if (unpacked > RATIO_FROM_BYTES && unpacked / zip->size >= limits->ratio)
    return fault_set(fault, COPSE_E_LIMIT,
                     "the zip file of %llu bytes says it holds %llu, more than %llu to 1 "
                     "(limits.ratio); raise the limit if you trust it",
                     (unsigned long long)zip->size, (unsigned long long)unpacked,
                     (unsigned long long)limits->ratio);
  return 0;
}

int32_t zip_read_directory(struct zip_file *zip, struct index *index, struct task *task,
                           const _Atomic bool *stop, struct fault *fault) {
  constexpr size_t WINDOW = 512 * 1024, TARGET_MOST = 4096;  // an entry is at most 192 KiB
  struct ending ending;
  int32_t code = find_ending(zip, &ending, fault);
  if (code < 0) return code;
  if (ending.entries > index->limits->entries)
    return fault_set(fault, COPSE_E_LIMIT,
                     "the archive has more than %llu entries (limits.entries); raise the limit if "
                     "you trust it",
                     (unsigned long long)index->limits->entries);
  uint8_t *window = malloc(WINDOW + TARGET_MOST);
  struct extent *extents = malloc((size_t)(ending.entries + 1) * sizeof *extents);
  if (!window || !extents) code = no_memory(fault);
  uint64_t at = zip->limit, unpacked = 0, count = 0;
  size_t held = 0, used = 0;  // in the window
  for (; code == 0 && count < ending.entries; count++) {
    if (task_cancelled(task) || atomic_load_explicit(stop, memory_order_relaxed)) {
      code = fault_set(fault, COPSE_E_CANCELLED, "cancelled while reading a zip file");
      break;
    }
    if (held - used < CENTRAL_BYTES + 3 * 65535 && at < ending.end) {
      memmove(window, window + used, held - used);
      held -= used;
      used = 0;
      size_t more = ending.end - at < WINDOW - held ? (size_t)(ending.end - at) : WINDOW - held;
      code = read_at(zip, at, window + held, more, fault);
      held += more;
      at += more;
      if (code < 0) break;
    }
    const uint8_t *entry = window + used;
    size_t room = held - used;
    bool fits = room >= CENTRAL_BYTES && get32(entry) == CENTRAL_MAGIC;
    size_t size =
        fits ? (size_t)CENTRAL_BYTES + get16(entry + 28) + get16(entry + 30) + get16(entry + 32)
             : 0;
    if (!fits || size > room) {
      code = damaged(fault, "its directory makes no sense");
      break;
    }
    struct central central;
    code = read_central(zip, entry, &central, fault);
    if (code < 0) break;
    used += size;
    extents[count] =
        (struct extent){central.facts.at, central.facts.at + LOCAL_BYTES + central.zip.name_size +
                                              central.zip.packed};
    if (__builtin_add_overflow(unpacked, central.facts.size, &unpacked)) unpacked = UINT64_MAX;
    code = check_limits(zip, index->limits, unpacked, fault);
    bool is_link = (central.facts.mode & 0170000) == 0120000;
    if (code == 0 && is_link) code = read_link(zip, &central, window + WINDOW, TARGET_MOST, fault);
    uint32_t item;
    if (code == 0) code = index_add(index, central.name, &central.facts, &item, fault);
    if (code == 0 && item != NO_ITEM && item_type(&index->items[item]) == ENTRY_FILE)
      index->items[item].zip = central.zip;
  }
  if (code == 0 && (used != held || at != ending.end))
    code = damaged(fault, "bytes lie behind its directory");
  if (code == 0) code = check_overlap(extents, (size_t)count, fault);
  free(extents);
  free(window);
  return code;
}

// ── Entries ──

bool zip_is_ours(const struct zip_facts *facts) {
  return (facts->method == STORED || facts->method == DEFLATED) &&
         !(facts->flags & (ENCRYPTED | PATCHED | STRONG | MASKED));
}

static struct zip_scratch *scratch_take(struct zip_file *zip) {
  mutex_lock(&zip->lock);
  struct zip_scratch *scratch = zip->free;
  if (scratch) zip->free = scratch->next;
  mutex_unlock(&zip->lock);
  return scratch ? scratch : calloc(1, sizeof *scratch);
}

static void scratch_give(struct zip_file *zip, struct zip_scratch *scratch) {
  mutex_lock(&zip->lock);
  scratch->next = zip->free;
  zip->free = scratch;
  mutex_unlock(&zip->lock);
}

static bool grow(uint8_t **buffer, size_t *has, uint64_t wanted) {
  if (*has >= wanted) return true;
  size_t size = 64 * 1024;
  while (size < wanted) size *= 2;
  free(*buffer);
  *buffer = malloc(size);
  *has = *buffer ? size : 0;
  return *buffer;
}

// The local header must say what the directory says. `at` holds the header, name and extra field.
static int32_t check_local(const struct item *item, const uint8_t *at, struct fault *fault) {
  const struct zip_facts *facts = &item->zip;
  if (get32(at) != LOCAL_MAGIC) return damaged(fault, "an entry has no header where it should be");
  uint16_t flags = get16(at + 6), name_size = get16(at + 26), extra_size = get16(at + 28);
  if (flags != facts->flags || get16(at + 8) != facts->method)
    return damaged(fault, "an entry's two headers disagree about its method");
  if (name_size != facts->name_size || crc_of(0, at + LOCAL_BYTES, name_size) != facts->name_crc)
    return damaged(fault, "an entry's two headers disagree about its name");
  struct central local = {.facts.size = get32(at + 22), .zip.packed = get32(at + 18)};
  uint64_t none = 0;
  int32_t code =
      read_extras(&local, (span){at + LOCAL_BYTES + name_size, extra_size}, &none, fault);
  if (code < 0) return code;
  bool later = flags & DESCRIPTOR;  // then it may say nothing
  uint32_t crc = get32(at + 14);
  if ((crc != facts->crc && !(later && crc == 0)) ||
      (local.facts.size != item->size && !(later && local.facts.size == 0)) ||
      (local.zip.packed != facts->packed && !(later && local.zip.packed == 0)))
    return damaged(fault, "an entry's two headers disagree about its size or checksum");
  return 0;
}

// What follows packed bytes whose header did not know their size. Four forms of it are in use.
static bool is_descriptor(const struct item *item, span bytes) {
  if (bytes.size >= 4 && get32(bytes.at) == DESCRIPTOR_MAGIC && item->zip.crc != DESCRIPTOR_MAGIC)
    bytes = (span){bytes.at + 4, bytes.size - 4};
  if (bytes.size < 12 || get32(bytes.at) != item->zip.crc) return false;
  if (get32(bytes.at + 4) == item->zip.packed && get32(bytes.at + 8) == item->size) return true;
  return bytes.size >= 20 && get64(bytes.at + 4) == item->zip.packed &&
         get64(bytes.at + 12) == item->size;
}

int32_t zip_open(struct zip_file *zip, const struct item *item, struct zip_reader **out,
                 struct fault *fault) {
  struct zip_reader *reader = malloc(sizeof *reader);
  struct zip_scratch *scratch = scratch_take(zip);
  if (!reader || !scratch) {
    free(reader);
    if (scratch) scratch_give(zip, scratch);
    return no_memory(fault);
  }
  *reader = (struct zip_reader){.zip = zip, .item = *item, .scratch = scratch, .checked = true};
  uint64_t packed = item->zip.packed;
  bool is_small = packed <= WHOLE_BYTES && item->size <= WHOLE_BYTES;
  // Header, content and descriptor in one read, where they are small.
  uint64_t head = LOCAL_BYTES + item->zip.name_size + EXTRA_GUESS;
  uint64_t wanted = head + (is_small ? packed + DESCRIPTOR_MOST : 0), room = zip->limit - item->at;
  if (wanted > room) wanted = room;
  int32_t code = grow(&scratch->packed, &scratch->packed_size, wanted) ? 0 : no_memory(fault);
  if (code == 0) code = read_at(zip, item->at, scratch->packed, (size_t)wanted, fault);
  uint64_t begin = 0;
  if (code == 0) {
    begin = LOCAL_BYTES + get16(scratch->packed + 26) + get16(scratch->packed + 28);
    uint64_t need = begin + (is_small ? packed + DESCRIPTOR_MOST : 0);
    if (begin > room || packed > room - begin) {
      code = damaged(fault, "an entry lies outside of it");
    } else if ((need > room ? room : need) > wanted) {
      wanted = need > room ? room : need;
      code = grow(&scratch->packed, &scratch->packed_size, wanted)
                 ? read_at(zip, item->at, scratch->packed, (size_t)wanted, fault)
                 : no_memory(fault);
    }
  }
  if (code == 0) code = check_local(item, scratch->packed, fault);
  if (code == 0) {
    reader->data_at = item->at + begin;
    if (is_small) reader->packed = scratch->packed + begin;
  }
  if (code == 0 && (item->zip.flags & DESCRIPTOR)) {
    uint8_t bytes[DESCRIPTOR_MOST];
    uint64_t at = reader->data_at + packed, left = zip->limit - at;
    size_t size = left < DESCRIPTOR_MOST ? (size_t)left : DESCRIPTOR_MOST;
    if (is_small)
      memcpy(bytes, reader->packed + packed, size);
    else
      code = read_at(zip, at, bytes, size, fault);
    if (code == 0 && !is_descriptor(item, (span){bytes, size}))
      code = damaged(fault, "an entry's descriptor disagrees with the directory");
  }
  if (code < 0) {
    zip_close(reader);
    return code;
  }
  *out = reader;
  return 0;
}

void zip_close(struct zip_reader *reader) {
  scratch_give(reader->zip, reader->scratch);
  free(reader);
}

static int32_t other_content(struct fault *fault) {
  return damaged(fault, "an entry's content has another length or checksum");
}

// All of it into `into`, which has room.
static int32_t unpack_whole(struct zip_reader *reader, uint8_t *into, struct fault *fault) {
  const struct item *item = &reader->item;
  if (item->zip.method == STORED) {
    memcpy(into, reader->packed, (size_t)item->size);
  } else {
    struct zip_scratch *scratch = reader->scratch;
    if (!scratch->whole) scratch->whole = libdeflate_alloc_decompressor();
    if (!scratch->whole) return no_memory(fault);
    size_t used = 0, made = 0;
    enum libdeflate_result result =
        libdeflate_deflate_decompress_ex(scratch->whole, reader->packed, (size_t)item->zip.packed,
                                         into, (size_t)item->size, &used, &made);
    if (result != LIBDEFLATE_SUCCESS || used != item->zip.packed || made != item->size)
      return other_content(fault);
  }
  return crc_of(0, into, (size_t)item->size) == item->zip.crc ? 0 : other_content(fault);
}

static int64_t read_whole(struct zip_reader *reader, uint64_t at, uint8_t *into, size_t size,
                          struct fault *fault) {
  uint64_t all = reader->item.size;
  struct zip_scratch *scratch = reader->scratch;
  int32_t code = 0;
  if (!reader->unpacked && at == 0 && size >= all) {
    code = unpack_whole(reader, into, fault);
    return code < 0 ? code : (int64_t)all;
  }
  if (!reader->unpacked) {
    if (!grow(&scratch->content, &scratch->content_size, all)) return no_memory(fault);
    code = unpack_whole(reader, scratch->content, fault);
    if (code < 0) return code;
    reader->unpacked = true;
  }
  size_t left = at < all ? (size_t)(all - at) : 0, got = size < left ? size : left;
  if (got) memcpy(into, scratch->content + at, got);
  return (int64_t)got;
}

static int32_t begin_again(struct zip_reader *reader, struct fault *fault) {
  struct zip_scratch *scratch = reader->scratch;
  if (!scratch->state) scratch->state = malloc(sizeof *scratch->state);
  if (!scratch->state || !grow(&scratch->packed, &scratch->packed_size, WINDOW_BYTES))
    return no_memory(fault);
  isal_inflate_init(scratch->state);
  scratch->state->crc_flag = ISAL_DEFLATE;
  reader->at = reader->packed_at = 0;
  reader->crc = 0;
  return 0;
}

// The next packed bytes, when all of the window was taken.
static int32_t refill(struct zip_reader *reader, struct fault *fault) {
  struct inflate_state *state = reader->scratch->state;
  uint64_t rest = reader->item.zip.packed - reader->packed_at;
  if (state->avail_in > 0 || rest == 0) return 0;
  size_t more = rest < WINDOW_BYTES ? (size_t)rest : WINDOW_BYTES;
  int32_t code = read_at(reader->zip, reader->data_at + reader->packed_at, reader->scratch->packed,
                         more, fault);
  if (code < 0) return code;
  reader->packed_at += more;
  state->next_in = reader->scratch->packed;
  state->avail_in = (uint32_t)more;
  return 0;
}

// The next bytes through the window.
static int64_t inflate_on(struct zip_reader *reader, uint8_t *into, size_t size,
                          struct fault *fault) {
  struct inflate_state *state = reader->scratch->state;
  const struct zip_facts *facts = &reader->item.zip;
  uint64_t left = reader->item.size - reader->at;
  if (size > left) size = (size_t)left;
  if (size > UINT32_MAX / 2) size = UINT32_MAX / 2;
  state->next_out = into;
  state->avail_out = (uint32_t)size;
  while (state->avail_out > 0 && state->block_state != ISAL_BLOCK_FINISH) {
    int32_t code = refill(reader, fault);
    if (code < 0) return code;
    uint32_t room = state->avail_out;
    if (isal_inflate(state) < 0) return damaged(fault, "packed content makes no sense");
    if (room == state->avail_out && state->avail_in == 0 && reader->packed_at == facts->packed)
      break;
  }
  size_t got = size - state->avail_out;
  reader->at += got;
  reader->crc = crc_of(reader->crc, into, got);
  if (got < size) return other_content(fault);
  if (reader->at < reader->item.size) return (int64_t)got;
  // The data must end with the content: one byte more is asked for and must not come.
  uint8_t extra;
  while (state->block_state != ISAL_BLOCK_FINISH) {
    bool is_last = reader->packed_at == facts->packed;
    int32_t code = refill(reader, fault);
    if (code < 0) return code;
    uint32_t held = state->avail_in;
    state->next_out = &extra;
    state->avail_out = 1;
    if (isal_inflate(state) < 0 || state->avail_out == 0) return other_content(fault);
    if (state->block_state != ISAL_BLOCK_FINISH && held == state->avail_in && is_last)
      return other_content(fault);
  }
  if (reader->packed_at != facts->packed || state->avail_in > 0 || reader->crc != facts->crc)
    return other_content(fault);
  return (int64_t)got;
}

int64_t zip_read(struct zip_reader *reader, uint64_t at, uint8_t *into, size_t size, bool *at_end,
                 struct fault *fault) {
  uint64_t all = reader->item.size;
  int64_t got = 0;
  if (reader->packed) {
    got = read_whole(reader, at, into, size, fault);
  } else if (at < all && reader->item.zip.method == STORED) {
    if (size > all - at) size = (size_t)(all - at);
    int32_t code = read_at(reader->zip, reader->data_at + at, into, size, fault);
    if (code < 0) return code;
    if (at == 0) {
      reader->at = 0;
      reader->crc = 0;
    }
    if (at == reader->at) {  // in order from the first byte: then the checksum can be proved
      reader->crc = crc_of(reader->crc, into, size);
      reader->at += size;
      if (reader->at == all && reader->crc != reader->item.zip.crc) return other_content(fault);
    }
    got = (int64_t)size;
  } else if (at < all) {
    if (!reader->scratch->state || reader->packed_at == 0 || at < reader->at) {
      int32_t code = begin_again(reader, fault);
      if (code < 0) return code;
    }
    while (reader->at < at) {
      size_t skip = at - reader->at < size ? (size_t)(at - reader->at) : size;
      int64_t skipped = inflate_on(reader, into, skip, fault);
      if (skipped < 0) return skipped;
    }
    got = inflate_on(reader, into, size, fault);
  }
  if (got >= 0 && at + (uint64_t)got >= all) *at_end = true;
  return got;
}

static bool may_be_same(const struct item *left, const struct item *right) {
  const struct zip_facts *a = &left->zip, *b = &right->zip;
  return zip_is_ours(a) && zip_is_ours(b) && a->method == b->method && a->packed == b->packed &&
         a->crc == b->crc && left->size == right->size;
}

static int32_t same_packed(struct zip_reader *left, struct zip_reader *right, struct fault *fault) {
  uint64_t packed = left->item.zip.packed;
  if (left->packed) return memcmp(left->packed, right->packed, (size_t)packed) == 0;
  uint8_t *both = malloc(2 * WINDOW_BYTES);
  if (!both) return no_memory(fault);
  int32_t code = 1;
  for (uint64_t at = 0; code == 1 && at < packed; at += WINDOW_BYTES) {
    size_t size = packed - at < WINDOW_BYTES ? (size_t)(packed - at) : WINDOW_BYTES;
    int32_t read = read_at(left->zip, left->data_at + at, both, size, fault);
    if (read == 0)
      read = read_at(right->zip, right->data_at + at, both + WINDOW_BYTES, size, fault);
    code = read < 0 ? read : memcmp(both, both + WINDOW_BYTES, size) == 0;
  }
  free(both);
  return code;
}

static int32_t prove(struct zip_reader *reader, struct fault *fault) {
  uint8_t *buffer = malloc(2 * WINDOW_BYTES);
  if (!buffer) return no_memory(fault);
  int64_t got = 0;
  bool at_end = reader->item.size == 0 && !reader->packed;
  for (uint64_t at = 0; !at_end && got >= 0; at += (uint64_t)got)
    got = zip_read(reader, at, buffer, 2 * WINDOW_BYTES, &at_end, fault);
  free(buffer);
  return got < 0 ? (int32_t)got : 1;
}

int32_t zip_same(struct zip_file *left, const struct item *of_left, struct zip_file *right,
                 const struct item *of_right, bool trusting) {
  if (!may_be_same(of_left, of_right)) return 0;
  struct zip_reader *a = nullptr, *b = nullptr;
  // What fails here fails again when the contents are read, and is told then for the right side.
  struct fault quiet = {};
  int32_t code = zip_open(left, of_left, &a, &quiet);
  if (code == 0) code = zip_open(right, of_right, &b, &quiet);
  code = code < 0 ? 0 : same_packed(a, b, &quiet);
  if (code == 1 && !trusting) code = prove(a, &quiet);
  if (a) zip_close(a);
  if (b) zip_close(b);
  return code < 0 ? 0 : code;
}
