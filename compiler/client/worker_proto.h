/*
 * compiler/client/worker_proto.h: the protocol between the client library and the worker process.
 * The worker gets these descriptors: an input file (struct worker_request, then the wasm bytes, or
 * the tables and bytes of several modules, below), an
 * empty output file for the image, a pipe for struct worker_message, and its own program. The
 * client also reads the worker's stderr, because LLVM reports fatal errors there. Both sides are
 * built together.
 */
#ifndef COMPILER_WORKER_PROTO_H
#define COMPILER_WORKER_PROTO_H

#include <stdint.h>

#include "husk.h"

#define WORKER_PROGRAM "husk-compile-worker"
#define WORKER_FD_INPUT 3
#define WORKER_FD_OUTPUT 4
#define WORKER_FD_STATUS 5
/* the worker's own program, which was executed through it; the worker closes it first */
#define WORKER_FD_PROGRAM 6
#define WORKER_FD_COUNT 7

#define WORKER_MAGIC 0x4b524f57 /* "WORK" */
#define WORKER_VERSION 5

struct worker_request {
    uint32_t magic;
    uint32_t version;
    uint32_t request_bytes; /* sizeof this struct; the input follows */
    int32_t opt_level;
    uint32_t threads;
    uint32_t strict;
    uint32_t allow_uncontained;
    uint32_t modules_count; /* 0: the input is one module */
    uint32_t is_staged;     /* struct program_sources */
    uint32_t disabled;      /* wasm_features_t */
    uint32_t is_idle;       /* runs only when nothing else does */
    uint32_t reserved;
    uint64_t input_bytes;
    uint64_t cpu_limit_ns;
    uint64_t memory_limit_bytes;
    uint64_t image_limit_bytes;
    char cpu[64]; /* LLVM name, or "native" */
};

/* The input if modules_count is not 0: that many struct worker_link_module, then the aliases, the
 * names and the modules. Offsets count from the start of the input. Images have the SHA-256 of all
 * of it, and offsets in it tell modules apart. */
struct worker_link_str {
    uint32_t offset, bytes;
};

struct worker_link_alias {
    struct worker_link_str module, name, instance, export_name;
};

struct worker_link_module {
    uint64_t wasm_offset, wasm_bytes;
    struct worker_link_str name;
    uint32_t aliases_offset, aliases_count; /* struct worker_link_alias[] */
};

enum worker_message_kind {
    WORKER_PROGRESS = 1,
    WORKER_RESULT = 2,
    /* the first message, sent once the filter is loaded, before hostile input is read */
    WORKER_CONTAINED = 3
};

struct worker_message {
    uint32_t kind;
    uint32_t done, total; /* WORKER_PROGRESS: functions */
    int32_t status;       /* WORKER_RESULT: 0 or error.status */
    uint64_t image_bytes; /* WORKER_RESULT */
    struct husk_error error;
};

/* Linux's PIPE_BUF, pipe(7). */
_Static_assert(sizeof(struct worker_message) <= 4096,
               "written in one piece, also by several threads");

#endif
