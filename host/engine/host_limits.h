/*
 * host/engine/host_limits.h: the largest counts that libhusk accepts, each with its reason. A
 * larger count in an image is HUSK_E_BAD_IMAGE; in an option it is HUSK_E_INVAL or HUSK_E_LIMIT.
 */
#ifndef HOST_LIMITS_H
#define HOST_LIMITS_H

/* Text, data and all initialised memory. More than any real module has, and far from overflow of
 * every sum below. */
#define LIMIT_IMAGE_BYTES (16ull << 30)
/* Text, rodata, some per memory (a saved snapshot: 256), one data segment per growable table. The
 * data region has 65,536 pages. Each table has its own pages, so at most every other page starts a
 * segment. Each program header can have a section: SHN_LORESERVE is 0xff00. */
#define LIMIT_PROGRAM_HEADERS 0xfe00u
/* The note: names, tables and line rows. */
#define LIMIT_NOTE_BYTES (1u << 30)
/* Records in the note, skipped ones included; 18 are known. */
#define LIMIT_RECORDS 1000u
/* Holes of a sparse file in the note. A copy of the file may have made holes of some of its
 * zeros. */
#define LIMIT_NOTE_HOLE_BYTES (16u << 20)
/* Holes in the hashed part. A large table with one entry at its end has so many, and a saved
 * snapshot may (image_save.c: NEAR_BYTES_MAX). */
#define LIMIT_HASHED_HOLE_BYTES (256ull << 20)
#define LIMIT_HASHED_HOLE_BYTES_PER_PAGE (16ull << 20)
/* The mapping of the read-only half leaves out a hole that has so many bytes. So there are fewer
 * mappings, and each page of the file costs at most so much memory. */
#define LIMIT_MAPPED_HOLE_BYTES (64u << 10)
/* A file that has no more holes than this altogether is mapped for reading as if it had none: what
 * is read of them becomes memory, once for all sandboxes. */
#define LIMIT_FEW_HOLE_BYTES (1u << 20)
/* Zeros of the data region that are allowed without a reason: image_costs.c. */
#define LIMIT_DATA_SLACK_BYTES (128u << 10)
/* Exception slots that are allowed without a reason: those of tags with up to 15 values. Slots of
 * tags with more count as linear memory. */
#define LIMIT_EXCEPTION_SLOT_BYTES (1u << 20)
/* Implementation limits of browsers (JS API, section 9): 1,000,000 functions, types, imports,
 * exports, globals, tags. */
#define LIMIT_FUNCS 2000000u
#define LIMIT_TYPES 1000000u
#define LIMIT_IMPORTS 1000000u
#define LIMIT_EXPORTS 1000000u
#define LIMIT_GLOBALS 1000000u
#define LIMIT_TAGS 1000000u
/* Each table has a row of host state per sandbox. The JS API allows 100,000. */
#define LIMIT_TABLES 100000u
#define LIMIT_INSTANCES 1000u
/* Rows of code maps and line tables. Text is below 512 MiB, and a row stands for at least one byte
 * of it. */
#define LIMIT_ROWS (64u << 20)
#define LIMIT_FILES 1000000u
#define LIMIT_VALTYPES (16u << 20)
#define LIMIT_STRING_BYTES (512u << 20)
/* WASI's state has some hundred bytes. */
#define LIMIT_HOST_STATE_BYTES (16u << 20)
/* husk_image_set_note(): leaves most of that to the host functions */
#define LIMIT_IMAGE_NOTE_BYTES (1u << 20)
/* Pages that are made private before the first run. 64 MiB of them cost more than the page faults
 * that they save. */
#define LIMIT_HOT_PAGES 16384u
/* Names are copied to get a NUL, and their ranges in the file may overlap. So the sum of the copies
 * has a limit: the size of the file and this much more. */
#define LIMIT_NAME_COPY_SLACK_BYTES (1u << 20)
/* The sum of all names, also of those that are not copied, likewise: the file and this much more.
 * It is large because names may be parts of each other, and the compiler writes equal names once
 * (the module of 100,000 imports). */
#define LIMIT_NAMES_SLACK_BYTES (64u << 20)
/* Parameters or results of a function. The JS API allows 1,000 of each. HUSK_MAX_SLOTS of the
 * mailbox is a little more. */
#define LIMIT_ARITY 1000u

/* Work of a backtrace, in frames; husk.h promises the limit. A frame takes 5 ns if its call came
 * from the same place as the frame before. Otherwise it counts as eight, because its place is
 * looked for among the places seen so far. */
#define LIMIT_BACKTRACE_FRAMES 100000u
#define LIMIT_BACKTRACE_FRAMES_PER_MOVE 8u
/* Addresses that a backtrace looks up in the image's rows, each once. A look-up takes up to a
 * microsecond, if every step of its two searches misses the caches. This is four times the number
 * of frames that a backtrace lists; a deep recursion comes from few places. */
#define LIMIT_BACKTRACE_PLACES 128u

/* How long a call with a CPU limit alone may wait in WASI and for answers: this many times its
 * limit, but at least the time below. husk.h promises both. */
#define LIMIT_WAIT_FACTOR 10u
#define LIMIT_WAIT_MIN_NS 1000000000ull

/* Each label is a row of every metric of sandboxes. It names a tenant, and is not a text. */
#define LIMIT_LABEL_BYTES 128u
/* Labels without a sandbox whose counters are kept. Each takes half a kilobyte, and some thirty
 * lines of Prometheus text. */
#define LIMIT_LABELS_IDLE 1024u

/* Images for which spare VMs are kept, and VMs of each: a thread makes them one after the other. */
#define LIMIT_SPARE_IMAGES 64u
#define LIMIT_SPARE_COUNT 1024u
#define LIMIT_TABLE_ENTRIES_DEFAULT 1000000u
#define LIMIT_HOST_CALL_DEPTH_DEFAULT 16u
/* A nested call needs a few KiB of the embedder's stack. */
#define LIMIT_HOST_CALL_DEPTH_MAX 256u

#endif
