/*
 * tests/kvm/snapshots/load_test.c: every way to load uses one state machine. Restores are deferred
 * and done exactly once. Saved snapshots are ordinary images, in another process, too.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "harness.h"
#include "state_guest.h"
#include "wat.h"
#include "literals.h"

static uint64_t restores(const struct state_lab *lab) {
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(lab->engine, &stats);
    return stats.restores;
}

static uint64_t vms(const struct state_lab *lab) {
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(lab->engine, &stats);
    return stats.vms_made;
}

static void write_file(const char *path, const void *bytes, size_t count) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && file_write_all(fd, bytes, count) == 0);
    close(fd);
}

static uint8_t *module_bytes(size_t *ret_count) {
    struct stat st;
    CHECK(fstat(state_image_fd(), &st) == 0);
    uint8_t *bytes = malloc((size_t)st.st_size);
    CHECK(bytes != NULL);
    CHECK(pread(state_image_fd(), bytes, (size_t)st.st_size, 0) == st.st_size);
    *ret_count = (size_t)st.st_size;
    return bytes;
}

struct scratch {
    char dir[64], path[96];
};

static void scratch_open(struct scratch *scratch) {
    strcpy(scratch->dir, "/tmp/husk-test-XXXXXX");
    CHECK(mkdtemp(scratch->dir) != NULL);
    snprintf(scratch->path, sizeof scratch->path, "%s/saved.husk", scratch->dir);
}

static void scratch_close(struct scratch *scratch) {
    unlink(scratch->path);
    CHECK(rmdir(scratch->dir) == 0); /* no temporary file was left */
}

/* ---- Exactly once, for every way to load ---- */

enum way { WAY_PATH, WAY_BUFFER, WAY_FD, WAY_OPENED, WAY_SNAPSHOT, WAY_SAVED, WAY_COUNT };

static husk_image *open_by(struct state_lab *lab, enum way way, const char *path) {
    husk_image *image = NULL;
    size_t count;
    if (way == WAY_OPENED)
        return husk_image_ref(lab->image);
    if (way == WAY_SNAPSHOT) {
        CHECK_OK(husk_sandbox_snapshot(lab->sandbox, &image, &lab->err), lab->err);
        return image;
    }
    if (way == WAY_FD)
        return state_image(lab->engine);
    uint8_t *bytes = module_bytes(&count);
    if (way == WAY_BUFFER) {
        CHECK_OK(husk_image_open_buffer(lab->engine, (struct husk_buffer){bytes, count}, NULL,
                                        &image, &lab->err),
                 lab->err);
    } else if (way == WAY_PATH) {
        write_file(path, bytes, count);
        CHECK_OK(husk_image_open(lab->engine, path, NULL, &image, &lab->err), lab->err);
    } else {
        husk_image *snapshot = NULL;
        CHECK_OK(husk_sandbox_snapshot(lab->sandbox, &snapshot, &lab->err), lab->err);
        CHECK_OK(husk_image_save(snapshot, path, &lab->err), lab->err);
        husk_image_unref(snapshot);
        CHECK_OK(husk_image_open(lab->engine, path, NULL, &image, &lab->err), lab->err);
    }
    free(bytes);
    return image;
}

static const char *const way_names[] = {"a path",          "a buffer",   "a descriptor",
                                        "an opened image", "a snapshot", "a saved snapshot"};

/* Restores, loads of all kinds, and unloads since `before`. */
static void check_counts(const struct state_lab *lab, const struct husk_stats *before, enum way way,
                         uint64_t restores_count, uint64_t loads_count, uint64_t unloads_count) {
    struct husk_stats now = HUSK_STATS_INIT;
    husk_engine_stats(lab->engine, &now);
    const uint64_t loads = now.loads_in_place + now.loads_rebuilt + now.loads_new_vm -
                           before->loads_in_place - before->loads_rebuilt - before->loads_new_vm;
    CHECK_MSG(now.restores - before->restores == restores_count,
              "%s: %" PRIu64 " restores, not %" PRIu64, way_names[way],
              now.restores - before->restores, restores_count);
    CHECK_MSG(loads == loads_count, "%s: %" PRIu64 " loads, not %" PRIu64, way_names[way], loads,
              loads_count);
    CHECK_MSG(now.unloads - before->unloads == unloads_count,
              "%s: %" PRIu64 " unloads, not %" PRIu64, way_names[way],
              now.unloads - before->unloads, unloads_count);
    const bool is_snapshot = way == WAY_SNAPSHOT || way == WAY_SAVED;
    CHECK_EQ_U64(now.loads_from_snapshot - before->loads_from_snapshot,
                 is_snapshot ? loads_count : 0);
    CHECK_EQ_U64(now.restore_failures, 0);
}

static void load(struct state_lab *lab, husk_image *image) {
    CHECK_OK(husk_sandbox_load(lab->sandbox, image, lab->imports, &lab->err), lab->err);
    CHECK_EQ_I64(STATE_CALL(lab, "load", 100), 0x6c6c6568);
    STATE_CALL(lab, "store", 100, 1);
}

static void unload(struct state_lab *lab) {
    CHECK_OK(husk_sandbox_unload(lab->sandbox, &lab->err), lab->err);
}

/* The sandbox was used; then it is unloaded and loaded, loaded over, unloaded twice, freed. */
static void check_used(struct state_lab *lab, enum way way, husk_image *image) {
    struct husk_stats before = HUSK_STATS_INIT;
    STATE_CALL(lab, "store", 100, 1);
    husk_engine_stats(lab->engine, &before);
    unload(lab);
    check_counts(lab, &before, way, 0, 0, 1); /* put off */
    load(lab, image);
    check_counts(lab, &before, way, 1, 1, 1);
    load(lab, image); /* unloads by itself */
    check_counts(lab, &before, way, 2, 2, 2);
    unload(lab);
    unload(lab);
    load(lab, image);
    check_counts(lab, &before, way, 3, 3, 3);
    unload(lab);
    husk_sandbox_free(lab->sandbox);
    lab->sandbox = NULL;
    check_counts(lab, &before, way, 3, 3, 4);
}

/* A first load restores nothing, into an empty sandbox neither; what was loaded and is freed is
 * restored by whoever takes it out of the pool, if there is one. */
static void check_fresh(struct state_lab *lab, enum way way, husk_image *image, bool has_pool) {
    struct husk_stats before = HUSK_STATS_INIT;
    husk_engine_trim(lab->engine, 0);
    husk_engine_stats(lab->engine, &before);
    lab->sandbox = state_sandbox(lab, image);
    STATE_CALL(lab, "store", 100, 1);
    check_counts(lab, &before, way, 0, 1, 0);
    husk_sandbox_free(lab->sandbox);
    check_counts(lab, &before, way, 0, 1, 1);
    lab->sandbox = state_sandbox(lab, image);
    CHECK_EQ_I64(STATE_CALL(lab, "load", 100), 0x6c6c6568);
    check_counts(lab, &before, way, has_pool, 2, 1);
    husk_sandbox_free(lab->sandbox);
    husk_engine_trim(lab->engine, 0);
    lab->sandbox = state_sandbox(lab, NULL);
    load(lab, image);
    check_counts(lab, &before, way, has_pool, 3, 2);
}

TEST(restores_once_however_it_is_loaded) {
    SKIP_WITHOUT_COMPILER();
    struct scratch scratch;
    scratch_open(&scratch);
    for (int round = 0; round < 2 * WAY_COUNT; round++) {
        const enum way way = (enum way)(round % WAY_COUNT);
        struct state_lab lab;
        struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
        options.pool_max = round < WAY_COUNT ? -1 : 1;
        state_open_with(&lab, &options, NULL, NULL);
        husk_image *image = open_by(&lab, way, scratch.path);
        CHECK_EQ_U64(husk_image_is_snapshot(image), way == WAY_SNAPSHOT || way == WAY_SAVED);
        check_used(&lab, way, image);
        CHECK_EQ_U64(vms(&lab), 1);
        check_fresh(&lab, way, image, options.pool_max > 0);
        STATE_CALL(&lab, "store", 4, 5);
        uint64_t before = restores(&lab); /* from there to what was opened first */
        unload(&lab);
        load(&lab, lab.image);
        CHECK_EQ_U64(restores(&lab), before + 1);
        husk_image_unref(image);
        state_close(&lab);
    }
    scratch_close(&scratch);
}

TEST(an_empty_sandbox_can_be_loaded) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    husk_sandbox *empty = state_sandbox(&lab, NULL);
    CHECK_STATUS(husk_call(empty, CALL(.name = "size"), &lab.outcome, &lab.err), HUSK_E_STATE);
    CHECK_EQ_U64(husk_memory_bytes(empty, 0), 0);
    void *span;
    struct husk_value value;
    CHECK(husk_memory_span(empty, RANGE(.count = 1), &span, &lab.err) < 0);
    CHECK(husk_global_get(empty, "g", 0, &value, &lab.err) < 0);
    CHECK_STATUS(husk_sandbox_start(empty, NULL, &lab.outcome, &lab.err), HUSK_E_STATE);
    CHECK_OK(husk_sandbox_unload(empty, &lab.err), lab.err);
    CHECK_STATUS(husk_sandbox_load(empty, NULL, lab.imports, &lab.err), HUSK_E_INVAL);
    CHECK_STATUS(husk_sandbox_load(empty, lab.image, NULL, &lab.err), HUSK_E_LINK);
    CHECK_OK(husk_sandbox_load(empty, lab.image, lab.imports, &lab.err), lab.err);
    CHECK_EQ_I64(STATE_CALL_ON(&lab, empty, "size"), 2);
    CHECK_OK(husk_sandbox_unload(empty, &lab.err), lab.err);
    CHECK_STATUS(husk_call(empty, CALL(.name = "size"), &lab.outcome, &lab.err), HUSK_E_STATE);
    husk_sandbox_free(empty);
    empty = state_sandbox(&lab, NULL);
    husk_sandbox_free(empty); /* never loaded */
    state_close(&lab);
}

static const char other_text[] =
    "(module (memory (export \"memory\") 3 5) (data (i32.const 70000) \"other\")"
    " (global $g (mut i32) (i32.const 5)) (table 20 funcref)"
    " (func (export \"get\") (param i32) (result i32) local.get 0 i32.load)"
    " (func (export \"put\") (param i32 i32) local.get 0 local.get 1 i32.store)"
    " (func (export \"count\") (result i32) global.get $g i32.const 1 i32.add global.set $g "
    "global.get $g))";

static int32_t call_other(struct state_lab *lab, husk_sandbox *sandbox, const char *name,
                          int32_t argument, size_t count) {
    struct husk_value arg = value_i32(argument), result = value_i32(0);
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = name, .args = &arg, .args_count = count, .results = &result,
                            .results_count = 1),
                       &lab->outcome, &lab->err),
             lab->err);
    CHECK_MSG(lab->outcome.kind == HUSK_RETURNED, "%s: %s", name, lab->outcome.message);
    return result.of.i32;
}

TEST(another_module_in_the_same_vm) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    husk_image *other = wat_image_with(lab.engine, other_text, WAT_WORKER);
    uint64_t vms_before = vms(&lab);
    for (int round = 0; round < 20; round++) {
        STATE_CALL(&lab, "fill", 0, 0x77, 2 * 65536);
        STATE_CALL(&lab, "grow", 3);
        STATE_CALL(&lab, "fill", 2 * 65536, 0x78, 3 * 65536);
        CHECK_OK(husk_sandbox_load(lab.sandbox, other, NULL, &lab.err), lab.err);
        CHECK_EQ_U64(husk_memory_bytes(lab.sandbox, 0), 3 * 65536);
        for (int32_t address = 0; address < 3 * 65536; address += 2048)
            CHECK_EQ_I64(call_other(&lab, lab.sandbox, "get", address, 1), 0);
        CHECK_EQ_I64(call_other(&lab, lab.sandbox, "get", 70000, 1), 0x6568746f);
        CHECK_EQ_I64(call_other(&lab, lab.sandbox, "count", 0, 0), 6);
        CHECK_EQ_I64(call_other(&lab, lab.sandbox, "count", 0, 0), 7);
        CHECK_STATUS(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), HUSK_E_INVAL);
        CHECK_EQ_I64(call_other(&lab, lab.sandbox, "count", 0, 0), 8);
        CHECK_OK(husk_sandbox_load(lab.sandbox, lab.image, lab.imports, &lab.err), lab.err);
        CHECK_EQ_I64(STATE_CALL(&lab, "load", 100), 0x6c6c6568);
        CHECK_EQ_I64(STATE_CALL(&lab, "size"), 2);
    }
    CHECK_EQ_U64(vms(&lab), vms_before);
    husk_image_unref(other);
    state_close(&lab);
}

TEST(refused_loads_change_nothing) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct husk_error err;
    husk_engine *elsewhere = NULL;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "store", 8, 88);
    husk_image *large = wat_image_with(
        lab.engine, "(module (memory 1) (table 2000000 funcref) (func (export \"f\")))",
        WAT_WORKER);
    CHECK_OK(husk_engine_new(NULL, &elsewhere, &err), err);
    husk_image *foreign = state_image(elsewhere);
    uint64_t before = restores(&lab);
    CHECK_STATUS(husk_sandbox_load(lab.sandbox, foreign, lab.imports, &lab.err), HUSK_E_INVAL);
    CHECK_STATUS(husk_sandbox_load(lab.sandbox, lab.image, NULL, &lab.err), HUSK_E_LINK);
    CHECK_EQ_U64(restores(&lab), before);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 8), 88);
    husk_image_unref(large);
    husk_image_unref(foreign);
    husk_engine_unref(elsewhere);
    state_close(&lab);
}

/* ---- Files ---- */

static husk_image *save_something(struct state_lab *lab, const char *path) {
    husk_image *snapshot = NULL;
    STATE_CALL(lab, "grow", 2);
    STATE_CALL(lab, "tgrow", 1500);
    STATE_CALL(lab, "tset", 1200);
    STATE_CALL(lab, "store", 3 * 65536, 4711);
    STATE_CALL(lab, "fill", 65536, 0, 65536); /* a data segment's page becomes zero */
    STATE_CALL(lab, "gset", -5);
    STATE_CALL(lab, "mdrop");
    CHECK_OK(husk_sandbox_snapshot(lab->sandbox, &snapshot, &lab->err), lab->err);
    CHECK_OK(husk_image_save(snapshot, path, &lab->err), lab->err);
    return snapshot;
}

TEST(a_saved_snapshot_is_the_same) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct state_copy copy;
    struct scratch scratch;
    scratch_open(&scratch);
    state_open(&lab, NULL, NULL);
    husk_image *snapshot = save_something(&lab, scratch.path), *opened = NULL;
    state_copy_take(lab.sandbox, &copy);
    CHECK_OK(husk_image_open(lab.engine, scratch.path, NULL, &opened, &lab.err), lab.err);
    CHECK(husk_image_is_snapshot(opened));
    husk_sandbox *fresh = state_sandbox(&lab, opened);
    state_copy_check(fresh, &copy, "opened from a file");
    CHECK_EQ_I64(STATE_CALL_ON(&lab, fresh, "tcall", 1200), 1002);
    CHECK_EQ_I64(STATE_CALL_ON(&lab, fresh, "gget"), -5);
    state_run(&lab, fresh, "minit", STATE_ARGS(0));
    CHECK_EQ_U64(lab.outcome.kind, HUSK_TRAPPED);
    CHECK_EQ_I64(STATE_CALL_ON(&lab, fresh, "grow", 1), 4);
    CHECK_OK(husk_sandbox_restore(fresh, opened, &lab.err), lab.err);
    state_copy_check(fresh, &copy, "restored from a file");
    /* a snapshot of what came from a file, saved again over the first */
    husk_image *again = NULL, *second = NULL;
    STATE_CALL_ON(&lab, fresh, "store", 12, 12);
    CHECK_OK(husk_sandbox_snapshot(fresh, &again, &lab.err), lab.err);
    CHECK_OK(husk_image_save(again, scratch.path, &lab.err), lab.err);
    CHECK_OK(husk_image_open(lab.engine, scratch.path, NULL, &second, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_load(lab.sandbox, second, lab.imports, &lab.err), lab.err);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 12), 12);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 3 * 65536), 4711);
    state_copy_done(&copy);
    husk_image_unref(again);
    husk_image_unref(second);
    husk_image_unref(opened);
    husk_image_unref(snapshot);
    husk_sandbox_free(fresh);
    state_close(&lab);
    scratch_close(&scratch);
}

/* A module is known by what it is, not by the file that it was opened from: a restore takes a
 * snapshot that was saved and opened again, and the image that it was taken from once more. The
 * first time memory is mapped anew, from then on it is copied back. */
TEST(restored_to_what_was_opened_again) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct state_copy copy;
    struct scratch scratch;
    struct husk_stats before = HUSK_STATS_INIT, after = HUSK_STATS_INIT;
    scratch_open(&scratch);
    state_open(&lab, NULL, NULL);
    husk_image *snapshot = save_something(&lab, scratch.path), *opened = NULL,
               *anew = state_image(lab.engine);
    state_copy_take(lab.sandbox, &copy);
    CHECK_OK(husk_image_open(lab.engine, scratch.path, NULL, &opened, &lab.err), lab.err);
    husk_engine_stats(lab.engine, &before);
    for (int round = 0; round < 3; round++) {
        STATE_CALL(&lab, "fill", 0, 0x33, 65536);
        STATE_CALL(&lab, "grow", 1);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, opened, &lab.err), lab.err);
        state_copy_check(lab.sandbox, &copy, "restored from a file");
    }
    husk_engine_stats(lab.engine, &after);
    CHECK_EQ_U64(after.restores - before.restores, 3);
    CHECK_EQ_U64(after.restores_rebuilt - before.restores_rebuilt, 1);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, anew, &lab.err), lab.err);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 100), 0x6c6c6568);
    CHECK_EQ_I64(STATE_CALL(&lab, "size"), 2);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
    state_copy_check(lab.sandbox, &copy, "restored from memory");
    husk_image_unref(anew);
    husk_image_unref(opened);
    husk_image_unref(snapshot);
    state_copy_done(&copy);
    state_close(&lab);
    scratch_close(&scratch);
}

/* Other code of the same module, or another module with the same code, is another module. */
TEST(restored_to_what_is_alike_only) {
    SKIP_WITHOUT_COMPILER();
    static const char *const texts[] = {
        "(module (memory 1) (func (export \"f\") (result i32) i32.const 1))",
        "(module (memory 1) (func (export \"f\") (result i32) i32.const 2))",   /* code */
        "(module (memory 1) (func (export \"g\") (result i32) i32.const 1))",   /* names */
        "(module (memory 1 2) (func (export \"f\") (result i32) i32.const 1))", /* limits */
    };
    struct husk_error err;
    husk_engine *engine = NULL, *elsewhere = NULL;
    husk_sandbox *sandbox = NULL;
    CHECK_OK(husk_engine_new(NULL, &engine, &err), err);
    CHECK_OK(husk_engine_new(NULL, &elsewhere, &err), err);
    husk_image *image = wat_image_with(engine, texts[0], WAT_WORKER);
    husk_image *foreign = wat_image_with(elsewhere, texts[0], WAT_WORKER);
    CHECK_OK(husk_sandbox_new(image, NULL, NULL, &sandbox, &err), err);
    for (int i = 0; i < 4; i++) {
        husk_image *other = wat_image_with(engine, texts[i], WAT_WORKER);
        CHECK_STATUS(husk_sandbox_restore(sandbox, other, &err), i == 0 ? 0 : HUSK_E_INVAL);
        husk_image_unref(other);
    }
    CHECK_STATUS(husk_sandbox_restore(sandbox, foreign, &err), HUSK_E_INVAL);
    CHECK_CONTAINS(err.message, "another engine");
    husk_sandbox_free(sandbox);
    husk_image_unref(image);
    husk_image_unref(foreign);
    husk_engine_unref(engine);
    husk_engine_unref(elsewhere);
}

TEST(a_compiled_image_can_be_saved) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct scratch scratch;
    husk_image *opened = NULL;
    scratch_open(&scratch);
    state_open(&lab, NULL, NULL);
    CHECK_OK(husk_image_save(lab.image, scratch.path, &lab.err), lab.err);
    CHECK_OK(husk_image_open(lab.engine, scratch.path, NULL, &opened, &lab.err), lab.err);
    CHECK(!husk_image_is_snapshot(opened));
    CHECK_OK(husk_sandbox_load(lab.sandbox, opened, lab.imports, &lab.err), lab.err);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 100), 0x6c6c6568);
    CHECK(husk_image_save(NULL, scratch.path, &lab.err) == HUSK_E_INVAL);
    CHECK(husk_image_save(opened, NULL, &lab.err) == HUSK_E_INVAL);
    CHECK_STATUS(husk_image_save(opened, "/proc/absent/all.husk", &lab.err), HUSK_E_SYS);
    CHECK_CONTAINS(lab.err.message, "/proc/absent/all.husk");
    husk_image_unref(opened);
    state_close(&lab);
    scratch_close(&scratch);
}

/* `husk run` of the file: another process. Its module imports nothing. */
TEST(another_process_runs_it) {
    SKIP_WITHOUT_COMPILER();
    static const char husk_path[] = HUSK_TEST_BUILD_DIR "/husk";
    if (access(husk_path, X_OK) != 0)
        SKIP("the husk command is not built");
    struct state_lab lab;
    struct scratch scratch;
    char command[512], text[64] = "";
    scratch_open(&scratch);
    state_open(&lab, NULL, NULL);
    husk_image *other = wat_image_with(lab.engine, other_text, WAT_WORKER), *snapshot = NULL;
    CHECK_OK(husk_sandbox_load(lab.sandbox, other, NULL, &lab.err), lab.err);
    for (int i = 0; i < 3; i++)
        call_other(&lab, lab.sandbox, "count", 0, 0);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_OK(husk_image_save(snapshot, scratch.path, &lab.err), lab.err);
    snprintf(command, sizeof command, "%s run --invoke count %s", husk_path, scratch.path);
    FILE *pipe = popen(command, "re");
    CHECK(pipe != NULL && fgets(text, sizeof text, pipe) != NULL);
    CHECK_EQ_I64(pclose(pipe), 0);
    CHECK_STR(text, "9:i32\n");
    if (system("readelf --version >/dev/null 2>&1") == 0) {
        snprintf(
            command, sizeof command,
            "readelf -lhSn %s 2>&1 >/dev/null | grep -q . && exit 1; readelf -l %s | grep -q LOAD",
            scratch.path, scratch.path);
        CHECK_EQ_I64(system(command), 0);
    }
    husk_image_unref(snapshot);
    husk_image_unref(other);
    state_close(&lab);
    scratch_close(&scratch);
}

/* Truncated at any length, any byte changed: with verify always refused; without, never more than
 * refused or run. */
TEST(damaged_files_are_refused) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct scratch scratch;
    size_t count = 0;
    uint8_t *bytes = NULL;
    uint64_t random = 5;
    scratch_open(&scratch);
    state_open(&lab, NULL, NULL);
    husk_image *snapshot = save_something(&lab, scratch.path), *image = NULL;
    CHECK_OK(file_read(scratch.path, 64u << 20, &bytes, &count, &lab.err), lab.err);
    CHECK_OK(husk_image_open_buffer(lab.engine, (struct husk_buffer){bytes, count}, NULL, &image,
                                    &lab.err),
             lab.err);
    husk_image_unref(image);
    for (int i = 0; i < 60; i++) {
        size_t shorter = state_random(&random) % count;
        image = NULL;
        CHECK(husk_image_open_buffer(lab.engine, (struct husk_buffer){bytes, shorter}, NULL, &image,
                                     &lab.err) < 0);
        CHECK(image == NULL && lab.err.message[0] != '\0');
    }
    for (int i = 0; i < 400; i++) {
        size_t at = i < 200 ? state_random(&random) % count
                            : count - 1 - state_random(&random) % (count / 2);
        uint8_t was = bytes[at];
        bytes[at] ^= (uint8_t)(1u << state_random(&random) % 8);
        image = NULL;
        int status = husk_image_open_buffer(lab.engine, (struct husk_buffer){bytes, count}, NULL,
                                            &image, &lab.err);
        CHECK_MSG(status == HUSK_E_BAD_IMAGE || status == HUSK_E_IMAGE_VERSION ||
                      status == HUSK_E_CPU,
                  "byte 0x%zx changed: status %d", at, status);
        CHECK(image == NULL);
        if (husk_image_open_buffer(lab.engine, (struct husk_buffer){bytes, count}, SKIP_HASH,
                                   &image, &lab.err) == 0) {
            husk_sandbox *sandbox = NULL;
            if (husk_sandbox_new(image, lab.imports, NULL, &sandbox, &lab.err) == 0)
                husk_sandbox_free(sandbox);
            husk_image_unref(image);
        }
        bytes[at] = was;
    }
    free(bytes);
    husk_image_unref(snapshot);
    state_close(&lab);
    scratch_close(&scratch);
}

TEST_MAIN()
