#include "store/open.h"

#include "base/record.h"
#include "copse.h"
#include "engine/runtime.h"
#include "store/limited.h"

const struct store_ops *const store_all[] = {
    &file_store,  &memory_store,   &http_store,     &files_store, &archive_store,
    &pack_store,  &manifest_store, &snapshot_store, &crypt_store, &fd_store,
#ifdef COPSE_FAULT_STORE
    &fault_store,
#endif
    nullptr,
};

int32_t place_read(span record, struct place *out, struct fault *fault) {
  *out = (struct place){
      .scheme = record_text(record, COPSE_PLACE_SCHEME),
      .path = record_text(record, COPSE_PLACE_PATH),
      .spec = record_text(record, COPSE_PLACE_SPEC),
      .shown = record_text(record, COPSE_PLACE_SHOWN),
      .inner = record_record(record, COPSE_PLACE_INNER),
      .record = record,
  };
  if (!out->shown.at) out->shown = out->path;
  if (out->scheme.size == 0) return fault_set(fault, COPSE_E_ARGUMENT, "a place without a scheme");
  if (out->path.size && memchr(out->path.at, 0, out->path.size))
    return fault_set(fault, COPSE_E_ARGUMENT, "a path must not hold a NUL byte");
  return 0;
}

// Comparing reads one answer from its beginning to its end.
static void split_begin(struct store *store, span request) {
  uint64_t verb = record_number(request, COPSE_KEY_VERB, 0);
  store->splits = verb == COPSE_VERB_SYNC || verb == COPSE_VERB_READ;
  store->streams = (uint32_t)record_number(request, COPSE_KEY_STREAMS, 0);
  store->parts = (struct split_rule){record_number(request, COPSE_KEY_PART_MIN, 0),
                                     record_number(request, COPSE_KEY_PART_MAX, 0)};
}

int32_t store_open(struct store *store, span place_record, struct task *task, struct fault *fault) {
  return store_open_in(store, place_record, (span){}, task, fault);
}

int32_t store_open_in(struct store *store, span place_record, span above, struct task *task,
                      struct fault *fault) {
  struct place place;
  int32_t code = place_read(place_record, &place, fault);
  if (code < 0) return code;
  place.above = above;
  for (size_t i = 0; store_all[i]; i++) {
    const struct store_ops *ops = store_all[i];
    if (!span_equal(place.scheme, span_of(ops->scheme))) continue;
    *store = (struct store){
        .ops = ops,
        .can = ops->can,
        .runtime = task->runtime,
        .task = task,
        .io = task->runtime->io,
        .hasty = !record_number((span){task->request, task->request_len}, COPSE_KEY_FSYNC, 1),
        .shown = place.shown.size ? place.shown : place.path};
    split_begin(store, (span){task->request, task->request_len});
    code = ops->open(store, &place, fault);
    if (code < 0) {
      store->ops = nullptr;
      return code;
    }
    // What lies in another place is counted there.
    code = ops->can & IS_VIEW || place.inner.size ? 0 : limited_begin(store, fault);
    if (code < 0) store_close(store);
    return code;
  }
  return fault_set(fault, COPSE_E_UNSUPPORTED, "the scheme \"%.*s\" is not built into this library",
                   (int)(place.scheme.size > 32 ? 32 : place.scheme.size),
                   (const char *)place.scheme.at);
}

void store_close(struct store *store) {
  if (!store->ops) return;
  limited_end(store);
  store->ops->close(store);
  store->ops = nullptr;
}
