// share: a turn that is given and a cancel at the same moment. Each wait ends once, answered or
// cancelled, permits are neither lost nor made, and nobody who tells of a turn finds the wait
// freed.
#include "engine/share.h"

#include <pthread.h>

#include "engine/task.h"
#include "scene.h"

constexpr int WAITS = 64;

static struct hold *open_hold(void) {
  uint8_t bytes[256];
  struct record_writer writer = {bytes, sizeof bytes, 0};
  record_put_number(&writer, COPSE_SHARED_KEY_KIND, COPSE_SHARED_SEMAPHORE);
  record_put_text(&writer, COPSE_SHARED_KEY_NAME, SPAN("turns"));
  record_put_number(&writer, COPSE_SHARED_KEY_SIZE, WAITS);
  struct hold *hold = nullptr;
  struct fault fault = {};
  CHECK(share_open(&hold, (span){bytes, writer.size}, &fault) == 0);
  return hold;
}

static pthread_barrier_t start;

static void *give_all(void *with) {
  pthread_barrier_wait(&start);
  CHECK(share_call(with, COPSE_SHARED_CALL_GIVE, nullptr, WAITS) == 0);
  return nullptr;
}

static void a_turn_meets_a_cancel(struct runtime *runtime) {
  struct hold *giver = open_hold(), *taker = open_hold();
  CHECK(share_call(giver, COPSE_SHARED_CALL_TAKE, nullptr, WAITS) == 1);
  struct task *tasks[WAITS];
  for (int i = 0; i < WAITS; i++) {
    tasks[i] = new_task(runtime, RECORD({COPSE_KEY_WAITED, 1}, {COPSE_KEY_SHARED_CALL, 0}));
    struct fault fault = {};
    CHECK(share_wait(taker, tasks[i], &fault) == 0);
  }
  pthread_t thread;
  CHECK(pthread_create(&thread, nullptr, give_all, giver) == 0);
  pthread_barrier_wait(&start);
  for (int i = WAITS; i-- > 0;) task_cancel(tasks[i], COPSE_E_CANCELLED);
  CHECK(pthread_join(thread, nullptr) == 0);
  int32_t answered = 0;
  for (int i = 0; i < WAITS; i++) {
    copse_event done = wait_done(tasks[i], nullptr, nullptr);
    CHECK(done.code == 0 || done.code == COPSE_E_CANCELLED);
    answered += done.code == 0;
    task_close(tasks[i]);
  }
  CHECK(share_call(giver, COPSE_SHARED_CALL_COUNT, nullptr, 0) == WAITS - answered);
  share_close(taker);
  CHECK(share_call(giver, COPSE_SHARED_CALL_COUNT, nullptr, 0) == WAITS);
  share_close(giver);
}

int main(void) {
  struct runtime *runtime = open_runtime((span){});
  CHECK(pthread_barrier_init(&start, nullptr, 2) == 0);
  for (int i = 0; i < 2000 / SHRINK; i++) a_turn_meets_a_cancel(runtime);
  pthread_barrier_destroy(&start);
  runtime_close(runtime);
  puts("1 passed");
}
