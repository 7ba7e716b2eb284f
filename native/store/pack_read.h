// pack_read: what of a pack that is read, those need who make another one of it.
#pragma once
#include "store/pack_index.h"

// Of an opened pack store. The index lives as long.
int32_t pack_index_of(struct store *store, const struct pack_index **out, struct fault *fault);

// Of one that is loaded: what all its groups have in common, as long as the store is open; empty
// when they have nothing.
int32_t pack_dictionary_of(struct store *store, span *out, struct fault *fault);

// The stored bytes of a chunk, which passed all checks, and what they hold.
struct proved {
  span blob, content;
  struct decoder *decoder;
};
int32_t pack_take_blob(struct store *store, const struct pack_chunk *chunk, struct proved *out,
                       struct fault *fault);
void pack_proved_end(struct store *store, struct proved *proved);
