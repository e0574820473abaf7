/*
 * compiler/client/background.h: images that are optimised while the program runs already.
 *
 *   husk_compile_cached() finds no image of the wanted level. It takes one of level 0, and starts a
 *   job (background_start.c): a process, husk-compile-worker with the argument
 *   WORKER_ARGUMENT_BACKGROUND, that outlives the caller. It compiles as every client does, through
 *   a contained worker, and puts the image into the cache (background_job.c).
 *
 * There is one job for a cache entry. Its file, KEY.job beside the entry KEY.husk, is both lock and
 * note (background_note.c). The lock is flock()'s: the caller takes it and the job inherits it, so
 * there is no moment without it, and it ends with the job, however that ends. The note says who
 * works on what, and how a failed job failed. A job that succeeds removes its file.
 */
#ifndef COMPILER_BACKGROUND_H
#define COMPILER_BACKGROUND_H

#include <stdbool.h>
#include <stdint.h>

#include "client.h"
#include "sha256.h"
#include "xxh3.h"

#define WORKER_ARGUMENT_BACKGROUND "background"
#define BACKGROUND_FD_REQUEST 3 /* struct background_request, then the input of the job */
#define BACKGROUND_FD_NOTE 4    /* the job's file, locked */

/* Modules with fewer bytes are compiled at the wanted level at once. On our machines level 2 takes
 * 15 ms of CPU time for 1 KiB, and starting a worker twice takes longer. */
#define BACKGROUND_WASM_BYTES_MIN 4096u
/* Of one cache folder, those that wait for their turn included. Each holds its module in memory. */
#define BACKGROUND_JOBS_MAX 16
/* A job that was ended from outside is begun again, this often altogether. */
#define BACKGROUND_ATTEMPTS_MAX 3
/* A job whose failure may pass, as that of a full disk, is begun again after a day. */
#define BACKGROUND_RETRY_SECONDS 86400u
/* CPU time is a job's real limit. It may wait for it: its priority is the lowest. */
#define BACKGROUND_WALL_LIMIT_NS (86400ull * 1000000000u)

#define BACKGROUND_PATH_BYTES 4096 /* Linux's PATH_MAX */

enum background_note_state {
    BACKGROUND_NOTE_WAITS = 1, /* for its turn */
    BACKGROUND_NOTE_WORKS,
    BACKGROUND_NOTE_FAILED,
    BACKGROUND_NOTE_STOPPED /* by husk_background_stop() */
};

/* A job's file. Whoever has its lock may write it. Readers need no lock: a note that is being
 * written has a wrong check. */
struct background_note {
    char magic[16];
    uint32_t state;     /* enum background_note_state */
    uint32_t pid;       /* of the job, as seen from the namespace */
    uint64_t namespace; /* of its process number: the inode */
    char boot[40];      /* of the machine's start: other numbers are of other machines */
    uint64_t begin_s, end_s;
    uint64_t wasm_bytes;
    uint64_t cpu_limit_ns, memory_limit_bytes;
    int32_t opt_level;
    uint32_t attempts;
    uint32_t done, total; /* functions */
    char label[256];
    struct husk_error error;       /* of a failed one */
    uint8_t check[XXH3_128_BYTES]; /* of all before it */
};

/* What the job gets. Input bytes follow. */
struct background_request {
    char magic[16];
    uint64_t request_bytes, input_bytes;
    struct background_note note;
    uint32_t modules_count, threads;
    uint64_t cache_limit_bytes;
    uint8_t strict, allow_uncontained, reserved[6];
    uint8_t wasm_sha256[SHA256_BYTES];
    char cpu[64];
    char disable[1024];
    char entry_path[BACKGROUND_PATH_BYTES], worker_path[BACKGROUND_PATH_BYTES];
};
#define BACKGROUND_MAGIC "husk job 1"

/* ---- background_note.c ---- */

/* KEY.husk → KEY.job. *ret_path is malloc()ed; NULL: no memory. */
char *background_note_path(const char *entry_path);
/* Open and lock the file, which is made if it does not exist. -1 and *ret_is_locked: somebody else
 * has the lock. -1 else: there can be no such file. */
int background_note_lock(const char *path, bool *ret_is_locked);
/* False: there is none, or it is damaged or incomplete. */
bool background_note_read(int fd, struct background_note *ret_note);
void background_note_write(int fd, struct background_note *note);
/* Remove the file, if it is still the one that is locked. */
void background_note_remove(const char *path, int fd);
/* Fill in who this process is. */
void background_note_sign(struct background_note *note);
/* Is the process that signed it one of this machine and namespace? */
bool background_note_is_here(const struct background_note *note);
/* Has the job, or one that is just being started, the file locked? */
bool background_note_is_locked(int fd);
uint64_t background_now_s(void); /* seconds since 1970 */

/* ---- background_start.c ---- */

/* After an image of level 0 was taken: begin the job, or see why there is none. `options`: those of
 * the wanted level, with their defaults. Fills in the fields of *compiled that tell. */
void background_start(const struct worker_job *job, const struct husk_compile_options *options,
                      const uint8_t wasm_sha256[SHA256_BYTES], const char *entry_path,
                      struct husk_compiled *compiled);

/* ---- background_job.c: the process. Returns its exit code ---- */
int background_main(void);

#endif
