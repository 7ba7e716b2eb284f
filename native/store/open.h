// open: the list of stores that are built in.
#pragma once
#include "store/store.h"

extern const struct store_ops file_store, memory_store, http_store, files_store, archive_store,
    pack_store, manifest_store, snapshot_store, crypt_store, fd_store;
#ifdef COPSE_FAULT_STORE
extern const struct store_ops fault_store;
#endif
