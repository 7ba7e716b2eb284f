// glob_read: patterns become nodes, in three steps: alternatives are written out ("*.{c,h}" is
// "*.c" and "*.h"), each becomes a row of tokens, and those become nodes as the kind of glob wants.
// When all are read, characters that no node tells apart get one class.
#include <stdckdint.h>
#include <stdlib.h>

#include "base/character.h"
#include "base/glob_program.h"

constexpr size_t PATTERN_MAX = 4096;       // as long as a path may be
constexpr size_t ALTERNATIVES_MAX = 256;   // of one glob
constexpr size_t NESTED_MAX = 16;          // of braces; the expansion calls itself once a level
constexpr size_t NODES_MAX = 1 << 22;      // of a set: a million and more for each megabyte
constexpr size_t SETS_KEPT = 32;           // equal sets among the last ones are one
constexpr size_t SETS_WORK_MAX = 1 << 27;  // words looked at to find out what sets tell apart
constexpr uint32_t CHARACTERS = CHARACTER_MALFORMED + 256;

struct range {
  uint32_t first, last;
};

struct set {
  bool negated, takes_slash;
  uint32_t ranges_at, ranges_count;
};

enum token_kind : uint8_t { TOKEN_CHARACTER, TOKEN_ANY, TOKEN_STARS, TOKEN_SET };

struct token {
  enum token_kind kind;
  uint32_t value;  // a character, how many stars, a set's number
};

// An array that grows.
struct list {
  void *at;
  size_t count, room, size;
};

struct reader {
  struct globs *globs;
  enum glob_kind kind;
  uint32_t options;
  struct fault *fault;
  span pattern;   // as the caller wrote it, for messages
  uint8_t *text;  // an alternative
  size_t text_size;
  struct token *tokens;  // of the alternative
  size_t tokens_count;
  bool never;  // malformed, of a kind that then matches nothing
  struct list nodes, begins, floats, sets, ranges, cuts;
};

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory while reading globs");
}

static void *list_add(struct list *list) {
  if (list->count == list->room) {
    size_t room = list->room ? list->room * 2 : 64, bytes;
    void *larger = ckd_mul(&bytes, room, list->size) ? nullptr : realloc(list->at, bytes);
    if (!larger) return nullptr;
    list->at = larger;
    list->room = room;
  }
  return (uint8_t *)list->at + list->count++ * list->size;
}

// ── Looking at a pattern ──

static bool is_lenient(const struct reader *reader) {
  return reader->kind == GLOB_NAMES || reader->kind == GLOB_IGNORE;
}

// The end of "[:name:]" that begins at `at`, or zero.
static size_t named_end(span pattern, size_t at) {
  size_t end = at + 2;
  while (end < pattern.size && pattern.at[end] != ']') end++;
  if (end >= pattern.size || end < at + 3 || pattern.at[end - 1] != ':') return 0;
  return end + 1;
}

// The end of the set that begins at `at`, or zero when it is not closed. Looking at single bytes is
// enough here and below: no byte inside a UTF-8 character looks like ours.
static size_t set_end(const struct reader *reader, span pattern, size_t at) {
  at++;
  if (at < pattern.size && (pattern.at[at] == '!' || pattern.at[at] == '^')) at++;
  for (size_t first = at; at < pattern.size; at++) {
    if (pattern.at[at] == ']' && at > first) return at + 1;
    if (pattern.at[at] == '\\') {
      at++;
    } else if (reader->kind == GLOB_IGNORE && pattern.at[at] == '[' && at + 1 < pattern.size &&
               pattern.at[at + 1] == ':') {
      size_t end = named_end(pattern, at);
      if (end) at = end - 1;
    }
  }
  return 0;
}

// The end of what begins at `at`: a set, an escaped character's first byte, a byte.
static size_t element_end(const struct reader *reader, span pattern, size_t at) {
  if (pattern.at[at] == '[') {
    size_t end = set_end(reader, pattern, at);
    return end ? end : at + 1;
  }
  return pattern.at[at] == '\\' && at + 1 < pattern.size ? at + 2 : at + 1;
}

static int32_t wrong(const struct reader *reader, const char *what) {
  span pattern = reader->pattern;
  int shown = pattern.size > 80 ? 80 : (int)pattern.size;
  return fault_set(reader->fault, COPSE_E_ARGUMENT, "the pattern '%.*s' %s", shown,
                   (const char *)pattern.at, what);
}

static int32_t pattern_check(const struct reader *reader) {
  span pattern = reader->pattern;
  if (pattern.size > PATTERN_MAX) return wrong(reader, "is longer than 4096 bytes");
  if (reader->kind == GLOB_IGNORE) return 0;
  size_t depth = 0;
  for (size_t at = 0; at < pattern.size;) {
    uint8_t byte = pattern.at[at];
    if (byte == '\\' && at + 1 == pattern.size && !is_lenient(reader))
      return wrong(reader, "ends with a '\\': add the character it is for, or write '\\\\'");
    if (byte == '[' && !is_lenient(reader) && set_end(reader, pattern, at) == 0)
      return wrong(reader, "has a set that is not closed: add ']' or write '\\['");
    if (byte == '{' && ++depth > NESTED_MAX) return wrong(reader, "has braces more than 16 deep");
    if (byte == '}' && depth > 0) depth--;
    at = element_end(reader, pattern, at);
  }
  if (depth > 0) return wrong(reader, "has a brace that is not closed: add '}' or write '\\{'");
  return 0;
}

// ── Writing out alternatives ──
//
// Every choice of alternatives has a number below the product of the groups' counts, so that one
// can be written without keeping the others.

static size_t group_count(const struct reader *reader, size_t *at);

static size_t capped(size_t count) {
  return count > ALTERNATIVES_MAX ? ALTERNATIVES_MAX + 1 : count;
}

// From `at` to the end, or, inside a group, to the ',' or '}' that ends it.
static size_t sequence_count(const struct reader *reader, size_t *at, bool is_inside) {
  span pattern = reader->pattern;
  size_t count = 1;
  while (*at < pattern.size) {
    uint8_t byte = pattern.at[*at];
    if (is_inside && (byte == ',' || byte == '}')) break;
    if (byte == '{' && reader->kind != GLOB_IGNORE)
      count = capped(count * group_count(reader, at));
    else
      *at = element_end(reader, pattern, *at);
  }
  return count;
}

static size_t group_count(const struct reader *reader, size_t *at) {
  size_t count = 0;
  do {
    ++*at;
    count = capped(count + sequence_count(reader, at, true));
  } while (reader->pattern.at[*at] == ',');
  ++*at;
  return count;
}

static void group_write(struct reader *reader, size_t at, size_t choice);

static void sequence_write(struct reader *reader, size_t at, bool is_inside, size_t choice) {
  span pattern = reader->pattern;
  while (at < pattern.size) {
    uint8_t byte = pattern.at[at];
    if (is_inside && (byte == ',' || byte == '}')) break;
    size_t begin = at;
    if (byte == '{' && reader->kind != GLOB_IGNORE) {
      size_t count = group_count(reader, &at);
      group_write(reader, begin, choice % count);
      choice /= count;
    } else {
      at = element_end(reader, pattern, at);
      memcpy(reader->text + reader->text_size, pattern.at + begin, at - begin);
      reader->text_size += at - begin;
    }
  }
}

static void group_write(struct reader *reader, size_t at, size_t choice) {
  for (;;) {
    size_t begin = ++at;
    size_t count = sequence_count(reader, &at, true);
    if (choice < count) {
      sequence_write(reader, begin, true, choice);
      return;
    }
    choice -= count;
  }
}

// ── Sets ──

static bool range_add(struct reader *reader, uint32_t first, uint32_t last) {
  struct range *range = list_add(&reader->ranges);
  if (range) *range = (struct range){first, last};
  return range;
}

// With NOCASE texts are read in lower case: the lower ones of a range belong to it.
static bool range_put(struct reader *reader, uint32_t first, uint32_t last) {
  if (!range_add(reader, first, last)) return false;
  if (!(reader->options & GLOB_NOCASE)) return true;
  uint32_t lower_first, lower_last;
  for (size_t at = 0; glob_fold_range(&at, first, last, &lower_first, &lower_last);)
    if (!range_add(reader, lower_first, lower_last)) return false;
  return true;
}

static const struct {
  const char *name;
  const char *ranges;  // pairs
} named[] = {
    {"alnum", "09AZaz"},   {"alpha", "AZaz"},   {"blank", "  \t\t"}, {"cntrl", "\1\x1f\x7f\x7f"},
    {"digit", "09"},       {"graph", "!~"},     {"lower", "az"},     {"print", " ~"},
    {"punct", "!/:@[`{~"}, {"space", "\t\r  "}, {"upper", "AZ"},     {"xdigit", "09AFaf"},
};

static int32_t named_put(struct reader *reader, span name) {
  for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
    if (!span_equal(name, span_of(named[i].name))) continue;
    for (const char *at = named[i].ranges; *at; at += 2)
      if (!range_put(reader, (uint8_t)at[0], (uint8_t)at[1])) return no_memory(reader->fault);
    return 0;
  }
  reader->never = true;
  return 0;
}

static size_t read_one(const struct reader *reader, span text, size_t at, uint32_t *character) {
  if (reader->kind != GLOB_IGNORE)
    return at + character_read((span){text.at + at, text.size - at}, character);
  uint8_t byte = text.at[at];
  *character = byte < 0x80 ? byte : CHARACTER_MALFORMED + byte;
  return at + 1;
}

// A character that may be escaped.
static size_t read_character(const struct reader *reader, span text, size_t at,
                             uint32_t *character) {
  if (text.at[at] == '\\' && at + 1 < text.size) at++;
  return read_one(reader, text, at, character);
}

static bool sets_equal(const struct reader *reader, const struct set *left,
                       const struct set *right) {
  const struct range *ranges = reader->ranges.at;
  return left->negated == right->negated && left->takes_slash == right->takes_slash &&
         left->ranges_count == right->ranges_count &&
         (left->ranges_count == 0 || memcmp(ranges + left->ranges_at, ranges + right->ranges_at,
                                            left->ranges_count * sizeof *ranges) == 0);
}

static int32_t set_read(struct reader *reader, span text, uint32_t *out) {
  text = (span){text.at + 1, text.size - 2};  // without the brackets
  struct set set = {.takes_slash = reader->kind == GLOB_NAMES,
                    .ranges_at = (uint32_t)reader->ranges.count};
  size_t at = text.at[0] == '!' || text.at[0] == '^';
  set.negated = at > 0;
  while (at < text.size) {
    size_t end = reader->kind == GLOB_IGNORE && text.at[at] == '[' && at + 1 < text.size &&
                         text.at[at + 1] == ':'
                     ? named_end(text, at)
                     : 0;
    if (end) {
      int32_t code = named_put(reader, (span){text.at + at + 2, end - at - 4});
      if (code < 0) return code;
      at = end;
      continue;
    }
    struct range range;
    at = read_character(reader, text, at, &range.first);
    range.last = range.first;
    if (at + 1 < text.size && text.at[at] == '-')
      at = read_character(reader, text, at + 1, &range.last);
    if (range.last < range.first) {
      if (reader->kind != GLOB_IGNORE) return wrong(reader, "has a range that runs backwards");
      range.last = range.first;  // git has taken that one before it sees the '-'
    }
    if (!range_put(reader, range.first, range.last)) return no_memory(reader->fault);
  }
  set.ranges_count = (uint32_t)(reader->ranges.count - set.ranges_at);
  struct set *sets = reader->sets.at;
  size_t oldest = reader->sets.count > SETS_KEPT ? reader->sets.count - SETS_KEPT : 0;
  for (size_t i = reader->sets.count; i-- > oldest;) {
    if (!sets_equal(reader, &sets[i], &set)) continue;
    reader->ranges.count = set.ranges_at;
    *out = (uint32_t)i;
    return 0;
  }
  struct set *kept = list_add(&reader->sets);
  if (!kept) return no_memory(reader->fault);
  *kept = set;
  *out = (uint32_t)(reader->sets.count - 1);
  return 0;
}

// ── An alternative: tokens, then nodes ──

static int32_t tokens_read(struct reader *reader) {
  span text = {reader->text, reader->text_size};
  reader->tokens_count = 0;
  reader->never = false;
  for (size_t at = 0; at < text.size;) {
    struct token token = {.kind = TOKEN_CHARACTER};
    size_t end = text.at[at] == '[' ? set_end(reader, text, at) : 0;
    if (end) {
      token.kind = TOKEN_SET;
      int32_t code = set_read(reader, (span){text.at + at, end - at}, &token.value);
      if (code < 0) return code;
    } else if (text.at[at] == '?') {
      token.kind = TOKEN_ANY;
      end = at + 1;
    } else if (text.at[at] == '*') {
      token.kind = TOKEN_STARS;
      for (end = at; end < text.size && text.at[end] == '*'; end++) token.value++;
    } else {
      bool malformed = text.at[at] == '[' || (text.at[at] == '\\' && at + 1 == text.size);
      reader->never = reader->never || (malformed && reader->kind == GLOB_IGNORE);
      end = read_character(reader, text, at, &token.value);
      if (reader->options & GLOB_NOCASE) token.value = glob_fold(token.value);
    }
    reader->tokens[reader->tokens_count++] = token;
    at = end;
  }
  return 0;
}

static int32_t node_add(struct reader *reader, enum glob_op op, uint32_t value) {
  struct glob_node *node = reader->nodes.count < NODES_MAX ? list_add(&reader->nodes) : nullptr;
  if (!node && reader->nodes.count == NODES_MAX)
    return fault_set(reader->fault, COPSE_E_LIMIT,
                     "the globs are too many or too long for one set: use several");
  if (!node) return no_memory(reader->fault);
  *node = (struct glob_node){op, value};
  if (op != OP_CHARACTER) return 0;
  uint32_t *cut = list_add(&reader->cuts);
  if (!cut) return no_memory(reader->fault);
  *cut = value;
  return 0;
}

static bool is_slash(const struct token *token) {
  return token->kind == TOKEN_CHARACTER && token->value == '/';
}

static int32_t token_emit(struct reader *reader, const struct token *token) {
  bool crosses = reader->kind == GLOB_NAMES;
  switch (token->kind) {
    case TOKEN_CHARACTER:
      return node_add(reader, OP_CHARACTER, token->value);
    case TOKEN_ANY:
      return node_add(reader, crosses ? OP_EACH : OP_ANY, 0);
    case TOKEN_STARS:
      return node_add(reader, crosses ? OP_RUN : OP_STAR, 0);
    case TOKEN_SET:
      return node_add(reader, OP_SET, token->value);
  }
  return 0;
}

static bool is_deep(const struct reader *reader, const struct token *token) {
  if (token->kind != TOKEN_STARS) return false;
  return reader->kind == GLOB_IGNORE ? token->value >= 2 : token->value == 2;
}

// git compares what comes before the first special character by itself and matches the rest, so
// that a "**" right after it is at the beginning: "a**/b" is b with or without directories between.
// Where that "**" is in the tokens, or SIZE_MAX.
static size_t early_deep(const struct reader *reader) {
  if (reader->kind != GLOB_IGNORE) return SIZE_MAX;
  size_t at = 0;
  while (at < reader->text_size && !memchr("*?[\\", reader->text[at], 4)) at++;
  const struct token *tokens = reader->tokens;
  if (at == 0 || at >= reader->tokens_count || !is_deep(reader, &tokens[at])) return SIZE_MAX;
  bool whole = at + 1 == reader->tokens_count || is_slash(&tokens[at + 1]);
  return whole && !is_slash(&tokens[at - 1]) ? at : SIZE_MAX;
}

// Slashes stand for themselves. `early`: as early_deep says; `with`: whether it takes something.
static int32_t emit_plain(struct reader *reader, size_t early, bool with) {
  const struct token *tokens = reader->tokens;
  size_t count = reader->tokens_count;
  int32_t code = 0;
  for (size_t i = 0; i < count && code == 0; i++) {
    if (i == early) {
      if (with) code = node_add(reader, OP_RUN, 0);
      if (with && code == 0 && i + 1 < count) code = node_add(reader, OP_CHARACTER, '/');
      i++;
      continue;
    }
    bool whole = reader->kind != GLOB_NAMES && is_deep(reader, &tokens[i]) &&
                 (i == 0 || is_slash(&tokens[i - 1])) &&
                 (i + 1 == count || is_slash(&tokens[i + 1]));
    if (!whole) {
      code = token_emit(reader, &tokens[i]);
    } else if (i + 1 == count) {
      code = node_add(reader, OP_RUN, 0);
    } else {
      // "**/**/" is "**/"
      size_t nodes = reader->nodes.count;
      const struct glob_node *all = reader->nodes.at;
      bool again = i >= 2 && nodes > 0 && all[nodes - 1].op == OP_DEEP_IN;
      if (!again) code = node_add(reader, OP_DEEP, 0);
      if (!again && code == 0) code = node_add(reader, OP_DEEP_IN, 0);
      i++;
    }
  }
  return code;
}

struct part {
  const struct token *tokens;
  size_t count;
};

static bool next_part(const struct reader *reader, size_t *at, struct part *part) {
  const struct token *tokens = reader->tokens;
  while (*at < reader->tokens_count && is_slash(&tokens[*at])) ++*at;
  *part = (struct part){tokens + *at, 0};
  while (*at < reader->tokens_count && !is_slash(&tokens[*at])) ++*at, part->count++;
  return part->count > 0;
}

// Empty parts mean nothing, and the others have at least a character.
static int32_t emit_parts(struct reader *reader) {
  size_t at = 0;
  struct part part, after;
  bool is_first = true, was_deep = false;
  int32_t code = 0;
  for (bool more = next_part(reader, &at, &part); more && code == 0; part = after) {
    more = next_part(reader, &at, &after);
    bool deep = part.count == 1 && is_deep(reader, part.tokens);
    if (deep && more && after.count == 1 && is_deep(reader, after.tokens)) continue;
    if (deep && !more) {
      code = node_add(reader, is_first ? OP_TAIL_ALL : OP_TAIL, 0);
      if (code == 0) code = node_add(reader, OP_TAIL_PART, 0);
      if (code == 0) code = node_add(reader, OP_TAIL_IN, 0);
      break;
    }
    if (!is_first && !was_deep) code = node_add(reader, OP_CHARACTER, '/');
    if (deep) {
      if (code == 0) code = node_add(reader, OP_DEEP, 0);
      if (code == 0) code = node_add(reader, OP_DEEP_IN, 0);
    } else {
      if (code == 0 && part.count == 1 && part.tokens[0].kind == TOKEN_STARS)
        code = node_add(reader, OP_ANY, 0);
      for (size_t i = 0; i < part.count && code == 0; i++)
        code = token_emit(reader, &part.tokens[i]);
    }
    is_first = false;
    was_deep = deep;
  }
  return code;
}

static int32_t alternative_write(struct reader *reader, size_t choice) {
  reader->text_size = 0;
  sequence_write(reader, 0, false, choice);
  return tokens_read(reader);
}

// Whether an alternative of a rule says where it is to be.
static bool has_place(const struct reader *reader) {
  size_t at = 0;
  struct part part;
  if (reader->tokens_count && is_slash(&reader->tokens[0])) return true;
  return next_part(reader, &at, &part) && next_part(reader, &at, &part);
}

static int32_t glob_read(struct reader *reader, const struct glob_source *source, uint32_t number) {
  reader->pattern = source->pattern;
  int32_t code = pattern_check(reader);
  if (code < 0) return code;
  size_t at = 0, count = sequence_count(reader, &at, false);
  if (count > ALTERNATIVES_MAX)
    return wrong(reader, "has more than 256 alternatives: write several patterns");
  bool floats = source->floats;
  if (reader->kind == GLOB_RULES) {
    floats = true;
    for (size_t i = 0; i < count && floats; i++) {
      code = alternative_write(reader, i);
      if (code < 0) return code;
      floats = !has_place(reader);
    }
  }
  for (size_t i = 0; i < count; i++) {
    code = alternative_write(reader, i);
    if (code < 0) return code;
    if (reader->never) continue;
    size_t early = floats ? SIZE_MAX : early_deep(reader);
    for (int with = early == SIZE_MAX; with < 2; with++) {
      uint32_t *begin = list_add(floats ? &reader->floats : &reader->begins);
      if (!begin) return no_memory(reader->fault);
      *begin = (uint32_t)reader->nodes.count;
      code = reader->kind == GLOB_RULES ? emit_parts(reader) : emit_plain(reader, early, with);
      if (code == 0) code = node_add(reader, OP_MATCH, number);
      if (code < 0) return code;
    }
  }
  return 0;
}

// ── Classes ──

static int by_number(const void *left, const void *right) {
  uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
  return (a > b) - (a < b);
}

static size_t sort_once(uint32_t *numbers, size_t count) {
  if (count == 0) return 0;
  qsort(numbers, count, sizeof *numbers, by_number);
  size_t kept = 1;
  for (size_t i = 1; i < count; i++)
    if (numbers[i] != numbers[kept - 1]) numbers[kept++] = numbers[i];
  return kept;
}

static bool holds(const struct reader *reader, const struct set *set, uint32_t character) {
  if (character == '/' && !set->takes_slash) return false;
  if (set->ranges_count == 0) return set->negated;
  const struct range *ranges = (const struct range *)reader->ranges.at + set->ranges_at;
  for (uint32_t i = 0; i < set->ranges_count; i++)
    if (character >= ranges[i].first && character <= ranges[i].last) return !set->negated;
  return set->negated;
}

static int32_t cut_add(struct reader *reader, struct list *borders, uint32_t character) {
  uint32_t *border = character < CHARACTERS ? list_add(borders) : nullptr;
  if (!border) return character < CHARACTERS ? no_memory(reader->fault) : 0;
  *border = character;
  return 0;
}

// Where a class may begin: at each character of a pattern, after it, and at both ends of a range.
static int32_t borders_find(struct reader *reader, struct list *borders) {
  const uint32_t *cuts = reader->cuts.at;
  const struct range *ranges = reader->ranges.at;
  int32_t code = cut_add(reader, borders, 0);
  for (size_t i = 0; i < reader->cuts.count && code == 0; i++) {
    code = cut_add(reader, borders, cuts[i]);
    if (code == 0) code = cut_add(reader, borders, cuts[i] + 1);
  }
  for (size_t i = 0; i < reader->ranges.count && code == 0; i++) {
    code = cut_add(reader, borders, ranges[i].first);
    if (code == 0) code = cut_add(reader, borders, ranges[i].last + 1);
  }
  if (code == 0) borders->count = sort_once(borders->at, borders->count);
  return code;
}

// What no character of a pattern names goes by the sets that hold it: `seen` has those of each such
// class, and `numbers` the class.
struct signatures {
  struct list bits, numbers;
  uint64_t *now;
  size_t words, work;
};

static int32_t class_of_gap(struct reader *reader, struct signatures *signatures, uint32_t first,
                            uint32_t *number) {
  const struct set *sets = reader->sets.at;
  size_t words = signatures->words;
  memset(signatures->now, 0, words * sizeof *signatures->now);
  for (size_t i = 0; i < reader->sets.count; i++)
    if (holds(reader, &sets[i], first)) signatures->now[i / 64] |= 1ull << (i % 64);
  const uint32_t *numbers = signatures->numbers.at;
  signatures->work += (signatures->numbers.count + 1) * words + reader->sets.count;
  if (signatures->work > SETS_WORK_MAX)
    return fault_set(reader->fault, COPSE_E_LIMIT,
                     "the globs have too many different sets for one set: use several");
  for (size_t i = 0; i < signatures->numbers.count; i++) {
    const uint64_t *bits = (const uint64_t *)signatures->bits.at + i * words;
    if (memcmp(bits, signatures->now, words * sizeof *bits) != 0) continue;
    *number = numbers[i];
    return 0;
  }
  uint32_t *kept = list_add(&signatures->numbers);
  if (!kept) return no_memory(reader->fault);
  *kept = *number = reader->globs->classes++;
  for (size_t i = 0; i < words; i++) {
    uint64_t *word = list_add(&signatures->bits);
    if (!word) return no_memory(reader->fault);
    *word = signatures->now[i];
  }
  return 0;
}

static int32_t spans_make(struct reader *reader, const struct list *borders,
                          struct signatures *signatures) {
  struct globs *globs = reader->globs;
  const uint32_t *firsts = borders->at, *cuts = reader->cuts.at;
  size_t cut = 0;
  for (size_t i = 0; i < borders->count; i++) {
    while (cut < reader->cuts.count && cuts[cut] < firsts[i]) cut++;
    struct glob_class *class = &globs->spans[globs->spans_count++];
    class->first = firsts[i];
    if (cut < reader->cuts.count && cuts[cut] == firsts[i]) {
      class->number = globs->classes++;
    } else {
      int32_t code = class_of_gap(reader, signatures, firsts[i], &class->number);
      if (code < 0) return code;
    }
  }
  return 0;
}

static int32_t sets_make(struct reader *reader) {
  struct globs *globs = reader->globs;
  const struct set *sets = reader->sets.at;
  size_t count = reader->sets.count, words;
  globs->set_words = (globs->classes + 63) / 64;
  // A set may be looked at once for each class.
  if (ckd_mul(&words, count, globs->set_words) ||
      (size_t)globs->spans_count > SETS_WORK_MAX / (count + 1))
    return fault_set(reader->fault, COPSE_E_LIMIT,
                     "the globs have too many different sets for one set: use several");
  globs->sets = calloc(words ? words : 1, sizeof *globs->sets);
  if (!globs->sets) return no_memory(reader->fault);
  for (size_t i = 0; i < count; i++) {
    for (size_t k = 0; k < globs->spans_count; k++) {
      uint32_t class = globs->spans[k].number;
      if (holds(reader, &sets[i], globs->spans[k].first))
        globs->sets[i * globs->set_words + class / 64] |= 1ull << (class % 64);
    }
  }
  return 0;
}

static int32_t classes_make(struct reader *reader) {
  struct globs *globs = reader->globs;
  // A '/' and a '.' are always told apart.
  static const uint32_t always[] = {'/', '.'};
  for (size_t i = 0; i < 2; i++) {
    uint32_t *cut = list_add(&reader->cuts);
    if (!cut) return no_memory(reader->fault);
    *cut = always[i];
  }
  reader->cuts.count = sort_once(reader->cuts.at, reader->cuts.count);
  struct list borders = {.size = sizeof(uint32_t)};
  struct signatures signatures = {.bits.size = sizeof(uint64_t),
                                  .numbers.size = sizeof(uint32_t),
                                  .words = reader->sets.count / 64 + 1};
  signatures.now = malloc(signatures.words * sizeof *signatures.now);
  int32_t code = signatures.now ? borders_find(reader, &borders) : no_memory(reader->fault);
  if (code == 0) {
    globs->spans = malloc(borders.count * sizeof *globs->spans);
    code = globs->spans ? spans_make(reader, &borders, &signatures) : no_memory(reader->fault);
  }
  free(borders.at);
  free(signatures.bits.at);
  free(signatures.numbers.at);
  free(signatures.now);
  if (code < 0) return code;
  globs->leading_dot = globs->classes++;
  globs->slash = glob_class_of(globs, '/');
  globs->dot = glob_class_of(globs, '.');
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t character = globs->nocase ? glob_fold(byte) : byte;
    if (byte < 0x80)
      globs->of_byte[byte] = glob_class_of(globs, character);
    else
      globs->of_byte[byte] =
          globs->by_bytes ? glob_class_of(globs, CHARACTER_MALFORMED + byte) : UINT32_MAX;
  }
  for (size_t i = 0; i < globs->nodes_count; i++)
    if (globs->nodes[i].op == OP_CHARACTER)
      globs->nodes[i].value = glob_class_of(globs, globs->nodes[i].value);
  return sets_make(reader);
}

// ── The whole set ──

static int32_t read_all(struct reader *reader, const struct glob_source *sources, size_t count) {
  // The first two nodes stand before all globs that match at any depth.
  int32_t code = node_add(reader, OP_FLOAT, 0);
  if (code == 0) code = node_add(reader, OP_FLOAT_IN, 0);
  for (size_t i = 0; i < count && code == 0; i++)
    code = glob_read(reader, &sources[i], (uint32_t)i);
  struct globs *globs = reader->globs;
  globs->nodes = reader->nodes.at;
  globs->nodes_count = (uint32_t)reader->nodes.count;
  globs->begins = reader->begins.at;
  globs->begins_count = (uint32_t)reader->begins.count;
  globs->floats = reader->floats.at;
  globs->floats_count = (uint32_t)reader->floats.count;
  return code < 0 ? code : classes_make(reader);
}

int32_t globs_compile(const struct glob_source *sources, size_t count, enum glob_kind kind,
                      uint32_t options, struct globs **out, struct fault *fault) {
  struct globs *globs = calloc(1, sizeof *globs);
  if (!globs) return no_memory(fault);
  globs->count = count;
  globs->words = count / 64 + 1;
  globs->by_bytes = kind == GLOB_IGNORE;
  globs->nocase = options & GLOB_NOCASE;
  globs->no_dot = options & GLOB_NO_DOT;
  struct reader reader = {.globs = globs,
                          .kind = kind,
                          .options = options,
                          .fault = fault,
                          .text = malloc(PATTERN_MAX + 1),
                          .tokens = malloc((PATTERN_MAX + 1) * sizeof(struct token)),
                          .nodes.size = sizeof(struct glob_node),
                          .begins.size = sizeof(uint32_t),
                          .floats.size = sizeof(uint32_t),
                          .sets.size = sizeof(struct set),
                          .ranges.size = sizeof(struct range),
                          .cuts.size = sizeof(uint32_t)};
  int32_t code =
      reader.text && reader.tokens ? read_all(&reader, sources, count) : no_memory(fault);
  free(reader.text);
  free(reader.tokens);
  free(reader.sets.at);
  free(reader.ranges.at);
  free(reader.cuts.at);
  if (code < 0)
    globs_free(globs);
  else
    *out = globs;
  return code;
}
