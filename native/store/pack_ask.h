// pack_ask: what a caller is asked of the files of a pack before it is put together: fields for
// columns of the index, which are found by who knows what is in such a file.
#pragma once
#include "store/store.h"

struct making;
struct written;
struct asking;

struct ask_column {
  const char *name;
  bool is_number;  // u32; else text
};

// From the place's record; *out is nullptr when nothing is asked. The record lives as long.
int32_t ask_begin(span record, struct asking **out, struct fault *fault);
void ask_end(struct asking *asking);
size_t ask_columns(const struct asking *asking, const struct ask_column **out);
// Which files are asked about; how many. A file that is too large is an error row.
int32_t ask_files(struct making *making, struct task *task, uint64_t *count, struct fault *fault);
// store_talk's.
int64_t ask_say(struct making *making, uint8_t *into, size_t size, struct fault *fault);
int32_t ask_hear(struct making *making, struct task *task, span answer, struct fault *fault);
// What was answered of a file: a number, or a text. False: nothing.
bool answer_type(const struct written *written, uint8_t *type);
bool answer_number(const struct written *written, size_t column, uint32_t *number);
bool answer_text(const struct written *written, size_t column, span *text);
