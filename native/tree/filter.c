// filter: all globs are one set, so that an entry is looked at once: its name, from where the
// directory's path led to.
#include "tree/filter.h"

#include <stdlib.h>

#include "base/glob.h"
#include "base/record.h"
#include "copse.h"
#include "tree/ignore.h"

struct filter {
  struct globs *globs;
  bool includes;  // some glob is an include, and takes nothing back
  // Bit sets behind the struct: the excludes, the includes, those that mean any type, those that
  // take back what one before them said.
  size_t words;
  uint64_t bits[];
};

static span rule_read(span pattern, bool *only_directories, bool *takes_back) {
  *takes_back = pattern.size && pattern.at[0] == '!';
  if (*takes_back) pattern = (span){pattern.at + 1, pattern.size - 1};
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
static uint64_t *taking_back(struct filter *filter) { return filter->bits + 3 * filter->words; }

static int32_t rules_read(struct filter *filter, span request, struct glob_source *sources,
                          struct fault *fault) {
  size_t count = 0;
  struct field field;
  while (record_next(&request, &field, fault) == 1) {
    if (field.key != COPSE_KEY_INCLUDE && field.key != COPSE_KEY_EXCLUDE) continue;
    bool include = field.key == COPSE_KEY_INCLUDE, only_directories = false, takes_back;
    sources[count].pattern = rule_read(field.bytes, &only_directories, &takes_back);
    if (sources[count].pattern.size == 0)
      return fault_set(fault, COPSE_E_ARGUMENT, "an empty glob");
    uint64_t bit = 1ull << (count % 64);
    (include ? including(filter) : excluding(filter))[count / 64] |= bit;
    if (!only_directories) any_type(filter)[count / 64] |= bit;
    if (takes_back) taking_back(filter)[count / 64] |= bit;
    filter->includes = filter->includes || (include && !takes_back);
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
  struct filter *filter = calloc(1, sizeof *filter + 4 * words * sizeof(uint64_t));
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

// ── At one directory ──

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

static int32_t levels_begin(struct sieve *sieve, const struct ignore *ignore, span directory,
                            struct fault *fault) {
  size_t count = 0;
  for (const struct ignore *at = ignore; at; at = at->above) count++;
  sieve->levels = count <= SIEVE_LEVELS ? sieve->few : calloc(count, sizeof *sieve->levels);
  if (!sieve->levels) return no_memory(fault);
  for (; ignore; ignore = ignore->above) {
    struct matcher *matcher = matcher_take(ignore->globs);
    if (!matcher) return no_memory(fault);
    sieve->levels[sieve->levels_count++] = (struct sieve_level){ignore, matcher};
    span below = directory;
    if (ignore->base) {
      size_t skip = directory.size > ignore->base ? ignore->base + 1 : directory.size;
      below = (span){directory.at + skip, directory.size - skip};
    }
    matcher_enter(matcher, below);
  }
  return 0;
}

int32_t sieve_begin(struct sieve *sieve, const struct filter *filter, const struct ignore *ignore,
                    span directory, struct fault *fault) {
  *sieve = (struct sieve){.filter = filter};
  sieve->levels = sieve->few;
  if (filter) {
    sieve->rules = matcher_take(filter->globs);
    if (!sieve->rules) return no_memory(fault);
    matcher_enter(sieve->rules, directory);
  }
  return ignore ? levels_begin(sieve, ignore, directory, fault) : 0;
}

void sieve_end(struct sieve *sieve) {
  matcher_give(sieve->rules);
  for (size_t i = 0; i < sieve->levels_count; i++) matcher_give(sieve->levels[i].matcher);
  if (sieve->levels != sieve->few) free(sieve->levels);
}

// The last line that matches decides, and a level where none does leaves it to the next.
static bool is_ignored(const struct sieve *sieve, span name, bool is_directory) {
  for (size_t level = 0; level < sieve->levels_count; level++) {
    const struct ignore *ignore = sieve->levels[level].ignore;
    const uint64_t *matched = matcher_below(sieve->levels[level].matcher, name);
    for (size_t i = ignore->words; i-- > 0;) {
      uint64_t counts = matched[i];
      if (!is_directory) counts &= ignore->bits[ignore->words + i];
      if (counts == 0) continue;
      uint64_t last = 1ull << (63 - __builtin_clzll(counts));
      return !(ignore->bits[i] & last);
    }
  }
  return false;
}

// What the last rule of a kind that matches says; without one, what holds already.
static bool is_said(const struct filter *filter, const uint64_t *matched, const uint64_t *kind,
                    bool is_directory, bool holds) {
  size_t words = filter->words;
  for (size_t i = words; i-- > 0;) {
    uint64_t counts = matched[i] & kind[i];
    if (!is_directory) counts &= filter->bits[2 * words + i];
    if (counts == 0) continue;
    uint64_t last = 1ull << (63 - __builtin_clzll(counts));
    return !(filter->bits[3 * words + i] & last);
  }
  return holds;
}

struct verdict sieve_entry(struct sieve *sieve, span name, bool is_directory, bool inside) {
  if (is_ignored(sieve, name, is_directory)) return (struct verdict){};
  const struct filter *filter = sieve->filter;
  if (!filter) return (struct verdict){true, is_directory, inside};
  const uint64_t *matched = matcher_below(sieve->rules, name);
  if (is_said(filter, matched, filter->bits, is_directory, false)) return (struct verdict){};
  bool all = !filter->includes;
  bool included =
      is_said(filter, matched, filter->bits + filter->words, is_directory, inside || all);
  if (!all) return (struct verdict){included, is_directory, included};
  return included ? (struct verdict){true, is_directory, inside} : (struct verdict){};
}
