// The steps of a plan, which anybody may have written. What request_check passes is a table in
// which each step is found by its kind and path, no step is twice, and nothing but that path is
// believed.
#include <assert.h>
#include <stdlib.h>

#include "base/record.h"
#include "engine/request.h"
#include "verb/sync.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

constexpr size_t STEPS_MAX = 64;

static void ask(span request) {
  struct plan *plan = nullptr;
  struct fault fault = {};
  int32_t code = sync_plan_read(request, &plan, &fault);
  assert(code == 0 || (code == COPSE_E_ARGUMENT && fault.text[0]));
  struct field field;
  struct fault ignored;
  for (span rest = request; code == 0 && record_next(&rest, &field, &ignored) == 1;) {
    if (field.key != COPSE_KEY_STEP) continue;
    span path = record_text(field.bytes, COPSE_STEP_PATH);
    uint8_t kind = (uint8_t)record_number(field.bytes, COPSE_STEP_KIND, 0);
    assert(sync_plan_has(plan, kind, path));
    struct entry entry = {.name = path,
                          .type = (enum entry_type)(path.size % 5),
                          .size = record_number(field.bytes, COPSE_STEP_LEFT_SIZE, 0)};
    struct fault refused = {};
    int32_t allowed = sync_allows_path(plan, kind, path, (span){}, &entry, nullptr, &refused);
    assert(allowed == 1 || allowed == COPSE_E_CHANGED);
    assert(sync_allows_path(plan, kind, SPAN("\xff no such"), (span){}, &entry, &entry, &refused) ==
               0 ||
           sync_plan_has(plan, kind, SPAN("\xff no such")));
  }
  sync_plan_free(plan);
}

// Steps out of whatever comes: a byte each for kind, types and the length of the path.
static void make_steps(const uint8_t *bytes, size_t size) {
  size_t room = size * 8 + STEPS_MAX * 128;
  uint8_t *made = malloc(room);
  if (!made) return;
  struct record_writer request = {made, room, 0};
  record_put_number(&request, COPSE_KEY_HAS_PLAN, 1);
  for (size_t at = 0, count = 0; at + 4 <= size && count < STEPS_MAX; count++) {
    size_t left = size - at - 4, length = bytes[at + 2] < left ? bytes[at + 2] : left;
    uint8_t inner[512];
    struct record_writer step = {inner, sizeof inner, 0};
    record_put_text(&step, COPSE_STEP_PATH, (span){bytes + at + 4, length});
    record_put_number(&step, COPSE_STEP_KIND, bytes[at]);
    record_put_number(&step, COPSE_STEP_TYPES, bytes[at + 1]);
    record_put_number(&step, COPSE_STEP_LEFT_SIZE, bytes[at + 3]);
    size_t begin = request.size;
    record_put_text(&request, COPSE_KEY_STEP, (span){inner, step.size});
    if (request.size <= room) made[begin + 2] = COPSE_FIELD_RECORD;
    at += 4 + length;
  }
  if (request.size <= room) ask((span){made, request.size});
  free(made);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  uint8_t *exact = malloc(size ? size : 1);  // one byte too far is seen
  if (!exact) return 0;
  if (size) memcpy(exact, bytes, size);
  struct fault fault = {};
  if (request_check((span){exact, size}, &fault) == 0) ask((span){exact, size});
  make_steps(exact, size);
  free(exact);
  return 0;
}
