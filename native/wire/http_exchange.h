// http_exchange: what the files of wire/http share; nobody else includes it.
//
// http.c runs the thread and serves the callers, http_pool.c keeps the connections, http_try.c does
// one request after another until an exchange has its answer, http_url.c decides where it may go.
#pragma once
#include <curl/curl.h>
#include <poll.h>

#include "base/arena.h"
#include "base/hash.h"
#include "engine/runtime.h"
#include "engine/thread.h"
#include "wire/http.h"

constexpr size_t SPARE_MAX = 64;
constexpr uint64_t MS = 1'000'000, SECOND = 1'000 * MS;
constexpr size_t BUFFER_MAX = 1 << 20;  // a reader's lead: what arrives while it compares

// PHASE_WANTED comes before PHASE_QUEUED, where what was begun ahead is, in its order.
enum phase : uint8_t {
  PHASE_WANTED,
  PHASE_QUEUED,
  PHASE_RUNNING,
  PHASE_DELAYED,
  PHASE_OVER,
  PHASES
};

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

struct host {  // as long as the thread
  struct host *next;
  uint32_t running, standing;  // transfers; those of them whose reader is not there
  uint32_t parts;              // transfers of parts, which are not among those
  bool is_multiplexed;         // it was seen to speak HTTP/2
  uint64_t full;               // http->turn in which it had no room for anybody
  char origin[];
};

struct line {
  struct exchange *first, *last;
};

struct exchange {
  struct http *http;
  _Atomic uint32_t references;       // the caller's, the thread's, the inbox's
  struct exchange *next, *previous;  // in the thread's line of its phase
  struct exchange *next_in;          // in the inbox; guarded by http->lock
  struct exchange *next_taken;       // while the thread goes through what it took from there
  struct exchange *next_untold;      // likewise, of those whose reader is not woken yet
  bool is_listed;                    // in the inbox; guarded by http->lock
  struct arena arena;
  struct http_request request;

  // The thread's own
  enum phase phase;
  struct host *host;  // of the try that runs, or is to run
  CURL *easy;
  struct multi *multi;
  struct curl_slist *lines;
  const char *url, *origin;
  uint32_t hops, tries;
  uint64_t deadline_ns;  // for the answer; zero before the first try
  uint64_t not_before_ns;
  uint64_t window_ns, window_bytes;  // the body's speed
  uint64_t arrived;                  // bytes of this try's body
  uint64_t skip;                     // of these, bytes that were wanted no more
  uint64_t delivered;                // bytes put into the buffer, over all tries
  bool is_known, is_gone, stands, is_off_origin, is_filtered, is_own, is_settled, wants_own,
      is_address_refused;
  struct fault refusal;  // what a callback found wrong
  char error[CURL_ERROR_SIZE];

  _Atomic bool is_claimed, is_dropped;  // set by the caller once: it waits; it has gone

  mutex lock;  // guards the rest
  condition changed;
  bool is_answered, is_over, is_paused;
  struct http_answer answer;
  struct fault fault;
  uint8_t *buffer;
  size_t capacity, begin, filled, needed;
  uint32_t losses, refusals;

  struct http_head head;  // the thread's own; the last, for what is behind it is not cleared
};

struct http {
  struct attachment attachment;
  struct runtime *runtime;
  mutex lock;
  condition ended;
  struct wake wake;
  struct exchange *inbox;  // with something new for the thread
  bool is_running, is_closing;
  bool is_raised;  // the thread was told to look, and did not yet
  bool has_ahead;  // the inbox has something that was sent ahead
  bool has_claim;  // somebody waits for what was sent ahead
  struct thread thread;

  // The thread's own
  struct line lines[PHASES];
  uint32_t running;
  _Atomic uint32_t standing;  // others look whether there are any
  struct multi *multis;
  struct host *hosts;
  size_t hosts_count;
  uint64_t turn;            // of admitting
  uint64_t timed_ns;        // no exchange's time is over before
  struct exchange *untold;  // are over, and their readers sleep
  struct exchange **untold_end;
  size_t untold_count, untold_turns;
  CURL *spare[SPARE_MAX];  // easy handles to use again
  size_t spare_count;
  struct pollfd *polled;  // polled[0] is the wake channel
  struct multi **owners;
  size_t polled_count, polled_capacity;
  uint64_t idle_ns;
  bool may_admit;  // something ended, stood aside or came: one that waits may begin
};

int32_t http_no_memory(struct fault *fault);
// Drops one reference.
void exchange_free(struct exchange *x);
// There is something new for the caller. The exchange's lock is held.
void exchange_tell(struct exchange *x);
// The caller has its outcome: all of the content, or a fault.
void exchange_over(struct exchange *x, const struct fault *fault);
// Moves the exchange to a URL: the first one, or where a redirect leads to.
int32_t exchange_go(struct exchange *x, const char *to, struct fault *fault);

// On the thread:
void exchange_move(struct exchange *x, enum phase phase);
void exchange_queue(struct exchange *x);  // waits for its turn
// The exchange has to be looked at then; at the latest moment when that was already so.
static inline void exchange_due(struct exchange *x, uint64_t ns) {
  if (ns < x->http->timed_ns) x->http->timed_ns = ns;
}
void exchange_stand(struct exchange *x, bool stands);  // its reader does not take what comes
int32_t exchange_begin(struct exchange *x, struct fault *fault);      // the next try
void exchange_end(struct exchange *x);                                // of the try that runs
void exchange_finished(struct exchange *x, CURLcode result);          // what now?
struct multi *multi_of(struct http *http, const struct exchange *x);  // nullptr: out of memory
void multi_free(struct multi *multi);
