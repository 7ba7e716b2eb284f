// http: one HTTP client per runtime, over libcurl. Everything of libcurl happens on one thread of
// its own, outside the I/O pool, so that many transfers go on while few workers wait.
//
//   http_send    asks, without waiting: the answer begins to arrive while nobody looks
//   http_answer  waits for status, size and validators, after redirects and retries
//   http_read    waits for the next bytes; a slow reader slows the server down
//   http_take    the same without waiting; http_gate_wait waits for several exchanges at once
//   http_drop    lets go; what is left of the transfer is ended
//
// What is decided here, for every request: only http and https; redirects hop by hop, with the
// user's headers and credentials dropped as soon as one leads to another scheme, host or port, and
// never from https to http; addresses that are not public refused where the filter says so, by name
// and at connect time; timeouts always; TLS verified; lengths and ranges checked; connections, DNS
// and TLS sessions used again, but only by requests with the same credentials.
//
// Bounds: `connections` transfers of a runtime at once, HOST_MAX of one host (as many as
// `connections` when it speaks HTTP/2), and beside them STREAMS_MAX parts of contents that are
// split. Those that stand still because their reader does, do not count: a worker that waits is
// never kept waiting by one that waits for it.
#pragma once
#include "base/fault.h"
#include "base/span.h"
#include "engine/thread.h"
#include "wire/http_head.h"

struct runtime;
struct task;
struct exchange;

enum http_filter : uint8_t {  // = enum copse_addresses
  HTTP_FILTER_NAMED = 0,      // what a redirect leads to, when it is another host
  HTTP_FILTER_ANY = 1,
  HTTP_FILTER_PUBLIC = 2,
};

// For who waits for several exchanges: outlives the calls to http_drop of all of them.
struct http_gate {
  mutex lock;  // guards the rest
  condition changed;
  uint64_t told;  // times that there was something new
};
void http_gate_begin(struct http_gate *gate);
void http_gate_end(struct http_gate *gate);
uint64_t http_gate_told(struct http_gate *gate);
// Waits until it was told more than `seen` times. False: the task was cancelled.
bool http_gate_wait(struct http_gate *gate, uint64_t seen, const struct task *task);

struct http_request {
  span url;
  span headers;                 // the user's, each "Name: value" with '\n' after it
  span user, password, bearer;  // one way or none
  span proxy, ca_file, ca_blob;
  span accept;
  // Of an earlier answer about the same content. What comes must still be that, else CHANGED.
  span etag;
  uint64_t size;  // likewise; COPSE_UNKNOWN: none
  uint64_t from;  // first byte wanted
  // One past the last byte wanted; zero: to the end. A server that gives no such part is
  // UNSUPPORTED.
  uint64_t to;
  struct http_gate *gate;  // told when the answer, a good part of bytes or the end is there
  size_t lead_max;         // bytes that come before they are read; zero: 1 MiB
  uint32_t timeout_ms;     // until the answer; then without 1 KiB/s
  uint32_t retries, redirects;
  enum http_filter filter;
  bool insecure, tls13;
  bool head;   // only what the answer would be
  bool whole;  // a document that is taken as a whole, up to HTTP_WHOLE_MAX bytes
  bool ahead;  // nobody waits for it yet, and it need not be sent before somebody does
  bool large;  // will not fit a buffer: a connection of its own
  bool bulk;   // much may come: it is received in larger pieces
};

constexpr size_t HTTP_WHOLE_MAX = 64 << 20;

struct http_answer {
  uint32_t status;
  uint64_t size;           // of the whole content; COPSE_UNKNOWN
  int64_t mtime_ns;        // COPSE_UNKNOWN_TIME
  uint64_t round_trip_ns;  // from the request to its first byte; zero: not known
  bool ranges;             // the server says it can begin anywhere
  bool is_strong;          // the validator means the same bytes
  bool is_encoded;
  bool has_sha256;  // the server says one of the whole content
  uint8_t sha256[HTTP_SHA256_BYTES];
  char etag[HTTP_ETAG_MAX + 1];
  char type[HTTP_TYPE_MAX + 1];
  char name[HTTP_NAME_MAX + 1];  // that the server gives it; "" is none
  const char *url;               // after redirects, without credentials; as long as the exchange
};

// nullptr: fault filled (a URL that is none, a header that must not be sent, out of memory).
struct exchange *http_send(struct runtime *runtime, const struct http_request *request,
                           struct fault *fault);
int32_t http_answer(struct exchange *exchange, const struct task *task, struct http_answer *out,
                    struct fault *fault);
// An exchange that was sent without a gate gets one.
void http_watch(struct exchange *exchange, struct http_gate *gate);
// Bytes from request.from on, in order; 0 at the end. Waits until there is a good part of `size`.
int64_t http_read(struct exchange *exchange, const struct task *task, uint8_t *into, size_t size,
                  struct fault *fault);
// What is there, when that is a good part or the rest; zero otherwise and at the end.
struct http_taken {
  bool is_over;               // no more will come
  uint32_t losses, refusals;  // so far: connections that broke; requests put off by the server
};
int64_t http_take(struct exchange *exchange, uint8_t *into, size_t size, struct http_taken *taken,
                  struct fault *fault);
// Whether the answer is there, without waiting. 1: *out is filled. 0: not yet.
int32_t http_answered(struct exchange *exchange, struct http_answer *out, struct fault *fault);
// Everything that was to come is there; the next reads do not wait.
bool http_is_at_end(struct exchange *exchange);
void http_drop(struct exchange *exchange);  // nullptr is fine

// The part after "scheme://host:port" is decided by the caller; this is for comparing.
bool http_same_origin(const char *left, const char *right);
const char *http_version(void);      // of libcurl, "7.88.1"
bool http_can(const char *feature);  // "HTTP2", "HTTP3"
