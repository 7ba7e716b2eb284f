// manifest_parse: both forms, what each refuses, and every cut and every changed byte of a whole
// one.
#include "store/manifest_parse.h"

#include <stdio.h>
#include <string.h>

#include "check.h"

#define HASH "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"
#define FILE_LINE(path) \
  "{\"path\":\"" path "\",\"type\":\"file\",\"size\":5,\"hash\":\"" HASH "\"}\n"
#define SUMMARY(count) \
  "{\"kind\":\"summary\",\"complete\":true,\"entries\":" count ",\"errors\":0}\n"

static const struct {
  const char *text;
  int32_t code;
  size_t count;
} cases[] = {
    // More in hex digits than there is of anything else.
    {"{\"path\":\"u\",\"targetBytes\":"
     "\"2cff233445566778898aabbccddeeff00112233445566778899aabbccd\",\"t\":1}\n",
     COPSE_E_CORRUPT, 0},
    {"", 0, 0},
    {HASH "  a\n", 0, 1},
    {HASH " *a\n", 0, 1},
    {HASH "  a", 0, 1},
    {HASH "  ./a/b\n\n" HASH "  a/c\n", 0, 2},
    {"\\" HASH "  a\\nb\\\\c\n", 0, 1},
    {"\\" HASH "  a\\tb\n", COPSE_E_CORRUPT, 0},
    {"\\" HASH "  a\\\n", COPSE_E_CORRUPT, 0},
    {HASH " a\n", COPSE_E_CORRUPT, 0},
    {HASH "  \n", COPSE_E_CORRUPT, 0},
    {"0011  a\n", COPSE_E_CORRUPT, 0},
    {"g" HASH "  a\n", COPSE_E_CORRUPT, 0},
    {HASH "  ../a\n", COPSE_E_UNSAFE_PATH, 0},
    {HASH "  /a\n", COPSE_E_UNSAFE_PATH, 0},
    {HASH "  a\n" HASH "  a\n", COPSE_E_CORRUPT, 0},
    {HASH "  a\n" HASH "  a/b\n", COPSE_E_CORRUPT, 0},
    {FILE_LINE("a") SUMMARY("1"), 0, 1},
    {FILE_LINE("a"), 0, 1},
    {FILE_LINE("\\u00e4\\ud83d\\ude00"), 0, 1},
    {FILE_LINE("\\ud83d"), COPSE_E_CORRUPT, 0},
    {FILE_LINE("\\u0000"), COPSE_E_CORRUPT, 0},
    {FILE_LINE("a") SUMMARY("2"), COPSE_E_CORRUPT, 0},
    {FILE_LINE("a") SUMMARY("1") FILE_LINE("b"), COPSE_E_CORRUPT, 0},
    {FILE_LINE("a") "{\"kind\":\"summary\",\"complete\":false,\"entries\":1}\n", COPSE_E_CORRUPT,
     0},
    {FILE_LINE("a") FILE_LINE("a/b"), COPSE_E_CORRUPT, 0},
    {"{\"path\":\"d\",\"type\":\"directory\"}\n" FILE_LINE("d/b"), 0, 2},
    {"{\"path\":\"l\",\"type\":\"link\",\"target\":\"x\"}\n", 0, 1},
    {"{\"path\":\"l\",\"type\":\"link\"}\n", COPSE_E_CORRUPT, 0},
    {"{\"path\":\"p\",\"type\":\"other\"}\n", COPSE_E_CORRUPT, 0},
    {"{\"path\":\"f\",\"type\":\"file\"}\n", COPSE_E_CORRUPT, 0},
    {"{\"kind\":\"error\",\"path\":\"f\"}\n", COPSE_E_CORRUPT, 0},
    {"{\"path\":\"f\",\"hash\":\"" HASH "\",\"size\":-1}\n", COPSE_E_CORRUPT, 0},
    {"{\"path\":\"f\",\"hash\":\"" HASH "\",\"size\":9007199254740993}\n", COPSE_E_CORRUPT, 0},
    {"{\"path\":\"f\",\"hash\":\"" HASH "\",\"size\":1e3}\n", COPSE_E_CORRUPT, 0},
    {"{\"path\":\"f\",\"hash\":\"" HASH "\",\"algorithm\":\"md5\"}\n", COPSE_E_CORRUPT, 0},
    {"{\"path\":\"f\",\"hash\":\"" HASH "\",\"more\":[1]}\n", COPSE_E_CORRUPT, 0},
    {"{\"path\":\"f\",\"hash\":\"" HASH "\",\"more\":1,\"pathBytes\":\"ff2f41\"}\n", 0, 1},
    {"{\"path\":\"f\",\"hash\":\"" HASH "\",\"pathBytes\":\"f\"}\n", COPSE_E_CORRUPT, 0},
    {"{}\n", COPSE_E_CORRUPT, 0},
    {"{\n", COPSE_E_CORRUPT, 0},
};

// The text in memory of exactly its size, so that a sanitizer sees one byte too far.
static int32_t parse(const char *text, size_t size, struct manifest *out) {
  uint8_t *exact = malloc(size ? size : 1);
  CHECK(exact);
  memcpy(exact, text, size);
  struct fault fault = {};
  int32_t code = manifest_parse((span){exact, size}, COPSE_ALGORITHM_SHA256, out, &fault);
  free(exact);
  CHECK(code == 0 || (fault.code == code && fault.text[0]));
  return code;
}

static void whole_table(void) {
  static const char text[] =
      "{\"path\":\"b!\",\"type\":\"file\",\"size\":7,\"hash\":\"" HASH
      "\",\"algorithm\":\"blake3\"}\r\n"
      "{\"path\":\"b/x\",\"type\":\"file\",\"size\":0,\"hash\":\"" HASH
      "\"}\n"
      "{\"path\":\"b\",\"type\":\"directory\"}\n"
      "{\"path\":\"a\",\"type\":\"link\",\"target\":\"b\\/x\"}\n" SUMMARY("4");
  struct manifest manifest;
  CHECK(parse(text, sizeof text - 1, &manifest) == 0);
  static const char *const paths[] = {"a", "b", "b/x", "b!"};  // '/' comes first
  CHECK(manifest.count == 4 && manifest.algorithm == COPSE_ALGORITHM_BLAKE3);
  for (size_t i = 0; i < 4; i++) CHECK(span_equal(manifest.items[i].path, span_of(paths[i])));
  CHECK(span_equal(manifest.items[0].target, SPAN("b/x")));
  CHECK(manifest.items[3].size == 7 && manifest.items[3].digest[31] == 0xFF);
  manifest_free(&manifest);
  // Cut anywhere the entries are not as many as they were, or a line is broken; only a cut between
  // lines can pass, as a manifest that never had a summary.
  for (size_t size = 1; size < sizeof text - 1; size++) {
    int32_t code = parse(text, size, &manifest);
    CHECK(code == (text[size - 1] == '\n' ? 0 : COPSE_E_CORRUPT));
    if (code == 0) manifest_free(&manifest);
  }
  char changed[sizeof text];
  for (size_t i = 0; i < sizeof text - 1; i++) {
    for (int bit = 0; bit < 8; bit++) {
      memcpy(changed, text, sizeof text);
      changed[i] = (char)(changed[i] ^ 1 << bit);
      if (parse(changed, sizeof text - 1, &manifest) == 0) manifest_free(&manifest);
    }
  }
}

int main(void) {
  size_t count = sizeof cases / sizeof *cases;
  for (size_t i = 0; i < count; i++) {
    struct manifest manifest;
    int32_t code = parse(cases[i].text, strlen(cases[i].text), &manifest);
    if (code != cases[i].code) fprintf(stderr, "%d for %s", code, cases[i].text);
    CHECK(code == cases[i].code);
    if (code < 0) continue;
    CHECK(manifest.count == cases[i].count);
    manifest_free(&manifest);
  }
  whole_table();
  printf("%zu passed\n", count + 1);
}
