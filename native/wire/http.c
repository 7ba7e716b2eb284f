// One thread, one poll. Transfers hang on pools, each a libcurl multi handle with its own
// connections: a pool is for one set of credentials, filtered or not, shared or not. In a shared
// pool HTTP/2 streams ride on one connection; libcurl stops the whole connection when one of its
// streams is paused, so only what fits its buffer is read there and the rest begins anew in a pool
// where each transfer has a connection to itself.
//
// An exchange is one answer for a caller, over as many hops, retries and resumptions as it takes.
// Its buffer and what it publishes are guarded by its own lock; the rest is the thread's.
#include "wire/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/hash.h"
#include "engine/runtime.h"
#include "engine/thread.h"

constexpr uint32_t HOST_MAX = 10;  // transfers with one host at once
constexpr uint64_t MS = 1'000'000, SECOND = 1'000 * MS;
constexpr uint64_t IDLE_NS = 90 * SECOND;  // then connections are closed and the thread ends
constexpr size_t POOLS_MAX = 64;
constexpr size_t BUFFER_MAX = 1 << 20;  // a reader's lead: what arrives while it compares
constexpr size_t BUFFER_LEAST = 16 * 1024;
constexpr uint64_t SHARED_MAX = 256 * 1024;  // read in a shared pool without pausing
constexpr long RECEIVE_BYTES = 64 * 1024;
constexpr uint64_t SLOWEST = 1024;           // bytes a second
constexpr uint64_t REFUSAL_MAX = 64 * 1024;  // the body of an error or redirect is read this far
constexpr uint64_t BACKOFF_MS = 250;
constexpr uint64_t LOOK_NS = 20 * MS;  // how often a waiting worker looks at the cancel flag

enum phase : uint8_t { PHASE_QUEUED, PHASE_RUNNING, PHASE_DELAYED, PHASE_OVER };

struct pool_key {
  uint8_t credentials[HASH_BYTES];
  bool filtered, own;
};

struct multi {
  struct multi *next;
  struct http *http;
  CURLM *handle;
  CURLSH *share;
  struct pool_key key;
  uint64_t due_ns;  // UINT64_MAX: nothing
  uint64_t idle_ns;
  uint32_t active;
};

struct origin {  // a host that was seen to speak HTTP/2
  struct origin *next;
  char name[];
};

struct exchange {
  struct http *http;
  _Atomic uint32_t references;  // the caller's, the thread's, the inbox's
  struct exchange *next, *next_in;
  bool is_listed;  // in the inbox; guarded by http->lock, like next_in
  struct arena arena;
  struct http_request request;

  // The thread's own
  enum phase phase;
  CURL *easy;
  struct multi *multi;
  struct curl_slist *lines;
  struct http_head head;
  const char *url, *origin;
  uint32_t hops, tries;
  uint64_t deadline_ns;  // for the answer; zero before the first try
  uint64_t not_before_ns;
  uint64_t window_ns, window_bytes;  // the body's speed
  uint64_t arrived;                  // bytes of this try's body
  uint64_t skip;                     // of these, bytes that were wanted no more
  uint64_t delivered;                // bytes put into the buffer, over all tries
  bool is_known, is_off_origin, is_filtered, is_own, is_settled, wants_own, is_address_refused;
  struct fault refusal;  // what a callback found wrong
  char error[CURL_ERROR_SIZE];

  mutex lock;  // guards the rest
  condition changed;
  bool is_answered, is_over, is_claimed, is_paused, is_dropped;
  struct http_answer answer;
  struct fault fault;
  uint8_t *buffer;
  size_t capacity, begin, filled, needed;
};

struct http {
  struct attachment attachment;
  struct runtime *runtime;
  mutex lock;
  condition ended;
  struct wake wake;
  struct exchange *inbox;  // with something new for the thread
  bool is_running, is_closing;
  struct thread thread;

  // The thread's own
  struct exchange *all;
  struct multi *multis;
  struct origin *origins;
  struct pollfd *polled;  // polled[0] is the wake channel
  struct multi **owners;
  size_t polled_count, polled_capacity;
  uint64_t idle_ns;
};

static const char http_key;

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

// ── Addresses of the web ──

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

static bool is_web(const char *origin) {
  return strncmp(origin, "http://", 7) == 0 || strncmp(origin, "https://", 8) == 0;
}

// Moves the exchange to a URL: the first one, or where a redirect leads to.
static int32_t go_to(struct exchange *x, const char *to, struct fault *fault) {
  CURLU *url = curl_url();
  if (!url) return no_memory(fault);
  CURLUcode bad = x->url ? curl_url_set(url, CURLUPART_URL, x->url, 0) : CURLUE_OK;
  if (bad == CURLUE_OK) bad = curl_url_set(url, CURLUPART_URL, to, x->url ? CURLU_URLENCODE : 0);
  // What a server writes before the @ is nobody's credentials.
  if (bad == CURLUE_OK) bad = curl_url_set(url, CURLUPART_USER, nullptr, 0);
  if (bad == CURLUE_OK) bad = curl_url_set(url, CURLUPART_PASSWORD, nullptr, 0);
  if (bad == CURLUE_OK) bad = curl_url_set(url, CURLUPART_FRAGMENT, nullptr, 0);
  char *text = nullptr, *origin = bad == CURLUE_OK ? origin_of(url) : nullptr;
  char *host = bad == CURLUE_OK ? part_of(url, CURLUPART_HOST) : nullptr;
  int32_t code = 0;
  if (bad == CURLUE_OK) bad = curl_url_get(url, CURLUPART_URL, &text, 0);
  bool is_first = !x->url;
  if (bad == CURLUE_OUT_OF_MEMORY || (bad == CURLUE_OK && (!origin || !host)))
    code = no_memory(fault);
  else if (bad != CURLUE_OK)
    code = fault_set(fault, is_first ? COPSE_E_ARGUMENT : COPSE_E_PROTOCOL,
                     is_first ? "the URL is none: %s" : "the server redirects to no address: %s",
                     curl_url_strerror(bad));
  else if (!is_web(origin))
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
      code = no_memory(fault);
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

// ── Exchanges, seen from both sides ──

static void exchange_free(struct exchange *x) {
  if (atomic_fetch_sub_explicit(&x->references, 1, memory_order_acq_rel) != 1) return;
  curl_slist_free_all(x->lines);
  arena_free(&x->arena);
  mutex_end(&x->lock);
  condition_end(&x->changed);
  free(x->buffer);
  free(x);
}

static void over(struct exchange *x, const struct fault *fault) {
  x->phase = PHASE_OVER;
  mutex_lock(&x->lock);
  if (!x->is_over) {
    x->is_over = true;
    if (fault) x->fault = *fault;
  }
  condition_all(&x->changed);
  mutex_unlock(&x->lock);
}

// Puts the exchange where the thread looks. The thread may be asleep, or not there yet.
static void tell(struct exchange *x) {
  struct http *http = x->http;
  mutex_lock(&http->lock);
  bool raise = !http->inbox;
  if (!x->is_listed) {
    x->is_listed = true;
    atomic_fetch_add_explicit(&x->references, 1, memory_order_relaxed);
    x->next_in = http->inbox;
    http->inbox = x;
  }
  mutex_unlock(&http->lock);
  if (raise) wake_raise(&http->wake);
}

// ── libcurl's callbacks, on the thread ──

static int32_t refuse(struct exchange *x, int32_t code, const char *sentence) {
  if (x->refusal.code == 0) fault_set(&x->refusal, code, "%s", sentence);
  return code;
}

static bool is_redirect(uint32_t status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// The answer is the content that was asked for: it fits what is known of it, and where it begins is
// known.
static int32_t accept_answer(struct exchange *x) {
  struct http_head *head = &x->head;
  const struct http_request *request = &x->request;
  uint64_t from = request->from + x->delivered, total = head->size;
  if (head->is_chunked) total = COPSE_UNKNOWN;
  if (head->is_encoded && !request->head)
    return refuse(x, COPSE_E_PROTOCOL,
                  "the server sends the content encoded though it was not asked to");
  x->skip = 0;
  if (head->status == 206) {
    if (from == 0 || !head->has_range)
      return refuse(x, COPSE_E_PROTOCOL, "the server sends a part that was not asked for");
    if (head->range_from != from || head->range_to <= head->range_from)
      return refuse(x, COPSE_E_PROTOCOL, "the server sends another part than was asked for");
    total = head->range_total;
    if (total != COPSE_UNKNOWN && head->range_to != total)
      return refuse(x, COPSE_E_PROTOCOL, "the server sends less than was asked for");
    if (!head->is_chunked && head->size != COPSE_UNKNOWN &&
        head->size != head->range_to - head->range_from)
      return refuse(x, COPSE_E_PROTOCOL, "the server's length and range do not agree");
    if (strncmp(head->type, "multipart/", 10) == 0)
      return refuse(x, COPSE_E_PROTOCOL,
                    "the server sends several parts for one that was asked for");
  } else {
    x->skip = from;  // no ranges here: the whole content, from its first byte
  }
  mutex_lock(&x->lock);
  bool again = x->is_answered;
  span etag = again ? span_of(x->answer.etag) : request->etag;
  uint64_t size = again ? x->answer.size : request->size;
  bool is_other = (etag.size && head->etag[0] && !span_equal(etag, span_of(head->etag))) ||
                  (size != COPSE_UNKNOWN && total != COPSE_UNKNOWN && size != total);
  // What is put together of two answers must be known to be one content.
  bool is_unsure = from > 0 && !(etag.size && head->etag[0]) &&
                   !(again && x->answer.mtime_ns != COPSE_UNKNOWN_TIME &&
                     x->answer.mtime_ns == head->mtime_ns && size == total);
  if (again && (is_other || is_unsure)) {
    mutex_unlock(&x->lock);
    return refuse(x, COPSE_E_CHANGED, "the content changed while it was read; run again");
  }
  if (is_other) {
    mutex_unlock(&x->lock);
    return refuse(x, COPSE_E_CHANGED, "the content changed since it was looked at; run again");
  }
  if (!again) {
    x->answer = (struct http_answer){.status = head->status,
                                     .size = total,
                                     .mtime_ns = head->mtime_ns,
                                     .ranges = head->ranges || head->status == 206,
                                     .is_strong = head->is_strong,
                                     .is_encoded = head->is_encoded};
    memcpy(x->answer.etag, head->etag, sizeof head->etag);
    memcpy(x->answer.type, head->type, sizeof head->type);
    x->answer.url = x->url;
    x->is_answered = true;
    condition_all(&x->changed);
  }
  mutex_unlock(&x->lock);
  x->window_ns = clock_now();
  x->window_bytes = 0;
  return 0;
}

static void note_multiplexed(struct exchange *x) {
  for (struct origin *origin = x->http->origins; origin; origin = origin->next)
    if (strcmp(origin->name, x->origin) == 0) return;
  size_t size = strlen(x->origin) + 1;
  struct origin *origin = malloc(sizeof *origin + size);
  if (!origin) return;
  memcpy(origin->name, x->origin, size);
  origin->next = x->http->origins;
  x->http->origins = origin;
}

// All lines of one head are there. False ends the try.
static bool head_ended(struct exchange *x) {
  struct http_head *head = &x->head;
  if (head->status < 200) return true;
  x->is_settled = true;
  long version = 0;
  curl_easy_getinfo(x->easy, CURLINFO_HTTP_VERSION, &version);
  if (version >= CURL_HTTP_VERSION_2_0) note_multiplexed(x);
  if (head->status == 200 || head->status == 206) {
    bool is_small = head->size <= SHARED_MAX || x->request.whole || x->request.head;
    x->wants_own = version >= CURL_HTTP_VERSION_2_0 && !is_small && !x->is_own;
    return !x->wants_own && accept_answer(x) == 0;
  }
  // A connection whose refusal was read to its end can be used again; a long one is not worth it.
  uint64_t soon = clock_now() + SECOND;
  if (x->deadline_ns > soon) x->deadline_ns = soon;
  return x->request.head || head->size <= REFUSAL_MAX || head->is_chunked;
}

static size_t on_head(char *line, size_t one, size_t size, void *user) {
  struct exchange *x = user;
  size *= one;
  struct fault fault = {};
  span bytes = {(const uint8_t *)line, size};
  if (http_head_line(&x->head, bytes, clock_wall() / 1'000'000'000, &fault) < 0) {
    if (x->refusal.code == 0) x->refusal = fault;
    return 0;
  }
  bool is_end = size == 0 || (size == 2 && line[0] == '\r') || (size == 1 && line[0] == '\n');
  // Trailers come after the body and say nothing here.
  if (!is_end || x->arrived > 0) return size;
  return head_ended(x) ? size : 0;
}

// Room for `size` more bytes. The lock is held. False: there is none now.
static bool make_room(struct exchange *x, size_t size) {
  if (x->capacity - x->filled >= size) return true;
  size_t most = x->request.whole ? HTTP_WHOLE_MAX : BUFFER_MAX;
  size_t capacity = x->capacity ? x->capacity : BUFFER_LEAST;
  while (capacity < most && capacity - x->filled < size) capacity *= 4;
  if (capacity > most) capacity = most;
  if (capacity == x->capacity || capacity - x->filled < size) return false;
  uint8_t *buffer = malloc(capacity);
  if (!buffer) return false;
  size_t first = x->capacity - x->begin < x->filled ? x->capacity - x->begin : x->filled;
  if (first) memcpy(buffer, x->buffer + x->begin, first);
  if (x->filled > first) memcpy(buffer + first, x->buffer, x->filled - first);
  free(x->buffer);
  x->buffer = buffer;
  x->capacity = capacity;
  x->begin = 0;
  return true;
}

static size_t on_body(char *bytes, size_t one, size_t size, void *user) {
  struct exchange *x = user;
  size *= one;
  if (x->head.status != 200 && x->head.status != 206) {
    x->arrived += size;
    return x->arrived <= REFUSAL_MAX ? size : 0;
  }
  size_t drop = x->skip < size ? (size_t)x->skip : size, wanted = size - drop;
  mutex_lock(&x->lock);
  if (wanted && !make_room(x, wanted)) {
    bool is_too_much = x->request.whole || (x->filled == 0);
    if (!is_too_much) x->is_paused = true;
    mutex_unlock(&x->lock);
    if (!is_too_much) return CURL_WRITEFUNC_PAUSE;
    if (x->request.whole)
      fault_set(&x->refusal, COPSE_E_LIMIT, "the document is longer than %zu bytes",
                HTTP_WHOLE_MAX);
    else
      no_memory(&x->refusal);
    return 0;
  }
  size_t end = x->capacity ? (x->begin + x->filled) % x->capacity : 0;
  size_t first = x->capacity - end < wanted ? x->capacity - end : wanted;
  if (first) memcpy(x->buffer + end, bytes + drop, first);
  if (wanted > first) memcpy(x->buffer, bytes + drop + first, wanted - first);
  x->filled += wanted;
  if (x->needed && x->filled >= x->needed) condition_all(&x->changed);
  mutex_unlock(&x->lock);
  x->skip -= drop;
  x->arrived += size;
  x->delivered += wanted;
  x->window_bytes += size;
  return size;
}

static curl_socket_t on_open(void *user, curlsocktype, struct curl_sockaddr *address) {
  struct exchange *x = user;
  if (x->is_filtered && x->request.proxy.size == 0 && !http_address_is_public(&address->addr)) {
    x->is_address_refused = true;
    return CURL_SOCKET_BAD;
  }
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

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

// ── Pools ──

static void multi_free(struct multi *multi) {
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

static struct multi *multi_of(struct http *http, const struct exchange *x) {
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

// ── One try ──

static bool add_line(struct exchange *x, const char *line) {
  struct curl_slist *lines = curl_slist_append(x->lines, line);
  if (lines) x->lines = lines;
  return lines;
}

static bool add_text(struct exchange *x, const char *name, span value) {
  char *line = malloc(strlen(name) + value.size + 1);
  if (!line) return false;
  memcpy(line, name, strlen(name));
  if (value.size) memcpy(line + strlen(name), value.at, value.size);
  line[strlen(name) + value.size] = 0;
  bool added = add_line(x, line);
  free(line);
  return added;
}

// The user's own lines go only to the origin that the user named.
static bool add_lines(struct exchange *x) {
  const struct http_request *request = &x->request;
  curl_slist_free_all(x->lines);
  x->lines = nullptr;
  bool good = add_line(x, "Accept-Encoding: identity") &&
              (request->accept.size == 0 || add_text(x, "Accept: ", request->accept));
  uint64_t from = request->from + x->delivered;
  if (good && from > 0) {
    char line[64];
    snprintf(line, sizeof line, "Range: bytes=%llu-", (unsigned long long)from);
    span etag =
        x->is_answered ? (x->answer.is_strong ? span_of(x->answer.etag) : (span){}) : request->etag;
    good = add_line(x, line) && (etag.size == 0 || add_text(x, "If-Range: ", etag));
  }
  if (x->is_off_origin) return good;
  if (good && request->bearer.size) good = add_text(x, "Authorization: Bearer ", request->bearer);
  for (span rest = request->headers; good && rest.size;) {
    const uint8_t *end = memchr(rest.at, '\n', rest.size);
    size_t size = end ? (size_t)(end - rest.at) : rest.size;
    const uint8_t *colon = memchr(rest.at, ':', size);
    // "Name:" would take the line out in libcurl's language; "Name;" sends it empty.
    bool is_empty = colon && (size_t)(colon - rest.at) + 1 == size;
    char *line = malloc(size + 1);
    if (!line) return false;
    memcpy(line, rest.at, size);
    if (is_empty) line[size - 1] = ';';
    line[size] = 0;
    good = add_line(x, line);
    free(line);
    size_t used = size + (end ? 1 : 0);
    rest = (span){rest.at + used, rest.size - used};
  }
  return good;
}

#define SET(option, value) good = good && curl_easy_setopt(easy, option, value) == CURLE_OK

static int32_t try_begin(struct exchange *x, struct fault *fault) {
  struct http *http = x->http;
  const struct http_request *request = &x->request;
  x->multi = multi_of(http, x);
  CURL *easy = x->multi ? curl_easy_init() : nullptr;
  if (!easy || !add_lines(x)) {
    if (easy) curl_easy_cleanup(easy);
    return no_memory(fault);
  }
  uint64_t now = clock_now();
  if (x->deadline_ns == 0) x->deadline_ns = now + request->timeout_ms * MS;
  uint64_t left_ms = x->deadline_ns > now ? (x->deadline_ns - now) / MS : 1;
  uint64_t connect_ms = left_ms < 10'000 ? left_ms : 10'000;
  x->head.bytes = 0;
  http_head_begin(&x->head);
  x->arrived = 0;
  x->is_settled = x->wants_own = x->is_address_refused = false;
  x->refusal = (struct fault){};
  x->error[0] = 0;
  bool good = true;
  SET(CURLOPT_URL, x->url);
  SET(CURLOPT_PROTOCOLS_STR, "http,https");
  SET(CURLOPT_NOSIGNAL, 1L);
  SET(CURLOPT_QUICK_EXIT, 1L);
  SET(CURLOPT_FOLLOWLOCATION, 0L);
  SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
  SET(CURLOPT_PIPEWAIT, x->multi->key.own ? 0L : 1L);
  SET(CURLOPT_USERAGENT, "copse/0.1.0");
  SET(CURLOPT_HTTPHEADER, x->lines);
  SET(CURLOPT_HEADERFUNCTION, on_head);
  SET(CURLOPT_HEADERDATA, x);
  SET(CURLOPT_WRITEFUNCTION, on_body);
  SET(CURLOPT_WRITEDATA, x);
  SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
  SET(CURLOPT_OPENSOCKETDATA, x);
  SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  SET(CURLOPT_BUFFERSIZE, RECEIVE_BYTES);
  SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(connect_ms ? connect_ms : 1));
  SET(CURLOPT_TCP_KEEPALIVE, 1L);
  SET(CURLOPT_MAXAGE_CONN, (long)(IDLE_NS / SECOND));
  SET(CURLOPT_ERRORBUFFER, x->error);
  SET(CURLOPT_PRIVATE, x);
  SET(CURLOPT_SHARE, x->multi->share);
  // Explicit, so that no variable of the environment sends a request elsewhere.
  SET(CURLOPT_PROXY, request->proxy.size ? (const char *)request->proxy.at : "");
  SET(CURLOPT_SSLVERSION,
      (long)(request->tls13 ? CURL_SSLVERSION_TLSv1_3 : CURL_SSLVERSION_TLSv1_2));
  SET(CURLOPT_SSL_VERIFYPEER, request->insecure ? 0L : 1L);
  SET(CURLOPT_SSL_VERIFYHOST, request->insecure ? 0L : 2L);
  if (request->ca_file.size) SET(CURLOPT_CAINFO, (const char *)request->ca_file.at);
  if (request->ca_blob.size) {
    // Copied once a transfer; the arena outlives it, so it need not be.
    struct curl_blob blob = {
        .data = (void *)(uintptr_t)request->ca_blob.at,
        .len = request->ca_blob.size,
        .flags = CURL_BLOB_NOCOPY,
    };
    SET(CURLOPT_CAINFO, nullptr);
    SET(CURLOPT_CAINFO_BLOB, &blob);
  }
  if (request->head) SET(CURLOPT_NOBODY, 1L);
  if (request->user.size && !x->is_off_origin) {
    SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
    SET(CURLOPT_USERNAME, (const char *)request->user.at);
    SET(CURLOPT_PASSWORD, request->password.size ? (const char *)request->password.at : "");
  }
  if (!good || curl_multi_add_handle(x->multi->handle, easy) != CURLM_OK) {
    curl_easy_cleanup(easy);
    return fault_set(fault, COPSE_E_INTERNAL, "libcurl does not take an option");
  }
  x->easy = easy;
  x->multi->active++;
  x->phase = PHASE_RUNNING;
  mutex_lock(&x->lock);
  x->is_paused = false;
  mutex_unlock(&x->lock);
  return 0;
}

static void try_end(struct exchange *x) {
  if (!x->easy) return;
  curl_multi_remove_handle(x->multi->handle, x->easy);
  curl_easy_cleanup(x->easy);
  x->easy = nullptr;
  x->multi->active--;
  x->multi->idle_ns = clock_now();
}

static void fault_of_curl(struct exchange *x, CURLcode result, struct fault *fault) {
  const char *said = x->error[0] ? x->error : curl_easy_strerror(result);
  int32_t code = COPSE_E_NETWORK;
  const char *next = "check the network and the address";
  switch (result) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      next = "check the name of the host";
      break;
    case CURLE_OPERATION_TIMEDOUT:
      code = COPSE_E_TIMEOUT;
      next = "try again or allow more time";
      break;
    case CURLE_PEER_FAILED_VERIFICATION:
      code = COPSE_E_DENIED;
      next = "the server's certificate is not trusted; check the address, or give ca";
      break;
    case CURLE_SSL_CACERT_BADFILE:
      code = COPSE_E_ARGUMENT;
      next = "the file of certificates cannot be used (ca, SSL_CERT_FILE)";
      break;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CIPHER:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_BAD_CONTENT_ENCODING:
      code = COPSE_E_PROTOCOL;
      next = "check the address and the server";
      break;
    case CURLE_OUT_OF_MEMORY:
      no_memory(fault);
      return;
    case CURLE_URL_MALFORMAT:
      code = COPSE_E_ARGUMENT;
      next = "correct the URL";
      break;
    default:
      break;
  }
  fault_set(fault, code, "%.150s: %s", said, next);
  long os_errno = 0;
  if (curl_easy_getinfo(x->easy, CURLINFO_OS_ERRNO, &os_errno) == CURLE_OK && os_errno > 0)
    fault->os_errno = (int32_t)os_errno;
}

static void fault_of_status(uint32_t status, struct fault *fault) {
  static const struct {
    uint32_t status;
    int32_t code;
    const char *sentence;
  } known[] = {
      {401, COPSE_E_AUTH, "the server wants credentials, or other ones: check them"},
      {403, COPSE_E_DENIED, "the server does not allow it: check who may"},
      {404, COPSE_E_NOT_FOUND, "the server has no such thing: check the address"},
      {405, COPSE_E_UNSUPPORTED, "the server does not do this here"},
      {407, COPSE_E_AUTH, "the proxy wants credentials, or other ones: check them"},
      {408, COPSE_E_TIMEOUT, "the server waited too long for the request: try again"},
      {410, COPSE_E_NOT_FOUND, "the server has it no more: check the address"},
      {412, COPSE_E_CHANGED, "the content changed; run again"},
      {425, COPSE_E_BUSY, "the server is not ready: try again in a moment"},
      {429, COPSE_E_THROTTLED, "the server asks to slow down: try again later"},
      {451, COPSE_E_DENIED, "the server may not give it"},
      {501, COPSE_E_UNSUPPORTED, "the server does not do this"},
      {503, COPSE_E_BUSY, "the server is busy: try again in a moment"},
  };
  int32_t code = status >= 500 ? COPSE_E_NETWORK : COPSE_E_PROTOCOL;
  const char *sentence = status >= 500 ? "the server failed: try again later"
                                       : "the server refuses the request: check the address";
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (known[i].status != status) continue;
    code = known[i].code;
    sentence = known[i].sentence;
  }
  fault_set(fault, code, "%s (HTTP status %u)", sentence, status);
  fault->status = (int32_t)status;
}

// Another try in a while, or the end.
static void retry_or_end(struct exchange *x, const struct fault *fault) {
  uint64_t now = clock_now();
  uint64_t delay_ms = BACKOFF_MS << (x->tries < 8 ? x->tries : 8);
  delay_ms = delay_ms / 2 + now / 1000 % (delay_ms / 2 + 1);  // so that not all come back at once
  if (x->is_settled && x->head.retry_after_ms != COPSE_UNKNOWN) delay_ms = x->head.retry_after_ms;
  mutex_lock(&x->lock);
  bool is_answered = x->is_answered;
  mutex_unlock(&x->lock);
  if (is_answered) x->deadline_ns = now + x->request.timeout_ms * MS;
  bool in_time = now + delay_ms * MS < x->deadline_ns;
  if (!fault_retryable(fault->code) || fault->code == COPSE_E_TIMEOUT ||
      fault->code == COPSE_E_CHANGED || x->tries >= x->request.retries || !in_time) {
    over(x, fault);
    return;
  }
  x->tries++;
  x->not_before_ns = now + delay_ms * MS;
  x->phase = PHASE_DELAYED;
}

static void redirect(struct exchange *x) {
  struct fault fault = {};
  if (x->request.redirects == 0)
    fault_set(&fault, COPSE_E_PROTOCOL, "the server redirects, and redirects is 0");
  else if (x->hops >= x->request.redirects)
    fault_set(&fault, COPSE_E_LIMIT, "more than %u redirects", x->request.redirects);
  else if (!x->head.has_location)
    fault_set(&fault, COPSE_E_PROTOCOL, "the server redirects to no address: check the server");
  else
    go_to(x, x->head.location, &fault);
  if (fault.code < 0) {
    fault.status = (int32_t)x->head.status;
    over(x, &fault);
    return;
  }
  x->hops++;
  x->is_own = false;
  x->phase = PHASE_QUEUED;
}

static void finished(struct exchange *x, CURLcode result) {
  struct fault fault = {};
  uint32_t status = x->head.status;
  bool is_good = x->is_settled && (status == 200 || status == 206);
  if (!x->wants_own && x->refusal.code == 0 && result != CURLE_OK && (is_good || !x->is_settled))
    fault_of_curl(x, result, &fault);
  try_end(x);
  if (x->wants_own) {
    x->is_own = true;
    x->phase = PHASE_QUEUED;
  } else if (x->refusal.code < 0) {
    if (x->is_settled) x->refusal.status = (int32_t)status;
    over(x, &x->refusal);
  } else if (x->is_address_refused && !x->is_settled) {
    fault_set(&fault, COPSE_E_DENIED,
              x->hops ? "the server redirects to an address that is not a public one"
                      : "the address is not a public one (addresses: \"public\")");
    fault.os_errno = 0;
    over(x, &fault);
  } else if (!x->is_settled) {
    if (result == CURLE_OK)
      fault_set(&fault, COPSE_E_PROTOCOL, "the server gives no answer: check the server");
    retry_or_end(x, &fault);
  } else if (is_good) {
    uint64_t end = x->request.from + x->delivered;
    if (result == CURLE_OK && x->skip > 0)
      fault_set(&fault, COPSE_E_CHANGED, "the content became shorter; run again");
    else if (result == CURLE_OK && !x->request.head && x->answer.size != COPSE_UNKNOWN &&
             x->answer.size != end)
      fault_set(&fault, COPSE_E_PROTOCOL, "the server sends another length than it says");
    if (fault.code < 0)
      retry_or_end(x, &fault);
    else
      over(x, nullptr);
  } else if (is_redirect(status)) {
    redirect(x);
  } else if (status == 416 && x->request.from + x->delivered > 0 && x->head.has_range &&
             x->head.range_total <= x->request.from + x->delivered) {
    // Nothing is there: right when the content ends where we would go on.
    mutex_lock(&x->lock);
    bool fits = !x->is_answered || x->answer.size == x->head.range_total;
    if (!x->is_answered) {
      x->answer = (struct http_answer){.status = 416,
                                       .size = x->head.range_total,
                                       .mtime_ns = COPSE_UNKNOWN_TIME,
                                       .ranges = true,
                                       .url = x->url};
      x->is_answered = true;
    }
    mutex_unlock(&x->lock);
    if (!fits) fault_set(&fault, COPSE_E_CHANGED, "the content changed while it was read");
    over(x, fits ? nullptr : &fault);
  } else {
    fault_of_status(status, &fault);
    retry_or_end(x, &fault);
  }
}

// ── The thread ──

static bool is_multiplexed(const struct http *http, const struct exchange *x) {
  for (struct origin *origin = http->origins; origin; origin = origin->next)
    if (strcmp(origin->name, x->origin) == 0) return true;
  return false;
}

// Who waits comes before who may wait; a transfer that stands still stands in nobody's way.
static bool may_begin(struct http *http, struct exchange *x, bool is_claimed) {
  uint32_t all = 0, host = 0, connections = http->runtime->connections;
  for (struct exchange *other = http->all; other; other = other->next) {
    if (other->phase != PHASE_RUNNING) continue;
    if (is_claimed) {
      mutex_lock(&other->lock);
      bool stands = other->is_paused;
      mutex_unlock(&other->lock);
      if (stands) continue;
    }
    all++;
    if (strcmp(other->origin, x->origin) == 0) host++;
  }
  return all < connections && host < (is_multiplexed(http, x) ? connections : HOST_MAX);
}

static void admit(struct http *http, uint64_t now) {
  for (int round = 0; round < 2; round++) {
    for (struct exchange *x = http->all; x; x = x->next) {
      if (x->phase == PHASE_DELAYED && x->not_before_ns <= now) x->phase = PHASE_QUEUED;
      if (x->phase != PHASE_QUEUED) continue;
      mutex_lock(&x->lock);
      bool is_claimed = x->is_claimed;
      mutex_unlock(&x->lock);
      if ((round == 0) != is_claimed || !may_begin(http, x, is_claimed)) continue;
      struct fault fault = {};
      if (try_begin(x, &fault) < 0) over(x, &fault);
    }
  }
}

// What callers said since the last look: a new exchange, room in a buffer, enough of it.
static void take_inbox(struct http *http) {
  mutex_lock(&http->lock);
  struct exchange *x = http->inbox, *next, *turned = nullptr;
  http->inbox = nullptr;
  for (; x; x = next) {  // told newest first, taken oldest first
    next = x->next_in;
    x->next_in = turned;
    x->is_listed = false;
    turned = x;
  }
  mutex_unlock(&http->lock);
  struct exchange **end = &http->all;
  while (*end) end = &(*end)->next;
  for (x = turned; x; x = next) {
    next = x->next_in;
    if (!x->is_known) {
      x->is_known = true;
      x->next = nullptr;
      *end = x;
      end = &x->next;
    }
    mutex_lock(&x->lock);
    bool go_on = x->is_paused && !x->is_dropped && x->filled <= x->capacity / 2;
    if (go_on) x->is_paused = false;
    mutex_unlock(&x->lock);
    if (go_on && x->easy) {
      x->window_ns = clock_now();
      x->window_bytes = 0;
      curl_easy_pause(x->easy, CURLPAUSE_CONT);
    }
    exchange_free(x);  // the list's reference
  }
}

static void drop_dropped(struct http *http) {
  for (struct exchange **at = &http->all; *at;) {
    struct exchange *x = *at;
    mutex_lock(&x->lock);
    bool is_dropped = x->is_dropped;
    mutex_unlock(&x->lock);
    if (!is_dropped) {
      at = &x->next;
      continue;
    }
    *at = x->next;
    try_end(x);
    exchange_free(x);
  }
}

static bool is_in_body(const struct exchange *x) {
  return x->phase == PHASE_RUNNING && x->is_settled &&
         (x->head.status == 200 || x->head.status == 206);
}

// An answer that does not come, or a body that hardly does.
static void check_time(struct exchange *x, uint64_t now) {
  if (x->phase != PHASE_RUNNING && x->phase != PHASE_DELAYED) return;
  mutex_lock(&x->lock);
  bool is_paused = x->is_paused;
  mutex_unlock(&x->lock);
  struct fault fault = {};
  uint64_t timeout_ms = x->request.timeout_ms;
  bool in_body = is_in_body(x);
  if (!in_body && now >= x->deadline_ns) {
    if (x->is_settled &&
        x->phase == PHASE_RUNNING) {  // its status is known, the rest is not needed
      finished(x, CURLE_OPERATION_TIMEDOUT);
      return;
    }
    fault_set(&fault, COPSE_E_TIMEOUT, "no answer within %llu ms; try again or allow more time",
              (unsigned long long)timeout_ms);
  } else if (in_body && is_paused) {
    x->window_ns = now;
    x->window_bytes = 0;
  } else if (in_body && now >= x->window_ns + timeout_ms * MS) {
    if (x->window_bytes * 1000 < SLOWEST * timeout_ms)
      fault_set(&fault, COPSE_E_TIMEOUT,
                "less than 1 KiB a second came for %llu ms; try again or allow more time",
                (unsigned long long)timeout_ms);
    x->window_ns = now;
    x->window_bytes = 0;
  }
  if (fault.code == 0) return;
  try_end(x);
  over(x, &fault);
}

static void least(uint64_t *left, uint64_t right) {
  if (right < *left) *left = right;
}

// When the thread has to look by itself.
static uint64_t next_look(struct http *http) {
  uint64_t at = http->idle_ns + IDLE_NS;
  for (struct multi *multi = http->multis; multi; multi = multi->next) {
    least(&at, multi->due_ns);
    if (multi->active == 0) least(&at, multi->idle_ns + IDLE_NS);
  }
  for (struct exchange *x = http->all; x; x = x->next) {
    uint64_t timeout_ns = x->request.timeout_ms * MS;
    if (x->phase == PHASE_DELAYED) least(&at, x->not_before_ns);
    if (x->phase == PHASE_RUNNING)
      least(&at, is_in_body(x) ? x->window_ns + timeout_ns : x->deadline_ns);
  }
  return at;
}

static void take_finished(struct http *http) {
  for (struct multi *multi = http->multis; multi; multi = multi->next) {
    int more;
    for (CURLMsg *message; (message = curl_multi_info_read(multi->handle, &more));) {
      if (message->msg != CURLMSG_DONE) continue;
      struct exchange *x = nullptr;
      CURLcode result = message->data.result;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &x);
      if (x) finished(x, result);
    }
  }
}

static void drive(struct http *http, uint64_t now) {
  int running;
  // What a call adds or takes moves the array: each descriptor is looked for anew.
  for (size_t i = 1; i < http->polled_count; i++) {
    short seen = http->polled[i].revents;
    if (!seen) continue;
    http->polled[i].revents = 0;
    int mask = (seen & (POLLIN | POLLHUP) ? CURL_CSELECT_IN : 0) |
               (seen & POLLOUT ? CURL_CSELECT_OUT : 0) |
               (seen & (POLLERR | POLLNVAL) ? CURL_CSELECT_ERR : 0);
    curl_multi_socket_action(http->owners[i]->handle, http->polled[i].fd, mask, &running);
    i = 0;
  }
  for (struct multi *multi = http->multis; multi; multi = multi->next) {
    if (multi->due_ns > now) continue;
    multi->due_ns = UINT64_MAX;
    curl_multi_socket_action(multi->handle, CURL_SOCKET_TIMEOUT, 0, &running);
  }
}

static void close_idle(struct http *http, uint64_t now) {
  for (struct multi **at = &http->multis; *at;) {
    struct multi *multi = *at;
    if (multi->active > 0 || now < multi->idle_ns + IDLE_NS) {
      at = &multi->next;
      continue;
    }
    *at = multi->next;
    multi_free(multi);
  }
}

static void drain_wake(struct http *http) {
  uint8_t bytes[64];
  while (read(http->wake.read_fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes) {
  }
}

static void run(void *argument) {
  struct http *http = argument;
  mutex_lock(&http->lock);
  http->thread = thread_self();
  mutex_unlock(&http->lock);
  http->idle_ns = clock_now();
  http->polled[0] = (struct pollfd){.fd = http->wake.read_fd, .events = POLLIN};
  http->polled_count = 1;
  for (;;) {
    take_inbox(http);
    drop_dropped(http);
    uint64_t now = clock_now();
    if (http->all) http->idle_ns = now;
    mutex_lock(&http->lock);
    bool is_over =
        !http->inbox && !http->all && (http->is_closing || now >= http->idle_ns + IDLE_NS);
    if (is_over) break;  // with the lock: who comes now starts another thread
    mutex_unlock(&http->lock);
    for (struct exchange *x = http->all; x; x = x->next) check_time(x, now);
    admit(http, now);
    close_idle(http, now);
    uint64_t look = next_look(http);
    now = clock_now();
    uint64_t wait_ms = look > now ? (look - now + MS - 1) / MS : 0;
    int ready = poll(http->polled, (nfds_t)http->polled_count,
                     wait_ms < INT32_MAX ? (int)wait_ms : INT32_MAX);
    if (ready > 0 && http->polled[0].revents) drain_wake(http);
    drive(http, clock_now());
    take_finished(http);
  }
  while (http->multis) {
    struct multi *multi = http->multis;
    http->multis = multi->next;
    multi_free(multi);
  }
  while (http->origins) {
    struct origin *origin = http->origins;
    http->origins = origin->next;
    free(origin);
  }
  http->is_running = false;
  condition_all(&http->ended);
  mutex_unlock(&http->lock);
}

// ── Beginning and end ──

static bool library_begin(void) {
  static mutex once = PTHREAD_MUTEX_INITIALIZER;
  static bool is_ready;
  mutex_lock(&once);
  if (!is_ready) is_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  bool ready = is_ready;
  mutex_unlock(&once);
  return ready;
}

const char *http_version(void) { return curl_version_info(CURLVERSION_NOW)->version; }

bool http_can(const char *feature) {
  const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
  if (strcmp(feature, "HTTP2") == 0) return info->features & CURL_VERSION_HTTP2;
  if (strcmp(feature, "HTTP3") == 0) return info->features & CURL_VERSION_HTTP3;
  return false;
}

static void http_free(struct attachment *attachment) {
  struct http *http = (struct http *)attachment;
  mutex_lock(&http->lock);
  http->is_closing = true;
  wake_raise(&http->wake);
  while (http->is_running) condition_wait(&http->ended, &http->lock);
  mutex_unlock(&http->lock);
  thread_join(&http->thread);
  wake_end(&http->wake);
  condition_end(&http->ended);
  mutex_end(&http->lock);
  free(http->polled);
  free(http->owners);
  free(http);
}

static struct attachment *http_make(struct runtime *runtime) {
  if (!library_begin()) return nullptr;
  struct http *http = calloc(1, sizeof *http);
  if (!http) return nullptr;
  http->polled_capacity = 16;
  http->polled = calloc(http->polled_capacity, sizeof *http->polled);
  http->owners = calloc(http->polled_capacity, sizeof(struct multi *));
  if (!http->polled || !http->owners || wake_begin(&http->wake) < 0) {
    free(http->polled);
    free(http->owners);
    free(http);
    return nullptr;
  }
  http->attachment = (struct attachment){.key = &http_key, .free = http_free};
  http->runtime = runtime;
  mutex_begin(&http->lock);
  condition_begin(&http->ended);
  return &http->attachment;
}

static bool copy_request(struct exchange *x, const struct http_request *request) {
  x->request = *request;
  struct http_request *own = &x->request;
  span *const texts[] = {&own->headers, &own->user,    &own->password, &own->bearer, &own->proxy,
                         &own->ca_file, &own->ca_blob, &own->accept,   &own->etag};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    if (texts[i]->size == 0) continue;
    *texts[i] = arena_copy(&x->arena, *texts[i]);
    if (!texts[i]->at) return false;
  }
  own->url = (span){};
  return true;
}

static int32_t check_request(const struct http_request *request, struct fault *fault) {
  for (span rest = request->headers; rest.size;) {
    const uint8_t *end = memchr(rest.at, '\n', rest.size);
    size_t size = end ? (size_t)(end - rest.at) : rest.size;
    if (!http_header_is_safe((span){rest.at, size}))
      return fault_set(fault, COPSE_E_ARGUMENT, "a header that must not be sent");
    size_t used = size + (end ? 1 : 0);
    rest = (span){rest.at + used, rest.size - used};
  }
  const span texts[] = {request->url, request->user, request->password, request->bearer,
                        request->proxy};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    for (size_t j = 0; j < texts[i].size; j++)
      if (texts[i].at[j] < 0x20 || texts[i].at[j] == 0x7f)
        return fault_set(fault, COPSE_E_ARGUMENT,
                         "a URL or credential must not hold control characters");
  return 0;
}

struct exchange *http_send(struct runtime *runtime, const struct http_request *request,
                           struct fault *fault) {
  if (check_request(request, fault) < 0) return nullptr;
  struct http *http = (struct http *)runtime_attachment(runtime, &http_key, http_make);
  struct exchange *x = http ? calloc(1, sizeof *x) : nullptr;
  if (!x) {
    no_memory(fault);
    return nullptr;
  }
  x->http = http;
  arena_begin(&x->arena);
  mutex_begin(&x->lock);
  condition_begin(&x->changed);
  atomic_init(&x->references, 1);
  span url = arena_copy(&x->arena, request->url);
  int32_t code = url.at && copy_request(x, request) ? 0 : no_memory(fault);
  if (code == 0) code = go_to(x, (const char *)url.at, fault);
  if (code < 0) {
    exchange_free(x);
    return nullptr;
  }
  atomic_store_explicit(&x->references, 2, memory_order_relaxed);  // the thread's too
  mutex_lock(&http->lock);
  bool is_running = http->is_running;
  if (!is_running) {
    thread_join(&http->thread);
    is_running = http->is_running = thread_start("copse-http", run, http);
  }
  mutex_unlock(&http->lock);
  if (!is_running) {
    fault_set(fault, COPSE_E_MEMORY, "no thread for the network could be started");
    exchange_free(x);
    exchange_free(x);
    return nullptr;
  }
  tell(x);
  return x;
}

// ── For workers ──

// The lock is held. False: the task was cancelled.
static bool wait_a_while(struct exchange *x, const struct task *task) {
  if (task_cancelled(task)) return false;
  condition_wait_until(&x->changed, &x->lock, clock_now() + LOOK_NS);
  return true;
}

static bool claim(struct exchange *x) {
  bool first = !x->is_claimed;
  x->is_claimed = true;
  return first;
}

int32_t http_answer(struct exchange *x, const struct task *task, struct http_answer *out,
                    struct fault *fault) {
  mutex_lock(&x->lock);
  bool first = claim(x);
  mutex_unlock(&x->lock);
  if (first) tell(x);
  int32_t code = 0;
  mutex_lock(&x->lock);
  while (!x->is_answered && !x->is_over && code == 0)
    if (!wait_a_while(x, task)) code = fault_set(fault, COPSE_E_CANCELLED, "cancelled");
  if (code == 0 && x->is_answered) {
    *out = x->answer;
  } else if (code == 0) {
    *fault = x->fault;
    code = fault->code < 0 ? fault->code
                           : fault_set(fault, COPSE_E_PROTOCOL, "the server gives no answer");
  }
  mutex_unlock(&x->lock);
  return code;
}

int64_t http_read(struct exchange *x, const struct task *task, uint8_t *into, size_t size,
                  struct fault *fault) {
  // Half a buffer is worth waking up for; the other half fills meanwhile.
  size_t enough = size < BUFFER_MAX / 2 ? size : BUFFER_MAX / 2;
  mutex_lock(&x->lock);
  claim(x);
  x->needed = enough;
  while (x->filled < enough && !x->is_over && !(x->is_paused && x->filled)) {
    if (wait_a_while(x, task)) continue;
    x->needed = 0;
    mutex_unlock(&x->lock);
    return fault_set(fault, COPSE_E_CANCELLED, "cancelled while reading");
  }
  x->needed = 0;
  if (x->filled == 0 && x->fault.code < 0) {
    *fault = x->fault;
    mutex_unlock(&x->lock);
    return fault->code;
  }
  size_t got = size < x->filled ? size : x->filled;
  size_t first = x->capacity - x->begin < got ? x->capacity - x->begin : got;
  if (first) memcpy(into, x->buffer + x->begin, first);
  if (got > first) memcpy(into + first, x->buffer, got - first);
  x->filled -= got;
  x->begin = x->capacity ? (x->begin + got) % x->capacity : 0;
  bool has_room = x->is_paused && x->filled <= x->capacity / 2;
  mutex_unlock(&x->lock);
  if (has_room) tell(x);
  return (int64_t)got;
}

bool http_is_at_end(struct exchange *x) {
  mutex_lock(&x->lock);
  bool is_at_end = x->is_over && x->filled == 0 && x->fault.code == 0;
  mutex_unlock(&x->lock);
  return is_at_end;
}

void http_drop(struct exchange *x) {
  if (!x) return;
  mutex_lock(&x->lock);
  x->is_dropped = true;
  mutex_unlock(&x->lock);
  tell(x);
  exchange_free(x);
}
