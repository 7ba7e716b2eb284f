// http_index: the names in a directory's index as web servers write it: JSON (nginx, Caddy) or an
// HTML page of links. Pure.
#pragma once
#include "store/store.h"

// Adds what the document lists. `path` is the directory's own path in its URL, with '/' at the end.
// UNSUPPORTED: it is no index. PROTOCOL: an index with a name that no entry can have, or one name
// twice with two meanings.
int32_t http_index_read(span document, const char *type, span path, struct listing *listing,
                        struct fault *fault);
