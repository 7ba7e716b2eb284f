// join: a listing of one directory, sorted by bytes; two of them merge into pairs (walk.h).
#pragma once
#include "store/store.h"

// Puts what was listed in order of names, for listing_entry.
int32_t join_sort(struct listing *listing, struct fault *fault);
