// Which variant stands behind wake.h is a build option, so that both can be tested on one system.
#include "engine/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#if defined(COPSE_WAKE_PIPE)

const char *const wake_name = "pipe";

static int make_pipe(int ends[2]) {
#ifdef __linux__
  return pipe2(ends, O_CLOEXEC | O_NONBLOCK);
#else
  if (pipe(ends) < 0) return -1;
  for (int i = 0; i < 2; i++) {
    fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    fcntl(ends[i], F_SETFL, O_NONBLOCK);
  }
  return 0;
#endif
}

int32_t wake_begin(struct wake *wake) {
  int ends[2];
  if (make_pipe(ends) < 0) return -errno;
  *wake = (struct wake){.read_fd = ends[0], .write_fd = ends[1]};
  return 0;
}

void wake_end(struct wake *wake) {
  close(wake->read_fd);
  close(wake->write_fd);
}

void wake_raise(struct wake *wake) {
  const uint8_t byte = 1;
  while (write(wake->write_fd, &byte, 1) < 0 && errno == EINTR) {
  }
}

#else

#include <sys/eventfd.h>

const char *const wake_name = "eventfd";

int32_t wake_begin(struct wake *wake) {
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) return -errno;
  *wake = (struct wake){.read_fd = fd, .write_fd = fd};
  return 0;
}

void wake_end(struct wake *wake) { close(wake->read_fd); }

void wake_raise(struct wake *wake) {
  const uint64_t one = 1;
  while (write(wake->write_fd, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

#endif
