// path: relative paths inside a store, '/' between the parts, bytes as the store gave them.
#pragma once
#include "base/fault.h"
#include "base/span.h"

// A path from outside that will be resolved below a root: relative, no empty, "." or ".." part, no
// NUL, no '/' at the end. The empty path is the root itself and is safe. UNSAFE_PATH with the
// reason otherwise.
int32_t path_safe(span path, struct fault *fault);
// Takes the next part off the front of `rest`; false at the end. Skips empty parts.
bool path_next(span *rest, span *part);
span path_name(span path);    // last part
span path_parent(span path);  // what is before the last part, without the '/'; empty at the top
