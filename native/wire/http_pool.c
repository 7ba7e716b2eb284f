// The connections. A pool is a libcurl multi handle of its own: for one set of credentials,
// filtered or not, shared or not. Its sockets are in the thread's one array for poll.
#include "wire/http_exchange.h"

#include <stdlib.h>

constexpr size_t POOLS_MAX = 64;

static int on_socket(CURL *, curl_socket_t fd, int what, void *user, void *) {
  struct multi *multi = user;
  struct http *http = multi->http;
  size_t at = 1;
  while (at < http->polled_count && http->polled[at].fd != fd) at++;
  if (what == CURL_POLL_REMOVE) {
    if (at == http->polled_count) return 0;
    http->polled_count--;
    http->polled[at] = http->polled[http->polled_count];
    http->owners[at] = http->owners[http->polled_count];
    return 0;
  }
  if (at == http->polled_capacity) {
    size_t capacity = http->polled_capacity * 2;
    struct pollfd *polled = realloc(http->polled, capacity * sizeof *polled);
    if (polled) http->polled = polled;
    struct multi **owners = realloc(http->owners, capacity * sizeof *owners);
    if (owners) http->owners = owners;
    if (!polled || !owners) return -1;
    http->polled_capacity = capacity;
  }
  short events = (short)((what & CURL_POLL_IN ? POLLIN : 0) | (what & CURL_POLL_OUT ? POLLOUT : 0));
  http->polled[at] = (struct pollfd){.fd = fd, .events = events};
  http->owners[at] = multi;
  if (at == http->polled_count) http->polled_count++;
  return 0;
}

static int on_timer(CURLM *, long timeout_ms, void *user) {
  struct multi *multi = user;
  multi->due_ns = timeout_ms < 0 ? UINT64_MAX : clock_now() + (uint64_t)timeout_ms * MS;
  return 0;
}

void multi_free(struct multi *multi) {
  curl_multi_cleanup(multi->handle);
  curl_share_cleanup(multi->share);
  free(multi);
}

static void multi_key(const struct exchange *x, struct pool_key *key) {
  *key = (struct pool_key){.filtered = x->is_filtered, .own = x->is_own || x->request.large};
  const struct http_request *request = &x->request;
  if (x->is_off_origin) return;
  const span secrets[] = {request->headers, request->user, request->password, request->bearer};
  struct hash hash;
  hash_begin(&hash);
  for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
    uint64_t size = secrets[i].size;
    hash_add(&hash, (const uint8_t *)&size, sizeof size);
    if (size) hash_add(&hash, secrets[i].at, secrets[i].size);
  }
  hash_end(&hash, key->credentials);
}

static bool same_key(const struct pool_key *left, const struct pool_key *right) {
  return left->filtered == right->filtered && left->own == right->own &&
         memcmp(left->credentials, right->credentials, HASH_BYTES) == 0;
}

struct multi *multi_of(struct http *http, const struct exchange *x) {
  struct pool_key key;
  multi_key(x, &key);
  struct multi **oldest = nullptr;
  size_t count = 0;
  for (struct multi **at = &http->multis; *at; at = &(*at)->next) {
    count++;
    if (same_key(&(*at)->key, &key)) return *at;
    if ((*at)->active == 0 && (!oldest || (*at)->idle_ns < (*oldest)->idle_ns)) oldest = at;
  }
  if (count >= POOLS_MAX && oldest) {
    struct multi *multi = *oldest;
    *oldest = multi->next;
    multi_free(multi);
  }
  struct multi *multi = calloc(1, sizeof *multi);
  if (!multi) return nullptr;
  multi->http = http;
  multi->key = key;
  multi->due_ns = UINT64_MAX;
  multi->handle = curl_multi_init();
  multi->share = curl_share_init();
  if (!multi->handle || !multi->share) {
    if (multi->handle) curl_multi_cleanup(multi->handle);
    if (multi->share) curl_share_cleanup(multi->share);
    free(multi);
    return nullptr;
  }
  curl_share_setopt(multi->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
  curl_multi_setopt(multi->handle, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(multi->handle, CURLMOPT_SOCKETDATA, multi);
  curl_multi_setopt(multi->handle, CURLMOPT_TIMERFUNCTION, on_timer);
  curl_multi_setopt(multi->handle, CURLMOPT_TIMERDATA, multi);
  curl_multi_setopt(multi->handle, CURLMOPT_PIPELINING,
                    key.own ? CURLPIPE_NOTHING : CURLPIPE_MULTIPLEX);
  curl_multi_setopt(multi->handle, CURLMOPT_MAXCONNECTS, (long)http->runtime->connections);
  multi->next = http->multis;
  http->multis = multi;
  return multi;
}
