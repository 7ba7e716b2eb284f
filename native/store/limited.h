// limited: the operations of a store whose bytes are counted against the task's and the runtime's
// bandwidth. store_open puts them in front of the store's own, so that no verb and no store knows.
#pragma once
#include "store/store.h"

// Where neither has a limit, nothing changes. MEMORY is the only way to fail.
int32_t limited_begin(struct store *store, struct fault *fault);
void limited_end(struct store *store);  // gives the store its own operations back
