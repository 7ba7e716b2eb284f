// pattern: see pattern.h.
#include "tree/pattern.h"

#include <stdlib.h>

#include "base/record.h"
#include "copse.h"

uint32_t bit_next(const uint64_t *bits, uint32_t at, uint32_t end) {
  while (at < end) {
    uint64_t word = bits[at / 64] >> (at % 64);
    if (word) {
      at += (uint32_t)__builtin_ctzll(word);
      return at < end ? at : end;
    }
    at = (at / 64 + 1) * 64;
  }
  return end;
}

// ── Reading a request ──

struct reading {
  struct patterns *patterns;
  struct arena *arena;
  struct piece *pieces;               // room for all of them
  struct glob_source *own, *entries;  // as they come; equal ones are one
  bool *forbids;                      // for each of `entries`
  uint32_t own_count;
};

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

// The number of an equal glob of the same use, or a new one. Patterns have few, so they are looked
// through. A forbidden one is never a file's, because it counts directories, too.
static uint32_t entry_glob(struct reading *reading, span pattern, bool forbids) {
  uint32_t *count = &reading->patterns->glob_count;
  for (uint32_t i = 0; i < *count; i++)
    if (reading->forbids[i] == forbids && span_equal(reading->entries[i].pattern, pattern))
      return i;
  reading->forbids[*count] = forbids;
  reading->entries[*count] = (struct glob_source){.pattern = pattern};
  return (*count)++;
}

static uint32_t own_glob(struct reading *reading, span pattern) {
  for (uint32_t i = 0; i < reading->own_count; i++)
    if (span_equal(reading->own[i].pattern, pattern)) return i;
  reading->own[reading->own_count] = (struct glob_source){.pattern = pattern};
  return reading->own_count++;
}

static int32_t count_all(span request, uint32_t *nodes, uint32_t *pieces, uint32_t *roots,
                         struct fault *fault) {
  size_t counts[3] = {};
  struct field field, inner;
  while (record_next(&request, &field, fault) == 1) {
    counts[2] += field.key == COPSE_KEY_PATTERN;
    if (field.key != COPSE_KEY_NODE) continue;
    counts[0]++;
    span rest = field.bytes;
    while (record_next(&rest, &inner, fault) == 1) counts[1]++;
  }
  if (counts[0] > NODES_MAX || counts[2] > NODES_MAX)
    return fault_set(fault, COPSE_E_ARGUMENT, "patterns have at most %u directories in all",
                     NODES_MAX);
  if (counts[1] > PIECES_MAX)
    return fault_set(fault, COPSE_E_ARGUMENT, "patterns have at most %u globs in all", PIECES_MAX);
  *nodes = (uint32_t)counts[0];
  *pieces = (uint32_t)counts[1];
  *roots = (uint32_t)counts[2];
  return 0;
}

static uint32_t bounded(uint64_t number) { return number < NO_BOUND ? (uint32_t)number : NO_BOUND; }

// The fields of one node that have `key`, each with the bounds behind it.
static int32_t read_pieces(struct reading *reading, span record, uint16_t key, uint32_t node,
                           struct pieces *out, struct fault *fault) {
  struct patterns *patterns = reading->patterns;
  out->at = reading->pieces;
  struct field field;
  struct piece *last = nullptr;
  while (record_next(&record, &field, fault) == 1) {
    if (field.key == COPSE_NODE_MIN || field.key == COPSE_NODE_MAX) {
      if (!last) continue;
      *(field.key == COPSE_NODE_MIN ? &last->min : &last->max) = bounded(field.number);
      continue;
    }
    last = nullptr;
    if (field.key != key) continue;
    last = &out->at[out->count++];
    *last = (struct piece){.min = key == COPSE_NODE_FORBIDDEN ? 0 : 1,
                           .max = key == COPSE_NODE_FORBIDDEN ? 0 : NO_BOUND};
    if (key == COPSE_NODE_DIRECTORY) {
      if (field.number >= node)
        return fault_set(fault, COPSE_E_ARGUMENT, "a pattern names a directory that is not there");
      last->what = (uint32_t)field.number;
      bit_set(patterns->below + (size_t)node * patterns->node_words, last->what);
    } else {
      last->what = entry_glob(reading, field.bytes, key == COPSE_NODE_FORBIDDEN);
    }
  }
  reading->pieces += out->count;
  return 0;
}

static void add_weight(uint32_t *weight, uint64_t more) {
  uint64_t sum = *weight + more;
  *weight = sum < WEIGHT_MAX ? (uint32_t)sum : WEIGHT_MAX;
}

static int32_t read_node(struct reading *reading, span record, uint32_t at, struct fault *fault) {
  struct patterns *patterns = reading->patterns;
  struct pattern_node *node = &patterns->nodes[at];
  struct field name;
  *node = (struct pattern_node){.name = NO_BOUND, .any_name = true};
  if (record_find(record, COPSE_NODE_NAME, COPSE_FIELD_TEXT, &name)) {
    node->name = own_glob(reading, name.bytes);
    node->any_name = span_equal(name.bytes, SPAN("*"));
    bit_set(patterns->named + (size_t)node->name * patterns->node_words, at);
  } else {
    bit_set(patterns->unnamed, at);
  }
  int32_t code = read_pieces(reading, record, COPSE_NODE_FILE, at, &node->files, fault);
  if (code == 0)
    code = read_pieces(reading, record, COPSE_NODE_FORBIDDEN, at, &node->forbidden, fault);
  if (code == 0)
    code = read_pieces(reading, record, COPSE_NODE_DIRECTORY, at, &node->directories, fault);
  if (code < 0) return code;
  for (uint32_t i = 0; i < node->files.count; i++)
    add_weight(&node->weight, node->files.at[i].min > 0);
  for (uint32_t i = 0; i < node->directories.count; i++) {
    const struct piece *piece = &node->directories.at[i];
    if (piece->min > 0) add_weight(&node->weight, 1ull + patterns->nodes[piece->what].weight);
    node->waits = node->waits || piece->min > 0 || piece->max < NO_BOUND;
  }
  patterns->looks_at_directories = patterns->looks_at_directories || node->forbidden.count > 0;
  return 0;
}

static int32_t read_all(struct reading *reading, span request, struct fault *fault) {
  struct patterns *patterns = reading->patterns;
  uint32_t node = 0, root = 0;
  span rest = request;
  struct field field;
  while (record_next(&rest, &field, fault) == 1) {
    if (field.key == COPSE_KEY_NODE) {
      int32_t code = read_node(reading, field.bytes, node++, fault);
      if (code < 0) return code;
    } else if (field.key == COPSE_KEY_PATTERN) {
      if (field.number >= patterns->node_count)
        return fault_set(fault, COPSE_E_ARGUMENT, "a pattern that is not there");
      patterns->root[root++] = (uint32_t)field.number;
      bit_set(patterns->roots, (uint32_t)field.number);
    }
  }
  return 0;
}

static uint64_t *take_words(struct arena *arena, size_t words) {
  uint64_t *at = arena_take(arena, (words ? words : 1) * sizeof *at);
  if (at) memset(at, 0, (words ? words : 1) * sizeof *at);
  return at;
}

int32_t patterns_compile(span request, struct arena *arena, struct patterns **out,
                         struct fault *fault) {
  uint32_t nodes, pieces, roots;
  int32_t code = count_all(request, &nodes, &pieces, &roots, fault);
  if (code < 0) return code;
  struct patterns *patterns = arena_take(arena, sizeof *patterns);
  if (!patterns) return no_memory(fault);
  *patterns =
      (struct patterns){.node_count = nodes, .node_words = (nodes + 63) / 64, .root_count = roots};
  *out = patterns;
  struct reading reading = {.patterns = patterns, .arena = arena};
  size_t words = patterns->node_words;
  patterns->nodes = arena_take(arena, (nodes + 1) * sizeof *patterns->nodes);
  patterns->root = arena_take(arena, (roots + 1) * sizeof *patterns->root);
  patterns->below = take_words(arena, words * nodes);
  patterns->named = take_words(arena, words * nodes);
  patterns->unnamed = take_words(arena, words);
  patterns->roots = take_words(arena, words);
  reading.pieces = arena_take(arena, (pieces + 1) * sizeof *reading.pieces);
  reading.own = arena_take(arena, (nodes + 1) * sizeof *reading.own);
  reading.entries = arena_take(arena, (pieces + 1) * sizeof *reading.entries);
  reading.forbids = arena_take(arena, (pieces + 1) * sizeof *reading.forbids);
  if (!patterns->nodes || !patterns->root || !patterns->below || !patterns->named ||
      !patterns->unnamed || !patterns->roots || !reading.pieces || !reading.own ||
      !reading.entries || !reading.forbids)
    return no_memory(fault);
  code = read_all(&reading, request, fault);
  if (code < 0) return code;
  patterns->glob_words = (patterns->glob_count + 63) / 64;
  patterns->forbidden = take_words(arena, patterns->glob_words);
  if (!patterns->forbidden) return no_memory(fault);
  for (uint32_t i = 0; i < patterns->glob_count; i++)
    if (reading.forbids[i]) bit_set(patterns->forbidden, i);
  code = globs_compile(reading.own, reading.own_count, GLOB_NAMES, 0, &patterns->own, fault);
  if (code < 0) return code;
  return globs_compile(reading.entries, patterns->glob_count, GLOB_NAMES, 0, &patterns->entries,
                       fault);
}

void patterns_free(struct patterns *patterns) {
  if (!patterns) return;
  globs_free(patterns->own);
  globs_free(patterns->entries);
  patterns->own = patterns->entries = nullptr;
}

// ── Matching ──

void patterns_name(const struct patterns *patterns, struct matcher *own, span name,
                   uint64_t *nodes) {
  size_t words = patterns->node_words;
  for (size_t w = 0; w < words; w++) nodes[w] |= patterns->unnamed[w];
  const uint64_t *fits = matcher_match(own, name);
  uint32_t globs = (uint32_t)globs_count(patterns->own);
  for (uint32_t i = bit_next(fits, 0, globs); i < globs; i = bit_next(fits, i + 1, globs))
    for (size_t w = 0; w < words; w++) nodes[w] |= patterns->named[i * words + w];
}

bool piece_fits(const struct piece *piece, uint32_t found) {
  return found >= piece->min && found <= piece->max;
}

bool files_fit(const struct patterns *patterns, uint32_t node, const uint32_t *found) {
  const struct pattern_node *at = &patterns->nodes[node];
  for (uint32_t i = 0; i < at->files.count; i++)
    if (!piece_fits(&at->files.at[i], found[at->files.at[i].what])) return false;
  for (uint32_t i = 0; i < at->forbidden.count; i++)
    if (found[at->forbidden.at[i].what] > 0) return false;
  return true;
}
