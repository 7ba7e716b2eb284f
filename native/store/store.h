// store: one shape for every place that can hold a tree. A new store is a new file with a
// `const struct store_ops`, one line in open.c and one line in test/stores.ts.
//
// A store is walked by directory handles, not by path strings: `root` gives the first one, `enter`
// goes one level down, `leave` ends one. That is what makes a local walk safe against swapped
// directories and free of PATH_MAX, and a remote store keeps its prefix in the same handle.
//
// Every call blocks, runs on a worker, and fills its last argument when it returns a negative code.
// A store that waits for something looks at task_cancelled() between chunks. Calls on one handle
// may come from several workers at once, except leave, which comes last.
#pragma once
#include "base/arena.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/span.h"
#include "wire/split.h"

struct record_writer;
struct runtime;
struct task;
struct io_ops;
struct io_file;
struct store_ops;

// A place as the request gives it; spans point into the request, which lives as long as the task.
struct place {
  span scheme, path, spec, shown;
  span inner;   // record of the wrapped place, or empty
  span record;  // all of it, for the keys that only one scheme knows
  span above;   // the record of a table it stands in, which may say what concerns all; often empty
};

enum store_can : uint32_t {
  CAN_LIST = 1 << 0,   // one directory at a time
  CAN_TREE = 1 << 1,   // the whole tree in one go is cheaper than directory by directory
  CAN_RANGE = 1 << 2,  // read from any offset
  CAN_WRITE = 1 << 3,
  CAN_DELETE = 1 << 4,
  CAN_MTIME = 1 << 5,  // sets and keeps modification times
  CAN_MODE = 1 << 6,
  CAN_LINKS = 1 << 7,
  CAN_DIGEST = 1 << 8,     // knows a content digest without reading
  CAN_RESUME = 1 << 9,     // a partial write survives
  CAN_ATOMIC = 1 << 10,    // commit replaces in one step
  CAN_PARALLEL = 1 << 11,  // write() may run on several workers at different offsets
  ONLY_FORWARD = 1 << 12,  // content only in listing order (streamed archives)
  CAN_OWNER = 1 << 13,
  CAN_XATTR = 1 << 14,
  CAN_IDENTITY = 1 << 15,  // equal inode and device mean the same file, which need not be read
  CAN_RENAME = 1 << 16,
  CAN_TWINS = 1 << 17,    // hard links
  ONLY_ONCE = 1 << 21,    // what was read or written is gone, and cannot be had again
  IS_NEW = 1 << 22,       // it begins empty with each run, its root too
  IS_VIEW = 1 << 20,      // its bytes are read from other stores, which it opens
  IS_LOCAL = 1 << 18,     // of this machine: what its links lead to is its owner's affair
  ONLY_DIGEST = 1 << 19,  // files have HAS_DIGEST and no content
};

struct store {
  const struct store_ops *ops;
  uint32_t can;
  struct runtime *runtime;
  struct task *task;
  const struct io_ops *io;
  span shown;               // the location as messages show it
  bool hasty;               // commit, settle and finish do not wait for the disk
  bool lingers;             // find is called for many paths: what they share may stay open
  bool splits;              // what is read may come in parts over several connections
  uint32_t streams;         // so many; zero: as many as it is worth
  struct split_rule parts;  // of this size
  uint32_t algorithm;       // enum copse_algorithm of its digests, right once its root was opened
  void *state;              // the store's own
};

enum entry_type : uint8_t {
  ENTRY_NONE,
  ENTRY_FILE,
  ENTRY_DIRECTORY,
  ENTRY_LINK,
  ENTRY_OTHER
};  // = copse_type

enum entry_has : uint8_t {
  HAS_STAT = 1 << 0,  // size, mtime_ns, mode, inode, device, uid, gid are right
  HAS_TARGET = 1 << 1,
  HAS_FOLLOWED = 1 << 2,  // a link that stands for what it points to
  HAS_SIZE = 1 << 3,      // size is what reading gives: not so in /proc and /sys
  HAS_DIGEST = 1 << 4,    // `digest` is of the whole content, which costs more to read than to hash
  HAS_TWIN = 1 << 5,      // only from next(): see there
  HAS_LINKED = 1 << 6,    // with HAS_STAT: a file that has more names than this one
};

struct entry {
  span name;  // one part, with an uncounted '\0' after it; a file root's name is the store's affair
  uint64_t size;
  int64_t mtime_ns;        // INT64_MIN: the store does not know
  int64_t ctime_ns;        // when anything about it changed last; zero: the store does not know
  uint64_t inode, device;  // both zero: no identity
  uint64_t special;        // device number of a device
  span target;             // links only
  uint32_t uid, gid;
  uint32_t mode;  // with the file type bits of stat where the store has them
  enum entry_type type;
  uint8_t has;  // bits of enum entry_has
  uint16_t reserved;
  const uint8_t
      *digest;  // HAS_DIGEST: HASH_BYTES of store->algorithm that live as long as the store
};

// Both with HAS_STAT: one and the same file, not written to in between.
static inline bool entry_is_still(const struct entry *before, const struct entry *now) {
  return now->inode == before->inode && now->device == before->device &&
         now->size == before->size && now->mtime_ns == before->mtime_ns;
}

struct directory {  // each store puts its own fields after this
  struct store *store;
};

struct order {   // one of a listing, to be sorted
  uint64_t key;  // eight bytes of the name after what all names have in common, big-endian
  union {
    struct entry *entry;
    const uint8_t *name;  // of a listing of names: behind its size and type
  };
};

// What a directory holds, in one of three forms. Entries may move while the listing grows; their
// names do not.
struct listing {
  struct arena arena;
  size_t count, capacity;
  size_t common;          // bytes every name begins with; join.c sorts by what follows
  struct order *order;    // by join_sort; of names from the beginning
  struct entry *entries;  // whole entries: what a listing is, unless takes_less
  // Set by whoever asks for one of which listing_entry is enough: then a directory of very many
  // names costs little more than those. The store may add names, or lend what it holds, in order.
  bool takes_less;
  bool has_untyped;  // one is of the type ENTRY_NONE
  const struct directory *lender;
  void (*lent)(const struct directory *lender, size_t at, struct entry *out);
};
void listing_begin(struct listing *listing);
void listing_free(struct listing *listing);
// Empty again. The memory of one of names is kept for the next, as long as it is not much.
void listing_reset(struct listing *listing);
// A new entry with a copy of the name, everything else zero. nullptr: out of memory (fault filled).
[[nodiscard]] struct entry *listing_add(struct listing *listing, span name, enum entry_type type,
                                        struct fault *fault);
// The same for a store that knows no more of it.
int32_t listing_add_name(struct listing *listing, span name, enum entry_type type,
                         struct fault *fault);
// For takes_less: the store has `count` entries in order of names, whose names live as long as it.
void listing_lend(struct listing *listing, const struct directory *lender, size_t count,
                  void (*lent)(const struct directory *lender, size_t at, struct entry *out));
// After join_sort: the entry at that place in order of names, its own or put into `room`.
struct entry *listing_entry(const struct listing *listing, size_t at, struct entry *room);
// Of a listing of names: before each stand its size and its type.
constexpr size_t NAME_HEAD = sizeof(uint32_t) + 1;
static inline bool listing_is_names(const struct listing *listing) {
  return listing->order && !listing->entries && !listing->lent;
}
static inline span order_name(const struct order *order) {
  uint32_t size;
  memcpy(&size, order->name - NAME_HEAD, sizeof size);
  return (span){order->name, size};
}
static inline enum entry_type order_type(const struct order *order) { return order->name[-1]; }
// Of a listing of names: it is empty, but for the names, which stay where they are.
void listing_keep_names(struct listing *listing);
// Makes whole entries of what it holds.
int32_t listing_complete(struct listing *listing, struct fault *fault);

// What reading at another place than the next costs.
enum reader_access : uint8_t {
  READ_ANYWHERE,  // nothing, and several workers may read at once
  READ_SINGLE,    // a request; one worker at a time
  READ_ONWARD,    // all that is before it is fetched once more; one worker at a time
};

struct reader {  // on the caller's stack or in its struct; filled by ops->reader
  struct store *store;
  enum reader_access access;
  bool at_end;    // the last read reached the end of the content: no further read is needed
  bool flows;     // fd is read onward, without offsets
  int fd;         // file store: of the content itself, so that the kernel can copy from it; else -1
  void *slot[3];  // any store's own
};

struct range {
  uint64_t from, to;  // [from, to)
};

// What an interrupted writer left for the next one.
struct resume {
  span identity;       // names the content: other content, nothing is kept
  struct range *kept;  // in order, apart; from malloc, the caller frees it
  size_t kept_count;
  struct range *claimed;  // likewise: what was kept without a digest, and nobody has proved
  size_t claimed_count;
};

struct writer {  // each store puts its own fields after this
  struct store *store;
};

// What an entry that is written shall have.
enum want : uint32_t {  // = copse_metadata
  WANT_MODE = 1 << 0,
  WANT_MTIME = 1 << 1,
  WANT_OWNER = 1 << 2,
  WANT_XATTR = 1 << 3,
};
struct pack_kind;
// To which part of a whole a file belongs, and what is said of it there.
struct filing {
  bool has_type;  // else the whole's own
  uint8_t type;
  span origin;                   // nullptr: the whole's own
  const struct pack_kind *kind;  // whose columns say more of it, in `row`; nullptr: there is none
  uint32_t row;
};
struct wanted {
  const struct entry *entry;  // name, type, a link's target, and what `what` says
  uint32_t what;              // bits of enum want; the rest is left to the store
  span attributes;            // WANT_XATTR: as attributes() gave them; others are taken away
  bool is_new;  // nothing had the name: EXISTS when something does now, or one that differs only in
                // case does where that is the same name. What a store cannot tell it may replace
  struct filing filing;  // as the place has it that it comes from
};

// What a store that is made says to the caller, and is answered, between the last job of a verb and
// the end: bytes on pages and pushes.
struct store_talk {
  // Before finish, once: all was written. How many answers are waited for, which are then asked for
  // by say().
  uint64_t (*questions)(struct store *);
  // Bytes for the caller, as many as fit; 0: no more for now. Asked for before finish, when there
  // are questions, and after it.
  int64_t (*say)(struct store *, uint8_t *into, size_t size, struct fault *);
  // An answer, on the caller's thread. 1: it was the last one.
  int32_t (*hear)(struct store *, span bytes, struct fault *);
};

struct store_ops {
  // The same pointer in every copy of one store's operations: what wraps them has a table of its
  // own (limited.c), so that stores are of one kind when these are equal.
  const char *scheme;
  uint32_t can;
  // Optional, both: the library that it stands on, for `copse doctor`, and its version.
  const char *library;
  const char *(*version)(void);
  // Opening does no I/O that can be left to the first use; close frees everything.
  int32_t (*open)(struct store *, const struct place *, struct fault *);
  void (*close)(struct store *);

  // ── Reading ──
  // The root, what a link named by the caller points to. A directory: *directory is the root
  // itself, held. Anything else: *directory is what reader(), stat() and target() take together
  // with *out. *out has HAS_STAT.
  int32_t (*root)(struct store *, struct arena *, struct entry *out, struct directory **directory,
                  struct fault *);
  // The entry at a safe path below the root (path_safe passed; not empty) and its parent, held.
  // Links on the way are followed while they stay below the root; the last part is not followed.
  // *out has HAS_STAT.
  int32_t (*find)(struct store *, span path, struct arena *, struct entry *out,
                  struct directory **parent, struct fault *);
  // Optional. The root's path as the system knows it, links resolved, for the name that it has.
  // Where it is missing, the place says it.
  int32_t (*where)(struct store *, struct arena *, span *out, struct fault *);
  // One level down, held. An entry with HAS_FOLLOWED is followed, any other is not.
  int32_t (*enter)(struct directory *parent, const struct entry *, struct directory **out,
                   struct fault *);
  void (*leave)(struct directory *);  // null is fine
  // Between hold and drop the handle can be used; outside, the store may give up its descriptor and
  // get it again by name and identity (CHANGED when the name now means another directory). Cheap.
  // Nests.
  int32_t (*hold)(struct directory *, struct fault *);
  void (*drop)(struct directory *);
  int32_t (*list)(struct directory *, struct listing *, struct fault *);
  // Fills the HAS_STAT fields and the type. An empty name (CAN_WRITE only): of the directory
  // itself. `follow`: of what a link points to, and then HAS_FOLLOWED is set when it is not a link;
  // NOT_FOUND for a link that dangles or loops.
  int32_t (*stat)(struct directory *, struct entry *, bool follow, struct fault *);
  // Optional: where a file is filed. It lives as long as the store.
  void (*filing)(struct directory *, const struct entry *, struct filing *out);
  // Optional: what an index says of a file besides its place, as fields COPSE_DETAIL_COLUMN*.
  int32_t (*columns)(struct directory *, const struct entry *, struct arena *, span *out,
                     struct fault *);
  int32_t (*target)(struct directory *, struct entry *, struct arena *,
                    struct fault *);  // HAS_TARGET
  // CAN_XATTR: all attributes in one canonical order, so that equal bytes mean equal attributes.
  int32_t (*attributes)(struct directory *, const struct entry *, struct arena *, span *out,
                        struct fault *);
  // Opens content. Never blocks on a FIFO, never opens a device: what turns out not to be a regular
  // file when it is measured is CHANGED. HAS_FOLLOWED is followed.
  int32_t (*reader)(struct directory *, const struct entry *, struct reader *, struct fault *);
  // Optional. The content of this entry (directory nullptr: of the root) will be asked for soon:
  // what takes a while without a worker may begin. Does not wait, says nothing; what is never asked
  // for is given up when the store is closed.
  void (*ahead)(struct store *, struct directory *, const struct entry *);
  // Optional. A file (in a held directory) whose content may be read together with others by
  // io->read_files, which then costs less: says where it is. A read that comes short has met its
  // end. False: it is read by itself.
  bool (*together)(struct directory *, const struct entry *, struct io_file *);
  // Bytes read, 0 only at the end; may be fewer than asked for. Any offset when CAN_RANGE, at the
  // price that reader->access says; else only onward. Sets at_end when this read is known to have
  // reached the end.
  int64_t (*read)(struct reader *, uint64_t at, uint8_t *into, size_t size, struct fault *);
  // Optional, before a read elsewhere: nothing at or after `to` is wanted of it, so that no more
  // need be asked for. What is read there all the same is asked for again.
  void (*until)(struct reader *, uint64_t to);
  // Optional, and only before the first read. 1: from now on read_any gives the content, which
  // comes sooner that way, and read is not called. 0: it does not. Of `done`, ranges in order that
  // do not meet, nothing is wanted.
  int32_t (*scatter)(struct reader *, const struct range *done, size_t done_count, struct fault *);
  // After scatter. Bytes that came, from *at on; 0: all that was wanted came. All of it may come
  // again, from the beginning.
  int64_t (*read_any)(struct reader *, uint64_t *at, uint8_t *into, size_t size, struct fault *);
  // Optional. Of content in pieces that are each decoded by themselves, and of which nothing is
  // given before all of it is proved: where the piece ends that holds the byte at `at`. One more
  // reader of the same content costs its memory alone, *held bytes for this piece as far as nobody
  // else counts them. 0: it is not so. Any thread may ask, and measure, while another one reads.
  uint64_t (*piece)(const struct reader *, uint64_t at, uint64_t *held);
  // With it. What read would give, as far as the piece goes, where it is: until the next call.
  int64_t (*lend)(struct reader *, uint64_t at, size_t size, const uint8_t **out, struct fault *);
  void (*read_end)(struct reader *);
  // What is open now: the HAS_STAT fields. *holes: it has fewer blocks than its size needs. CHANGED
  // when it is not a regular file.
  int32_t (*measure)(struct reader *, struct entry *out, bool *holes, struct fault *);
  // Optional. What the place says the digest of the whole content is, without proof: HASH_BYTES by
  // *algorithm. False: it says none.
  bool (*promised)(const struct reader *, uint32_t *algorithm, const uint8_t **digest);
  // Optional, after the root was opened. CORRUPT: what is neither content nor looked at to find any
  // is damaged.
  int32_t (*prove)(struct store *, struct fault *);
  // The next range that may hold data at or after `at`: [*begin, *end). 0: none, only a hole up to
  // the end. 1: a range. May be nullptr: everything is data.
  int32_t (*next_data)(struct reader *, uint64_t at, uint64_t *begin, uint64_t *end,
                       struct fault *);

  // Optional, between two stores of this scheme. 1: the contents are the same, proved at less cost
  // than by reading both. 0: not known; what is wrong with either shows when it is read.
  int32_t (*same)(struct directory *left, const struct entry *of_left, struct directory *right,
                  const struct entry *of_right, struct fault *);
  // Optional; stores that are ONLY_FORWARD have it. Everything below the root, one entry a call, in
  // the order in which its content can be read without going back; directories come before what is
  // in them. 1: an entry, 0: the end (the next call begins anew). Only one thread at a time calls
  // it.
  //   *path   below the root, from the arena; passed path_safe unless out->type is ENTRY_NONE
  //   *out    HAS_STAT, and HAS_TARGET for links. A file with HAS_TWIN has the content of the file
  //           at the path `target`, which came before, and no reader (a hard link).
  //   reader  open for a file without HAS_TWIN: the caller reads what it wants and calls read_end
  //           before it asks for the next entry. Of anything else it is not touched.
  // What must not be used (an unsafe name, a limit crossed by this entry alone) is an entry too:
  // 1 with the type ENTRY_NONE and *fault filled; *path is then for messages only. Negative: the
  // whole tree failed, nothing more will come.
  int32_t (*next)(struct store *, struct arena *, span *path, struct entry *out, struct reader *,
                  struct fault *);

  // ── Writing: into a directory that is held, an entry named by one part, so that nothing is
  // resolved by path. nullptr in stores that cannot write; what says "optional" may be nullptr in
  // those that can ──
  // Optional: a store without it has a root that is always there. Where the root stands: *out has
  // its own name, and ENTRY_NONE where there is nothing yet, else HAS_STAT (a link is not
  // followed); *directory is what it stands in, held. With `make` missing directories are made.
  int32_t (*above)(struct store *, bool make, struct arena *, struct entry *out,
                   struct directory **directory, struct fault *);
  // A new directory, entered and held. EXISTS: something has its name. What it shall have in the
  // end is said at once, and again by set() when all is in it.
  int32_t (*create)(struct directory *, const struct wanted *, struct directory **out,
                    struct fault *);
  // What will be a file once it is committed; until then its name is what it was. It keeps the
  // directory usable by itself. EXISTS: a directory has that name. What is not wanted of mode is
  // what a replaced file had, or what any new file gets here.
  int32_t (*writer)(struct directory *, const struct wanted *, struct writer **, struct fault *);
  // Optional. A writer of `size` bytes that is not lost when it is abandoned or killed: the next
  // one for this name and identity begins with what was kept of it, proved by its digest. `keep`
  // says which bytes are worth keeping; both are called by one worker at a time.
  int32_t (*resume)(struct directory *, const struct wanted *, uint64_t size, struct resume *,
                    struct writer **, struct fault *);
  // A digest of nullptr: nobody knows it. `reread` gives what was written by whoever left it,
  // `forget` says that nobody will come for it.
  int32_t (*keep)(struct writer *, struct range, const uint8_t digest[HASH_BYTES], struct fault *);
  int64_t (*reread)(struct writer *, uint64_t at, uint8_t *into, size_t size, struct fault *);
  void (*forget)(struct writer *);
  // With CAN_PARALLEL several workers may write at different offsets at once; else one after
  // another, onward. A range that is never written is zeros.
  int32_t (*write)(struct writer *, uint64_t at, const uint8_t *bytes, size_t size, struct fault *);
  // Optional. Copies [at, at + size) of the reader's content without passing it through the
  // process. Bytes copied, which may be fewer; 0: not from this reader, or not here: read and
  // write. `size` UINT64_MAX: all of it, holes and all, at once, or 0.
  int64_t (*pull)(struct writer *, struct reader *, uint64_t at, uint64_t size, struct fault *);
  // Optional. What pull does between these two the kernel does through its page cache, so that
  // several workers are faster by reading and writing.
  bool (*is_cached)(struct writer *, const struct reader *);
  // Optional, with reread. Copies [from, from + size) of a file of this store to `at`, without
  // passing it through the process. Bytes copied, which may be fewer; 0: not here. `size`
  // UINT64_MAX: all of it, shared with that file, or 0.
  int64_t (*reuse)(struct writer *, struct reader *old, uint64_t from, uint64_t at, uint64_t size,
                   struct fault *);
  // The file is `size` bytes: gives it its name and frees, also when it fails. *out has HAS_STAT.
  int32_t (*commit)(struct writer *, uint64_t size, struct entry *out, struct fault *);
  void (*abandon)(struct writer *);  // frees; nothing is left
  // A link (CAN_LINKS) to want->entry->target, in the place of any file or link of its name.
  int32_t (*make)(struct directory *, const struct wanted *, struct fault *);
  // Optional. One more name for the file `from_entry` (a hard link), in the place of a file or
  // link.
  int32_t (*link)(struct directory *from, const struct entry *from_entry, struct directory *,
                  span name, struct fault *);
  // Optional. Another name for the same entry. EXISTS: something has it already.
  int32_t (*rename)(struct directory *from, const struct entry *from_entry, struct directory *,
                    span name, struct fault *);
  // A file, link or empty directory. EXISTS: not empty. CHANGED: the entry has HAS_STAT and the
  // name means something else now.
  int32_t (*remove)(struct directory *, const struct entry *, struct fault *);
  // Gives an entry that is there what is wanted of it; an empty name: the directory itself. No link
  // is followed.
  int32_t (*set)(struct directory *, const struct wanted *, struct fault *);
  // Optional. What was committed, made and removed in the directory lasts through a power loss.
  int32_t (*settle)(struct directory *, struct fault *);
  // Optional. Keeps others who claim it out of the directory until the store is closed: BUSY.
  int32_t (*claim)(struct directory *, struct fault *);
  // Optional. Whether the name is one of ours for unfinished files, nobody is writing to it, and it
  // is too old to go on with; `of_any_age`: also when it is not.
  bool (*is_stale)(struct directory *, const struct entry *, bool of_any_age);
  // Optional. The name of what an interrupted writer that can be resumed leaves of a file of this
  // name; in the arena, at nullptr without memory.
  span (*partial)(span name, struct arena *);
  // Optional. Whether that entry of another store is the file that this one is going to replace: it
  // is left out of itself.
  bool (*is_itself)(const struct store *, const struct store *other, const struct entry *);
  // Optional. A writer for a file by its whole path below the root, which is safe: for who has
  // no directories. Those of the path come with it; root() was called.
  int32_t (*file)(struct store *, const struct wanted *, const struct filing *, struct writer **,
                  struct fault *);
  // Optional, before DONE. 1: it added jobs to the task, and is called again when none is left.
  int32_t (*finish)(struct store *, struct fault *);
  const struct store_talk *talk;  // optional
  // Optional, after finish: fields COPSE_DETAIL_* of what was made, for the verb's summary. None:
  // no summary.
  void (*report)(const struct store *, struct record_writer *);
};

// store/open.c
extern const struct store_ops *const store_all[];  // ends with nullptr
int32_t place_read(span record, struct place *out, struct fault *fault);
// Opens the place's store. UNSUPPORTED names the scheme. After an error there is nothing to close.
int32_t store_open(struct store *store, span place_record, struct task *task, struct fault *fault);
// The same for a place that stands in another one's record, `above`.
int32_t store_open_in(struct store *store, span place_record, span above, struct task *task,
                      struct fault *fault);
void store_close(struct store *store);  // never opened: fine

// store/store.c
// The directory that holds the last part of a safe path below the root, held, and that entry
// (ENTRY_NONE: nothing has its name, else HAS_STAT). An empty path: the root itself. With `made`
// missing directories are made, and it is how many of the last ones were (also after a failure);
// nullptr: none. No link is followed on the way.
int32_t store_place(struct store *store, span path, uint32_t *made, struct arena *arena,
                    struct entry *out, struct directory **parent, struct fault *fault);
// Takes away again what store_place made for that path, as far as nothing is in it.
void store_unmake(struct store *store, span path, uint32_t made);
// Waits until the descriptor can be read from, or written to; others work in the place of one that
// waits. CANCELLED.
int32_t store_wait(struct task *task, int fd, bool to_write, struct fault *fault);
// store/file_write.c. A name of an unfinished file of ours; nobody else makes such names, and they
// are never copied.
bool store_name_is_ours(span name);
