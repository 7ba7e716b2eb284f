// pack_check: XXH3, 64 bits without a seed, as fast as the processor can.
#pragma once
#include "base/span.h"

uint64_t pack_check(span bytes);
