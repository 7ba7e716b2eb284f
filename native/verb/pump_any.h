// pump_any: content that comes in parts and in any order, into a file that takes it so.
#pragma once
#include "verb/run.h"

// After scatter() on the reader. What came is kept in the writer's journal as it comes, and when it
// ends early, too.
int32_t pump_any(struct spot *spot, struct reader *reader, struct writer *writer,
                 struct fault *fault);
