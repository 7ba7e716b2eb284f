// ignore: files that say what does not belong to a tree, as git reads a .gitignore. Those of nearer
// directories win over farther ones, and the last line that matches over those before it. Nothing
// below an ignored directory can come back: it is not entered.
#pragma once
#include "store/store.h"

struct globs;

struct ignore {
  struct ignore *above;  // of a farther directory; nullptr: none
  size_t base;           // bytes of the path of the directory it is about
  struct globs *globs;   // a line each
  // Bit sets of lines behind the struct: those that bring back, those that mean any type.
  size_t words;
  uint64_t bits[];
};

// *out is nullptr when the text says nothing. `base`, `above`: as in the struct.
int32_t ignore_read(span text, size_t base, struct ignore *above, struct ignore **out,
                    struct fault *fault);
void ignore_free(struct ignore *ignore);  // this one only; nullptr is fine
// Adds the content of one file and a line's end to `text`, which comes from malloc.
int32_t ignore_load(struct directory *directory, const struct entry *entry, uint8_t **text,
                    size_t *size, struct fault *fault);
