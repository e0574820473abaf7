/*
 * host/image/image_runs.c: the sources of an image's writable memory. A compiled image has the runs
 * of its file. A snapshot (snapshot.c) has its own pages and, for the other pages, the runs of the
 * image that it is based on. So layers share files.
 *
 * Many runs are cheap to keep and expensive to map. So an image with many runs is made flat once,
 * before it is first mapped.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "auto.h"
#include "error.h"
#include "file.h"
#include "host_limits.h"
#include "image_internal.h"
#include "pages.h"
#include "rows.h"

void image_runs_free(struct image_run *runs, uint32_t count) {
    for (uint32_t i = 0; runs != NULL && i < count; i++)
        image_file_unref(runs[i].file);
    free(runs);
}

int image_runs_of_segments(struct husk_image *image, struct husk_error *err) {
    struct image_file *const file = image->code->file;
    image->runs = calloc(image->segments_count + 1u, sizeof *image->runs);
    if (image->runs == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the image's runs");
    for (uint32_t i = 0; i < image->segments_count; i++) {
        const struct image_segment *segment = &image->segments[i];
        if (segment->file_bytes == 0)
            continue;
        const bool is_staged =
            file->stage != NULL && file->stage->stage_offset == segment->file_offset;
        image->runs[image->runs_count++] =
            (struct image_run){.gva = segment->gva,
                               .bytes = segment->file_bytes,
                               .file = image_file_ref(is_staged ? file->stage : file),
                               .offset = is_staged ? 0 : segment->file_offset};
    }
    return 0;
}

/* The first run that ends behind the address. Runs do not overlap. */
static uint32_t run_behind(const struct husk_image *image, uint64_t gva_value) {
    const uint32_t count = rows_up_to(ROWS(image->runs, image->runs_count, gva), gva_value);
    if (count == 0)
        return 0;
    const struct image_run *last = &image->runs[count - 1];
    return last->gva + last->bytes > gva_value ? count - 1 : count;
}

const uint8_t *image_source(const struct husk_image *image, uint64_t gva_value,
                            uint64_t *ret_bytes) {
    const uint32_t idx = run_behind(image, gva_value);
    const struct image_run *run = &image->runs[idx];
    if (idx == image->runs_count || run->gva > gva_value) {
        *ret_bytes = idx == image->runs_count ? UINT64_MAX - gva_value : run->gva - gva_value;
        return NULL;
    }
    *ret_bytes = run->gva + run->bytes - gva_value;
    return run->file->bytes + run->offset + (gva_value - run->gva);
}

uint64_t image_files_end(const struct husk_image *image) {
    const uint64_t window_end = HUSK_FILES_GVA + HUSK_FILES_MAX_BYTES;
    const uint32_t count = rows_below(ROWS(image->runs, image->runs_count, gva), window_end);
    const struct image_run *last = count > 0 ? &image->runs[count - 1] : NULL;
    return last != NULL && last->gva >= HUSK_FILES_GVA ? last->gva + last->bytes - HUSK_FILES_GVA
                                                       : 0;
}

/* Holes are not mapped from the file: pages of them that are read would become memory; what is
 * below them are zeros for nothing. */
int image_map_readonly(uint8_t *hva, const struct image_file *file, uint64_t offset, uint64_t bytes,
                       struct husk_error *err) {
    const uint64_t end = offset + bytes;
    uint64_t at = offset, from, to, next, next_end;
    if (mprotect(hva, bytes, PROT_READ) != 0)
        return error_sys(err, errno, "cannot map the image (" MAPPINGS_HINT ")");
    bool has_data = image_next_mapped(file, at, end, &from, &to);
    while (has_data) {
        has_data = image_next_mapped(file, to, end, &next, &next_end);
        if (has_data && next - to < LIMIT_MAPPED_HOLE_BYTES) {
            to = next_end;
            continue;
        }
        at = from & ~(uint64_t)(HUSK_PAGE_SIZE - 1);
        if (mmap(hva + (at - offset), page_up(to) - at, PROT_READ, MAP_PRIVATE | MAP_FIXED,
                 file->fd, (off_t)at) == MAP_FAILED)
            return error_sys(err, errno, "cannot map the image (" MAPPINGS_HINT ")");
        from = next;
        to = next_end;
    }
    return 0;
}

/* ---- contents, without holes and pages of zeros ---- */

static int piece_contents(uint64_t gva_value, const uint8_t *bytes, uint64_t count,
                          image_contents_fn fn, void *user) {
    int status = 0;
    for (uint64_t at = 0, end; at < count && status == 0; at = end) {
        for (end = at; end < count && page_is_zero(bytes + end);)
            end += HUSK_PAGE_SIZE;
        for (at = end; end < count && !page_is_zero(bytes + end);)
            end += HUSK_PAGE_SIZE;
        if (end > at)
            status = fn(user, gva_value + at, bytes + at, end - at);
    }
    return status;
}

/* [from, to): addresses in the run. Runs are whole pages in the file. */
static int run_contents(const struct image_run *run, uint64_t from, uint64_t to,
                        image_contents_fn fn, void *user) {
    const uint64_t end = run->offset + (to - run->gva);
    uint64_t at = run->offset + (from - run->gva), data, data_end;
    int status = 0;
    for (; status == 0 && image_file_next_data(run->file, at, end, &data, &data_end); at = data_end)
        status = piece_contents(run->gva + (data - run->offset), run->file->bytes + data,
                                data_end - data, fn, user);
    return status;
}

int image_contents(const struct husk_image *image, uint64_t gva_value, uint64_t bytes,
                   image_contents_fn fn, void *user) {
    const uint64_t end = gva_value + bytes;
    int status = 0;
    for (uint32_t i = run_behind(image, gva_value);
         status == 0 && i < image->runs_count && image->runs[i].gva < end; i++) {
        const struct image_run *run = &image->runs[i];
        const uint64_t run_end = run->gva + run->bytes;
        status = run_contents(run, run->gva > gva_value ? run->gva : gva_value,
                              run_end < end ? run_end : end, fn, user);
    }
    return status;
}

/* ---- merging ---- */

/* Runs of one flat file are at most so far apart: a hole costs nothing in the file, but pages of it
 * that are read cost memory. It is doubled while there are too many runs, for mappings are what
 * other sandboxes of the process need, too. */
#define NEAR_BYTES_MIN (16ull << 20)
#define FLAT_RUNS_FEW 64u

/* Of data, or of one memory. */
static uint64_t region_of(uint64_t gva_value) {
    return gva_value < HUSK_MEM1_BASE_GVA ? gva_value >= HUSK_MEM0_GVA
                                          : gva_value / HUSK_MEM_STRIDE;
}

static bool is_near(const struct image_run *a, const struct image_run *b, uint64_t near_bytes) {
    return region_of(a->gva) == region_of(b->gva) && b->gva - (a->gva + a->bytes) <= near_bytes;
}

/* The flat runs: where each goes in the file. Returns how many. */
static uint32_t plan_near(const struct husk_image *image, uint64_t near_bytes,
                          struct image_run *flat, uint64_t *ret_file_bytes) {
    uint32_t count = 0;
    uint64_t file_bytes = 0;
    for (uint32_t i = 0; i < image->runs_count; i++) {
        const struct image_run *run = &image->runs[i];
        if (count > 0 && is_near(&flat[count - 1], run, near_bytes)) {
            flat[count - 1].bytes = run->gva + run->bytes - flat[count - 1].gva;
        } else {
            if (count > 0)
                file_bytes += flat[count - 1].bytes;
            flat[count++] = (struct image_run){.gva = run->gva, .offset = file_bytes};
            flat[count - 1].bytes = run->bytes;
        }
    }
    *ret_file_bytes = count > 0 ? file_bytes + flat[count - 1].bytes : 0;
    return count;
}

static uint32_t plan_flat(const struct husk_image *image, struct image_run *flat,
                          uint64_t *ret_file_bytes) {
    uint64_t near_bytes = NEAR_BYTES_MIN;
    uint32_t count = plan_near(image, near_bytes, flat, ret_file_bytes);
    while (count > FLAT_RUNS_FEW && near_bytes < HUSK_MEM_WINDOW_BYTES)
        count = plan_near(image, near_bytes *= 2, flat, ret_file_bytes);
    return count;
}

struct flat_file {
    int fd;
    const struct image_run *run; /* that the contents go to */
    struct husk_error *err;
};

/* At the same distance from the run's start in the file; what is not written stays a hole. */
static int put_flat(void *user, uint64_t gva_value, const uint8_t *contents, uint64_t bytes) {
    const struct flat_file *file = user;
    const uint64_t offset = file->run->offset + (gva_value - file->run->gva);
    if (file_write_at(file->fd, offset, contents, bytes) != 0)
        return error_sys(file->err, errno, "cannot write %llu bytes of a snapshot",
                         (unsigned long long)bytes);
    return 0;
}

static int make_flat(const struct husk_image *image, struct image_run *flat, uint32_t *ret_count,
                     struct husk_error *err) {
    uint64_t file_bytes;
    uint32_t count = plan_flat(image, flat, &file_bytes);
    auto_fd fd = -1;
    int status = image_file_memfd(&fd, err);
    if (status == 0 && file_set_size(fd, file_bytes) != 0)
        status = error_sys(err, errno, "cannot make room for a snapshot of %llu bytes",
                           (unsigned long long)file_bytes);
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        struct flat_file to = {fd, &flat[i], err};
        status = image_contents(image, flat[i].gva, flat[i].bytes, put_flat, &to);
    }
    struct image_file *file = NULL;
    if (status == 0)
        status = image_file_seal(fd, &file, err);
    if (status != 0)
        return status;
    take_fd(&fd);
    for (uint32_t i = 0; i < count; i++)
        flat[i].file = image_file_ref(file);
    image_file_unref(file);
    *ret_count = count;
    return 0;
}

/* Under the lock. Other threads may be reading image->runs, which therefore never change. */
static int flatten(struct husk_image *image, struct husk_error *err) {
    struct image_run *flat = calloc(image->runs_count, sizeof *flat);
    if (flat == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a snapshot's runs");
    int status = make_flat(image, flat, &image->flat_runs_count, err);
    if (status != 0) {
        free(flat);
        return error_while(err, status, "merging the layers of a snapshot");
    }
    image->flat_runs = flat;
    return 0;
}

int image_mapped_runs(struct husk_image *image, const struct image_run **ret_runs,
                      uint32_t *ret_count, struct husk_error *err) {
    if (image->runs_count <= IMAGE_RUNS_MAPPED_MAX) {
        *ret_runs = image->runs;
        *ret_count = image->runs_count;
        return 0;
    }
    pthread_mutex_lock(&image->flatten_lock);
    int status = image->flat_runs != NULL ? 0 : flatten(image, err);
    pthread_mutex_unlock(&image->flatten_lock);
    if (status == 0) {
        *ret_runs = image->flat_runs;
        *ret_count = image->flat_runs_count;
    }
    return status;
}
