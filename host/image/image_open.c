/*
 * host/image/image_open.c: opens and closes images: their bytes (image_file.c), checks
 * (image_read.c, image_records.c, image_check.c) and names (image_names.c). It also tells whether
 * two images are of one module.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "auto.h"
#include "engine_internal.h"
#include "error.h"
#include "host_limits.h"
#include "image_internal.h"
#include "options.h"
#include "image_records.h"
#include "pages.h"

static struct image_code *code_ref(struct image_code *code) {
    atomic_fetch_add_explicit(&code->refs, 1, memory_order_relaxed);
    return code;
}

static void code_unref(struct image_code *code) {
    if (atomic_fetch_sub_explicit(&code->refs, 1, memory_order_acq_rel) != 1)
        return;
    image_names_done(code);
    free(atomic_load(&code->funcrefs));
    if (code->ro_hva != NULL)
        munmap(code->ro_hva, code->ro_bytes);
    free(code->segments);
    image_records_done(code);
    image_file_unref(code->file);
    free(code);
}

/* Takes over the file, also on failure. */
static struct image_code *code_new(struct image_file *file) {
    struct image_code *code = calloc(1, sizeof *code);
    if (code == NULL) {
        image_file_unref(file);
        return NULL;
    }
    atomic_init(&code->refs, 1);
    atomic_init(&code->funcrefs, NULL);
    code->file = file;
    return code;
}

husk_image *image_new(husk_engine *engine, struct image_code *code) {
    husk_image *image = calloc(1, sizeof *image);
    if (image == NULL)
        return NULL;
    atomic_init(&image->refs, 1);
    atomic_init(&image->has_served, false);
    pthread_mutex_init(&image->template_lock, NULL);
    pthread_mutex_init(&image->flatten_lock, NULL);
    image->engine = engine != NULL ? engine_ref(engine) : NULL;
    image->code = code_ref(code);
    return image;
}

static void image_free(husk_image *image) {
    sys_template_unref(image->default_template);
    pthread_mutex_destroy(&image->template_lock);
    pthread_mutex_destroy(&image->flatten_lock);
    image_runs_free(image->runs, image->runs_count);
    image_runs_free(image->flat_runs, image->flat_runs_count);
    free(image->own_segments);
    free(image->own_sizes);
    free(image->own_host_state);
    free(image->own_standing);
    free(image->own_standing_args);
    free(image->hot_gvas);
    free(image->seen_gvas);
    free(image->read_gvas);
    code_unref(image->code);
    engine_unref(image->engine);
    free(image);
}

/* Usually it is: the linker puts them so into the file. */
static bool is_one_mapping(const struct image_code *code) {
    const uint64_t end = code->text_offset + code->ro_bytes;
    if (code->rodata_bytes != 0 && (code->rodata_gva - HUSK_TEXT_GVA != code->text_bytes ||
                                    code->rodata_offset - code->text_offset != code->text_bytes))
        return false;
    uint64_t from, to = code->text_offset, next;
    while (image_next_mapped(code->file, to, end, &from, &next)) {
        if (from - to >= LIMIT_MAPPED_HOLE_BYTES)
            return false;
        to = next;
    }
    return end - to < LIMIT_MAPPED_HOLE_BYTES;
}

/* Text and rodata in one host mapping at the distances they have in the guest: for the host's own
 * reading, and for sandboxes whose read-only part stands apart (space_layout.h). Others have a
 * mapping of their own. */
static int map_readonly(struct image_code *code, struct husk_error *err) {
    void *base =
        mmap(NULL, code->ro_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return error_sys(err, errno, "cannot reserve address space for the image");
    code->ro_hva = base;
    code->is_ro_one_mapping = is_one_mapping(code);
    int status =
        image_map_readonly(code->ro_hva, code->file, code->text_offset, code->text_bytes, err);
    if (status == 0 && code->rodata_bytes != 0)
        status = image_map_readonly(code->ro_hva + (code->rodata_gva - HUSK_TEXT_GVA), code->file,
                                    code->rodata_offset, code->rodata_bytes, err);
    return status;
}

/* engine NULL: nothing will be run. */
static int check_cpu(const husk_image *image, const husk_engine *engine, struct husk_error *err) {
    const struct image_code *code = image->code;
    static const struct {
        const char *name;
        uint64_t bit;
    } features[] = {
#define HUSK_CPU_FEATURE(name, number, text, leaf, subleaf, reg, bit) {text, 1ull << (number)},
#include "cpu_features.def"
#undef HUSK_CPU_FEATURE
    };
    uint64_t known = 0, missing = 0;
    if (engine != NULL)
        missing = code->module.cpu_features & ~engine->host_info.cpu_features;
    char list[200] = "";
    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++) {
        known |= features[i].bit;
        if ((missing & features[i].bit) == 0)
            continue;
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? ", " : "", features[i].name);
    }
    if ((code->module.cpu_features & ~known) != 0)
        return error_set(
            err, HUSK_E_CPU,
            "the image needs CPU features that this version does not know (bits 0x%llx)",
            (unsigned long long)(code->module.cpu_features & ~known));
    if (missing != 0)
        return error_set(err, HUSK_E_CPU,
                         "this CPU lacks %s, which the image was compiled for; compile the module "
                         "here, or with --cpu x86-64-v2%s",
                         list, image->is_snapshot ? ", and take the snapshot again" : "");
    return 0;
}

/* None in the file: nothing is known yet. */
static int copy_hot_pages(husk_image *image, struct husk_error *err) {
    const struct image_code *code = image->code;
    if (code->hot_pages_count == 0)
        return 0;
    image->hot_gvas = calloc(code->hot_pages_count, sizeof *image->hot_gvas);
    if (image->hot_gvas == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the image's hot pages");
    memcpy(image->hot_gvas, code->hot_pages, code->hot_pages_count * sizeof *image->hot_gvas);
    image->hot_count = code->hot_pages_count;
    return 0;
}

/* Up to the end of the last segment of the private layer, which image_check() checks. */
static uint64_t files_bytes_of(const struct image_code *code) {
    uint64_t bytes = 0;
    for (uint32_t i = code->data_segments_count; i < code->segments_count; i++)
        if (husk_is_files_gva(code->segments[i].gva))
            bytes = code->segments[i].gva - HUSK_FILES_GVA + code->segments[i].mem_bytes;
    return bytes;
}

/* Of a new image: what its code's file says. */
static int image_fill(husk_image *image, struct husk_error *err) {
    const struct image_code *code = image->code;
    image->is_file = true;
    image->is_snapshot = (code->module.flags & HUSK_IMAGE_SNAPSHOT) != 0;
    image->flags = code->module.flags;
    image->memory_sizes = code->memory_sizes;
    image->table_sizes = code->table_sizes;
    image->host_state = code->host_state;
    image->host_state_count = code->host_state_count;
    image->segments = code->segments;
    image->segments_count = code->segments_count;
    image->data_segments_count = code->data_segments_count;
    image->files_bytes = files_bytes_of(code);
    image->standing = code->standing_count > 0 ? code->standing : NULL;
    image->standing_args = code->standing_args;
    int status = copy_hot_pages(image, err);
    return status != 0 ? status : image_runs_of_segments(image, err);
}

/* Nobody else has the image yet, so its code may be changed. */
static int image_open_steps(husk_image *image, bool verify, struct husk_error *err) {
    struct image_code *code = image->code;
    int status = image_read(code, err);
    if (status == 0)
        status = image_stage_check(code->file, err);
    if (status == 0 && verify) /* first: what damage there is, is called that */
        status = image_check_hash(code, err);
    if (status == 0)
        status = image_records_read(code, err);
    if (status == 0)
        status = image_fill(image, err);
    if (status == 0)
        status = image_check(image, err);
    if (status == 0) /* also without a hash: the layer's functions believe what was checked */
        status = image_check_files(image, err);
    if (status == 0)
        status = check_cpu(image, image->engine, err);
    if (status == 0)
        status = image_names_make(code, err);
    if (status == 0)
        status = map_readonly(code, err);
    if (status != 0)
        return status;
    code->data_excess_bytes = image_data_excess(code);
    image_find_restored(image, code);
    return 0;
}

/* Takes over the file, also on failure. */
static int image_open_file(husk_engine *engine, struct image_file *file,
                           const struct husk_open_options *options, husk_image **ret_image,
                           struct husk_error *err) {
    struct image_code *code = code_new(file);
    if (code == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for an image");
    husk_image *image = image_new(engine, code);
    code_unref(code);
    if (image == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for an image");
    image->serves_once = options->serves_once;
    int status = image_open_steps(image, !options->skips_hash, err);
    if (status != 0) {
        image_free(image);
        return status;
    }
    *ret_image = image;
    return 0;
}

int husk_image_open_fd(husk_engine *engine, int fd, const struct husk_open_options *options,
                       husk_image **ret_image, struct husk_error *err) {
    struct image_file *file;
    struct husk_open_options copy;
    if (ret_image == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_image_open_fd: a NULL argument");
    int status = open_options_read(options, &copy, err);
    if (status == 0)
        status = image_file_open(fd, &copy, &file, err);
    return status != 0 ? status : image_open_file(engine, file, &copy, ret_image, err);
}

int husk_image_open(husk_engine *engine, const char *path, const struct husk_open_options *options,
                    husk_image **ret_image, struct husk_error *err) {
    if (path == NULL || ret_image == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_image_open: a NULL argument");
    /* non-blocking: a FIFO is refused, not waited for */
    auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_sys(err, errno, "cannot open %s", path);
    int status = husk_image_open_fd(engine, fd, options, ret_image, err);
    return status != 0 ? error_while(err, status, "opening %s", path) : 0;
}

int husk_image_open_buffer(husk_engine *engine, struct husk_buffer buffer,
                           const struct husk_open_options *options, husk_image **ret_image,
                           struct husk_error *err) {
    struct image_file *file;
    struct husk_open_options copy;
    if (ret_image == NULL || (buffer.bytes == NULL && buffer.count != 0))
        return error_set(err, HUSK_E_INVAL, "husk_image_open_buffer: a NULL argument");
    int status = open_options_read(options, &copy, err);
    if (status == 0)
        status = image_file_from_bytes(buffer.bytes, buffer.count, &file, err);
    return status != 0 ? status : image_open_file(engine, file, &copy, ret_image, err);
}

int husk_image_set_engine(husk_image *image, husk_engine *engine, struct husk_error *err) {
    if (image == NULL || engine == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_image_set_engine: a NULL argument");
    if (image->engine != NULL)
        return error_set(err, HUSK_E_INVAL, "the image has an engine already");
    int status = check_cpu(image, engine, err);
    if (status == 0)
        image->engine = engine_ref(engine);
    return status;
}

husk_image *husk_image_ref(husk_image *image) {
    if (image != NULL)
        atomic_fetch_add_explicit(&image->refs, 1, memory_order_relaxed);
    return image;
}

void husk_image_unref(husk_image *image) {
    if (image != NULL && atomic_fetch_sub_explicit(&image->refs, 1, memory_order_acq_rel) == 1)
        image_free(image);
}

int image_check_keeps(const husk_image *image, struct husk_error *err) {
    if (image == NULL || !image->serves_once)
        return 0;
    return error_set(err, HUSK_E_STATE,
                     "the image was opened to serve once (husk_open_options.serves_once): its one "
                     "sandbox takes its contents over, and nobody else can have them");
}

/* Text or rodata: where it is mapped, and where its contents are in the file. */
struct readonly_part {
    const struct image_file *file;
    const uint8_t *hva;
    uint64_t offset, bytes;
};

/* Where `a` has data. */
static bool is_data_equal(const struct readonly_part *a, const struct readonly_part *b) {
    uint64_t from = a->offset, data, data_end;
    for (; image_file_next_data(a->file, from, a->offset + a->bytes, &data, &data_end);
         from = data_end)
        if (memcmp(a->hva + (data - a->offset), b->hva + (data - a->offset), data_end - data) != 0)
            return false;
    return true;
}

/* What is a hole in both is not looked at. */
static bool is_part_equal(const struct readonly_part *a, const struct readonly_part *b) {
    return a->bytes == b->bytes && is_data_equal(a, b) && is_data_equal(b, a);
}

static struct readonly_part text_of(const struct image_code *code) {
    return (struct readonly_part){code->file, code->ro_hva, code->text_offset,
                                  code->text_file_bytes};
}

static struct readonly_part rodata_of(const struct image_code *code) {
    const uint64_t distance = code->rodata_bytes != 0 ? code->rodata_gva - HUSK_TEXT_GVA : 0;
    return (struct readonly_part){code->file, code->ro_hva + distance, code->rodata_offset,
                                  code->rodata_file_bytes};
}

/* Not by the hashes in the notes: an image is not trusted to say what it is. */
static bool is_same_code(const struct image_code *a, const struct image_code *b) {
    const struct readonly_part text_a = text_of(a), text_b = text_of(b);
    const struct readonly_part rodata_a = rodata_of(a), rodata_b = rodata_of(b);
    return a->rodata_gva == b->rodata_gva && a->module.entry_gva == b->module.entry_gva &&
           a->module.resume_gva == b->module.resume_gva &&
           a->module.init_gva == b->module.init_gva &&
           a->module.init_thunk_gva == b->module.init_thunk_gva &&
           a->module.throw_gva == b->module.throw_gva &&
           a->module.exception_gva == b->module.exception_gva &&
           a->module.exception_values == b->module.exception_values &&
           a->module.exception_slots_gva == b->module.exception_slots_gva &&
           is_part_equal(&text_a, &text_b) && is_part_equal(&rodata_a, &rodata_b);
}

bool image_is_same_module(const husk_image *one, const husk_image *other) {
    const struct image_code *a = one->code, *b = other->code;
    if (a == b)
        return true;
    if (!is_same_code(a, b))
        return false;
    for (uint32_t i = HUSK_REC_STRINGS; i < HUSK_REC_MEMORY_SIZES; i++) {
        const struct image_rows *rows_a = &a->records[i], *rows_b = &b->records[i];
        if (rows_a->count != rows_b->count ||
            memcmp(rows_a->rows, rows_b->rows,
                   (size_t)rows_a->count * image_record_kinds[i].row_bytes) != 0)
            return false;
    }
    return true;
}
