// wake: raising makes the descriptor readable, however often, and never blocks.
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "engine/wake.h"

static bool is_readable(int fd) {
  struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
  return poll(&poll_fd, 1, 0) == 1;
}

static void read_all(int fd) {
  uint8_t bytes[4096];
  while (read(fd, bytes, sizeof bytes) > 0) {
  }
  CHECK(errno == EAGAIN);
}

static void readable_when_raised(void) {
  struct wake wake;
  CHECK(wake_begin(&wake) == 0);
  CHECK(!is_readable(wake.read_fd));
  wake_raise(&wake);
  CHECK(is_readable(wake.read_fd));
  read_all(wake.read_fd);
  CHECK(!is_readable(wake.read_fd));
  wake_raise(&wake);
  CHECK(is_readable(wake.read_fd));
  wake_end(&wake);
}

static void never_blocks(void) {
  struct wake wake;
  CHECK(wake_begin(&wake) == 0);
  for (int i = 0; i < 100'000; i++) wake_raise(&wake);  // more than a pipe holds
  CHECK(is_readable(wake.read_fd));
  read_all(wake.read_fd);
  CHECK(!is_readable(wake.read_fd));
  wake_end(&wake);
}

static void not_inherited_and_closed(void) {
  int before = count_descriptors();
  struct wake wake;
  CHECK(wake_begin(&wake) == 0);
  CHECK(fcntl(wake.read_fd, F_GETFD) & FD_CLOEXEC);
  CHECK(fcntl(wake.write_fd, F_GETFD) & FD_CLOEXEC);
  CHECK(fcntl(wake.read_fd, F_GETFL) & O_NONBLOCK);
  CHECK((wake.read_fd == wake.write_fd) == (strcmp(wake_name, "eventfd") == 0));
  wake_end(&wake);
  CHECK(count_descriptors() == before);
}

int main(void) {
  readable_when_raised();
  never_blocks();
  not_inherited_and_closed();
}
