#include "tree/filter.h"

#include <stdlib.h>

#include "base/glob.h"
#include "base/record.h"
#include "copse.h"

struct rule {
  struct glob *glob;
  bool whole_path;        // holds a '/', so it is matched against the path
  bool only_directories;  // ended in '/'
};

struct rules {
  struct rule *rule;
  size_t count;
};

struct filter {
  struct rules include, exclude;
  bool wants_path;
};

static int32_t rule_compile(span pattern, struct arena *arena, struct rule *rule,
                            struct fault *fault) {
  if (pattern.size >= 2 && pattern.at[0] == '.' && pattern.at[1] == '/')
    pattern = (span){pattern.at + 2, pattern.size - 2};
  bool anchored = pattern.size && pattern.at[0] == '/';
  if (anchored) pattern = (span){pattern.at + 1, pattern.size - 1};
  *rule = (struct rule){};
  while (pattern.size && pattern.at[pattern.size - 1] == '/') {
    rule->only_directories = true;
    pattern.size--;
  }
  if (pattern.size == 0) return fault_set(fault, COPSE_E_ARGUMENT, "an empty glob");
  int32_t code = glob_compile(pattern, arena, &rule->glob, fault);
  if (code == 0) rule->whole_path = anchored || glob_has_slash(rule->glob);
  return code;
}

int32_t filter_compile(span request, struct arena *arena, struct filter **out,
                       struct fault *fault) {
  *out = nullptr;
  size_t count = 0;
  span rest = request;
  struct field field;
  while (record_next(&rest, &field, fault) == 1)
    count += field.key == COPSE_KEY_INCLUDE || field.key == COPSE_KEY_EXCLUDE;
  if (count == 0) return 0;
  struct filter *filter = arena_take(arena, sizeof *filter);
  struct rule *rule = arena_take(arena, 2 * count * sizeof *rule);
  if (!filter || !rule) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  *filter = (struct filter){.include.rule = rule, .exclude.rule = rule + count};
  rest = request;
  while (record_next(&rest, &field, fault) == 1) {
    if (field.key != COPSE_KEY_INCLUDE && field.key != COPSE_KEY_EXCLUDE) continue;
    struct rules *rules = field.key == COPSE_KEY_INCLUDE ? &filter->include : &filter->exclude;
    struct rule *next = &rules->rule[rules->count++];
    int32_t code = rule_compile(field.bytes, arena, next, fault);
    if (code < 0) return code;
    filter->wants_path = filter->wants_path || next->whole_path;
  }
  *out = filter;
  return 0;
}

bool filter_wants_path(const struct filter *filter) { return filter->wants_path; }

static bool any(const struct rules *rules, span path, span name, bool is_directory) {
  for (size_t i = 0; i < rules->count; i++) {
    const struct rule *rule = &rules->rule[i];
    if (rule->only_directories && !is_directory) continue;
    if (glob_match(rule->glob, rule->whole_path ? path : name)) return true;
  }
  return false;
}

struct verdict filter_entry(const struct filter *filter, span directory, span name,
                            bool is_directory, bool inside) {
  uint8_t small[1024], *large = nullptr;
  span path = name;
  if (filter->wants_path && directory.size) {
    size_t size = directory.size + 1 + name.size;
    uint8_t *at = size <= sizeof small ? small : (large = malloc(size));
    // Without memory for the path nothing is filtered out: showing too much is safer than hiding.
    if (!at) return (struct verdict){true, is_directory, inside};
    memcpy(at, directory.at, directory.size);
    at[directory.size] = '/';
    memcpy(at + directory.size + 1, name.at, name.size);
    path = (span){at, size};
  }
  struct verdict verdict = {};
  if (!any(&filter->exclude, path, name, is_directory)) {
    verdict.descend = is_directory;
    verdict.inside = inside || any(&filter->include, path, name, is_directory);
    verdict.seen = filter->include.count == 0 || verdict.inside;
  }
  free(large);
  return verdict;
}
