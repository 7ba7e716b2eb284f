// One thread, one poll. Transfers hang on pools, each a libcurl multi handle with its own
// connections: a pool is for one set of credentials, filtered or not, shared or not. In a shared
// pool HTTP/2 streams ride on one connection; libcurl stops the whole connection when one of its
// streams is paused, so only what fits its buffer is read there and the rest begins anew in a pool
// where each transfer has a connection to itself.
//
// An exchange is one answer for a caller, over as many hops, retries and resumptions as it takes.
// Its buffer and what it publishes are guarded by its own lock; the rest is the thread's.
#include "wire/http_exchange.h"

#include <stdlib.h>
#include <unistd.h>

#include "wire/split.h"

constexpr uint32_t HOST_MAX = 10;           // transfers with one host at once
constexpr size_t TAKEN_LEAST = 256 * 1024;  // a good part, for who does not wait for one exchange
constexpr uint64_t SLOWEST = 1024;          // bytes a second
constexpr uint64_t LOOK_NS = 20 * MS;       // how often a waiting worker looks at the cancel flag
// Readers are woken when nothing else is to be done, when so many are to be, or after so many
// turns: who is woken takes this thread's core, and finds the next answers there when he is woken a
// little later.
constexpr size_t UNTOLD_MAX = 8;

static const char http_key;

int32_t http_no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

// ── Exchanges, seen from both sides ──

void exchange_free(struct exchange *x) {
  if (atomic_fetch_sub_explicit(&x->references, 1, memory_order_acq_rel) != 1) return;
  curl_slist_free_all(x->lines);
  arena_free(&x->arena);
  mutex_end(&x->lock);
  condition_end(&x->changed);
  free(x->buffer);
  free(x);
}

void exchange_tell(struct exchange *x) {
  condition_all(&x->changed);
  struct http_gate *gate = x->request.gate;
  if (!gate) return;
  mutex_lock(&gate->lock);
  gate->told++;
  condition_all(&gate->changed);
  mutex_unlock(&gate->lock);
}

void exchange_over(struct exchange *x, const struct fault *fault) {
  struct http *http = x->http;
  exchange_move(x, PHASE_OVER);
  mutex_lock(&x->lock);
  bool is_new = !x->is_over;
  x->is_over = true;
  if (is_new && fault) x->fault = *fault;
  bool is_late = !x->request.gate;
  if (!is_late) exchange_tell(x);
  // Who has not said that he waits sees that it is over when he does.
  is_late = is_late && is_new && atomic_load(&x->is_claimed);
  mutex_unlock(&x->lock);
  if (!is_late) return;
  atomic_fetch_add_explicit(&x->references, 1, memory_order_relaxed);
  x->next_untold = nullptr;
  *http->untold_end = x;
  http->untold_end = &x->next_untold;
  http->untold_count++;
}

static void tell_readers(struct http *http) {
  for (struct exchange *x = http->untold, *next; x; x = next) {
    next = x->next_untold;
    mutex_lock(&x->lock);
    exchange_tell(x);
    mutex_unlock(&x->lock);
    exchange_free(x);
  }
  http->untold = nullptr;
  http->untold_end = &http->untold;
  http->untold_count = http->untold_turns = 0;
}

// Somebody waits. The thread is told when it may not have seen the exchange, and where others stand
// in its way that need not.
static void claim(struct exchange *x) {
  struct http *http = x->http;
  if (atomic_exchange(&x->is_claimed, true)) return;
  mutex_lock(&http->lock);
  bool raise = !http->is_raised && (http->has_ahead || atomic_load(&http->standing) > 0);
  if (raise) http->is_raised = http->has_claim = true;
  mutex_unlock(&http->lock);
  if (raise) wake_raise(&http->wake);
}

// Puts the exchange where the thread looks. The thread may be asleep, or not there yet. What is not
// urgent waits until it looks for another reason.
static void tell(struct exchange *x, bool is_urgent) {
  struct http *http = x->http;
  mutex_lock(&http->lock);
  bool raise = is_urgent && !http->is_raised;
  http->has_ahead |= x->request.ahead;
  if (raise) http->is_raised = true;
  if (!x->is_listed) {
    x->is_listed = true;
    atomic_fetch_add_explicit(&x->references, 1, memory_order_relaxed);
    x->next_in = http->inbox;
    http->inbox = x;
  }
  mutex_unlock(&http->lock);
  if (raise) wake_raise(&http->wake);
}

// ── The thread ──

static void line_remove(struct line *line, struct exchange *x) {
  *(x->previous ? &x->previous->next : &line->first) = x->next;
  *(x->next ? &x->next->previous : &line->last) = x->previous;
}

static void line_append(struct line *line, struct exchange *x) {
  x->previous = line->last;
  x->next = nullptr;
  *(line->last ? &line->last->next : &line->first) = x;
  line->last = x;
}

void exchange_stand(struct exchange *x, bool stands) {
  if (x->stands == stands) return;
  x->stands = stands;
  if (stands) x->http->may_admit = true;
  uint32_t change = stands ? 1 : UINT32_MAX;
  if (!x->request.to) x->host->standing += change;
  atomic_fetch_add(&x->http->standing, change);
}

void exchange_move(struct exchange *x, enum phase phase) {
  struct http *http = x->http;
  if (x->phase == PHASE_RUNNING && phase != PHASE_RUNNING) {
    exchange_stand(x, false);
    (*(x->request.to ? &x->host->parts : &x->host->running))--;
    http->running--;
    http->may_admit = true;
  } else if (x->phase != PHASE_RUNNING && phase == PHASE_RUNNING) {
    (*(x->request.to ? &x->host->parts : &x->host->running))++;
    http->running++;
  }
  line_remove(&http->lines[x->phase], x);
  x->phase = phase;
  line_append(&http->lines[phase], x);
}

static struct host *host_of(struct http *http, const char *origin) {
  for (struct host *host = http->hosts; host; host = host->next)
    if (strcmp(host->origin, origin) == 0) return host;
  size_t size = strlen(origin) + 1;
  struct host *host = malloc(sizeof *host + size);
  if (!host) return nullptr;
  *host = (struct host){.next = http->hosts};
  memcpy(host->origin, origin, size);
  http->hosts_count++;
  return http->hosts = host;
}

void exchange_queue(struct exchange *x) {
  if (!x->host) x->host = host_of(x->http, x->origin);
  exchange_move(x, x->request.ahead ? PHASE_QUEUED : PHASE_WANTED);
  x->http->may_admit = true;
}

// For who waits, a transfer that stands still stands in nobody's way.
static bool may_begin(const struct http *http, const struct exchange *x, bool is_claimed) {
  uint32_t all = http->running, host = x->host->running, most = http->runtime->connections;
  if (is_claimed) {
    all -= http->standing;
    host -= x->host->standing;
  }
  if (x->request.to) return all < most && x->host->parts < STREAMS_MAX;
  uint32_t host_most = x->host->is_multiplexed || HOST_MAX > most ? most : HOST_MAX;
  return all < most && host < host_most;
}

// Begins those of a line that may. What was sent ahead may be a long line: once no host of any of
// them has room, the rest of it is not gone through.
static void admit_line(struct http *http, enum phase phase) {
  size_t full = 0;
  http->turn++;
  for (struct exchange *x = http->lines[phase].first, *next; x; x = next) {
    next = x->next;
    struct fault fault = {};
    if (!x->host) x->host = host_of(http, x->origin);
    if (!x->host) {
      http_no_memory(&fault);
    } else if (x->host->full == http->turn) {
      continue;
    } else if (!may_begin(http, x, atomic_load(&x->is_claimed))) {
      if (phase != PHASE_QUEUED || may_begin(http, x, true)) continue;
      x->host->full = http->turn;
      if (++full == http->hosts_count) break;
      continue;
    } else {
      exchange_begin(x, &fault);
    }
    if (fault.code < 0) exchange_over(x, &fault);
  }
}

static void admit(struct http *http, uint64_t now) {
  for (struct exchange *x = http->lines[PHASE_DELAYED].first, *next; x; x = next) {
    next = x->next;
    if (x->not_before_ns <= now) exchange_queue(x);
  }
  if (!http->may_admit) return;
  http->may_admit = false;
  admit_line(http, PHASE_WANTED);
  admit_line(http, PHASE_QUEUED);
}

// Nobody wants it any more.
static void drop(struct exchange *x) {
  if (x->is_gone) return;
  x->is_gone = true;
  exchange_end(x);
  exchange_move(x, PHASE_OVER);
  line_remove(&x->http->lines[PHASE_OVER], x);
  exchange_free(x);
}

// What callers said since the last look: a new exchange, room in a buffer, enough of it.
static void take_inbox(struct http *http) {
  struct exchange *taken = nullptr, *next;
  mutex_lock(&http->lock);
  for (struct exchange *x = http->inbox; x; x = x->next_in) {  // told newest first
    x->next_taken = taken;
    x->is_listed = false;
    taken = x;
  }
  http->inbox = nullptr;
  http->may_admit = http->may_admit || http->has_claim;
  http->is_raised = http->has_ahead = http->has_claim = false;
  mutex_unlock(&http->lock);
  for (struct exchange *x = taken; x; x = next) {
    next = x->next_taken;
    if (!x->is_known) {
      x->is_known = true;
      line_append(&http->lines[x->phase], x);
      exchange_queue(x);
    }
    mutex_lock(&x->lock);
    bool go_on = x->is_paused && x->filled <= x->capacity / 2;
    if (go_on) x->is_paused = false;
    mutex_unlock(&x->lock);
    if (atomic_load_explicit(&x->is_dropped, memory_order_acquire)) {
      drop(x);
    } else if (go_on && x->easy) {
      exchange_stand(x, false);
      x->window_ns = clock_now();
      x->window_bytes = 0;
      curl_easy_pause(x->easy, CURLPAUSE_CONT);
    }
    exchange_free(x);  // the list's reference
  }
}

static bool is_in_body(const struct exchange *x) {
  return x->phase == PHASE_RUNNING && x->is_settled &&
         (x->head.status == 200 || x->head.status == 206);
}

// An answer that does not come, or a body that hardly does.
static void check_time(struct exchange *x, uint64_t now) {
  struct fault fault = {};
  uint64_t timeout_ms = x->request.timeout_ms;
  bool in_body = is_in_body(x);
  if (!in_body && now >= x->deadline_ns) {
    if (x->is_settled &&
        x->phase == PHASE_RUNNING) {  // its status is known, the rest is not needed
      exchange_finished(x, CURLE_OPERATION_TIMEDOUT);
      return;
    }
    fault_set(&fault, COPSE_E_TIMEOUT, "no answer within %llu ms; try again or allow more time",
              (unsigned long long)timeout_ms);
  } else if (in_body && x->stands) {
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
  exchange_end(x);
  exchange_over(x, &fault);
}

static void least(uint64_t *left, uint64_t right) {
  if (right < *left) *left = right;
}

static void check_times(struct http *http, uint64_t now) {
  static const enum phase timed[] = {PHASE_RUNNING, PHASE_DELAYED};
  if (now < http->timed_ns) return;
  for (size_t i = 0; i < sizeof timed / sizeof *timed; i++)
    for (struct exchange *x = http->lines[timed[i]].first, *next; x; x = next) {
      next = x->next;
      check_time(x, now);
    }
  // What moves on is mostly due later; what is due sooner says so (exchange_due).
  http->timed_ns = UINT64_MAX;
  for (struct exchange *x = http->lines[PHASE_DELAYED].first; x; x = x->next)
    exchange_due(x, x->not_before_ns);
  for (struct exchange *x = http->lines[PHASE_RUNNING].first; x; x = x->next)
    exchange_due(x, is_in_body(x) ? x->window_ns + x->request.timeout_ms * MS : x->deadline_ns);
}

// When the thread has to look by itself.
static uint64_t next_look(struct http *http) {
  uint64_t idle = http->runtime->connection_idle_ns, at = http->idle_ns + idle;
  least(&at, http->timed_ns);
  for (struct multi *multi = http->multis; multi; multi = multi->next) {
    least(&at, multi->due_ns);
    if (multi->active == 0) least(&at, multi->idle_ns + idle);
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
      if (x) exchange_finished(x, result);
    }
  }
}

static void drive_ready(struct http *http) {
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
}

// A transfer that was added is one of them: its request goes out.
static void drive_due(struct http *http, uint64_t now) {
  int running;
  for (struct multi *multi = http->multis; multi; multi = multi->next) {
    if (multi->due_ns > now) continue;
    multi->due_ns = UINT64_MAX;
    curl_multi_socket_action(multi->handle, CURL_SOCKET_TIMEOUT, 0, &running);
  }
}

static void close_idle(struct http *http, uint64_t now) {
  for (struct multi **at = &http->multis; *at;) {
    struct multi *multi = *at;
    if (multi->active > 0 || now < multi->idle_ns + http->runtime->connection_idle_ns) {
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
  http->timed_ns = UINT64_MAX;
  http->untold_end = &http->untold;
  http->polled[0] = (struct pollfd){.fd = http->wake.read_fd, .events = POLLIN};
  http->polled_count = 1;
  for (;;) {
    take_inbox(http);
    uint64_t now = clock_now();
    bool is_empty = true;
    for (int phase = 0; phase < PHASES; phase++) is_empty = is_empty && !http->lines[phase].first;
    if (is_empty)
      tell_readers(http);
    else
      http->idle_ns = now;
    mutex_lock(&http->lock);
    bool is_idle = is_empty && now >= http->idle_ns + http->runtime->connection_idle_ns;
    bool is_over = !http->inbox && is_empty && (http->is_closing || is_idle);
    if (is_over) break;  // with the lock: who comes now starts another thread
    mutex_unlock(&http->lock);
    check_times(http, now);
    admit(http, now);
    close_idle(http, now);
    uint64_t look = next_look(http);
    now = clock_now();
    uint64_t wait_ms = look > now && !http->untold ? (look - now + MS - 1) / MS : 0;
    int ready = poll(http->polled, (nfds_t)http->polled_count,
                     wait_ms < INT32_MAX ? (int)wait_ms : INT32_MAX);
    if (ready > 0 && http->polled[0].revents) drain_wake(http);
    drive_ready(http);
    drive_due(http, clock_now());
    take_finished(http);
    if (http->untold) http->untold_turns++;
    if (ready <= 0 || http->untold_count >= UNTOLD_MAX || http->untold_turns >= UNTOLD_MAX)
      tell_readers(http);
  }
  while (http->multis) {
    struct multi *multi = http->multis;
    http->multis = multi->next;
    multi_free(multi);
  }
  while (http->hosts) {
    struct host *host = http->hosts;
    http->hosts = host->next;
    free(host);
  }
  http->hosts_count = 0;
  while (http->spare_count) curl_easy_cleanup(http->spare[--http->spare_count]);
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
  struct exchange *x = http ? malloc(sizeof *x) : nullptr;
  if (!x) {
    http_no_memory(fault);
    return nullptr;
  }
  // Not the 8 KiB for where a redirect leads to.
  memset(x, 0, offsetof(struct exchange, head) + offsetof(struct http_head, location));
  x->head.location[0] = 0;
  x->http = http;
  arena_begin(&x->arena);
  mutex_begin(&x->lock);
  condition_begin(&x->changed);
  atomic_init(&x->references, 1);
  // Nobody waits for one part, and all of them are waited for.
  if (request->gate) x->needed = TAKEN_LEAST;
  atomic_init(&x->is_claimed, !request->ahead);
  span url = arena_copy(&x->arena, request->url);
  int32_t code = url.at && copy_request(x, request) ? 0 : http_no_memory(fault);
  if (code == 0) code = exchange_go(x, (const char *)url.at, fault);
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
  tell(x, !request->ahead);
  return x;
}

// ── For workers ──

void http_gate_begin(struct http_gate *gate) {
  *gate = (struct http_gate){};
  mutex_begin(&gate->lock);
  condition_begin(&gate->changed);
}

void http_gate_end(struct http_gate *gate) {
  condition_end(&gate->changed);
  mutex_end(&gate->lock);
}

uint64_t http_gate_told(struct http_gate *gate) {
  mutex_lock(&gate->lock);
  uint64_t told = gate->told;
  mutex_unlock(&gate->lock);
  return told;
}

bool http_gate_wait(struct http_gate *gate, uint64_t seen, const struct task *task) {
  bool began = false, is_aside = false, goes_on = true;
  mutex_lock(&gate->lock);
  while (gate->told == seen && goes_on) {
    goes_on = !task_cancelled(task);
    if (began && !is_aside) {
      mutex_unlock(&gate->lock);
      is_aside = pool_step_aside();
      mutex_lock(&gate->lock);
      if (gate->told != seen) break;
    }
    began = true;
    if (goes_on) condition_wait_until(&gate->changed, &gate->lock, clock_now() + LOOK_NS);
  }
  mutex_unlock(&gate->lock);
  if (is_aside) pool_step_back();
  return goes_on;
}

// A worker that waits, and whether others may work in its place meanwhile.
struct wait {
  bool began, is_aside;
};

// The lock is held. False: the task was cancelled.
static bool wait_a_while(struct wait *wait, struct exchange *x, const struct task *task) {
  if (task_cancelled(task)) return false;
  if (wait->began && !wait->is_aside) {  // not for the moments that a near server takes
    mutex_unlock(&x->lock);
    wait->is_aside = pool_step_aside();
    mutex_lock(&x->lock);
    if (wait->is_aside) return true;  // something may have happened meanwhile
  }
  wait->began = true;
  condition_wait_until(&x->changed, &x->lock, clock_now() + LOOK_NS);
  return true;
}

// Without the lock.
static void wait_end(struct wait *wait) {
  if (wait->is_aside) pool_step_back();
}

int32_t http_answer(struct exchange *x, const struct task *task, struct http_answer *out,
                    struct fault *fault) {
  int32_t code = 0;
  struct wait wait = {};
  mutex_lock(&x->lock);
  if (!x->is_answered && !x->is_over) {
    mutex_unlock(&x->lock);
    claim(x);
    mutex_lock(&x->lock);
  }
  while (!x->is_answered && !x->is_over && code == 0)
    if (!wait_a_while(&wait, x, task)) code = fault_set(fault, COPSE_E_CANCELLED, "cancelled");
  if (code == 0 && x->is_answered) {
    *out = x->answer;
  } else if (code == 0) {
    *fault = x->fault;
    code = fault->code < 0 ? fault->code
                           : fault_set(fault, COPSE_E_PROTOCOL, "the server gives no answer");
  }
  mutex_unlock(&x->lock);
  wait_end(&wait);
  return code;
}

void http_watch(struct exchange *x, struct http_gate *gate) {
  mutex_lock(&x->lock);
  x->request.gate = gate;
  x->needed = TAKEN_LEAST;
  mutex_unlock(&x->lock);
}

// `size` bytes are there. The lock is held.
static void copy_out(struct exchange *x, uint8_t *into, size_t size) {
  size_t first = x->capacity - x->begin < size ? x->capacity - x->begin : size;
  if (first) memcpy(into, x->buffer + x->begin, first);
  if (size > first) memcpy(into + first, x->buffer, size - first);
  x->filled -= size;
  x->begin = x->capacity ? (x->begin + size) % x->capacity : 0;
}

int64_t http_read(struct exchange *x, const struct task *task, uint8_t *into, size_t size,
                  struct fault *fault) {
  // Who has to wait does so for half a buffer, the other half of which fills meanwhile: waking up
  // for each piece would cost more than comparing it.
  size_t enough = size < BUFFER_MAX / 2 ? size : BUFFER_MAX / 2;
  struct wait wait = {};
  mutex_lock(&x->lock);
  atomic_store_explicit(&x->is_claimed, true, memory_order_relaxed);  // it runs, or is over
  x->needed = BUFFER_MAX / 2;
  while (x->filled < enough && !x->is_over && !(x->is_paused && x->filled)) {
    bool goes_on = wait_a_while(&wait, x, task);
    x->needed = enough;  // it comes slowly: what was asked for will do
    if (goes_on) continue;
    x->needed = 0;
    mutex_unlock(&x->lock);
    wait_end(&wait);
    return fault_set(fault, COPSE_E_CANCELLED, "cancelled while reading");
  }
  x->needed = 0;
  if (x->filled == 0 && x->fault.code < 0) {
    *fault = x->fault;
    mutex_unlock(&x->lock);
    wait_end(&wait);
    return fault->code;
  }
  size_t got = size < x->filled ? size : x->filled;
  copy_out(x, into, got);
  bool has_room = x->is_paused && x->filled <= x->capacity / 2;
  mutex_unlock(&x->lock);
  wait_end(&wait);
  if (has_room) tell(x, true);
  return (int64_t)got;
}

int64_t http_take(struct exchange *x, uint8_t *into, size_t size, struct http_taken *taken,
                  struct fault *fault) {
  mutex_lock(&x->lock);
  size_t least = size < TAKEN_LEAST ? size : TAKEN_LEAST;
  size_t got =
      x->filled >= least || x->is_over || x->is_paused ? (size < x->filled ? size : x->filled) : 0;
  copy_out(x, into, got);
  *taken = (struct http_taken){
      .is_over = x->is_over && x->filled == 0, .losses = x->losses, .refusals = x->refusals};
  int32_t code = 0;
  if (taken->is_over && got == 0 && x->fault.code < 0) {
    *fault = x->fault;
    code = fault->code;
  }
  bool has_room = x->is_paused && x->filled <= x->capacity / 2;
  mutex_unlock(&x->lock);
  if (has_room) tell(x, true);
  return code < 0 ? code : (int64_t)got;
}

int32_t http_answered(struct exchange *x, struct http_answer *out, struct fault *fault) {
  mutex_lock(&x->lock);
  int32_t code = x->is_answered;
  if (code) {
    *out = x->answer;
  } else if (x->is_over) {
    *fault = x->fault;
    code = fault->code < 0 ? fault->code
                           : fault_set(fault, COPSE_E_PROTOCOL, "the server gives no answer");
  }
  mutex_unlock(&x->lock);
  return code;
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
  x->request.gate = nullptr;  // it may end now
  bool is_over = x->is_over;
  if (is_over) {
    free(x->buffer);
    x->buffer = nullptr;
    x->capacity = x->filled = 0;
  }
  mutex_unlock(&x->lock);
  atomic_store_explicit(&x->is_dropped, true, memory_order_release);
  tell(x, !is_over);  // what is over costs nothing but memory
  exchange_free(x);
}
