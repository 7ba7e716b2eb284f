// glob: many patterns at once over names or paths. A set of globs is compiled into one automaton
// whose states are made when they are first needed, so that a text is read once, whatever the
// number of globs, in linear time, and memory is bounded: a full cache is thrown away.
//
// In all kinds: '?' one character, '*' any run of them, [abc] [a-z] [!a] [^a] sets, '\' takes the
// next character literally. Characters are UTF-8 code points where the bytes are UTF-8, single
// bytes where not. What differs:
//
//   NAMES   one name. {a,b} alternatives (nested, empty ones too); '*' and '?' take any character;
//           an unclosed '[' and a '\' at the end stand for themselves.
//   PATHS   whole paths. As NAMES, but '*', '?' and sets never take a '/'; '**' as a whole part is
//           any number of parts: "a/**" is all below a, "**/b" is b at any depth.
//   RULES   include and exclude. As PATHS, but empty parts mean nothing ("/a", "a/" are "a"),
//   "a/**"
//           is a itself too, and a glob without '/' is looked for at any depth.
//   IGNORE  what a line of a .gitignore holds after its marks are taken off: as PATHS, without
//           alternatives, byte by byte, with [[:alpha:]]; a malformed one matches nothing.
//
// In NAMES, PATHS and RULES anything else that is malformed is ARGUMENT with a sentence.
#pragma once
#include "base/fault.h"
#include "base/span.h"

enum glob_kind : uint8_t { GLOB_NAMES, GLOB_PATHS, GLOB_RULES, GLOB_IGNORE };

enum glob_option : uint32_t {
  GLOB_NOCASE = 1 << 0,  // upper and lower case are one (Unicode's simple folding)
  GLOB_NO_DOT = 1 << 1,  // a '.' that begins a name is only matched by a '.'
};

struct glob_source {
  span pattern;
  bool floats;  // matches at any depth; of RULES it is found out
};

struct globs;    // compiled; does not change, so any threads may share it
struct matcher;  // one thread's automaton over such a set

// Copies what it needs of the patterns. No glob at all is fine.
int32_t globs_compile(const struct glob_source *sources, size_t count, enum glob_kind kind,
                      uint32_t options, struct globs **out, struct fault *fault);
void globs_free(struct globs *globs);  // every matcher was given back; nullptr is fine
size_t globs_count(const struct globs *globs);
size_t globs_words(const struct globs *globs);  // of a bit set with a bit for each glob

// Matchers are kept by their set and used again, with what they learned. nullptr: out of memory.
[[nodiscard]] struct matcher *matcher_take(struct globs *globs);
void matcher_give(struct matcher *matcher);  // nullptr is fine

// The globs that match: a bit each, valid until the next call. Never fails.
const uint64_t *matcher_match(struct matcher *matcher, span text);
// The same for many texts below one directory: after matcher_enter, the text is directory/name.
void matcher_enter(struct matcher *matcher, span directory);
const uint64_t *matcher_below(struct matcher *matcher, span name);

static inline bool globs_has(const uint64_t *bits, size_t glob) {
  return bits[glob / 64] >> (glob % 64) & 1;
}
