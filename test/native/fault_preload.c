// fault_preload: makes the system fail for libcopse.so and for nobody else in the process.
//
// test/faults.test.ts builds it, test/fault-child.ts runs under it (LD_PRELOAD) and drives it
// through bun:ffi: arm it, run an operation, disarm it. Each wrapped call asks where it returns to;
// only calls from libcopse.so are counted, and the one whose number was armed fails (sticky: all
// after it too). What a real failure leaves behind is left behind here: a close that fails has
// closed.
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

// What is counted and fails.
enum kind : uint32_t {
  KIND_MEMORY = 1,
  KIND_FILES = 2,     // every call on files and descriptors, with the chosen errno
  KIND_THREADS = 4,   // pthread_create
  KIND_SHORT = 8,     // pread gives half of what there is instead of failing
  KIND_FOREIGN = 16,  // not counted: fstatfs names a file system nobody knows
};

static struct {
  _Atomic uintptr_t begin, end;  // where libcopse.so is
  _Atomic uint32_t kinds;        // zero: disarmed
  _Atomic uint32_t at, count, failed;
  _Atomic int with_errno;
  _Atomic bool is_sticky;
  _Atomic int64_t live;        // allocations of libcopse.so that it has not freed
  _Atomic int64_t armed_ns;    // zero: the watch sleeps
  _Atomic(const char *) name;  // of the first call that failed
  int64_t patience_ns;
} state;

// ── Who calls, and is it his turn ──

static int find(struct dl_phdr_info *info, size_t size, void *given) {
  (void)size;
  (void)given;
  const char *slash = strrchr(info->dlpi_name, '/');
  if (strncmp(slash ? slash + 1 : info->dlpi_name, "libcopse.", 9) != 0) return 0;
  for (size_t i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *header = &info->dlpi_phdr[i];
    if (header->p_type != PT_LOAD || !(header->p_flags & PF_X)) continue;
    uintptr_t begin = info->dlpi_addr + header->p_vaddr;
    atomic_store(&state.begin, begin);
    atomic_store(&state.end, begin + header->p_memsz);
    return 1;
  }
  return 0;
}

static bool is_ours(const void *address) {
  uintptr_t at = (uintptr_t)address;
  return at >= atomic_load_explicit(&state.begin, memory_order_relaxed) &&
         at < atomic_load_explicit(&state.end, memory_order_relaxed);
}

static bool is_cue(enum kind kind, const char *name, const void *address) {
  if (!(atomic_load_explicit(&state.kinds, memory_order_relaxed) & kind) || !is_ours(address))
    return false;
  uint32_t at = atomic_load(&state.at), number = atomic_fetch_add(&state.count, 1) + 1;
  if (at == 0 || number < at || (number > at && !atomic_load(&state.is_sticky))) return false;
  if (atomic_fetch_add(&state.failed, 1) == 0) atomic_store(&state.name, name);
  return true;
}

#define CALLER __builtin_return_address(0)

// ── Driven by the test ──

EXPORTED int32_t preload_arm(uint32_t kinds, uint32_t at, int32_t with_errno, bool is_sticky) {
  if (atomic_load(&state.end) == 0 && dl_iterate_phdr(find, nullptr) == 0) return -1;
  atomic_store(&state.at, at);
  atomic_store(&state.count, 0);
  atomic_store(&state.failed, 0);
  atomic_store(&state.name, nullptr);
  atomic_store(&state.with_errno, with_errno);
  atomic_store(&state.is_sticky, is_sticky);
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  atomic_store(&state.armed_ns, (int64_t)now.tv_sec * 1'000'000'000 + now.tv_nsec);
  atomic_store(&state.kinds, kinds);
  return 0;
}

EXPORTED void preload_disarm(void) {
  atomic_store(&state.kinds, 0);
  atomic_store(&state.armed_ns, 0);
}

// Since it was armed: calls seen, calls failed, and which was the first of these.
EXPORTED uint32_t preload_count(void) { return atomic_load(&state.count); }
EXPORTED uint32_t preload_failed(void) { return atomic_load(&state.failed); }
EXPORTED const char *preload_name(void) {
  const char *name = atomic_load(&state.name);
  return name ? name : "nothing";
}

EXPORTED bool preload_sticky(void) { return atomic_load(&state.is_sticky); }

// Allocations that libcopse.so has not given back.
EXPORTED int64_t preload_live(void) { return atomic_load(&state.live); }

// A call that hangs may hold the JavaScript thread itself, so a thread of our own looks on and ends
// the process.
static void *watch(void *given) {
  (void)given;
  for (;;) {
    nanosleep(&(struct timespec){.tv_nsec = 100'000'000}, nullptr);
    int64_t armed = atomic_load(&state.armed_ns);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!armed || (int64_t)now.tv_sec * 1'000'000'000 + now.tv_nsec - armed < state.patience_ns)
      continue;
    dprintf(2, "it hangs: call %u, %s, failed and nothing settled\n", atomic_load(&state.at),
            preload_name());
    _exit(97);
  }
  return nullptr;
}

// ── The real ones ──

#define REAL(name) static typeof(name) *real_##name
REAL(malloc);
REAL(calloc);
REAL(realloc);
REAL(aligned_alloc);
REAL(posix_memalign);
REAL(free);
REAL(pthread_create);
REAL(syscall);
REAL(openat);
REAL(open);
REAL(fopen);
REAL(close);
REAL(read);
REAL(write);
REAL(pread);
REAL(pwrite);
REAL(fsync);
REAL(ftruncate);
REAL(rename);
REAL(renameat);
REAL(mkdirat);
REAL(symlinkat);
REAL(unlinkat);
REAL(fchmod);
REAL(futimens);
REAL(fstat);
REAL(fstatat);
REAL(statx);
REAL(fstatfs);
REAL(lseek);
REAL(getdents64);
REAL(readlinkat);
REAL(posix_fadvise);
REAL(flistxattr);
REAL(llistxattr);
REAL(fgetxattr);
REAL(lgetxattr);
REAL(getrandom);
REAL(eventfd);
REAL(pipe2);
REAL(ioctl);
REAL(copy_file_range);
REAL(linkat);
REAL(fchown);
REAL(fchownat);
REAL(fchmodat);
REAL(utimensat);
REAL(renameat2);
REAL(fsetxattr);
REAL(lsetxattr);
REAL(fremovexattr);
REAL(lremovexattr);
REAL(mkostemp);
REAL(unlink);
REAL(flock);
REAL(socket);

#define FIND(name) real_##name = (typeof(real_##name))dlsym(RTLD_NEXT, #name)

// The loader itself may allocate before we know the real allocator; that little is never freed.
static alignas(16) uint8_t early[65536];
static size_t early_used;

static void *early_take(size_t size) {
  size_t at = early_used;
  early_used += (size + 15) / 16 * 16;
  return early_used <= sizeof early ? early + at : nullptr;
}

static bool is_early(const void *memory) {
  uintptr_t at = (uintptr_t)memory, begin = (uintptr_t)early;
  return at >= begin && at < begin + sizeof early;
}

__attribute__((constructor)) static void find_real(void) {
  FIND(malloc);
  FIND(calloc);
  FIND(realloc);
  FIND(aligned_alloc);
  FIND(posix_memalign);
  FIND(free);
  FIND(pthread_create);
  FIND(syscall);
  FIND(openat);
  FIND(open);
  FIND(fopen);
  FIND(close);
  FIND(read);
  FIND(write);
  FIND(pread);
  FIND(pwrite);
  FIND(fsync);
  FIND(ftruncate);
  FIND(rename);
  FIND(renameat);
  FIND(mkdirat);
  FIND(symlinkat);
  FIND(unlinkat);
  FIND(fchmod);
  FIND(futimens);
  FIND(fstat);
  FIND(fstatat);
  FIND(statx);
  FIND(fstatfs);
  FIND(lseek);
  FIND(getdents64);
  FIND(readlinkat);
  FIND(posix_fadvise);
  FIND(flistxattr);
  FIND(llistxattr);
  FIND(fgetxattr);
  FIND(lgetxattr);
  FIND(getrandom);
  FIND(eventfd);
  FIND(pipe2);
  FIND(ioctl);
  FIND(copy_file_range);
  FIND(linkat);
  FIND(fchown);
  FIND(fchownat);
  FIND(fchmodat);
  FIND(utimensat);
  FIND(renameat2);
  FIND(fsetxattr);
  FIND(lsetxattr);
  FIND(fremovexattr);
  FIND(lremovexattr);
  FIND(mkostemp);
  FIND(unlink);
  FIND(flock);
  FIND(socket);
}

EXPORTED bool preload_watch(uint32_t milliseconds) {
  pthread_t thread;
  state.patience_ns = (int64_t)milliseconds * 1'000'000;
  return real_pthread_create(&thread, nullptr, watch, nullptr) == 0 && pthread_detach(thread) == 0;
}

// ── Memory ──

static void *count(void *memory, const void *address) {
  if (memory && is_ours(address)) atomic_fetch_add_explicit(&state.live, 1, memory_order_relaxed);
  return memory;
}

#define NO_MEMORY(name)                     \
  if (is_cue(KIND_MEMORY, #name, CALLER)) { \
    errno = ENOMEM;                         \
    return nullptr;                         \
  }

EXPORTED void *malloc(size_t size) {
  NO_MEMORY(malloc)
  return real_malloc ? count(real_malloc(size), CALLER) : early_take(size);
}

EXPORTED void *calloc(size_t items, size_t size) {
  NO_MEMORY(calloc)
  return real_calloc ? count(real_calloc(items, size), CALLER) : early_take(items * size);
}

EXPORTED void *realloc(void *memory, size_t size) {
  NO_MEMORY(realloc)
  if (!real_realloc) return early_take(size);
  if (is_early(memory)) {
    void *copy = real_malloc(size);
    if (copy) memcpy(copy, memory, size);
    return copy;
  }
  void *more = real_realloc(memory, size);
  return memory ? more : count(more, CALLER);
}

EXPORTED void *aligned_alloc(size_t alignment, size_t size) {
  NO_MEMORY(aligned_alloc)
  return count(real_aligned_alloc(alignment, size), CALLER);
}

EXPORTED int posix_memalign(void **out, size_t alignment, size_t size) {
  if (is_cue(KIND_MEMORY, "posix_memalign", CALLER)) return ENOMEM;
  int code = real_posix_memalign(out, alignment, size);
  if (code == 0) count(*out, CALLER);
  return code;
}

EXPORTED void free(void *memory) {
  if (!memory || is_early(memory)) return;
  if (is_ours(CALLER)) atomic_fetch_sub_explicit(&state.live, 1, memory_order_relaxed);
  real_free(memory);
}

// ── Threads ──

EXPORTED int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                            void *(*run)(void *), void *argument) {
  if (is_cue(KIND_THREADS, "pthread_create", CALLER)) return EAGAIN;
  return real_pthread_create(thread, attributes, run, argument);
}

// ── Files ──

// Nothing is there to be waited for, so nothing can be interrupted. (fsync can; its failures are
// final.)
#define FAIL_AT_ONCE(name) \
  if (atomic_load(&state.with_errno) != EINTR) FAIL(name, -1)

#define FAIL(name, failure)                 \
  if (is_cue(KIND_FILES, #name, CALLER)) {  \
    errno = atomic_load(&state.with_errno); \
    return failure;                         \
  }

static mode_t mode_of(int flags, va_list arguments) {
  return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

EXPORTED int open(const char *path, int flags, ...) {
  FAIL(open, -1)
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return real_open(path, flags, mode);
}

EXPORTED int openat(int directory, const char *path, int flags, ...) {
  FAIL(openat, -1)
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return real_openat(directory, path, flags, mode);
}

EXPORTED long syscall(long number, ...) {
  if (number == SYS_openat2) FAIL(openat2, -1)
  long given[6];
  va_list arguments;
  va_start(arguments, number);
  for (size_t i = 0; i < 6; i++) given[i] = va_arg(arguments, long);
  va_end(arguments);
  return real_syscall(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}

EXPORTED FILE *fopen(const char *path, const char *mode) {
  FAIL(fopen, nullptr)
  return real_fopen(path, mode);
}

// Linux has closed the descriptor whatever close says.
EXPORTED int close(int fd) {
  if (!is_cue(KIND_FILES, "close", CALLER)) return real_close(fd);
  real_close(fd);
  errno = atomic_load(&state.with_errno);
  return -1;
}

EXPORTED ssize_t read(int fd, void *into, size_t size) {
  FAIL(read, -1)
  return real_read(fd, into, size);
}

// libcopse.so writes only its wake-up so, and that can be interrupted but cannot fail.
EXPORTED ssize_t write(int fd, const void *from, size_t size) {
  bool again = atomic_load(&state.failed) > 0;
  if (is_cue(KIND_FILES, "write", CALLER) && !again) {
    errno = EINTR;
    return -1;
  }
  return real_write(fd, from, size);
}

EXPORTED ssize_t pread(int fd, void *into, size_t size, off_t at) {
  FAIL(pread, -1)
  ssize_t got = real_pread(fd, into, size, at);
  return got > 1 && is_cue(KIND_SHORT, "pread", CALLER) ? got / 2 : got;
}

EXPORTED ssize_t pwrite(int fd, const void *from, size_t size, off_t at) {
  FAIL(pwrite, -1)
  return real_pwrite(fd, from, size, at);
}

EXPORTED int fsync(int fd) {
  FAIL_AT_ONCE(fsync)
  return real_fsync(fd);
}

EXPORTED int ftruncate(int fd, off_t size) {
  FAIL(ftruncate, -1)
  return real_ftruncate(fd, size);
}

EXPORTED int rename(const char *from, const char *to) {
  FAIL(rename, -1)
  return real_rename(from, to);
}

EXPORTED int renameat(int from_directory, const char *from, int to_directory, const char *to) {
  FAIL(renameat, -1)
  return real_renameat(from_directory, from, to_directory, to);
}

EXPORTED int mkdirat(int directory, const char *name, mode_t mode) {
  FAIL(mkdirat, -1)
  return real_mkdirat(directory, name, mode);
}

EXPORTED int symlinkat(const char *target, int directory, const char *name) {
  FAIL(symlinkat, -1)
  return real_symlinkat(target, directory, name);
}

EXPORTED int unlinkat(int directory, const char *name, int flags) {
  FAIL(unlinkat, -1)
  return real_unlinkat(directory, name, flags);
}

EXPORTED int fchmod(int fd, mode_t mode) {
  FAIL(fchmod, -1)
  return real_fchmod(fd, mode);
}

EXPORTED int futimens(int fd, const struct timespec times[2]) {
  FAIL(futimens, -1)
  return real_futimens(fd, times);
}

EXPORTED int fstat(int fd, struct stat *out) {
  FAIL(fstat, -1)
  return real_fstat(fd, out);
}

EXPORTED int fstatat(int directory, const char *name, struct stat *out, int flags) {
  FAIL(fstatat, -1)
  return real_fstatat(directory, name, out, flags);
}

EXPORTED int statx(int directory, const char *name, int flags, unsigned mask, struct statx *out) {
  FAIL(statx, -1)
  return real_statx(directory, name, flags, mask, out);
}

EXPORTED int fstatfs(int fd, struct statfs *out) {
  FAIL(fstatfs, -1)
  int code = real_fstatfs(fd, out);
  if ((atomic_load(&state.kinds) & KIND_FOREIGN) && is_ours(CALLER)) out->f_type = 0x12345;
  return code;
}

EXPORTED off_t lseek(int fd, off_t at, int whence) {
  FAIL(lseek, -1)
  return real_lseek(fd, at, whence);
}

EXPORTED ssize_t getdents64(int fd, void *buffer, size_t size) {
  FAIL(getdents64, -1)
  return real_getdents64(fd, buffer, size);
}

EXPORTED ssize_t readlinkat(int directory, const char *name, char *into, size_t size) {
  FAIL(readlinkat, -1)
  return real_readlinkat(directory, name, into, size);
}

EXPORTED int posix_fadvise(int fd, off_t at, off_t size, int advice) {
  if (is_cue(KIND_FILES, "posix_fadvise", CALLER)) return atomic_load(&state.with_errno);
  return real_posix_fadvise(fd, at, size, advice);
}

EXPORTED ssize_t flistxattr(int fd, char *into, size_t size) {
  FAIL(flistxattr, -1)
  return real_flistxattr(fd, into, size);
}

EXPORTED ssize_t llistxattr(const char *path, char *into, size_t size) {
  FAIL(llistxattr, -1)
  return real_llistxattr(path, into, size);
}

EXPORTED ssize_t fgetxattr(int fd, const char *key, void *into, size_t size) {
  FAIL(fgetxattr, -1)
  return real_fgetxattr(fd, key, into, size);
}

EXPORTED ssize_t lgetxattr(const char *path, const char *key, void *into, size_t size) {
  FAIL(lgetxattr, -1)
  return real_lgetxattr(path, key, into, size);
}

EXPORTED ssize_t getrandom(void *into, size_t size, unsigned flags) {
  FAIL_AT_ONCE(getrandom)
  return real_getrandom(into, size, flags);
}

EXPORTED int eventfd(unsigned first, int flags) {
  FAIL_AT_ONCE(eventfd)
  return real_eventfd(first, flags);
}

EXPORTED int pipe2(int ends[2], int flags) {
  FAIL_AT_ONCE(pipe2)
  return real_pipe2(ends, flags);
}

EXPORTED ssize_t copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t size,
                                 unsigned flags) {
  FAIL(copy_file_range, -1)
  return real_copy_file_range(from, from_at, to, to_at, size, flags);
}

EXPORTED int linkat(int from_directory, const char *from, int to_directory, const char *to,
                    int flags) {
  FAIL(linkat, -1)
  return real_linkat(from_directory, from, to_directory, to, flags);
}

EXPORTED int fchown(int fd, uid_t owner, gid_t group) {
  FAIL(fchown, -1)
  return real_fchown(fd, owner, group);
}

EXPORTED int fchownat(int directory, const char *name, uid_t owner, gid_t group, int flags) {
  FAIL(fchownat, -1)
  return real_fchownat(directory, name, owner, group, flags);
}

EXPORTED int fchmodat(int directory, const char *name, mode_t mode, int flags) {
  FAIL(fchmodat, -1)
  return real_fchmodat(directory, name, mode, flags);
}

EXPORTED int utimensat(int directory, const char *name, const struct timespec times[2], int flags) {
  FAIL(utimensat, -1)
  return real_utimensat(directory, name, times, flags);
}

EXPORTED int renameat2(int from_directory, const char *from, int to_directory, const char *to,
                       unsigned flags) {
  FAIL(renameat2, -1)
  return real_renameat2(from_directory, from, to_directory, to, flags);
}

EXPORTED int fsetxattr(int fd, const char *key, const void *value, size_t size, int flags) {
  FAIL(fsetxattr, -1)
  return real_fsetxattr(fd, key, value, size, flags);
}

EXPORTED int lsetxattr(const char *path, const char *key, const void *value, size_t size,
                       int flags) {
  FAIL(lsetxattr, -1)
  return real_lsetxattr(path, key, value, size, flags);
}

EXPORTED int fremovexattr(int fd, const char *key) {
  FAIL(fremovexattr, -1)
  return real_fremovexattr(fd, key);
}

EXPORTED int lremovexattr(const char *path, const char *key) {
  FAIL(lremovexattr, -1)
  return real_lremovexattr(path, key);
}

EXPORTED int mkostemp(char *path, int flags) {
  FAIL(mkostemp, -1)
  return real_mkostemp(path, flags);
}

EXPORTED int unlink(const char *path) {
  FAIL(unlink, -1)
  return real_unlink(path);
}

EXPORTED int flock(int fd, int operation) {
  FAIL(flock, -1)
  return real_flock(fd, operation);
}

EXPORTED int socket(int domain, int type, int protocol) {
  FAIL(socket, -1)
  return real_socket(domain, type, protocol);
}

// Bun asks its terminals by it too.
EXPORTED int ioctl(int fd, unsigned long request, ...) {
  va_list arguments;
  va_start(arguments, request);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  FAIL(ioctl, -1)
  return real_ioctl(fd, request, argument);
}
