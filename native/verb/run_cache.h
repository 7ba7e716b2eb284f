// run_cache: hashes of files kept between runs, in one file that several processes may use at once.
//
// A file is known by device, inode, size, mtime and ctime. Only the last says that a file was
// written and its mtime set back, so what knows no ctime is not kept; nor is a file that changed so
// short a time before it was opened that the next change could have the same time.
//
// The file is a head and records of 80 bytes with a checksum each, only ever appended to under a
// lock. A record that a crash cut or a disk lost does not pass its checksum and is as if it were
// not there. When most records are of files that changed since, or there are too many, what is
// wanted is written anew and takes the file's place by rename.
#pragma once
#include "base/hash.h"
#include "verb/run.h"

struct cache;

// Opens the file, or makes it; readable and writable by its owner only.
int32_t cache_open(struct runtime *runtime, span path, struct cache **out, struct fault *fault);
// The one that a run's request asks for, if any. What is wrong with it is said of its own place.
int32_t cache_open_asked(struct run *run, struct fault *fault);
// Writes what was learnt and frees. What cannot be written is read again another time. nullptr is
// fine.
void cache_close(struct cache *cache);
// What the file held when it was opened. `entry` has HAS_STAT.
bool cache_find(struct cache *cache, const struct entry *entry, uint32_t algorithm,
                uint8_t out[HASH_BYTES]);
// `opened_ns`: the wall clock before anything of it was read.
void cache_keep(struct cache *cache, const struct entry *entry, int64_t opened_ns,
                uint32_t algorithm, const uint8_t hash[HASH_BYTES]);
