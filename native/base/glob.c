// glob: see glob.h. A state of the automaton is the set of nodes where globs may be after what was
// read. It is made when it is first reached, and found again by its nodes. Its row in the table has
// a place for each class of characters (zero: not known yet) after one for the globs it accepts.
#include "base/glob.h"

#include <stdckdint.h>
#include <stdlib.h>

#include "base/character.h"
#include "base/glob_program.h"

// A cache that would grow beyond this is emptied. Sets of names and ignore files need a few dozen
// KiB; what needs more has states that are seldom seen twice.
constexpr size_t CACHE_BYTES = 4 << 20;
// An empty cache has room for the states that are in use at one time, so that matching never fails.
constexpr size_t STATES_LEAST = 6;

struct state {
  uint32_t nodes_at, nodes_count;
  uint32_t hash;
};

struct matcher {
  struct globs *globs;
  uint32_t stride;       // of a row
  uint32_t *table;       // rows; a state is known by where its row begins
  struct state *states;  // by row
  uint32_t *nodes;       // of all states
  uint64_t *accepts;     // bit sets; the first is empty
  uint32_t *slots;       // hash table of row + 1
  size_t states_count, states_room, nodes_count, nodes_room, accepts_count, accepts_room;
  size_t slots_room;      // a power of two
  uint32_t *next, *keep;  // nodes of the state being made, and of the one entered
  uint32_t next_count, keep_count;
  uint32_t *marks, mark;  // nodes that are in `next`
  uint32_t start, below;  // states: nothing was read; the directory was
};

constexpr uint32_t ROW_DEAD = 1;  // times the stride; row zero is nobody's

// ── Making states ──

static void add_node(struct matcher *matcher, uint32_t node) {
  const struct globs *globs = matcher->globs;
  for (;;) {
    if (matcher->marks[node] == matcher->mark) return;
    matcher->marks[node] = matcher->mark;
    matcher->next[matcher->next_count++] = node;
    switch (globs->nodes[node].op) {
      case OP_STAR:
      case OP_RUN:
      case OP_TAIL_IN:
        node += 1;
        continue;
      case OP_DEEP:
        node += 2;
        continue;
      case OP_TAIL:
      case OP_TAIL_ALL:
        node += 3;
        continue;
      case OP_FLOAT:
        for (uint32_t i = 0; i < globs->floats_count; i++) add_node(matcher, globs->floats[i]);
        return;
      default:
        return;
    }
  }
}

static void next_begin(struct matcher *matcher) {
  matcher->next_count = 0;
  if (++matcher->mark == 0) {  // it went around
    memset(matcher->marks, 0, matcher->globs->nodes_count * sizeof *matcher->marks);
    matcher->mark = 1;
  }
}

static void next_of_start(struct matcher *matcher) {
  const struct globs *globs = matcher->globs;
  next_begin(matcher);
  for (uint32_t i = 0; i < globs->begins_count; i++) add_node(matcher, globs->begins[i]);
  if (globs->floats_count) add_node(matcher, 0);
}

static void next_of(struct matcher *matcher, const struct state *state, uint32_t class) {
  const struct globs *globs = matcher->globs;
  bool leads = class == globs->leading_dot;
  uint32_t literal = leads ? globs->dot : class;
  bool slash = class == globs->slash, wild = !leads, part = wild && !slash;
  next_begin(matcher);
  for (uint32_t i = 0; i < state->nodes_count; i++) {
    uint32_t at = matcher->nodes[state->nodes_at + i];
    const struct glob_node *node = &globs->nodes[at];
    switch (node->op) {
      case OP_CHARACTER:
        if (node->value == literal) add_node(matcher, at + 1);
        break;
      case OP_ANY:
      case OP_DEEP:
      case OP_FLOAT:
      case OP_TAIL_PART:
        if (part) add_node(matcher, at + 1);
        break;
      case OP_EACH:
        if (wild) add_node(matcher, at + 1);
        break;
      case OP_SET: {
        const uint64_t *set = globs->sets + node->value * globs->set_words;
        if (wild && globs_has(set, class)) add_node(matcher, at + 1);
        break;
      }
      case OP_STAR:
        if (part) add_node(matcher, at);
        break;
      case OP_RUN:
        if (wild) add_node(matcher, at);
        break;
      case OP_TAIL:
        if (slash) add_node(matcher, at + 1);
        break;
      case OP_TAIL_ALL:
        if (part) add_node(matcher, at + 2);
        break;
      case OP_DEEP_IN:
      case OP_FLOAT_IN:
      case OP_TAIL_IN:
        if (slash) add_node(matcher, at - 1);
        if (part) add_node(matcher, at);
        break;
      case OP_MATCH:
        break;
    }
  }
}

// Nodes mostly come in order already.
static void next_sort(struct matcher *matcher) {
  uint32_t *nodes = matcher->next;
  for (uint32_t i = 1; i < matcher->next_count; i++) {
    uint32_t node = nodes[i], j = i;
    for (; j > 0 && nodes[j - 1] > node; j--) nodes[j] = nodes[j - 1];
    nodes[j] = node;
  }
}

static bool grow(void **array, size_t *room, size_t needed, size_t size) {
  if (needed <= *room) return true;
  size_t more = *room * 2 > needed ? *room * 2 : needed, bytes;
  if (ckd_mul(&bytes, more, size) || bytes > CACHE_BYTES) return false;
  void *larger = realloc(*array, bytes);
  if (!larger) return false;
  *array = larger;
  *room = more;
  return true;
}

static bool grow_states(struct matcher *matcher) {
  size_t needed = matcher->states_count + 1, room = matcher->states_room;
  if (needed > room) {
    size_t rows = room;
    if (!grow((void **)&matcher->table, &rows, needed, matcher->stride * sizeof *matcher->table))
      return false;
    void *states = realloc(matcher->states, rows * sizeof *matcher->states);
    if (!states) return false;
    matcher->states = states;
    matcher->states_room = rows;
  }
  if (2 * needed <= matcher->slots_room) return true;
  size_t slots_room = matcher->slots_room * 2;
  uint32_t *slots = calloc(slots_room, sizeof *slots);
  if (!slots) return false;
  for (uint32_t row = 0; row < matcher->states_count; row++) {
    if (row == 0) continue;
    size_t slot = matcher->states[row].hash & (slots_room - 1);
    while (slots[slot]) slot = (slot + 1) & (slots_room - 1);
    slots[slot] = row + 1;
  }
  free(matcher->slots);
  matcher->slots = slots;
  matcher->slots_room = slots_room;
  return true;
}

static uint32_t hash_of(const uint32_t *nodes, uint32_t count) {
  uint64_t hash = 0x9E3779B97F4A7C15u + count;
  for (uint32_t i = 0; i < count; i++) {
    hash = (hash ^ nodes[i]) * 0xD6E8FEB86659FD93u;
    hash ^= hash >> 32;
  }
  return (uint32_t)hash;
}

// The state of `next`, old or new. False: there is no room for a new one.
static bool intern(struct matcher *matcher, uint32_t *out) {
  const struct globs *globs = matcher->globs;
  next_sort(matcher);
  uint32_t hash = hash_of(matcher->next, matcher->next_count);
  size_t size = matcher->next_count * sizeof *matcher->next;
  size_t slot = hash & (matcher->slots_room - 1);
  for (; matcher->slots[slot]; slot = (slot + 1) & (matcher->slots_room - 1)) {
    uint32_t row = matcher->slots[slot] - 1;
    const struct state *state = &matcher->states[row];
    if (state->hash != hash || state->nodes_count != matcher->next_count) continue;
    if (size && memcmp(matcher->nodes + state->nodes_at, matcher->next, size) != 0) continue;
    *out = row * matcher->stride;
    return true;
  }
  bool accepts = false;
  for (uint32_t i = 0; i < matcher->next_count && !accepts; i++)
    accepts = globs->nodes[matcher->next[i]].op == OP_MATCH;
  if (!grow_states(matcher) ||
      !grow((void **)&matcher->nodes, &matcher->nodes_room,
            matcher->nodes_count + matcher->next_count, sizeof *matcher->nodes) ||
      !grow((void **)&matcher->accepts, &matcher->accepts_room,
            matcher->accepts_count + (accepts ? globs->words : 0), sizeof *matcher->accepts))
    return false;
  uint32_t row = (uint32_t)matcher->states_count++;
  matcher->states[row] = (struct state){(uint32_t)matcher->nodes_count, matcher->next_count, hash};
  if (size) memcpy(matcher->nodes + matcher->nodes_count, matcher->next, size);
  matcher->nodes_count += matcher->next_count;
  uint32_t *cells = matcher->table + (size_t)row * matcher->stride;
  memset(cells, 0, matcher->stride * sizeof *cells);
  if (accepts) {
    cells[0] = (uint32_t)matcher->accepts_count;
    uint64_t *bits = matcher->accepts + matcher->accepts_count;
    memset(bits, 0, globs->words * sizeof *bits);
    for (uint32_t i = 0; i < matcher->next_count; i++) {
      const struct glob_node *node = &globs->nodes[matcher->next[i]];
      if (node->op == OP_MATCH) bits[node->value / 64] |= 1ull << (node->value % 64);
    }
    matcher->accepts_count += globs->words;
  }
  slot = hash & (matcher->slots_room - 1);
  while (matcher->slots[slot]) slot = (slot + 1) & (matcher->slots_room - 1);
  matcher->slots[slot] = row + 1;
  *out = row * matcher->stride;
  return true;
}

// An empty cache: nobody's row, the dead one, the start and the directory entered. There is room
// for them.
static void cache_begin(struct matcher *matcher) {
  memset(matcher->slots, 0, matcher->slots_room * sizeof *matcher->slots);
  memset(matcher->table, 0, matcher->stride * sizeof *matcher->table);
  memset(matcher->accepts, 0, matcher->globs->words * sizeof *matcher->accepts);
  matcher->states[0] = (struct state){};
  matcher->states_count = 1;
  matcher->nodes_count = 0;
  matcher->accepts_count = matcher->globs->words;
  uint32_t dead;
  next_begin(matcher);
  (void)intern(matcher, &dead);
  next_of_start(matcher);
  (void)intern(matcher, &matcher->start);
  next_begin(matcher);
  for (uint32_t i = 0; i < matcher->keep_count; i++) add_node(matcher, matcher->keep[i]);
  (void)intern(matcher, &matcher->below);
}

// Where `from` goes with a character of this class, which was not known. `keep` is used for what
// was made when the cache has to be emptied, so that what it held is carried over.
static uint32_t step(struct matcher *matcher, uint32_t from, uint32_t class) {
  next_of(matcher, &matcher->states[from / matcher->stride], class);
  uint32_t to;
  if (intern(matcher, &to)) {
    matcher->table[from + 1 + class] = to;
    return to;
  }
  uint32_t count = matcher->next_count;
  uint32_t *made = matcher->keep + matcher->globs->nodes_count;
  memcpy(made, matcher->next, count * sizeof *made);
  cache_begin(matcher);
  next_begin(matcher);
  for (uint32_t i = 0; i < count; i++) add_node(matcher, made[i]);
  (void)intern(matcher, &to);
  return to;
}

// ── Reading texts ──

uint32_t glob_class_of(const struct globs *globs, uint32_t character) {
  size_t low = 0, high = globs->spans_count;
  while (high - low > 1) {
    size_t middle = (low + high) / 2;
    if (globs->spans[middle].first <= character)
      low = middle;
    else
      high = middle;
  }
  return globs->spans[low].number;
}

static size_t read_class(const struct globs *globs, span text, uint32_t *class) {
  uint32_t character;
  size_t size = character_read(text, &character);
  *class = glob_class_of(globs, globs->nocase ? glob_fold(character) : character);
  return size;
}

static uint32_t run(struct matcher *matcher, uint32_t state, span text) {
  const struct globs *globs = matcher->globs;
  const uint8_t *at = text.at, *end = text.at + text.size;
  uint32_t least = ROW_DEAD * matcher->stride;
  const uint32_t *table = matcher->table + 1;
  while (at < end) {
    uint32_t class = globs->of_byte[*at];
    if (class != UINT32_MAX) {
      at++;
    } else {
      at += read_class(globs, (span){at, (size_t)(end - at)}, &class);
    }
    uint32_t next = table[state + class];
    if (next <= least) {
      if (next == least) return least;
      next = step(matcher, state, class);
      table = matcher->table + 1;
    }
    state = next;
  }
  return state;
}

// The same, where a '.' that begins a name is a character of its own.
static uint32_t run_dots(struct matcher *matcher, uint32_t state, span text) {
  const struct globs *globs = matcher->globs;
  bool begins = true;
  for (size_t at = 0; at < text.size;) {
    uint32_t class = globs->of_byte[text.at[at]];
    if (class == UINT32_MAX)
      at += read_class(globs, (span){text.at + at, text.size - at}, &class);
    else
      at++;
    if (begins && class == globs->dot) class = globs->leading_dot;
    begins = class == globs->slash;
    uint32_t next = matcher->table[state + 1 + class];
    state = next ? next : step(matcher, state, class);
  }
  return state;
}

static const uint64_t *match(struct matcher *matcher, uint32_t state, span text) {
  bool dots = matcher->globs->no_dot;
  state = dots ? run_dots(matcher, state, text) : run(matcher, state, text);
  return matcher->accepts + matcher->table[state];
}

const uint64_t *matcher_match(struct matcher *matcher, span text) {
  return match(matcher, matcher->start, text);
}

const uint64_t *matcher_below(struct matcher *matcher, span name) {
  return match(matcher, matcher->below, name);
}

void matcher_enter(struct matcher *matcher, span directory) {
  matcher->keep_count = 0;
  uint32_t state = matcher->start;
  if (directory.size) {
    bool dots = matcher->globs->no_dot;
    state = dots ? run_dots(matcher, state, directory) : run(matcher, state, directory);
    uint32_t class = matcher->globs->slash;
    uint32_t next = matcher->table[state + 1 + class];
    state = next ? next : step(matcher, state, class);
  }
  const struct state *entered = &matcher->states[state / matcher->stride];
  matcher->below = state;
  matcher->keep_count = entered->nodes_count;
  if (entered->nodes_count)
    memcpy(matcher->keep, matcher->nodes + entered->nodes_at,
           entered->nodes_count * sizeof *matcher->keep);
}

// ── Matchers ──

static void matcher_free(struct matcher *matcher) {
  free(matcher->table);
  free(matcher->states);
  free(matcher->nodes);
  free(matcher->accepts);
  free(matcher->slots);
  free(matcher->next);
  free(matcher->keep);
  free(matcher->marks);
  free(matcher);
}

static struct matcher *matcher_new(struct globs *globs) {
  struct matcher *matcher = calloc(1, sizeof *matcher);
  if (!matcher) return nullptr;
  size_t nodes = globs->nodes_count ? globs->nodes_count : 1;
  // One more cell than there are classes, and the leading dot is one of those.
  *matcher = (struct matcher){.globs = globs,
                              .stride = globs->classes + 1,
                              .states_room = STATES_LEAST,
                              .nodes_room = STATES_LEAST * nodes,
                              .accepts_room = STATES_LEAST * globs->words,
                              .slots_room = 4 * STATES_LEAST > 32 ? 64 : 32};
  matcher->table = calloc(matcher->states_room * matcher->stride, sizeof *matcher->table);
  matcher->states = calloc(matcher->states_room, sizeof *matcher->states);
  matcher->nodes = malloc(matcher->nodes_room * sizeof *matcher->nodes);
  matcher->accepts = malloc(matcher->accepts_room * sizeof *matcher->accepts);
  matcher->slots = malloc(matcher->slots_room * sizeof *matcher->slots);
  matcher->next = malloc(nodes * sizeof *matcher->next);
  matcher->keep = malloc(2 * nodes * sizeof *matcher->keep);
  matcher->marks = calloc(nodes, sizeof *matcher->marks);
  if (!matcher->table || !matcher->states || !matcher->nodes || !matcher->accepts ||
      !matcher->slots || !matcher->next || !matcher->keep || !matcher->marks) {
    matcher_free(matcher);
    return nullptr;
  }
  cache_begin(matcher);
  return matcher;
}

struct matcher *matcher_take(struct globs *globs) {
  for (size_t i = 0; i < GLOB_MATCHERS; i++) {
    if (!atomic_load_explicit(&globs->idle[i], memory_order_relaxed)) continue;
    struct matcher *matcher =
        atomic_exchange_explicit(&globs->idle[i], nullptr, memory_order_acquire);
    if (matcher) return matcher;
  }
  return matcher_new(globs);
}

void matcher_give(struct matcher *matcher) {
  if (!matcher) return;
  for (size_t i = 0; i < GLOB_MATCHERS; i++) {
    struct matcher *none = nullptr;
    if (atomic_compare_exchange_strong_explicit(&matcher->globs->idle[i], &none, matcher,
                                                memory_order_release, memory_order_relaxed))
      return;
  }
  matcher_free(matcher);
}

size_t globs_count(const struct globs *globs) { return globs->count; }
size_t globs_words(const struct globs *globs) { return globs->words; }

void globs_free(struct globs *globs) {
  if (!globs) return;
  for (size_t i = 0; i < GLOB_MATCHERS; i++) {
    struct matcher *matcher = atomic_load_explicit(&globs->idle[i], memory_order_acquire);
    if (matcher) matcher_free(matcher);
  }
  free(globs->nodes);
  free(globs->begins);
  free(globs->floats);
  free(globs->spans);
  free(globs->sets);
  free(globs);
}
