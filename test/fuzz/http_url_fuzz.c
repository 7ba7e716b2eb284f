// A URL and where a redirect leads from it: first line, then the Location. Whatever comes, where it
// leads is http or https, has no credentials, and never goes from https to http.
#include <assert.h>
#include <stdlib.h>

#include "wire/http_exchange.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  char *text = malloc(size + 1);
  if (!text) return 0;
  if (size) memcpy(text, bytes, size);
  text[size] = 0;
  char *location = strchr(text, '\n');
  if (location) *location++ = 0;
  struct exchange x = {.request = {.filter = HTTP_FILTER_NAMED}};
  arena_begin(&x.arena);
  struct fault fault = {};
  if (exchange_go(&x, text, &fault) == 0) {
    bool was_safe = strncmp(x.origin, "https:", 6) == 0;
    for (int i = 0; location && i < 3; i++) {
      if (exchange_go(&x, location, &fault) < 0) break;
      assert(strncmp(x.url, "http://", 7) == 0 || strncmp(x.url, "https://", 8) == 0);
      assert(!was_safe || strncmp(x.url, "https://", 8) == 0);
      const char *host = strstr(x.url, "://") + 3;
      assert(strcspn(host, "@") >= strcspn(host, "/?"));
    }
  }
  arena_free(&x.arena);
  free(text);
  return 0;
}
