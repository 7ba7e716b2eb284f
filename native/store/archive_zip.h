// archive_zip: zip files by their central directory. The directory is a claim: it is held against
// each entry's local header, ranges must not overlap, and content counts only with its length and
// checksum proved.
//
// The rule for files that can be read in two ways: the last end-of-directory record whose comment
// reaches exactly to the end of the file counts, and the directory lies directly before it.
#pragma once
#include "engine/thread.h"
#include "store/archive_index.h"

struct zip_scratch;

struct zip_file {
  struct reader reader;  // of the inner store, which can range; copied for each call
  uint64_t size;
  uint64_t base;   // what every offset is moved by: bytes before a self-extracting archive
  uint64_t limit;  // where the central directory begins: content ends before it
  mutex reading;   // where only one at a time may read from `reader`
  mutex lock;      // guards `free`
  struct zip_scratch *free;
};

void zip_begin(struct zip_file *zip, const struct reader *reader, uint64_t size);
void zip_end(struct zip_file *zip);
// Fills the index. `stop` is looked at between entries.
int32_t zip_read_directory(struct zip_file *zip, struct index *index, struct task *task,
                           const _Atomic bool *stop, struct fault *fault);

struct zip_reader;
bool zip_is_ours(const struct zip_facts *facts);  // else only libarchive reads it
int32_t zip_open(struct zip_file *zip, const struct item *item, struct zip_reader **out,
                 struct fault *fault);
// As ops->read; going back begins anew.
int64_t zip_read(struct zip_reader *reader, uint64_t at, uint8_t *into, size_t size, bool *at_end,
                 struct fault *fault);
void zip_close(struct zip_reader *reader);
// 1: the packed bytes are the same, and unless `trusting` one side was unpacked and its checksum
// proved. 0: not known.
int32_t zip_same(struct zip_file *left, const struct item *of_left, struct zip_file *right,
                 const struct item *of_right, bool trusting);
