// fault: what went wrong, told once, where it happened. A code is a decision for the caller (retry?
// ask for credentials? report and go on?); the sentence and the system's number travel with it.
//
// Every call that can fail returns a negative COPSE_E_* code and fills its last argument. The first
// failure wins: a caller that adds context does it before the fault leaves its hands.
#pragma once
#include <stdint.h>
#include "base/span.h"
#include "copse.h"

struct fault {
  int32_t code;      // COPSE_E_*, zero: nothing happened
  int32_t os_errno;  // zero: not from the system
  int32_t status;    // HTTP status, zero: none
  uint32_t part;     // of content that is proved in parts: 1 + the number of the one that failed
  const char *call;  // static text: the call that failed, or nullptr
  char text[224];    // a sentence without a name of a place in it, UTF-8, ends with '\0'
};

// Fills the fault and returns the code, so that a failing path is one line. `format` as in printf.
[[gnu::format(printf, 3, 4)]] int32_t fault_set(struct fault *fault, int32_t code,
                                                const char *format, ...);
// From errno: ENOENT, ENOTDIR -> NOT_FOUND; EACCES, EPERM -> DENIED; ENOSPC, EDQUOT, EFBIG ->
// NO_SPACE; EEXIST, ENOTEMPTY -> EXISTS; ENOMEM -> MEMORY; EMFILE, ENFILE -> LIMIT; ELOOP ->
// UNSAFE_PATH; ETIMEDOUT -> TIMEOUT; EBUSY, ETXTBSY -> BUSY; ENOSYS, EOPNOTSUPP -> UNSUPPORTED;
// EINTR never arrives; the rest -> IO. `call` is static text such as "openat". The sentence says
// what to do next.
int32_t fault_from_errno(struct fault *fault, int os_errno, const char *call);
const char *fault_name(int32_t code);  // "NOT_FOUND"; "INTERNAL" for what is no code of ours
bool fault_retryable(int32_t code);
const char *fault_errno_name(int os_errno);  // "ENOENT"; nullptr when the system has no such number
