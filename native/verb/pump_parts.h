// pump_parts: a large file in parts, which several workers may bring: from a source that can be
// read anywhere, each of them kept in the writer's journal when it is there, or from one whose
// pieces are decoded alone.
#pragma once
#include "verb/pump.h"

// From here on a file that is copied on this machine outlives an interrupted run.
constexpr uint64_t PARTS_LEAST = 16 << 20;

// After resume(). What it proved is not brought again, nor what it claims and the source confirms.
// `resume` nullptr: nothing is kept, and more readers come from pump->from. `pulls`: the
// destination may copy without us. *resumed: bytes that were there; *counted: bytes that were added
// to the task's totals on the way.
int32_t pump_parts(struct spot *spot, const struct pump *pump, struct reader *reader,
                   struct writer *writer, struct resume *resume, uint64_t size, bool pulls,
                   uint64_t *resumed, uint64_t *counted, struct fault *fault);
