// pack_chunk: what becomes of a chunk of a pack that is being made. It is hashed and, unless what
// it holds is there already, compressed and put into the spool: where it comes, or by another
// worker where the file is large. Small ones wait until there are so many that they are hashed side
// by side; each thread has its own that wait.
#include <stdlib.h>
#include <string.h>

#include "engine/runtime.h"
#include "engine/task.h"
#include "store/pack_frame.h"
#include "store/pack_group.h"
#include "store/pack_making.h"
#include "store/pack_seed.h"

constexpr size_t LARGE_CHUNK = 256 << 10;
// Of content that waits, for each thread.
constexpr size_t LOAD_BYTES = 256 << 10;

static struct compressor *compressor_new(const struct making *making) {
  struct compressor *compressor = calloc(1, sizeof *compressor);
  if (compressor) compressor->packer = packer_new(making->level);
  if (compressor && compressor->packer) return compressor;
  free(compressor);
  return nullptr;
}

// The one that the thread had before: its tables are in that core's caches. Only when there are as
// many as cores it takes another's.
struct compressor *compressor_take(struct making *making) {
  static thread_local char here;
  mutex_lock(&making->lock);
  struct compressor **at = &making->idle;
  while (*at && (*at)->owner != &here) at = &(*at)->next;
  bool is_new = !*at && making->compressors < making->large_max;
  if (!*at && !is_new) at = &making->idle;
  struct compressor *compressor = is_new ? nullptr : *at;
  if (compressor)
    *at = compressor->next;
  else
    making->compressors++;
  mutex_unlock(&making->lock);
  if (!compressor) compressor = compressor_new(making);
  if (compressor) compressor->owner = &here;
  return compressor;
}

// Contexts of zstd grow with what they are used on, to 50 MB at high levels, and stay as large. So
// large chunks have their own, and no more of them than there are cores to use them.
static struct compressor *compressor_take_large(struct making *making) {
  mutex_lock(&making->lock);
  while (making->large == making->large_max) condition_wait(&making->large_given, &making->lock);
  making->large++;
  struct compressor *compressor = making->idle_large;
  if (compressor) making->idle_large = compressor->next;
  mutex_unlock(&making->lock);
  return compressor ? compressor : compressor_new(making);
}

// nullptr: there was no memory for it.
static void compressor_give(struct making *making, struct compressor *compressor, bool is_large) {
  mutex_lock(&making->lock);
  struct compressor **idle = is_large ? &making->idle_large : &making->idle;
  if (compressor) {
    compressor->next = *idle;
    *idle = compressor;
  }
  if (is_large) {
    making->large--;
    condition_one(&making->large_given);
  }
  mutex_unlock(&making->lock);
}

void compressor_free(struct compressor *compressor) {
  packer_free(compressor->packer);
  packer_free(compressor->quick);
  free(compressor->out);
  free(compressor);
}

static void list_free(struct compressor **idle) {
  while (*idle) {
    struct compressor *compressor = *idle;
    *idle = compressor->next;
    compressor_free(compressor);
  }
}

void compressors_free(struct making *making) {
  list_free(&making->idle);
  list_free(&making->idle_large);
}

// Whether it is worth compressing: a try of high levels takes long, and gains nothing on what is
// compressed already.
static int32_t probe(struct compressor *compressor, span bytes, bool *gains, struct fault *fault) {
  if (!compressor->quick) compressor->quick = packer_new(1);
  if (!compressor->quick) return no_memory(fault);
  *gains = packer_gains(compressor->quick, bytes, compressor->out, compressor->capacity);
  return 0;
}

static int32_t frame_add(struct making *making, const uint8_t *digest, span bytes,
                         struct part *part, struct fault *fault) {
  bool is_large = bytes.size > LARGE_CHUNK && making->compress != COPSE_COMPRESS_NEVER;
  struct compressor *compressor =
      is_large ? compressor_take_large(making) : compressor_take(making);
  int32_t code = compressor ? 0 : no_memory(fault);
  if (code == 0)
    code = frame_room(&compressor->out, &compressor->capacity, frame_bound(bytes.size), fault);
  bool gains = true;
  if (code == 0 && making->compress == COPSE_COMPRESS_AUTO && bytes.size >= SAMPLE_BYTES)
    code = probe(compressor, bytes, &gains, fault);
  span blob = bytes;
  if (code == 0 && gains) {
    int64_t size = frame_write(compressor->packer, bytes, making->compress != COPSE_COMPRESS_NEVER,
                               compressor->out, compressor->capacity, fault);
    code = size < 0 ? (int32_t)size : 0;
    blob = (span){compressor->out, size < 0 ? 0 : (size_t)size};
  }
  if (code == 0) code = spool_add(&making->spool, digest, gains, blob, &part->blob, fault);
  compressor_give(making, compressor, is_large);
  return code;
}

bool written_is_grouped(const struct making *making, const struct written *written, uint64_t size) {
  return making->is_native && !written->is_raw && making->compress != COPSE_COMPRESS_NEVER &&
         size <= GROUP_CHUNK_MAX;
}

static int32_t chunk_put(struct making *making, const uint8_t *digest, span bytes, bool is_raw,
                         struct part *part, struct fault *fault) {
  part->size = bytes.size;
  part->blob = spool_find(&making->spool, digest, !is_raw);
  if (part->blob != NO_BLOB) return 0;
  if (is_raw) return spool_add(&making->spool, digest, false, bytes, &part->blob, fault);
  if (making->seed && making->compress != COPSE_COMPRESS_NEVER) {
    int32_t found = seed_take(making, digest, part->size, &part->blob, fault);
    if (found != 0) return found < 0 ? found : 0;
  }
  return frame_add(making, digest, bytes, part, fault);
}

int32_t chunk_add(struct making *making, span bytes, bool is_raw, struct part *part,
                  struct fault *fault) {
  uint8_t digest[HASH_BYTES];
  hash_of(bytes, digest);
  return chunk_put(making, digest, bytes, is_raw, part, fault);
}

// ── What waits, or is given away ──

struct load {
  struct job job;
  struct load *next;
  const void *owner;  // the thread that had it last
  struct making *making;
  struct task *task;
  bool is_small;  // with room for HASH_TOGETHER, and used again
  size_t count, bytes;
  struct piece pieces[];
};

void making_fail(struct making *making, const struct fault *fault) {
  mutex_lock(&making->lock);
  if (making->fault.code == 0) making->fault = *fault;
  mutex_unlock(&making->lock);
}

static void load_clear(struct load *load) {
  for (size_t i = 0; i < load->count; i++) free(load->pieces[i].bytes);
  load->count = load->bytes = 0;
}

static void load_do(struct load *load) {
  struct making *making = load->making;
  struct fault fault = {};
  span spans[HASH_TOGETHER];
  uint8_t digests[HASH_TOGETHER][HASH_BYTES];
  for (size_t i = 0; i < load->count; i++)
    spans[i] = (span){load->pieces[i].bytes, load->pieces[i].size};
  int32_t code = task_cancelled(load->task) ? COPSE_E_CANCELLED : 0;
  if (code == 0) hash_each(spans, load->count, digests);
  for (size_t i = 0; i < load->count && code == 0; i++) {
    const struct piece *piece = &load->pieces[i];
    code = chunk_put(making, digests[i], spans[i], piece->is_raw, piece->part, &fault);
    if (code < 0) making_fail(making, &fault);
  }
  load_clear(load);
}

static struct load *load_new(struct making *making, struct task *task, size_t room) {
  struct load *load = malloc(sizeof *load + room * sizeof *load->pieces);
  if (load) *load = (struct load){.making = making, .task = task, .is_small = room > 1};
  return load;
}

// The one that the thread had before. nullptr: all are with others, or there is no memory.
static struct load *load_take(struct making *making, struct task *task) {
  static thread_local char here;
  mutex_lock(&making->lock);
  struct load **at = &making->loads;
  while (*at && (*at)->owner != &here) at = &(*at)->next;
  bool is_new = !*at && making->loads_count < making->large_max;
  if (!*at && !is_new) at = &making->loads;
  struct load *load = is_new ? nullptr : *at;
  if (load) *at = load->next;
  if (is_new) load = load_new(making, task, HASH_TOGETHER);
  if (is_new && load) making->loads_count++;
  mutex_unlock(&making->lock);
  if (load) load->owner = &here;
  return load;
}

static void load_give(struct load *load) {
  struct making *making = load->making;
  mutex_lock(&making->lock);
  load->next = making->loads;
  making->loads = load;
  mutex_unlock(&making->lock);
}

static void load_run(struct job *job, struct worker *) {
  struct load *load = (struct load *)job;
  struct making *making = load->making;
  load_do(load);
  if (load->is_small)
    load_give(load);
  else
    free(load);
  atomic_fetch_sub_explicit(&making->pending, 1, memory_order_relaxed);
}

static void load_away(struct load *load) {
  load->job = (struct job){.run = load_run};
  atomic_fetch_add_explicit(&load->making->pending, 1, memory_order_relaxed);
  group_run(&load->task->group, JOB_COMPUTE, &load->job);
}

int32_t piece_add(struct making *making, struct task *task, const struct piece *piece,
                  bool may_go_away, struct fault *fault) {
  bool is_small = piece->size <= HASH_SMALL;
  bool is_busy =
      atomic_load_explicit(&making->pending, memory_order_relaxed) >= making->pending_max;
  bool goes_away = may_go_away && !is_busy;
  struct load *load = nullptr;
  if (is_small) load = load_take(making, task);
  if (!is_small && goes_away) load = load_new(making, task, 1);
  if (!load) {
    span bytes = {piece->bytes, piece->size};
    return chunk_add(making, bytes, piece->is_raw, piece->part, fault);
  }
  load->pieces[load->count++] = *piece;
  load->bytes += piece->size;
  bool is_full = load->count == HASH_TOGETHER || load->bytes >= LOAD_BYTES;
  if (goes_away && (is_full || !is_small)) {
    load_away(load);
  } else {
    if (is_full) load_do(load);
    load_give(load);
  }
  return 1;
}

void loads_end(struct making *making) {
  for (struct load *load = making->loads; load; load = load->next) load_do(load);
}

void loads_free(struct making *making) {
  while (making->loads) {
    struct load *load = making->loads;
    making->loads = load->next;
    load_clear(load);
    free(load);
  }
}
