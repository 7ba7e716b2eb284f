// page: a block of rows and their text that travels to JavaScript, or of raw bytes. Rows grow from
// the front, text from the back, so that neither has to be moved when the page goes out.
#pragma once
#include "base/span.h"
#include "copse.h"

struct page {
  struct page *next;
  uint32_t size;  // bytes at `at`
  uint32_t rows;
  uint32_t heap_at;  // where the text begins
  uint32_t filled;   // raw bytes, when there are no rows
  alignas(64) uint8_t at[];
};

// Whether a row with `text` bytes of text fits.
static inline bool page_fits(const struct page *page, size_t text) {
  return page->heap_at - page->rows * sizeof(copse_row) >= sizeof(copse_row) + text;
}
// Appends; page_fits said true. The path is directory/name.
void page_add(struct page *page, const copse_row *row, span directory, span name, span text);
