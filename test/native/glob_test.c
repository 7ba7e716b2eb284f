// glob: tables of patterns by hand, then random patterns against a slow matcher that tries
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

#include "base/arena.h"
#include "base/glob.h"

static struct globs *compile(span pattern, enum glob_kind kind, uint32_t options) {
  struct globs *globs = nullptr;
  struct fault fault = {};
  int32_t code =
      globs_compile(&(struct glob_source){.pattern = pattern}, 1, kind, options, &globs, &fault);
  if (code < 0)
    fprintf(stderr, "%.*s: %s\n", (int)pattern.size, (const char *)pattern.at, fault.text);
  CHECK(code == 0);
  return globs;
}

static bool fits(struct globs *globs, span text) {
  struct matcher *matcher = matcher_take(globs);
  CHECK(matcher);
  bool is = globs_has(matcher_match(matcher, text), 0);
  matcher_give(matcher);
  return is;
}

// A rule without '/' is looked for at any depth, so the tables of those put one before the texts
// below.
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

static const struct {
  enum glob_kind kind;
  uint32_t options;
  const char *pattern, *text;
  bool fits;
} others[] = {
    // One name: what globset means by it, and what Python's fnmatch does where that one refuses.
    {GLOB_NAMES, 0, "*", "", true},
    {GLOB_NAMES, 0, "*", ".a", true},
    {GLOB_NAMES, 0, "*", "a/b", true},
    {GLOB_NAMES, 0, "?", "/", true},
    {GLOB_NAMES, 0, "[/]", "/", true},
    {GLOB_NAMES, 0, "?", "\xc3\xa9", true},
    {GLOB_NAMES, 0, "***", "abc", true},
    {GLOB_NAMES, 0, "x[", "x[", true},
    {GLOB_NAMES, 0, "x[!", "x[!", true},
    {GLOB_NAMES, 0, "x\\", "x\\", true},
    {GLOB_NAMES, 0, "{a,{b,c}}", "c", true},
    {GLOB_NAMES, 0, "{,x}", "", true},
    {GLOB_NAMES, 0, "", "", true},
    {GLOB_NAMES, 0, "[a-]", "-", true},
    {GLOB_NAMES, 0, "[]a]", "]", true},
    {GLOB_NAMES, 0, "[!]a]", "]", false},
    {GLOB_NAMES, 0, "A", "a", false},
    {GLOB_NAMES, GLOB_NOCASE, "A*", "abc", true},
    {GLOB_NAMES, GLOB_NOCASE, "a*", "ABC", true},
    {GLOB_NAMES, GLOB_NOCASE, "[B-D]", "c", true},
    {GLOB_NAMES, GLOB_NOCASE, "[b-d]", "C", true},
    {GLOB_NAMES, GLOB_NOCASE, "[!b-d]", "C", false},
    {GLOB_NAMES, GLOB_NOCASE, "[Z-a]", "z", true},
    {GLOB_NAMES, GLOB_NOCASE, "\xc3\x84*", "\xc3\xa4x", true},
    {GLOB_NAMES, GLOB_NOCASE, "\xc3\xa4*", "\xc3\x84x", true},
    {GLOB_NAMES, GLOB_NOCASE, "[\xc4\x80-\xc4\x82]", "\xc4\x83", true},
    {GLOB_NAMES, GLOB_NOCASE, "\xd0\x96", "\xd0\xb6", true},
    {GLOB_NAMES, GLOB_NO_DOT, "*", ".a", false},
    {GLOB_NAMES, GLOB_NO_DOT, ".*", ".a", true},
    {GLOB_NAMES, GLOB_NO_DOT, "*", "a.b", true},
    {GLOB_NAMES, GLOB_NO_DOT, "[.]a", ".a", false},
    {GLOB_NAMES, GLOB_NO_DOT, "*?", ".a", false},
    // Paths.
    {GLOB_PATHS, 0, "*", "a/b", false},
    {GLOB_PATHS, 0, "*", "", true},
    {GLOB_PATHS, 0, "**", "a/b", true},
    {GLOB_PATHS, 0, "**", "", true},
    {GLOB_PATHS, 0, "**/", "a/", true},
    {GLOB_PATHS, 0, "a/**", "a", false},
    {GLOB_PATHS, 0, "a/**", "a/", true},
    {GLOB_PATHS, 0, "a/**", "a/b/c", true},
    {GLOB_PATHS, 0, "**/a", "a", true},
    {GLOB_PATHS, 0, "**/a", "x/y/a", true},
    {GLOB_PATHS, 0, "**/a", "x/ya", false},
    {GLOB_PATHS, 0, "a/**/b", "a/b", true},
    {GLOB_PATHS, 0, "a/**/**/b", "a/x/b", true},
    {GLOB_PATHS, 0, "a**b", "a/b", false},
    {GLOB_PATHS, 0, "a**b", "axyb", true},
    {GLOB_PATHS, 0, "/a", "a", false},
    {GLOB_PATHS, 0, "a/", "a", false},
    {GLOB_PATHS, 0, "*.c", "a/b.c", false},
    {GLOB_PATHS, 0, "{a,b/c}/*.c", "b/c/x.c", true},
    {GLOB_PATHS, 0, "x[/]y", "x/y", false},
    {GLOB_PATHS, GLOB_NO_DOT, "**", ".a/b", false},
    {GLOB_PATHS, GLOB_NO_DOT, "**", "a/.b", false},
    {GLOB_PATHS, GLOB_NO_DOT, "**/.b", "a/.b", true},
    {GLOB_PATHS, GLOB_NO_DOT, "**/*", "a/b.c", true},
    {GLOB_PATHS, GLOB_NO_DOT, "a/*", "a/.b", false},
    {GLOB_PATHS, GLOB_NOCASE, "**/*.JPG", "x/Y.jpg", true},
    // Lines of ignore files; test/ignore.test.ts asks git itself.
    {GLOB_IGNORE, 0, "{a,b}", "a", false},
    {GLOB_IGNORE, 0, "{a,b}", "{a,b}", true},
    {GLOB_IGNORE, 0, "?", "\xc3\xa9", false},
    {GLOB_IGNORE, 0, "??", "\xc3\xa9", true},
    {GLOB_IGNORE, 0, "a/**", "a", false},
    {GLOB_IGNORE, 0, "a/**", "a/b", true},
    {GLOB_IGNORE, 0, "a/***/b", "a/x/y/b", true},
    {GLOB_IGNORE, 0, "a**/b", "ab", true},
    {GLOB_IGNORE, 0, "a**/b", "a/b", true},
    {GLOB_IGNORE, 0, "a**/b", "ax/y/b", true},
    {GLOB_IGNORE, 0, "?**/b", "ab", false},
    {GLOB_IGNORE, 0, "[a", "[a", false},
    {GLOB_IGNORE, 0, "a\\", "a\\", false},
    {GLOB_IGNORE, 0, "[z-a]", "z", true},
    {GLOB_IGNORE, 0, "[z-a]", "a", false},
    {GLOB_IGNORE, 0, "[z-ab]", "b", true},
    {GLOB_IGNORE, 0, "[[:alpha:]]", "q", true},
    {GLOB_IGNORE, 0, "[[:alpha:]]", "1", false},
    {GLOB_IGNORE, 0, "[![:alpha:]]", "1", true},
    {GLOB_IGNORE, 0, "[[:digit:]x]", "x", true},
    {GLOB_IGNORE, 0, "[[:nope:]]", "n", false},
    {GLOB_IGNORE, 0, "[[:space:]]", " ", true},
};

static void one(span pattern, span text, enum glob_kind kind, uint32_t options, bool expected) {
  struct globs *globs = compile(pattern, kind, options);
  bool is = fits(globs, text);
  if (is != expected)
    fprintf(stderr, "kind %d: '%s' on '%s'\n", kind, (const char *)pattern.at,
            (const char *)text.at);
  CHECK(is == expected);
  globs_free(globs);
}

static void by_hand(void) {
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    // A rule without '/' is looked for at any depth: its text is one name.
    if (!strchr(table[i].pattern, '/') && strchr(table[i].text, '/') && !table[i].fits) continue;
    one(span_of(table[i].pattern), span_of(table[i].text), GLOB_RULES, 0, table[i].fits);
  }
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    one(span_of(others[i].pattern), span_of(others[i].text), others[i].kind, others[i].options,
        others[i].fits);
}

static void a_rule_with_a_slash_has_its_place(void) {
  static const struct {
    const char *pattern;
    bool has;
  } cases[] = {{"a", false},  {"*a", false},     {"z/a", true},   {"/a", true},    {"a/", false},
               {"**", false}, {"{a,b/c}", true}, {"[ab]", false}, {"{/a,b}", true}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    one(span_of(cases[i].pattern), SPAN("q/a"), GLOB_RULES, 0, !cases[i].has);
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
    struct globs *globs = nullptr;
    struct fault fault = {};
    CHECK(globs_compile(&(struct glob_source){.pattern = span_of(pattern)}, 1, GLOB_RULES, 0,
                        &globs, &fault) == COPSE_E_ARGUMENT);
    CHECK(fault.text[0]);
    CHECK(!globs);
  }
  struct globs *most = compile(SPAN("{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}"), GLOB_RULES, 0);
  CHECK(fits(most, SPAN("abbabbab")));
  CHECK(!fits(most, SPAN("abbabba")));
  globs_free(most);
}

// Patterns that take a backtracking matcher longer than anybody lives.
static void nothing_is_exponential(void) {
  static uint8_t many[4000];
  memset(many, 'a', sizeof many);
  span text = {many, sizeof many};
  struct globs *globs = compile(SPAN("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b"), GLOB_PATHS, 0);
  CHECK(!fits(globs, text));
  globs_free(globs);
  for (size_t i = 1; i < sizeof many; i += 2) many[i] = '/';
  globs = compile(SPAN("**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/b/**/*c"), GLOB_RULES, 0);
  CHECK(!fits(globs, text));
  globs_free(globs);
  globs = compile(SPAN("**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/*a*"), GLOB_RULES, 0);
  CHECK(fits(globs, (span){many, sizeof many - 1}));
  globs_free(globs);
}

// 2^20 states are more than are kept: what is thrown away is made again, and the answer stays.
static void a_full_cache_is_emptied(void) {
  struct globs *globs = compile(SPAN("*a????????????????????"), GLOB_PATHS, 0);
  struct matcher *matcher = matcher_take(globs);
  CHECK(matcher);
  matcher_enter(matcher, SPAN(""));
  static uint8_t text[200'000];
  uint64_t state = 7;
  for (size_t i = 0; i < sizeof text; i++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    text[i] = state >> 60 & 1 ? 'a' : 'b';
  }
  for (size_t end = 21; end < sizeof text; end = end * 2 + 1) {
    span some = {text, end};
    CHECK(globs_has(matcher_match(matcher, some), 0) == (text[end - 21] == 'a'));
    CHECK(globs_has(matcher_below(matcher, some), 0) == (text[end - 21] == 'a'));
  }
  matcher_give(matcher);
  globs_free(globs);
}

// Every glob of a set answers as it does alone, below a directory too.
static void a_set_is_its_globs(void) {
  enum { COUNT = 200 };
  struct glob_source sources[COUNT];
  char patterns[COUNT][24];
  for (int i = 0; i < COUNT; i++) {
    static const char *const forms[][2] = {
        {"n", ""}, {"*", ""}, {"d/n", "*"}, {"**/[0-4]", ""}, {"{n,d/n}", ""}};
    snprintf(patterns[i], sizeof patterns[i], "%s%d%s", forms[i % 5][0], i / 5, forms[i % 5][1]);
    sources[i] = (struct glob_source){.pattern = span_of(patterns[i])};
  }
  struct globs *all = nullptr;
  struct fault fault = {};
  CHECK(globs_compile(sources, COUNT, GLOB_PATHS, 0, &all, &fault) == 0);
  CHECK(globs_count(all) == COUNT && globs_words(all) == COUNT / 64 + 1);
  struct matcher *matcher = matcher_take(all);
  CHECK(matcher);
  for (int i = 0; i < COUNT; i++) {
    struct globs *alone = compile(span_of(patterns[i]), GLOB_PATHS, 0);
    for (int k = 0; k < 50; k++) {
      char text[24];
      snprintf(text, sizeof text, "%sn%d", k % 2 ? "d/" : "", k);
      bool expected = fits(alone, span_of(text));
      CHECK(globs_has(matcher_match(matcher, span_of(text)), (size_t)i) == expected);
      matcher_enter(matcher, k % 2 ? SPAN("d") : SPAN(""));
      CHECK(globs_has(matcher_below(matcher, span_of(text + (k % 2 ? 2 : 0))), (size_t)i) ==
            expected);
    }
    globs_free(alone);
  }
  matcher_give(matcher);
  globs_free(all);
  CHECK(globs_compile(nullptr, 0, GLOB_NAMES, 0, &all, &fault) == 0);
  matcher = matcher_take(all);
  CHECK(matcher && matcher_match(matcher, SPAN("a"))[0] == 0);
  matcher_give(matcher);
  globs_free(all);
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

// PATHS: as written, slash by slash.
static bool slow_plain(const struct symbol *const *symbols, size_t count, const char *const *text,
                       size_t size, bool begins) {
  if (count == 0) return size == 0;
  const struct symbol *symbol = symbols[0];
  bool deep = begins && count >= 2 && symbol->kind == STAR && symbols[1]->kind == STAR &&
              (count == 2 || is_slash(symbols[2]));
  if (deep && count == 2) return true;
  if (deep) {
    if (slow_plain(symbols + 3, count - 3, text, size, true)) return true;
    size_t piece = 0;
    while (piece < size && text[piece][0] != '/') piece++;
    return piece > 0 && piece < size &&
           slow_plain(symbols, count, text + piece + 1, size - piece - 1, true);
  }
  bool slash = size && text[0][0] == '/';
  if (symbol->kind == STAR)
    return slow_plain(symbols + 1, count - 1, text, size, false) ||
           (size && !slash && slow_plain(symbols, count, text + 1, size - 1, false));
  if (size == 0) return false;
  bool fits = symbol->kind == ANY && !slash;
  if (symbol->kind == CHARACTER) fits = strcmp(symbol->character, text[0]) == 0;
  if (symbol->kind == SET && !slash) {
    for (size_t k = 0; k < ALPHABET; k++)
      if (strcmp(alphabet[k], text[0]) == 0) fits = (symbol->set >> k & 1) != symbol->negated;
  }
  return fits && slow_plain(symbols + 1, count - 1, text + 1, size - 1, is_slash(symbol));
}

static bool slow_placed(const struct flat *flat) {
  size_t parts = 0;
  for (size_t i = 0; i < flat->count; i++)
    parts += !is_slash(flat->symbols[i]) && (i == 0 || is_slash(flat->symbols[i - 1]));
  return parts > 1 || (flat->count && is_slash(flat->symbols[0]));
}

enum question { IS_PLACED, AS_RULE, AS_RULE_ANYWHERE, AS_PATH };

static bool slow_answer(const struct flat *flat, const struct texts *texts,
                        enum question question) {
  if (question == IS_PLACED) return slow_placed(flat);
  if (question == AS_PATH)
    return slow_plain(flat->symbols, flat->count, texts->at, texts->count, true);
  if (slow_path(flat->symbols, flat->count, texts->at, texts->count)) return true;
  for (size_t i = 0; question == AS_RULE_ANYWHERE && i < texts->count; i++)
    if (texts->at[i][0] == '/' &&
        slow_path(flat->symbols, flat->count, texts->at + i + 1, texts->count - i - 1))
      return true;
  return false;
}

// Writes out every choice of the symbols still to come. `left` is a stack of sequences and
// positions.
struct rest {
  const struct sequence *sequence;
  size_t at;
  const struct rest *after;
};

static bool slow(struct flat *flat, const struct rest *rest, const struct texts *texts,
                 enum question question) {
  while (rest && rest->at == rest->sequence->count) rest = rest->after;
  if (!rest) return slow_answer(flat, texts, question);
  const struct symbol *symbol = &rest->sequence->symbols[rest->at];
  struct rest after = {rest->sequence, rest->at + 1, rest->after};
  if (symbol->kind != GROUP) {
    if (flat->count == FLAT) return false;
    flat->symbols[flat->count++] = symbol;
    bool fits = slow(flat, &after, texts, question);
    flat->count--;
    return fits;
  }
  for (size_t k = 0; k < symbol->choices; k++) {
    struct rest inside = {symbol->choice[k], 0, &after};
    if (slow(flat, &inside, texts, question)) return true;
  }
  return false;
}

static void random_patterns(enum glob_kind kind) {
  size_t fitted = 0;
  for (size_t round = 0; round < 30'000; round++) {
    struct arena arena;
    arena_begin(&arena);
    struct sequence *sequence = make(&arena, 2);
    char pattern[4096] = "";
    write_down(sequence, pattern);
    struct rest all = {sequence, 0, nullptr};
    struct globs *globs = nullptr;
    struct fault fault;
    int32_t code = globs_compile(&(struct glob_source){.pattern = span_of(pattern)}, 1, kind, 0,
                                 &globs, &fault);
    if (code < 0) CHECK(strstr(fault.text, "alternatives"));
    struct flat flat = {};
    enum question question = AS_PATH;
    if (kind == GLOB_RULES)
      question = slow(&flat, &all, nullptr, IS_PLACED) ? AS_RULE : AS_RULE_ANYWHERE;
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
      bool expected = slow(&flat, &all, &texts, question);
      bool is = fits(globs, span_of(text));
      if (is != expected) fprintf(stderr, "'%s' on '%s': %d\n", pattern, text, is);
      CHECK(is == expected);
      fitted += is;
    }
    if (code == 0) globs_free(globs);
    arena_free(&arena);
  }
  CHECK(fitted > 5'000);  // or the test says little
}

// Any bytes are a pattern or a fault.
static void noise(void) {
  static const char some[] = "a*?[]{},\\/!-^:\xc3\xa9";
  for (size_t round = 0; round < 60'000; round++) {
    size_t size = pick(14);
    uint8_t *pattern = malloc(size ? size : 1);  // its exact size, for sanitizers
    CHECK(pattern);
    for (size_t i = 0; i < size; i++) pattern[i] = (uint8_t)some[pick(sizeof some - 1)];
    struct globs *globs;
    struct fault fault;
    struct glob_source source = {.pattern = {pattern, size}, .floats = pick(2)};
    if (globs_compile(&source, 1, (enum glob_kind)pick(4), pick(4), &globs, &fault) == 0) {
      fits(globs, SPAN("aa/\xc3\xa9"));
      globs_free(globs);
    }
    free(pattern);
  }
}

int main(void) {
  by_hand();
  a_rule_with_a_slash_has_its_place();
  malformed_ones_are_refused();
  nothing_is_exponential();
  a_full_cache_is_emptied();
  a_set_is_its_globs();
  random_patterns(GLOB_RULES);
  random_patterns(GLOB_PATHS);
  noise();
}
