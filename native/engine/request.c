#include "engine/request.h"

#include "base/chunker.h"
#include "base/record.h"

struct rule {
  uint16_t key;
  uint8_t kind;  // enum copse_field
  bool repeated;
  uint32_t verb;         // zero: every verb
  uint64_t least, most;  // of a number
  const char *name;      // as the option is called in JavaScript
};

constexpr uint8_t NUMBER = COPSE_FIELD_NUMBER, TEXT = COPSE_FIELD_TEXT, RECORD = COPSE_FIELD_RECORD;
constexpr uint64_t ANY = UINT64_MAX;
constexpr uint64_t METADATA_ALL =
    COPSE_METADATA_MODE | COPSE_METADATA_MTIME | COPSE_METADATA_OWNER | COPSE_METADATA_XATTR;

static const struct rule rules[] = {
    {COPSE_KEY_TOKEN, NUMBER, false, 0, 0, UINT32_MAX, "token"},
    {COPSE_KEY_DEADLINE, NUMBER, false, 0, 0, ANY, "timeout"},
    {COPSE_KEY_PRIORITY, NUMBER, false, 0, 0, 2, "priority"},
    {COPSE_KEY_WAITED, NUMBER, false, 0, 0, 1, "waited"},
    {COPSE_KEY_LEFT, RECORD, false, 0, 0, 0, "left"},
    {COPSE_KEY_RIGHT, RECORD, false, 0, 0, 0, "right"},
    {COPSE_KEY_VERB, NUMBER, false, 0, 0, ANY, "verb"},
    {COPSE_KEY_INCLUDE, TEXT, true, 0, 0, 0, "include"},
    {COPSE_KEY_EXCLUDE, TEXT, true, 0, 0, 0, "exclude"},
    {COPSE_KEY_LINKS, NUMBER, false, 0, 0, COPSE_LINKS_SKIP, "links"},
    {COPSE_KEY_CONCURRENCY, NUMBER, false, 0, 0, UINT32_MAX, "concurrency"},
    {COPSE_KEY_PROGRESS, NUMBER, false, 0, 0, ANY, "progress"},
    {COPSE_KEY_BANDWIDTH, NUMBER, false, 0, 1, ANY, "bandwidth"},
    {COPSE_KEY_UNTOLD, NUMBER, false, 0, 0, ANY, "actions"},
    {COPSE_KEY_LIMIT_ENTRIES, NUMBER, false, 0, 0, ANY, "limits.entries"},
    {COPSE_KEY_LIMIT_BYTES, NUMBER, false, 0, 0, ANY, "limits.bytes"},
    {COPSE_KEY_LIMIT_RATIO, NUMBER, false, 0, 0, ANY, "limits.ratio"},
    {COPSE_KEY_LIMIT_DEPTH, NUMBER, false, 0, 0, ANY, "limits.depth"},
    {COPSE_KEY_LIMIT_PATH, NUMBER, false, 0, 0, ANY, "limits.pathLength"},
    {COPSE_KEY_LIMIT_NESTED, NUMBER, false, 0, 0, ANY, "limits.nested"},
    {COPSE_KEY_PATH, TEXT, false, 0, 0, 0, "path"},
    {COPSE_KEY_PATHS, TEXT, false, COPSE_VERB_LOOK, 0, 0, "paths"},
    {COPSE_KEY_SHARED, NUMBER, false, COPSE_VERB_SHARED, 0, ANY, "shared"},
    {COPSE_KEY_SHARED_CALL, NUMBER, false, COPSE_VERB_SHARED, 0, COPSE_SHARED_CALL_COUNT, "shared"},
    {COPSE_KEY_SHARED_COUNT, NUMBER, false, COPSE_VERB_SHARED, 0, ANY, "count"},
    {COPSE_KEY_SHARED_VALUE, TEXT, false, COPSE_VERB_SHARED, 0, 0, "value"},
    {COPSE_KEY_BY, NUMBER, false, COPSE_VERB_COMPARE, 0, COPSE_BY_STAT, "by"},
    {COPSE_KEY_STOP_AT_FIRST, NUMBER, false, COPSE_VERB_COMPARE, 0, 1, "stopAtFirst"},
    {COPSE_KEY_MOVES, NUMBER, false, COPSE_VERB_COMPARE, 0, 1, "moves"},
    {COPSE_KEY_METADATA, NUMBER, false, COPSE_VERB_COMPARE, 0, METADATA_ALL, "metadata"},
    {COPSE_KEY_CHUNK, NUMBER, false, COPSE_VERB_COMPARE, 1, 1 << 30, "chunkSize"},
    {COPSE_KEY_SAMPLE, NUMBER, false, COPSE_VERB_COMPARE, 0, 1, "sample"},
    {COPSE_KEY_SIZE_CHECK, NUMBER, false, COPSE_VERB_COMPARE, 0, 1, "sizeCheck"},
    {COPSE_KEY_EMPTY_DIRECTORIES, NUMBER, false, COPSE_VERB_COMPARE, 0, 1, "emptyDirectories"},
    {COPSE_KEY_TEXT, RECORD, true, COPSE_VERB_COMPARE, 0, 0, "text"},
    {COPSE_KEY_SELF, NUMBER, false, COPSE_VERB_LIST, 0, 1, "self"},
    {COPSE_KEY_STAT, NUMBER, false, COPSE_VERB_LIST, 0, 1, "stat"},
    {COPSE_KEY_COLUMNS, NUMBER, false, COPSE_VERB_LIST, 0, 1, "columns"},
    {COPSE_KEY_IGNORE_FILE, TEXT, true, 0, 0, 0, "ignoreFiles"},
    {COPSE_KEY_MAX_DEPTH, NUMBER, false, 0, 1, ANY, "maxDepth"},
    {COPSE_KEY_ONE_FILE_SYSTEM, NUMBER, false, 0, 0, 1, "oneFileSystem"},
    {COPSE_KEY_STOP_ON_ERROR, NUMBER, false, 0, 0, 1, "onError"},
    {COPSE_KEY_SNAPSHOT, NUMBER, false, COPSE_VERB_SNAPSHOT, 1, ANY, "snapshot"},
    {COPSE_KEY_NODE, RECORD, true, COPSE_VERB_SCAN, 0, 0, "patterns"},
    {COPSE_KEY_PATTERN, NUMBER, true, COPSE_VERB_SCAN, 0, ANY, "patterns"},
    {COPSE_KEY_EXPLAIN, NUMBER, false, COPSE_VERB_SCAN, 0, 1, "explain"},
    {COPSE_KEY_SCOPE, NUMBER, false, COPSE_VERB_SCAN, 0, 2, "scope"},
    {COPSE_KEY_VERIFY_INTACT, NUMBER, false, COPSE_VERB_VERIFY, 0, 1, "intact"},
    {COPSE_KEY_FROM, NUMBER, false, COPSE_VERB_READ, 0, ANY, "start"},
    {COPSE_KEY_TO, NUMBER, false, COPSE_VERB_READ, 0, ANY, "end"},
    {COPSE_KEY_SYNC_BY, NUMBER, false, COPSE_VERB_SYNC, 0, COPSE_BY_STAT, "by"},
    {COPSE_KEY_OVERWRITE, NUMBER, false, COPSE_VERB_SYNC, 0, 2, "overwrite"},
    {COPSE_KEY_DELETE, NUMBER, false, COPSE_VERB_SYNC, 0, 1, "delete"},
    {COPSE_KEY_DRY_RUN, NUMBER, false, 0, 0, 1, "dryRun"},
    {COPSE_KEY_FSYNC, NUMBER, false, 0, 0, 1, "fsync"},
    {COPSE_KEY_PRESERVE, NUMBER, false, 0, 0, METADATA_ALL, "preserve"},
    {COPSE_KEY_MAX_DELETE, NUMBER, false, COPSE_VERB_SYNC, 0, ANY, "maxDelete"},
    {COPSE_KEY_FORCE, NUMBER, false, COPSE_VERB_SYNC, 0, 1, "force"},
    {COPSE_KEY_VERIFY, NUMBER, false, COPSE_VERB_SYNC, 0, 1, "verify"},
    {COPSE_KEY_DELTA, NUMBER, false, 0, 0, 2, "delta"},
    {COPSE_KEY_SPECIAL_BITS, NUMBER, false, 0, 0, 1, "specialBits"},
    {COPSE_KEY_RETRIES, NUMBER, false, COPSE_VERB_SYNC, 0, 100, "retries"},
    {COPSE_KEY_HARD_LINKS, NUMBER, false, COPSE_VERB_SYNC, 0, 1, "hardLinks"},
    {COPSE_KEY_BACKUP, RECORD, false, COPSE_VERB_SYNC, 0, 0, "backupDir"},
    {COPSE_KEY_SYNC_MOVES, NUMBER, false, COPSE_VERB_SYNC, 0, 1, "moves"},
    {COPSE_KEY_HAS_PLAN, NUMBER, false, 0, 0, 1, "plan"},
    {COPSE_KEY_STEP, RECORD, true, 0, 0, 0, "plan"},
    {COPSE_KEY_BATCH, NUMBER, false, COPSE_VERB_SYNC, 1, ANY, "batch"},
    {COPSE_KEY_BLOCK_SIZE, NUMBER, false, COPSE_VERB_BLOCKS, CHUNK_SIZE_MIN, CHUNK_SIZE_MAX,
     "size"},
    {COPSE_KEY_TWO_STATE, TEXT, false, COPSE_VERB_TWO_WAY, 0, 0, "twoWay.state"},
    {COPSE_KEY_TWO_PAIR, TEXT, false, COPSE_VERB_TWO_WAY, 0, 0, "twoWay"},
    {COPSE_KEY_TWO_KEEP, NUMBER, false, COPSE_VERB_TWO_WAY, 0, 1, "twoWay"},
    {COPSE_KEY_CONFLICT, NUMBER, false, COPSE_VERB_TWO_WAY, 0, COPSE_CONFLICT_RIGHT,
     "twoWay.conflict"},
    {COPSE_KEY_ALGORITHM, NUMBER, false, COPSE_VERB_DIGEST, 0, COPSE_ALGORITHM_SHA256, "algorithm"},
    {COPSE_KEY_CACHE, TEXT, false, 0, 0, 0, "cache"},
    {COPSE_KEY_STREAMS, NUMBER, false, 0, 1, 32, "streams"},
    {COPSE_KEY_PART_MIN, NUMBER, false, 0, 64 * 1024, 1 << 30, "chunkSize"},
    {COPSE_KEY_PART_MAX, NUMBER, false, 0, 64 * 1024, 1 << 30, "chunkSize"},
    {COPSE_KEY_RESUME, NUMBER, false, COPSE_VERB_SYNC, 0, 1, "resume"},
};
constexpr size_t RULES = sizeof rules / sizeof *rules;

static int32_t check_field(const struct rule *rule, const struct field *field, uint64_t verb,
                           bool again, struct fault *fault) {
  if (rule->verb && rule->verb != verb)
    return fault_set(fault, COPSE_E_ARGUMENT, "%s is an option of another verb", rule->name);
  if (field->kind != rule->kind)
    return fault_set(fault, COPSE_E_ARGUMENT, "%s is not of the kind it must be", rule->name);
  if (again && !rule->repeated)
    return fault_set(fault, COPSE_E_ARGUMENT, "%s is given twice", rule->name);
  if (rule->kind == NUMBER && (field->number < rule->least || field->number > rule->most))
    return fault_set(fault, COPSE_E_ARGUMENT, "%s must be between %llu and %llu, not %llu",
                     rule->name, (unsigned long long)rule->least, (unsigned long long)rule->most,
                     (unsigned long long)field->number);
  return 0;
}

int32_t request_check(span request, struct fault *fault) {
  int32_t code = record_check(request, fault);
  if (code < 0) return code;
  uint64_t verb = record_number(request, COPSE_KEY_VERB, 0);
  bool seen[RULES] = {};
  struct field field;
  while ((code = record_next(&request, &field, fault)) > 0) {
    size_t i = 0;
    while (i < RULES && rules[i].key != field.key) i++;
    if (i == RULES)
      return fault_set(fault, COPSE_E_ARGUMENT, "an option nobody knows (key %u)", field.key);
    code = check_field(&rules[i], &field, verb, seen[i], fault);
    if (code < 0) return code;
    seen[i] = true;
  }
  return code;
}
