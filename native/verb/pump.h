// pump: the content of one file from one store to another.
#pragma once
#include "verb/run.h"

struct pump {
  struct directory *from, *to;  // held
  const struct entry *source;   // HAS_STAT
  struct wanted wanted;
  // nullptr, or what has to have the name still when it is taken away from it: CHANGED, and it
  // stays.
  const struct entry *replaced;
  struct hash *hash;  // nullptr, or begun: gets the content as it was read, in order
  // What is replaced, HAS_STAT, a file whose content may be used for the new one; nullptr: none.
  const struct entry *old;
  bool searches;     // also where it costs more than it brings, and all through the old file
  uint64_t saved;    // of `bytes`, what the old file had already
  uint64_t bytes;    // of content, when it went well
  uint64_t resumed;  // of these, what an interrupted run had brought already
};

// Copies and commits. CHANGED when the source is not, after it was read, what it was when it was
// listed: then nothing has its name. Holes stay holes where both sides can say so. spot->side says
// whose fault it is.
int32_t pump_file(struct spot *spot, struct pump *pump, struct fault *fault);
// The same from a reader that is open, and is ended by the caller; `from` is not looked at.
int32_t pump_reader(struct spot *spot, struct pump *pump, struct reader *reader,
                    struct fault *fault);
// Whether two files have the same content. Never "yes" about one that changed meanwhile.
int32_t pump_compare(struct spot *spot, const struct entry *left, const struct entry *right,
                     bool *is_same, struct fault *fault);
