/*
 * host/engine/host_limits.h: the largest counts that libhusk accepts, each with its reason. An
 * image with more of something is HUSK_E_BAD_IMAGE; an option with more is HUSK_E_INVAL or
 * HUSK_E_LIMIT.
 */
#ifndef HOST_LIMITS_H
#define HOST_LIMITS_H

/* Text, data and all initialised memory; more than any real module, and far from overflow of any
 * sum below. */
#define LIMIT_IMAGE_BYTES (16ull << 30)
/* Text, rodata, some per memory (a saved snapshot: 256), one data segment per growable table.
 * Tables have pages of their own, so no more than every other one of the data region's 65,536 pages
 * starts a segment. Each can have a section: SHN_LORESERVE is 0xff00. */
#define LIMIT_PROGRAM_HEADERS 0xfe00u
/* The note: names, tables and line rows. */
#define LIMIT_NOTE_BYTES (1u << 30)
/* In it, also those that are skipped; there are 18. */
#define LIMIT_RECORDS 1000u
/* Holes of a sparse file: in the note, where a copy may have made some of zeros that are there. */
#define LIMIT_NOTE_HOLE_BYTES (16u << 20)
/* In what is hashed: a large table with one entry at its end; and what a saved snapshot may have
 * (image_save.c: NEAR_BYTES_MAX). */
#define LIMIT_HASHED_HOLE_BYTES (256ull << 20)
#define LIMIT_HASHED_HOLE_BYTES_PER_PAGE (16ull << 20)
/* A hole in the read-only half is left out of its mapping if it has so much: fewer mappings, and of
 * each page of the file at most so much is memory. */
#define LIMIT_MAPPED_HOLE_BYTES (64u << 10)
/* Zeros of the data region that need no reason: image_costs.c. */
#define LIMIT_DATA_SLACK_BYTES (128u << 10)
/* wasm implementation limits of browsers (JS API, section 9): 1,000,000 functions, types, imports,
 * exports, globals. */
#define LIMIT_FUNCS 2000000u
#define LIMIT_TYPES 1000000u
#define LIMIT_IMPORTS 1000000u
#define LIMIT_EXPORTS 1000000u
#define LIMIT_GLOBALS 1000000u
/* Each has a row of host state per sandbox; the JS API says 100,000. */
#define LIMIT_TABLES 100000u
/* Rows of code maps and line tables: text is below 512 MiB, and a row stands for at least one byte
 * of it. */
#define LIMIT_ROWS (64u << 20)
#define LIMIT_FILES 1000000u
#define LIMIT_VALTYPES (16u << 20)
#define LIMIT_STRING_BYTES (512u << 20)
/* WASI's is some hundred bytes. */
#define LIMIT_HOST_STATE_BYTES (16u << 20)
/* Pages that are made private ahead of the first run: 64 MiB of them cost more than the faults they
 * save. */
#define LIMIT_HOT_PAGES 16384u
/* Names are copied to be NUL-terminated; ranges may overlap, so their sum is bounded by itself:
 * this much more than the file. */
#define LIMIT_NAME_COPY_SLACK_BYTES (1u << 20)
/* All names, also those that are used where they are: they may be parts of each other. The compiler
 * writes equal ones once (the module of 100,000 imports), so it is much. */
#define LIMIT_NAMES_SLACK_BYTES (64u << 20)
/* HUSK_MAX_SLOTS of the mailbox is a little more. JS API: 1,000 parameters, 1,000 results. */
#define LIMIT_ARITY 1000u

/* Frames that a backtrace walks at most: husk.h promises it. 5 ns each, if it was called from where
 * the one before was; else it counts for eight: then the place is looked for among those that were
 * seen. */
#define LIMIT_BACKTRACE_FRAMES 100000u
#define LIMIT_BACKTRACE_FRAMES_PER_MOVE 8u
/* And addresses that it looks up in the image's rows, each once: up to a microsecond, if every step
 * of the two searches misses the caches. Four times the frames that a backtrace lists; a deep
 * recursion comes from few places. */
#define LIMIT_BACKTRACE_PLACES 128u

/* How long a call with a CPU limit alone may wait in WASI: so many times that limit, and this at
 * least: husk.h promises both. */
#define LIMIT_WAIT_FACTOR 10u
#define LIMIT_WAIT_MIN_NS 1000000000ull

/* A label is a row of every metric of sandboxes: it names a tenant, and is not a text. */
#define LIMIT_LABEL_BYTES 128u
/* Labels that no sandbox has, of which the counters are kept: half a kilobyte each, and some thirty
 * lines of Prometheus text. */
#define LIMIT_LABELS_IDLE 1024u

#define LIMIT_TABLE_ENTRIES_DEFAULT 1000000u
#define LIMIT_HOST_CALL_DEPTH_DEFAULT 16u
/* A nested call needs a few KiB of the embedder's own stack. */
#define LIMIT_HOST_CALL_DEPTH_MAX 256u

#endif
