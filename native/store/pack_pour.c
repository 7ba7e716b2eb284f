#include "store/pack_pour.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/task.h"
#include "store/pack_spool.h"

struct pour {
  int fd;
  uint64_t size, said;
  bool has_head;  // the caller was told what comes
};

static struct pour *pour_of(const struct store *store) { return store->state; }

static int32_t pour_above(struct store *store, bool, struct arena *, struct entry *out,
                          struct directory **directory, struct fault *fault) {
  struct directory *made = malloc(sizeof *made);
  if (!made) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  *made = (struct directory){store};
  *out = (struct entry){.name = SPAN(""), .type = ENTRY_NONE};
  *directory = made;
  return 0;
}

static void pour_leave(struct directory *directory) { free(directory); }

static int32_t pour_writer(struct directory *directory, const struct wanted *, struct writer **out,
                           struct fault *fault) {
  struct writer *writer = malloc(sizeof *writer);
  if (!writer) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  *writer = (struct writer){directory->store};
  *out = writer;
  return spool_file(&pour_of(directory->store)->fd, fault);
}

static int32_t pour_write(struct writer *writer, uint64_t at, const uint8_t *bytes, size_t size,
                          struct fault *fault) {
  return spool_write(pour_of(writer->store)->fd, at, bytes, size, fault);
}

static int32_t pour_commit(struct writer *writer, uint64_t size, struct entry *out,
                           struct fault *) {
  pour_of(writer->store)->size = size;
  *out = (struct entry){.type = ENTRY_FILE, .size = size, .has = HAS_STAT | HAS_SIZE};
  free(writer);
  return 0;
}

static void pour_abandon(struct writer *writer) { free(writer); }

static void pour_close(struct store *store) {
  struct pour *pour = pour_of(store);
  if (pour->fd >= 0) close(pour->fd);
  free(pour);
}

static const struct store_ops pour_store = {
    .scheme = "stream",
    .can = CAN_WRITE,
    .close = pour_close,
    .above = pour_above,
    .leave = pour_leave,
    .writer = pour_writer,
    .write = pour_write,
    .commit = pour_commit,
    .abandon = pour_abandon,
};

int32_t pour_open(struct store *store, struct task *task, struct fault *fault) {
  struct pour *pour = malloc(sizeof *pour);
  if (!pour) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  *pour = (struct pour){.fd = -1};
  *store = (struct store){.ops = &pour_store,
                          .can = pour_store.can,
                          .runtime = task->runtime,
                          .task = task,
                          .shown = SPAN("a stream"),
                          .state = pour};
  return 0;
}

int64_t pour_say(struct store *store, uint8_t *into, size_t size, struct fault *fault) {
  struct pour *pour = pour_of(store);
  if (!pour->has_head) {
    uint8_t head[COPSE_SAID_HEAD] = {COPSE_SAID_PACK};
    memcpy(head + 16, &pour->size, sizeof pour->size);
    memcpy(into, head, sizeof head);
    pour->has_head = true;
    return sizeof head;
  }
  uint64_t left = pour->size - pour->said;
  size_t count = left < size ? (size_t)left : size;
  int32_t code = spool_get(pour->fd, pour->said, into, count, fault);
  if (code < 0) return code;
  pour->said += count;
  return (int64_t)count;
}
