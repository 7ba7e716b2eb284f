#include "store/pack_extension.h"

static const uint8_t magic[8] = {'C', 'O', 'P', 'S', 'E', 'X', 'T', 1};
constexpr size_t RECORD_HEAD = 24;  // kind, three zeros, mode, mtime, path size, target size

static int32_t corrupt(struct fault *fault, const char *what) {
  return fault_set(fault, COPSE_E_CORRUPT, "the index of the pack is damaged: %s", what);
}

static bool has_hash(span bytes, const uint8_t *expected) {
  uint8_t found[HASH_BYTES];
  hash_of(bytes, found);
  return memcmp(found, expected, HASH_BYTES) == 0;
}

// Seven bytes of eight do: so that one that is damaged is still known to be ours.
bool extension_is(span bytes) {
  if (bytes.size < sizeof magic) return false;
  size_t same = 0;
  for (size_t i = 0; i < sizeof magic; i++) same += bytes.at[i] == magic[i];
  return same >= sizeof magic - 1;
}

int32_t extension_check(span bytes, span indexes, span manifest, span *records, uint32_t *count,
                        struct fault *fault) {
  if (bytes.size < EXTENSION_HEAD + HASH_BYTES) return corrupt(fault, "its extension is cut off");
  if (memcmp(bytes.at, magic, sizeof magic) != 0)
    return corrupt(fault, "its extension does not begin as it should");
  span whole = {bytes.at, bytes.size - HASH_BYTES};
  uint32_t reserved;
  uint64_t size;
  memcpy(count, bytes.at + 8, sizeof *count);
  memcpy(&reserved, bytes.at + 12, sizeof reserved);
  memcpy(&size, bytes.at + 16, sizeof size);
  if (size != bytes.size) return corrupt(fault, "its extension is not as long as it says");
  if (!has_hash(whole, bytes.at + whole.size))
    return corrupt(fault, "the hash of its extension fails");
  if (reserved != 0)
    return fault_set(fault, COPSE_E_UNSUPPORTED, "the pack has a newer extension: update copse");
  if (!has_hash(indexes, bytes.at + 32)) return corrupt(fault, "the hash of its rows fails");
  if (!has_hash(manifest, bytes.at + 64)) return corrupt(fault, "the hash of its manifest fails");
  *records = (span){bytes.at + EXTENSION_HEAD, whole.size - EXTENSION_HEAD};
  return 0;
}

int32_t extension_next(span *rest, struct extension_record *out, struct fault *fault) {
  if (rest->size == 0) return 0;
  if (rest->size < RECORD_HEAD) return corrupt(fault, "a record of its extension is cut off");
  uint32_t path_size, target_size;
  out->kind = (enum extension_kind)rest->at[0];
  memcpy(&out->mode, rest->at + 4, sizeof out->mode);
  memcpy(&out->mtime_ns, rest->at + 8, sizeof out->mtime_ns);
  memcpy(&path_size, rest->at + 16, sizeof path_size);
  memcpy(&target_size, rest->at + 20, sizeof target_size);
  uint64_t size = RECORD_HEAD + (uint64_t)path_size + target_size;
  if (size > rest->size) return corrupt(fault, "a record of its extension is cut off");
  if (out->kind < EXTENSION_DIRECTORY || out->kind > EXTENSION_COPY)
    return fault_set(fault, COPSE_E_UNSUPPORTED, "the pack has a newer extension: update copse");
  out->path = (span){rest->at + RECORD_HEAD, path_size};
  out->target = (span){out->path.at + path_size, target_size};
  *rest = (span){rest->at + size, rest->size - (size_t)size};
  return 1;
}

size_t extension_record_size(const struct extension_record *record) {
  return RECORD_HEAD + record->path.size + record->target.size;
}

void extension_record_put(uint8_t *at, const struct extension_record *record) {
  uint32_t path_size = (uint32_t)record->path.size, target_size = (uint32_t)record->target.size;
  memset(at, 0, RECORD_HEAD);
  at[0] = record->kind;
  memcpy(at + 4, &record->mode, sizeof record->mode);
  memcpy(at + 8, &record->mtime_ns, sizeof record->mtime_ns);
  memcpy(at + 16, &path_size, sizeof path_size);
  memcpy(at + 20, &target_size, sizeof target_size);
  if (path_size) memcpy(at + RECORD_HEAD, record->path.at, path_size);
  if (target_size) memcpy(at + RECORD_HEAD + path_size, record->target.at, target_size);
}

void extension_seal(uint8_t *bytes, size_t size, uint32_t count, span indexes, span manifest) {
  uint64_t length = size;
  memset(bytes, 0, EXTENSION_HEAD);
  memcpy(bytes, magic, sizeof magic);
  memcpy(bytes + 8, &count, sizeof count);
  memcpy(bytes + 16, &length, sizeof length);
  hash_of(indexes, bytes + 32);
  hash_of(manifest, bytes + 64);
  hash_of((span){bytes, size - HASH_BYTES}, bytes + size - HASH_BYTES);
}
