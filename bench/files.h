/*
 * bench/files.h: shared by the files of the benchmarks of files: native operations on a directory,
 * and a sandbox whose guest is bench/micro/files.c.
 */
#ifndef BENCH_FILES_H
#define BENCH_FILES_H

#include "snapshot.h"

enum { FILES_SMALL = 1000, FILES_SMALL_BYTES = 512, FILES_BIG_BYTES = 1 << 20 };

/* Operations of the host: rows whose `stride` is the descriptor of a directory, and `pages` a
 * count. Each does what the guest's export of the same name does. */
int native_nothing(struct snapshot_op *op);
int native_open_read_close(struct snapshot_op *op);
int native_create_unlink(struct snapshot_op *op);
int native_read_big(struct snapshot_op *op);
int native_write_big(struct snapshot_op *op);
int native_list(struct snapshot_op *op);

/* Make a directory, with the files that the operations need; returns its descriptor or -1. */
int native_fill(const char *path);
/* Remove a directory and all that is in it. */
void native_remove(const char *path);

/* Make a sandbox and find the exports `empty` and `name`; op->touch is `name`. */
int files_open(struct snapshot_op *op, husk_image *image, husk_imports *imports, const char *name);

/* The parts of bench_files(). */
int files_ops(const struct bench *bench, husk_image *module);
int files_restore(const struct bench *bench, husk_image *module);
int files_script(const struct bench *bench);

#endif
