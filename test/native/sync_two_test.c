// What is decided of two sides and what they had in common, the names of versions that give way,
// and the file that says what they had in common.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "engine/io.h"
#include "verb/sync_two.h"

static const struct two_record base = {.name = {(const uint8_t *)"f", 1},
                                       .type = ENTRY_FILE,
                                       .size = 10,
                                       .mtime_ns = {5'000'000'123, 5'000'000'100},
                                       .mode = {0644, 0644}};

static struct entry entry_as(const struct two_record *record, uint8_t side) {
  return (struct entry){.name = record->name,
                        .type = record->type,
                        .size = record->size,
                        .mtime_ns = record->mtime_ns[side],
                        .mode = 0100000 | record->mode[side],
                        .has = HAS_STAT};
}

static void changes(void) {
  struct entry same = entry_as(&base, LEFT), longer = same, later = same, private = same,
               link = same, directory = same;
  longer.size++;
  later.mtime_ns--;
  private.mode = 0100600;
  link.type = ENTRY_LINK;
  directory.type = ENTRY_DIRECTORY;
  struct two_record of_link = base, of_directory = base;
  of_link.type = ENTRY_LINK;
  of_directory.type = ENTRY_DIRECTORY;
  const struct {
    const struct two_record *record;
    const struct entry *now;
    uint32_t bits;
    enum two_change change;
  } cases[] = {
      {nullptr, nullptr, 0777, TWO_NONE},          {&base, nullptr, 0777, TWO_DELETED},
      {nullptr, &same, 0777, TWO_CREATED},         {&base, &same, 0777, TWO_SAME},
      {&base, &longer, 0777, TWO_CHANGED},         {&base, &later, 0777, TWO_CHANGED},
      {&base, &private, 0777, TWO_CHANGED},        {&base, &private, 0, TWO_SAME},
      {&base, &link, 0777, TWO_CREATED},           {&base, &directory, 0777, TWO_CREATED},
      {&of_link, &link, 0777, TWO_SAME},           {&of_link, &same, 0777, TWO_CREATED},
      {&of_directory, &directory, 0777, TWO_SAME},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    CHECK(two_change(cases[i].record, LEFT, cases[i].now, cases[i].bits) == cases[i].change);
  // Each side is held against its own time: one of the two file systems may be coarse.
  CHECK(two_change(&base, RIGHT, &same, 0777) == TWO_CHANGED);
  // A directory's time and size follow what is in it; a link has no mode.
  directory.size = 4096;
  directory.mtime_ns = 1;
  CHECK(two_change(&of_directory, LEFT, &directory, 0777) == TWO_SAME);
  directory.mode = 0700;
  CHECK(two_change(&of_directory, LEFT, &directory, 0777) == TWO_CHANGED);
  link.mode = 0777;
  CHECK(two_change(&of_link, LEFT, &link, 0777) == TWO_SAME);
}

static enum two_verdict mirrored(enum two_verdict verdict) {
  static const enum two_verdict other[] = {
      [TWO_NOTHING] = TWO_NOTHING,          [TWO_CONFLICT] = TWO_CONFLICT,
      [TWO_TO_RIGHT] = TWO_TO_LEFT,         [TWO_TO_LEFT] = TWO_TO_RIGHT,
      [TWO_DELETE_LEFT] = TWO_DELETE_RIGHT, [TWO_DELETE_RIGHT] = TWO_DELETE_LEFT,
      [TWO_KEEP_LEFT] = TWO_KEEP_RIGHT,     [TWO_KEEP_RIGHT] = TWO_KEEP_LEFT};
  return other[verdict];
}

static void verdicts(void) {
  const struct {
    enum two_change left, right;
    enum two_verdict verdict;
  } cases[] = {
      {TWO_SAME, TWO_SAME, TWO_NOTHING},         {TWO_SAME, TWO_CHANGED, TWO_TO_LEFT},
      {TWO_SAME, TWO_CREATED, TWO_TO_LEFT},      {TWO_SAME, TWO_DELETED, TWO_DELETE_LEFT},
      {TWO_CHANGED, TWO_CHANGED, TWO_CONFLICT},  {TWO_CHANGED, TWO_CREATED, TWO_CONFLICT},
      {TWO_CHANGED, TWO_DELETED, TWO_KEEP_LEFT}, {TWO_CREATED, TWO_CREATED, TWO_CONFLICT},
      {TWO_CREATED, TWO_DELETED, TWO_TO_RIGHT},  {TWO_DELETED, TWO_DELETED, TWO_NOTHING},
      {TWO_NONE, TWO_NONE, TWO_NOTHING},         {TWO_NONE, TWO_SAME, TWO_TO_LEFT},
      {TWO_NONE, TWO_CHANGED, TWO_TO_LEFT},      {TWO_NONE, TWO_CREATED, TWO_TO_LEFT},
      {TWO_NONE, TWO_DELETED, TWO_NOTHING},
  };
  static_assert(sizeof cases / sizeof *cases == TWO_CHANGES * (TWO_CHANGES + 1) / 2);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    CHECK(two_decide(cases[i].left, cases[i].right) == cases[i].verdict);
    CHECK(two_decide(cases[i].right, cases[i].left) == mirrored(cases[i].verdict));
  }
}

static void agreement(void) {
  struct entry left = entry_as(&base, LEFT), right = left;
  CHECK(two_agree(&left, &right, 0777));
  right.mode = 0100600;
  CHECK(!two_agree(&left, &right, 0777) && two_agree(&left, &right, 0));
  right = left;
  right.size++;
  CHECK(!two_agree(&left, &right, 0777));
  right = left;
  right.type = ENTRY_LINK;
  CHECK(!two_agree(&left, &right, 0777));
  // What a coarser file system keeps of the time, on either side; nothing else.
  static const int64_t kept[] = {5'000'000'100, 5'000'000'000, 4'000'000'000};
  for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
    right = left;
    right.mtime_ns = kept[i];
    CHECK(two_agree(&left, &right, 0777) && two_agree(&right, &left, 0777));
    right.mtime_ns++;
    CHECK(!two_agree(&left, &right, 0777) && !two_agree(&right, &left, 0777));
  }
  left.type = right.type = ENTRY_OTHER;
  CHECK(!two_agree(&left, &left, 0777));
}

static void names(void) {
  uint8_t into[TWO_NAME_MAX + 1];
  constexpr int64_t AT = 2'000'000'000'000'000'000;
  const struct {
    const char *name;
    uint8_t side;
    uint32_t number;
    const char *becomes;
  } cases[] = {
      {"a.txt", LEFT, 1, "a.conflict-left-20330518-033320.txt"},
      {"a.txt", RIGHT, 2, "a.conflict-right-20330518-033320-2.txt"},
      {"a", LEFT, 1, "a.conflict-left-20330518-033320"},
      {".a", LEFT, 1, ".a.conflict-left-20330518-033320"},
      {"a.", LEFT, 1, "a.conflict-left-20330518-033320."},
      {"a.an ending of many characters", LEFT, 1,
       "a.an ending of many characters.conflict-left-20330518-033320"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    CHECK(span_equal(two_name(span_of(cases[i].name), cases[i].side, AT, cases[i].number, into),
                     span_of(cases[i].becomes)));
  uint8_t long_name[255];
  memset(long_name, 'x', sizeof long_name);
  memcpy(long_name + 251, ".txt", 4);
  span named = two_name((span){long_name, sizeof long_name}, RIGHT, INT64_MIN, 999, into);
  CHECK(named.size == TWO_NAME_MAX && into[TWO_NAME_MAX] == 0);
  CHECK(memcmp(into + 251, ".txt", 4) == 0);
}

// ── The file ──

static char path[64];

static struct two_state *open_state(const char *pair, enum copse_two expected) {
  struct two_state *state = nullptr;
  struct fault fault = {};
  enum copse_two found;
  CHECK(two_state_open(&io_plain, span_of(path), span_of(pair), &state, &found, &fault) == 0);
  CHECK(found == expected);
  return state;
}

static size_t count_of(const struct two_state *state, const char *directory) {
  struct two_block block;
  struct fault fault = {};
  CHECK(two_state_find(state, span_of(directory), &block, &fault) == 0);
  size_t count = block.count;
  for (size_t i = 0; i < count; i++) {
    const struct two_record *found = &block.records[i];
    CHECK(found->size == base.size && found->mtime_ns[LEFT] == base.mtime_ns[LEFT] &&
          found->mtime_ns[RIGHT] == base.mtime_ns[RIGHT] && found->mode[RIGHT] == base.mode[RIGHT]);
  }
  two_block_free(&block);
  return count;
}

static void add(struct two_state *state, const char *directory, const char *first,
                const char *second) {
  struct two_record records[2] = {base, base};
  records[0].name = span_of(first);
  records[1].name = span_of(second);
  records[1].type = ENTRY_DIRECTORY;
  struct fault fault = {};
  CHECK(two_state_add(state, span_of(directory), records, 2, &fault) == 0);
}

static void written_and_carried(void) {
  struct fault fault = {};
  struct two_state *state = open_state("pair", COPSE_TWO_NEW);
  CHECK(count_of(state, "") == 0);
  CHECK(two_state_begin(state, &fault) == 0);
  add(state, "d/e", "x", "y");
  add(state, "", "a", "d");
  add(state, "d", "b", "e");
  CHECK(two_state_add(state, SPAN("nothing"), nullptr, 0, &fault) == 0);
  CHECK(two_state_end(state, &fault) == 0);
  two_state_close(state);
  state = open_state("pair", COPSE_TWO_KNOWN);
  CHECK(count_of(state, "") == 2 && count_of(state, "d") == 2 && count_of(state, "d/e") == 2);
  CHECK(count_of(state, "nothing") == 0 && count_of(state, "d/") == 0);
  // What is carried comes with all below it, and nothing else does.
  CHECK(two_state_begin(state, &fault) == 0);
  CHECK(two_state_carry(state, SPAN("d"), &fault) == 0);
  CHECK(two_state_end(state, &fault) == 0);
  two_state_close(state);
  state = open_state("pair", COPSE_TWO_KNOWN);
  CHECK(count_of(state, "") == 0 && count_of(state, "d") == 2 && count_of(state, "d/e") == 2);
  // One that is not ended leaves the old one and nothing of its own.
  CHECK(two_state_begin(state, &fault) == 0);
  add(state, "", "a", "d");
  two_state_close(state);
  char other[80];
  snprintf(other, sizeof other, "%s.new", path);
  CHECK(access(other, F_OK) < 0);
  state = open_state("pair", COPSE_TWO_KNOWN);
  CHECK(count_of(state, "") == 0 && count_of(state, "d") == 2);
  two_state_close(state);
}

// ── A disk that fails once ──

static int writes_until;  // the write before which all is well

static int64_t write_once_not(int fd, const void *from, size_t size, uint64_t at) {
  return writes_until-- == 0 ? -ENOSPC : io_plain.write(fd, from, size, at);
}

// More than is written in one piece, so that the failure is met while directories are added; what
// comes after it goes well again.
static void torn(void) {
  struct io_ops io = io_plain;
  io.write = write_once_not;
  char other[80], name[200];
  snprintf(other, sizeof other, "%s.new", path);
  memset(name, 'n', sizeof name);
  for (int good = 0; good < 4; good++) {
    struct two_state *state = nullptr;
    struct fault fault = {};
    enum copse_two found;
    CHECK(two_state_open(&io, span_of(path), SPAN("pair"), &state, &found, &fault) == 0);
    CHECK(found == COPSE_TWO_KNOWN && two_state_begin(state, &fault) == 0);
    writes_until = good;
    int32_t worst = 0;
    for (int i = 0; i < 3500; i++) {
      char directory[8];
      snprintf(directory, sizeof directory, "%d", i);
      struct two_record record = base;
      record.name = (span){(const uint8_t *)name, sizeof name};
      int32_t code = two_state_add(state, span_of(directory), &record, 1, &fault);
      if (code < 0) worst = code;
    }
    CHECK((worst < 0) == (good < 3));
    fault = (struct fault){};
    CHECK(two_state_end(state, &fault) == COPSE_E_NO_SPACE);
    two_state_close(state);
    CHECK(access(other, F_OK) < 0);
    state = open_state("pair", COPSE_TWO_KNOWN);
    CHECK(count_of(state, "") == 0 && count_of(state, "d") == 2);
    two_state_close(state);
  }
}

// Each byte by itself: whatever is turned, it is a damaged state and no other one.
static void damage(void) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  struct stat stat;
  CHECK(fd >= 0 && fstat(fd, &stat) == 0);
  for (off_t at = 0; at < stat.st_size; at++) {
    uint8_t byte, turned;
    CHECK(pread(fd, &byte, 1, at) == 1);
    turned = byte ^ 1;
    CHECK(pwrite(fd, &turned, 1, at) == 1);
    struct two_state *state = open_state("pair", COPSE_TWO_DAMAGED);
    CHECK(count_of(state, "d") == 0);
    two_state_close(state);
    CHECK(pwrite(fd, &byte, 1, at) == 1);
  }
  for (off_t size = stat.st_size - 1; size >= 0; size -= 7) {
    CHECK(ftruncate(fd, size) == 0);
    two_state_close(open_state("pair", COPSE_TWO_DAMAGED));
  }
  close(fd);
}

static void others(void) {
  struct two_state *state = nullptr;
  struct fault fault = {};
  enum copse_two found;
  CHECK(two_state_open(&io_plain, span_of(path), SPAN("others"), &state, &found, &fault) ==
        COPSE_E_ARGUMENT);
  two_state_close(state);
  state = nullptr;
  CHECK(two_state_open(&io_plain, (span){}, SPAN("pair"), &state, &found, &fault) ==
        COPSE_E_ARGUMENT);
  two_state_close(state);
}

int main(void) {
  snprintf(path, sizeof path, "/tmp/copse-two-%d", (int)getpid());
  changes();
  verdicts();
  agreement();
  names();
  int descriptors = count_descriptors();
  written_and_carried();
  torn();
  others();
  damage();
  CHECK(count_descriptors() == descriptors);
  unlink(path);
  return 0;
}
