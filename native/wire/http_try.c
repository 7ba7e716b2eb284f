// One request after another until an exchange has its answer: what the server says is checked as it
// comes, and after each try it is decided whether to follow, to try again, or to be done.
#include "wire/http_exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

constexpr size_t BUFFER_LEAST = 16 * 1024;
constexpr uint64_t SHARED_MAX = 256 * 1024;  // read in a shared pool without pausing
// Four times as much at once takes some of the processor's time off for a large body
// (docs/http.md), and is too much to allocate for a small one.
constexpr long RECEIVE_BYTES = 64 * 1024, RECEIVE_BULK = 256 * 1024;
constexpr uint64_t REFUSAL_MAX = 64 * 1024;  // the body of an error or redirect is read this far
constexpr uint64_t BACKOFF_MS = 250;

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
    if ((from == 0 && !request->to) || !head->has_range)
      return refuse(x, COPSE_E_PROTOCOL, "the server sends a part that was not asked for");
    if (head->range_from != from || head->range_to <= head->range_from)
      return refuse(x, COPSE_E_PROTOCOL, "the server sends another part than was asked for");
    total = head->range_total;
    uint64_t to = request->to && request->to < total ? request->to : total;
    if (to != COPSE_UNKNOWN && head->range_to != to)
      return refuse(x, COPSE_E_PROTOCOL, "the server sends less than was asked for");
    if (!head->is_chunked && head->size != COPSE_UNKNOWN &&
        head->size != head->range_to - head->range_from)
      return refuse(x, COPSE_E_PROTOCOL, "the server's length and range do not agree");
    if (strncmp(head->type, "multipart/", 10) == 0)
      return refuse(x, COPSE_E_PROTOCOL,
                    "the server sends several parts for one that was asked for");
  } else if (!request->to) {
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
  if (request->to && head->status == 200) {
    mutex_unlock(&x->lock);
    return refuse(x, COPSE_E_UNSUPPORTED, "the server gives no part of the content");
  }
  if (!again) {
    x->answer = (struct http_answer){.status = head->status,
                                     .size = total,
                                     .mtime_ns = head->mtime_ns,
                                     .ranges = head->ranges || head->status == 206,
                                     .is_strong = head->is_strong,
                                     .is_encoded = head->is_encoded};
    // Of an encoded answer the digest is that of what was encoded.
    x->answer.has_sha256 = head->has_sha256 && !head->is_disputed && !head->is_encoded;
    memcpy(x->answer.sha256, head->sha256, sizeof head->sha256);
    memcpy(x->answer.etag, head->etag, sizeof head->etag);
    memcpy(x->answer.type, head->type, sizeof head->type);
    memcpy(x->answer.name, head->name, sizeof head->name);
    x->answer.url = x->url;
    curl_off_t sent_us = 0, first_us = 0;
    curl_easy_getinfo(x->easy, CURLINFO_PRETRANSFER_TIME_T, &sent_us);
    curl_easy_getinfo(x->easy, CURLINFO_STARTTRANSFER_TIME_T, &first_us);
    if (first_us > sent_us) x->answer.round_trip_ns = (uint64_t)(first_us - sent_us) * 1000;
    x->is_answered = true;
    // A small body is there in a moment: its reader is woken once, for both.
    if (total > SHARED_MAX || request->head) exchange_tell(x);
  }
  mutex_unlock(&x->lock);
  x->window_ns = clock_now();
  x->window_bytes = 0;
  return 0;
}

// All lines of one head are there. False ends the try.
static bool head_ended(struct exchange *x) {
  struct http_head *head = &x->head;
  if (head->status < 200) return true;
  x->is_settled = true;
  long version = 0;
  curl_easy_getinfo(x->easy, CURLINFO_HTTP_VERSION, &version);
  if (version >= CURL_HTTP_VERSION_2_0 && !x->host->is_multiplexed)
    x->host->is_multiplexed = x->http->may_admit = true;
  if (head->status == 200 || head->status == 206) {
    bool is_small = head->size <= SHARED_MAX || x->request.whole || x->request.head;
    x->wants_own = version >= CURL_HTTP_VERSION_2_0 && !is_small && !x->is_own;
    return !x->wants_own && accept_answer(x) == 0;
  }
  // A connection whose refusal was read to its end can be used again; a long one is not worth it.
  uint64_t soon = clock_now() + SECOND;
  if (x->deadline_ns > soon) x->deadline_ns = soon;
  exchange_due(x, x->deadline_ns);
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
  size_t most = x->request.whole      ? HTTP_WHOLE_MAX
                : x->request.lead_max ? x->request.lead_max
                                      : BUFFER_MAX;
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
  if (x->request.to && wanted > x->request.to - x->request.from - x->delivered) {
    refuse(x, COPSE_E_PROTOCOL, "the server sends more than was asked for");
    return 0;
  }
  mutex_lock(&x->lock);
  if (wanted && !make_room(x, wanted)) {
    bool is_too_much = x->request.whole || (x->filled == 0);
    if (!is_too_much) x->is_paused = true;
    mutex_unlock(&x->lock);
    if (!is_too_much) exchange_stand(x, true);
    if (!is_too_much) return CURL_WRITEFUNC_PAUSE;
    if (x->request.whole && x->filled + wanted > HTTP_WHOLE_MAX)
      fault_set(&x->refusal, COPSE_E_LIMIT, "the document is longer than %zu bytes",
                HTTP_WHOLE_MAX);
    else
      http_no_memory(&x->refusal);
    return 0;
  }
  size_t end = x->capacity ? (x->begin + x->filled) % x->capacity : 0;
  size_t first = x->capacity - end < wanted ? x->capacity - end : wanted;
  if (first) memcpy(x->buffer + end, bytes + drop, first);
  if (wanted > first) memcpy(x->buffer, bytes + drop + first, wanted - first);
  x->filled += wanted;
  if (x->needed && x->filled >= x->needed) exchange_tell(x);
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
  if (good && (from > 0 || request->to)) {
    char line[64], to[24] = "";
    if (request->to) snprintf(to, sizeof to, "%llu", (unsigned long long)request->to - 1);
    snprintf(line, sizeof line, "Range: bytes=%llu-%s", (unsigned long long)from, to);
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

int32_t exchange_begin(struct exchange *x, struct fault *fault) {
  struct http *http = x->http;
  const struct http_request *request = &x->request;
  x->multi = multi_of(http, x);
  CURL *easy = !x->multi           ? nullptr
               : http->spare_count ? http->spare[--http->spare_count]
                                   : curl_easy_init();
  if (!easy || !add_lines(x)) {
    if (easy) curl_easy_cleanup(easy);
    return http_no_memory(fault);
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
  // Only the TLS handshake tells soon whether a connection can be shared.
  bool waits = !x->multi->key.own && strncmp(x->origin, "https:", 6) == 0;
  SET(CURLOPT_PIPEWAIT, waits ? 1L : 0L);
  SET(CURLOPT_USERAGENT, "copse/0.1.0");
  SET(CURLOPT_HTTPHEADER, x->lines);
  SET(CURLOPT_HEADERFUNCTION, on_head);
  SET(CURLOPT_HEADERDATA, x);
  SET(CURLOPT_WRITEFUNCTION, on_body);
  SET(CURLOPT_WRITEDATA, x);
  SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
  SET(CURLOPT_OPENSOCKETDATA, x);
  SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  SET(CURLOPT_BUFFERSIZE, request->bulk || request->large ? RECEIVE_BULK : RECEIVE_BYTES);
  SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(connect_ms ? connect_ms : 1));
  SET(CURLOPT_TCP_KEEPALIVE, 1L);
  SET(CURLOPT_MAXAGE_CONN, (long)(x->http->runtime->connection_idle_ns / SECOND) + 1);
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
  exchange_move(x, PHASE_RUNNING);
  exchange_due(x, x->deadline_ns);
  mutex_lock(&x->lock);
  x->is_paused = false;
  mutex_unlock(&x->lock);
  return 0;
}

void exchange_end(struct exchange *x) {
  if (!x->easy) return;
  curl_multi_remove_handle(x->multi->handle, x->easy);
  // 7.88 does not take every option again in a handle that was an HTTP/2 stream.
  long version = 0;
  curl_easy_getinfo(x->easy, CURLINFO_HTTP_VERSION, &version);
  if (x->http->spare_count < SPARE_MAX && version != 0 && version < CURL_HTTP_VERSION_2_0) {
    curl_easy_setopt(x->easy, CURLOPT_SHARE, nullptr);
    curl_easy_reset(x->easy);
    x->http->spare[x->http->spare_count++] = x->easy;
  } else {
    curl_easy_cleanup(x->easy);
  }
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
      http_no_memory(fault);
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
  bool is_refused = fault->code == COPSE_E_THROTTLED || fault->code == COPSE_E_BUSY;
  (*(is_refused ? &x->refusals : &x->losses))++;
  if (x->request.gate) exchange_tell(x);
  mutex_unlock(&x->lock);
  if (is_answered) x->deadline_ns = now + x->request.timeout_ms * MS;
  bool in_time = now + delay_ms * MS < x->deadline_ns;
  if (!fault_retryable(fault->code) || fault->code == COPSE_E_TIMEOUT ||
      fault->code == COPSE_E_CHANGED || x->tries >= x->request.retries || !in_time) {
    exchange_over(x, fault);
    return;
  }
  x->tries++;
  x->not_before_ns = now + delay_ms * MS;
  exchange_move(x, PHASE_DELAYED);
  exchange_due(x, x->not_before_ns);
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
    exchange_go(x, x->head.location, &fault);
  if (fault.code < 0) {
    fault.status = (int32_t)x->head.status;
    exchange_over(x, &fault);
    return;
  }
  x->hops++;
  x->is_own = false;
  exchange_queue(x);  // what the host it left counts
  x->host = nullptr;
  exchange_queue(x);
}

void exchange_finished(struct exchange *x, CURLcode result) {
  struct fault fault = {};
  uint32_t status = x->head.status;
  bool is_good = x->is_settled && (status == 200 || status == 206);
  if (!x->wants_own && x->refusal.code == 0 && result != CURLE_OK && (is_good || !x->is_settled))
    fault_of_curl(x, result, &fault);
  exchange_end(x);
  if (x->wants_own) {
    x->is_own = true;
    exchange_queue(x);
  } else if (x->refusal.code < 0) {
    if (x->is_settled) x->refusal.status = (int32_t)status;
    exchange_over(x, &x->refusal);
  } else if (x->is_address_refused && !x->is_settled) {
    fault_set(&fault, COPSE_E_DENIED,
              x->hops ? "the server redirects to an address that is not a public one"
                      : "the address is not a public one (addresses: \"public\")");
    fault.os_errno = 0;
    exchange_over(x, &fault);
  } else if (!x->is_settled) {
    if (result == CURLE_OK)
      fault_set(&fault, COPSE_E_PROTOCOL, "the server gives no answer: check the server");
    retry_or_end(x, &fault);
  } else if (is_good) {
    uint64_t end = x->request.from + x->delivered, expected = x->answer.size;
    if (x->request.to && x->request.to < expected) expected = x->request.to;
    if (result == CURLE_OK && x->skip > 0)
      fault_set(&fault, COPSE_E_CHANGED, "the content became shorter; run again");
    else if (result == CURLE_OK && !x->request.head && expected != COPSE_UNKNOWN && expected != end)
      fault_set(&fault, COPSE_E_PROTOCOL, "the server sends another length than it says");
    if (fault.code < 0)
      retry_or_end(x, &fault);
    else
      exchange_over(x, nullptr);
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
    exchange_over(x, fits ? nullptr : &fault);
  } else {
    fault_of_status(status, &fault);
    retry_or_end(x, &fault);
  }
}
