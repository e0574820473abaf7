/*
 * tests/kvm/snapshots/serves_once_test.c: an image whose contents its one sandbox takes over
 * (husk_open_options.serves_once): the contents are those of the file, where they lie in large
 * pages and beside them, whatever becomes of the file; and nobody gets them a second time.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault_wraps.h"
#include "file.h"
#include "harness.h"
#include "image_builder.h"
#include "image_internal.h"
#include "literals.h"
#include "wat.h"

#define MIB (1u << 20)

static const struct husk_open_options once = {.size = sizeof once, .serves_once = true};
static const struct husk_open_options once_unhashed = {
    .size = sizeof once_unhashed, .serves_once = true, .skips_hash = true};

/* Memory of 9 MiB and 64 KiB. "fill" writes i * 0x9e3779b9 + 1 at the words i of [from, to), "sum"
 * adds all words up, weighted by their place. */
static const char module_text[] =
    "(module (memory (export \"memory\") 145 400)"
    " (func (export \"fill\") (param i32 i32)"
    "  (loop (i32.store (local.get 0)"
    "    (i32.add (i32.mul (i32.shr_u (local.get 0) (i32.const 2)) (i32.const 0x9e3779b9))"
    "             (i32.const 1)))"
    "   (local.set 0 (i32.add (local.get 0) (i32.const 4)))"
    "   (br_if 0 (i32.lt_u (local.get 0) (local.get 1)))))"
    " (func (export \"sum\") (param i32) (result i32) (local i32 i32)"
    "  (loop (local.set 2 (i32.add (i32.mul (local.get 2) (i32.const 31))"
    "                              (i32.load (local.get 1))))"
    "   (local.set 1 (i32.add (local.get 1) (i32.const 4)))"
    "   (br_if 0 (i32.lt_u (local.get 1) (i32.mul (memory.size) (i32.const 65536)))))"
    "  (local.get 2))"
    " (func (export \"poke\") (param i32) (result i32)"
    "  (i32.store8 (local.get 0) (i32.const 77)) (i32.load8_u (local.get 0)))"
    " (func (export \"grow\") (param i32) (result i32) (memory.grow (local.get 0))))";

struct saved {
    struct wat_lab lab;
    char path[64];
    int64_t sum;
};

/* A snapshot in a file, with contents in [from, to). */
static void saved_make(struct saved *saved, uint32_t from, uint32_t to) {
    husk_image *snapshot = NULL;
    struct wat_lab *lab = &saved->lab;
    struct husk_value args[2] = {{.type = HUSK_I32, .of.i32 = (int32_t)from},
                                 {.type = HUSK_I32, .of.i32 = (int32_t)to}};
    strcpy(saved->path, "/tmp/husk-once-XXXXXX");
    int fd = mkostemp(saved->path, O_CLOEXEC);
    CHECK(fd >= 0 && close(fd) == 0);
    wat_lab_init(lab);
    wat_lab_open(lab, module_text, NULL);
    struct husk_call fill = HUSK_CALL_INIT;
    fill.name = "fill";
    fill.args = args;
    fill.args_count = 2;
    CHECK_OK(husk_call(lab->sandbox, &fill, &lab->outcome, &lab->err), lab->err);
    CHECK_EQ_U64(lab->outcome.kind, HUSK_RETURNED);
    saved->sum = wat_call_i32(lab, "sum", 0);
    CHECK_OK(husk_sandbox_snapshot(lab->sandbox, &snapshot, &lab->err), lab->err);
    CHECK_OK(husk_image_save(snapshot, saved->path, &lab->err), lab->err);
    husk_image_unref(snapshot);
    husk_sandbox_free(lab->sandbox);
    lab->sandbox = NULL;
}

static void saved_done(struct saved *saved) {
    unlink(saved->path);
    wat_lab_close(&saved->lab);
}

static husk_image *open_once(struct saved *saved, const struct husk_open_options *options) {
    husk_image *image = NULL;
    struct wat_lab *lab = &saved->lab;
    CHECK_OK(husk_image_open(lab->engine, saved->path, options, &image, &lab->err), lab->err);
    return image;
}

static void check_contents(struct saved *saved, husk_image *image,
                           const struct husk_sandbox_options *options) {
    struct wat_lab *lab = &saved->lab;
    CHECK_OK(husk_sandbox_new(image, NULL, options, &lab->sandbox, &lab->err), lab->err);
    CHECK_EQ_I64(wat_call_i32(lab, "sum", 0), saved->sum);
    CHECK_EQ_I64(wat_call_i32(lab, "poke", 5 * MIB), 77);
    CHECK_EQ_I64(wat_call_i32(lab, "grow", 40), 145);
    CHECK_EQ_I64(wat_call_i32(lab, "poke", 11 * MIB), 77);
    husk_sandbox_free(lab->sandbox);
    lab->sandbox = NULL;
}

/* Where the contents begin and end: within a large page, at one, up to the memory's end; and too
 * few of them. */
TEST(contents_are_those_of_the_file) {
    SKIP_WITHOUT_COMPILER();
    static const uint32_t parts[][2] = {{0, 9 * MIB + 65536},
                                        {2 * MIB, 8 * MIB},
                                        {3 * MIB + 4096, 6 * MIB + 8192},
                                        {8 * MIB + 4096, 9 * MIB + 65536},
                                        {MIB, MIB + 65536}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        for (uint32_t large = 0; large <= HUSK_LARGE_PAGES_CONTENTS; large++) {
            struct saved saved;
            struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
            saved_make(&saved, parts[i][0], parts[i][1]);
            options.large_pages = large;
            husk_image *image = open_once(&saved, large % 2 == 0 ? &once : &once_unhashed);
            CHECK((image->code->file->stage != NULL) == (i != 4));
            check_contents(&saved, image, &options);
            husk_image_unref(image);
            saved_done(&saved);
        }
}

static uint8_t *file_bytes(const char *path, size_t *ret_count) {
    uint8_t *bytes = NULL;
    struct husk_error err;
    CHECK_OK(file_read(path, 64 * MIB, &bytes, ret_count, &err), err);
    return bytes;
}

/* Pages of zeros, which are holes of the file: some, and nearly all. */
TEST(holes) {
    SKIP_WITHOUT_COMPILER();
    for (int is_sparse = 0; is_sparse < 2; is_sparse++)
        for (int i = 0; i < 2; i++) {
            struct saved saved;
            size_t count = 0;
            husk_image *ordinary = NULL;
            saved_make(&saved, 64 * 1024, 9 * MIB);
            uint8_t *bytes = file_bytes(saved.path, &count);
            for (size_t at = 2 * MIB; at + MIB < count; at += MIB) /* whole pages, mostly */
                memset(bytes + at, 0, is_sparse ? MIB - 4096 : 3 * 65536);
            image_hash_again(bytes, count);
            int fd = open(saved.path, O_WRONLY | O_TRUNC | O_CLOEXEC);
            CHECK(fd >= 0 && ftruncate(fd, (off_t)count) == 0);
            for (size_t at = 0; at < count; at += 4096) {
                const size_t part = count - at < 4096 ? count - at : 4096;
                static const uint8_t zeros[4096];
                if (memcmp(bytes + at, zeros, part) != 0)
                    CHECK(pwrite(fd, bytes + at, part, (off_t)at) == (ssize_t)part);
            }
            close(fd);
            free(bytes);
            struct wat_lab *lab = &saved.lab;
            CHECK_OK(husk_image_open(lab->engine, saved.path, NULL, &ordinary, &lab->err),
                     lab->err);
            CHECK_OK(husk_sandbox_new(ordinary, NULL, NULL, &lab->sandbox, &lab->err), lab->err);
            saved.sum = wat_call_i32(lab, "sum", 0);
            husk_sandbox_free(lab->sandbox);
            husk_image *image = open_once(&saved, i == 0 ? &once : &once_unhashed);
            CHECK((image->code->file->stage != NULL) == !is_sparse);
            CHECK_EQ_U64(image->code->data_excess_bytes, ordinary->code->data_excess_bytes);
            check_contents(&saved, image, NULL);
            husk_image_unref(ordinary);
            husk_image_unref(image);
            saved_done(&saved);
        }
}

TEST(the_file_changes_afterwards) {
    SKIP_WITHOUT_COMPILER();
    struct saved saved;
    saved_make(&saved, 0, 9 * MIB + 65536);
    husk_image *image = open_once(&saved, &once);
    struct wat_lab *lab = &saved.lab;
    CHECK(truncate(saved.path, 0) == 0);
    CHECK_OK(husk_sandbox_new(image, NULL, NULL, &lab->sandbox, &lab->err), lab->err);
    husk_image_unref(image); /* the sandbox has what it needs */
    CHECK_EQ_I64(wat_call_i32(lab, "sum", 0), saved.sum);
    saved_done(&saved);
}

/* All that would need the contents again. The sandbox goes on as it was. */
TEST(nobody_has_them_a_second_time) {
    SKIP_WITHOUT_COMPILER();
    struct saved saved;
    struct wat_lab *lab = &saved.lab;
    husk_sandbox *other = NULL;
    husk_image *snapshot = NULL;
    saved_make(&saved, 0, 9 * MIB);
    husk_image *image = open_once(&saved, &once);
    CHECK_STATUS(husk_sandbox_prepare(image, NULL, NULL, 1, &lab->err), HUSK_E_STATE);
    CHECK_STATUS(husk_image_save(image, saved.path, &lab->err), HUSK_E_STATE);
    CHECK_CONTAINS(lab->err.message, "serves_once");
    CHECK_OK(husk_sandbox_new(image, NULL, NULL, &lab->sandbox, &lab->err), lab->err);
    CHECK_STATUS(husk_sandbox_new(image, NULL, NULL, &other, &lab->err), HUSK_E_STATE);
    CHECK_STATUS(husk_sandbox_restore(lab->sandbox, image, &lab->err), HUSK_E_STATE);
    CHECK_STATUS(husk_sandbox_snapshot(lab->sandbox, &snapshot, &lab->err), HUSK_E_STATE);
    CHECK_STATUS(husk_sandbox_clone(lab->sandbox, &other, &lab->err), HUSK_E_STATE);
    CHECK_STATUS(husk_sandbox_load(lab->sandbox, lab->image, NULL, &lab->err), HUSK_E_STATE);
    CHECK_STATUS(husk_image_save_fd(image, STDOUT_FILENO, &lab->err), HUSK_E_STATE);
    CHECK_EQ_I64(wat_call_i32(lab, "sum", 0), saved.sum);
    CHECK_EQ_I64(wat_call_i32(lab, "grow", 10), 145); /* then the sizes differ */
    CHECK_STATUS(husk_sandbox_restore(lab->sandbox, image, &lab->err), HUSK_E_STATE);
    CHECK_OK(husk_sandbox_park(lab->sandbox, &lab->err), lab->err);
    CHECK_EQ_I64(wat_call_i32(lab, "poke", 3 * MIB), 77);
    CHECK_OK(husk_sandbox_unload(lab->sandbox, &lab->err), lab->err);
    CHECK_STATUS(husk_sandbox_load(lab->sandbox, image, NULL, &lab->err), HUSK_E_STATE);
    CHECK_STATUS(husk_sandbox_load(lab->sandbox, lab->image, NULL, &lab->err), HUSK_E_STATE);
    husk_sandbox_free(lab->sandbox); /* its machine is of no use to others */
    CHECK_OK(husk_sandbox_new(lab->image, NULL, NULL, &lab->sandbox, &lab->err), lab->err);
    CHECK_EQ_I64(wat_call_i32(lab, "sum", 0), 0);
    husk_image_unref(image);
    saved_done(&saved);
}

/* A machine of the pool, and a sandbox that had another image, get it as a new one does. */
TEST(used_machines) {
    SKIP_WITHOUT_COMPILER();
    struct saved saved;
    struct wat_lab *lab = &saved.lab;
    saved_make(&saved, MIB, 9 * MIB); /* it leaves a machine in the pool */
    husk_image *image = open_once(&saved, &once);
    check_contents(&saved, image, NULL);
    husk_image_unref(image);
    CHECK_OK(husk_sandbox_new(lab->image, NULL, NULL, &lab->sandbox, &lab->err), lab->err);
    CHECK_EQ_I64(wat_call_i32(lab, "poke", 2 * MIB), 77);
    image = open_once(&saved, &once_unhashed);
    CHECK_OK(husk_sandbox_load(lab->sandbox, image, NULL, &lab->err), lab->err);
    CHECK_EQ_I64(wat_call_i32(lab, "sum", 0), saved.sum);
    CHECK_STATUS(husk_sandbox_restore(lab->sandbox, image, &lab->err), HUSK_E_STATE);
    husk_image_unref(image);
    saved_done(&saved);
}

static void file_set(const char *path, const uint8_t *bytes, size_t count) {
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    CHECK(fd >= 0 && file_write_all(fd, bytes, count) == 0 && close(fd) == 0);
}

TEST(damage_is_found) {
    SKIP_WITHOUT_COMPILER();
    struct saved saved;
    size_t count;
    saved_make(&saved, 0, 4 * MIB);
    uint8_t *bytes = file_bytes(saved.path, &count);
    for (size_t at = 0; at < count; at += 390001) {
        husk_image *image = NULL;
        bytes[at] ^= 4;
        file_set(saved.path, bytes, count);
        CHECK(husk_image_open(NULL, saved.path, &once, &image, &saved.lab.err) != 0);
        bytes[at] ^= 4;
    }
    file_set(saved.path, bytes, count - 1);
    husk_image *image = NULL;
    CHECK_STATUS(husk_image_open(NULL, saved.path, &once, &image, &saved.lab.err),
                 HUSK_E_BAD_IMAGE);
    free(bytes);
    saved_done(&saved);
}

/* Program headers that let another segment have the same bytes of the file, or the note, or lie in
 * the same large page: such contents are not taken over, and the image is what it is without. */
TEST(contents_that_are_not_alone) {
    SKIP_WITHOUT_COMPILER();
    struct saved saved;
    size_t count;
    saved_make(&saved, MIB, 4 * MIB);
    uint8_t *bytes = file_bytes(saved.path, &count);
    Elf64_Ehdr header;
    memcpy(&header, bytes, sizeof header);
    Elf64_Phdr *const phs = (Elf64_Phdr *)(void *)(bytes + header.e_phoff);
    Elf64_Phdr *large = NULL, *data = NULL;
    for (int i = 0; i < header.e_phnum; i++) {
        if (phs[i].p_type == PT_LOAD && phs[i].p_filesz >= MIB)
            large = &phs[i];
        else if (phs[i].p_type == PT_LOAD && phs[i].p_flags == (PF_R | PF_W) &&
                 phs[i].p_filesz != 0)
            data = &phs[i];
    }
    CHECK(large != NULL && data != NULL);
    for (int i = 0; i < 2; i++) {
        husk_image *ordinary = NULL, *image = NULL;
        const Elf64_Off kept = data->p_offset;
        data->p_offset = i == 0 ? large->p_offset : large->p_offset + large->p_filesz - 4096;
        file_set(saved.path, bytes, count);
        const int expected =
            husk_image_open(saved.lab.engine, saved.path, SKIP_HASH, &ordinary, &saved.lab.err);
        CHECK_STATUS(
            husk_image_open(saved.lab.engine, saved.path, &once_unhashed, &image, &saved.lab.err),
            expected);
        CHECK(image == NULL || image->code->file->stage == NULL);
        husk_image_unref(ordinary);
        husk_image_unref(image);
        data->p_offset = kept;
    }
    free(bytes);
    saved_done(&saved);
}

/* As if the program headers had become others between the first look and the copy. */
TEST(another_file_than_it_was) {
    SKIP_WITHOUT_COMPILER();
    struct saved saved;
    saved_make(&saved, MIB, 4 * MIB);
    husk_image *image = open_once(&saved, &once);
    struct image_file *stage = image->code->file->stage;
    CHECK_OK(image_stage_check(image->code->file, &saved.lab.err), saved.lab.err);
    stage->stage_offset += 4096;
    CHECK_STATUS(image_stage_check(image->code->file, &saved.lab.err), HUSK_E_BAD_IMAGE);
    stage->stage_offset -= 4096;
    stage->count -= 4096;
    CHECK_STATUS(image_stage_check(image->code->file, &saved.lab.err), HUSK_E_BAD_IMAGE);
    stage->count += 4096;
    husk_image_unref(image);
    saved_done(&saved);
}

/* ---- Failures ---- */

/* Opens the file, makes a sandbox, and looks at its contents, while the n-th operation of one of
 * the two fails. Returns the status of that step. */
static int try_step(struct saved *saved, bool is_opening, unsigned nth, bool *ret_has_fired) {
    husk_image *image = NULL;
    struct wat_lab *lab = &saved->lab;
    if (is_opening)
        fault_arm(FAULT_ONCE, nth, NULL);
    int status = husk_image_open(lab->engine, saved->path, &once, &image, &lab->err);
    if (!is_opening && status == 0) {
        fault_arm(FAULT_ONCE, nth, NULL);
        status = husk_sandbox_new(image, NULL, NULL, &lab->sandbox, &lab->err);
    }
    *ret_has_fired = fault_has_fired();
    fault_disarm();
    if (status == 0 && is_opening)
        check_contents(saved, image, NULL);
    else if (status == 0)
        CHECK_EQ_I64(wat_call_i32(lab, "sum", 0), saved->sum);
    husk_sandbox_free(lab->sandbox);
    lab->sandbox = NULL;
    husk_image_unref(image);
    husk_engine_trim(lab->engine, 0);
    return status;
}

TEST(each_operation_may_fail) {
    SKIP_WITHOUT_COMPILER();
    struct saved saved;
    saved_make(&saved, 64 * 1024, 9 * MIB);
    for (int is_opening = 0; is_opening < 2; is_opening++) {
        bool has_fired = true;
        unsigned nth = 1, failures = 0;
        CHECK_EQ_I64(try_step(&saved, is_opening, FAULT_NEVER, &has_fired), 0);
        for (has_fired = true; has_fired; nth++) {
            const long blocks = fault_live_blocks(), mapped = fault_live_mapped();
            failures += try_step(&saved, is_opening, nth, &has_fired) != 0;
            CHECK_EQ_I64(fault_live_mapped(), mapped);
            CHECK_EQ_I64(fault_live_blocks(), blocks);
        }
        CHECK(nth > 10 && failures > 5);
    }
    saved_done(&saved);
}

/* By kernels that cannot move pages and leave their place mapped, they are copied. */
TEST(pages_that_cannot_move) {
    SKIP_WITHOUT_COMPILER();
    static const uint32_t parts[][2] = {{0, 9 * MIB + 65536}, {3 * MIB + 4096, 6 * MIB + 8192}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        struct saved saved;
        saved_make(&saved, parts[i][0], parts[i][1]);
        husk_image *image = open_once(&saved, &once);
        fault_arm(FAULT_EVER, 1, "mremap");
        check_contents(&saved, image, NULL);
        CHECK(fault_has_fired());
        fault_disarm();
        husk_image_unref(image);
        saved_done(&saved);
    }
}

/* ---- What a sandbox does with them ---- */

/* A memory image of contents that were taken over, mapped elsewhere among them. */
TEST(memory_images) {
    SKIP_WITHOUT_COMPILER();
    struct saved saved;
    struct wat_lab *lab = &saved.lab;
    husk_memory_image *part = NULL;
    const struct husk_range from = {.addr = MIB, .count = 3 * MIB};
    const struct husk_range to = {.addr = 5 * MIB + 4096, .count = 3 * MIB};
    saved_make(&saved, 0, 9 * MIB);
    husk_image *image = open_once(&saved, &once);
    CHECK_OK(husk_sandbox_new(image, NULL, NULL, &lab->sandbox, &lab->err), lab->err);
    CHECK_OK(husk_memory_image_new(lab->sandbox, &from, &part, &lab->err), lab->err);
    CHECK_EQ_I64(wat_call_i32(lab, "sum", 0), saved.sum);
    CHECK_OK(husk_memory_image_map(lab->sandbox, &to, part, 0, &lab->err), lab->err);
    uint8_t there[64], here[64];
    CHECK_OK(husk_memory_read(lab->sandbox, &(struct husk_range){.addr = MIB + 8192, .count = 64},
                              there, &lab->err),
             lab->err);
    CHECK_OK(husk_memory_read(lab->sandbox,
                              &(struct husk_range){.addr = 5 * MIB + 4096 + 8192, .count = 64},
                              here, &lab->err),
             lab->err);
    CHECK_MEM(there, here, sizeof there);
    CHECK_EQ_I64(wat_call_i32(lab, "poke", 6 * MIB), 77);
    CHECK_STATUS(husk_sandbox_restore(lab->sandbox, image, &lab->err), HUSK_E_STATE);
    CHECK_EQ_I64(wat_call_i32(lab, "poke", 6 * MIB), 77);
    husk_memory_image_unref(part);
    husk_image_unref(image);
    saved_done(&saved);
}

static int ask_later(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    struct husk_error err;
    husk_image *snapshot = NULL;
    int *const calls = user;
    if (++*calls == 1)
        return husk_caller_pending(caller);
    if (*calls == 3) /* in the sandbox that took them over */
        CHECK_STATUS(husk_caller_snapshot(caller, &snapshot, &err), HUSK_E_STATE);
    results[0].of.i32 = args[0].of.i32 + 1;
    return 0;
}

static const char standing_module[] =
    "(module (import \"env\" \"ask\" (func $ask (param i32) (result i32)))"
    " (memory (export \"memory\") 80)"
    " (func $sum (param $at i32) (result i32) (local $sum i32)"
    "  (loop (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31))"
    "                                 (i32.load (local.get $at))))"
    "   (br_if 0 (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4)))"
    "                      (i32.const 5242880))))"
    "  (local.get $sum))"
    " (func (export \"run\") (result i32) (local $at i32)"
    "  (loop (i32.store (local.get $at) (i32.mul (local.get $at) (i32.const 77)))"
    "   (br_if 0 (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4)))"
    "                      (i32.const 5000000))))"
    "  (i32.add (call $ask (i32.const 41)) (call $sum (i32.const 0))))"
    " (func (export \"sum\") (result i32) (call $sum (i32.const 0))))";

/* A call in the middle goes on once. While it is pending, and inside its host function, there are
 * no snapshots and no clones. */
TEST(a_call_in_the_middle) {
    SKIP_WITHOUT_COMPILER();
    struct saved saved;
    struct wat_lab *lab = &saved.lab;
    husk_image *snapshot = NULL, *image;
    husk_sandbox *other = NULL;
    int calls = 0;
    strcpy(saved.path, "/tmp/husk-once-XXXXXX");
    int fd = mkostemp(saved.path, O_CLOEXEC);
    CHECK(fd >= 0 && close(fd) == 0);
    wat_lab_init(lab);
    wat_lab_func(lab, "ask", "i>i", ask_later, &calls);
    wat_lab_open(lab, standing_module, NULL);
    CHECK_OK(wat_call(lab, "run", NULL, 0, &(struct husk_value){0}, 1), lab->err);
    CHECK_EQ_U64(lab->outcome.kind, HUSK_PENDING);
    CHECK_OK(husk_sandbox_snapshot(lab->sandbox, &snapshot, &lab->err), lab->err);
    CHECK_OK(husk_image_save(snapshot, saved.path, &lab->err), lab->err);
    const int32_t expected = wat_again(lab, lab->sandbox, HUSK_RETURNED);
    husk_image_unref(snapshot);
    husk_sandbox_free(lab->sandbox);
    image = open_once(&saved, &once);
    CHECK(image->code->file->stage != NULL);
    CHECK_OK(husk_sandbox_new(image, lab->imports, NULL, &lab->sandbox, &lab->err), lab->err);
    CHECK_STATUS(husk_sandbox_snapshot(lab->sandbox, &snapshot, &lab->err), HUSK_E_STATE);
    CHECK_STATUS(husk_sandbox_clone(lab->sandbox, &other, &lab->err), HUSK_E_STATE);
    CHECK_OK(husk_sandbox_park(lab->sandbox, &lab->err), lab->err);
    CHECK_EQ_I64(wat_again(lab, lab->sandbox, HUSK_RETURNED), expected);
    CHECK_EQ_I64(calls, 3);
    husk_image_unref(image);
    saved_done(&saved);
}

TEST(a_call_that_was_cut_off) {
    SKIP_WITHOUT_COMPILER();
    struct saved saved;
    struct wat_lab *lab = &saved.lab;
    saved_make(&saved, 0, 9 * MIB);
    husk_image *image = open_once(&saved, &once);
    CHECK_OK(husk_sandbox_new(image, NULL, NULL, &lab->sandbox, &lab->err), lab->err);
    const struct husk_value far = value_i32(-1);
    CHECK_OK(wat_call(lab, "poke", &far, 1, &(struct husk_value){0}, 1), lab->err);
    CHECK_EQ_U64(lab->outcome.kind, HUSK_TRAPPED);
    CHECK_EQ_I64(wat_call_i32(lab, "sum", 0), saved.sum);
    husk_interrupt(lab->sandbox);
    CHECK_OK(wat_call(lab, "poke", &far, 1, &(struct husk_value){0}, 1), lab->err);
    CHECK_EQ_U64(lab->outcome.kind, HUSK_INTERRUPTED);
    CHECK_STATUS(husk_sandbox_restore(lab->sandbox, image, &lab->err), HUSK_E_STATE);
    CHECK_OK(husk_sandbox_unload(lab->sandbox, &lab->err), lab->err);
    CHECK_STATUS(husk_sandbox_load(lab->sandbox, lab->image, NULL, &lab->err), HUSK_E_STATE);
    husk_image_unref(image);
    saved_done(&saved);
}

TEST_MAIN()
