// character: UTF-8, read strictly. Bytes that are no UTF-8 are characters of their own, so that
// every name can be taken apart and no two names look alike.
#pragma once
#include "base/span.h"

constexpr uint32_t CHARACTER_MALFORMED = 0x110000;  // plus the byte; no code point is that large

// The first character of a text that is not empty, and how many bytes it has. Forms longer than
// needed, halves of surrogate pairs and cut ones are malformed: one byte each.
size_t character_read(span text, uint32_t *character);
