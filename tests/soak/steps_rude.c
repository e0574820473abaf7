/* tests/soak/steps_rude.c: damaged images, compilers that are killed, limits that are reached. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "soak.h"

/* ---- damaged images ---- */

static husk_image *damaged(struct actor *actor) {
    const struct saved saved = some_image(actor);
    const struct bytes bytes = image_bytes(actor, saved.image);
    husk_image *image = NULL;
    const unsigned changes = 1 + soak_below(actor, 40);
    for (unsigned i = 0; i < changes; i++)
        bytes.at[soak_random(actor) % bytes.count] = (uint8_t)soak_random(actor);
    husk_image_open_buffer(world.engine, (struct husk_buffer){bytes.at, bytes.count}, SKIP_HASH,
                           &image, &actor->err);
    free(bytes.at);
    return image;
}

/* Whatever it does, it ends soon, and inside. */
static void call_hostile(struct actor *actor, struct box *box, husk_image *image,
                         const char *name) {
    struct husk_functype type;
    struct husk_value args[8] = {{0}}, results[8] = {{0}};
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_backtrace trace = HUSK_BACKTRACE_INIT;
    struct husk_call *call = CALL(.args = args, .results = results, .limits = &limits);
    limits.wall_ns = 3000000;
    if (husk_image_func(image, name, 0, &call->func, &actor->err) != 0 ||
        husk_image_func_type(image, call->func, &type, &actor->err) != 0 || type.params_count > 8 ||
        type.results_count > 8)
        return;
    for (size_t i = 0; i < type.params_count; i++)
        args[i].type = type.params[i];
    call->args_count = type.params_count;
    call->results_count = type.results_count;
    actor->outcome = (struct husk_outcome)HUSK_OUTCOME_INIT;
    const int status = husk_call(box->sandbox, call, &actor->outcome, &actor->err);
    husk_sandbox_backtrace(box->sandbox, &trace, &actor->err);
    if (status != 0 || actor->outcome.is_poisoned)
        husk_sandbox_restore(box->sandbox, image, &actor->err);
}

static void play_hostile(struct actor *actor, struct box *box, husk_image *image) {
    static const char *const names[] = {"sum",  "swap",    "ask", "nest", "fill", "get",
                                        "trap", "through", "put", "grow", "work", "entropy"};
    struct husk_limits limits = HUSK_LIMITS_INIT;
    husk_image *snapshot = NULL;
    limits.wall_ns = 3000000;
    husk_sandbox_start(box->sandbox, &limits, &actor->outcome, &actor->err);
    for (unsigned i = 0; i < 6; i++)
        call_hostile(actor, box, image, names[soak_below(actor, sizeof names / sizeof *names)]);
    if (husk_sandbox_snapshot(box->sandbox, &snapshot, &actor->err) != 0)
        return;
    call_hostile(actor, box, image, "swap");
    husk_sandbox_restore(box->sandbox, snapshot, &actor->err);
    husk_image_unref(snapshot);
}

/* Random bytes of a good image are changed: it is refused, or runs contained. A finding is one that
 * ran. */
void step_hostile_image(struct actor *actor) {
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    struct box box = {.is_hostile = true};
    husk_image *image = damaged(actor);
    if (image == NULL)
        return;
    husk_image_check(image, &actor->err);
    options.user = &box;
    options.memory_max_bytes = 2u << 20;
    if (husk_sandbox_new(image, world.imports, &options, &box.sandbox, &actor->err) == 0) {
        actor->findings[actor->step]++;
        play_hostile(actor, &box, image);
        husk_sandbox_free(box.sandbox);
    }
    husk_image_unref(image);
    box_check(actor, some_box(actor));
}

/* ---- another engine ---- */

void step_own_engine(struct actor *actor) {
    husk_engine *engine = NULL;
    husk_imports *imports = NULL;
    husk_image *image = NULL;
    husk_sandbox *sandbox = NULL;
    struct husk_value result = {0};
    const unsigned family = soak_below(actor, FAMILIES);
    const struct state state = state_initial(family);
    int fd = -1;
    NEED(actor, husk_image_share(world.bases[family], &fd, &actor->err) == 0);
    NEED(actor, husk_engine_new(NULL, &engine, &actor->err) == 0);
    NEED(actor, soak_imports(engine, &imports, &actor->err) == 0);
    NEED(actor, husk_image_open_fd(engine, fd, SKIP_HASH, &image, &actor->err) == 0);
    close(fd);
    NEED(actor, husk_sandbox_new(image, imports, NULL, &sandbox, &actor->err) == 0);
    husk_imports_free(imports);
    husk_image_unref(image);
    husk_engine_unref(engine);
    NEED(actor, husk_call(sandbox, CALL(.name = "sum", .results = &result, .results_count = 1),
                          &actor->outcome, &actor->err) == 0);
    NEED(actor, actor->outcome.kind == HUSK_RETURNED && result.of.i64 == state_sum(&state));
    husk_sandbox_free(sandbox);
}

/* ---- a compiler that is killed ---- */

/* Workers of other actors are killed, too. A finding is one that did not finish. */
void step_compile_killed(struct actor *actor) {
    if (world.wasm == NULL)
        return;
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    struct job job = {.kind = JOB_KILL_WORKER, .delay_us = soak_below(actor, 100000)};
    int fd = -1;
    options.worker_path = WAT_WORKER;
    options.threads = 1 + soak_below(actor, 2);
    job_begin(&job);
    const int status = husk_compile(world.wasm, world.wasm_count, &options, &fd, &actor->err);
    job_wait(&job);
    NEED(actor, status == 0 || status == HUSK_E_COMPILER);
    NEED(actor, (status == 0) == (fd >= 0));
    actor->findings[actor->step] += status != 0;
    if (status != 0)
        return;
    husk_image *image = NULL;
    NEED(actor, husk_image_open_fd(world.engine, fd, NULL, &image, &actor->err) == 0);
    husk_image_unref(image);
    close(fd);
}

/* ---- limits of the process ---- */

static bool is_shortage(int status) {
    return status == HUSK_E_SYS || status == HUSK_E_NOMEM;
}

static int refuse_nothing(void *user, const void *bytes, size_t count) {
    (void)user, (void)bytes, (void)count;
    return 0;
}

/* Each succeeds, or fails for the shortage and changes nothing. Findings: those that failed. */
static void try_with_little(struct actor *actor, struct box *box, const struct saved *from) {
    husk_sandbox *sandbox = NULL;
    husk_image *image = NULL;
    int fd = -1;
    const int statuses[] = {
        husk_sandbox_new(from->image, world.imports, NULL, &sandbox, &actor->err),
        husk_sandbox_snapshot(box->sandbox, &image, &actor->err),
        husk_image_save_to(from->image, refuse_nothing, NULL, &actor->err),
        husk_image_share(from->image, &fd, &actor->err)};
    NEED(actor, (statuses[0] == 0) == (sandbox != NULL));
    NEED(actor, (statuses[1] == 0) == (image != NULL));
    NEED(actor, (statuses[3] == 0) == (fd >= 0));
    for (unsigned i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        NEED(actor, statuses[i] == 0 || is_shortage(statuses[i]));
        actor->findings[actor->step] += statuses[i] != 0;
    }
    husk_sandbox_free(sandbox);
    husk_image_unref(image);
    if (fd >= 0)
        close(fd);
}

static void with_limit(struct actor *actor, int resource, rlim_t soft) {
    struct box *box = some_box(actor);
    const struct saved from = some_image(actor);
    struct rlimit before;
    NEED(actor, getrlimit((__rlimit_resource_t)resource, &before) == 0);
    struct rlimit little = {.rlim_cur = soft, .rlim_max = before.rlim_max};
    NEED(actor, setrlimit((__rlimit_resource_t)resource, &little) == 0);
    try_with_little(actor, box, &from);
    NEED(actor, setrlimit((__rlimit_resource_t)resource, &before) == 0);
    box_check_all(actor, box);
}

/* Below this limit are so many descriptors that are not open. */
static rlim_t limit_with_free(unsigned count) {
    int fd = 0;
    for (unsigned found = 0; found < count; fd++)
        found += fcntl(fd, F_GETFD) < 0;
    return (rlim_t)fd;
}

void step_few_descriptors(struct actor *actor) {
    husk_engine_trim(world.engine, 0); /* a new sandbox needs descriptors */
    with_limit(actor, RLIMIT_NOFILE, limit_with_free(soak_below(actor, 8)));
}

/* Address space. The sanitizers need theirs. */
void step_little_memory(struct actor *actor) {
    char line[128];
    unsigned long long kib = 0;
    husk_engine_trim(world.engine, 0);
    FILE *file = fopen("/proc/self/status", "re");
    NEED(actor, file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "VmSize:", 7) == 0)
            kib = strtoull(line + 7, NULL, 10);
    fclose(file);
    if (!HARNESS_SANITIZED)
        with_limit(actor, RLIMIT_AS, (rlim_t)(kib + soak_below(actor, 4096)) * 1024);
}
