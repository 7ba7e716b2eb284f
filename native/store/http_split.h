// http_split: one content over several connections. Ranges of it are asked for at once, each
// answer must belong to the content that the first one spoke of, and one worker takes what comes:
// in whatever order it comes, or in order with a bounded lead.
#pragma once
#include "store/store.h"
#include "wire/http.h"

struct http_split;

struct http_split_from {
  struct store *store;
  const struct http_request *request;  // what all requests have in common; outlives the split
  const char *url;                     // outlives the split
  const struct http_answer *first;     // likewise; has a size
  struct exchange
      *exchange;             // an answer that begins at 0 and of which nothing was read; taken over
  const struct range *done;  // not wanted, in order
  size_t done_count;
  uint64_t at;  // in order: where it begins
  bool in_order;
};

// Whether the content can and should come in parts. `is_wanted`: a part of it is not wanted.
bool http_split_fits(const struct store *store, const struct http_answer *first, bool in_order,
                     bool is_wanted);
// nullptr: out of memory; the exchange is then dropped, too.
struct http_split *http_split_begin(const struct http_split_from *from);
// Bytes that are at *at; 0: all came. Some may come again, from the beginning, when the server
// turns out to give no parts.
int64_t http_split_read(struct http_split *split, uint64_t *at, uint8_t *into, size_t size,
                        struct fault *fault);
void http_split_end(struct http_split *split);  // nullptr is fine
