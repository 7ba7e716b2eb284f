// filter: all globs are one set, so that an entry is looked at once: its name, from where the
// directory's path led to.
#include "tree/filter.h"

#include <stdlib.h>

#include "base/glob.h"
#include "base/record.h"
#include "copse.h"

struct filter {
  struct globs *globs;
  bool includes;  // some glob is an include
  // Bit sets behind the struct: the excludes, the includes, those that mean any type.
  size_t words;
  uint64_t bits[];
};

static span rule_read(span pattern, bool *only_directories) {
  if (pattern.size >= 2 && pattern.at[0] == '.' && pattern.at[1] == '/')
    pattern = (span){pattern.at + 2, pattern.size - 2};
  size_t begin = pattern.size && pattern.at[0] == '/';  // kept: it says where
  while (pattern.size > begin && pattern.at[pattern.size - 1] == '/') {
    *only_directories = true;
    pattern.size--;
  }
  return pattern.size > begin ? pattern : (span){};
}

static uint64_t *excluding(struct filter *filter) { return filter->bits; }
static uint64_t *including(struct filter *filter) { return filter->bits + filter->words; }
static uint64_t *any_type(struct filter *filter) { return filter->bits + 2 * filter->words; }

static int32_t rules_read(struct filter *filter, span request, struct glob_source *sources,
                          struct fault *fault) {
  size_t count = 0;
  struct field field;
  while (record_next(&request, &field, fault) == 1) {
    if (field.key != COPSE_KEY_INCLUDE && field.key != COPSE_KEY_EXCLUDE) continue;
    bool include = field.key == COPSE_KEY_INCLUDE, only_directories = false;
    sources[count].pattern = rule_read(field.bytes, &only_directories);
    if (sources[count].pattern.size == 0)
      return fault_set(fault, COPSE_E_ARGUMENT, "an empty glob");
    uint64_t bit = 1ull << (count % 64);
    (include ? including(filter) : excluding(filter))[count / 64] |= bit;
    if (!only_directories) any_type(filter)[count / 64] |= bit;
    filter->includes = filter->includes || include;
    count++;
  }
  return globs_compile(sources, count, GLOB_RULES, 0, &filter->globs, fault);
}

int32_t filter_compile(span request, struct filter **out, struct fault *fault) {
  *out = nullptr;
  size_t count = 0;
  span rest = request;
  struct field field;
  while (record_next(&rest, &field, fault) == 1)
    count += field.key == COPSE_KEY_INCLUDE || field.key == COPSE_KEY_EXCLUDE;
  if (count == 0) return 0;
  size_t words = count / 64 + 1;
  struct filter *filter = calloc(1, sizeof *filter + 3 * words * sizeof(uint64_t));
  struct glob_source *sources = calloc(count, sizeof *sources);
  int32_t code = filter && sources ? 0 : fault_set(fault, COPSE_E_MEMORY, "out of memory");
  if (code == 0) {
    filter->words = words;
    code = rules_read(filter, request, sources, fault);
  }
  free(sources);
  if (code == 0)
    *out = filter;
  else
    filter_free(filter);
  return code;
}

void filter_free(struct filter *filter) {
  if (!filter) return;
  globs_free(filter->globs);
  free(filter);
}

int32_t sieve_begin(struct sieve *sieve, struct filter *filter, span directory,
                    struct fault *fault) {
  *sieve = (struct sieve){.filter = filter, .rules = matcher_take(filter->globs)};
  if (!sieve->rules) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  matcher_enter(sieve->rules, directory);
  return 0;
}

void sieve_end(struct sieve *sieve) { matcher_give(sieve->rules); }

struct verdict sieve_entry(struct sieve *sieve, span name, bool is_directory, bool inside) {
  const struct filter *filter = sieve->filter;
  const uint64_t *matched = matcher_below(sieve->rules, name);
  size_t words = filter->words;
  uint64_t excluded = 0, included = 0;
  for (size_t i = 0; i < words; i++) {
    uint64_t counts = matched[i] & (is_directory ? UINT64_MAX : filter->bits[2 * words + i]);
    excluded |= counts & filter->bits[i];
    included |= counts & filter->bits[words + i];
  }
  if (excluded) return (struct verdict){};
  inside = inside || included;
  return (struct verdict){!filter->includes || inside, is_directory, inside};
}
