#include "store/pack_names.h"

#include <stdlib.h>

#include "store/pack_making.h"

// What was taken away again keeps its slot, and is passed over.
static struct written **slot_of(const struct names *names, span path) {
  uint8_t digest[HASH_BYTES];
  size_t hash, mask = names->slots_count - 1;
  hash_of(path, digest);
  memcpy(&hash, digest, sizeof hash);
  for (size_t i = hash & mask;; i = (i + 1) & mask) {
    struct written **slot = &names->slots[i];
    if (!*slot || ((*slot)->type != ENTRY_NONE && span_equal((*slot)->path, path))) return slot;
  }
}

// A path that is there already keeps the one that came first: pack_gather refuses both.
static void put(struct names *names, struct written *written) {
  struct written **slot = slot_of(names, written->path);
  names->count += !*slot;
  if (!*slot) *slot = written;
}

// At least half of it is free.
static int32_t make_table(struct making *making, size_t slots_count, struct fault *fault) {
  struct written **slots = calloc(slots_count, sizeof *slots);
  if (!slots) return no_memory(fault);
  free(making->names.slots);
  making->names = (struct names){.slots = slots, .slots_count = slots_count};
  for (size_t i = 0; i < making->count; i++)
    if (making->all[i]->type != ENTRY_NONE) put(&making->names, making->all[i]);
  return 0;
}

int32_t names_add(struct making *making, struct written *written, struct fault *fault) {
  struct names *names = &making->names;
  if (!names->slots) return 0;
  int32_t code = 0;
  if (names->count >= names->slots_count / 2)
    code = make_table(making, names->slots_count * 2, fault);
  if (code == 0) put(names, written);
  return code;
}

int32_t names_find(struct making *making, span above, span name, struct written **out,
                   struct fault *fault) {
  constexpr size_t LEAST = 1024;
  size_t prefix = above.size ? above.size + 1 : 0, slots_count = LEAST;
  while (slots_count / 2 <= making->count) slots_count *= 2;
  int32_t code = making->names.slots ? 0 : make_table(making, slots_count, fault);
  uint8_t *path = code == 0 ? malloc(prefix + name.size + 1) : nullptr;
  if (!path) return code < 0 ? code : no_memory(fault);
  if (prefix) {
    memcpy(path, above.at, above.size);
    path[above.size] = '/';
  }
  if (name.size) memcpy(path + prefix, name.at, name.size);
  *out = *slot_of(&making->names, (span){path, prefix + name.size});
  free(path);
  return 0;
}
