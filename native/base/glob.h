// glob: patterns over paths. '?' one character, '*' any run within a part, '**' as a whole part any
// number of parts (none too), [abc] [a-z] [!a] [^a] sets, {a,b} alternatives (nested), '\' takes
// the next character literally. Characters are UTF-8 code points where the bytes are UTF-8, single
// bytes where not. A dot needs no special mention. Matching takes linear time in the path for a
// given pattern: alternatives are expanded when compiled (at most 256), and stars never backtrack
// more than one level.
#pragma once
#include "base/arena.h"
#include "base/fault.h"
#include "base/span.h"

struct glob;

// ARGUMENT with a sentence for a set or brace that is not closed, a '\' at the end, too many
// alternatives.
int32_t glob_compile(span pattern, struct arena *arena, struct glob **out, struct fault *fault);
bool glob_has_slash(
    const struct glob *glob);  // matched against the whole path, else against one name
bool glob_match(const struct glob *glob, span text);
