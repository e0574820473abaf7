/*
 * tests/kvm/snapshots/save_stream_test.c: images saved to descriptors and callbacks: the bytes are
 * the same as in a file saved to a path. A save that fails half-way returns a status and leaks
 * nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "wat.h"

/* Pages with holes between them, and more bytes than a pipe holds. */
static const char stream_wat[] =
    "(module (memory (export \"memory\") 200)"
    " (func (export \"fill\") (param i32) (result i32)"
    "  (i32.store (i32.const 65536) (i32.const 1)) (i32.store (i32.const 106496) (i32.const 1))"
    "  (memory.fill (i32.const 262144) (i32.const 5) (i32.const 3000000))"
    "  (i32.store (i32.const 13000000) (local.get 0)) (i32.const 0))"
    " (func (export \"get\") (param i32) (result i32) (i32.load (i32.const 13000000))))";

struct bytes {
    uint8_t *data;
    size_t count, pieces, fails_at;
    int fails_with;
};

static int collect(void *user, const void *piece, size_t count) {
    struct bytes *bytes = user;
    if (++bytes->pieces == bytes->fails_at)
        return bytes->fails_with;
    uint8_t *more = realloc(bytes->data, bytes->count + count);
    CHECK(more != NULL);
    memcpy(more + bytes->count, piece, count);
    bytes->data = more;
    bytes->count += count;
    return 0;
}

struct lab {
    struct wat_lab wat;
    husk_image *snapshot;
    struct bytes expected; /* the result of a save to a path */
};

static void save_to_path(struct lab *lab, const husk_image *image, struct bytes *ret_bytes) {
    char path[] = "/tmp/husk-stream-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    memset(ret_bytes, 0, sizeof *ret_bytes);
    CHECK_OK(husk_image_save(image, path, &lab->wat.err), lab->wat.err);
    CHECK_OK(file_read(path, 1u << 30, &ret_bytes->data, &ret_bytes->count, &lab->wat.err),
             lab->wat.err);
    unlink(path);
}

static void lab_open(struct lab *lab) {
    wat_lab_init(&lab->wat);
    wat_lab_open(&lab->wat, stream_wat, NULL);
    wat_call_i32(&lab->wat, "fill", 4711);
    CHECK_OK(husk_sandbox_snapshot(lab->wat.sandbox, &lab->snapshot, &lab->wat.err), lab->wat.err);
    save_to_path(lab, lab->snapshot, &lab->expected);
}

static void lab_close(struct lab *lab) {
    free(lab->expected.data);
    husk_image_unref(lab->snapshot);
    wat_lab_close(&lab->wat);
}

static void check_bytes(struct lab *lab, const struct bytes *bytes) {
    husk_image *opened = NULL;
    CHECK_EQ_U64(bytes->count, lab->expected.count);
    CHECK(memcmp(bytes->data, lab->expected.data, bytes->count) == 0);
    CHECK_OK(husk_image_open_buffer(lab->wat.engine,
                                    (struct husk_buffer){bytes->data, bytes->count}, NULL, &opened,
                                    &lab->wat.err),
             lab->wat.err);
    CHECK_OK(husk_sandbox_load(lab->wat.sandbox, opened, NULL, &lab->wat.err), lab->wat.err);
    CHECK_EQ_I64(wat_call_i32(&lab->wat, "get", 0), 4711);
    husk_image_unref(opened);
}

TEST(a_callback_gets_the_file) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    struct bytes bytes = {0}, compiled = {0}, expected;
    lab_open(&lab);
    CHECK_OK(husk_image_save_to(lab.snapshot, collect, &bytes, &lab.wat.err), lab.wat.err);
    CHECK(bytes.pieces > 3);
    check_bytes(&lab, &bytes);
    save_to_path(&lab, lab.wat.image, &expected); /* an image that was opened from a file */
    CHECK_OK(husk_image_save_to(lab.wat.image, collect, &compiled, &lab.wat.err), lab.wat.err);
    CHECK_EQ_U64(compiled.count, expected.count);
    CHECK(memcmp(compiled.data, expected.data, expected.count) == 0);
    CHECK_STATUS(husk_image_save_to(NULL, collect, &bytes, &lab.wat.err), HUSK_E_INVAL);
    CHECK_STATUS(husk_image_save_to(lab.snapshot, NULL, &bytes, &lab.wat.err), HUSK_E_INVAL);
    free(bytes.data);
    free(compiled.data);
    free(expected.data);
    lab_close(&lab);
}

TEST(a_callback_that_fails_ends_it) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    struct bytes all = {0};
    lab_open(&lab);
    CHECK_OK(husk_image_save_to(lab.snapshot, collect, &all, &lab.wat.err), lab.wat.err);
    for (size_t nth = 1; nth <= all.pieces; nth++) {
        struct bytes bytes = {.fails_at = nth, .fails_with = nth % 2 == 0 ? -77 : 5};
        CHECK_EQ_I64(husk_image_save_to(lab.snapshot, collect, &bytes, &lab.wat.err),
                     bytes.fails_with);
        CHECK_EQ_I64(lab.wat.err.status, bytes.fails_with);
        CHECK_CONTAINS(lab.wat.err.message, "callback");
        CHECK_EQ_U64(bytes.pieces, nth); /* no piece follows */
        CHECK(bytes.count == 0 || memcmp(bytes.data, all.data, bytes.count) == 0);
        free(bytes.data);
    }
    check_bytes(&lab, &all);
    free(all.data);
    lab_close(&lab);
}

struct reader {
    int fd;
    struct bytes bytes;
    size_t stops_at;
};

static void *read_all(void *user) {
    struct reader *reader = user;
    uint8_t piece[5000];
    ssize_t got;
    while (reader->bytes.count < reader->stops_at &&
           (got = read(reader->fd, piece, sizeof piece)) > 0)
        (void)collect(&reader->bytes, piece, (size_t)got);
    close(reader->fd);
    return NULL;
}

static int save_to_pipe(struct lab *lab, struct reader *reader) {
    int ends[2];
    pthread_t thread;
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    reader->fd = ends[0];
    CHECK(pthread_create(&thread, NULL, read_all, reader) == 0);
    int status = husk_image_save_fd(lab->snapshot, ends[1], &lab->wat.err);
    close(ends[1]);
    CHECK(pthread_join(thread, NULL) == 0);
    return status;
}

TEST(a_pipe_gets_the_file) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    struct reader reader = {.stops_at = SIZE_MAX}, quits = {.stops_at = 100000};
    lab_open(&lab);
    CHECK_OK(save_to_pipe(&lab, &reader), lab.wat.err);
    check_bytes(&lab, &reader.bytes);
    CHECK_STATUS(save_to_pipe(&lab, &quits), HUSK_E_SYS); /* and no SIGPIPE */
    CHECK_EQ_I64(lab.wat.err.sys_errno, EPIPE);
    free(reader.bytes.data);
    free(quits.bytes.data);
    lab_close(&lab);
}

static void read_back(int fd, struct bytes *ret_bytes) {
    struct stat st;
    CHECK(fstat(fd, &st) == 0);
    *ret_bytes = (struct bytes){.data = malloc((size_t)st.st_size), .count = (size_t)st.st_size};
    CHECK(ret_bytes->data != NULL);
    CHECK_EQ_I64(pread(fd, ret_bytes->data, ret_bytes->count, 0), st.st_size);
}

TEST(a_file_keeps_what_is_around) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    struct bytes bytes;
    struct stat st;
    static uint8_t old[1 << 16];
    lab_open(&lab);
    int fd = memfd_create("save", MFD_CLOEXEC);
    CHECK_OK(husk_image_save_fd(lab.snapshot, fd, &lab.wat.err), lab.wat.err);
    CHECK(fstat(fd, &st) == 0 && (uint64_t)st.st_blocks * 512 < lab.expected.count);
    read_back(fd, &bytes);
    check_bytes(&lab, &bytes);
    free(bytes.data);
    close(fd);

    /* Over old bytes: they must not show through the holes, and the bytes behind stay. */
    fd = memfd_create("over", MFD_CLOEXEC);
    memset(old, 0xee, sizeof old);
    for (size_t done = 0; done < lab.expected.count + sizeof old; done += sizeof old)
        CHECK(write(fd, old, sizeof old) == (ssize_t)sizeof old);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    CHECK_OK(husk_image_save_fd(lab.snapshot, fd, &lab.wat.err), lab.wat.err);
    CHECK_EQ_I64(lseek(fd, 0, SEEK_CUR), (int64_t)lab.expected.count);
    read_back(fd, &bytes);
    CHECK(bytes.count > lab.expected.count && bytes.data[lab.expected.count] == 0xee);
    bytes.count = lab.expected.count;
    check_bytes(&lab, &bytes);
    free(bytes.data);
    close(fd);
    lab_close(&lab);
}

TEST(what_cannot_be_written_is_a_status) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    int ends[2];
    lab_open(&lab);
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    CHECK(full >= 0);
    CHECK_STATUS(husk_image_save_fd(lab.snapshot, full, &lab.wat.err), HUSK_E_SYS);
    CHECK_EQ_I64(lab.wat.err.sys_errno, ENOSPC);
    CHECK_STATUS(husk_image_save_fd(lab.wat.image, full, &lab.wat.err), HUSK_E_SYS);
    close(full);
    int read_only = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK_STATUS(husk_image_save_fd(lab.snapshot, read_only, &lab.wat.err), HUSK_E_SYS);
    CHECK_EQ_I64(lab.wat.err.sys_errno, EBADF);
    close(read_only);
    CHECK_STATUS(husk_image_save_fd(lab.snapshot, -1, &lab.wat.err), HUSK_E_INVAL);
    CHECK_STATUS(husk_image_save_fd(lab.snapshot, 1 << 20, &lab.wat.err), HUSK_E_SYS);
    CHECK(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0); /* nobody reads */
    CHECK_STATUS(husk_image_save_fd(lab.snapshot, ends[1], &lab.wat.err), HUSK_E_SYS);
    CHECK_EQ_I64(lab.wat.err.sys_errno, EAGAIN);
    close(ends[0]);
    close(ends[1]);
    struct bytes bytes = {0};
    CHECK_OK(husk_image_save_to(lab.snapshot, collect, &bytes, &lab.wat.err), lab.wat.err);
    check_bytes(&lab, &bytes);
    free(bytes.data);
    lab_close(&lab);
}

TEST_MAIN()
