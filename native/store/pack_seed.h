// pack_seed: an old pack, whose blobs go into a new one where the content is the same, so that they
// need not be compressed again. Each is used only after its own checks.
#pragma once
#include "store/store.h"

struct making;
struct seed;

int32_t seed_open(struct seed **out, span place, struct task *task, struct fault *fault);
void seed_close(struct seed *seed);  // nullptr is fine
// Its index. One that is damaged is no seed at all, unless what it holds is to be kept.
int32_t seed_load(struct making *making, struct fault *fault);
// 1: *blob is in the spool now, and holds that content. 0: the seed has none that is whole.
int32_t seed_take(struct making *making, const uint8_t digest[HASH_BYTES], uint64_t size,
                  uint32_t *blob, struct fault *fault);
// Adds what the seed holds to a making whose own entries are sorted. What is damaged in the seed is
// an error row.
int32_t seed_keep(struct making *making, struct task *task, struct fault *fault);
void seed_report(const struct seed *seed, struct record_writer *out);  // nullptr is fine
