#include "store/pack_group.h"

#include <stdlib.h>

#include "engine/buffer.h"
#include "engine/runtime.h"
#include "engine/task.h"
#include "store/pack_frame.h"
#include "store/pack_making.h"

void grouping_end(struct grouping *grouping) {
  free(grouping->all);
  free(grouping->blobs);
  free(grouping->dictionary);
}

// ── What is in which ──

// At powers of two there is room for none.
static void *grown(void *at, size_t count, size_t size) {
  if (count & (count - 1)) return at;
  return realloc(at, (count ? count * 2 : 1) * size);
}

int32_t grouping_take(struct grouping *grouping, const struct chunk_group *group,
                      struct fault *fault) {
  struct chunk_group *all = grown(grouping->all, grouping->count, sizeof *all);
  if (!all) return no_memory(fault);
  grouping->all = all;
  all[grouping->count++] = *group;
  return 0;
}

static int32_t add_blob(struct making *making, uint32_t number, struct fault *fault) {
  struct grouping *grouping = &making->grouping;
  struct blob *blob = &making->spool.blobs[number];
  struct chunk_group *last = grouping->count ? &grouping->all[grouping->count - 1] : nullptr;
  if (!grouping->is_open || blob->size > GROUP_BYTES - last->content) {
    const struct chunk_group group = {.first = grouping->blobs_count, .at = UINT64_MAX};
    int32_t code = grouping_take(grouping, &group, fault);
    if (code < 0) return code;
    last = &grouping->all[grouping->count - 1];
    grouping->is_open = true;
  }
  uint32_t *blobs = grown(grouping->blobs, grouping->blobs_count, sizeof *blobs);
  if (!blobs) return no_memory(fault);
  grouping->blobs = blobs;
  blobs[grouping->blobs_count++] = number;
  last->count++;
  blob->group = grouping->count;
  blob->group_at = (uint32_t)last->content;
  last->content += blob->size;
  return 0;
}

static int32_t plan_file(struct making *making, const struct written *written,
                         struct fault *fault) {
  int32_t code = 0;
  for (const struct part_block *block = written->first; block; block = block->next) {
    for (size_t i = 0; i < block->count && code == 0; i++) {
      struct blob *blob = &making->spool.blobs[block->parts[i].blob];
      if (blob->group || blob->is_alone) continue;
      if (!blob->is_frame && written_is_grouped(making, written, block->parts[i].size))
        code = add_blob(making, block->parts[i].blob, fault);
      else
        blob->is_alone = true;
    }
  }
  return code;
}

// In the order of the pack; no group goes over a copy of the index.
static int32_t plan(struct making *making, struct fault *fault) {
  int32_t code = 0;
  for (size_t begin = 0, end; begin < making->count && code == 0; begin = end) {
    end = pack_stretch_end(making, begin);
    for (size_t i = begin; i < end && code == 0; i++)
      if (making->all[i]->type == ENTRY_FILE) code = plan_file(making, making->all[i], fault);
    making->grouping.is_open = false;
  }
  return code;
}

// ── The dictionary ──

// So many bytes of small chunks, evenly from all of them, with the size of each.
struct samples {
  uint8_t *bytes;
  size_t *sizes;
  size_t filled, count, capacity;
};

uint64_t grouped_bytes(const struct making *making, uint64_t *chunks) {
  uint64_t bytes = 0;
  *chunks = 0;
  for (size_t i = 0; i < making->count; i++) {
    const struct written *written = making->all[i];
    if (written->type != ENTRY_FILE || written->parts_count != 1) continue;
    if (!written_is_grouped(making, written, written->size)) continue;
    bytes += written->size;
    (*chunks)++;
  }
  return bytes;
}

static int32_t gather(struct making *making, uint64_t every, struct samples *samples,
                      struct fault *fault) {
  uint64_t seen = 0;
  int32_t code = 0;
  for (size_t i = 0; i < making->count && code == 0; i++) {
    const struct written *written = making->all[i];
    if (written->type != ENTRY_FILE || written->parts_count != 1 || written->size == 0) continue;
    if (!written_is_grouped(making, written, written->size) || seen++ % every) continue;
    size_t size = (size_t)written->size;
    if (size > DICTIONARY_SAMPLES - samples->filled || samples->count == samples->capacity) break;
    const struct blob *blob = &making->spool.blobs[written->first->parts[0].blob];
    if (blob->is_frame) continue;
    code = spool_read(&making->spool, blob->at, samples->bytes + samples->filled, size, fault);
    samples->filled += size;
    samples->sizes[samples->count++] = size;
  }
  return code;
}

// What small files have in common, when there are enough of them.
static int32_t make_dictionary(struct making *making, struct fault *fault) {
  uint64_t chunks, bytes = grouped_bytes(making, &chunks);
  if (bytes < DICTIONARY_CONTENT || making->grouping.is_decided) return 0;
  uint64_t every = bytes / DICTIONARY_SAMPLES + 1;
  struct samples samples = {.capacity = (size_t)(chunks / every + 1)};
  samples.bytes = malloc(DICTIONARY_SAMPLES);
  samples.sizes = malloc(samples.capacity * sizeof *samples.sizes);
  struct grouping *grouping = &making->grouping;
  grouping->dictionary = malloc(DICTIONARY_BYTES);
  bool is_ready = samples.bytes && samples.sizes && grouping->dictionary;
  int32_t code = is_ready ? gather(making, every, &samples, fault) : no_memory(fault);
  if (code == 0)
    grouping->dictionary_size =
        dictionary_train(grouping->dictionary, DICTIONARY_BYTES, samples.bytes, samples.sizes,
                         samples.count, making->level);
  free(samples.bytes);
  free(samples.sizes);
  return code;
}

// ── Packing them ──

struct group_job {
  struct job job;
  struct making *making;
  struct task *task;
  struct compressor *compressor;
  uint8_t *content;
  bool is_counted;  // of the budget
};

constexpr size_t JOB_BYTES = 2 * GROUP_BYTES;

static void job_end(struct group_job *job) {
  if (job->compressor) compressor_free(job->compressor);
  if (job->is_counted) buffer_release(&job->task->runtime->buffers, JOB_BYTES);
  free(job->content);
  free(job);
}

static int32_t job_ready(struct group_job *job, struct fault *fault) {
  const struct grouping *grouping = &job->making->grouping;
  job->content = malloc(GROUP_BYTES);
  job->compressor = compressor_take(job->making);
  if (!job->content || !job->compressor) return no_memory(fault);
  span dictionary = {grouping->dictionary, grouping->dictionary_size};
  if (dictionary.size && !packer_use(job->compressor->packer, dictionary)) return no_memory(fault);
  return frame_room(&job->compressor->out, &job->compressor->capacity, frame_bound(GROUP_BYTES),
                    fault);
}

static int32_t pack_group(const struct group_job *job, struct chunk_group *group,
                          struct fault *fault) {
  struct making *making = job->making;
  struct compressor *compressor = job->compressor;
  const struct grouping *grouping = &making->grouping;
  size_t filled = 0;
  for (size_t i = group->first; i < group->first + group->count; i++) {
    const struct blob *blob = &making->spool.blobs[grouping->blobs[i]];
    int32_t code =
        spool_read(&making->spool, blob->at, job->content + filled, (size_t)blob->size, fault);
    if (code < 0) return code;
    filled += (size_t)blob->size;
  }
  span content = {job->content, filled};
  hash_of(content, group->digest);
  int64_t size =
      frame_write(compressor->packer, content, true, compressor->out, compressor->capacity, fault);
  if (size < 0) return (int32_t)size;
  group->size = (uint64_t)size;
  return spool_put(&making->spool, (span){compressor->out, (size_t)size}, &group->spooled_at,
                   fault);
}

static void group_work(struct job *base, struct worker *) {
  struct group_job *job = (struct group_job *)base;
  struct making *making = job->making;
  struct grouping *grouping = &making->grouping;
  uint32_t next = atomic_fetch_add_explicit(&grouping->next, 1, memory_order_relaxed);
  if (next >= grouping->count || task_cancelled(job->task)) {
    job_end(job);
    return;
  }
  struct fault fault = {};
  int32_t code = job->compressor ? 0 : job_ready(job, &fault);
  if (code == 0) code = pack_group(job, &grouping->all[next], &fault);
  if (code == 0) {  // one at a time, so that other tasks have their turns
    group_run(&job->task->group, JOB_COMPUTE, &job->job);
    return;
  }
  making_fail(making, &fault);
  atomic_store_explicit(&grouping->next, grouping->count, memory_order_relaxed);
  job_end(job);
}

int32_t groups_begin(struct making *making, struct task *task, struct fault *fault) {
  int32_t code = plan(making, fault);
  if (code == 0) code = make_dictionary(making, fault);
  uint32_t count = making->grouping.count - making->grouping.taken;
  if (code < 0 || count == 0) return code;
  atomic_store_explicit(&making->grouping.next, making->grouping.taken, memory_order_relaxed);
  uint32_t most = task->runtime->cpu_workers ? task->runtime->cpu_workers : 1;
  if (most > count) most = count;
  for (uint32_t i = 0; i < most; i++) {
    // One there must be, whatever else the budget is spent on.
    bool is_counted = i > 0;
    if (is_counted && !buffer_reserve(&task->runtime->buffers, JOB_BYTES)) break;
    struct group_job *job = malloc(sizeof *job);
    if (!job) {
      if (is_counted) buffer_release(&task->runtime->buffers, JOB_BYTES);
      if (i == 0) return no_memory(fault);
      break;
    }
    *job = (struct group_job){
        .job.run = group_work, .making = making, .task = task, .is_counted = is_counted};
    group_run(&task->group, JOB_COMPUTE, &job->job);
  }
  return 1;
}
