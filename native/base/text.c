// A text is written down again without what is ignored, and the two are compared as that comes.
// What is written for a piece depends on the pieces before it only by a few bytes of state. The one
// thing without a bound is a run of white space, of which nobody knows before its end whether it
// counts: a long one is written as its hash.
//
// Which rule it takes is found by trying: each set of rules that makes a difference has its own
// pair of writers, and those that fail are out. The set that was asked for decides.
#include "base/text.h"

#include <stdlib.h>

#include "base/hash.h"

constexpr size_t RUN_BYTES = 1024;
constexpr size_t MARK_BYTES = 1 + HASH_BYTES;  // a zero, which no text has, and a hash
constexpr size_t OUT_BYTES = TEXT_PIECE + RUN_BYTES + MARK_BYTES + 1;
// SPACE includes EOL. In the order in which one is preferred to another.
constexpr uint32_t SETS[] = {
    COPSE_TEXT_EOL,
    COPSE_TEXT_BLANK_LINES,
    COPSE_TEXT_SPACE,
    COPSE_TEXT_EOL | COPSE_TEXT_BLANK_LINES,
    COPSE_TEXT_SPACE | COPSE_TEXT_BLANK_LINES,
};
constexpr size_t SETS_COUNT = sizeof SETS / sizeof *SETS;

struct writer {
  bool in_line;     // something of the line was written
  bool has_return;  // EOL without SPACE: a '\r' came last
  bool is_long;     // the run's beginning went into the hash
  size_t run_size;
  uint8_t run[RUN_BYTES];  // white space that nobody knows the worth of yet
  struct hash hash;
};

struct attempt {
  uint32_t ignore;
  bool failed;
  uint8_t ahead;  // whose text is in `over`
  size_t over_at, over_size;
  struct writer writer[2];
  uint8_t over[OUT_BYTES * 2];  // written by one side, not by the other yet
};

struct texts {
  bool is_apart, ended[2];
  uint64_t lines;        // ends of lines in the left text before its last piece
  uint64_t last_lines;   // and in that
  uint64_t line;         // the answer of texts_line
  span last;             // the left text's last piece
  struct writer before;  // the deciding writer of the left side, before it
  size_t count;          // of attempts; the last one decides
  struct attempt attempts[];
};

static bool is_space(uint8_t byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

// ── One side ──

static void run_add(struct writer *writer, uint8_t byte) {
  if (writer->run_size == RUN_BYTES) {
    if (!writer->is_long) hash_begin(&writer->hash);
    writer->is_long = true;
    hash_add(&writer->hash, writer->run, RUN_BYTES);
    writer->run_size = 0;
  }
  writer->run[writer->run_size++] = byte;
}

static void run_forget(struct writer *writer) {
  writer->run_size = 0;
  writer->is_long = false;
}

static uint8_t *run_write(struct writer *writer, uint8_t *at) {
  if (writer->is_long) {
    hash_add(&writer->hash, writer->run, writer->run_size);
    *at++ = 0;
    hash_end(&writer->hash, at);
    at += HASH_BYTES;
  } else {
    memcpy(at, writer->run, writer->run_size);
    at += writer->run_size;
  }
  run_forget(writer);
  return at;
}

static uint8_t *line_end(struct writer *writer, uint32_t ignore, uint8_t *at) {
  if (writer->in_line || !(ignore & COPSE_TEXT_BLANK_LINES)) *at++ = '\n';
  writer->in_line = writer->has_return = false;
  run_forget(writer);
  return at;
}

static size_t write_piece(struct writer *writer, uint32_t ignore, span piece, uint8_t *out) {
  bool drops_space = ignore & COPSE_TEXT_SPACE;
  bool drops_return = !drops_space && (ignore & COPSE_TEXT_EOL);
  uint8_t *at = out;
  for (size_t i = 0; i < piece.size; i++) {
    uint8_t byte = piece.at[i];
    if (byte == '\n') {
      at = line_end(writer, ignore, at);
      continue;
    }
    if (drops_space && is_space(byte)) {
      run_add(writer, byte);
      continue;
    }
    if (writer->has_return) {
      *at++ = '\r';
      writer->in_line = true;
    }
    writer->has_return = drops_return && byte == '\r';
    if (writer->has_return) continue;
    if (writer->run_size) at = run_write(writer, at);
    *at++ = byte;
    writer->in_line = true;
  }
  return (size_t)(at - out);
}

static size_t write_end(struct writer *writer, uint32_t ignore, uint8_t *out) {
  uint8_t *at = out;
  if (writer->has_return) *at++ = '\r';
  if ((ignore & COPSE_TEXT_SPACE) && (writer->in_line || writer->run_size))
    at = line_end(writer, ignore, at);
  writer->has_return = false;
  return (size_t)(at - out);
}

// As if the bytes had been written. What comes before the last byte that is no white space has no
// part in what the next piece is written as.
static void skip(struct writer *writer, uint32_t ignore, span bytes) {
  size_t tail = bytes.size;
  while (tail && is_space(bytes.at[tail - 1])) tail--;
  if (tail) {
    run_forget(writer);
    writer->has_return = false;
    writer->in_line = true;
  }
  uint8_t out[OUT_BYTES];
  for (size_t size; tail < bytes.size; tail += size) {
    size = bytes.size - tail < TEXT_PIECE ? bytes.size - tail : TEXT_PIECE;
    write_piece(writer, ignore, (span){bytes.at + tail, size}, out);
  }
}

// ── Both ──

struct texts *texts_new(uint32_t ignore) {
  uint32_t sets[SETS_COUNT];
  size_t count = 0;
  for (size_t i = 0; i < SETS_COUNT; i++)
    if ((SETS[i] & ignore) == SETS[i]) sets[count++] = SETS[i];
  struct texts *texts = calloc(1, sizeof *texts + count * sizeof *texts->attempts);
  if (!texts) return nullptr;
  texts->count = count;
  for (size_t i = 0; i < count; i++) texts->attempts[i].ignore = sets[i];
  return texts;
}

void texts_free(struct texts *texts) { free(texts); }

static uint64_t count_lines(span bytes) {
  uint64_t lines = 0;
  for (size_t i = 0; i < bytes.size; i++) lines += bytes.at[i] == '\n';
  return lines;
}

void texts_both(struct texts *texts, span bytes) {
  texts->lines += count_lines(bytes);
  for (size_t i = 0; i < texts->count; i++)
    skip(&texts->attempts[i].writer[0], texts->attempts[i].ignore, bytes);
}

static struct attempt *deciding(struct texts *texts) { return &texts->attempts[texts->count - 1]; }

uint8_t texts_next(const struct texts *texts) {
  const struct attempt *decides = &texts->attempts[texts->count - 1];
  uint8_t behind = decides->over_size ? !decides->ahead : 0;
  return texts->ended[behind] ? !behind : behind;
}

// The line of the left text's last piece in which its `more`th written byte, from 0, stands.
static uint64_t find_line(const struct texts *texts, size_t more) {
  struct writer writer = texts->before;
  uint32_t ignore = texts->attempts[texts->count - 1].ignore;
  uint64_t line = texts->lines + 1;
  if (texts->last.size == 0 && more > 0) line += texts->last_lines;
  uint8_t out[OUT_BYTES];
  for (size_t i = 0; i < texts->last.size; i++) {
    size_t size = write_piece(&writer, ignore, (span){texts->last.at + i, 1}, out);
    if (size > more) break;
    more -= size;
    line += texts->last.at[i] == '\n';
  }
  return line;
}

static size_t first_difference(const uint8_t *left, const uint8_t *right, size_t size) {
  size_t at = 0;
  while (at < size && left[at] == right[at]) at++;
  return at;
}

// Holds what one side wrote against what the other wrote before. False: they differ, and
// *left_at is how much of what the left side wrote last is the same.
static bool hold_against(struct attempt *attempt, uint8_t side, const uint8_t *written, size_t size,
                         size_t *left_at) {
  size_t at = 0;
  if (attempt->over_size && attempt->ahead != side) {
    at = attempt->over_size < size ? attempt->over_size : size;
    const uint8_t *over = attempt->over + attempt->over_at;
    if (memcmp(over, written, at) != 0) {
      size_t same = first_difference(over, written, at);
      *left_at = side == 0 ? same : attempt->over_at + same;
      return false;
    }
    attempt->over_at += at;
    attempt->over_size -= at;
  }
  if (at == size) return true;
  // The place of what is over is its place in what its side wrote last.
  if (attempt->over_size == 0) attempt->over_at = at;
  size_t end = attempt->over_at + attempt->over_size;
  // Only one that does not decide can run so far ahead: the side that is behind comes next.
  if (size - at > sizeof attempt->over - end) return false;
  memcpy(attempt->over + end, written + at, size - at);
  attempt->over_size += size - at;
  attempt->ahead = side;
  return true;
}

bool texts_add(struct texts *texts, uint8_t side, span piece) {
  if (!texts->is_apart)
    for (size_t i = 0; i < texts->count; i++)
      texts->attempts[i].writer[1] = texts->attempts[i].writer[0];
  texts->is_apart = true;
  if (side == 0) {
    texts->lines += texts->last_lines;
    texts->last = piece;
    texts->last_lines = count_lines(piece);
    texts->before = deciding(texts)->writer[0];
  }
  texts->ended[side] = piece.size == 0;
  for (size_t i = 0; i < texts->count; i++) {
    struct attempt *attempt = &texts->attempts[i];
    if (attempt->failed) continue;
    uint8_t out[OUT_BYTES];
    struct writer *writer = &attempt->writer[side];
    bool is_open = writer->in_line || writer->run_size;
    size_t size = piece.size ? write_piece(writer, attempt->ignore, piece, out)
                             : write_end(writer, attempt->ignore, out);
    size_t left_at = 0;
    attempt->failed = !hold_against(attempt, side, out, size, &left_at);
    // Who ended has no more to hold against what the other has over.
    bool is_short = attempt->over_size && texts->ended[!attempt->ahead];
    if (is_short && !attempt->failed) {
      attempt->failed = true;
      left_at = attempt->ahead == 0 ? attempt->over_at : SIZE_MAX;
    }
    if (attempt != deciding(texts)) continue;
    // The left text's last line ends here though no byte says so.
    if (side == 0 && texts->ended[0] && (attempt->ignore & COPSE_TEXT_SPACE))
      texts->last_lines = is_open;
    if (attempt->failed) texts->line = find_line(texts, left_at);
  }
  return !deciding(texts)->failed;
}

bool texts_ended(const struct texts *texts) { return texts->ended[0] && texts->ended[1]; }

uint32_t texts_rule(const struct texts *texts) {
  for (size_t i = 0; i < texts->count; i++)
    if (!texts->attempts[i].failed) return texts->attempts[i].ignore;
  return 0;
}

uint64_t texts_line(const struct texts *texts) { return texts->line; }
