#include "engine/page.h"

static uint32_t heap_put(struct page *page, span bytes) {
  page->heap_at -= (uint32_t)bytes.size;
  if (bytes.size) memcpy(page->at + page->heap_at, bytes.at, bytes.size);
  return page->heap_at;
}

void page_add(struct page *page, const copse_row *row, span directory, span name, span text) {
  copse_row copy = *row;
  copy.text_len = (uint32_t)text.size;
  copy.text_at = heap_put(page, text);
  bool both = directory.size && name.size;
  copy.path_len = (uint32_t)(directory.size + name.size + (both ? 1 : 0));
  copy.path_at = heap_put(page, name);  // written backwards: name, '/', directory
  if (both) copy.path_at = heap_put(page, SPAN("/"));
  if (directory.size) copy.path_at = heap_put(page, directory);
  memcpy(page->at + page->rows * sizeof copy, &copy, sizeof copy);
  page->rows++;
}
