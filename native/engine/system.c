// How much of the machine there is.
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/runtime.h"

constexpr uint32_t CORES_MAX = 4096;

// cgroup v2's cpu.max: "max 100000" or "200000 100000".
static uint32_t quota_in(const char *directory) {
  char path[1024];
  int length = snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", directory);
  FILE *file = length > 0 && (size_t)length < sizeof path ? fopen(path, "re") : nullptr;
  if (!file) return CORES_MAX;
  unsigned long long quota = 0, period = 0;
  int fields = fscanf(file, "%llu %llu", &quota, &period);
  fclose(file);
  if (fields != 2 || period == 0 || quota == 0 || quota / period >= CORES_MAX) return CORES_MAX;
  return (uint32_t)((quota + period - 1) / period);
}

// The smallest quota from our own cgroup up to the root. A container sees its own at the root of
// the mount.
static uint32_t quota_cores(void) {
  char line[1024] = "";
  FILE *file = fopen("/proc/self/cgroup", "re");
  bool found = false;
  while (file && !found && fgets(line, sizeof line, file)) found = strncmp(line, "0::/", 4) == 0;
  if (file) fclose(file);
  char *directory = found ? line + 3 : line;
  directory[found ? strcspn(directory, "\n") : 0] = 0;
  for (uint32_t least = CORES_MAX;;) {
    uint32_t quota = quota_in(directory);
    if (quota < least) least = quota;
    char *slash = strrchr(directory, '/');
    if (!slash) return least;
    *slash = 0;
  }
}

static uint32_t allowed_cores(void) {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
    return (uint32_t)CPU_COUNT(&set);
#endif
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? (uint32_t)online : 1;
}

uint32_t system_cores(void) {
  uint32_t allowed = allowed_cores(), quota = quota_cores();
  return quota < allowed ? quota : allowed;
}

// umask(2) can only be read by changing it, for every thread at once; the status file tells it
// without.
uint32_t system_umask(void) {
  FILE *file = fopen("/proc/self/status", "re");
  unsigned int mask = 022;
  char line[256];
  while (file && fgets(line, sizeof line, file))
    if (sscanf(line, "Umask: %o", &mask) == 1) break;
  if (file) fclose(file);
  return mask & 0777;
}
