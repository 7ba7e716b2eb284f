// pump_parts: a large file from a source that can be read anywhere, in parts, each of them kept in
// the writer's journal when it is there.
#pragma once
#include "verb/run.h"

// From here on a file that is copied on this machine outlives an interrupted run.
constexpr uint64_t PARTS_LEAST = 16 << 20;

// After resume(). What it proved is not brought again, nor what it claims and the source confirms.
// `pulls`: the destination may copy without us. *resumed: bytes that were there; *counted: bytes
// that were added to the task's totals on the way.
int32_t pump_parts(struct spot *spot, struct reader *reader, struct writer *writer,
                   struct resume *resume, uint64_t size, bool pulls, uint64_t *resumed,
                   uint64_t *counted, struct fault *fault);
