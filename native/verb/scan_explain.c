// scan_explain: what a directory lacks that has the name of a pattern and does not fit it.
//
// A miss is told as a row's record: the pieces in the order of the node, each with what was found.
// Behind a directory that is missing comes the nearest one that has its name, with what that lacks
// in turn, as deep as there is room. The distance is the number of required pieces that are not
// there, those of a missing directory included; so the nearest comes first when rows are sorted.
#include <stdlib.h>

#include "base/record.h"
#include "verb/scan.h"

constexpr size_t MISS_BYTES = 4096;     // of one row; what does not fit is counted, not told
constexpr size_t NEAREST_BYTES = 1024;  // of what a nearest directory lacks

struct nearest {
  struct nearest *next;
  uint32_t node, distance;
  size_t name_size, size;
  uint8_t bytes[];  // name, then its record
};

enum { PIECE_FILE = 1, PIECE_DIRECTORY = 2, PIECE_FORBIDDEN = 3 };

struct telling {
  struct record_writer writer;
  uint64_t distance;
  bool met;  // something that is required is there
};

static void tell(struct telling *telling, uint32_t kind, uint32_t piece, uint32_t found) {
  if (telling->writer.size + 32 > telling->writer.capacity) return;
  record_put_number(&telling->writer, COPSE_DETAIL_MISSING, kind | (uint64_t)piece << 8);
  record_put_number(&telling->writer, COPSE_DETAIL_FOUND, found);
}

static void tell_directory(struct telling *telling, const struct patterns *patterns,
                           struct site *site, uint32_t at, const struct piece *piece) {
  uint32_t found = atomic_load_explicit(&site->below[piece->what], memory_order_relaxed);
  telling->met = telling->met || (piece->min > 0 && found > 0);
  if (piece_fits(piece, found)) return;
  tell(telling, PIECE_DIRECTORY, at, found);
  uint64_t distance = found > piece->max ? 1 : 1ull + patterns->nodes[piece->what].weight;
  const struct nearest *nearest = found > piece->max ? nullptr : site->nearest;
  while (nearest && nearest->node != piece->what) nearest = nearest->next;
  if (nearest) {
    distance = nearest->distance;
    telling->met = true;
    struct record_writer *writer = &telling->writer;
    if (writer->size + nearest->name_size + nearest->size + 32 <= writer->capacity) {
      record_put_text(writer, COPSE_DETAIL_NEAREST, (span){nearest->bytes, nearest->name_size});
      memcpy(writer->at + writer->size, nearest->bytes + nearest->name_size, nearest->size);
      writer->size += nearest->size;
      record_put_number(writer, COPSE_DETAIL_NEAREST_END, 0);
    }
  }
  telling->distance += distance;
}

static void tell_all(struct telling *telling, const struct patterns *patterns, struct site *site,
                     uint32_t pattern_node) {
  const struct pattern_node *node = &patterns->nodes[pattern_node];
  for (uint32_t i = 0; i < node->files.count; i++) {
    const struct piece *piece = &node->files.at[i];
    uint32_t found = site->found[piece->what];
    telling->met = telling->met || (piece->min > 0 && found > 0);
    if (piece_fits(piece, found)) continue;
    tell(telling, PIECE_FILE, i, found);
    telling->distance++;
  }
  for (uint32_t i = 0; i < node->forbidden.count; i++) {
    uint32_t found = site->found[node->forbidden.at[i].what];
    if (found == 0) continue;
    tell(telling, PIECE_FORBIDDEN, i, found);
    telling->distance++;
  }
  for (uint32_t i = 0; i < node->directories.count; i++)
    tell_directory(telling, patterns, site, i, &node->directories.at[i]);
}

// For the directory above: the nearest of those that have the name of what it asks for; of equally
// near ones the first by name, so that the answer does not depend on who was quicker.
static void hint(struct site *above, const struct node *node, uint32_t pattern_node,
                 const struct telling *telling) {
  size_t size = telling->writer.size <= NEAREST_BYTES ? telling->writer.size : 0;
  struct nearest *mine = malloc(sizeof *mine + node->name.size + size);
  if (!mine) return;  // a hint less
  mine->node = pattern_node;
  mine->distance = telling->distance < WEIGHT_MAX ? (uint32_t)telling->distance : WEIGHT_MAX;
  mine->name_size = node->name.size;
  mine->size = size;
  memcpy(mine->bytes, node->name.at, node->name.size);
  memcpy(mine->bytes + node->name.size, telling->writer.at, size);
  mutex_lock(&above->lock);
  struct nearest **at = &above->nearest, *gone = mine;
  while (*at && (*at)->node != pattern_node) at = &(*at)->next;
  struct nearest *other = *at;
  bool nearer = !other || mine->distance < other->distance ||
                (mine->distance == other->distance &&
                 span_compare(node->name, (span){other->bytes, other->name_size}) < 0);
  if (nearer) {
    mine->next = other ? other->next : nullptr;
    *at = mine;
    gone = other;
  }
  mutex_unlock(&above->lock);
  free(gone);
}

void explain_miss(struct run *run, struct node *node, uint32_t pattern_node) {
  const struct patterns *patterns = scan_of(run)->patterns;
  struct site *site = node->state, *above = node->parent ? node->parent->state : nullptr;
  uint8_t bytes[MISS_BYTES];
  struct telling telling = {.writer = {bytes, sizeof bytes, 0}};
  tell_all(&telling, patterns, site, pattern_node);
  // A pattern for any name is only missed where a part of it is there.
  if (patterns->nodes[pattern_node].any_name && !telling.met) return;
  if (above && bit_get(above->wants, pattern_node)) hint(above, node, pattern_node, &telling);
  copse_row row = {.kind = COPSE_ROW_NEAR_MISS,
                   .type = COPSE_TYPE_DIRECTORY,
                   .left_size = telling.distance,
                   .right_size = COPSE_UNKNOWN,
                   .left_mtime_ns = COPSE_UNKNOWN_TIME,
                   .right_mtime_ns = COPSE_UNKNOWN_TIME};
  scan_emit(run, node, pattern_node, &row, (span){bytes, telling.writer.size});
}

void explain_free(struct site *site) {
  while (site->nearest) {
    struct nearest *next = site->nearest->next;
    free(site->nearest);
    site->nearest = next;
  }
}
