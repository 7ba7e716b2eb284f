// fault: see fault.h. The two lists, codes and errno numbers, are tables; everything else reads
// them.
#include "base/fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/character.h"

#define X(name, number, retryable, sentence) \
  static_assert(number == COPSE_E_##name, "errors.def and copse.h disagree");
#include "base/errors.def"
#undef X

struct code {
  const char *name, *sentence;
  bool retryable;
};

// Index: minus the number. Zero is no code.
static const struct code codes[] = {
#define X(name, number, retryable, sentence) [-(number)] = {#name, sentence, retryable},
#include "base/errors.def"
#undef X
};
constexpr size_t CODES = sizeof codes / sizeof *codes;
static_assert(CODES == 22, "a code was added to copse.h: give it a line in errors.def");

static const struct code *code_of(int32_t code) {
  if (code >= 0 || code <= -(int32_t)CODES) return &codes[-COPSE_E_INTERNAL];
  return &codes[-code];
}

const char *fault_name(int32_t code) { return code_of(code)->name; }

bool fault_retryable(int32_t code) { return code_of(code)->retryable; }

// A sentence may quote what a caller or a server said: what would upset a terminal or a decoder
// becomes a '?'.
static void make_printable(char *text, size_t size) {
  uint8_t *bytes = (uint8_t *)text;
  for (size_t at = 0; at < size;) {
    uint32_t character;
    size_t width = character_read((span){bytes + at, size - at}, &character);
    bool is_control = character < 0x20 || (character >= 0x7F && character < 0xA0);
    if (is_control || character >= CHARACTER_MALFORMED) memset(bytes + at, '?', width);
    at += width;
  }
}

int32_t fault_set(struct fault *fault, int32_t code, const char *format, ...) {
  // Built aside, because an argument may be the old text.
  char text[sizeof fault->text];
  va_list arguments;
  va_start(arguments, format);
  int full = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (full < 0) text[0] = 0;
  size_t size = strlen(text);
  if (full >= (int)sizeof text) {  // a character that was cut in two goes
    while (size > 0 && ((uint8_t)text[size - 1] & 0xC0) == 0x80) size--;
    if (size > 0 && (uint8_t)text[size - 1] >= 0x80) size--;
    text[size] = 0;
  }
  make_printable(text, size);
  *fault = (struct fault){.code = code};
  memcpy(fault->text, text, size + 1);
  return code;
}

struct cause {
  int os_errno;
  int32_t code;
  const char *sentence;
};

static const struct cause causes[] = {
    {ENOENT, COPSE_E_NOT_FOUND, "no such file or directory: check the path"},
    {ENOTDIR, COPSE_E_NOT_FOUND, "a part of the path is no directory: check the path"},
    {EACCES, COPSE_E_DENIED,
     "permission denied: check the owner and mode, or run as a user who may read it"},
    {EPERM, COPSE_E_DENIED,
     "not permitted: check the owner and the immutable flag, or run as a user who may"},
    {ENOSPC, COPSE_E_NO_SPACE, "no space left on the device: free some and run again"},
    {EDQUOT, COPSE_E_NO_SPACE, "the disk quota is used up: free some space or raise the quota"},
    {EFBIG, COPSE_E_NO_SPACE, "the file is larger than the file system or the ulimit allows"},
    {EEXIST, COPSE_E_EXISTS, "something is there already: remove it or choose another name"},
    {ENOTEMPTY, COPSE_E_EXISTS, "directory is not empty: remove what is in it first"},
    {ENOMEM, COPSE_E_MEMORY, "out of memory: close something or use less concurrency"},
    {EMFILE, COPSE_E_LIMIT,
     "too many open files in this process: raise ulimit -n or use less concurrency"},
    {ENFILE, COPSE_E_LIMIT,
     "too many open files in the whole system: close some or raise fs.file-max"},
    {ELOOP, COPSE_E_UNSAFE_PATH, "a link where none may be, or links in a circle: check the path"},
    {ETIMEDOUT, COPSE_E_TIMEOUT, "the file system took too long: check the server and try again"},
    {EBUSY, COPSE_E_BUSY, "it is in use, or is a mount point: try again when it is free"},
    {ETXTBSY, COPSE_E_BUSY, "it is a program that runs: try again when it has ended"},
    {ENOSYS, COPSE_E_UNSUPPORTED, "this kernel cannot do it: a newer one may"},
    {EOPNOTSUPP, COPSE_E_UNSUPPORTED, "this file system cannot do it"},
#if ENOTSUP != EOPNOTSUPP
    {ENOTSUP, COPSE_E_UNSUPPORTED, "this file system cannot do it"},
#endif
    {EIO, COPSE_E_IO, "the device reports an error: check the disk and the system log"},
    {EROFS, COPSE_E_DENIED,
     "the file system is read-only: mount it writable or choose another place"},
    {ENAMETOOLONG, COPSE_E_LIMIT,
     "the name is too long for this file system: choose a shorter one"},
    {EISDIR, COPSE_E_IO, "it is a directory: name a file"},
    {EXDEV, COPSE_E_IO, "it is on another file system: choose a place on the same one"},
    {EMLINK, COPSE_E_IO, "the file system allows no more links or directories there"},
    {EINVAL, COPSE_E_IO, "the file system refused the request: it may not support it"},
    {EAGAIN, COPSE_E_IO, "it has nothing to read now: it is no plain file"},
    {ESTALE, COPSE_E_IO, "the file server forgot the file: mount it again and rerun"},
    {ENXIO, COPSE_E_IO, "no device stands behind it"},
    {ENODEV, COPSE_E_IO, "no device stands behind it"},
};

int32_t fault_from_errno(struct fault *fault, int os_errno, const char *call) {
  struct cause cause = {os_errno, COPSE_E_IO, nullptr};
  for (size_t i = 0; i < sizeof causes / sizeof *causes; i++)
    if (causes[i].os_errno == os_errno) cause = causes[i];
  const char *name = fault_errno_name(os_errno);
  if (cause.sentence)
    fault_set(fault, cause.code, "%s", cause.sentence);
  else
    fault_set(fault, cause.code, "the system says %s to %s: check the disk and the system log",
              name ? name : "an unknown error", call ? call : "a call");
  fault->os_errno = os_errno;
  fault->call = call;
  return fault->code;
}

// Names are ours and not libc's strerrorname_np, which only a new glibc has.
const char *fault_errno_name(int os_errno) {
  static const struct {
    int number;
    const char *name;
  } names[] = {
#define X(name) {name, #name}
      X(E2BIG),
      X(EACCES),
      X(EADDRINUSE),
      X(EADDRNOTAVAIL),
      X(EAFNOSUPPORT),
      X(EAGAIN),
      X(EALREADY),
      X(EBADF),
      X(EBADMSG),
      X(EBUSY),
      X(ECANCELED),
      X(ECHILD),
      X(ECONNABORTED),
      X(ECONNREFUSED),
      X(ECONNRESET),
      X(EDEADLK),
      X(EDESTADDRREQ),
      X(EDOM),
      X(EDQUOT),
      X(EEXIST),
      X(EFAULT),
      X(EFBIG),
      X(EHOSTDOWN),
      X(EHOSTUNREACH),
      X(EIDRM),
      X(EILSEQ),
      X(EINPROGRESS),
      X(EINTR),
      X(EINVAL),
      X(EIO),
      X(EISCONN),
      X(EISDIR),
      X(ELOOP),
      X(EMFILE),
      X(EMLINK),
      X(EMSGSIZE),
      X(EMULTIHOP),
      X(ENAMETOOLONG),
      X(ENETDOWN),
      X(ENETRESET),
      X(ENETUNREACH),
      X(ENFILE),
      X(ENOBUFS),
      X(ENODATA),
      X(ENODEV),
      X(ENOENT),
      X(ENOEXEC),
      X(ENOLCK),
      X(ENOLINK),
      X(ENOMEM),
      X(ENOMSG),
      X(ENOPROTOOPT),
      X(ENOSPC),
      X(ENOSYS),
      X(ENOTBLK),
      X(ENOTCONN),
      X(ENOTDIR),
      X(ENOTEMPTY),
      X(ENOTSOCK),
      X(ENOTTY),
      X(ENXIO),
      X(EOPNOTSUPP),
      X(EOVERFLOW),
      X(EOWNERDEAD),
      X(ENOTRECOVERABLE),
      X(EPERM),
      X(EPFNOSUPPORT),
      X(EPIPE),
      X(EPROTO),
      X(EPROTONOSUPPORT),
      X(EPROTOTYPE),
      X(ERANGE),
      X(EREMOTE),
      X(EROFS),
      X(ESHUTDOWN),
      X(ESOCKTNOSUPPORT),
      X(ESPIPE),
      X(ESRCH),
      X(ESTALE),
      X(ETIME),
      X(ETIMEDOUT),
      X(ETOOMANYREFS),
      X(ETXTBSY),
      X(EUSERS),
      X(EXDEV),
#ifdef __linux__
      X(EADV),
      X(EBADE),
      X(EBADFD),
      X(EBADR),
      X(EBADRQC),
      X(EBADSLT),
      X(EBFONT),
      X(ECHRNG),
      X(ECOMM),
      X(EDOTDOT),
      X(EHWPOISON),
      X(EISNAM),
      X(EKEYEXPIRED),
      X(EKEYREJECTED),
      X(EKEYREVOKED),
      X(EL2HLT),
      X(EL2NSYNC),
      X(EL3HLT),
      X(EL3RST),
      X(ELIBACC),
      X(ELIBBAD),
      X(ELIBEXEC),
      X(ELIBMAX),
      X(ELIBSCN),
      X(ELNRNG),
      X(EMEDIUMTYPE),
      X(ENAVAIL),
      X(ENOANO),
      X(ENOCSI),
      X(ENOKEY),
      X(ENOMEDIUM),
      X(ENONET),
      X(ENOPKG),
      X(ENOSR),
      X(ENOSTR),
      X(ENOTNAM),
      X(ENOTUNIQ),
      X(EREMCHG),
      X(EREMOTEIO),
      X(ERESTART),
      X(ERFKILL),
      X(ESRMNT),
      X(ESTRPIPE),
      X(EUCLEAN),
      X(EUNATCH),
      X(EXFULL),
#endif
#if ENOTSUP != EOPNOTSUPP
      X(ENOTSUP),
#endif
#undef X
  };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (names[i].number == os_errno) return names[i].name;
  return nullptr;
}
