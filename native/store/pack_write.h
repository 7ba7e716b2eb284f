// pack_write: the store of a pack that is being made.
#pragma once
#include "store/store.h"

extern const struct store_ops pack_new_store;
// Takes over the place of a new pack.
int32_t pack_new_open(struct store *store, const struct place *place, struct fault *fault);
