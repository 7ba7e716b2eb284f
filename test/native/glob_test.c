// glob: a table of patterns by hand, then random patterns against a slow matcher that tries
// everything.
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                        \
    }                                                                 \
  } while (0)

#include "base/glob.h"

static struct glob *compile(struct arena *arena, span pattern) {
  struct glob *glob = nullptr;
  struct fault fault = {};
  int32_t code = glob_compile(pattern, arena, &glob, &fault);
  if (code < 0)
    fprintf(stderr, "%.*s: %s\n", (int)pattern.size, (const char *)pattern.at, fault.text);
  CHECK(code == 0);
  return glob;
}

static const struct {
  const char *pattern, *text;
  bool fits;
} table[] = {
    {"a", "a", true},
    {"a", "b", false},
    {"a", "ab", false},
    {"a", "", false},
    {"", "", true},
    {"", "a", false},
    {"*", "a", true},
    {"*", ".a", true},
    {"*", "a/b", false},
    {"*", "", false},
    {"**", "a/b/c", true},
    {"**", "a", true},
    {"**", "", true},
    {"*.c", "a.c", true},
    {"*.c", ".c", true},
    {"*.c", "a.h", false},
    {"*.c", "a/b.c", false},
    {"lib*", "lib", true},
    {"lib*", "libx", true},
    {"lib*", "li", false},
    {"lib*", "lib/x", false},
    {"a*b", "ab", true},
    {"a*b", "axxb", true},
    {"a*b", "axbx", false},
    {"a*b*c", "abbcc", true},
    {"*a*", "xax", true},
    {"a**b", "axb", true},
    {"a**b", "a/b", false},
    {"***", "ab", true},
    {"***", "a/b", false},
    {"?", "a", true},
    {"?", "ab", false},
    {"?", "\xc3\xa9", true},
    {"??", "\xc3\xa9", false},
    {"?", "\xff", true},
    {"??", "\xff\xc3", true},
    {"??", "\xe2\x82", true},
    {"?", "\xf0\x9f\x98\x80", true},
    {"?", "/", false},
    {"*\xa9", "\xc3\xa9", false},
    {"\xc3*", "\xc3\xa9", false},
    {"\xc3*", "\xc3x", true},
    {"\xff", "\xff", true},
    {"[abc]", "b", true},
    {"[abc]", "d", false},
    {"[a-c]x", "bx", true},
    {"[!a-c]", "b", false},
    {"[^a-c]", "d", true},
    {"[]a]", "]", true},
    {"[!]a]", "]", false},
    {"[a-]", "-", true},
    {"[-a]", "-", true},
    {"[\\]]", "]", true},
    {"[a\\-z]", "-", true},
    {"[a\\-z]", "b", false},
    {"[\xc3\xa0-\xc3\xbf]", "\xc3\xa9", true},
    {"[!a]", "\xff", true},
    {"[!a]", "/", false},
    {"[{,}]", ",", true},
    {"[*?]", "x", false},
    {"[*?]", "*", true},
    {"x[/]y", "x/y", false},
    {"{a,b}", "a", true},
    {"{a,b}", "b", true},
    {"{a,b}", "c", false},
    {"{a,{b,c}d}", "cd", true},
    {"{a,{b,c}d}", "c", false},
    {"x{,y}", "x", true},
    {"x{,y}", "xy", true},
    {"{a}", "a", true},
    {"{a,b}{c,d}", "bc", true},
    {"{a,b}{c,d}", "ab", false},
    {"*.{c,h}", "x.h", true},
    {"{a/b,c}", "a/b", true},
    {"{a,b}}", "a}", true},
    {"a,b", "a,b", true},
    {"a}", "a}", true},
    {"{\\,,b}", ",", true},
    {"{[,],b}", ",", true},
    {"\\{a,b}", "{a,b}", true},
    {"\\*", "*", true},
    {"\\*", "a", false},
    {"\\a", "a", true},
    {"\\\\", "\\", true},
    {"\\\xc3\xa9", "\xc3\xa9", true},
    {"a/b", "a/b", true},
    {"a/*", "a/b", true},
    {"a/*", "a/b/c", false},
    {"a/*", "a", false},
    {"a/**", "a/b/c", true},
    {"a/**", "a", true},
    {"a/**", "b", false},
    {"**/a", "a", true},
    {"**/a", "x/y/a", true},
    {"**/a", "x/ya", false},
    {"a/**/b", "a/b", true},
    {"a/**/b", "a/x/y/b", true},
    {"a/**/b", "a/x/y", false},
    {"**/**", "a/b", true},
    {"**/a/**/b", "x/a/a/y/b/b", true},
    {"**/a/**", "x/y/a/z", true},
    {"**/a/**", "x/y/z", false},
    {"**/x.c", "a/b/x.c", true},
    {"/a", "a", true},
    {"/a", "b/a", false},
    {"a/", "a", true},
    {"a//b", "a/b", true},
    {"**/*.c", "a/.c", true},
    {"\\**", "*x", true},
    {"a/\\**/b", "a/x/b", false},
};

static void by_hand(void) {
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    struct arena arena;
    arena_begin(&arena);
    bool fits = glob_match(compile(&arena, span_of(table[i].pattern)), span_of(table[i].text));
    if (fits != table[i].fits) fprintf(stderr, "'%s' on '%s'\n", table[i].pattern, table[i].text);
    CHECK(fits == table[i].fits);
    arena_free(&arena);
  }
}

static void slashes_are_told(void) {
  static const struct {
    const char *pattern;
    bool has;
  } cases[] = {{"a", false},      {"*.c", false}, {"a/b", true},  {"/a", true},
               {"a/", false},     {"**", false},  {"**/a", true}, {"a/**", true},
               {"{a,b/c}", true}, {"[/]", false}, {"", false},    {"{/a,b}", true}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct arena arena;
    arena_begin(&arena);
    CHECK(glob_has_slash(compile(&arena, span_of(cases[i].pattern))) == cases[i].has);
    arena_free(&arena);
  }
}

static void malformed_ones_are_refused(void) {
  static const char *const wrong[] = {"[",
                                      "[a",
                                      "a[]",
                                      "[!]",
                                      "[\\",
                                      "[a\\]",
                                      "{",
                                      "{a",
                                      "{a,{b}",
                                      "a\\",
                                      "{a\\}",
                                      "[z-a]",
                                      "{{{{{{{{{{{{{{{{{a}}}}}}}}}}}}}}}}}",
                                      "{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}"};
  static char long_one[5000];
  memset(long_one, 'a', sizeof long_one - 1);
  for (size_t i = 0; i <= sizeof wrong / sizeof *wrong; i++) {
    const char *pattern = i < sizeof wrong / sizeof *wrong ? wrong[i] : long_one;
    struct arena arena;
    arena_begin(&arena);
    struct glob *glob = nullptr;
    struct fault fault = {};
    CHECK(glob_compile(span_of(pattern), &arena, &glob, &fault) == COPSE_E_ARGUMENT);
    CHECK(fault.text[0]);
    CHECK(!glob);
    arena_free(&arena);
  }
  struct arena arena;
  arena_begin(&arena);
  const struct glob *most = compile(&arena, SPAN("{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}"));
  CHECK(glob_match(most, SPAN("abbabbab")));
  CHECK(!glob_match(most, SPAN("abbabba")));
  arena_free(&arena);
}

// Patterns that take a backtracking matcher longer than anybody lives.
static void nothing_is_exponential(void) {
  static uint8_t many[4000];
  memset(many, 'a', sizeof many);
  struct arena arena;
  arena_begin(&arena);
  CHECK(!glob_match(compile(&arena, SPAN("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b")),
                    (span){many, sizeof many}));
  for (size_t i = 1; i < sizeof many; i += 2) many[i] = '/';
  CHECK(!glob_match(compile(&arena, SPAN("**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/b/**/*c")),
                    (span){many, sizeof many}));
  CHECK(glob_match(compile(&arena, SPAN("**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/*a*")),
                   (span){many, sizeof many - 1}));
  arena_free(&arena);
}

// ── Against a slow matcher ──
//
// Patterns are made as trees of symbols and written down from those, so that the slow matcher
// shares no reading of patterns with ours.

enum symbol_kind { CHARACTER, ANY, STAR, SET, GROUP };
enum { SYMBOLS = 6, CHOICES = 3, FLAT = 64 };

struct sequence {
  size_t count;
  struct symbol {
    enum symbol_kind kind;
    const char *character;
    bool negated;
    unsigned set;  // bits over `alphabet`
    size_t choices;
    struct sequence *choice[CHOICES];
  } symbols[SYMBOLS];
};

// No half of a character can meet its other half here, or the text would mean something else.
static const char *const alphabet[] = {"a", "b", "/",  "\xc3\xa9", "\xff", "\xc3", "*", ",",
                                       "-", "}", "\\", "[",        "]",    "{",    "?", "!"};
enum { ALPHABET = sizeof alphabet / sizeof *alphabet };

static uint64_t seed = 42;
static unsigned pick(unsigned below) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)(seed >> 33) % below;
}
static const char *pick_character(void) { return alphabet[pick(3) ? pick(3) : pick(ALPHABET)]; }

static struct sequence *make(struct arena *arena, unsigned depth) {
  struct sequence *sequence = arena_take(arena, sizeof *sequence);
  CHECK(sequence);
  *sequence = (struct sequence){.count = pick(SYMBOLS + 1)};
  for (size_t i = 0; i < sequence->count; i++) {
    struct symbol *symbol = &sequence->symbols[i];
    unsigned what = pick(depth ? 10 : 9);
    symbol->kind = what < 4 ? CHARACTER : what < 5 ? ANY : what < 8 ? STAR : what < 9 ? SET : GROUP;
    symbol->character = pick_character();
    symbol->negated = pick(2);
    symbol->set = 1u << pick(ALPHABET) | 1u << pick(4);
    if (symbol->kind == GROUP) symbol->choices = 1 + pick(CHOICES);
    for (size_t k = 0; k < symbol->choices; k++) symbol->choice[k] = make(arena, depth - 1);
  }
  return sequence;
}

static void put(char *text, const char *more) {
  memcpy(text + strlen(text), more, strlen(more) + 1);
}

static void write_down(const struct sequence *sequence, char *text) {
  for (size_t i = 0; i < sequence->count; i++) {
    const struct symbol *symbol = &sequence->symbols[i];
    switch (symbol->kind) {
      case CHARACTER:
        if (strpbrk(symbol->character, "*?[{},\\") || (symbol->character[0] != '/' && !pick(5)))
          put(text, "\\");
        put(text, symbol->character);
        break;
      case ANY:
        put(text, "?");
        break;
      case STAR:
        put(text, "*");
        break;
      case SET:
        put(text, symbol->negated ? pick(2) ? "[!" : "[^" : "[");
        for (size_t k = 0; k < ALPHABET; k++) {
          if (!(symbol->set >> k & 1)) continue;
          if (strpbrk(alphabet[k], "]\\-!") || !pick(5)) put(text, "\\");
          put(text, alphabet[k]);
        }
        put(text, "]");
        break;
      case GROUP:
        for (size_t k = 0; k < symbol->choices; k++) {
          put(text, k ? "," : "{");
          write_down(symbol->choice[k], text);
        }
        put(text, "}");
        break;
    }
  }
}

struct flat {
  size_t count;
  const struct symbol *symbols[FLAT];
};
struct texts {
  size_t count;
  const char *at[16];
};

static bool is_slash(const struct symbol *symbol) {
  return symbol->kind == CHARACTER && symbol->character[0] == '/';
}

static bool slow_part(const struct symbol *const *symbols, size_t count, const char *const *text,
                      size_t size) {
  if (count == 0) return size == 0;
  const struct symbol *symbol = symbols[0];
  if (symbol->kind == STAR)
    return slow_part(symbols + 1, count - 1, text, size) ||
           (size && slow_part(symbols, count, text + 1, size - 1));
  if (size == 0) return false;
  bool fits = symbol->kind == ANY;
  if (symbol->kind == CHARACTER) fits = strcmp(symbol->character, text[0]) == 0;
  if (symbol->kind == SET) {
    for (size_t k = 0; k < ALPHABET; k++)
      if (strcmp(alphabet[k], text[0]) == 0) fits = (symbol->set >> k & 1) != symbol->negated;
  }
  return fits && slow_part(symbols + 1, count - 1, text + 1, size - 1);
}

static bool slow_path(const struct symbol *const *symbols, size_t count, const char *const *text,
                      size_t size) {
  while (count && is_slash(symbols[0])) symbols++, count--;
  while (size && text[0][0] == '/') text++, size--;
  if (count == 0) return size == 0;
  size_t part = 0, piece = 0;
  while (part < count && !is_slash(symbols[part])) part++;
  while (piece < size && text[piece][0] != '/') piece++;
  if (part == 2 && symbols[0]->kind == STAR && symbols[1]->kind == STAR)
    return slow_path(symbols + 2, count - 2, text, size) ||
           (size && slow_path(symbols, count, text + piece, size - piece));
  return size && slow_part(symbols, part, text, piece) &&
         slow_path(symbols + part, count - part, text + piece, size - piece);
}

// Writes out every choice of the symbols still to come. `left` is a stack of sequences and
// positions.
struct rest {
  const struct sequence *sequence;
  size_t at;
  const struct rest *after;
};

static bool slow(struct flat *flat, const struct rest *rest, const struct texts *texts) {
  while (rest && rest->at == rest->sequence->count) rest = rest->after;
  if (!rest) return slow_path(flat->symbols, flat->count, texts->at, texts->count);
  const struct symbol *symbol = &rest->sequence->symbols[rest->at];
  struct rest after = {rest->sequence, rest->at + 1, rest->after};
  if (symbol->kind != GROUP) {
    if (flat->count == FLAT) return false;
    flat->symbols[flat->count++] = symbol;
    bool fits = slow(flat, &after, texts);
    flat->count--;
    return fits;
  }
  for (size_t k = 0; k < symbol->choices; k++) {
    struct rest inside = {symbol->choice[k], 0, &after};
    if (slow(flat, &inside, texts)) return true;
  }
  return false;
}

static void random_patterns(void) {
  size_t fitted = 0;
  for (size_t round = 0; round < 60'000; round++) {
    struct arena arena;
    arena_begin(&arena);
    struct sequence *sequence = make(&arena, 2);
    char pattern[4096] = "";
    write_down(sequence, pattern);
    struct glob *glob = nullptr;
    struct fault fault;
    int32_t code = glob_compile(span_of(pattern), &arena, &glob, &fault);
    if (code < 0) CHECK(strstr(fault.text, "alternatives"));
    for (size_t k = 0; code == 0 && k < 12; k++) {
      struct texts texts = {.count = pick(9)};
      char text[64] = "";
      for (size_t i = 0; i < texts.count; i++) {
        texts.at[i] = pick_character();
        // Paths have no empty parts.
        bool is_edge = i == 0 || i == texts.count - 1 || texts.at[i - 1][0] == '/';
        if (is_edge && texts.at[i][0] == '/') texts.at[i] = "a";
        put(text, texts.at[i]);
      }
      struct flat flat = {};
      bool expected = slow(&flat, &(struct rest){sequence, 0, nullptr}, &texts);
      bool fits = glob_match(glob, span_of(text));
      if (fits != expected) fprintf(stderr, "'%s' on '%s': %d\n", pattern, text, fits);
      CHECK(fits == expected);
      fitted += fits;
    }
    arena_free(&arena);
  }
  CHECK(fitted > 10'000);  // or the test says little
}

// Any bytes are a pattern or a fault.
static void noise(void) {
  static const char some[] = "a*?[]{},\\/!-^\xc3\xa9";
  for (size_t round = 0; round < 100'000; round++) {
    size_t size = pick(14);
    uint8_t *pattern = malloc(size ? size : 1);  // its exact size, for sanitizers
    CHECK(pattern);
    for (size_t i = 0; i < size; i++) pattern[i] = (uint8_t)some[pick(sizeof some - 1)];
    struct arena arena;
    arena_begin(&arena);
    struct glob *glob;
    struct fault fault;
    if (glob_compile((span){pattern, size}, &arena, &glob, &fault) == 0)
      glob_match(glob, SPAN("aa/\xc3\xa9"));
    arena_free(&arena);
    free(pattern);
  }
}

int main(void) {
  by_hand();
  slashes_are_told();
  malformed_ones_are_refused();
  nothing_is_exponential();
  random_patterns();
  noise();
}
