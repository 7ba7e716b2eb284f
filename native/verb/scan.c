// scan: a row for each directory and each pattern that it fits, in one walk from below.
//
// When a directory is listed, its names are counted for each glob. What its patterns ask of the
// directories below it is known when the last of those is done, which is when the walk's node of it
// is let go; each then says to the one above what it fits. So a directory is remembered only while
// something below it is pending.
#include "verb/scan.h"

#include <stdlib.h>

#include "base/path.h"
#include "base/record.h"

static int32_t begin(struct run *run, struct fault *fault) {
  struct scan *scan = scan_of(run);
  span request = {run->task->request, run->task->request_len};
  scan->scope = (uint32_t)record_number(request, COPSE_KEY_SCOPE, SCOPE_EVERYWHERE);
  scan->explain = record_number(request, COPSE_KEY_EXPLAIN, 0);
  int32_t code = patterns_compile(request, &run->arena, &scan->patterns, fault);
  if (code < 0) return code;
  code = run_where(run, &scan->root_name, fault);
  scan->root_name = path_name(scan->root_name);
  return code;
}

static void finish(struct run *run) { patterns_free(scan_of(run)->patterns); }

// ── Sites ──

static struct site *site_new(const struct patterns *patterns, bool explain) {
  size_t words = patterns->node_words;
  size_t size = sizeof(struct site) + 3 * words * sizeof(uint64_t) +
                (patterns->glob_count + (size_t)patterns->node_count) * sizeof(uint32_t);
  struct site *site = calloc(1, size);
  if (!site) return nullptr;
  site->asked = (uint64_t *)(site + 1);
  site->open = site->asked + words;
  site->wants = site->open + words;
  site->found = (uint32_t *)(site->wants + words);
  site->below = (_Atomic uint32_t *)(site->found + patterns->glob_count);
  if (explain) mutex_begin(&site->lock);
  return site;
}

static void site_free(struct scan *scan, struct site *site) {
  matcher_give(site->entries);
  if (scan->explain) {
    explain_free(site);
    mutex_end(&site->lock);
  }
  free(site);
}

static struct site *site_above(const struct node *node) {
  return node->parent ? node->parent->state : nullptr;
}

// A directory was listed: what is it to be held against?
static bool enter(struct spot *spot) {
  struct run *run = spot->run;
  struct scan *scan = scan_of(run);
  struct node *node = spot->node;
  const struct patterns *patterns = scan->patterns;
  size_t words = patterns->node_words;
  if (patterns->root_count == 0) return false;
  struct site *site = site_new(patterns, scan->explain);
  struct matcher *own = matcher_take(patterns->own);
  if (!site || !own) {
    matcher_give(own);
    if (site) site_free(scan, site);
    run_out_of_memory(run);
    return false;
  }
  patterns_name(patterns, own, node->parent ? node->name : scan->root_name, site->asked);
  matcher_give(own);
  const struct site *above = site_above(node);
  bool here = scan->scope == SCOPE_EVERYWHERE || !node->parent;
  bool any = false;
  for (size_t w = 0; w < words; w++) {
    site->asked[w] &= (here ? patterns->roots[w] : 0) | (above ? above->wants[w] : 0);
    any = any || site->asked[w];
  }
  if (!any) {
    site_free(scan, site);
    return scan->scope == SCOPE_EVERYWHERE;
  }
  uint32_t end = patterns->node_count;
  for (uint32_t i = bit_next(site->asked, 0, end); i < end; i = bit_next(site->asked, i + 1, end))
    for (size_t w = 0; w < words; w++) site->wants[w] |= patterns->below[i * words + w];
  if (patterns->glob_count > 0 && !(site->entries = matcher_take(patterns->entries))) {
    site_free(scan, site);
    run_out_of_memory(run);
    return false;
  }
  node->state = site;
  return true;
}

// ── Entries ──

static bool any_bit(const uint64_t *bits, const uint64_t *mask, size_t words) {
  for (size_t w = 0; w < words; w++)
    if (bits[w] & (mask ? mask[w] : UINT64_MAX)) return true;
  return false;
}

// A link counts as a file when it leads to one. Whoever follows links has that in the type.
static bool leads_to_file(struct spot *spot, const struct entry *entry, struct site *site) {
  struct directory *directory = spot->node->directory[LEFT];
  struct entry through = *entry;
  struct fault fault = {};
  int32_t code = directory->store->ops->stat(directory, &through, true, &fault);
  if (code == COPSE_E_NOT_FOUND) return false;
  if (code < 0) {
    site->unsure = true;
    spot_error(spot, &fault, entry->name);
    return false;
  }
  return through.type == ENTRY_FILE;
}

// False: not below it.
static bool see(struct spot *spot, const struct pair *pair) {
  struct scan *scan = scan_of(spot->run);
  const struct patterns *patterns = scan->patterns;
  struct site *site = spot->node->state;
  const struct entry *entry = pair->left;
  bool directory = entry->type == ENTRY_DIRECTORY;
  if (entry->type == ENTRY_NONE) {
    struct fault fault = {};
    if (site) site->unsure = true;
    node_trouble(spot->node, LEFT, entry, &fault);
    spot_error(spot, &fault, entry->name);
    return false;
  }
  if (entry->type == ENTRY_FILE) spot->files++;
  if (!site) return scan->scope == SCOPE_EVERYWHERE;
  bool counts = entry->type == ENTRY_FILE || entry->type == ENTRY_LINK ||
                (directory && patterns->looks_at_directories);
  if (counts && site->entries) {
    const uint64_t *fits = matcher_match(site->entries, entry->name);
    size_t words = patterns->glob_words;
    if (any_bit(fits, directory ? patterns->forbidden : nullptr, words) &&
        (entry->type != ENTRY_LINK || leads_to_file(spot, entry, site))) {
      uint32_t end = patterns->glob_count;
      for (uint32_t i = bit_next(fits, 0, end); i < end; i = bit_next(fits, i + 1, end))
        site->found[i] += !directory || bit_get(patterns->forbidden, i);
    }
  }
  if (!directory || scan->scope == SCOPE_EVERYWHERE) return directory;
  return any_bit(site->wants, nullptr, patterns->node_words);
}

static bool asks_nothing(const struct pattern_node *node) {
  return node->files.count + node->forbidden.count + node->directories.count == 0;
}

// It is there, and what is in it stays unknown: it fits what asks for its name only.
static void closed(struct spot *spot, const struct pair *pair) {
  const struct patterns *patterns = scan_of(spot->run)->patterns;
  struct site *site = spot->node->state;
  size_t words = patterns->node_words;
  if (!site || !any_bit(site->wants, nullptr, words)) return;
  struct matcher *own = matcher_take(patterns->own);
  uint64_t *nodes = arena_take(spot->arena, words * sizeof *nodes);
  if (!own || !nodes) {
    matcher_give(own);
    run_out_of_memory(spot->run);
    return;
  }
  memset(nodes, 0, words * sizeof *nodes);
  patterns_name(patterns, own, pair->left->name, nodes);
  matcher_give(own);
  uint32_t end = patterns->node_count;
  for (uint32_t i = bit_next(nodes, 0, end); i < end; i = bit_next(nodes, i + 1, end)) {
    if (!bit_get(site->wants, i)) continue;
    if (asks_nothing(&patterns->nodes[i]))
      atomic_fetch_add_explicit(&site->below[i], 1, memory_order_relaxed);
    else
      atomic_store_explicit(&site->unsure_below, true, memory_order_relaxed);
  }
}

// ── Decisions ──

void scan_emit(struct run *run, struct node *node, uint32_t pattern_node, copse_row *row,
               span detail) {
  const struct scan *scan = scan_of(run);
  const struct patterns *patterns = scan->patterns;
  bool members = scan->scope == SCOPE_MEMBERS;
  if (!members && (node->parent && scan->scope != SCOPE_EVERYWHERE)) return;
  if (!members && !bit_get(patterns->roots, pattern_node)) return;
  size_t size = node_path_size(node);
  uint8_t *path = malloc(size + 1);
  if (!path) {
    run_out_of_memory(run);
    return;
  }
  node_path(node, path);
  if (members) {
    row->extra = pattern_node;
    task_emit(run->task, row, (span){path, size}, (span){}, detail);
  }
  for (uint32_t i = 0; !members && i < patterns->root_count; i++) {
    if (patterns->root[i] != pattern_node) continue;
    row->extra = i;
    task_emit(run->task, row, (span){path, size}, (span){}, detail);
  }
  free(path);
}

// The directory fits the node.
static void fits(struct run *run, struct node *node, uint32_t pattern_node) {
  struct site *above = site_above(node);
  if (above && bit_get(above->wants, pattern_node))
    atomic_fetch_add_explicit(&above->below[pattern_node], 1, memory_order_relaxed);
  copse_row row = {.kind = COPSE_ROW_MATCH,
                   .type = COPSE_TYPE_DIRECTORY,
                   .left_size = COPSE_UNKNOWN,
                   .right_size = COPSE_UNKNOWN,
                   .left_mtime_ns = COPSE_UNKNOWN_TIME,
                   .right_mtime_ns = COPSE_UNKNOWN_TIME};
  scan_emit(run, node, pattern_node, &row, (span){});
}

// What could not be seen might be one too many.
static bool says_at_most(const struct pattern_node *node, bool files) {
  const struct pieces *pieces = files ? &node->files : &node->directories;
  if (files && node->forbidden.count) return true;
  for (uint32_t i = 0; i < pieces->count; i++)
    if (pieces->at[i].max < NO_BOUND) return true;
  return false;
}

// Every entry of the directory was seen.
static void whole(struct spot *spot) {
  const struct patterns *patterns = scan_of(spot->run)->patterns;
  struct site *site = spot->node->state;
  if (!site) return;
  matcher_give(site->entries);
  site->entries = nullptr;
  site->decided = true;
  uint32_t end = patterns->node_count;
  for (uint32_t i = bit_next(site->asked, 0, end); i < end; i = bit_next(site->asked, i + 1, end)) {
    const struct pattern_node *node = &patterns->nodes[i];
    if (!files_fit(patterns, i, site->found) || (site->unsure && says_at_most(node, true)))
      continue;
    bit_set(site->open, i);
    if (!node->waits) fits(spot->run, spot->node, i);
  }
}

static bool directories_fit(const struct pattern_node *node, struct site *site) {
  bool unsure = site->unsure || atomic_load_explicit(&site->unsure_below, memory_order_relaxed);
  if (unsure && says_at_most(node, false)) return false;
  for (uint32_t i = 0; i < node->directories.count; i++) {
    const struct piece *piece = &node->directories.at[i];
    if (!piece_fits(piece, atomic_load_explicit(&site->below[piece->what], memory_order_relaxed)))
      return false;
  }
  return true;
}

// Nothing below the directory is pending.
static void leave(struct run *run, struct node *node) {
  struct scan *scan = scan_of(run);
  const struct patterns *patterns = scan->patterns;
  struct site *site = node->state, *above = site_above(node);
  if (!run_over(run)) {
    bool unsure =
        node->broken || node->cut ||
        (site && (site->unsure || atomic_load_explicit(&site->unsure_below, memory_order_relaxed)));
    if (unsure && above) atomic_store_explicit(&above->unsure_below, true, memory_order_relaxed);
    if (site && node->cut) atomic_store_explicit(&site->unsure_below, true, memory_order_relaxed);
    uint32_t end = site && site->decided ? patterns->node_count : 0;
    for (uint32_t i = end ? bit_next(site->asked, 0, end) : 0; i < end;
         i = bit_next(site->asked, i + 1, end)) {
      const struct pattern_node *wanted = &patterns->nodes[i];
      bool open = bit_get(site->open, i);
      if (open && !wanted->waits) continue;  // said already
      if (open && directories_fit(wanted, site))
        fits(run, node, i);
      else if (scan->explain)
        explain_miss(run, node, i);
    }
  }
  if (site) site_free(scan, site);
  node->state = nullptr;
}

static struct step plan(const struct run *, const struct pair *pair) {
  return (struct step){.pair = *pair, .descend = pair->left->type == ENTRY_DIRECTORY};
}

const struct verb scan_verb = {.name = "scan",
                               .sides = 1,
                               .trees_only = true,
                               .state_size = sizeof(struct scan),
                               .begin = begin,
                               .enter = enter,
                               .see = see,
                               .closed = closed,
                               .whole = whole,
                               .leave = leave,
                               .plan = plan,
                               .close = finish};
