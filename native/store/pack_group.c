#include "store/pack_group.h"

#include <stdlib.h>

#include "store/pack_frame.h"

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory while packing");
}

int32_t grouping_begin(struct grouping *grouping, int level, struct fault *fault) {
  *grouping = (struct grouping){.packer = packer_new(level),
                                .content = malloc(GROUP_BYTES),
                                .frame = malloc(frame_bound(GROUP_BYTES))};
  return grouping->packer && grouping->content && grouping->frame ? 0 : no_memory(fault);
}

void grouping_end(struct grouping *grouping) {
  if (grouping->packer) packer_free(grouping->packer);
  free(grouping->all);
  free(grouping->content);
  free(grouping->dictionary);
  free(grouping->frame);
}

bool grouping_fits(const struct grouping *grouping, size_t size) {
  return !grouping->is_open || size <= GROUP_BYTES - grouping->filled;
}

int32_t grouping_add(struct grouping *grouping, size_t size, uint8_t **into, uint32_t *group,
                     uint32_t *at, struct fault *fault) {
  if (!grouping->is_open) {
    uint32_t count = grouping->count;
    // Doubled whenever the count is a power of two.
    if ((count & (count - 1)) == 0) {
      struct chunk_group *more =
          realloc(grouping->all, (count ? count * 2 : 1) * sizeof *grouping->all);
      if (!more) return no_memory(fault);
      grouping->all = more;
    }
    grouping->all[grouping->count++] = (struct chunk_group){};
    grouping->is_open = true;
    grouping->filled = 0;
  }
  *into = grouping->content + grouping->filled;
  *group = grouping->count;
  *at = (uint32_t)grouping->filled;
  grouping->filled += size;
  return 0;
}

int32_t grouping_close(struct grouping *grouping, uint64_t at, span *frame, struct fault *fault) {
  *frame = (span){};
  if (!grouping->is_open) return 0;
  struct chunk_group *group = &grouping->all[grouping->count - 1];
  span content = {grouping->content, grouping->filled};
  hash_of(content, group->digest);
  int64_t size = frame_write(grouping->packer, content, true, grouping->frame,
                             frame_bound(GROUP_BYTES), fault);
  if (size < 0) return (int32_t)size;
  group->at = at;
  group->size = (uint64_t)size;
  group->content = grouping->filled;
  grouping->is_open = false;
  *frame = (span){grouping->frame, (size_t)size};
  return 0;
}
