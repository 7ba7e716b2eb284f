#include "wire/http_head.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

void http_head_begin(struct http_head *head) {
  uint32_t bytes = head->bytes;
  memset(head, 0, offsetof(struct http_head, location) + 1);
  head->bytes = bytes;
  head->size = head->range_total = head->retry_after_ms = COPSE_UNKNOWN;
  head->mtime_ns = COPSE_UNKNOWN_TIME;
}

// ── Small readers ──

static span trim(span text) {
  while (text.size && (text.at[0] == ' ' || text.at[0] == '\t')) {
    text.at++;
    text.size--;
  }
  while (text.size && (text.at[text.size - 1] == ' ' || text.at[text.size - 1] == '\t' ||
                       text.at[text.size - 1] == '\r' || text.at[text.size - 1] == '\n'))
    text.size--;
  return text;
}

static uint8_t lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c; }

static bool is_word(span text, const char *word) {
  span other = span_of(word);
  if (text.size != other.size) return false;
  for (size_t i = 0; i < text.size; i++)
    if (lower(text.at[i]) != other.at[i]) return false;
  return true;
}

bool http_number(span text, uint64_t *number) {
  if (text.size == 0 || text.size > 19) return false;
  uint64_t value = 0;
  for (size_t i = 0; i < text.size; i++) {
    if (text.at[i] < '0' || text.at[i] > '9') return false;
    value = value * 10 + (uint64_t)(text.at[i] - '0');
  }
  if (value > INT64_MAX) return false;
  *number = value;
  return true;
}

// What is before the first `mark`; false when there is none. The rest stays in `text`.
static bool cut(span *text, uint8_t mark, span *before) {
  const uint8_t *at = text->size ? memchr(text->at, mark, text->size) : nullptr;
  if (!at) return false;
  *before = (span){text->at, (size_t)(at - text->at)};
  *text = (span){at + 1, text->size - before->size - 1};
  return true;
}

bool http_content_range(span text, uint64_t *from, uint64_t *to, uint64_t *total) {
  span unit, range, first;
  text = trim(text);
  if (!cut(&text, ' ', &unit) || !is_word(unit, "bytes")) return false;
  text = trim(text);
  if (!cut(&text, '/', &range)) return false;
  *total = COPSE_UNKNOWN;
  bool is_total = !span_equal(text, SPAN("*"));
  if (is_total && !http_number(text, total)) return false;
  if (span_equal(range, SPAN("*"))) {  // "there is no such range; there are `total` bytes"
    *from = *to = 0;
    return is_total;
  }
  uint64_t last;
  if (!cut(&range, '-', &first) || !http_number(first, from) || !http_number(range, &last))
    return false;
  if (last < *from || (is_total && last >= *total)) return false;
  *to = last + 1;
  return true;
}

// Days from 1970-01-01 to a day of the Gregorian calendar.
static int64_t days_from(int64_t year, int64_t month, int64_t day) {
  year -= month <= 2;
  int64_t era = year / 400, of_era = year % 400;
  int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146'097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719'468;
}

static bool digits(span text, size_t at, size_t count, int64_t *number) {
  uint64_t value;
  if (text.size < at + count || !http_number((span){text.at + at, count}, &value)) return false;
  *number = (int64_t)value;
  return true;
}

int64_t http_date_ns(span text) {
  static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  text = trim(text);
  int64_t day, year, hour, minute, second, month = 0;
  if (text.size != 29 || memcmp(text.at + 25, " GMT", 4) != 0 || text.at[3] != ',' ||
      text.at[19] != ':' || text.at[22] != ':')
    return COPSE_UNKNOWN_TIME;
  for (int64_t i = 0; i < 12; i++)
    if (memcmp(text.at + 8, months + 3 * i, 3) == 0) month = i + 1;
  if (month == 0 || !digits(text, 5, 2, &day) || !digits(text, 12, 4, &year) ||
      !digits(text, 17, 2, &hour) || !digits(text, 20, 2, &minute) || !digits(text, 23, 2, &second))
    return COPSE_UNKNOWN_TIME;
  if (day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60 || year < 1 || year > 2200)
    return COPSE_UNKNOWN_TIME;
  int64_t seconds = days_from(year, month, day) * 86'400 + hour * 3600 + minute * 60 + second;
  int64_t ns;
  return __builtin_mul_overflow(seconds, 1'000'000'000, &ns) ? COPSE_UNKNOWN_TIME : ns;
}

// ── Lines ──

// Two answers that both hold are one; two that differ are none.
static int32_t content_length(struct http_head *head, span value, struct fault *fault) {
  uint64_t size;
  if (!http_number(value, &size))
    return fault_set(fault, COPSE_E_PROTOCOL,
                     "the server's Content-Length is no length: check the server");
  if (head->size != COPSE_UNKNOWN && head->size != size)
    return fault_set(fault, COPSE_E_PROTOCOL,
                     "the server gives two lengths for one answer: check the server");
  head->size = size;
  return 0;
}

static void keep_etag(struct http_head *head, span value) {
  head->is_strong = true;
  if (value.size >= 2 && value.at[0] == 'W' && value.at[1] == '/') {
    head->is_strong = false;
    value = (span){value.at + 2, value.size - 2};
  }
  bool is_good = value.size >= 2 && value.size <= HTTP_ETAG_MAX && value.at[0] == '"' &&
                 value.at[value.size - 1] == '"';
  for (size_t i = 1; is_good && i + 1 < value.size; i++)
    is_good = value.at[i] > 0x20 && value.at[i] != 0x7f && value.at[i] != '"';
  if (!is_good) value.size = 0;
  if (value.size) memcpy(head->etag, value.at, value.size);
  head->etag[value.size] = 0;
  if (value.size == 0) head->is_strong = false;
}

static void keep_type(struct http_head *head, span value) {
  span before;
  if (cut(&value, ';', &before)) value = trim(before);
  if (value.size > HTTP_TYPE_MAX) value.size = 0;
  for (size_t i = 0; i < value.size; i++) head->type[i] = (char)lower(value.at[i]);
  head->type[value.size] = 0;
}

static int32_t keep_location(struct http_head *head, span value, struct fault *fault) {
  bool is_good = value.size > 0 && value.size <= HTTP_LOCATION_MAX;
  for (size_t i = 0; is_good && i < value.size; i++)
    is_good = value.at[i] >= 0x20 && value.at[i] != 0x7f;
  bool is_other = head->has_location && (strlen(head->location) != value.size ||
                                         memcmp(head->location, value.at, value.size) != 0);
  if (!is_good || is_other)
    return fault_set(fault, COPSE_E_PROTOCOL,
                     "the server redirects to no address: check the server");
  memcpy(head->location, value.at, value.size);
  head->location[value.size] = 0;
  head->has_location = true;
  return 0;
}

static int base64_digit(uint8_t byte) {
  if (byte >= 'A' && byte <= 'Z') return byte - 'A';
  if (byte >= 'a' && byte <= 'z') return byte - 'a' + 26;
  if (byte >= '0' && byte <= '9') return byte - '0' + 52;
  return byte == '+' ? 62 : byte == '/' ? 63 : -1;
}

// Exactly one SHA-256 in base64. Anything else, such as "...-2" of an object that came in parts, is
// none.
static void keep_sha256(struct http_head *head, span text) {
  constexpr size_t DIGITS = 43;
  uint8_t sha256[HTTP_SHA256_BYTES];
  uint32_t bits = 0, count = 0;
  if (text.size != DIGITS + 1 || text.at[DIGITS] != '=') return;
  for (size_t i = 0, made = 0; i < DIGITS; i++) {
    int digit = base64_digit(text.at[i]);
    if (digit < 0) return;
    bits = bits << 6 | (uint32_t)digit;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    sha256[made++] = (uint8_t)(bits >> count);
  }
  if (bits & ((1u << count) - 1)) return;  // bits that belong to nothing
  if (head->has_sha256 && memcmp(head->sha256, sha256, sizeof sha256) != 0)
    head->is_disputed = true;
  memcpy(head->sha256, sha256, sizeof sha256);
  head->has_sha256 = true;
}

// "sha-512=:...:, sha-256=:...:", and the older form without the colons.
static void keep_digest(struct http_head *head, span value, bool has_colons) {
  while (value.size) {
    span member, name;
    if (!cut(&value, ',', &member)) {
      member = value;
      value.size = 0;
    }
    member = trim(member);
    if (!cut(&member, '=', &name) || !is_word(trim(name), "sha-256")) continue;
    if (has_colons) {
      span parameters = member;
      if (cut(&parameters, ';', &name)) member = trim(name);
      if (member.size < 2 || member.at[0] != ':' || member.at[member.size - 1] != ':') continue;
      member = (span){member.at + 1, member.size - 2};
    }
    keep_sha256(head, member);
  }
}

static void keep_retry_after(struct http_head *head, span value, int64_t now_s) {
  uint64_t seconds;
  int64_t at = http_date_ns(value);
  if (http_number(value, &seconds))
    head->retry_after_ms = seconds < UINT32_MAX ? seconds * 1000 : (uint64_t)UINT32_MAX * 1000;
  else if (at != COPSE_UNKNOWN_TIME)
    head->retry_after_ms =
        at / 1'000'000'000 > now_s ? (uint64_t)(at / 1'000'000'000 - now_s) * 1000 : 0;
}

static bool status_line(struct http_head *head, span line) {
  if (line.size < 5 || memcmp(line.at, "HTTP/", 5) != 0) return false;
  span version;
  uint64_t status = 0;
  http_head_begin(head);
  if (cut(&line, ' ', &version) && line.size >= 3 && http_number((span){line.at, 3}, &status))
    head->status = (uint32_t)status;
  return true;
}

int32_t http_head_line(struct http_head *head, span line, int64_t now_s, struct fault *fault) {
  if (line.size > HTTP_HEAD_MAX - head->bytes)
    return fault_set(fault, COPSE_E_LIMIT, "the server's headers are longer than %u bytes",
                     HTTP_HEAD_MAX);
  head->bytes += (uint32_t)line.size;
  if (status_line(head, line)) return 0;
  span name, value = line;
  if (!cut(&value, ':', &name)) return 0;
  value = trim(value);
  if (is_word(name, "content-length")) return content_length(head, value, fault);
  if (is_word(name, "location")) return keep_location(head, value, fault);
  if (is_word(name, "content-range")) {
    uint64_t from, to, total;
    bool again = head->has_range;
    if (!http_content_range(value, &from, &to, &total) ||
        (again && (from != head->range_from || to != head->range_to || total != head->range_total)))
      return fault_set(fault, COPSE_E_PROTOCOL,
                       "the server's Content-Range makes no sense: check the server");
    head->has_range = true;
    head->range_from = from;
    head->range_to = to;
    head->range_total = total;
  } else if (is_word(name, "etag")) {
    keep_etag(head, value);
  } else if (is_word(name, "last-modified")) {
    head->mtime_ns = http_date_ns(value);
  } else if (is_word(name, "accept-ranges")) {
    head->ranges = is_word(value, "bytes");
  } else if (is_word(name, "content-encoding")) {
    head->is_encoded = !is_word(value, "identity") && value.size > 0;
  } else if (is_word(name, "transfer-encoding")) {
    head->is_chunked = true;
  } else if (is_word(name, "content-type")) {
    keep_type(head, value);
  } else if (is_word(name, "content-disposition")) {
    http_disposition_name(value, head->name);
  } else if (is_word(name, "repr-digest")) {
    keep_digest(head, value, true);
  } else if (is_word(name, "digest")) {
    keep_digest(head, value, false);
  } else if (is_word(name, "x-amz-checksum-sha256")) {
    keep_sha256(head, value);
  } else if (is_word(name, "retry-after")) {
    keep_retry_after(head, value, now_s);
  }
  return 0;
}

bool http_header_is_safe(span line) {
  static const char marks[] = "!#$%&'*+-.^_`|~";
  size_t colon = 0;
  for (; colon < line.size && line.at[colon] != ':'; colon++) {
    uint8_t c = line.at[colon];
    bool is_letter = lower(c) >= 'a' && lower(c) <= 'z';
    if (!is_letter && !(c >= '0' && c <= '9') && !(c && strchr(marks, c))) return false;
  }
  if (colon == 0 || colon == line.size) return false;
  for (size_t i = colon; i < line.size; i++)
    if ((line.at[i] < 0x20 && line.at[i] != '\t') || line.at[i] == 0x7f) return false;
  return true;
}

// ── Addresses ──

static bool v4_is_public(const uint8_t at[4]) {
  static const struct {
    uint8_t net[4], bits;
  } closed[] = {
      {{0, 0, 0, 0}, 8},      {{10, 0, 0, 0}, 8},     {{100, 64, 0, 0}, 10},
      {{127, 0, 0, 0}, 8},    {{169, 254, 0, 0}, 16}, {{172, 16, 0, 0}, 12},
      {{192, 0, 0, 0}, 24},   {{192, 0, 2, 0}, 24},   {{192, 88, 99, 0}, 24},
      {{192, 168, 0, 0}, 16}, {{198, 18, 0, 0}, 15},  {{198, 51, 100, 0}, 24},
      {{203, 0, 113, 0}, 24}, {{224, 0, 0, 0}, 4},    {{240, 0, 0, 0}, 4},
  };
  uint32_t address = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
  for (size_t i = 0; i < sizeof closed / sizeof *closed; i++) {
    const uint8_t *net = closed[i].net;
    uint32_t begin =
        (uint32_t)net[0] << 24 | (uint32_t)net[1] << 16 | (uint32_t)net[2] << 8 | net[3];
    if ((address ^ begin) >> (32 - closed[i].bits) == 0) return false;
  }
  return true;
}

static bool v6_is_public(const uint8_t at[16]) {
  static const uint8_t zero[12] = {}, mapped[12] = {[10] = 0xff, 0xff},
                       nat64[12] = {0x00, 0x64, 0xff, 0x9b};
  if (memcmp(at, mapped, 12) == 0 || memcmp(at, nat64, 12) == 0) return v4_is_public(at + 12);
  if (memcmp(at, zero, 12) == 0) return false;  // ::, ::1 and the old compatible form
  if (at[0] == 0x20 && at[1] == 0x02) return v4_is_public(at + 2);  // 6to4
  if ((at[0] & 0xe0) != 0x20) return false;                         // only 2000::/3 is given out
  bool is_special = at[0] == 0x20 && at[1] == 0x01 && (at[2] & 0xfe) == 0;  // 2001::/23
  bool is_example = at[0] == 0x20 && at[1] == 0x01 && at[2] == 0x0d && at[3] == 0xb8;
  return !is_special && !is_example;
}

bool http_address_is_public(const struct sockaddr *address) {
  if (address->sa_family == AF_INET) {
    struct sockaddr_in v4;
    memcpy(&v4, address, sizeof v4);
    return v4_is_public((const uint8_t *)&v4.sin_addr);
  }
  if (address->sa_family == AF_INET6) {
    struct sockaddr_in6 v6;
    memcpy(&v6, address, sizeof v6);
    return v6_is_public(v6.sin6_addr.s6_addr);
  }
  return false;
}

bool http_host_is_public(const char *host) {
  char bare[64];
  uint8_t at[16];
  size_t size = strlen(host);
  if (size >= 2 && host[0] == '[' && host[size - 1] == ']') {
    host++;
    size -= 2;
  }
  if (size >= sizeof bare) return true;
  memcpy(bare, host, size);
  bare[size] = 0;
  char *zone = strchr(bare, '%');
  if (zone) *zone = 0;
  if (inet_pton(AF_INET, bare, at) == 1) return v4_is_public(at);
  if (inet_pton(AF_INET6, bare, at) == 1) return v6_is_public(at);
  return true;
}
