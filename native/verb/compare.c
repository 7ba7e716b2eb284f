// compare: what differs between two trees, where, and why.
#include "verb/compare.h"

#include "base/record.h"

static bool only_digest(const struct run *run) {
  return (run->store[LEFT].can | run->store[RIGHT].can) & ONLY_DIGEST;
}

static int32_t begin(struct run *run, struct fault *fault) {
  struct compare *compare = compare_of(run);
  span request = {run->task->request, run->task->request_len};
  uint64_t chunk = record_number(request, COPSE_KEY_CHUNK, WORKER_SLAB);
  compare->by = (uint32_t)record_number(request, COPSE_KEY_BY, COPSE_BY_CONTENT);
  compare->metadata = (uint32_t)record_number(request, COPSE_KEY_METADATA, 0);
  compare->chunk = chunk < WORKER_SLAB ? (size_t)chunk : WORKER_SLAB;
  compare->stop_at_first = record_number(request, COPSE_KEY_STOP_AT_FIRST, 0);
  compare->sample = record_number(request, COPSE_KEY_SAMPLE, 1);
  compare->size_check = record_number(request, COPSE_KEY_SIZE_CHECK, 1);
  compare->empty_directories = record_number(request, COPSE_KEY_EMPTY_DIRECTORIES, 1);
  if (compare->chunk == 0)
    return fault_set(fault, COPSE_E_ARGUMENT, "chunkSize must be at least 1");
  if (compare->by > COPSE_BY_STAT)
    return fault_set(fault, COPSE_E_ARGUMENT, "an unknown value of by");
  if (compare->by == COPSE_BY_STAT && only_digest(run))
    return fault_set(fault, COPSE_E_UNSUPPORTED, "a manifest knows no times to compare by");
  int32_t code = texting_begin(request, &compare->texting, fault);
  if (code < 0) return code;
  if (compare->texting && compare->by != COPSE_BY_CONTENT)
    return fault_set(fault, COPSE_E_ARGUMENT, "text needs by: content");
  if (compare->texting && only_digest(run))
    return fault_set(fault, COPSE_E_UNSUPPORTED, "a manifest has no text to compare");
  if (compare->by == COPSE_BY_HASH || run->cache || only_digest(run) || compare->texting)
    run->batch_place = JOB_COMPUTE;
  static const struct {
    uint32_t bit, can;
    const char *name;
  } needs[] = {
      {COPSE_METADATA_MODE, CAN_MODE, "mode"},
      {COPSE_METADATA_MTIME, CAN_MTIME, "mtime"},
      {COPSE_METADATA_OWNER, CAN_OWNER, "owner"},
      {COPSE_METADATA_XATTR, CAN_XATTR, "xattr"},
  };
  for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
    for (uint8_t side = 0; side < 2; side++)
      if ((compare->metadata & needs[i].bit) && !(run->store[side].can & needs[i].can))
        return fault_set(fault, COPSE_E_UNSUPPORTED,
                         "a %s location knows no %s; leave it out of metadata",
                         run->store[side].ops->scheme, needs[i].name);
  // With stopAtFirst a moved file is a difference like any other: nothing is to be found out.
  if (record_number(request, COPSE_KEY_MOVES, 0) && !compare->stop_at_first)
    return moves_begin(run, &compare->moves, fault);
  return 0;
}

static void close(struct run *run) {
  moves_free(compare_of(run)->moves);
  texting_free(compare_of(run)->texting);
}

static struct step plan(const struct run *run, const struct pair *pair) {
  const struct compare *compare = compare_of(run);
  const struct entry *left = pair->left, *right = pair->right;
  struct step step = {.pair = *pair};
  if (!left || !right) {
    const struct entry *only = left ? left : right;
    step.descend = only->type == ENTRY_DIRECTORY;
    step.kind = step.descend && !compare->empty_directories ? STEP_NONE : STEP_REPORT;
  } else if (left->type != right->type) {
    step.kind = STEP_REPORT;
    step.reason = COPSE_REASON_TYPE;
  } else if (left->type == ENTRY_DIRECTORY) {
    step.descend = true;
    step.kind = compare->metadata ? STEP_COMPARE : STEP_NONE;
  } else {
    step.kind = STEP_COMPARE;
  }
  return step;
}

// With emptyDirectories: false a one-sided directory is told of only when it holds something.
static bool enter(struct spot *spot) {
  struct node *node = spot->node;
  if (compare_of(spot->run)->empty_directories || (node->side[LEFT] && node->side[RIGHT]))
    return true;
  uint8_t side = node->side[LEFT] ? LEFT : RIGHT;
  if (node->listing[side].count == 0) return false;
  struct entry itself = node->entry[side];
  struct fault fault = {};
  struct spot above = *spot;
  above.node = node->parent;
  above.has_directory = false;
  // One that no include names is entered and not told of.
  bool seen = node->seen;
  int32_t code =
      seen ? node->directory[side]->store->ops->hold(node->parent->directory[side], &fault) : 0;
  if (seen && code == 0) {
    code = compare_one_sided(&above, &itself, side, &fault);
    node->directory[side]->store->ops->drop(node->parent->directory[side]);
  }
  if (code < 0) {
    spot->side = side;
    spot_error(spot, &fault, (span){});
  }
  spot->files = above.files;
  spot->bytes = above.bytes;
  spot->has_directory = false;  // the worker's scratch holds the parent's path now
  return true;
}

int32_t compare_one_sided(struct spot *spot, struct entry *entry, uint8_t side,
                          struct fault *fault) {
  struct compare *compare = compare_of(spot->run);
  if (compare->moves && entry->type == ENTRY_FILE) {
    struct directory *directory = spot->node->directory[side];
    spot->side = side;
    int32_t code =
        entry->has & HAS_STAT ? 0 : directory->store->ops->stat(directory, entry, false, fault);
    if (code < 0) return code;
    spot->files++;
    return moves_keep(compare->moves, spot, entry, side, fault);
  }
  if (compare->stop_at_first && !run_stop(spot->run)) return 0;
  return spot_report(spot, side == LEFT ? COPSE_ROW_ONLY_LEFT : COPSE_ROW_ONLY_RIGHT, entry, side,
                     fault);
}

// ── Rows about both sides ──

static void put_side(struct record_writer *writer, const struct entry *entry, uint8_t side) {
  if (entry->has & HAS_TARGET)
    record_put_text(writer, (uint16_t)(COPSE_DETAIL_LEFT_TARGET + side), entry->target);
  if (!(entry->has & HAS_STAT)) return;
  if (entry->mode)
    record_put_number(writer, (uint16_t)(COPSE_DETAIL_LEFT_MODE + side), entry->mode & 07777);
  record_put_number(writer, (uint16_t)(COPSE_DETAIL_LEFT_OWNER + side),
                    (uint64_t)entry->uid << 32 | entry->gid);
}

static int32_t complete(struct spot *spot, struct entry *entry, uint8_t side, struct fault *fault) {
  struct directory *directory = spot->node->directory[side];
  spot->side = side;
  int32_t code = 0;
  if (!(entry->has & HAS_STAT)) code = directory->store->ops->stat(directory, entry, false, fault);
  if (code == 0 && entry->type == ENTRY_LINK && !(entry->has & HAS_TARGET))
    code = directory->store->ops->target(directory, entry, spot->arena, fault);
  return code;
}

int32_t compare_differs(struct spot *spot, const struct pair *pair, const struct content *content,
                        struct fault *fault) {
  struct compare *compare = compare_of(spot->run);
  // What the row says of the sides was seen when they were compared; a stat later may see another
  // type.
  enum entry_type types[2] = {pair->left->type, pair->right->type};
  int32_t code = complete(spot, pair->left, LEFT, fault);
  if (code == 0) code = complete(spot, pair->right, RIGHT, fault);
  if (code < 0) return code;
  if (!content->rule && compare->stop_at_first && !run_stop(spot->run)) return 0;
  copse_row row = {.kind = content->rule ? COPSE_ROW_SAME_BY_RULE : COPSE_ROW_DIFFERS,
                   .type = (uint8_t)(types[LEFT] | types[RIGHT] << 4),
                   .reason = content->rule ? (uint16_t)content->rule : content->reason,
                   .left_size = pair->left->size,
                   .right_size = pair->right->size,
                   .left_mtime_ns = pair->left->mtime_ns,
                   .right_mtime_ns = pair->right->mtime_ns,
                   .extra = content->offset};
  struct record_writer writer = {.capacity =
                                     256 + pair->left->target.size + pair->right->target.size};
  writer.at = arena_take_bytes(spot->arena, writer.capacity);
  if (!writer.at) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  put_side(&writer, pair->left, LEFT);
  put_side(&writer, pair->right, RIGHT);
  for (uint8_t side = 0; content->hashed && side < 2; side++)
    record_put_text(&writer, (uint16_t)(COPSE_DETAIL_LEFT_HASH + side),
                    (span){content->hash[side], HASH_BYTES});
  if (content->line) record_put_number(&writer, COPSE_DETAIL_LINE, content->line);
  spot_emit(spot, &row, pair->left->name, (span){writer.at, writer.size});
  return 0;
}

// 1 after the row.
static int32_t differs(struct spot *spot, const struct pair *pair, uint16_t reason,
                       struct fault *fault) {
  struct content content = {.reason = reason, .offset = COPSE_UNKNOWN};
  int32_t code = compare_differs(spot, pair, &content, fault);
  return code < 0 ? code : 1;
}

static int32_t attributes(struct spot *spot, const struct entry *entry, uint8_t side, span *out,
                          struct fault *fault) {
  struct directory *directory = spot->node->directory[side];
  spot->side = side;
  return directory->store->ops->attributes(directory, entry, spot->arena, out, fault);
}

int32_t compare_metadata(struct spot *spot, const struct pair *pair, struct fault *fault) {
  uint32_t wanted = compare_of(spot->run)->metadata;
  if (!wanted) return 0;
  const struct entry *left = pair->left, *right = pair->right;
  int32_t code = complete(spot, pair->left, LEFT, fault);
  if (code == 0) code = complete(spot, pair->right, RIGHT, fault);
  if (code < 0) return code;
  // A link has no permission bits of its own.
  if ((wanted & COPSE_METADATA_MODE) && left->type != ENTRY_LINK &&
      (left->mode ^ right->mode) & 07777)
    return differs(spot, pair, COPSE_REASON_MODE, fault);
  if ((wanted & COPSE_METADATA_OWNER) && (left->uid != right->uid || left->gid != right->gid))
    return differs(spot, pair, COPSE_REASON_OWNER, fault);
  if ((wanted & COPSE_METADATA_MTIME) && left->mtime_ns != right->mtime_ns)
    return differs(spot, pair, COPSE_REASON_MTIME, fault);
  if (wanted & COPSE_METADATA_XATTR) {
    span of_left, of_right;
    code = attributes(spot, left, LEFT, &of_left, fault);
    if (code == 0) code = attributes(spot, right, RIGHT, &of_right, fault);
    if (code < 0) return code;
    if (!span_equal(of_left, of_right)) return differs(spot, pair, COPSE_REASON_XATTR, fault);
  }
  return 0;
}

// ── Steps ──

static int32_t compare_links(struct spot *spot, const struct pair *pair, struct fault *fault) {
  int32_t code = complete(spot, pair->left, LEFT, fault);
  if (code == 0) code = complete(spot, pair->right, RIGHT, fault);
  if (code < 0) return code;
  if (!span_equal(pair->left->target, pair->right->target))
    return differs(spot, pair, COPSE_REASON_TARGET, fault);
  return compare_metadata(spot, pair, fault);
}

// Pipes, sockets and devices are never opened: the same kind and device number is all there is to
// compare.
static int32_t compare_others(struct spot *spot, const struct pair *pair, struct fault *fault) {
  constexpr uint32_t KIND = 0170000;
  int32_t code = complete(spot, pair->left, LEFT, fault);
  if (code == 0) code = complete(spot, pair->right, RIGHT, fault);
  if (code < 0) return code;
  if ((pair->left->mode & KIND) != (pair->right->mode & KIND) ||
      pair->left->special != pair->right->special)
    return differs(spot, pair, COPSE_REASON_TYPE, fault);
  return compare_metadata(spot, pair, fault);
}

static int32_t compare_stats(struct spot *spot, const struct pair *pair, struct fault *fault) {
  int32_t code = complete(spot, pair->left, LEFT, fault);
  if (code == 0) code = complete(spot, pair->right, RIGHT, fault);
  if (code < 0) return code;
  spot->files++;
  if (pair->left->size != pair->right->size) return differs(spot, pair, COPSE_REASON_SIZE, fault);
  if (pair->left->mtime_ns != pair->right->mtime_ns)
    return differs(spot, pair, COPSE_REASON_MTIME, fault);
  return compare_metadata(spot, pair, fault);
}

int32_t compare_algorithm(const struct run *run, uint32_t *algorithm, struct fault *fault) {
  const struct store *left = &run->store[LEFT], *right = &run->store[RIGHT];
  bool of_left = left->can & ONLY_DIGEST, of_right = right->can & ONLY_DIGEST;
  *algorithm = of_left ? left->algorithm : of_right ? right->algorithm : COPSE_ALGORITHM_BLAKE3;
  return of_left && of_right && left->algorithm != right->algorithm
             ? fault_set(fault, COPSE_E_UNSUPPORTED,
                         "the manifests have hashes of different algorithms; make one anew")
             : 0;
}

// A server may say which digest its content has. When that is the digest of what the other side
// has, its word is taken and its content is not fetched. Else the content decides: *side is whose
// reader was opened for the question, or none's. What fails here fails again where it is told of.
static bool is_promised(struct spot *spot, const struct pair *pair, struct reader *reader,
                        uint8_t *side) {
  const struct entry *entries[2] = {pair->left, pair->right};
  struct fault fault = {};
  uint8_t promising = spot->node->directory[RIGHT]->store->ops->promised ? RIGHT : LEFT;
  struct directory *directory = spot->node->directory[promising];
  const struct store_ops *ops = directory->store->ops;
  if (!ops->promised || ops->reader(directory, entries[promising], reader, &fault) < 0)
    return false;
  uint32_t algorithm;
  const uint8_t *promise;
  uint8_t own[HASH_BYTES];
  uint64_t bytes = spot->bytes;
  // A digest of another algorithm that is there already costs less than reading what it is of.
  const struct store *other = spot->node->directory[!promising]->store;
  bool has_digest = entries[!promising]->has & HAS_DIGEST;
  bool is_same = ops->promised(reader, &algorithm, &promise) &&
                 (!has_digest || other->algorithm == algorithm) &&
                 spot_digest(spot, !promising, entries[!promising], algorithm, own, &fault) == 0 &&
                 memcmp(own, promise, HASH_BYTES) == 0;
  if (is_same) {
    ops->read_end(reader);
  } else {
    *side = promising;
    spot->bytes = bytes;  // what was read will be read again
  }
  return is_same;
}

// One side is counted, the left one; where its hash was there already, what was read of the right
// one.
static void count_right(struct spot *spot, const struct entry *right, uint32_t algorithm,
                        uint64_t before) {
  bool is_read =
      !(right->has & HAS_DIGEST) || spot->node->directory[RIGHT]->store->algorithm != algorithm;
  if (is_read && spot->bytes == before && (right->has & HAS_SIZE) && !spot->run->cache)
    spot->bytes += right->size;
}

// The hashes of both sides into `content`. Where sizes are known without reading, as with a
// manifest or a cache they are, unequal ones need no hashes.
static int32_t hash_both(struct spot *spot, const struct pair *pair, bool sizes,
                         struct content *content, struct fault *fault) {
  uint32_t algorithm;
  int32_t code = compare_algorithm(spot->run, &algorithm, fault);
  if (code == 0 && sizes) code = complete(spot, pair->left, LEFT, fault);
  if (code == 0 && sizes) code = complete(spot, pair->right, RIGHT, fault);
  if (code < 0) return code;
  content->reason = COPSE_REASON_CONTENT;
  content->offset = COPSE_UNKNOWN;
  if (sizes && (pair->left->has & pair->right->has & HAS_SIZE) &&
      pair->left->size != pair->right->size) {
    content->reason = COPSE_REASON_SIZE;
    return 0;
  }
  struct reader reader;
  uint8_t side = RIGHT + 1;  // whose reader is open
  uint64_t bytes = spot->bytes;
  if (compare_of(spot->run)->by == COPSE_BY_HASH && is_promised(spot, pair, &reader, &side)) {
    content->equal = true;
    return 0;
  }
  content->hashed = true;
  struct fault of_right = {};
  struct fault *faults[2] = {fault, &of_right};
  const struct entry *entries[2] = {pair->left, pair->right};
  int32_t codes[2];
  for (uint8_t i = 0; i < 2; i++)
    codes[i] = i == side ? spot_digest_open(spot, i, entries[i], &reader, algorithm,
                                            content->hash[i], faults[i])
                         : spot_digest(spot, i, entries[i], algorithm, content->hash[i], faults[i]);
  int32_t left = codes[LEFT], right = codes[RIGHT];
  if (left < 0 && right < 0) {  // a row for each side: the left one's is written here
    spot->side = LEFT;
    spot_error(spot, fault, pair->left->name);
  }
  spot->side = right < 0 ? RIGHT : LEFT;
  if (right < 0) *fault = of_right;
  if (left < 0 || right < 0) return fault->code;
  count_right(spot, pair->right, algorithm, bytes);
  content->equal = memcmp(content->hash[LEFT], content->hash[RIGHT], HASH_BYTES) == 0;
  return 0;
}

// By hash where neither side has one yet: equal bytes prove equal hashes at less than half the
// price, so hashes are made only for a row. Not of places where content is fetched or unpacked:
// reading it a second time costs more than the hash.
static bool reads_first(const struct run *run, const struct pair *pair) {
  const struct compare *compare = compare_of(run);
  return compare->by == COPSE_BY_HASH && !compare->texting && !run->cache &&
         (run->store[LEFT].can & run->store[RIGHT].can & IS_LOCAL) &&
         !((pair->left->has | pair->right->has) & HAS_DIGEST);
}

static int32_t changed(struct fault *fault) {
  return fault_set(fault, COPSE_E_CHANGED,
                   "the file changed while it was read; run again when nobody writes to it");
}

int32_t compare_settle(struct spot *spot, const struct pair *pair, const struct content *content,
                       struct fault *fault) {
  // One path has one row, and metadata that differs is the greater difference.
  if (content->equal || content->rule) {
    int32_t code = compare_metadata(spot, pair, fault);
    if (code != 0 || content->equal) return code;
  }
  if (content->hashed || !reads_first(spot->run, pair))
    return compare_differs(spot, pair, content, fault);
  struct content hashes = {};
  int32_t code = hash_both(spot, pair, false, &hashes, fault);
  if (code == 0 && hashes.equal) code = changed(fault);
  return code < 0 ? code : compare_differs(spot, pair, &hashes, fault);
}

// Reads contents whose hashes or sizes differ.
static int32_t read_after_hashes(struct spot *spot, const struct pair *pair,
                                 struct content *content, struct fault *fault) {
  struct content read = {.offset = COPSE_UNKNOWN};
  int32_t code = compare_content(spot, pair, &read, fault);
  if (code == 0 && !read.later && read.equal) code = changed(fault);
  *content = read;
  return code;
}

static int32_t compare_hashes(struct spot *spot, const struct pair *pair, struct fault *fault) {
  const struct compare *compare = compare_of(spot->run);
  bool sizes = compare->by == COPSE_BY_CONTENT && compare->size_check;
  struct content content = {};
  spot->files++;
  int32_t code = hash_both(spot, pair, sizes, &content, fault);
  if (code == 0 && !content.equal && texting_of(spot, pair))
    code = read_after_hashes(spot, pair, &content, fault);
  return code < 0 || content.later ? code : compare_settle(spot, pair, &content, fault);
}

// By content with a cache: what has equal hashes is not read. The rest is, to say where it differs.
static int32_t compare_cached(struct spot *spot, const struct pair *pair, struct content *content,
                              struct fault *fault) {
  int32_t code = hash_both(spot, pair, compare_of(spot->run)->size_check, content, fault);
  if (code < 0 || content->equal) return code;
  if (content->reason == COPSE_REASON_SIZE && !texting_of(spot, pair)) return 0;
  return read_after_hashes(spot, pair, content, fault);
}

// What could not be looked at when it was listed is an error row for each side, whatever the other
// side is.
static int32_t compare_troubles(struct spot *spot, const struct pair *pair, struct fault *fault) {
  const struct entry *entries[2] = {pair->left, pair->right};
  int32_t code = 0;
  for (uint8_t side = 0; side < 2; side++) {
    if (!entries[side] || entries[side]->type != ENTRY_NONE) continue;
    if (code < 0) spot_error(spot, fault, pair->left->name);
    spot->side = side;
    code = node_trouble(spot->node, side, entries[side], fault);
  }
  return code;
}

static bool reads(const struct run *run, const struct step *step) {
  const struct compare *compare = compare_of(run);
  const struct entry *left = step->pair.left, *right = step->pair.right;
  if (step->kind != STEP_COMPARE || !left || !right || step->reason) return false;
  if (left->type != ENTRY_FILE || compare->by == COPSE_BY_STAT) return false;
  bool sized = left->has & right->has & HAS_SIZE;
  return compare->by == COPSE_BY_HASH || compare->texting || !compare->size_check || !sized ||
         left->size == right->size;
}

static int32_t work(struct spot *spot, const struct step *step, struct fault *fault) {
  const struct pair *pair = &step->pair;
  int32_t code = compare_troubles(spot, pair, fault);
  if (code < 0) return code;
  if (!pair->left) return compare_one_sided(spot, pair->right, RIGHT, fault);
  if (!pair->right) return compare_one_sided(spot, pair->left, LEFT, fault);
  if (step->reason) return differs(spot, pair, step->reason, fault);
  switch (pair->left->type) {
    case ENTRY_DIRECTORY:
      return compare_metadata(spot, pair, fault);
    case ENTRY_LINK:
      return compare_links(spot, pair, fault);
    case ENTRY_FILE:
      break;
    default:
      return compare_others(spot, pair, fault);
  }
  uint32_t by = compare_of(spot->run)->by;
  if (by == COPSE_BY_STAT) return compare_stats(spot, pair, fault);
  // A digest that is there already costs less than reading what it is of.
  bool hashed = by == COPSE_BY_HASH || ((pair->left->has | pair->right->has) & HAS_DIGEST);
  if (hashed && !reads_first(spot->run, pair)) return compare_hashes(spot, pair, fault);
  struct content content = {.offset = COPSE_UNKNOWN, .equal = step->same > 0};
  uint64_t bytes = spot->bytes;
  spot->files++;
  spot->bytes += step->same;
  if (!content.equal)
    code = spot->run->cache ? compare_cached(spot, pair, &content, fault)
                            : compare_content(spot, pair, &content, fault);
  if (code < 0 || content.later) return code;
  if (hashed && !content.equal) spot->bytes = bytes;  // what the hashes read is counted instead
  return compare_settle(spot, pair, &content, fault);
}

static bool end(struct run *run, struct worker *worker) {
  return compare_of(run)->moves && moves_end(run, worker);
}

const struct verb compare_verb = {.name = "compare",
                                  .sides = 2,
                                  .state_size = sizeof(struct compare),
                                  .begin = begin,
                                  .enter = enter,
                                  .plan = plan,
                                  .reads = reads,
                                  .work = work,
                                  .end = end,
                                  .close = close};
