/*
 * WASI in a VM: a module made here imports every function and exports it again. So each can be
 * called from outside and passes through the guest, the host call and the handler. Deadlines and
 * interrupts end waiting calls.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "ready_image.h"
#include "wasi.h"
#include "wasi_abi.h"
#include "literals.h"

/* ---- A module that imports what it is told to ---- */

struct bytes {
    uint8_t data[16384];
    size_t count;
};

static void put(struct bytes *out, const void *data, size_t count) {
    CHECK(out->count + count <= sizeof out->data);
    memcpy(out->data + out->count, data, count);
    out->count += count;
}

static void put_u8(struct bytes *out, unsigned value) {
    uint8_t byte = (uint8_t)value;
    put(out, &byte, 1);
}

static void put_leb(struct bytes *out, size_t value) {
    for (; value >= 0x80; value >>= 7)
        put_u8(out, (unsigned)(value & 0x7f) | 0x80);
    put_u8(out, (unsigned)value);
}

static void put_name(struct bytes *out, const char *name) {
    put_leb(out, strlen(name));
    put(out, name, strlen(name));
}

static void put_section(struct bytes *out, unsigned id, const struct bytes *section) {
    put_u8(out, id);
    put_leb(out, section->count);
    put(out, section->data, section->count);
}

static bool is_included(const char *module, uint32_t func) {
    return strcmp(module, "wasi_unstable") != 0 || wasi_funcs[func].in_unstable;
}

/* Type i, import i, export i: function i of wasi.def. `wrong`: its last parameter is left out. */
static void module_make(const char *module, const char *wrong, struct bytes *out) {
    static struct bytes types, imports, exports, memory;
    uint32_t count = 0, idx = 0;
    for (uint32_t i = 0; i < WASI_FUNCS_COUNT; i++)
        count += is_included(module, i);
    types.count = imports.count = exports.count = memory.count = out->count = 0;
    put_leb(&types, count);
    put_leb(&imports, count);
    put_leb(&exports, count + 1);
    for (uint32_t i = 0; i < WASI_FUNCS_COUNT; i++) {
        if (!is_included(module, i))
            continue;
        const struct wasi_func *func = &wasi_funcs[i];
        size_t params = strlen(func->params) - (wrong != NULL && strcmp(wrong, func->name) == 0);
        put_u8(&types, 0x60);
        put_leb(&types, params);
        for (size_t k = 0; k < params; k++)
            put_u8(&types, func->params[k] == 'i' ? 0x7f : 0x7e);
        put_leb(&types, func->has_result);
        if (func->has_result)
            put_u8(&types, 0x7f);
        put_name(&imports, module);
        put_name(&imports, func->name);
        put_u8(&imports, 0);
        put_leb(&imports, idx);
        put_name(&exports, func->name);
        put_u8(&exports, 0);
        put_leb(&exports, idx++);
    }
    put(&memory, "\1\0\2", 3); /* one memory of two pages */
    put_name(&exports, "memory");
    put(&exports, "\2\0", 2);
    put(out, "\0asm\1\0\0\0", 8);
    put_section(out, 1, &types);
    put_section(out, 2, &imports);
    put_section(out, 5, &memory);
    put_section(out, 7, &exports);
}

/* ---- Sandboxes of it ---- */

struct world {
    husk_engine *engine;
    husk_image *image;
    husk_imports *imports;
    husk_sandbox *sandbox;
    uint8_t *memory;
};

static void world_open(struct world *world, const char *module, const char *wrong) {
    static struct bytes wasm;
    struct husk_error err;
    memset(world, 0, sizeof *world);
    module_make(module, wrong, &wasm);
    CHECK_OK(husk_engine_new(NULL, &world->engine, &err), err);
    int fd = ready_image_compile(wasm.data, wasm.count, wasm.data, wasm.count, NULL);
    CHECK_OK(husk_image_open_fd(world->engine, fd, NULL, &world->image, &err), err);
    close(fd);
    CHECK_OK(husk_imports_new(world->engine, &world->imports, &err), err);
}

static husk_sandbox *sandbox_make(struct world *world, uint8_t **ret_memory) {
    struct husk_error err;
    husk_sandbox *sandbox = NULL;
    void *span = NULL;
    CHECK_OK(husk_sandbox_new(world->image, world->imports, NULL, &sandbox, &err), err);
    CHECK_OK(husk_memory_span(sandbox, RANGE(.count = 0x20000), &span, &err), err);
    *ret_memory = span;
    return sandbox;
}

static void world_make(struct world *world, const struct husk_wasi_options *options) {
    struct husk_error err;
    world_open(world, "wasi_snapshot_preview1", NULL);
    CHECK_OK(husk_imports_wasi(world->imports, options, &err), err);
    world->sandbox = sandbox_make(world, &world->memory);
}

static void world_done(struct world *world) {
    husk_sandbox_free(world->sandbox);
    husk_imports_free(world->imports);
    husk_image_unref(world->image);
    husk_engine_unref(world->engine);
}

static void set_u32(uint8_t *memory, uint32_t addr, uint32_t value) {
    memcpy(memory + addr, &value, 4);
}

static uint32_t get_u32(const uint8_t *memory, uint32_t addr) {
    uint32_t value;
    memcpy(&value, memory + addr, 4);
    return value;
}

static void call_with(husk_sandbox *sandbox, const char *name, const uint64_t *values,
                      uint64_t wall_ns, struct husk_outcome *outcome, int32_t *ret_errno) {
    struct husk_value args[10], result = {.type = HUSK_I32};
    struct husk_limits options = HUSK_LIMITS_INIT;
    struct husk_error err;
    uint32_t id = 0;
    options.wall_ns = wall_ns;
    while (strcmp(wasi_funcs[id].name, name) != 0)
        id++;
    const struct wasi_func *func = &wasi_funcs[id];
    size_t count = strlen(func->params);
    for (size_t i = 0; i < count; i++) {
        args[i] = (struct husk_value){.type = func->params[i] == 'i' ? HUSK_I32 : HUSK_I64};
        if (func->params[i] == 'i')
            args[i].of.i32 = (int32_t)(uint32_t)values[i];
        else
            args[i].of.i64 = (int64_t)values[i];
    }
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = name, .args = args, .args_count = count, .results = &result,
                            .results_count = func->has_result, .limits = &options),
                       outcome, &err),
             err);
    *ret_errno = result.of.i32;
}

/* A call that returns: its errno. */
static int32_t call_values(husk_sandbox *sandbox, const char *name, const uint64_t *values) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    int32_t wasi_err = -1;
    call_with(sandbox, name, values, 0, &outcome, &wasi_err);
    CHECK_MSG(outcome.kind == HUSK_RETURNED, "%s: %s", name, outcome.message);
    return wasi_err;
}
#define CALL_WASI(sandbox, name, ...)                                                              \
    call_values(sandbox, name, (const uint64_t[]){__VA_ARGS__ __VA_OPT__(, ) 0})

/* ---- Tests ---- */

TEST(all_functions_link_in_both_namespaces) {
    static const char *const modules[] = {"wasi_snapshot_preview1", "wasi_unstable"};
    SKIP_WITHOUT_KVM();
    for (int i = 0; i < 2; i++) {
        struct world world;
        struct husk_error err;
        world_open(&world, modules[i], NULL);
        CHECK_STATUS(husk_sandbox_new(world.image, world.imports, NULL, &world.sandbox, &err),
                     HUSK_E_LINK);
        CHECK_CONTAINS(err.message, "args_get");
        CHECK_OK(husk_imports_wasi(world.imports, NULL, &err), err);
        world.sandbox = sandbox_make(&world, &world.memory);
        CHECK_EQ_I64(CALL_WASI(world.sandbox, "args_sizes_get", 0, 4), 0);
        CHECK_EQ_I64(CALL_WASI(world.sandbox, "fd_seek", 0, 0, 0, 0), WASI_EBADF);
        world_done(&world);
    }
}

TEST(a_wrong_signature_does_not_link) {
    struct world world;
    struct husk_error err;
    SKIP_WITHOUT_KVM();
    world_open(&world, "wasi_snapshot_preview1", "fd_write");
    CHECK_OK(husk_imports_wasi(world.imports, NULL, &err), err);
    CHECK_STATUS(husk_sandbox_new(world.image, world.imports, NULL, &world.sandbox, &err),
                 HUSK_E_LINK);
    CHECK_CONTAINS(err.message, "fd_write");
    CHECK(world.sandbox == NULL);
    world_done(&world);
}

TEST(writes_and_reads_guest_memory) {
    struct world world;
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    const char *args[] = {"name", "argument"};
    int fds[2];
    char text[16] = "";
    SKIP_WITHOUT_KVM();
    CHECK(pipe(fds) == 0);
    options.stdin_fd = fds[0];
    options.stdout_fd = fds[1];
    options.stdin_rights = HUSK_WASI_READ;
    options.stdout_rights = HUSK_WASI_WRITE;
    options.args = args;
    options.args_count = 2;
    world_make(&world, &options);
    memcpy(world.memory + 100, "from inside", 11);
    set_u32(world.memory, 8, 100);
    set_u32(world.memory, 12, 11);
    CHECK_EQ_I64(CALL_WASI(world.sandbox, "fd_write", 1, 8, 1, 0), 0);
    CHECK_EQ_U64(get_u32(world.memory, 0), 11);
    CHECK(read(fds[0], text, sizeof text) == 11);
    CHECK_STR(text, "from inside");
    CHECK(write(fds[1], "abc", 3) == 3);
    CHECK_EQ_I64(CALL_WASI(world.sandbox, "fd_read", 0, 8, 1, 0), 0);
    CHECK_EQ_U64(get_u32(world.memory, 0), 3);
    CHECK_MEM(world.memory + 100, "abcm inside", 11);
    CHECK_EQ_I64(CALL_WASI(world.sandbox, "args_get", 1000, 2000), 0);
    CHECK_STR((const char *)world.memory + get_u32(world.memory, 1004), "argument");
    set_u32(world.memory, 8, 0x1ffff); /* one byte too far */
    set_u32(world.memory, 12, 2);
    CHECK_EQ_I64(CALL_WASI(world.sandbox, "fd_write", 1, 8, 1, 0), WASI_EFAULT);
    close(fds[0]);
    set_u32(world.memory, 8, 0);
    CHECK_EQ_I64(CALL_WASI(world.sandbox, "fd_write", 1, 8, 1, 0), WASI_EPIPE);
    close(fds[1]);
    world_done(&world);
}

TEST(exits_and_goes_on) {
    struct world world;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    int32_t wasi_err;
    SKIP_WITHOUT_KVM();
    world_make(&world, NULL);
    call_with(world.sandbox, "proc_exit", (const uint64_t[]){0xffffffff}, 0, &outcome, &wasi_err);
    CHECK_EQ_U64(outcome.kind, HUSK_EXITED);
    CHECK_EQ_I64(outcome.exit_code, -1);
    CHECK(!outcome.is_poisoned);
    CHECK_EQ_I64(CALL_WASI(world.sandbox, "sched_yield"), 0);
    world_done(&world);
}

TEST(each_sandbox_has_a_state_of_its_own) {
    struct world world;
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    uint8_t *memory = NULL;
    int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    SKIP_WITHOUT_KVM();
    options.stdout_fd = null_fd;
    options.stdout_rights = HUSK_WASI_WRITE;
    options.random_seed = 7;
    world_make(&world, &options);
    husk_sandbox *other = sandbox_make(&world, &memory);
    husk_imports_free(world.imports); /* sandboxes keep what they use */
    world.imports = NULL;
    CHECK_EQ_I64(CALL_WASI(world.sandbox, "fd_close", 1), 0);
    CHECK_EQ_I64(CALL_WASI(world.sandbox, "fd_write", 1, 8, 0, 0), WASI_EBADF);
    CHECK_EQ_I64(CALL_WASI(other, "fd_write", 1, 8, 0, 0), 0);
    CHECK_EQ_I64(CALL_WASI(world.sandbox, "random_get", 0, 64), 0);
    CHECK_EQ_I64(CALL_WASI(other, "random_get", 0, 64), 0);
    CHECK_MEM(world.memory, memory, 64); /* the same seed, from its start */
    husk_sandbox_free(other);
    CHECK(fcntl(null_fd, F_GETFD) >= 0);
    close(null_fd);
    world_done(&world);
}

/* The three ways to wait: an empty pipe, a full pipe, a sleep. */
static const char *prepare_wait(struct world *world, int way, uint64_t args[4]) {
    memset(world->memory, 0, 256);
    set_u32(world->memory, 8, 0);
    set_u32(world->memory, 12, way == 1 ? 0x20000 : 10);
    args[0] = way == 1;
    args[1] = 8;
    args[2] = 1;
    args[3] = 0;
    if (way < 2)
        return way == 0 ? "fd_read" : "fd_write";
    set_u32(world->memory, 8 + 16, 1);              /* the monotonic clock */
    set_u32(world->memory, 8 + 24 + 4, 0x10000000); /* for 36 years */
    args[0] = 8;
    args[1] = 1000;
    return "poll_oneoff";
}

static void waits_world(struct world *world, int empty[2], int full[2]) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    CHECK(pipe(empty) == 0);
    CHECK(pipe(full) == 0);
    options.stdin_fd = empty[0];
    options.stdout_fd = full[1];
    options.stdin_rights = HUSK_WASI_READ;
    options.stdout_rights = HUSK_WASI_WRITE;
    world_make(world, &options);
}

static void waits_done(struct world *world, int empty[2], int full[2]) {
    world_done(world);
    for (int i = 0; i < 2; i++) {
        close(empty[i]);
        close(full[i]);
    }
}

/* Long enough for the guest to have begun to wait; an emulated CPU takes its time
 * (tools/run-hwkvm). */
static uint64_t until_it_waits_ns(void) {
    return getenv("HUSK_TEST_EMULATED") != NULL ? 500000000 : 20000000;
}

TEST(a_deadline_ends_a_wait) {
    SKIP_WITHOUT_KVM();
    for (int way = 0; way < 3; way++) {
        struct world world;
        struct husk_outcome outcome = HUSK_OUTCOME_INIT;
        int32_t wasi_err;
        int empty[2], full[2];
        uint64_t args[4];
        waits_world(&world, empty, full);
        const char *name = prepare_wait(&world, way, args);
        call_with(world.sandbox, name, args, until_it_waits_ns(), &outcome, &wasi_err);
        CHECK_MSG(outcome.kind == HUSK_DEADLINE, "%s: %s", name, outcome.message);
        CHECK(outcome.is_poisoned);
        waits_done(&world, empty, full);
    }
}

static void *interrupt_later(void *sandbox) {
    struct timespec pause = {.tv_nsec = (long)until_it_waits_ns()};
    nanosleep(&pause, NULL);
    husk_interrupt(sandbox);
    return NULL;
}

TEST(an_interrupt_ends_a_wait) {
    SKIP_WITHOUT_KVM();
    for (int way = 0; way < 3; way++) {
        struct world world;
        struct husk_outcome outcome = HUSK_OUTCOME_INIT;
        int32_t wasi_err;
        int empty[2], full[2];
        uint64_t args[4];
        pthread_t thread;
        waits_world(&world, empty, full);
        const char *name = prepare_wait(&world, way, args);
        CHECK(pthread_create(&thread, NULL, interrupt_later, world.sandbox) == 0);
        call_with(world.sandbox, name, args, 0, &outcome, &wasi_err);
        pthread_join(thread, NULL);
        CHECK_MSG(outcome.kind == HUSK_INTERRUPTED, "%s: %s", name, outcome.message);
        waits_done(&world, empty, full);
    }
}

/* A signal of the embedder's own must neither end a wait nor reach the guest. */
static void on_alarm(int signal) {
    (void)signal;
}

TEST(other_signals_do_not_end_a_wait) {
    struct world world;
    struct sigaction action = {.sa_handler = on_alarm}, before;
    struct timespec start, end;
    uint64_t args[4];
    int empty[2], full[2];
    SKIP_WITHOUT_KVM();
    waits_world(&world, empty, full);
    const char *name = prepare_wait(&world, 2, args);
    set_u32(world.memory, 8 + 24, 100000000); /* 100 ms */
    set_u32(world.memory, 8 + 28, 0);
    CHECK(sigaction(SIGALRM, &action, &before) == 0);
    clock_gettime(CLOCK_MONOTONIC, &start);
    ualarm(20000, 20000);
    int32_t wasi_err = call_values(world.sandbox, name, args);
    ualarm(0, 0);
    clock_gettime(CLOCK_MONOTONIC, &end);
    sigaction(SIGALRM, &before, NULL);
    CHECK_EQ_I64(wasi_err, 0);
    CHECK((end.tv_sec - start.tv_sec) * 1000000000 + end.tv_nsec - start.tv_nsec >= 100000000);
    waits_done(&world, empty, full);
}

TEST(survives_wild_arguments) {
    static const uint64_t wild[] = {
        0, 1, 2, 0x1ffff, 0x20000, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff, 1024, 8};
    struct world world;
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    uint64_t state = 1;
    SKIP_WITHOUT_KVM();
    options.stdin_fd = options.stdout_fd = null_fd;
    options.stdin_rights = HUSK_WASI_READ;
    options.stdout_rights = HUSK_WASI_WRITE;
    world_make(&world, &options);
    for (unsigned round = 0; round < 10000; round++) {
        uint64_t args[10];
        struct husk_outcome outcome = HUSK_OUTCOME_INIT;
        int32_t wasi_err = 0;
        for (unsigned i = 0; i < 10; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            args[i] = wild[(state >> 33) % (sizeof wild / sizeof wild[0])];
        }
        if (round % 16 == 0)
            memset(world.memory, 0, 0x20000); /* clocks of long ago: polls do not sleep */
        call_with(world.sandbox, wasi_funcs[round % WASI_FUNCS_COUNT].name, args, 1000000000,
                  &outcome, &wasi_err);
        if (outcome.is_poisoned) {
            CHECK_EQ_U64(outcome.kind, HUSK_DEADLINE);
            husk_sandbox_free(world.sandbox);
            world.sandbox = sandbox_make(&world, &world.memory);
        }
        CHECK(outcome.kind == HUSK_RETURNED || outcome.kind == HUSK_EXITED ||
              outcome.kind == HUSK_DEADLINE);
        CHECK(wasi_err >= 0 && wasi_err <= WASI_ENOTCAPABLE);
    }
    close(null_fd);
    world_done(&world);
}

/* A file that was unlinked and is still open comes back in its sandbox, and is closed in another
 * one: there is no path to it. A file with a path comes back in both. */
TEST(open_files_come_back) {
    char folder[] = "/tmp/husk-wasi-XXXXXX", path[64];
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct husk_wasi_dir dir = {.guest_path = "/",
                                .host_path = folder,
                                .kind = HUSK_WASI_DIR_HOST,
                                .rights = HUSK_WASI_READ | HUSK_WASI_WRITE};
    const uint64_t rights = WASI_RIGHT_FD_WRITE | WASI_RIGHT_FD_TELL;
    struct husk_error err;
    struct world world;
    husk_image *snapshot = NULL;
    husk_sandbox *other = NULL;
    SKIP_WITHOUT_KVM();
    CHECK(mkdtemp(folder) != NULL);
    options.dirs = &dir;
    options.dirs_count = 1;
    world_make(&world, &options);
    memcpy(world.memory + 64, "ab", 2);
    set_u32(world.memory, 16, 64);
    set_u32(world.memory, 20, 2);
    for (uint32_t i = 0; i < 2; i++) { /* "a" is descriptor 0, "b" is 1 */
        CHECK_EQ_I64(CALL_WASI(world.sandbox, "path_open", 3, 0, 64 + i, 1, 1, rights, 0, 0, 0), 0);
        CHECK_EQ_U64(get_u32(world.memory, 0), i);
        CHECK_EQ_I64(CALL_WASI(world.sandbox, "fd_write", i, 16, 1, 0), 0);
    }
    CHECK_EQ_I64(CALL_WASI(world.sandbox, "path_unlink_file", 3, 64, 1), 0);
    CHECK_OK(husk_sandbox_snapshot(world.sandbox, &snapshot, &err), err);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ_I64(CALL_WASI(world.sandbox, "fd_write", 0, 16, 1, 0), 0);
        CHECK_EQ_I64(CALL_WASI(world.sandbox, "fd_close", 1), 0);
        CHECK_OK(husk_sandbox_restore(world.sandbox, snapshot, &err), err);
        for (uint32_t fd = 0; fd < 2; fd++) {
            CHECK_EQ_I64(CALL_WASI(world.sandbox, "fd_tell", fd, 0), 0);
            CHECK_EQ_U64(get_u32(world.memory, 0), 2);
        }
    }
    CHECK_OK(husk_sandbox_new(snapshot, world.imports, NULL, &other, &err), err);
    CHECK_EQ_I64(CALL_WASI(other, "fd_tell", 0, 0), WASI_EBADF);
    CHECK_EQ_I64(CALL_WASI(other, "fd_write", 1, 16, 1, 0), 0);
    husk_sandbox_free(other);
    husk_image_unref(snapshot);
    world_done(&world);
    snprintf(path, sizeof path, "%s/b", folder);
    CHECK(unlink(path) == 0 && rmdir(folder) == 0);
}

TEST_MAIN()
