/*
 * tests/kvm/snapshots/standing_files_test.c: a standing call of a guest that has files open in
 * private directories, one of them without a name. Every sandbox that goes on has the files, their
 * positions and the descriptors as they were, and writes to its own.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "literals.h"
#include "wat.h"

/* run: opens and writes $a (mem), $b (cow) and $c (mem, without a name), asks, writes more, reads
 * them from the start, makes "new" in each directory, and adds what comes from standard input. All
 * that it reads lies at 1000. Returns the three descriptors as digits, and the answer. */
static const char guest[] =
    "(module"
    " (import \"wasi_snapshot_preview1\" \"path_open\" (func $path_open"
    "  (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"path_unlink_file\""
    "  (func $unlink (param i32 i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_write\""
    "  (func $write (param i32 i32 i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_read\""
    "  (func $read (param i32 i32 i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"fd_seek\""
    "  (func $seek (param i32 i64 i32 i32) (result i32)))"
    " (import \"env\" \"ask\" (func $ask (param i32) (result i32)))"
    " (memory (export \"memory\") 1) (global $len (export \"len\") (mut i32) (i32.const 0))"
    " (data (i32.const 100) \"name\") (data (i32.const 110) \"seed\") (data (i32.const 120) "
    "\"gone\")"
    " (data (i32.const 130) \"new\") (data (i32.const 200) \"abcdeXYYzz!\")"
    " (func $check (param i32) (if (local.get 0) (then (unreachable))))"
    " (func $open (param $dir i32) (param $name i32) (param $bytes i32) (param $how i32)"
    "  (result i32)"
    "  (call $check (call $path_open (local.get $dir) (i32.const 0) (local.get $name)"
    "   (local.get $bytes) (local.get $how) (i64.const 0x66) (i64.const 0) (i32.const 0)"
    "   (i32.const 16)))"
    "  (i32.load (i32.const 16)))"
    " (func $put (param $fd i32) (param $from i32) (param $bytes i32)"
    "  (i32.store (i32.const 0) (local.get $from)) (i32.store (i32.const 4) (local.get $bytes))"
    "  (call $check (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 20))))"
    " (func $get (param $fd i32)"
    "  (i32.store (i32.const 0) (i32.add (i32.const 1000) (global.get $len)))"
    "  (i32.store (i32.const 4) (i32.const 100))"
    "  (call $check (call $read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 20)))"
    "  (global.set $len (i32.add (global.get $len) (i32.load (i32.const 20)))))"
    " (func $get_all (param $fd i32)"
    "  (call $check (call $seek (local.get $fd) (i64.const 0) (i32.const 0) (i32.const 24)))"
    "  (call $get (local.get $fd)))"
    " (func (export \"run\") (param $x i32) (result i32) (local $a i32) (local $b i32) (local $c "
    "i32)"
    "  (local.set $a (call $open (i32.const 3) (i32.const 100) (i32.const 4) (i32.const 1)))"
    "  (call $put (local.get $a) (i32.const 200) (i32.const 3))"
    "  (local.set $b (call $open (i32.const 4) (i32.const 110) (i32.const 4) (i32.const 0)))"
    "  (call $put (local.get $b) (i32.const 205) (i32.const 1))"
    "  (local.set $c (call $open (i32.const 3) (i32.const 120) (i32.const 4) (i32.const 5)))"
    "  (call $put (local.get $c) (i32.const 208) (i32.const 2))"
    "  (call $check (call $unlink (i32.const 3) (i32.const 120) (i32.const 4)))"
    "  (local.set $x (call $ask (local.get $x)))"
    "  (call $put (local.get $a) (i32.const 203) (i32.const 2)) (call $get_all (local.get $a))"
    "  (call $put (local.get $b) (i32.const 206) (i32.const 2)) (call $get_all (local.get $b))"
    "  (call $put (local.get $c) (i32.const 210) (i32.const 1)) (call $get_all (local.get $c))"
    "  (drop (call $open (i32.const 3) (i32.const 130) (i32.const 3) (i32.const 5)))"
    "  (drop (call $open (i32.const 4) (i32.const 130) (i32.const 3) (i32.const 5)))"
    "  (call $get (i32.const 0))"
    "  (i32.add (i32.mul (local.get $x) (i32.const 1000)) (i32.add (i32.mul (local.get $a)"
    "   (i32.const 100)) (i32.add (i32.mul (local.get $b) (i32.const 10)) (local.get $c))))))";

#define FILES_READ                                                                                 \
    "abcde"                                                                                        \
    "XYYd"                                                                                         \
    "zz!"

struct rig {
    struct wat_lab wat;
    bool has_answer;
    char path[32]; /* the host's directory: it has "seed" */
    struct husk_wasi_stream in;
};

static int host_ask(husk_caller *caller, void *user, const struct husk_value *args,
                    struct husk_value *results) {
    const bool *has_answer = user;
    results[0].of.i32 = args[0].of.i32 + 1;
    return *has_answer ? 0 : husk_caller_pending(caller);
}

static int seed_open(const struct rig *rig, int flags) {
    char path[sizeof rig->path + 8];
    snprintf(path, sizeof path, "%s/seed", rig->path);
    const int fd = open(path, flags, 0600);
    CHECK(fd >= 0);
    return fd;
}

static void rig_open(struct rig *rig, const struct husk_wasi_request *request) {
    const uint32_t rights = HUSK_WASI_READ | HUSK_WASI_WRITE;
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    memset(rig, 0, sizeof *rig);
    strcpy(rig->path, "/tmp/standing_files.XXXXXX");
    CHECK(mkdtemp(rig->path) != NULL);
    const int fd = seed_open(rig, O_CREAT | O_WRONLY);
    CHECK_EQ_I64(write(fd, "seed", 4), 4);
    close(fd);
    const struct husk_wasi_dir dirs[] = {
        {.guest_path = "/m", .kind = HUSK_WASI_DIR_MEM, .rights = rights},
        {.guest_path = "/c", .host_path = rig->path, .kind = HUSK_WASI_DIR_COW, .rights = rights}};
    options.dirs = dirs;
    options.dirs_count = 2;
    options.private_max_bytes = 1 << 20;
    options.request = request;
    wat_lab_init(&rig->wat);
    CHECK_OK(husk_imports_wasi(rig->wat.imports, &options, &rig->wat.err), rig->wat.err);
    wat_lab_func(&rig->wat, "ask", "i>i", host_ask, &rig->has_answer);
    wat_lab_open(&rig->wat, guest, NULL);
}

/* Nothing of it came into the host's directory. */
static void rig_close(struct rig *rig) {
    char text[16] = "", path[sizeof rig->path + 8];
    const int fd = seed_open(rig, O_RDONLY);
    CHECK_EQ_I64(read(fd, text, sizeof text), 4);
    CHECK_STR(text, "seed");
    close(fd);
    snprintf(path, sizeof path, "%s/seed", rig->path);
    unlink(path);
    CHECK_EQ_I64(rmdir(rig->path), 0);
    wat_lab_close(&rig->wat);
}

static husk_image *stands(struct rig *rig) {
    husk_image *snapshot = NULL;
    struct husk_value result;
    const struct husk_value arg = value_i32(6);
    CHECK_OK(wat_call(&rig->wat, "run", &arg, 1, &result, 1), rig->wat.err);
    CHECK_MSG(rig->wat.outcome.kind == HUSK_PENDING, "%s", rig->wat.outcome.message);
    CHECK_OK(husk_sandbox_snapshot(rig->wat.sandbox, &snapshot, &rig->wat.err), rig->wat.err);
    rig->has_answer = true;
    return snapshot;
}

static void give(struct rig *rig, husk_sandbox *sandbox, const char *input) {
    struct husk_wasi_stream stream = HUSK_WASI_STREAM_INIT;
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    stream.kind = input != NULL ? HUSK_WASI_BYTES : HUSK_WASI_AWAITED;
    stream.bytes = input;
    stream.bytes_count = input != NULL ? strlen(input) : 0;
    request.stdin_stream = &stream;
    CHECK_OK(husk_sandbox_set_wasi(sandbox, &request, &rig->wat.err), rig->wat.err);
}

static void check_read(struct rig *rig, husk_sandbox *sandbox, const char *expected) {
    struct husk_value len;
    char text[64] = "";
    CHECK_OK(husk_global_get(sandbox, "len", 0, &len, &rig->wat.err), rig->wat.err);
    CHECK((size_t)len.of.i32 < sizeof text);
    CHECK_OK(husk_memory_read(sandbox, RANGE(.addr = 1000, .count = (size_t)len.of.i32), text,
                              &rig->wat.err),
             rig->wat.err);
    CHECK_STR(text, expected);
}

static void restore(struct rig *rig, husk_sandbox *sandbox, husk_image *image) {
    CHECK_OK(husk_sandbox_restore(sandbox, image, &rig->wat.err), rig->wat.err);
}

/* ask() and fd_read() in turn: a snapshot of each, restored in turns, from memory and a file. */
TEST(files_are_as_they_were_each_time) {
    SKIP_WITHOUT_COMPILER();
    struct rig rig;
    struct husk_wasi_stream in = HUSK_WASI_STREAM_INIT, out = HUSK_WASI_STREAM_INIT;
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    husk_sandbox *clone = NULL, *sandbox = NULL;
    husk_image *images[4] = {NULL};
    in.kind = HUSK_WASI_AWAITED;
    out.kind = HUSK_WASI_BUFFER;
    request.stdin_stream = &in;
    request.stdout_stream = request.stderr_stream = &out;
    rig_open(&rig, &request);
    images[0] = stands(&rig);
    images[1] = wat_saved(&rig.wat, images[0]);
    CHECK_OK(husk_sandbox_clone(rig.wat.sandbox, &clone, &rig.wat.err), rig.wat.err);
    /* at fd_read, after the files were written */
    wat_again(&rig.wat, rig.wat.sandbox, HUSK_PENDING);
    CHECK_OK(husk_sandbox_snapshot(rig.wat.sandbox, &images[2], &rig.wat.err), rig.wat.err);
    images[3] = wat_saved(&rig.wat, images[2]);
    CHECK_OK(husk_sandbox_new(images[1], rig.wat.imports, NULL, &sandbox, &rig.wat.err),
             rig.wat.err);
    husk_sandbox *const all[] = {rig.wat.sandbox, clone, sandbox};
    for (int i = 0; i < 90; i++) {
        husk_sandbox *now = all[i % 3];
        char input[8], expected[32];
        if (i >= 3)
            restore(&rig, now, images[(i / 3) % 4]);
        if (i % 7 == 0)
            wat_again(&rig.wat, now, HUSK_PENDING);
        snprintf(input, sizeof input, "<%d>", i);
        snprintf(expected, sizeof expected, FILES_READ "%s", input);
        give(&rig, now, input);
        CHECK_EQ_I64(wat_again(&rig.wat, now, HUSK_RETURNED), 7567);
        check_read(&rig, now, expected);
        give(&rig, now, NULL);
    }
    husk_sandbox_free(sandbox);
    husk_sandbox_free(clone);
    for (int i = 0; i < 4; i++)
        husk_image_unref(images[i]);
    rig_close(&rig);
}

/* Without streams the guest's files get their numbers, and keep them when streams are given. */
TEST(files_with_the_numbers_of_streams) {
    SKIP_WITHOUT_COMPILER();
    struct rig rig;
    husk_sandbox *sandbox = NULL;
    rig_open(&rig, NULL);
    husk_image *snapshot = stands(&rig);
    husk_image *file = wat_saved(&rig.wat, snapshot);
    CHECK_OK(husk_sandbox_new(file, rig.wat.imports, NULL, &sandbox, &rig.wat.err), rig.wat.err);
    for (int i = 0; i < 20; i++) {
        if (i > 0)
            restore(&rig, sandbox, i % 2 == 0 ? file : snapshot);
        if (i % 3 == 1)
            give(&rig, sandbox, "input");
        CHECK_EQ_I64(wat_again(&rig.wat, sandbox, HUSK_RETURNED), 7012);
        check_read(&rig, sandbox, FILES_READ); /* descriptor 0 is $a, read to its end */
    }
    husk_sandbox_free(sandbox);
    husk_image_unref(file);
    husk_image_unref(snapshot);
    rig_close(&rig);
}

TEST_MAIN()
