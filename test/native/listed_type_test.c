// File systems that list names without types (DT_UNKNOWN): list and scan give the same answers
// there as elsewhere, and what cannot be looked at is told.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "scene.h"
#include "verb/run.h"

static char root[] = "/tmp/copse-unknown-XXXXXX";

// ── A table whose listings say nothing of types ──

// Of struct linux_dirent64: inode, offset, size of the record, type, name.
constexpr size_t SIZE_AT = 16, TYPE_AT = 18, NAME_AT = 19;

static int64_t list_without_types(int fd, void *buffer, size_t size) {
  int64_t filled = io_plain.read_directory(fd, buffer, size);
  uint8_t *bytes = buffer;
  for (int64_t at = 0; at < filled;) {
    uint16_t record;
    memcpy(&record, bytes + at + SIZE_AT, sizeof record);
    CHECK(record > NAME_AT);
    bytes[at + (int64_t)TYPE_AT] = DT_UNKNOWN;
    at += record;
  }
  return filled;
}

// One entry that is gone when it is looked at, and one that cannot be looked at.
static int stat_some(int directory, const char *name, bool follow, struct io_stat *out) {
  if (strcmp(name, "gone") == 0) return -ENOENT;
  if (strcmp(name, "closed") == 0) return -EIO;
  return io_plain.stat(directory, name, follow, out);
}

// A directory that was replaced by a file after it was listed.
static int stat_swapped(int directory, const char *name, bool follow, struct io_stat *out) {
  return io_plain.stat(directory, strcmp(name, "d") == 0 ? "f" : name, follow, out);
}

// ── Asking ──

struct asked {
  char text[1024];  // what the rows say, sorted by who asks
  uint32_t errors;
};

static const char *const types[] = {"none", "file", "directory", "link", "other"};

static void say(struct asked *asked, const char *type, span above, span name) {
  size_t size = strlen(asked->text);
  int put = snprintf(asked->text + size, sizeof asked->text - size, "%s %.*s%s%.*s;", type,
                     (int)above.size, (const char *)above.at, above.size && name.size ? "/" : "",
                     (int)name.size, (const char *)name.at);
  CHECK(put > 0 && size + (size_t)put < sizeof asked->text);
}

static void say_row(struct asked *asked, const copse_event *page, const copse_row *row) {
  span path = row_path(page, row), text = row_text(page, row);
  if (row->kind == COPSE_ROW_MATCH) say(asked, "match", path, (span){});
  if (row->kind == COPSE_ROW_ENTRY) say(asked, types[row->type], path, (span){});
  if (row->kind == COPSE_ROW_ERROR) asked->errors++;
  if (row->kind != COPSE_ROW_NAMES) return;
  for (size_t at = 0; at < text.size;) {
    span name = span_of((const char *)text.at + at + 1);
    say(asked, types[text.at[at] - '0'], path, name);
    at += name.size + 2;
  }
}

static void put_record(struct record_writer *writer, uint16_t key, span record) {
  size_t at = writer->size;
  record_put_text(writer, key, record);
  CHECK(writer->size <= writer->capacity);
  writer->at[at + 2] = COPSE_FIELD_RECORD;
}

// One worker, so that the rows come in one order.
static struct asked ask(const struct io_ops *io, const struct verb *verb, uint32_t links,
                        span pattern, bool stat) {
  struct runtime *runtime = open_runtime(RECORD({COPSE_OPTION_IO, COPSE_IO_BLOCKING}));
  runtime->io = io;
  uint8_t place[512], request[1024];
  struct record_writer inner = {place, sizeof place, 0}, writer = {request, sizeof request, 0};
  record_put_text(&inner, COPSE_PLACE_SCHEME, SPAN("file"));
  record_put_text(&inner, COPSE_PLACE_PATH, span_of(root));
  record_put_text(&inner, COPSE_PLACE_SHOWN, span_of(root));
  record_put_number(&writer, COPSE_KEY_WAITED, 1);
  record_put_number(&writer, COPSE_KEY_LINKS, links);
  if (stat) record_put_number(&writer, COPSE_KEY_STAT, 1);
  if (io->stat == stat_swapped) record_put_number(&writer, COPSE_KEY_ONE_FILE_SYSTEM, 1);
  if (verb == &snapshot_verb) record_put_number(&writer, COPSE_KEY_SNAPSHOT, 7);
  put_record(&writer, COPSE_KEY_LEFT, (span){place, inner.size});
  if (pattern.size) {
    put_record(&writer, COPSE_KEY_NODE, pattern);
    record_put_number(&writer, COPSE_KEY_PATTERN, 0);
  }
  struct task *task = new_task(runtime, (span){request, writer.size});
  struct fault fault = {};
  CHECK(run_start(task, verb, &fault) == 0);
  struct asked asked = {};
  for (;;) {
    copse_event event;
    wait_events(task, &event, 1);
    if (event.kind == COPSE_EVENT_DONE) {
      CHECK(event.code == 0);
      break;
    }
    if (event.kind != COPSE_EVENT_PAGE) continue;
    for (uint32_t i = 0; i < event.rows; i++) say_row(&asked, &event, &rows_of(&event)[i]);
    CHECK(task_release(task, event.page) == 0);
  }
  task_close(task);
  runtime_close(runtime);
  return asked;
}

static span pattern_of(const char *file) {
  static uint8_t bytes[128];
  struct record_writer writer = {bytes, sizeof bytes, 0};
  record_put_text(&writer, COPSE_NODE_FILE, span_of(file));
  return (span){bytes, writer.size};
}

// ── What there is ──

static void plant(void) {
  CHECK(mkdtemp(root));
  int at = open(root, O_RDONLY | O_DIRECTORY);
  CHECK(at >= 0);
  CHECK(mkdirat(at, "d", 0700) == 0 && mkdirat(at, "d/e", 0700) == 0);
  for (const char *const *name = (const char *const[]){"f", "d/f", "d/e/g", nullptr}; *name;
       name++) {
    int fd = openat(at, *name, O_CREAT | O_WRONLY, 0600);
    CHECK(fd >= 0 && close(fd) == 0);
  }
  CHECK(symlinkat("f", at, "l") == 0);
  CHECK(symlinkat("d/e", at, "m") == 0);
  CHECK(symlinkat("nowhere", at, "n") == 0);
  CHECK(mkfifoat(at, "p", 0600) == 0);
  CHECK(close(at) == 0);
}

static void remove_planted(void) {
  int at = open(root, O_RDONLY | O_DIRECTORY);
  for (const char *const *name = (const char *const[]){"f", "d/f", "d/e/g", "l", "m", "n", "p",
                                                       "d/gone", "closed", nullptr};
       *name; name++)
    unlinkat(at, *name, 0);
  CHECK(unlinkat(at, "d/e", AT_REMOVEDIR) == 0 && unlinkat(at, "d", AT_REMOVEDIR) == 0);
  CHECK(close(at) == 0 && rmdir(root) == 0);
}

static void touch(const char *name) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", root, name);
  int fd = open(path, O_CREAT | O_WRONLY, 0600);
  CHECK(fd >= 0 && close(fd) == 0);
}

static void check_same(const struct io_ops *io, const struct verb *verb, uint32_t links,
                       span pattern, bool stat) {
  struct asked usual = ask(&io_plain, verb, links, pattern, stat);
  struct asked here = ask(io, verb, links, pattern, stat);
  if (strcmp(usual.text, here.text) != 0)
    fprintf(stderr, "%s, links %u:\n%s\n%s\n", verb->name, links, usual.text, here.text);
  CHECK(strcmp(usual.text, here.text) == 0);
  CHECK(usual.errors == 0 && here.errors == 0 && usual.text[0]);
}

int main(void) {
  plant();
  struct io_ops table = io_plain;
  table.read_directory = list_without_types;
  for (uint32_t links = COPSE_LINKS_KEEP; links <= COPSE_LINKS_SKIP; links++) {
    check_same(&table, &list_verb, links, (span){}, false);
    check_same(&table, &list_verb, links, (span){}, true);
    check_same(&table, &scan_verb, links, pattern_of("[fg]"), false);
  }
  // The plain table's own answer, so that the above is no comparison of nothing with nothing.
  struct asked listed = ask(&table, &list_verb, COPSE_LINKS_KEEP, (span){}, false);
  for (const char *const *one =
           (const char *const[]){"directory d;", "file f;", "link l;", "link m;", "link n;",
                                 "other p;", "directory d/e;", "file d/e/g;", nullptr};
       *one; one++)
    CHECK(strstr(listed.text, *one));
  // What vanished meanwhile is no entry; what cannot be looked at is an error, and the rest is
  // there.
  touch("d/gone");
  touch("closed");
  table.stat = stat_some;
  struct asked some = ask(&table, &list_verb, COPSE_LINKS_KEEP, (span){}, false);
  CHECK(some.errors == 1 && strcmp(some.text, listed.text) == 0);
  some = ask(&table, &scan_verb, COPSE_LINKS_KEEP, pattern_of("g"), false);
  CHECK(some.errors == 1 && strcmp(some.text, "match d/e;") == 0);
  table = io_plain;
  table.stat = stat_swapped;
  some = ask(&table, &list_verb, COPSE_LINKS_KEEP, (span){}, false);
  CHECK(some.errors == 0 && strstr(some.text, "file d;") && !strstr(some.text, "d/"));
  some = ask(&table, &scan_verb, COPSE_LINKS_KEEP, pattern_of("*"), false);
  CHECK(some.errors == 0 && strcmp(some.text, "match ;") == 0);
  some = ask(&table, &snapshot_verb, COPSE_LINKS_KEEP, (span){}, false);
  CHECK(some.errors == 0);
  remove_planted();
}
