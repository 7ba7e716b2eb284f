// fault: every code has a name and a sentence, errno numbers become codes, texts are safe to print.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                        \
    }                                                                 \
  } while (0)

#include "base/fault.h"

static void codes_have_names(void) {
  CHECK(strcmp(fault_name(COPSE_E_NOT_FOUND), "NOT_FOUND") == 0);
  CHECK(strcmp(fault_name(COPSE_E_INTERNAL), "INTERNAL") == 0);
  CHECK(strcmp(fault_name(COPSE_E_NO_SPACE), "NO_SPACE") == 0);
  CHECK(strcmp(fault_name(0), "INTERNAL") == 0);
  CHECK(strcmp(fault_name(-22), "INTERNAL") == 0);
  CHECK(strcmp(fault_name(INT32_MIN), "INTERNAL") == 0);
  CHECK(strcmp(fault_name(7), "INTERNAL") == 0);
  CHECK(fault_retryable(COPSE_E_NETWORK));
  CHECK(!fault_retryable(COPSE_E_DENIED));
  CHECK(!fault_retryable(COPSE_E_ARGUMENT));
}

static void errno_becomes_a_code(void) {
  static const struct {
    int os_errno;
    int32_t code;
  } table[] = {
      {ENOENT, COPSE_E_NOT_FOUND},
      {ENOTDIR, COPSE_E_NOT_FOUND},
      {EACCES, COPSE_E_DENIED},
      {EPERM, COPSE_E_DENIED},
      {ENOSPC, COPSE_E_NO_SPACE},
      {EDQUOT, COPSE_E_NO_SPACE},
      {EFBIG, COPSE_E_NO_SPACE},
      {EEXIST, COPSE_E_EXISTS},
      {ENOTEMPTY, COPSE_E_EXISTS},
      {ENOMEM, COPSE_E_MEMORY},
      {EMFILE, COPSE_E_LIMIT},
      {ENFILE, COPSE_E_LIMIT},
      {ELOOP, COPSE_E_UNSAFE_PATH},
      {ETIMEDOUT, COPSE_E_TIMEOUT},
      {EBUSY, COPSE_E_BUSY},
      {ETXTBSY, COPSE_E_BUSY},
      {ENOSYS, COPSE_E_UNSUPPORTED},
      {EOPNOTSUPP, COPSE_E_UNSUPPORTED},
      {EROFS, COPSE_E_DENIED},
      {ENAMETOOLONG, COPSE_E_LIMIT},
      {EIO, COPSE_E_IO},
      {EINVAL, COPSE_E_IO},
      {ESTALE, COPSE_E_IO},
      {9999, COPSE_E_IO},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    struct fault fault;
    CHECK(fault_from_errno(&fault, table[i].os_errno, "openat") == table[i].code);
    CHECK(fault.code == table[i].code);
    CHECK(fault.os_errno == table[i].os_errno);
    CHECK(fault.status == 0);
    CHECK(strcmp(fault.call, "openat") == 0);
    CHECK(fault.text[0] != 0);
  }
  CHECK(strcmp(fault_errno_name(ENOENT), "ENOENT") == 0);
  CHECK(strcmp(fault_errno_name(ESTALE), "ESTALE") == 0);
  CHECK(fault_errno_name(0) == nullptr);
  CHECK(fault_errno_name(9999) == nullptr);
}

#ifdef __GLIBC__
static void errno_names_are_libcs(void) {
  for (int i = 1; i < 200; i++) {
    const char *theirs = strerrorname_np(i), *ours = fault_errno_name(i);
    CHECK((theirs == nullptr) == (ours == nullptr));
    if (i == ENOTSUP) continue;  // two names of one number
    if (theirs) CHECK(strcmp(theirs, ours) == 0);
  }
}
#endif

static void texts_are_safe_to_print(void) {
  struct fault fault = {.os_errno = 5, .status = 404};
  CHECK(fault_set(&fault, COPSE_E_ARGUMENT, "no scheme \"%s\"", "a\x1b[31mb\n") ==
        COPSE_E_ARGUMENT);
  CHECK(strcmp(fault.text, "no scheme \"a?[31mb?\"") == 0);
  CHECK(fault.os_errno == 0);
  CHECK(fault.status == 0);
  CHECK(fault.call == nullptr);
  fault_set(&fault, COPSE_E_IO, "%s", "\xff\xc3 \xc3\xa9 \xed\xa0\x80 \xc2\x9b\xe2\x82");
  CHECK(strcmp(fault.text, "?? \xc3\xa9 ??? ????") == 0);

  // A caller adds context to the text it already has.
  fault_set(&fault, COPSE_E_IO, "disk");
  fault_set(&fault, fault.code, "cannot read: %s", fault.text);
  CHECK(strcmp(fault.text, "cannot read: disk") == 0);
}

static void long_texts_are_cut_between_characters(void) {
  for (size_t before = 0; before < 4; before++) {
    char text[600] = "abc";
    size_t size = before;
    while (size < sizeof text - 4) {
      memcpy(text + size, "\xe2\x82\xac", 3);
      size += 3;
    }
    text[size] = 0;
    struct fault fault;
    fault_set(&fault, COPSE_E_IO, "%s", text);
    size_t kept = strlen(fault.text);
    CHECK(kept < sizeof fault.text);
    CHECK(kept > sizeof fault.text - 8);
    CHECK((kept - before) % 3 == 0);
    CHECK(memcmp(fault.text, text, kept) == 0);
  }
}

int main(void) {
  codes_have_names();
  errno_becomes_a_code();
#ifdef __GLIBC__
  errno_names_are_libcs();
#endif
  texts_are_safe_to_print();
  long_texts_are_cut_between_characters();
}
