// pack_pour: where a pack lies that has no file: it is put together in one without a name, and
// given to the caller from there.
#pragma once
#include "store/store.h"

// Makes a store of nothing but that file.
int32_t pour_open(struct store *store, struct task *task, struct fault *fault);
// After the commit: bytes for the caller. First COPSE_SAID_PACK and its size.
int64_t pour_say(struct store *store, uint8_t *into, size_t size, struct fault *fault);
