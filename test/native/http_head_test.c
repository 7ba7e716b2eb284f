// http_head: what a server's lines mean, and which addresses the world can reach.
#include "wire/http_head.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "check.h"

static int passed;

static struct http_head head;
static struct fault fault;

static int32_t say(const char *line) {
  return http_head_line(&head, span_of(line), 1'700'000'000, &fault);
}

static void fresh(void) {
  head = (struct http_head){};
  fault = (struct fault){};
  CHECK(say("HTTP/1.1 200 OK\r\n") == 0);
}

static void lengths(void) {
  static const struct {
    const char *line;
    uint64_t size;  // COPSE_UNKNOWN: it is refused
  } cases[] = {
      {"Content-Length: 0\r\n", 0},
      {"content-length:10\r\n", 10},
      {"CONTENT-LENGTH: \t 10 \r\n", 10},
      {"Content-Length: 9223372036854775807\r\n", INT64_MAX},
      {"Content-Length: 9223372036854775808\r\n", COPSE_UNKNOWN},
      {"Content-Length: 18446744073709551616\r\n", COPSE_UNKNOWN},
      {"Content-Length: 00000000000000000000010\r\n", COPSE_UNKNOWN},
      {"Content-Length: -1\r\n", COPSE_UNKNOWN},
      {"Content-Length: +1\r\n", COPSE_UNKNOWN},
      {"Content-Length: 1 0\r\n", COPSE_UNKNOWN},
      {"Content-Length: 10, 10\r\n", COPSE_UNKNOWN},
      {"Content-Length: 0x10\r\n", COPSE_UNKNOWN},
      {"Content-Length:\r\n", COPSE_UNKNOWN},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++, passed++) {
    fresh();
    int32_t code = say(cases[i].line);
    if (cases[i].size == COPSE_UNKNOWN)
      CHECK(code == COPSE_E_PROTOCOL);
    else
      CHECK(code == 0 && head.size == cases[i].size);
  }
  fresh();
  CHECK(say("Content-Length: 5\r\n") == 0 && say("Content-Length: 5\r\n") == 0);
  CHECK(say("Content-Length: 6\r\n") == COPSE_E_PROTOCOL);
  fresh();
  CHECK(say("Content-Length: 5\r\n") == 0 && say("HTTP/1.1 200 OK\r\n") == 0);
  CHECK(head.size == COPSE_UNKNOWN);  // a new head has forgotten the old one
  passed += 2;
}

static void ranges(void) {
  static const struct {
    const char *text;
    bool good;
    uint64_t from, to, total;
  } cases[] = {
      {"bytes 0-9/100", true, 0, 10, 100},
      {"Bytes  90-99/100", true, 90, 100, 100},
      {"bytes 0-9/*", true, 0, 10, COPSE_UNKNOWN},
      {"bytes */100", true, 0, 0, 100},
      {"bytes */*", false, 0, 0, 0},
      {"bytes 9-0/100", false, 0, 0, 0},
      {"bytes 0-100/100", false, 0, 0, 0},
      {"bytes 0-9", false, 0, 0, 0},
      {"bytes -9/100", false, 0, 0, 0},
      {"bytes 0-/100", false, 0, 0, 0},
      {"bytes=0-9/100", false, 0, 0, 0},
      {"lines 0-9/100", false, 0, 0, 0},
      {"bytes 0-9/100 ", true, 0, 10, 100},
      {"bytes 0-18446744073709551615/18446744073709551616", false, 0, 0, 0},
      {"", false, 0, 0, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++, passed++) {
    uint64_t from, to, total;
    bool good = http_content_range(span_of(cases[i].text), &from, &to, &total);
    CHECK(good == cases[i].good);
    if (good) CHECK(from == cases[i].from && to == cases[i].to && total == cases[i].total);
  }
}

static void times(void) {
  CHECK(http_date_ns(SPAN("Thu, 01 Jan 1970 00:00:00 GMT")) == 0);
  CHECK(http_date_ns(SPAN("Wed, 15 Nov 2023 22:13:20 GMT")) == 1'700'086'400'000'000'000);
  CHECK(http_date_ns(SPAN("Sat, 29 Feb 2020 12:00:00 GMT")) == 1'582'977'600'000'000'000);
  CHECK(http_date_ns(SPAN("Wed, 31 Dec 1969 23:59:59 GMT")) == -1'000'000'000);
  static const char *const wrong[] = {"",
                                      "now",
                                      "Wed, 15 Nov 2023 22:13:20 CET",
                                      "Wed, 15 Foo 2023 22:13:20 GMT",
                                      "Wed, 15 Nov 2023 25:13:20 GMT",
                                      "Wed, 00 Nov 2023 22:13:20 GMT",
                                      "Wednesday, 15-Nov-23 22:13:20 GMT"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    CHECK(http_date_ns(span_of(wrong[i])) == COPSE_UNKNOWN_TIME);
  static const struct {
    const char *line;
    uint64_t ms;
  } waits[] = {
      {"Retry-After: 120\r\n", 120'000},
      {"Retry-After: 0\r\n", 0},
      {"Retry-After: -5\r\n", COPSE_UNKNOWN},
      {"Retry-After: soon\r\n", COPSE_UNKNOWN},
      {"Retry-After: 99999999999999\r\n", (uint64_t)UINT32_MAX * 1000},
      {"Retry-After: Tue, 14 Nov 2023 22:14:20 GMT\r\n", 60'000},
      {"Retry-After: Tue, 14 Nov 2000 22:14:20 GMT\r\n", 0},
  };
  for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
    fresh();
    CHECK(say(waits[i].line) == 0 && head.retry_after_ms == waits[i].ms);
  }
  passed += 4 + (int)(sizeof wrong / sizeof *wrong) + (int)(sizeof waits / sizeof *waits);
}

static void validators(void) {
  fresh();
  CHECK(say("ETag: \"abc\"\r\n") == 0 && head.is_strong && strcmp(head.etag, "\"abc\"") == 0);
  fresh();
  CHECK(say("ETag: W/\"abc\"\r\n") == 0 && !head.is_strong && strcmp(head.etag, "\"abc\"") == 0);
  static const char *const wrong[] = {"ETag: abc\r\n", "ETag: \"a\"b\"\r\n", "ETag: \"a\x01\"\r\n",
                                      "ETag: \"\r\n", "ETag:\r\n"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    fresh();
    CHECK(say(wrong[i]) == 0 && !head.is_strong && head.etag[0] == 0);
  }
  passed += 7;
}

static void names(void) {
  static const struct {
    const char *value, *name;
  } cases[] = {
      {"attachment", ""},
      {"inline; filename=plain.txt", "plain.txt"},
      {"attachment; filename=\"with space.txt\"", "with space.txt"},
      {"attachment; filename=\"quo\\\"ted;.txt\"; size=3", "quo\"ted;.txt"},
      {"ATTACHMENT; FILENAME = spaced.txt ; x=y", "spaced.txt"},
      {"attachment; filename*=UTF-8''na%C3%AFve%20x.txt", "na\xc3\xafve x.txt"},
      {"attachment; filename*=utf-8'en'a.txt; filename=b.txt", "a.txt"},
      {"attachment; filename=b.txt; filename*=UTF-8''a.txt", "a.txt"},
      {"attachment; filename*=ISO-8859-1''a%e9; filename=b.txt", "b.txt"},
      {"attachment; filename*=UTF-8''%ff%fe; filename=b.txt", "b.txt"},
      {"attachment; filename*=UTF-8; filename=b.txt", "b.txt"},
      {"attachment; filename=../../etc/passwd", "passwd"},
      {"attachment; filename=\"C:\\\\Windows\\\\x.exe\"", "x.exe"},
      {"attachment; filename*=UTF-8''..%2F..%2Fetc%2Fshadow", "shadow"},
      {"attachment; filename=\"/\"", ""},
      {"attachment; filename=..", ""},
      {"attachment; filename=.bashrc", ""},
      {"attachment; filename*=UTF-8''%2Ebashrc", ""},
      {"attachment; filename=\"a\tb\"", ""},
      {"attachment; filename*=UTF-8''a%0Ab", ""},
      {"attachment; filename*=UTF-8''a%00b", ""},
      {"attachment; filename*=UTF-8''a%1b%5b2J", ""},
      {"attachment; filename=", ""},
      {"attachment; filename", ""},
      {"attachment; =x", ""},
      {"attachment; filename=\"open", "open"},
      {"; ; ;", ""},
      {"", ""},
  };
  char name[HTTP_NAME_MAX + 1];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    CHECK(http_disposition_name(span_of(cases[i].value), name) == (cases[i].name[0] != 0));
    CHECK(strcmp(name, cases[i].name) == 0);
  }
  static const struct {
    const char *url, *name;
  } urls[] = {
      {"http://h/a.txt", "a.txt"},
      {"http://h/x/y/a%20b.txt?q=1/2#f", "a b.txt"},
      {"http://h/x/%2e%2e", "%2e%2e"},
      {"http://h/a%2Fb", "a%2Fb"},
      {"http://h/a%00b", "a%00b"},
      {"http://h/100%", "100%"},
      {"http://h/%zz", "%zz"},
      {"http://h/.hidden", ".hidden"},
      {"http://h/..", ""},
      {"http://h/x/", ""},
      {"http://h/", ""},
      {"http://h", ""},
      {"http://h?x/y", ""},
  };
  for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
    CHECK(http_url_name(span_of(urls[i].url), name) == (urls[i].name[0] != 0));
    CHECK(strcmp(name, urls[i].name) == 0);
  }
  char longest[600] = "attachment; filename=";
  memset(longest + 21, 'x', 255);
  CHECK(http_disposition_name((span){(uint8_t *)longest, 21 + 255}, name) && strlen(name) == 255);
  memset(longest + 21, 'x', 256);
  CHECK(!http_disposition_name((span){(uint8_t *)longest, 21 + 256}, name));
  passed += (int)(sizeof cases / sizeof *cases) + (int)(sizeof urls / sizeof *urls) + 2;
}

static void digests(void) {
#define BASE64 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
  static const char *const good[] = {
      "Repr-Digest: sha-256=:" BASE64 ":\r\n",
      "repr-digest:sha-512=:AA==:,sha-256=:" BASE64 ":;p=1,x\r\n",
      "Digest: md5=AA==, SHA-256=" BASE64 "\r\n",
      "X-Amz-Checksum-Sha256: " BASE64 "\r\n",
  };
  static const char *const wrong[] = {
      "Repr-Digest: sha-256=" BASE64 "\r\n",
      "Repr-Digest: sha-256=:" BASE64 "\r\n",
      "Repr-Digest: sha-256=::\r\n",
      "Repr-Digest: sha-256=:\r\n",
      "Repr-Digest: sha-256\r\n",
      "Repr-Digest: xsha-256=:" BASE64 ":\r\n",
      "Digest: SHA-256=:" BASE64 ":\r\n",
      "x-amz-checksum-sha256: " BASE64 "-3\r\n",
      "x-amz-checksum-sha256: A" BASE64 "\r\n",
      "Content-Digest: sha-256=:" BASE64 ":\r\n",
      "Digest: ,,,=,=\r\n",
      "Repr-Digest:\r\n",
      "Digest: SHA-256=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=\r\n",
  };
  for (size_t i = 0; i < sizeof good / sizeof *good; i++, passed++) {
    fresh();
    CHECK(say(good[i]) == 0 && head.has_sha256 && !head.is_disputed);
    for (uint8_t k = 0; k < HTTP_SHA256_BYTES; k++) CHECK(head.sha256[k] == k);
  }
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++, passed++) {
    fresh();
    CHECK(say(wrong[i]) == 0 && !head.has_sha256);
  }
  fresh();
  CHECK(say(good[0]) == 0 && say(good[2]) == 0 && !head.is_disputed);
  CHECK(say("Digest: sha-256=BAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\r\n") == 0);
  CHECK(head.is_disputed);
  // The next head knows nothing of it.
  CHECK(say("HTTP/1.1 200 OK\r\n") == 0 && !head.has_sha256 && !head.is_disputed);
  passed++;
}

static void heads_have_an_end(void) {
  fresh();
  int32_t code = 0;
  for (int i = 0; code == 0 && i < 100'000; i++) code = say("X-Pad: 0123456789012345678901234\r\n");
  CHECK(code == COPSE_E_LIMIT);
  fresh();
  for (code = 0; code == 0;) code = say("HTTP/1.1 100 Continue\r\n");
  CHECK(code == COPSE_E_LIMIT);  // heads before the last one count too
  passed += 2;
}

static void headers_that_may_be_sent(void) {
  static const char *const good[] = {"X-Key: value", "a:", "X!#$%&'*+.^_`|~9: tab\there"};
  static const char *const wrong[] = {"",       ":",        "no colon", "a b: c", "a: b\r\nc: d",
                                      "a: b\n", "a\x80: b", "a: \x7f",  "a: \x01"};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++, passed++)
    CHECK(http_header_is_safe(span_of(good[i])));
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++, passed++)
    CHECK(!http_header_is_safe(span_of(wrong[i])));
}

static bool reaches(const char *text) {
  struct sockaddr_in v4 = {.sin_family = AF_INET};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
  if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
    return http_address_is_public((const struct sockaddr *)&v4);
  CHECK(inet_pton(AF_INET6, text, &v6.sin6_addr) == 1);
  return http_address_is_public((const struct sockaddr *)&v6);
}

static void addresses(void) {
  static const char *const open[] = {
      "1.1.1.1",        "9.255.255.255",    "11.0.0.0",        "100.63.255.255",
      "100.128.0.0",    "126.255.255.255",  "128.0.0.1",       "169.253.0.1",
      "172.15.255.255", "172.32.0.0",       "192.167.0.1",     "192.169.0.1",
      "198.20.0.1",     "223.255.255.255",  "2606:4700::1111", "2001:4860:4860::8888",
      "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1"};
  static const char *const closed[] = {"0.0.0.0",
                                       "10.0.0.1",
                                       "100.64.0.1",
                                       "100.127.255.255",
                                       "127.0.0.1",
                                       "169.254.169.254",
                                       "172.16.0.1",
                                       "172.31.255.255",
                                       "192.0.0.1",
                                       "192.168.1.1",
                                       "198.18.0.1",
                                       "224.0.0.1",
                                       "240.0.0.1",
                                       "255.255.255.255",
                                       "::",
                                       "::1",
                                       "::7f00:1",
                                       "::ffff:127.0.0.1",
                                       "::ffff:10.0.0.1",
                                       "64:ff9b::7f00:1",
                                       "64:ff9b::a9fe:a9fe",
                                       "64:ff9b:1::1",
                                       "2002:7f00:1::1",
                                       "fc00::1",
                                       "fdff::1",
                                       "fe80::1",
                                       "fec0::1",
                                       "ff02::1",
                                       "2001:db8::1",
                                       "2001::1",
                                       "100::1",
                                       "4000::1"};
  for (size_t i = 0; i < sizeof open / sizeof *open; i++, passed++) {
    CHECK(reaches(open[i]));
    CHECK(http_host_is_public(open[i]));
  }
  for (size_t i = 0; i < sizeof closed / sizeof *closed; i++, passed++) {
    CHECK(!reaches(closed[i]));
    CHECK(!http_host_is_public(closed[i]));
  }
  CHECK(http_host_is_public("example.com") && http_host_is_public("") && http_host_is_public("["));
  CHECK(!http_host_is_public("[::1]") && !http_host_is_public("[fe80::1%25eth0]"));
  struct sockaddr local = {.sa_family = AF_UNIX};
  CHECK(!http_address_is_public(&local));
  passed += 3;
}

int main(void) {
  lengths();
  ranges();
  times();
  validators();
  names();
  digests();
  heads_have_an_end();
  headers_that_may_be_sent();
  addresses();
  printf("%d passed\n", passed);
}
