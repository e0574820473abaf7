/*
 * host/image/image_layers.c: limits the number of files that a snapshot refers to. Each layer is a
 * descriptor and a mapping of the process. So a snapshot at the end of a long chain (snapshot.c)
 * gets one file with the contents of the smaller ones.
 */
#include <errno.h>
#include <stdlib.h>

#include "auto.h"
#include "error.h"
#include "file.h"
#include "image_internal.h"

/* The files of a snapshot beside the compiled image's own, and how much of each it has. */
struct layers {
    struct layer {
        const struct image_file *file;
        uint64_t bytes;
    } rows[IMAGE_LAYERS_MAX + 1];
    uint32_t count; /* more than IMAGE_LAYERS_MAX: too many, and perhaps not all are here */
};

static void layers_find(const struct image_run *runs, uint32_t count, const struct image_file *base,
                        struct layers *ret_layers) {
    ret_layers->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = 0;
        while (at < ret_layers->count && ret_layers->rows[at].file != runs[i].file)
            at++;
        if (runs[i].file == base || at > IMAGE_LAYERS_MAX)
            continue;
        if (at == ret_layers->count)
            ret_layers->rows[ret_layers->count++] = (struct layer){.file = runs[i].file};
        ret_layers->rows[at].bytes += runs[i].bytes;
    }
}

static int compare_layers(const void *a, const void *b) {
    const struct layer *first = a, *second = b;
    return first->bytes > second->bytes ? -1 : first->bytes < second->bytes;
}

/* The larger half stays as it is: what is merged is small, or was long ago. */
static bool is_to_merge(const struct layers *layers, const struct image_file *file,
                        const struct image_file *base) {
    if (file == base)
        return false;
    for (uint32_t i = 0; i < IMAGE_LAYERS_MAX / 2; i++)
        if (layers->rows[i].file == file)
            return false;
    return true;
}

static int copy_layers(const struct image_run *runs, uint32_t count, const struct layers *layers,
                       const struct image_file *base, struct image_file **ret_file,
                       struct husk_error *err) {
    auto_fd fd = -1;
    int status = image_file_memfd(&fd, err);
    for (uint32_t i = 0; i < count && status == 0; i++)
        if (is_to_merge(layers, runs[i].file, base) &&
            file_write_all(fd, runs[i].file->bytes + runs[i].offset, runs[i].bytes) != 0)
            status = error_sys(err, errno, "cannot write %llu bytes of a snapshot",
                               (unsigned long long)runs[i].bytes);
    if (status == 0)
        status = image_file_seal(fd, ret_file, err);
    if (status == 0)
        take_fd(&fd);
    return status;
}

/* Append a run, or what it adds to the last one: neighbours in memory that were merged are
 * neighbours in the file. */
static void keep_run(struct image_run *runs, uint32_t *kept, const struct image_run *run) {
    struct image_run *last = *kept > 0 ? &runs[*kept - 1] : NULL;
    if (last != NULL && last->file == run->file && last->gva + last->bytes == run->gva &&
        last->offset + last->bytes == run->offset) {
        last->bytes += run->bytes;
        image_file_unref(run->file);
    } else {
        runs[(*kept)++] = *run;
    }
}

int image_runs_merge_layers(struct image_run *runs, uint32_t *count, const struct image_file *base,
                            struct husk_error *err) {
    struct layers layers;
    struct image_file *file = NULL;
    layers_find(runs, *count, base, &layers);
    if (layers.count <= IMAGE_LAYERS_MAX)
        return 0;
    qsort(layers.rows, layers.count, sizeof *layers.rows, compare_layers);
    int status = copy_layers(runs, *count, &layers, base, &file, err);
    if (status != 0)
        return error_while(err, status, "merging the layers of a snapshot");
    uint32_t kept = 0;
    uint64_t offset = 0;
    for (uint32_t i = 0; i < *count; i++) {
        struct image_run run = runs[i];
        if (is_to_merge(&layers, run.file, base)) {
            image_file_unref(run.file);
            run.file = image_file_ref(file);
            run.offset = offset;
            offset += run.bytes;
        }
        keep_run(runs, &kept, &run);
    }
    image_file_unref(file);
    *count = kept;
    return 0;
}
