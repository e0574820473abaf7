/*
 * tests/unit/wasi_streams_test.c: what the embedder gives a guest for a request (wasi_given.h):
 * streams in memory and of callbacks. They are replaced all or none, and a restore keeps them.
 * wasi_given_test.c has the rest.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "harness.h"
#include "wasi_abi.h"
#include "wasi_guest.h"

#define IOV 0x100u     /* vectors */
#define COUNT 0x80u    /* the result of a read or write */
#define DATA 0x1000u   /* what is read or written */
#define EVENTS 0x8000u /* of poll_oneoff */

/* ---- The guest ---- */

static uint16_t transfer(struct wasi_guest *guest, bool is_write, uint32_t fd, uint32_t bytes) {
    wasi_guest_iovec(guest, IOV, DATA, bytes);
    wasi_guest_set_u32(guest, COUNT, 0xffffffff);
    return is_write ? WASI_CALL(guest, fd_write, fd, IOV, 1, COUNT)
                    : WASI_CALL(guest, fd_read, fd, IOV, 1, COUNT);
}

static uint16_t write_text(struct wasi_guest *guest, uint32_t fd, const char *text) {
    memcpy(guest->memory + DATA, text, strlen(text));
    return transfer(guest, true, fd, (uint32_t)strlen(text));
}

/* Read up to `bytes` from standard input; they must be this text. */
static void check_read(struct wasi_guest *guest, uint32_t bytes, const char *text) {
    CHECK_EQ_U64(transfer(guest, false, 0, bytes), 0);
    CHECK_EQ_U64(wasi_guest_u32(guest, COUNT), strlen(text));
    CHECK_MEM(guest->memory + DATA, text, strlen(text));
}

static void check_output(const struct wasi_guest *guest, uint32_t idx, const char *text) {
    const struct wasi_stream *stream = &guest->ctx.given.streams[idx];
    CHECK_EQ_U64(stream->count, strlen(text));
    CHECK(stream->count == 0 || memcmp(stream->bytes, text, stream->count) == 0);
}

/* ---- The embedder ---- */

static struct husk_wasi_stream bytes_of(const char *text) {
    struct husk_wasi_stream stream = HUSK_WASI_STREAM_INIT;
    stream.kind = HUSK_WASI_BYTES;
    stream.bytes = text;
    stream.bytes_count = strlen(text);
    return stream;
}

static struct husk_wasi_stream buffer_of(uint64_t limit_bytes) {
    struct husk_wasi_stream stream = HUSK_WASI_STREAM_INIT;
    stream.kind = HUSK_WASI_BUFFER;
    stream.limit_bytes = limit_bytes;
    return stream;
}

static int give(struct wasi_guest *guest, const struct husk_wasi_request *request,
                struct husk_error *err) {
    struct wasi_given given;
    int status = wasi_given_init(&given, request, err);
    if (status == 0)
        wasi_ctx_give(&guest->ctx, &given);
    return status;
}

static void give_streams(struct wasi_guest *guest, const struct husk_wasi_stream *in,
                         const struct husk_wasi_stream *out) {
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    struct husk_error err;
    request.stdin_stream = in;
    request.stdout_stream = out;
    CHECK_OK(give(guest, &request, &err), err);
}

static void restore(struct wasi_guest *guest, const struct buf *saved) {
    struct husk_error err;
    const uint8_t *bytes = saved != NULL ? saved->data : NULL;
    const size_t count = saved != NULL ? saved->count : 0;
    CHECK_OK(wasi_state_check(&guest->ctx, bytes, count, &err), err);
    wasi_state_load(&guest->ctx, bytes, count);
}

/* ---- Streams in memory ---- */

TEST(bytes_are_read_to_their_end) {
    struct wasi_guest guest;
    char text[] = "abcdefg";
    const struct husk_wasi_stream in = bytes_of(text);
    wasi_guest_init(&guest, NULL);
    CHECK_EQ_U64(transfer(&guest, false, 0, 4), WASI_EBADF);
    give_streams(&guest, &in, NULL);
    memset(text, 'x', sizeof text - 1); /* it was copied */
    check_read(&guest, 3, "abc");
    wasi_guest_iovec(&guest, IOV, DATA, 1);
    wasi_guest_iovec(&guest, IOV + 8, DATA + 1, 100);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_read, 0, IOV, 2, COUNT), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, COUNT), 4);
    CHECK_MEM(guest.memory + DATA, "defg", 4);
    check_read(&guest, 10, "");
    check_read(&guest, 10, "");
    CHECK_EQ_U64(transfer(&guest, true, 0, 1), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_seek, 0, 0, 0, 64), WASI_ESPIPE);
    wasi_guest_done(&guest);
}

TEST(output_is_collected_up_to_a_limit) {
    struct wasi_guest guest;
    struct husk_wasi_stream out = buffer_of(10);
    wasi_guest_init(&guest, NULL);
    give_streams(&guest, NULL, &out);
    CHECK_EQ_U64(write_text(&guest, 1, "hello "), 0);
    check_output(&guest, 1, "hello ");
    CHECK(!guest.ctx.given.streams[1].has_lost);
    CHECK_EQ_U64(write_text(&guest, 1, ""), 0);
    CHECK_EQ_U64(write_text(&guest, 1, "world"), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, COUNT), 4);
    CHECK(guest.ctx.given.streams[1].has_lost);
    CHECK_EQ_U64(write_text(&guest, 1, "d"), WASI_ENOSPC);
    CHECK_EQ_U64(write_text(&guest, 1, ""), 0);
    check_output(&guest, 1, "hello worl");
    CHECK_EQ_U64(write_text(&guest, 2, "x"), WASI_EBADF);
    give_streams(&guest, NULL, &out); /* empty again */
    check_output(&guest, 1, "");
    CHECK(!guest.ctx.given.streams[1].has_lost);
    CHECK_EQ_U64(write_text(&guest, 1, "again"), 0);
    check_output(&guest, 1, "again");
    out.limit_bytes = 3; /* less than the old buffer has room for */
    give_streams(&guest, NULL, &out);
    CHECK_EQ_U64(write_text(&guest, 1, "again"), 0);
    check_output(&guest, 1, "aga");
    wasi_guest_done(&guest);
}

TEST(a_buffer_grows_with_many_writes_and_stops_at_the_default_limit) {
    struct wasi_guest guest;
    const struct husk_wasi_stream out = buffer_of(0);
    uint32_t written = 0;
    uint16_t wasi_err = 0;
    wasi_guest_init(&guest, NULL);
    give_streams(&guest, NULL, &out);
    for (uint32_t i = 0; wasi_err == 0; i++) {
        memset(guest.memory + DATA, (int)('a' + i % 26), 7777);
        wasi_err = transfer(&guest, true, 1, 7777);
        written += wasi_err == 0 ? wasi_guest_u32(&guest, COUNT) : 0;
    }
    const struct wasi_stream *stream = &guest.ctx.given.streams[1];
    CHECK_EQ_U64(wasi_err, WASI_ENOSPC);
    CHECK_EQ_U64(written, 1u << 20);
    CHECK_EQ_U64(stream->count, 1u << 20);
    for (size_t i = 0; i < stream->count; i++)
        CHECK(stream->bytes[i] == 'a' + i / 7777 % 26);
    wasi_guest_done(&guest);
}

/* ---- Callbacks ---- */

struct talk {
    int64_t result;  /* of the next call; INT64_MAX: all that is asked for */
    size_t asked[8]; /* counts of the calls */
    unsigned calls;
    char taken[64];
    size_t taken_count;
};

static int64_t talk_read(void *user, void *bytes, size_t count) {
    struct talk *talk = user;
    talk->asked[talk->calls++ % 8] = count;
    const size_t given = talk->result == INT64_MAX ? count : (size_t)talk->result;
    if (talk->result >= 0 && given <= count)
        memset(bytes, 'r', given);
    return talk->result == INT64_MAX ? (int64_t)count : talk->result;
}

static int64_t talk_write(void *user, const void *bytes, size_t count) {
    struct talk *talk = user;
    talk->asked[talk->calls++ % 8] = count;
    const int64_t taken = talk->result == INT64_MAX ? (int64_t)count : talk->result;
    if (taken > 0 && (size_t)taken <= count && talk->taken_count + (size_t)taken < 64) {
        memcpy(talk->taken + talk->taken_count, bytes, (size_t)taken);
        talk->taken_count += (size_t)taken;
    }
    return taken;
}

static struct husk_wasi_stream callbacks(struct talk *talk) {
    struct husk_wasi_stream stream = HUSK_WASI_STREAM_INIT;
    stream.kind = HUSK_WASI_CALLBACK;
    stream.read = talk_read;
    stream.write = talk_write;
    stream.user = talk;
    return stream;
}

TEST(callbacks_give_and_take) {
    struct wasi_guest guest;
    struct talk in = {.result = 2}, out = {.result = INT64_MAX};
    struct husk_wasi_stream in_stream = callbacks(&in), out_stream = callbacks(&out);
    in_stream.write = NULL;
    out_stream.read = NULL;
    wasi_guest_init(&guest, NULL);
    give_streams(&guest, &in_stream, &out_stream);
    check_read(&guest, 5, "rr");
    in.result = 0;
    check_read(&guest, 5, "");
    CHECK_EQ_U64(transfer(&guest, true, 0, 1), WASI_ENOTCAPABLE);
    CHECK_EQ_U64(transfer(&guest, false, 1, 1), WASI_ENOTCAPABLE);
    /* a call for each vector, until one is cut short */
    memcpy(guest.memory + DATA, "abcdef", 6);
    wasi_guest_iovec(&guest, IOV, DATA, 2);
    wasi_guest_iovec(&guest, IOV + 8, DATA, 0);
    wasi_guest_iovec(&guest, IOV + 16, DATA + 2, 4);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_write, 1, IOV, 3, COUNT), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, COUNT), 6);
    CHECK_EQ_U64(out.calls, 2);
    CHECK_MEM(out.taken, "abcdef", 6);
    out.result = 1;
    CHECK_EQ_U64(WASI_CALL(&guest, fd_write, 1, IOV, 3, COUNT), 0);
    CHECK_EQ_U64(wasi_guest_u32(&guest, COUNT), 1);
    CHECK_EQ_U64(out.calls, 3);
    out.result = 0;
    CHECK_EQ_U64(WASI_CALL(&guest, fd_write, 1, IOV, 3, COUNT), WASI_EPIPE);
    CHECK_EQ_U64(write_text(&guest, 1, ""), 0); /* nothing to ask for */
    CHECK_EQ_U64(out.calls, 4);
    wasi_guest_done(&guest);
}

/* The status goes to whoever ends the guest's call. */
TEST(a_callback_that_fails_or_lies_ends_the_call) {
    static const struct {
        int64_t result;
        int status;
    } rows[] = {{HUSK_E_SYS, HUSK_E_SYS},
                {HUSK_E_TIMEOUT, HUSK_E_TIMEOUT},
                {6, HUSK_E_INVAL},
                {INT64_MAX - 1, HUSK_E_INVAL},
                {INT64_MIN, HUSK_E_INVAL}};
    struct wasi_guest guest;
    struct talk talk = {0};
    const struct husk_wasi_stream stream = callbacks(&talk);
    wasi_guest_init(&guest, NULL);
    give_streams(&guest, &stream, &stream);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (uint32_t fd = 0; fd < 2; fd++) {
            talk.result = rows[i].result;
            CHECK(transfer(&guest, fd == 1, fd, 5) != 0);
            CHECK_EQ_I64(guest.status, rows[i].status);
        }
    }
    talk.result = 5;
    CHECK_EQ_U64(transfer(&guest, true, 1, 5), 0);
    CHECK_EQ_I64(guest.status, 0);
    guest.cut_after_ms = 0;
    CHECK_EQ_U64(transfer(&guest, true, 1, 5), WASI_EINTR);
    wasi_guest_done(&guest);
}

/* ---- Who belongs to whom ---- */

TEST(a_new_stream_reaches_the_numbers_that_the_guest_moved) {
    struct wasi_guest guest;
    const struct husk_wasi_stream first = buffer_of(100);
    const struct husk_wasi_stream in = bytes_of("in");
    wasi_guest_init(&guest, NULL);
    give_streams(&guest, &in, &first);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_set_flags, 1, WASI_FDFLAG_NONBLOCK), 0);
    const uint64_t less = WASI_RIGHT_FD_WRITE | WASI_RIGHT_FD_FDSTAT_SET_FLAGS;
    CHECK_EQ_U64(WASI_CALL(&guest, fd_fdstat_set_rights, 1, less, 0), 0);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_renumber, 1, 0), 0); /* 0 is output, 1 is closed */
    CHECK_EQ_U64(write_text(&guest, 0, "first"), 0);
    const struct husk_wasi_stream second = buffer_of(100);
    give_streams(&guest, &in, &second);
    CHECK_EQ_U64(write_text(&guest, 1, "x"), WASI_EBADF); /* the guest closed it */
    CHECK_EQ_U64(write_text(&guest, 0, "second"), 0);
    check_output(&guest, 1, "second");
    const struct wasi_fd *fd = wasi_fds_at(&guest.ctx.fds, 0);
    CHECK(fd != NULL && fd->flags == WASI_FDFLAG_NONBLOCK && fd->rights == less);
    restore(&guest, NULL);
    CHECK_EQ_U64(write_text(&guest, 1, "third"), 0); /* has it again, and behind the rest */
    check_output(&guest, 1, "secondthird");
    check_read(&guest, 9, "in");
    wasi_guest_done(&guest);
}

/* A snapshot is taken before anybody gives streams. */
TEST(streams_that_were_vacant_in_a_snapshot_can_be_given) {
    struct wasi_guest guest;
    struct husk_wasi_stream out = buffer_of(100), closed = HUSK_WASI_STREAM_INIT;
    struct buf saved = {0}, moved = {0};
    struct husk_error err;
    wasi_guest_init(&guest, NULL);
    CHECK_OK(wasi_state_save(&guest.ctx, &saved, &err), err);
    for (int i = 0; i < 2; i++) {
        const struct husk_wasi_stream in = bytes_of("input");
        give_streams(&guest, &in, &out);
        restore(&guest, &saved);
        check_read(&guest, 9, "input");
        CHECK_EQ_U64(write_text(&guest, 1, "output"), 0);
        check_output(&guest, 1, "output");
        CHECK_EQ_U64(write_text(&guest, 2, "x"), WASI_EBADF);
        CHECK_EQ_U64(WASI_CALL(&guest, fd_close, 1), 0);
        CHECK_EQ_U64(write_text(&guest, 1, "x"), WASI_EBADF);
    }
    restore(&guest, &saved);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_renumber, 1, 0), 0);
    CHECK_OK(wasi_state_save(&guest.ctx, &moved, &err), err);
    give_streams(&guest, &closed, &closed);
    CHECK_EQ_U64(write_text(&guest, 0, "x"), WASI_EBADF);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_close, 0), WASI_EBADF);
    restore(&guest, &moved);
    give_streams(&guest, NULL, &out);
    CHECK_EQ_U64(write_text(&guest, 0, "moved"), 0); /* known through all that */
    CHECK_EQ_U64(write_text(&guest, 1, "x"), WASI_EBADF);
    check_output(&guest, 1, "moved");
    buf_done(&saved);
    buf_done(&moved);
    wasi_guest_done(&guest);
}

/* ---- Input that comes later ---- */

static void check_poll_is_pending(struct wasi_guest *guest, uint32_t fd, bool is_pending) {
    wasi_guest_clock_sub(guest, IOV, 0);
    wasi_guest_fd_sub(guest, IOV + WASI_SUBSCRIPTION_BYTES, WASI_EVENT_FD_READ, fd);
    wasi_guest_set_u32(guest, COUNT, 0xffffffff);
    memset(guest->memory + EVENTS, 0x55, 2 * WASI_EVENT_BYTES);
    CHECK_EQ_U64(WASI_CALL(guest, poll_oneoff, IOV, EVENTS, 2, COUNT), 0);
    CHECK_EQ_U64(guest->is_pending, is_pending);
    if (!is_pending)
        return;
    CHECK_EQ_U64(wasi_guest_u32(guest, COUNT), 0xffffffff);
    CHECK_EQ_U64(wasi_guest_u32(guest, EVENTS), 0x55555555);
}

/* Under any number, also as one of several things that are waited for; and nothing was done. */
TEST(whoever_wants_input_that_is_awaited_is_pending) {
    struct wasi_guest guest;
    struct husk_wasi_stream awaited = HUSK_WASI_STREAM_INIT;
    const struct husk_wasi_stream in = bytes_of("later"), out = buffer_of(100);
    awaited.kind = HUSK_WASI_AWAITED;
    wasi_guest_init(&guest, NULL);
    give_streams(&guest, &awaited, &out);
    CHECK_EQ_U64(transfer(&guest, false, 0, 0), 0); /* of nothing */
    CHECK(!guest.is_pending);
    CHECK_EQ_U64(transfer(&guest, true, 0, 1), WASI_ENOTCAPABLE);
    CHECK(!guest.is_pending);
    CHECK_EQ_U64(write_text(&guest, 1, "out"), 0);
    CHECK(!guest.is_pending);
    CHECK_EQ_U64(transfer(&guest, false, 0, 5), 0);
    CHECK(guest.is_pending);
    CHECK_EQ_U64(wasi_guest_u32(&guest, COUNT), 0xffffffff);
    check_poll_is_pending(&guest, 0, true);
    check_poll_is_pending(&guest, 9, false);
    CHECK_EQ_U64(WASI_CALL(&guest, fd_renumber, 0, 1), 0);
    check_poll_is_pending(&guest, 1, true);
    check_poll_is_pending(&guest, 0, false);
    CHECK_EQ_U64(transfer(&guest, false, 1, 5), 0);
    CHECK(guest.is_pending);
    CHECK_EQ_U64(transfer(&guest, false, 0, 5), WASI_EBADF);
    CHECK(!guest.is_pending);
    give_streams(&guest, &in, NULL);
    CHECK_EQ_U64(transfer(&guest, false, 1, 5), 0);
    CHECK(!guest.is_pending);
    CHECK_MEM(guest.memory + DATA, "later", 5);
    wasi_guest_done(&guest);
}

/* ---- All or none ---- */

struct bad {
    const char *what; /* in the message */
    int status;
    void (*spoil)(struct husk_wasi_stream *stream, struct husk_wasi_request *request);
};

#define SPOIL(name, ...)                                                                           \
    static void spoil_##name(struct husk_wasi_stream *stream, struct husk_wasi_request *request) { \
        (void)stream, (void)request;                                                               \
        __VA_ARGS__                                                                                \
    }
static const char *const no_strings[1] = {NULL};
SPOIL(kind, stream->kind = (enum husk_wasi_stream_kind)6;)
SPOIL(size, stream->size = 10;)
SPOIL(bytes, stream->kind = HUSK_WASI_BYTES; stream->limit_bytes = 0;)
SPOIL(field, stream->rights = HUSK_WASI_WRITE;)
SPOIL(callback, stream->kind = HUSK_WASI_CALLBACK; stream->limit_bytes = 0;)
SPOIL(rights, stream->kind = HUSK_WASI_DESCRIPTOR; stream->limit_bytes = 0;
      stream->rights = HUSK_WASI_SEEK;)
SPOIL(input, request->stdin_stream = stream;)
SPOIL(awaited, stream->kind = HUSK_WASI_AWAITED; stream->limit_bytes = 0;)
SPOIL(args, request->args_count = 2;)
SPOIL(env, request->env_count = (1u << 20) + 1; request->env = no_strings;)
static struct husk_wasi_clock bad_clock = HUSK_WASI_CLOCK_INIT;
SPOIL(clock, bad_clock.kind = (enum husk_wasi_clock_kind)2; request->clock = &bad_clock;)
SPOIL(host_clock, bad_clock.kind = HUSK_WASI_CLOCK_HOST; bad_clock.step_ns = 1;
      request->clock = &bad_clock;)
SPOIL(late, bad_clock.kind = HUSK_WASI_CLOCK_FIXED; bad_clock.step_ns = 1ull << 63;
      request->clock = &bad_clock;)

TEST(a_bad_request_changes_nothing) {
    static const struct bad rows[] = {
        {"unknown kind 6", HUSK_E_INVAL, spoil_kind},
        {"ends inside the field kind", HUSK_E_INVAL, spoil_size},
        {"bytes and awaited data are for standard input", HUSK_E_INVAL, spoil_bytes},
        {"does not belong to its kind (3)", HUSK_E_INVAL, spoil_field},
        {"has no callback", HUSK_E_INVAL, spoil_callback},
        {"has the rights 0x4", HUSK_E_INVAL, spoil_rights},
        {"the stream for stdin cannot be of this kind", HUSK_E_INVAL, spoil_input},
        {"cannot be of this kind (5)", HUSK_E_INVAL, spoil_awaited},
        {"2 argument strings, but no array", HUSK_E_INVAL, spoil_args},
        {"at most 1048576 are possible", HUSK_E_LIMIT, spoil_env},
        {"husk_wasi_clock.kind is 2", HUSK_E_INVAL, spoil_clock},
        {"the host's clock has no", HUSK_E_INVAL, spoil_host_clock},
        {"at most 2^63", HUSK_E_INVAL, spoil_late}};
    struct wasi_guest guest;
    const struct husk_wasi_stream in = bytes_of("input"), out = buffer_of(100);
    wasi_guest_init(&guest, NULL);
    give_streams(&guest, &in, &out);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
        struct husk_wasi_stream fine = bytes_of("other"), bad = buffer_of(7);
        const uint64_t seed = 5;
        struct husk_error err;
        request.stdin_stream = &fine;
        request.stdout_stream = request.stderr_stream = &bad;
        request.random_seed = &seed;
        rows[i].spoil(&bad, &request);
        CHECK_STATUS(give(&guest, &request, &err), rows[i].status);
        CHECK_CONTAINS(err.message, rows[i].what);
        CHECK_STATUS(give(&guest, &request, NULL), rows[i].status);
    }
    CHECK_EQ_U64(guest.ctx.given.random_seed, 0);
    CHECK_EQ_U64(write_text(&guest, 2, "x"), WASI_EBADF);
    CHECK_EQ_U64(write_text(&guest, 1, "longer than 7"), 0);
    check_output(&guest, 1, "longer than 7");
    check_read(&guest, 9, "input");
    wasi_guest_done(&guest);
}

/* ---- A set's own ---- */

TEST(sandboxes_of_one_set_have_their_own_position_and_buffer) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    struct wasi_guest first, second;
    struct husk_error err;
    struct wasi_config *config = NULL;
    const struct husk_wasi_stream in = bytes_of("shared"), out = buffer_of(0);
    const char *const args[] = {"program", "two"};
    options.args = (const char *const[]){"replaced"};
    options.args_count = 1;
    request.stdin_stream = &in;
    request.stdout_stream = &out;
    request.args = args;
    request.args_count = 2;
    options.request = &request;
    CHECK_OK(wasi_config_new(&options, &config, &err), err);
    wasi_guest_init(&first, NULL);
    wasi_guest_init(&second, NULL);
    wasi_ctx_done(&first.ctx);
    wasi_ctx_done(&second.ctx);
    CHECK_OK(wasi_ctx_init(&first.ctx, config, &err), err);
    CHECK_OK(wasi_ctx_init(&second.ctx, config, &err), err);
    wasi_config_unref(config);
    check_read(&first, 3, "sha");
    check_read(&second, 9, "shared");
    CHECK_EQ_U64(write_text(&first, 1, "one"), 0);
    give_streams(&second, &in, NULL);
    CHECK_EQ_U64(write_text(&second, 1, "two"), 0);
    check_output(&first, 1, "one");
    check_output(&second, 1, "two");
    check_read(&first, 9, "red");
    check_read(&second, 9, "shared");
    CHECK_EQ_U64(WASI_CALL(&first, args_sizes_get, 0, 4), 0);
    CHECK_EQ_U64(wasi_guest_u32(&first, 0), 2);
    CHECK_EQ_U64(wasi_guest_u32(&first, 4), sizeof "program" + sizeof "two");
    wasi_guest_done(&first);
    wasi_guest_done(&second);
}

TEST(a_set_with_a_bad_request_is_refused) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    struct wasi_config *config = NULL;
    struct husk_error err;
    const struct husk_wasi_stream in = buffer_of(0);
    request.stdin_stream = &in;
    options.request = &request;
    CHECK_STATUS(wasi_config_new(&options, &config, &err), HUSK_E_INVAL);
    CHECK(config == NULL);
}

/* ---- poll_oneoff ---- */

static uint32_t poll_count(struct wasi_guest *guest, uint32_t subs) {
    CHECK_EQ_U64(WASI_CALL(guest, poll_oneoff, DATA, EVENTS, subs, COUNT), 0);
    return wasi_guest_u32(guest, COUNT);
}

TEST(streams_of_the_embedder_are_always_ready) {
    struct wasi_guest guest;
    struct talk talk = {.result = 1};
    struct husk_wasi_stream in = bytes_of("four"), out = buffer_of(0), other = callbacks(&talk);
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    struct husk_error err;
    wasi_guest_init(&guest, NULL);
    request.stdin_stream = &in;
    request.stdout_stream = &out;
    request.stderr_stream = &other;
    CHECK_OK(give(&guest, &request, &err), err);
    wasi_guest_clock_sub(&guest, DATA, 3600u * CLOCK_NS_PER_SECOND);
    wasi_guest_fd_sub(&guest, DATA + 48, WASI_EVENT_FD_READ, 0);
    wasi_guest_fd_sub(&guest, DATA + 96, WASI_EVENT_FD_WRITE, 1);
    wasi_guest_fd_sub(&guest, DATA + 144, WASI_EVENT_FD_READ, 2);
    wasi_guest_fd_sub(&guest, DATA + 192, WASI_EVENT_FD_READ, 1); /* no right to */
    CHECK_EQ_U64(poll_count(&guest, 5), 4);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ_U64(wasi_guest_u64(&guest, EVENTS + i * WASI_EVENT_BYTES), 100 + i);
        CHECK_EQ_U64(wasi_guest_u32(&guest, EVENTS + i * WASI_EVENT_BYTES + 8) & 0xffff, 0);
        CHECK_EQ_U64(wasi_guest_u64(&guest, EVENTS + i * WASI_EVENT_BYTES + 16),
                     ((const uint64_t[]){4, 4096, 1})[i]);
    }
    CHECK_EQ_U64(wasi_guest_u32(&guest, EVENTS + 3 * WASI_EVENT_BYTES + 8) & 0xffff,
                 WASI_ENOTCAPABLE);
    CHECK_EQ_U64(talk.calls, 0);
    wasi_guest_done(&guest);
}

TEST_MAIN()
