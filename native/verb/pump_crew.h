// pump_crew: the parts of one large file, shared by several workers while some have nothing else to
// do. Whoever has the file goes through it, asks others to join, and in the end waits for those
// that are in the midst of a part.
#pragma once
#include "verb/run.h"

// One of those at work.
struct hand {
  struct spot *spot;
  struct reader *reader;  // its own
  uint64_t counted;       // what `bring` added to the task's totals
  uint64_t room;          // pump_crew.c's own
};

// What all of them do. It stays where it is, and all that it points to, until crew_work returns.
struct errand {
  // Where one more reader comes from when the first one cannot be copied; nullptr: from nowhere.
  struct directory *from;
  const struct entry *entry;
  uint64_t size;
  const struct range *done;  // in order, apart: nobody needs these
  size_t done_count;
  bool is_shared;             // others may join, as far as the reader goes along
  void (*joins)(void *self);  // optional: somebody is asked
  // Several call it at once, each with a part of its own. Parts are 4 MiB long and begin and end
  // where pieces do.
  int32_t (*bring)(void *self, struct hand *, struct range part, struct fault *);
  void *self;
};

// Everything but what is done. The first part, by its place, that failed says why, and nothing that
// comes after it is begun any more. *counted: what all of them counted.
int32_t crew_work(const struct errand *errand, struct spot *spot, struct reader *reader,
                  uint64_t *counted, struct fault *fault);
// Whether others can have a reader as well that each decode pieces of their own, and whether the
// content is so long that this is worth it.
bool crew_may_decode(const struct reader *reader, uint64_t size);
