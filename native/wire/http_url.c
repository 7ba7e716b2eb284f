// Where an exchange may go. Redirects are followed hop by hop, here and nowhere else.
#include "wire/http_exchange.h"

#include <stdio.h>
#include <stdlib.h>

static char *part_of(CURLU *url, CURLUPart part) {
  char *text = nullptr;
  return curl_url_get(url, part, &text, CURLU_DEFAULT_PORT) == CURLUE_OK ? text : nullptr;
}

// "https://host:443", lower case, from malloc.
static char *origin_of(CURLU *url) {
  char *scheme = part_of(url, CURLUPART_SCHEME), *host = part_of(url, CURLUPART_HOST),
       *port = part_of(url, CURLUPART_PORT), *origin = nullptr;
  if (scheme && host && port) {
    size_t size = strlen(scheme) + strlen(host) + strlen(port) + 5;
    origin = malloc(size);
    if (origin) snprintf(origin, size, "%s://%s:%s", scheme, host, port);
    for (char *c = origin; c && *c; c++)
      if (*c >= 'A' && *c <= 'Z') *c += 32;
  }
  curl_free(scheme);
  curl_free(host);
  curl_free(port);
  return origin;
}

bool http_same_origin(const char *left, const char *right) {
  const char *texts[2] = {left, right};
  char *origins[2] = {};
  for (int i = 0; i < 2; i++) {
    CURLU *url = curl_url();
    if (url && curl_url_set(url, CURLUPART_URL, texts[i], 0) == CURLUE_OK)
      origins[i] = origin_of(url);
    curl_url_cleanup(url);
  }
  bool same = origins[0] && origins[1] && strcmp(origins[0], origins[1]) == 0;
  free(origins[0]);
  free(origins[1]);
  return same;
}

// Moves the exchange to a URL: the first one, or where a redirect leads to.
int32_t exchange_go(struct exchange *x, const char *to, struct fault *fault) {
  CURLU *url = curl_url();
  if (!url) return http_no_memory(fault);
  CURLUcode bad = x->url ? curl_url_set(url, CURLUPART_URL, x->url, 0) : CURLUE_OK;
  if (bad == CURLUE_OK) bad = curl_url_set(url, CURLUPART_URL, to, x->url ? CURLU_URLENCODE : 0);
  // What a server writes before the @ is nobody's credentials.
  if (bad == CURLUE_OK) bad = curl_url_set(url, CURLUPART_USER, nullptr, 0);
  if (bad == CURLUE_OK) bad = curl_url_set(url, CURLUPART_PASSWORD, nullptr, 0);
  if (bad == CURLUE_OK) bad = curl_url_set(url, CURLUPART_FRAGMENT, nullptr, 0);
  char *scheme = bad == CURLUE_OK ? part_of(url, CURLUPART_SCHEME) : nullptr;
  bool is_web = scheme && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
  curl_free(scheme);
  char *text = nullptr, *origin = is_web ? origin_of(url) : nullptr;
  char *host = bad == CURLUE_OK ? part_of(url, CURLUPART_HOST) : nullptr;
  int32_t code = 0;
  if (bad == CURLUE_OK) bad = curl_url_get(url, CURLUPART_URL, &text, 0);
  bool is_first = !x->url;
  if (bad == CURLUE_OUT_OF_MEMORY || (is_web && (!origin || !host)))
    code = http_no_memory(fault);
  else if (bad != CURLUE_OK)
    code = fault_set(fault, is_first ? COPSE_E_ARGUMENT : COPSE_E_PROTOCOL,
                     is_first ? "the URL is none: %s" : "the server redirects to no address: %s",
                     curl_url_strerror(bad));
  else if (!is_web)
    code = fault_set(fault, is_first ? COPSE_E_ARGUMENT : COPSE_E_DENIED,
                     "only http and https are followed, not what the server redirects to");
  else if (!is_first && strncmp(x->origin, "https:", 6) == 0 && strncmp(origin, "https:", 6) != 0)
    code = fault_set(fault, COPSE_E_DENIED,
                     "the server redirects from https to http; that is not followed");
  if (code == 0) {
    if (!is_first && strcmp(x->origin, origin) != 0) {
      x->is_off_origin = true;
      // Another port of the same host is the user's own business; another host is not.
      const char *old = strstr(x->origin, "://"), *now = strstr(origin, "://");
      size_t old_size = (size_t)(strrchr(old + 3, ':') - old);
      size_t now_size = (size_t)(strrchr(now + 3, ':') - now);
      bool other = old_size != now_size || memcmp(old, now, old_size) != 0;
      if (other && x->request.filter == HTTP_FILTER_NAMED) x->is_filtered = true;
    }
    if (x->request.filter == HTTP_FILTER_PUBLIC) x->is_filtered = true;
    if (x->is_filtered && !http_host_is_public(host))
      code = fault_set(fault, COPSE_E_DENIED,
                       is_first ? "the address is not a public one (addresses: \"public\")"
                                : "the server redirects to an address that is not a public one");
  }
  if (code == 0) {
    // In the arena: an answer names the URL for as long as the exchange is there.
    span own_url = arena_copy(&x->arena, span_of(text));
    span own_origin = arena_copy(&x->arena, span_of(origin));
    if (!own_url.at || !own_origin.at) {
      code = http_no_memory(fault);
    } else {
      x->url = (const char *)own_url.at;
      x->origin = (const char *)own_origin.at;
    }
  }
  free(origin);
  curl_free(host);
  curl_free(text);
  curl_url_cleanup(url);
  return code;
}
