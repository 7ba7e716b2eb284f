// character: see character.h.
#include "base/character.h"

size_t character_read(span text, uint32_t *character) {
  uint8_t first = text.at[0];
  if (first < 0x80) {
    *character = first;
    return 1;
  }
  size_t size = first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
  *character = CHARACTER_MALFORMED + first;
  if (size == 0 || size > text.size) return 1;
  uint32_t value = first & (0x7Fu >> size);
  for (size_t i = 1; i < size; i++) {
    if ((text.at[i] & 0xC0) != 0x80) return 1;
    value = value << 6 | (text.at[i] & 0x3Fu);
  }
  if (size == 3 && (value < 0x800 || (value >= 0xD800 && value <= 0xDFFF))) return 1;
  if (size == 4 && (value < 0x10000 || value > 0x10FFFF)) return 1;
  *character = value;
  return size;
}
