// http_head: what an HTTP server says about its answer, read strictly and without trust. Pure: no
// I/O, no libcurl; test/fuzz drives it with bytes from anywhere.
//
// A head is filled line by line. What decides how many bytes are read (Content-Length,
// Content-Range) has one meaning or is an error: two lengths that differ, a sign, a number that
// does not fit are PROTOCOL, never a guess.
#pragma once
#include "base/fault.h"
#include "base/span.h"

struct sockaddr;

constexpr size_t HTTP_ETAG_MAX = 255;  // a longer validator is taken for none
constexpr size_t HTTP_TYPE_MAX = 63;
constexpr size_t HTTP_NAME_MAX = 255;
constexpr size_t HTTP_SHA256_BYTES = 32;
constexpr size_t HTTP_LOCATION_MAX = 8192;
constexpr uint32_t HTTP_HEAD_MAX = 256 * 1024;  // bytes of all heads of one answer

struct http_head {
  uint32_t bytes;  // of all lines so far, earlier and informational heads too
  uint32_t status;
  uint64_t size;                               // Content-Length, COPSE_UNKNOWN: none
  uint64_t range_from, range_to, range_total;  // Content-Range, [from, to); COPSE_UNKNOWN
  int64_t mtime_ns;                            // Last-Modified, COPSE_UNKNOWN_TIME
  uint64_t retry_after_ms;                     // COPSE_UNKNOWN: none, or odd
  bool has_range, ranges, is_encoded, is_chunked, is_strong;
  char etag[HTTP_ETAG_MAX + 1];  // with its quotes, without W/; "" is none
  char type[HTTP_TYPE_MAX + 1];  // Content-Type without its parameters, lower case
  char name[HTTP_NAME_MAX + 1];  // as Content-Disposition says, plain; "" is none
  bool has_location;
  // What the server says the whole content's SHA-256 is: Repr-Digest, Digest,
  // x-amz-checksum-sha256.
  bool has_sha256, is_disputed;  // is_disputed: it says two that differ, so none counts
  uint8_t sha256[HTTP_SHA256_BYTES];
  char location[HTTP_LOCATION_MAX + 1];  // the last: not all of it is cleared for each answer
};

// Forgets everything but `bytes`.
void http_head_begin(struct http_head *head);
// One line, with or without its end. A status line begins a new head. `now_s`: seconds since 1970,
// for a Retry-After that is a date.
int32_t http_head_line(struct http_head *head, span line, int64_t now_s, struct fault *fault);

// "Wed, 15 Nov 2023 22:13:20 GMT"; COPSE_UNKNOWN_TIME for anything else.
int64_t http_date_ns(span text);
// http_name.c. A plain name: UTF-8 without control characters and '/', no "." or "..", and from a
// server nothing that begins with '.'. False, and "": there is none.
bool http_disposition_name(span value, char out[HTTP_NAME_MAX + 1]);
bool http_url_name(span url, char out[HTTP_NAME_MAX + 1]);  // its last part, decoded
// "bytes 0-9/100", "bytes 0-9/*", "bytes */100". False: it says something else.
bool http_content_range(span text, uint64_t *from, uint64_t *to, uint64_t *total);
// Digits only, no sign, below 2^63.
bool http_number(span text, uint64_t *number);
// A name and value that may be sent: no control characters, a token before the colon.
bool http_header_is_safe(span line);

// An address that the whole world can reach: not this machine, a private or carrier network, a
// link, a cloud's metadata service, or one of these in an IPv6 disguise.
bool http_address_is_public(const struct sockaddr *address);
// The same for a host written as an address; a name is not one, and true.
bool http_host_is_public(const char *host);
