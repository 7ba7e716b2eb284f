// glob_program: what glob_read.c makes of patterns and glob.c runs. A glob is a row of nodes that
// ends with MATCH; a text is a row of characters, each of which has a class.
#pragma once
#include <stdatomic.h>
#include "base/glob.h"

enum glob_op : uint8_t {
  // Takes one character and goes on to the next node.
  OP_CHARACTER,
  OP_ANY,   // not '/'
  OP_EACH,  // '/' too
  OP_SET,
  // Takes any number.
  OP_STAR,  // of anything but '/'
  OP_RUN,   // of anything
  // "**/": parts, each with the '/' after it.
  OP_DEEP,     // between parts; the next node is DEEP_IN, the one after it what follows
  OP_DEEP_IN,  // inside a part
  // "/**": parts, each with the '/' before it, or none.
  OP_TAIL,      // before the '/'; the next nodes are TAIL_PART and TAIL_IN
  OP_TAIL_ALL,  // the same where the glob begins: there is no '/'
  OP_TAIL_PART,
  OP_TAIL_IN,
  // As DEEP and DEEP_IN, for all globs that match at any depth.
  OP_FLOAT,
  OP_FLOAT_IN,
  OP_MATCH,
};

struct glob_node {
  enum glob_op op;
  uint32_t value;  // CHARACTER: its class; SET: its number; MATCH: the glob's
};

// Characters of one class are alike to every node.
struct glob_class {
  uint32_t first;  // up to the next one's
  uint32_t number;
};

constexpr size_t GLOB_MATCHERS = 64;

struct globs {
  size_t count, words;
  bool by_bytes, nocase, no_dot;
  struct glob_node *nodes;
  uint32_t nodes_count;
  uint32_t *begins, *floats;  // where anchored and floating globs begin
  uint32_t begins_count, floats_count;
  uint32_t classes, slash, dot, leading_dot;  // how many, and which
  uint32_t of_byte[256];     // by_bytes: of every byte; else of ASCII, and folded where nocase
  struct glob_class *spans;  // in order of `first`, which begins with zero
  size_t spans_count;
  uint64_t *sets;  // a bit for each class, set_words each
  size_t set_words;
  _Atomic(struct matcher *) idle[GLOB_MATCHERS];
};

uint32_t glob_class_of(const struct globs *globs, uint32_t character);
uint32_t glob_fold(uint32_t character);  // the lower case of one that has a case
// The lower ones of [first, last], a range at a time from *at = 0 on; false: no more. Upper ones
// may lie between them.
bool glob_fold_range(size_t *at, uint32_t first, uint32_t last, uint32_t *lower_first,
                     uint32_t *lower_last);
