// pump_delta: a large file that is made of the one it replaces, and of what is new in it.
#pragma once
#include "verb/pump.h"

// Smaller files are copied as soon as they are looked at.
constexpr uint64_t DELTA_LEAST = 1 << 20;

// Between open_writer and commit: fills the writer with the content of the reader, whose size is
// `size`, from pump->old as far as that has it. *at: how far it came; the caller copies the rest
// (all of it where there is nothing to be had). *saved: bytes of these that did not have to be
// brought. *counted: bytes that were added to the task's totals.
int32_t pump_delta(struct spot *spot, const struct pump *pump, struct reader *reader,
                   struct writer *writer, uint64_t size, uint64_t *at, uint64_t *saved,
                   uint64_t *counted, struct fault *fault);
