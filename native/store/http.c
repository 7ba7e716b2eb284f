// http: a file, or a directory that a web server lists, over wire/http. Only read.
//
// One GET serves a file: `root` begins it to see what is there, `reader` takes it over. A range is
// asked for only when somebody reads elsewhere, and each answer must belong to the content that the
// first one spoke of. Whether a URL is a directory is the server's to say, by the '/' at its end.
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/path.h"
#include "base/record.h"
#include "engine/runtime.h"
#include "engine/thread.h"
#include "store/http_index.h"
#include "store/http_split.h"
#include "store/open.h"
#include "wire/http.h"

constexpr uint32_t DEPTH_MAX = 256;  // a server can make up directories without end
constexpr size_t URL_MAX = 8192;     // longer ones no server takes
constexpr size_t COMING_MAX = 256;   // begun and not asked for yet
constexpr uint32_t TIMEOUT_MS = 30'000, RETRIES = 3, REDIRECTS = 10;
constexpr uint64_t LARGE_BYTES = 256 * 1024;
#define LISTS SPAN("application/json, text/html;q=0.9, */*;q=0.5")

struct coming {  // an answer that was asked for before anybody wanted it
  struct coming *next;
  struct exchange *exchange;
  char url[];
};

struct http_state {
  struct http_request request;  // what all of the place's have in common
  struct arena arena;
  const char *url;
  mutex lock;  // guards the rest
  struct coming *coming;
  size_t coming_count;
  bool is_root_seen;
  bool is_alone;  // not one of a table's many; constant
};

struct http_directory {
  struct directory base;
  bool is_file;  // the root, when it is one: `url` is its own
  uint32_t depth;
  size_t size;
  char url[];  // else it ends with '/'
};

struct http_reader {
  struct exchange *exchange;
  struct http_split *split;  // instead of the exchange
  uint64_t at;               // the next byte that it gives
  uint64_t end;              // it gives none from here on; zero: it gives all
  uint64_t until;            // what is wanted of the next one; zero: all
  bool is_begun;             // something was read, or is read elsewhere
  struct http_answer first;
  char url[];
};

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

static struct http_state *state_of(const struct store *store) { return store->state; }

// ── Opening ──

static uint64_t number(const struct place *place, uint16_t key, uint64_t otherwise) {
  return record_number(place->record, key, otherwise);
}

// The headers as lines.
static int32_t gather_headers(struct http_state *state, const struct place *place,
                              struct fault *fault) {
  size_t size = 0;
  struct field field;
  for (span rest = place->record; record_next(&rest, &field, fault) == 1;)
    if (field.key == COPSE_PLACE_HEADER) size += field.bytes.size + 1;
  uint8_t *lines = arena_take_bytes(&state->arena, size + 1), *at = lines;
  if (!lines) return no_memory(fault);
  for (span rest = place->record; record_next(&rest, &field, fault) == 1;) {
    if (field.key != COPSE_PLACE_HEADER || field.kind != COPSE_FIELD_TEXT) continue;
    if (!http_header_is_safe(field.bytes))
      return fault_set(fault, COPSE_E_ARGUMENT, "a header that must not be sent");
    memcpy(at, field.bytes.at, field.bytes.size);
    at += field.bytes.size;
    *at++ = '\n';
  }
  state->request.headers = (span){lines, (size_t)(at - lines)};
  return 0;
}

static int32_t read_place(struct http_state *state, const struct place *place,
                          struct fault *fault) {
  span url = arena_copy(&state->arena, place->path);
  if (!url.at) return no_memory(fault);
  state->url = (const char *)url.at;
  if (url.size == 0 || url.size > URL_MAX)
    return fault_set(fault, COPSE_E_ARGUMENT, "a URL has 1 to %zu bytes", URL_MAX);
  uint64_t timeout = number(place, COPSE_PLACE_TIMEOUT, TIMEOUT_MS);
  uint64_t addresses = number(place, COPSE_PLACE_ADDRESSES, COPSE_ADDRESSES_NAMED);
  if (timeout == 0 || addresses > COPSE_ADDRESSES_PUBLIC)
    return fault_set(fault, COPSE_E_ARGUMENT, "a place with a setting that cannot be");
  uint64_t retries = number(place, COPSE_PLACE_RETRIES, RETRIES);
  uint64_t redirects = number(place, COPSE_PLACE_REDIRECTS, REDIRECTS);
  span record = place->record;
  bool has_ca = record_text(record, COPSE_PLACE_CA_FILE).size ||
                record_text(record, COPSE_PLACE_CA_BLOB).size;
  span ca = has_ca ? record : place->above;
  state->request = (struct http_request){
      .user = record_text(record, COPSE_PLACE_USER),
      .password = record_text(record, COPSE_PLACE_PASSWORD),
      .bearer = record_text(record, COPSE_PLACE_BEARER),
      .proxy = record_text(record, COPSE_PLACE_PROXY),
      .ca_file = record_text(ca, COPSE_PLACE_CA_FILE),
      .ca_blob = record_text(ca, COPSE_PLACE_CA_BLOB),
      .size = COPSE_UNKNOWN,
      .timeout_ms = (uint32_t)(timeout < INT32_MAX ? timeout : INT32_MAX),
      .retries = (uint32_t)(retries < 100 ? retries : 100),
      .redirects = (uint32_t)(redirects < 100 ? redirects : 100),
      .filter = (enum http_filter)addresses,
      .insecure = number(place, COPSE_PLACE_INSECURE, 0),
      .tls13 = number(place, COPSE_PLACE_MIN_TLS, 12) == 13,
  };
  return gather_headers(state, place, fault);
}

static void http_store_close(struct store *store) {
  struct http_state *state = store->state;
  while (state->coming) {
    struct coming *coming = state->coming;
    state->coming = coming->next;
    http_drop(coming->exchange);
    free(coming);
  }
  mutex_end(&state->lock);
  arena_free(&state->arena);
  free(state);
}

static int32_t http_store_open(struct store *store, const struct place *place,
                               struct fault *fault) {
  struct http_state *state = calloc(1, sizeof *state);
  if (!state) return no_memory(fault);
  arena_begin(&state->arena);
  mutex_begin(&state->lock);
  store->state = state;
  state->is_alone = place->above.size == 0;
  int32_t code = read_place(state, place, fault);
  if (code < 0) http_store_close(store);
  return code;
}

// ── URLs ──

static bool has_query(const char *url) { return strchr(url, '?'); }

static bool is_directory_url(const char *url) {
  return !has_query(url) && url[strlen(url) - 1] == '/';
}

static span url_path(const char *url) {
  const char *host = strstr(url, "://");
  const char *path = host ? strchr(host + 3, '/') : nullptr;
  return path ? span_of(path) : SPAN("/");
}

static size_t put_encoded(char *into, span path) {
  static const char plain[] = "-._~!$'()*,;:@/+=&", digits[] = "0123456789ABCDEF";
  char *at = into;
  for (size_t i = 0; i < path.size; i++) {
    uint8_t c = path.at[i];
    bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (is_word || (c && strchr(plain, c))) {
      *at++ = (char)c;
    } else {
      *at++ = '%';
      *at++ = digits[c >> 4];
      *at++ = digits[c & 15];
    }
  }
  return (size_t)(at - into);
}

// The URL of what is at `path` below `base`, from malloc with room for a '/' at its end.
static int32_t below(const char *base, span path, uint8_t **out, size_t *size,
                     struct fault *fault) {
  size_t base_size = strlen(base);
  if (has_query(base))
    return fault_set(fault, COPSE_E_UNSUPPORTED, "nothing is below a URL with a query");
  if (path.size > URL_MAX || base_size + path.size > URL_MAX)
    return fault_set(fault, COPSE_E_LIMIT, "the URL would be longer than %zu bytes", URL_MAX);
  uint8_t *made = malloc(base_size + 3 * path.size + 3);
  if (!made) return no_memory(fault);
  char *url = (char *)made;
  memcpy(url, base, base_size);
  if (path.size && base_size && url[base_size - 1] != '/') url[base_size++] = '/';
  base_size += put_encoded(url + base_size, path);
  url[base_size] = 0;
  *out = made;
  *size = base_size;
  return 0;
}

static struct http_directory *directory_new(struct store *store, const char *url, bool is_file) {
  size_t size = strlen(url);
  struct http_directory *directory = malloc(sizeof *directory + size + 2);
  if (!directory) return nullptr;
  *directory = (struct http_directory){.base.store = store, .is_file = is_file, .size = size};
  memcpy(directory->url, url, size + 1);
  if (!is_file && url[size - 1] != '/') {
    directory->url[directory->size++] = '/';
    directory->url[directory->size] = 0;
  }
  return directory;
}

// The URL of an entry, from malloc.
static char *url_of(struct directory *base, const struct entry *entry, struct fault *fault) {
  struct http_directory *directory = (struct http_directory *)base;
  uint8_t *made = nullptr;
  size_t size;
  if (directory->is_file) {
    made = malloc(directory->size + 1);
    if (made) memcpy(made, directory->url, directory->size + 1);
    if (!made) no_memory(fault);
  } else if (below(directory->url, entry->name, &made, &size, fault) == 0 &&
             entry->type == ENTRY_DIRECTORY) {
    made[size] = '/';
    made[size + 1] = 0;
  }
  return (char *)made;
}

// ── Answers ──

static struct exchange *send(struct store *store, const char *url, struct http_request request,
                             struct fault *fault) {
  request.url = span_of(url);
  return http_send(store->runtime, &request, fault);
}

static struct exchange *take_coming(struct http_state *state, const char *url) {
  struct exchange *exchange = nullptr;
  mutex_lock(&state->lock);
  for (struct coming **at = &state->coming; *at; at = &(*at)->next) {
    struct coming *coming = *at;
    if (strcmp(coming->url, url) != 0) continue;
    *at = coming->next;
    state->coming_count--;
    exchange = coming->exchange;
    free(coming);
    break;
  }
  mutex_unlock(&state->lock);
  return exchange;
}

// Keeps an exchange for who asks for its URL. False: it was let go.
static bool keep_coming(struct http_state *state, const char *url, struct exchange *exchange) {
  size_t size = strlen(url) + 1;
  struct coming *coming = malloc(sizeof *coming + size);
  if (!coming) {
    http_drop(exchange);
    return false;
  }
  memcpy(coming->url, url, size);
  coming->exchange = exchange;
  mutex_lock(&state->lock);
  coming->next = state->coming;
  state->coming = coming;
  state->coming_count++;
  mutex_unlock(&state->lock);
  return true;
}

// The validator as a number: the same URL with the same strong one is the same content.
static void identify(struct entry *entry, const char *url, const struct http_answer *answer) {
  entry->inode = entry->device = 0;
  if (!answer->etag[0] || !answer->is_strong) return;
  const char *texts[2] = {url, answer->etag};
  uint64_t *numbers[2] = {&entry->device, &entry->inode};
  for (int i = 0; i < 2; i++) {
    uint8_t digest[HASH_BYTES];
    hash_of(span_of(texts[i]), digest);
    memcpy(numbers[i], digest, sizeof(uint64_t));
  }
}

static void fill_file(struct entry *entry, const char *url, const struct http_answer *answer) {
  entry->type = ENTRY_FILE;
  entry->size = answer->size;
  entry->mtime_ns = answer->mtime_ns;
  entry->mode = 0;
  entry->uid = entry->gid = 0;
  entry->has = (uint8_t)((entry->has & ~HAS_SIZE) | HAS_STAT |
                         (answer->size != COPSE_UNKNOWN ? HAS_SIZE : 0));
  identify(entry, url, answer);
}

static void fill_directory(struct entry *entry) {
  entry->type = ENTRY_DIRECTORY;
  entry->size = 0;
  entry->mtime_ns = INT64_MIN;  // an index may say one, and nothing else does
  entry->mode = 0;
  entry->inode = entry->device = 0;
  entry->has |= HAS_STAT;
}

// What is at a URL, without its content: by HEAD, or where the server does not do that by a GET
// whose body nobody waits for.
static int32_t look(struct store *store, const char *url, struct http_answer *answer,
                    bool *is_directory, struct fault *fault) {
  struct http_request request = state_of(store)->request;
  request.head = true;
  int32_t code = 0;
  for (int i = 0; i < 2; i++) {
    *fault = (struct fault){};
    struct exchange *exchange = send(store, url, request, fault);
    if (!exchange) return fault->code;
    code = http_answer(exchange, store->task, answer, fault);
    if (code == 0) *is_directory = is_directory_url(answer->url);
    http_drop(exchange);
    bool is_refused = code < 0 && request.head && fault->status >= 400 && fault->status != 401 &&
                      fault->status != 404 && fault->status != 410 && fault->status != 429;
    if (!is_refused) break;
    request.head = false;
  }
  return code;
}

// ── Directories ──

static int32_t http_root(struct store *store, struct arena *arena, struct entry *out,
                         struct directory **directory, struct fault *fault) {
  struct http_state *state = state_of(store);
  const char *url = state->url;
  struct http_answer answer;
  bool is_directory = false;
  mutex_lock(&state->lock);
  bool is_first = !state->is_root_seen;
  state->is_root_seen = true;
  mutex_unlock(&state->lock);
  struct exchange *exchange = take_coming(state, url);
  int32_t code;
  if (exchange || is_first) {
    struct http_request request = state->request;
    request.whole = is_directory_url(url);
    request.bulk = state->is_alone && !request.whole;
    if (request.whole) request.accept = LISTS;
    if (!exchange) exchange = send(store, url, request, fault);
    if (!exchange) return fault->code;
    code = http_answer(exchange, store->task, &answer, fault);
    if (code == 0) is_directory = is_directory_url(answer.url);
  } else {
    code = look(store, url, &answer, &is_directory, fault);
  }
  char name[HTTP_NAME_MAX + 1];
  if (code == 0 && answer.name[0])
    memcpy(name, answer.name, sizeof name);
  else
    http_url_name(span_of(url), name);
  *out = (struct entry){.name = arena_copy(arena, span_of(name)), .mtime_ns = INT64_MIN};
  struct http_directory *made = code == 0 ? directory_new(store, url, !is_directory) : nullptr;
  if (code == 0 && (!made || !out->name.at)) code = no_memory(fault);
  if (code < 0) {
    http_drop(exchange);
    free(made);
    return code;
  }
  if (is_directory)
    fill_directory(out);
  else
    fill_file(out, url, &answer);
  if (exchange) keep_coming(state, made->url, exchange);
  *directory = &made->base;
  return 0;
}

static int32_t http_find(struct store *store, span path, struct arena *arena, struct entry *out,
                         struct directory **parent, struct fault *fault) {
  struct http_state *state = state_of(store);
  uint8_t *url = nullptr, *above = nullptr;
  size_t size;
  struct http_answer answer;
  bool is_directory = false;
  int32_t code = below(state->url, path, &url, &size, fault);
  if (code == 0) code = below(state->url, path_parent(path), &above, &size, fault);
  if (code == 0) code = look(store, (const char *)url, &answer, &is_directory, fault);
  *out = (struct entry){.mtime_ns = INT64_MIN};
  struct http_directory *made =
      code == 0 ? directory_new(store, (const char *)above, false) : nullptr;
  if (code == 0) {
    out->name = arena_copy(arena, path_name(path));
    if (!made || !out->name.at) code = no_memory(fault);
  }
  if (code == 0 && is_directory) fill_directory(out);
  if (code == 0 && !is_directory) fill_file(out, (const char *)url, &answer);
  free(url);
  free(above);
  if (code == 0)
    *parent = &made->base;
  else
    free(made);
  return code;
}

static int32_t http_enter(struct directory *parent, const struct entry *entry,
                          struct directory **out, struct fault *fault) {
  uint32_t depth = ((struct http_directory *)parent)->depth + 1;
  if (depth > DEPTH_MAX)
    return fault_set(fault, COPSE_E_LIMIT, "more than %u directories in each other on a server",
                     DEPTH_MAX);
  struct entry as_directory = *entry;
  as_directory.type = ENTRY_DIRECTORY;
  char *url = url_of(parent, &as_directory, fault);
  struct http_directory *made = url ? directory_new(parent->store, url, false) : nullptr;
  if (url && !made) no_memory(fault);
  free(url);
  if (!made) return fault->code;
  made->depth = depth;
  *out = &made->base;
  return 0;
}

static void http_leave(struct directory *directory) { free(directory); }
static int32_t http_hold(struct directory *, struct fault *) { return 0; }
static void http_let_go(struct directory *) {}

// Reads all there is into memory from malloc.
static int32_t read_whole(struct store *store, struct exchange *exchange, uint8_t **document,
                          size_t *size, struct fault *fault) {
  size_t capacity = 0;
  *size = 0;
  for (;;) {
    if (*size == capacity) {
      capacity = capacity ? capacity * 4 : 16 * 1024;
      uint8_t *grown = capacity <= 4 * HTTP_WHOLE_MAX ? realloc(*document, capacity) : nullptr;
      if (!grown) return no_memory(fault);
      *document = grown;
    }
    int64_t got = http_read(exchange, store->task, *document + *size, capacity - *size, fault);
    if (got <= 0) return (int32_t)got;
    *size += (size_t)got;
    if (*size > HTTP_WHOLE_MAX)
      return fault_set(fault, COPSE_E_LIMIT, "the directory's index is longer than %zu bytes",
                       HTTP_WHOLE_MAX);
  }
}

static int32_t http_list(struct directory *base, struct listing *listing, struct fault *fault) {
  struct http_directory *directory = (struct http_directory *)base;
  struct store *store = base->store;
  struct http_request request = state_of(store)->request;
  request.whole = true;
  request.accept = LISTS;
  struct exchange *exchange = take_coming(state_of(store), directory->url);
  if (!exchange) exchange = send(store, directory->url, request, fault);
  if (!exchange) return fault->code;
  struct http_answer answer;
  uint8_t *document = nullptr;
  size_t size = 0;
  int32_t code = http_answer(exchange, store->task, &answer, fault);
  if (code == 0) code = read_whole(store, exchange, &document, &size, fault);
  if (code == 0)
    code =
        http_index_read((span){document, size}, answer.type, url_path(answer.url), listing, fault);
  http_drop(exchange);
  free(document);
  return code;
}

static int32_t http_stat(struct directory *base, struct entry *entry, bool, struct fault *fault) {
  struct http_directory *directory = (struct http_directory *)base;
  if (entry->type == ENTRY_DIRECTORY && !directory->is_file) {
    fill_directory(entry);
    return 0;
  }
  char *url = url_of(base, entry, fault);
  if (!url) return fault->code;
  struct http_answer answer;
  bool is_directory = false;
  int32_t code = look(base->store, url, &answer, &is_directory, fault);
  if (code == 0 && is_directory)
    code = fault_set(fault, COPSE_E_CHANGED, "it was a file and is a directory now; run again");
  if (code == 0) fill_file(entry, url, &answer);
  free(url);
  return code;
}

static int32_t http_target(struct directory *, struct entry *, struct arena *,
                           struct fault *fault) {
  return fault_set(fault, COPSE_E_UNSUPPORTED, "an http location has no links");
}

static int32_t http_attributes(struct directory *, const struct entry *, struct arena *, span *,
                               struct fault *fault) {
  return fault_set(fault, COPSE_E_UNSUPPORTED, "an http location has no extended attributes");
}

// ── Reading ──

static struct http_request whole_request(const struct store *store, const struct entry *entry) {
  struct http_request request = state_of(store)->request;
  request.large = entry && (entry->has & HAS_SIZE) && entry->size > LARGE_BYTES;
  return request;
}

static void http_ahead(struct store *store, struct directory *base, const struct entry *entry) {
  struct http_state *state = state_of(store);
  struct fault fault = {};
  mutex_lock(&state->lock);
  bool has_room = state->coming_count < COMING_MAX;
  mutex_unlock(&state->lock);
  char *made = base && has_room ? url_of(base, entry, &fault) : nullptr;
  const char *url = base ? made : state->url;
  if (has_room && url && !(!base && is_directory_url(url))) {
    struct http_request request = whole_request(store, entry);
    request.bulk = !base && state->is_alone;
    request.ahead = true;
    struct exchange *exchange = send(store, url, request, &fault);
    if (exchange && keep_coming(state, url, exchange) && !base) {
      mutex_lock(&state->lock);
      state->is_root_seen = true;
      mutex_unlock(&state->lock);
    }
  }
  free(made);
}

static int32_t http_reader(struct directory *base, const struct entry *entry, struct reader *out,
                           struct fault *fault) {
  struct store *store = base->store;
  char *url = url_of(base, entry, fault);
  if (!url) return fault->code;
  size_t size = strlen(url) + 1;
  struct http_reader *reader = calloc(1, sizeof *reader + size);
  struct exchange *exchange = reader ? take_coming(state_of(store), url) : nullptr;
  if (reader && !exchange) exchange = send(store, url, whole_request(store, entry), fault);
  int32_t code = !reader ? no_memory(fault) : exchange ? 0 : fault->code;
  if (code == 0) code = http_answer(exchange, store->task, &reader->first, fault);
  if (code == 0 && is_directory_url(reader->first.url) && !is_directory_url(url))
    code = fault_set(fault, COPSE_E_CHANGED, "it was a file and is a directory now; run again");
  if (code == 0) {
    memcpy(reader->url, url, size);
    reader->exchange = exchange;
    *out = (struct reader){.store = store,
                           .access = reader->first.ranges ? READ_SINGLE : READ_ONWARD,
                           .fd = -1,
                           .slot = {reader}};
  } else {
    http_drop(exchange);
    free(reader);
  }
  free(url);
  return code;
}

static int32_t ask(struct store *store, struct http_reader *reader,
                   const struct http_request *request, struct http_answer *answer,
                   struct fault *fault) {
  http_drop(reader->exchange);
  reader->is_begun = true;
  reader->exchange = send(store, reader->url, *request, fault);
  if (!reader->exchange) return fault->code;
  return http_answer(reader->exchange, store->task, answer, fault);
}

static void http_until(struct reader *base, uint64_t to) {
  struct http_reader *reader = base->slot[0];
  reader->until = to;
}

// Goes on elsewhere: another answer about the same content.
static int32_t seek(struct store *store, struct http_reader *reader, uint64_t at,
                    struct fault *fault) {
  http_split_end(reader->split);
  reader->split = nullptr;
  struct http_request request = state_of(store)->request;
  request.from = at;
  request.size = reader->first.size;
  request.large = true;
  if (reader->first.is_strong) request.etag = span_of(reader->first.etag);
  if (reader->until > at && reader->first.ranges) request.to = reader->until;
  struct http_answer answer;
  int32_t code = ask(store, reader, &request, &answer, fault);
  if (code == COPSE_E_UNSUPPORTED && request.to) {
    // A server that gives no such part may still begin there.
    request.to = 0;
    *fault = (struct fault){};
    code = ask(store, reader, &request, &answer, fault);
  }
  if (code < 0) return code;
  reader->at = at;
  reader->end = request.to;
  if (answer.status != 416 && answer.mtime_ns != reader->first.mtime_ns)
    return fault_set(fault, COPSE_E_CHANGED, "the content changed while it was read; run again");
  return 0;
}

static int32_t split(struct reader *base, const struct range *done, size_t done_count,
                     bool in_order, struct fault *fault) {
  struct http_reader *reader = base->slot[0];
  reader->split = http_split_begin(&(struct http_split_from){
      .store = base->store,
      .request = &state_of(base->store)->request,
      .url = reader->url,
      .first = &reader->first,
      .exchange = reader->exchange,
      .done = done,
      .done_count = done_count,
      .in_order = in_order,
  });
  reader->exchange = nullptr;
  return reader->split ? 0 : no_memory(fault);
}

static int32_t http_scatter(struct reader *base, const struct range *done, size_t done_count,
                            struct fault *fault) {
  const struct http_reader *reader = base->slot[0];
  if (reader->is_begun || !http_split_fits(base->store, &reader->first, false, done_count > 0))
    return 0;
  int32_t code = split(base, done, done_count, false, fault);
  return code < 0 ? code : 1;
}

static int64_t http_read_any(struct reader *base, uint64_t *at, uint8_t *into, size_t size,
                             struct fault *fault) {
  const struct http_reader *reader = base->slot[0];
  return http_split_read(reader->split, at, into, size, fault);
}

static int64_t http_store_read(struct reader *base, uint64_t at, uint8_t *into, size_t size,
                               struct fault *fault) {
  struct http_reader *reader = base->slot[0];
  uint64_t whole = reader->first.size;
  if (whole != COPSE_UNKNOWN && at >= whole) {
    base->at_end = true;
    return 0;
  }
  bool is_there = at == reader->at && (!reader->end || at < reader->end);
  int32_t code = is_there ? 0 : seek(base->store, reader, at, fault);
  if (code == 0 && !reader->is_begun && http_split_fits(base->store, &reader->first, true, false))
    code = split(base, nullptr, 0, true, fault);
  if (code < 0) return code;
  reader->is_begun = true;
  int64_t got = reader->split ? http_split_read(reader->split, &at, into, size, fault)
                              : http_read(reader->exchange, base->store->task, into, size, fault);
  if (got < 0) return got;
  reader->at += (uint64_t)got;
  base->at_end = got == 0 || reader->at == whole;
  if (got == 0 && whole != COPSE_UNKNOWN && reader->at < whole)
    return fault_set(fault, COPSE_E_CHANGED, "the content became shorter while it was read");
  return got;
}

static void http_read_end(struct reader *base) {
  struct http_reader *reader = base->slot[0];
  http_drop(reader->exchange);
  http_split_end(reader->split);
  free(reader);
  base->slot[0] = nullptr;
}

static int32_t http_measure(struct reader *base, struct entry *out, bool *holes, struct fault *) {
  const struct http_reader *reader = base->slot[0];
  fill_file(out, reader->url, &reader->first);
  if (holes) *holes = false;
  return 0;
}

static bool http_promised(const struct reader *base, uint32_t *algorithm, const uint8_t **digest) {
  static_assert(HTTP_SHA256_BYTES == HASH_BYTES);
  const struct http_reader *reader = base->slot[0];
  *algorithm = COPSE_ALGORITHM_SHA256;
  *digest = reader->first.sha256;
  return reader->first.has_sha256;
}

const struct store_ops http_store = {
    .scheme = "http",
    .can = CAN_LIST | CAN_RANGE | CAN_IDENTITY,
    .open = http_store_open,
    .close = http_store_close,
    .root = http_root,
    .find = http_find,
    .enter = http_enter,
    .leave = http_leave,
    .hold = http_hold,
    .drop = http_let_go,
    .list = http_list,
    .stat = http_stat,
    .target = http_target,
    .attributes = http_attributes,
    .reader = http_reader,
    .ahead = http_ahead,
    .read = http_store_read,
    .until = http_until,
    .scatter = http_scatter,
    .read_any = http_read_any,
    .read_end = http_read_end,
    .measure = http_measure,
    .promised = http_promised,
};
