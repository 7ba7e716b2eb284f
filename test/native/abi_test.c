// abi: ids that are stale, forged or closed twice are CLOSED, wrong arguments are ARGUMENT, wrong
// requests are tasks that say so, and nothing of it crashes or stays behind.
#include <string.h>
#include <unistd.h>

#include "scene.h"

struct request {
  uint8_t bytes[2048];
  size_t size;
};

// A request behind its length, as copse_task_start takes them.
static void put_request(struct request *request, span record) {
  uint32_t size = (uint32_t)record.size;
  CHECK(request->size + sizeof size + record.size <= sizeof request->bytes);
  memcpy(request->bytes + request->size, &size, sizeof size);
  if (size) memcpy(request->bytes + request->size + sizeof size, record.at, size);
  request->size += sizeof size + size;
}

static struct request request_of(span record) {
  struct request request = {};
  put_request(&request, record);
  return request;
}

static copse_id open_one(void) {
  copse_id runtime = 0;
  CHECK(copse_runtime_open(nullptr, 0, &runtime) == 0);
  CHECK(runtime > 0 && runtime < 1ull << 52);
  return runtime;
}

static copse_id start(copse_id runtime, span record) {
  struct request request = request_of(record);
  copse_id task = 0;
  CHECK(copse_task_start(runtime, request.bytes, request.size, &task, 1) == 1);
  CHECK(task > 0 && task < 1ull << 52);
  return task;
}

// Starts a waited task, and returns the sentence of its failure.
static span failure(copse_id runtime, span record, int32_t code) {
  static uint8_t detail[1024];
  copse_id task = start(runtime, record);
  copse_event event = {};
  while (copse_task_wait(task, &event, 1, 1000) == 0) {
  }
  CHECK(event.kind == COPSE_EVENT_DONE && event.task == task);
  CHECK(event.code == code);
  int32_t size = copse_task_error(task, detail, sizeof detail);
  CHECK(size > 0 && (size_t)size <= sizeof detail);
  CHECK(copse_task_close(task) == 0);
  return record_text((span){detail, (size_t)size}, COPSE_DETAIL_SENTENCE);
}

static bool contains(span text, const char *part) {
  return memmem(text.at, text.size, part, strlen(part)) != nullptr;
}

static void layout(void) {
  uint32_t numbers[64];
  memset(numbers, 0xEE, sizeof numbers);
  CHECK(copse_abi(nullptr, 0) == COPSE_ABI);
  CHECK(copse_abi(numbers, 2) == COPSE_ABI);
  CHECK(numbers[0] == 64 && numbers[1] == 0 && numbers[2] == 0xEEEEEEEE);
  CHECK(copse_abi(numbers, 64) == COPSE_ABI);
  CHECK(numbers[14] == 64 && numbers[25] == 112 && numbers[41] == 108 && numbers[42] == 0xEEEEEEEE);
  CHECK(strcmp(copse_error_name(COPSE_E_CLOSED), "CLOSED") == 0);
}

static void about(void) {
  uint8_t text[2048] = {};
  int32_t size = copse_about(nullptr, 0);
  CHECK(size > 0 && copse_about(text, 10) == size && text[10] == 0);
  CHECK(copse_about(text, sizeof text) == size);
  static const char *const keys[] = {"version",  "abi",       "mode",    "wake", "backends",
                                     "schemes",  "libraries", "kernel",  "arch", "cores",
                                     "pageSize", "ring",      "features"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    char key[32];
    snprintf(key, sizeof key, "\"%s\":", keys[i]);
    CHECK(contains((span){text, (size_t)size}, key));
  }
  CHECK(text[0] == '{' && text[size - 1] == '}');
}

static void stale_and_forged_ids(void) {
  copse_id runtime = open_one(), other = open_one();
  copse_id task = start(runtime, (span){});
  static uint8_t bytes[64];
  copse_event event;
  copse_stats stats;
  const copse_id wrong[] = {
      0,          1,        runtime + 1'000'000,  runtime ^ 1ull << 40, UINT64_MAX,
      1ull << 52, ~runtime, runtime ^ 1ull << 60, (1ull << 52) - 1};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong + 1; i++) {
    copse_id id = i ? wrong[i - 1] : task;  // a task is no runtime
    if (id == runtime || id == other) continue;
    CHECK(copse_runtime_fd(id) == COPSE_E_CLOSED);
    CHECK(copse_runtime_stats(id, &stats) == COPSE_E_CLOSED);
    CHECK(copse_runtime_drain(id, &event, 1) == COPSE_E_CLOSED);
    CHECK(copse_runtime_cancel(id, 1) == COPSE_E_CLOSED);
    CHECK(copse_runtime_close(id) == COPSE_E_CLOSED);
    copse_id out;
    CHECK(copse_task_start(id, bytes, 4, &out, 1) == COPSE_E_CLOSED);
    id = i ? wrong[i - 1] : runtime;  // and a runtime no task
    CHECK(copse_task_wait(id, &event, 1, 0) == COPSE_E_CLOSED);
    CHECK(copse_task_push(id, bytes, 1) == COPSE_E_CLOSED);
    CHECK(copse_task_cancel(id) == COPSE_E_CLOSED);
    CHECK(copse_task_error(id, bytes, sizeof bytes) == COPSE_E_CLOSED);
    CHECK(copse_task_close(id) == COPSE_E_CLOSED);
    CHECK(copse_page_release(id, 0) == COPSE_E_CLOSED);
  }
  CHECK(copse_page_release(task, 0) == COPSE_E_ARGUMENT);
  CHECK(copse_page_release(task, (uint64_t)(uintptr_t)bytes) == COPSE_E_ARGUMENT);
  CHECK(copse_task_close(task) == 0);
  CHECK(copse_task_close(task) == COPSE_E_CLOSED);
  copse_id next = start(runtime, (span){});  // perhaps in the same place
  CHECK(next != task && copse_task_cancel(task) == COPSE_E_CLOSED);
  CHECK(copse_runtime_close(runtime) == 0);
  CHECK(copse_task_cancel(next) == COPSE_E_CLOSED);  // its id died with the runtime
  CHECK(copse_runtime_close(runtime) == COPSE_E_CLOSED);
  CHECK(copse_runtime_fd(other) >= 0);
  CHECK(copse_runtime_close(other) == 0);
}

static void wrong_arguments(void) {
  copse_id runtime = open_one(), id = 7;
  uint8_t bytes[8] = {};
  copse_event event;
  CHECK(copse_runtime_open(nullptr, 0, nullptr) == COPSE_E_ARGUMENT);
  CHECK(copse_runtime_open(nullptr, 5, &id) == COPSE_E_ARGUMENT);
  CHECK(copse_runtime_open(bytes, 5, &id) == COPSE_E_ARGUMENT && id == 0);
  CHECK(copse_runtime_stats(runtime, nullptr) == COPSE_E_ARGUMENT);
  CHECK(copse_runtime_drain(runtime, nullptr, 1) == COPSE_E_ARGUMENT);
  CHECK(copse_runtime_drain(runtime, &event, 0) == COPSE_E_ARGUMENT);
  CHECK(copse_task_start(runtime, nullptr, 4, &id, 1) == COPSE_E_ARGUMENT);
  CHECK(copse_task_start(runtime, bytes, 4, nullptr, 1) == COPSE_E_ARGUMENT);
  CHECK(copse_task_start(runtime, bytes, 4, &id, 0) == COPSE_E_ARGUMENT);
  CHECK(copse_task_start(runtime, bytes, 3, &id, 1) == COPSE_E_ARGUMENT);  // a cut length
  bytes[0] = 5;
  CHECK(copse_task_start(runtime, bytes, 8, &id, 1) ==
        COPSE_E_ARGUMENT);  // longer than what is there
  memset(bytes, 0xFF, 4);
  CHECK(copse_task_start(runtime, bytes, 8, &id, 1) == COPSE_E_ARGUMENT);
  copse_stats stats;
  CHECK(copse_runtime_stats(runtime, &stats) == 0 && stats.started == 0);
  CHECK(copse_runtime_close(runtime) == 0);
}

#define WAITED {COPSE_KEY_WAITED, 1}

static void wrong_requests_are_tasks_that_say_so(void) {
  copse_id runtime = open_one();
  static const struct {
    struct pair_of_numbers pair;
    int32_t code;
    const char *part;
  } cases[] = {
      {{COPSE_KEY_VERB, 0}, COPSE_E_UNSUPPORTED, "verb 0"},
      {{COPSE_KEY_VERB, 1000}, COPSE_E_UNSUPPORTED, "verb 1000"},
      {{COPSE_KEY_VERB, UINT64_MAX}, COPSE_E_UNSUPPORTED, "verb 18446744073709551615"},
      {{COPSE_KEY_PRIORITY, 3}, COPSE_E_ARGUMENT, "priority must be between 0 and 2, not 3"},
      {{COPSE_KEY_TOKEN, 1ull << 32}, COPSE_E_ARGUMENT, "token"},
      {{COPSE_KEY_LINKS, 3}, COPSE_E_ARGUMENT, "links"},
      {{COPSE_KEY_LEFT, 1}, COPSE_E_ARGUMENT, "left is not of the kind"},
      {{COPSE_KEY_BY, 0}, COPSE_E_ARGUMENT, "by is an option of another verb"},
      {{COPSE_KEY_WAITED, 1}, COPSE_E_ARGUMENT, "waited is given twice"},
      {{63, 0}, COPSE_E_ARGUMENT, "key 63"},
      {{65535, 0}, COPSE_E_ARGUMENT, "key 65535"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    span text = failure(runtime, RECORD(WAITED, cases[i].pair), cases[i].code);
    CHECK(contains(text, cases[i].part));
  }
  CHECK(contains(
      failure(runtime, RECORD(WAITED, {COPSE_KEY_VERB, COPSE_VERB_COMPARE}, {COPSE_KEY_BY, 3}),
              COPSE_E_ARGUMENT),
      "by must be between 0 and 2"));
  // What is no record at all cannot say that it is waited.
  copse_id task = start(runtime, SPAN("no record at all"));
  copse_event event = {};
  CHECK(copse_runtime_drain(runtime, &event, 1) == 1);
  CHECK(event.task == task && event.kind == COPSE_EVENT_DONE && event.code == COPSE_E_ARGUMENT);
  CHECK(copse_runtime_close(runtime) == 0);
}

static void several_requests_in_one_call(void) {
  copse_id runtime = open_one();
  struct request request = {};
  for (uint64_t i = 0; i < 10; i++) put_request(&request, RECORD({COPSE_KEY_VERB, i * 100}));
  copse_id tasks[12] = {};
  CHECK(copse_task_start(runtime, request.bytes, request.size, tasks, 4) == 4);
  CHECK(tasks[3] && !tasks[4]);
  CHECK(copse_task_start(runtime, request.bytes, request.size, tasks, 12) == 10);
  for (size_t i = 0; i < 10; i++)
    for (size_t j = 0; j < i; j++) CHECK(tasks[i] != tasks[j]);
  // What is cut short starts those before it.
  CHECK(copse_task_start(runtime, request.bytes, request.size - 1, tasks, 12) == 9);
  copse_event events[64];
  CHECK(copse_runtime_drain(runtime, events, 64) == 23);
  CHECK(copse_runtime_close(runtime) == 0);
}

static void a_runtime_holds_65536_tasks(void) {
  copse_id runtime = open_one();
  static copse_id tasks[65'536];
  struct request request = request_of((span){});
  for (size_t i = 0; i < 65'536; i++)
    CHECK(copse_task_start(runtime, request.bytes, request.size, &tasks[i], 1) == 1);
  copse_id one_more;
  CHECK(copse_task_start(runtime, request.bytes, request.size, &one_more, 1) == COPSE_E_BUSY);
  CHECK(copse_task_close(tasks[1000]) == 0);
  CHECK(copse_task_start(runtime, request.bytes, request.size, &one_more, 1) == 1);
  CHECK(copse_runtime_close(runtime) == 0);
  CHECK(copse_task_cancel(one_more) == COPSE_E_CLOSED);
}

// memory: places, so that there is nothing to clean up.
static span place_request(uint64_t verb, const char *path) {
  static uint8_t bytes[512];
  uint8_t place[128];
  struct record_writer inner = {place, sizeof place, 0}, writer = {bytes, sizeof bytes, 0};
  record_put_text(&inner, COPSE_PLACE_SCHEME, SPAN("memory"));
  record_put_text(&inner, COPSE_PLACE_PATH, SPAN("abi-test"));
  record_put_number(&writer, COPSE_KEY_VERB, verb);
  record_put_number(&writer, COPSE_KEY_WAITED, 1);
  if (path) record_put_text(&writer, COPSE_KEY_PATH, span_of(path));
  // A record has the shape of a text and another kind.
  size_t at = writer.size;
  record_put_text(&writer, COPSE_KEY_LEFT, (span){place, inner.size});
  bytes[at + 2] = COPSE_FIELD_RECORD;
  CHECK(writer.size <= sizeof bytes);
  return (span){bytes, writer.size};
}

static int32_t run(copse_id runtime, span record, copse_event *done, uint64_t *rows,
                   uint64_t *bytes) {
  copse_id task = start(runtime, record);
  uint8_t *kept[64];
  size_t kept_count = 0;
  for (;;) {
    copse_event event;
    if (copse_task_wait(task, &event, 1, 1000) == 0) continue;
    if (event.kind == COPSE_EVENT_PAGE) {
      *rows += event.rows;
      *bytes += event.rows ? 0 : event.page_size;
      // Bytes are kept beyond the task, rows are given back.
      uint8_t *page = (uint8_t *)(uintptr_t)event.page;
      if (event.rows == 0) kept[kept_count++] = page;
      CHECK(event.rows ? copse_page_release(task, event.page) == 0
                       : copse_page_keep(task, event.page) == 0);
      CHECK(copse_page_release(task, event.page) == COPSE_E_ARGUMENT);
      CHECK(copse_page_keep(task, event.page) == COPSE_E_ARGUMENT);
    }
    if (event.kind != COPSE_EVENT_DONE) continue;
    *done = event;
    CHECK(copse_task_close(task) == 0);
    CHECK(copse_page_keep(task, 0) == COPSE_E_CLOSED);
    while (kept_count > 0) {
      CHECK(kept[--kept_count][0] == 'x');
      copse_page_free(kept[kept_count], nullptr);
    }
    copse_page_free(nullptr, nullptr);
    return event.code;
  }
}

static void a_file_from_push_to_remove(void) {
  copse_id runtime = open_one();
  copse_id write = start(runtime, place_request(COPSE_VERB_WRITE, "directory/file"));
  static uint8_t bytes[300'000];
  memset(bytes, 'x', sizeof bytes);
  uint64_t pushed = 0;
  for (int i = 0; i < 20;) {
    int32_t code = copse_task_push(write, bytes, sizeof bytes);
    CHECK(code == 0 || code == COPSE_E_BUSY);
    copse_event room;
    if (code == COPSE_E_BUSY) {
      CHECK(copse_task_wait(write, &room, 1, 60'000) == 1 && room.kind == COPSE_EVENT_ROOM);
      continue;
    }
    pushed += sizeof bytes;
    i++;
  }
  CHECK(copse_task_push(write, nullptr, 0) == 0);
  copse_event event = {};
  while (event.kind != COPSE_EVENT_DONE) copse_task_wait(write, &event, 1, 1000);
  CHECK(event.code == 0 && event.bytes == pushed);
  CHECK(copse_task_close(write) == 0);

  uint64_t rows = 0, read = 0;
  CHECK(run(runtime, place_request(COPSE_VERB_LIST, nullptr), &event, &rows, &read) == 0);
  CHECK(rows == 2 && read == 0);
  CHECK(run(runtime, place_request(COPSE_VERB_READ, "directory/file"), &event, &rows, &read) == 0);
  CHECK(read == pushed);
  CHECK(run(runtime, place_request(COPSE_VERB_REMOVE, "directory/file"), &event, &rows, &read) ==
        0);
  CHECK(run(runtime, place_request(COPSE_VERB_READ, "directory/file"), &event, &rows, &read) ==
        COPSE_E_NOT_FOUND);
  // One that is never ended, closed while it waits for bytes.
  write = start(runtime, place_request(COPSE_VERB_WRITE, "other"));
  CHECK(copse_task_push(write, bytes, 100) == 0);
  CHECK(copse_task_close(write) == 0);
  write = start(runtime, place_request(COPSE_VERB_WRITE, "other"));
  CHECK(copse_runtime_close(runtime) == 0);
  CHECK(copse_task_push(write, bytes, 100) == COPSE_E_CLOSED);
}

// Random calls with ids that are right now and then.
static void misuse(void) {
  copse_id ids[16] = {};
  uint32_t random = 11;
  uint8_t bytes[64] = {};
  copse_event events[4];
  copse_stats stats;
  struct request request = request_of(place_request(COPSE_VERB_LIST, nullptr));
  for (int i = 0; i < 100'000 / SHRINK; i++) {
    random = random * 1664525u + 1013904223u;
    uint32_t what = random >> 28, a = random >> 24 & 15, b = random >> 20 & 15;
    copse_id id = ids[a] ^ (random >> 10 & 63 ? 0 : 1ull << (random >> 4 & 63));
    switch (what) {
      case 0:
        copse_runtime_close(ids[b]);
        copse_runtime_open(bytes, random & 8, &ids[b]);
        break;
      case 1:
        if ((random >> 12 & 15) == 0) copse_runtime_close(id);
        break;
      case 2:
        copse_runtime_fd(id);
        break;
      case 3:
        copse_runtime_stats(id, &stats);
        break;
      case 4:
        copse_runtime_drain(id, events, random & 3);
        break;
      case 5:
        copse_runtime_cancel(id, random & 3);
        break;
      case 6:
      case 7:
      case 8:
        copse_task_start(id, request.bytes, request.size - (random >> 9 & 1), &ids[b], 1);
        break;
      case 9:
        copse_task_wait(id, events, random & 3, 0);
        break;
      case 10:
        copse_task_push(id, bytes, random & 63);
        break;
      case 11:
        copse_task_cancel(id);
        break;
      case 12:
        copse_task_error(id, bytes, random & 63);
        break;
      case 13:
        copse_task_close(id);
        break;
      default:
        copse_page_release(id, events[0].page);
        break;
    }
  }
  for (size_t i = 0; i < 16; i++) copse_runtime_close(ids[i]);
}

int main(void) {
  layout();
  about();
  stale_and_forged_ids();
  wrong_arguments();
  wrong_requests_are_tasks_that_say_so();
  several_requests_in_one_call();
  a_runtime_holds_65536_tasks();
  a_file_from_push_to_remove();
  misuse();
}
