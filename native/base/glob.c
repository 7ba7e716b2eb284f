// glob: see glob.h. A pattern is compiled in two steps: alternatives are written out ("*.{c,h}" is
// "*.c" and
// "*.h"), then each is cut into parts at '/', and each part becomes the cheapest thing that can do
// it: bytes to compare, an ending, a beginning, or a row of tokens.
//
// Both rows, of tokens in a part and of parts in a path, are matched in the same way: go on while
// it fits; where it does not, go back to the last star only and let it take one more. Earlier stars
// never need to give anything back, since what follows them up to the last star was found at its
// first place. So no input is exponential.
#include "base/glob.h"

#include <stdckdint.h>
#include <stdlib.h>

#include "base/character.h"
#include "base/path.h"

constexpr size_t PATTERN_MAX = 4096;      // as long as a path may be
constexpr size_t ALTERNATIVES_MAX = 256;  // each is matched on its own
constexpr size_t NESTED_MAX = 16;         // of braces; the expansion calls itself once a level

enum token_kind : uint8_t { TOKEN_CHARACTER, TOKEN_ANY, TOKEN_STAR, TOKEN_SET };

struct range {
  uint32_t first, last;
};

struct set {
  bool is_negated;
  size_t count;
  struct range ranges[];
};

struct token {
  enum token_kind kind;
  uint32_t character;
  const struct set *set;
};

enum part_kind : uint8_t {
  PART_LITERAL,    // equal bytes
  PART_ENDING,     // "*.c"
  PART_BEGINNING,  // "lib*"
  PART_ALL,        // "*"
  PART_DEEP,       // "**": any number of parts
  PART_TOKENS,
};

struct part {
  enum part_kind kind;
  span bytes;  // of LITERAL, ENDING, BEGINNING
  const struct token *tokens;
  size_t count;
};

struct alternative {
  struct part *parts;
  size_t count;
};

struct glob {
  struct alternative *alternatives;
  size_t count;
  bool has_slash;
};

// ── Matching ──

static bool holds_slash(span text) { return text.size && memchr(text.at, '/', text.size); }

static bool set_holds(const struct set *set, uint32_t character) {
  bool found = false;
  for (size_t i = 0; i < set->count && !found; i++)
    found = character >= set->ranges[i].first && character <= set->ranges[i].last;
  return found != set->is_negated && character != '/';
}

static bool token_fits(const struct token *token, uint32_t character) {
  switch (token->kind) {
    case TOKEN_CHARACTER:
      return token->character == character;
    case TOKEN_ANY:
      return character != '/';
    case TOKEN_SET:
      return set_holds(token->set, character);
    case TOKEN_STAR:
      return false;
  }
  return false;
}

static bool tokens_fit(const struct token *tokens, size_t count, span text) {
  size_t token = 0, at = 0;
  size_t star = SIZE_MAX, star_at = 0;  // the last star and where what follows it is tried
  while (at < text.size) {
    if (token < count && tokens[token].kind == TOKEN_STAR) {
      star = token++;
      star_at = at;
      continue;
    }
    uint32_t character;
    size_t width = character_read((span){text.at + at, text.size - at}, &character);
    if (token < count && token_fits(&tokens[token], character)) {
      token++;
      at += width;
      continue;
    }
    if (star == SIZE_MAX) return false;
    width = character_read((span){text.at + star_at, text.size - star_at}, &character);
    if (character == '/') return false;
    at = star_at += width;
    token = star + 1;
  }
  while (token < count && tokens[token].kind == TOKEN_STAR) token++;
  return token == count;
}

static bool part_fits(const struct part *part, span text) {
  size_t size = part->bytes.size;
  switch (part->kind) {
    case PART_LITERAL:
      return span_equal(part->bytes, text);
    case PART_ENDING:
      return text.size >= size && memcmp(text.at + (text.size - size), part->bytes.at, size) == 0 &&
             !holds_slash((span){text.at, text.size - size});
    case PART_BEGINNING:
      return text.size >= size && memcmp(text.at, part->bytes.at, size) == 0 &&
             !holds_slash((span){text.at + size, text.size - size});
    case PART_ALL:
      return !holds_slash(text);
    case PART_TOKENS:
      return tokens_fit(part->tokens, part->count, text);
    case PART_DEEP:
      return false;
  }
  return false;
}

static bool alternative_fits(const struct alternative *alternative, span text) {
  const struct part *parts = alternative->parts;
  size_t count = alternative->count;
  if (count == 1 && parts[0].kind != PART_DEEP) return text.size && part_fits(&parts[0], text);
  size_t part = 0, deep = SIZE_MAX;
  span rest = text, deep_rest = text, piece;
  for (;;) {
    for (; part < count && parts[part].kind == PART_DEEP; part++) {
      deep = part;
      deep_rest = rest;
    }
    if (part == count && deep < count && deep + 1 == count) return true;
    if (!path_next(&rest, &piece)) return part == count;
    if (part < count && part_fits(&parts[part], piece)) {
      part++;
      continue;
    }
    if (deep == SIZE_MAX) return false;
    path_next(&deep_rest, &piece);
    rest = deep_rest;
    part = deep + 1;
  }
}

bool glob_match(const struct glob *glob, span text) {
  for (size_t i = 0; i < glob->count; i++)
    if (alternative_fits(&glob->alternatives[i], text)) return true;
  return false;
}

bool glob_has_slash(const struct glob *glob) { return glob->has_slash; }

// ── Reading a pattern ──

// The end of the set that begins at `at`, or zero when it is not closed. Looking at single bytes is
// enough here and below: no byte inside a UTF-8 character looks like ours.
static size_t set_end(span pattern, size_t at) {
  at++;
  if (at < pattern.size && (pattern.at[at] == '!' || pattern.at[at] == '^')) at++;
  for (size_t first = at; at < pattern.size; at++) {
    if (pattern.at[at] == ']' && at > first) return at + 1;
    if (pattern.at[at] == '\\') at++;
  }
  return 0;
}

// The end of what begins at `at`: a set, an escaped character's first byte, a byte.
static size_t element_end(span pattern, size_t at) {
  if (pattern.at[at] == '[') return set_end(pattern, at);
  return pattern.at[at] == '\\' ? at + 2 : at + 1;
}

static int32_t wrong(span pattern, struct fault *fault, const char *what) {
  int shown = pattern.size > 80 ? 80 : (int)pattern.size;
  return fault_set(fault, COPSE_E_ARGUMENT, "the pattern '%.*s' %s", shown,
                   (const char *)pattern.at, what);
}

static int32_t pattern_check(span pattern, struct fault *fault) {
  if (pattern.size > PATTERN_MAX) return wrong(pattern, fault, "is longer than 4096 bytes");
  size_t depth = 0;
  for (size_t at = 0; at < pattern.size;) {
    uint8_t byte = pattern.at[at];
    if (byte == '\\' && at + 1 == pattern.size)
      return wrong(pattern, fault,
                   "ends with a '\\': add the character it is for, or write '\\\\'");
    if (byte == '[' && set_end(pattern, at) == 0)
      return wrong(pattern, fault, "has a set that is not closed: add ']' or write '\\['");
    if (byte == '{' && ++depth > NESTED_MAX)
      return wrong(pattern, fault, "has braces more than 16 deep");
    if (byte == '}' && depth > 0) depth--;
    at = element_end(pattern, at);
  }
  if (depth > 0)
    return wrong(pattern, fault, "has a brace that is not closed: add '}' or write '\\{'");
  return 0;
}

// ── Writing out alternatives ──
//
// Every choice of alternatives has a number below the product of the groups' counts, so that one
// can be written without keeping the others.

static size_t group_count(span pattern, size_t *at);

static size_t capped(size_t count) {
  return count > ALTERNATIVES_MAX ? ALTERNATIVES_MAX + 1 : count;
}

// From `at` to the end, or, inside a group, to the ',' or '}' that ends it.
static size_t sequence_count(span pattern, size_t *at, bool is_inside) {
  size_t count = 1;
  while (*at < pattern.size) {
    uint8_t byte = pattern.at[*at];
    if (is_inside && (byte == ',' || byte == '}')) break;
    if (byte == '{')
      count = capped(count * group_count(pattern, at));
    else
      *at = element_end(pattern, *at);
  }
  return count;
}

static size_t group_count(span pattern, size_t *at) {
  size_t count = 0;
  do {
    ++*at;
    count = capped(count + sequence_count(pattern, at, true));
  } while (pattern.at[*at] == ',');
  ++*at;
  return count;
}

struct text {
  uint8_t *at;
  size_t size;
};

static void group_write(span pattern, size_t at, size_t choice, struct text *out);

static void sequence_write(span pattern, size_t at, bool is_inside, size_t choice,
                           struct text *out) {
  while (at < pattern.size) {
    uint8_t byte = pattern.at[at];
    if (is_inside && (byte == ',' || byte == '}')) break;
    size_t begin = at;
    if (byte == '{') {
      size_t count = group_count(pattern, &at);
      group_write(pattern, begin, choice % count, out);
      choice /= count;
    } else {
      at = element_end(pattern, at);
      memcpy(out->at + out->size, pattern.at + begin, at - begin);
      out->size += at - begin;
    }
  }
}

static void group_write(span pattern, size_t at, size_t choice, struct text *out) {
  for (;;) {
    size_t begin = ++at;
    size_t count = sequence_count(pattern, &at, true);
    if (choice < count) {
      sequence_write(pattern, begin, true, choice, out);
      return;
    }
    choice -= count;
  }
}

// ── Compiling one alternative ──

struct compiler {
  struct arena *arena;
  span pattern;  // as the caller wrote it, for messages
  struct fault *fault;
  struct text text;      // the alternative
  struct token *tokens;  // of the part being read
  size_t count;
  struct text bytes;  // its characters without escapes
};

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory while reading a pattern");
}

// A character that may be escaped.
static size_t read_character(span text, size_t at, uint32_t *character) {
  if (text.at[at] == '\\' && at + 1 < text.size) at++;
  return at + character_read((span){text.at + at, text.size - at}, character);
}

static int32_t set_compile(struct compiler *compiler, span text, const struct set **out) {
  text = (span){text.at + 1, text.size - 2};  // without the brackets
  size_t size;
  if (ckd_mul(&size, text.size, sizeof(struct range)) || ckd_add(&size, size, sizeof(struct set)))
    return no_memory(compiler->fault);
  struct set *set = arena_take(compiler->arena, size);
  if (!set) return no_memory(compiler->fault);
  size_t at = text.at[0] == '!' || text.at[0] == '^';
  *set = (struct set){.is_negated = at > 0};
  while (at < text.size) {
    struct range range;
    at = read_character(text, at, &range.first);
    range.last = range.first;
    if (at + 1 < text.size && text.at[at] == '-') at = read_character(text, at + 1, &range.last);
    if (range.last < range.first)
      return wrong(compiler->pattern, compiler->fault, "has a range that runs backwards");
    set->ranges[set->count++] = range;
  }
  *out = set;
  return 0;
}

// What the tokens of the part can do at best.
static enum part_kind kind_of(const struct compiler *compiler) {
  const struct token *tokens = compiler->tokens;
  size_t count = compiler->count, stars = 0;
  for (size_t i = 0; i < count; i++) {
    stars += tokens[i].kind == TOKEN_STAR;
    if (tokens[i].kind == TOKEN_ANY || tokens[i].kind == TOKEN_SET) return PART_TOKENS;
    // Bytes that are no character of their own here may be the half of one in a name.
    if (tokens[i].kind == TOKEN_CHARACTER && tokens[i].character >= CHARACTER_MALFORMED)
      return PART_TOKENS;
  }
  if (stars == 0) return PART_LITERAL;
  if (stars == 1 && count == 1) return PART_ALL;
  if (stars == 1 && tokens[0].kind == TOKEN_STAR) return PART_ENDING;
  if (stars == 1 && tokens[count - 1].kind == TOKEN_STAR) return PART_BEGINNING;
  return PART_TOKENS;
}

static int32_t part_finish(struct compiler *compiler, span source, struct alternative *out) {
  if (compiler->count == 0) return 0;  // an empty part means nothing: "build/" is "build"
  struct part part = {.kind = kind_of(compiler)};
  if (span_equal(source, SPAN("**"))) {
    part.kind = PART_DEEP;
  } else if (part.kind == PART_TOKENS) {
    struct token *tokens = arena_take(compiler->arena, compiler->count * sizeof *tokens);
    if (!tokens) return no_memory(compiler->fault);
    memcpy(tokens, compiler->tokens, compiler->count * sizeof *tokens);
    part.tokens = tokens;
    part.count = compiler->count;
  } else {
    part.bytes = arena_copy(compiler->arena, (span){compiler->bytes.at, compiler->bytes.size});
    if (!part.bytes.at) return no_memory(compiler->fault);
  }
  out->parts[out->count++] = part;
  compiler->count = compiler->bytes.size = 0;
  return 0;
}

static int32_t alternative_compile(struct compiler *compiler, struct alternative *out) {
  span text = {compiler->text.at, compiler->text.size};
  size_t parts = 1;
  for (size_t i = 0; i < text.size; i++) parts += text.at[i] == '/';
  *out = (struct alternative){.parts = arena_take(compiler->arena, parts * sizeof(struct part))};
  if (!out->parts) return no_memory(compiler->fault);
  compiler->count = compiler->bytes.size = 0;
  size_t begin = 0;
  for (size_t at = 0; at < text.size;) {
    struct token token = {.kind = TOKEN_CHARACTER};
    size_t end = at + 1;
    if (text.at[at] == '[') {
      end = set_end(text, at);
      token.kind = TOKEN_SET;
      int32_t code = set_compile(compiler, (span){text.at + at, end - at}, &token.set);
      if (code < 0) return code;
    } else if (text.at[at] == '?') {
      token.kind = TOKEN_ANY;
    } else if (text.at[at] == '*') {
      token.kind = TOKEN_STAR;
    } else {
      end = read_character(text, at, &token.character);
    }
    bool is_slash = token.kind == TOKEN_CHARACTER && token.character == '/';
    if (is_slash) {
      int32_t code = part_finish(compiler, (span){text.at + begin, at - begin}, out);
      if (code < 0) return code;
      begin = end;
    } else {
      if (token.kind == TOKEN_CHARACTER) {
        size_t from = text.at[at] == '\\' ? at + 1 : at;
        memcpy(compiler->bytes.at + compiler->bytes.size, text.at + from, end - from);
        compiler->bytes.size += end - from;
      }
      // Two stars in a row, as a part of a part, are one.
      bool is_again = token.kind == TOKEN_STAR && compiler->count > 0 &&
                      compiler->tokens[compiler->count - 1].kind == TOKEN_STAR;
      if (!is_again) compiler->tokens[compiler->count++] = token;
    }
    at = end;
  }
  return part_finish(compiler, (span){text.at + begin, text.size - begin}, out);
}

int32_t glob_compile(span pattern, struct arena *arena, struct glob **out, struct fault *fault) {
  int32_t code = pattern_check(pattern, fault);
  if (code < 0) return code;
  size_t at = 0, count = sequence_count(pattern, &at, false);
  if (count > ALTERNATIVES_MAX)
    return wrong(pattern, fault, "has more than 256 alternatives: write several patterns");

  struct glob *glob = arena_take(arena, sizeof *glob);
  struct alternative *alternatives = arena_take(arena, count * sizeof *alternatives);
  if (!glob || !alternatives) return no_memory(fault);
  *glob = (struct glob){.alternatives = alternatives, .count = count};
  struct compiler compiler = {.arena = arena, .pattern = pattern, .fault = fault};
  compiler.text.at = malloc(pattern.size + 1);
  compiler.bytes.at = malloc(pattern.size + 1);
  compiler.tokens = malloc((pattern.size + 1) * sizeof(struct token));
  if (!compiler.text.at || !compiler.bytes.at || !compiler.tokens) code = no_memory(fault);
  for (size_t i = 0; code == 0 && i < count; i++) {
    compiler.text.size = 0;
    sequence_write(pattern, 0, false, i, &compiler.text);
    code = alternative_compile(&compiler, &alternatives[i]);
    bool is_anchored = compiler.text.size && compiler.text.at[0] == '/';
    glob->has_slash = glob->has_slash || is_anchored || alternatives[i].count > 1;
  }
  free(compiler.tokens);
  free(compiler.bytes.at);
  free(compiler.text.at);
  if (code == 0) *out = glob;
  return code;
}
