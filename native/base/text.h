// text: are two texts the same when some of their white space does not count? Both are given in
// pieces, in any pace, and memory does not grow with them: no line and no run of white space has to
// fit anywhere.
//
// What may be ignored (enum copse_text):
//   EOL          "\r\n" is "\n".
//   SPACE        white space before a line's end, "\r" too, and a missing "\n" at the end.
//   BLANK_LINES  lines that hold nothing, once the others had their say.
#pragma once
#include "base/span.h"
#include "copse.h"

constexpr size_t TEXT_PIECE = 16 * 1024;  // bytes of one piece at most

struct texts;

// nullptr: out of memory. `ignore` is not zero.
[[nodiscard]] struct texts *texts_new(uint32_t ignore);
void texts_free(struct texts *texts);  // nullptr is fine

// Both go on with these bytes, of any number. Only before the first call of texts_add.
void texts_both(struct texts *texts, span bytes);
// The side to give the next piece of.
uint8_t texts_next(const struct texts *texts);
// One side goes on with a piece, or with an empty one ends. False: they differ, whatever is
// ignored. No byte of a piece is zero, and of one side the last piece stays where it is until the
// next.
[[nodiscard]] bool texts_add(struct texts *texts, uint8_t side, span piece);
// Both ended, and were the same to the end.
bool texts_ended(const struct texts *texts);
// Then: the least that has to be ignored, of enum copse_text.
uint32_t texts_rule(const struct texts *texts);
// After texts_add said that they differ: the first line of the left text, from 1, that is not in
// the right one; one more than it has, when only the right one goes on.
uint64_t texts_line(const struct texts *texts);
