/* tests/soak/soak_world.c: what all actors share: see soak.h. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "soak.h"
#include "files_in.h"
#include "ready_image.h"
#include "soak_guest.h"

enum { HELPERS = 2 };

struct world world;

/* ---- host functions ---- */

static struct box *box_of(husk_caller *caller) {
    return husk_sandbox_user(husk_caller_sandbox(caller));
}

static int throw_number(husk_caller *caller, int64_t number) {
    struct husk_throw exception = HUSK_THROW_INIT;
    struct husk_error err;
    const struct husk_value value = value_i64(number);
    const int status =
        husk_image_tag(world.bases[box_of(caller)->state.family], "e", 0, &exception.tag, &err);
    if (status != 0)
        return husk_caller_fail(caller, "no tag: %s", err.message);
    exception.values = &value;
    exception.values_count = 1;
    return husk_caller_throw(caller, &exception);
}

static int host_ask(husk_caller *caller, void *user, const struct husk_value *args,
                    struct husk_value *results) {
    struct box *box = box_of(caller);
    struct husk_error err;
    (void)user;
    results[0].of.i64 = answer_to(args[0].of.i32);
    if (box == NULL || box->is_hostile) /* an engine of one step, or anything at all */
        return 0;
    switch (box->mode) {
    case ASK_PENDS: return husk_caller_pending(caller);
    case ASK_FAILS: return husk_caller_fail(caller, "no");
    case ASK_EXITS: return husk_caller_exit(caller, 3);
    case ASK_THROWS: return throw_number(caller, answer_to(args[0].of.i32));
    case ASK_SNAPSHOTS:
        box->taken_status = husk_caller_snapshot(caller, &box->taken, &err);
        return 0;
    case ASK_ANSWERS: return 0;
    }
    return 0;
}

static int host_throws(husk_caller *caller, void *user, const struct husk_value *args,
                       struct husk_value *results) {
    (void)user, (void)results;
    if (box_of(caller) == NULL || box_of(caller)->is_hostile)
        return 0;
    return throw_number(caller, args[0].of.i64 + 1);
}

/* Calls "swap" of the guest with its own arguments. */
static int host_nest(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    (void)user;
    const int status = husk_call(
        husk_caller_sandbox(caller),
        CALL(.name = "swap", .args = args, .args_count = 2, .results = results, .results_count = 1),
        &outcome, &err);
    if (status != 0)
        return status;
    return outcome.kind == HUSK_RETURNED ? 0 : husk_caller_fail(caller, "%s", outcome.message);
}

int soak_imports(husk_engine *engine, husk_imports **ret_imports, struct husk_error *err) {
    static const husk_type numbers[] = {HUSK_I32, HUSK_I64};
    static const struct husk_functype ask = {numbers, 1, numbers + 1, 1},
                                      throws = {numbers + 1, 1, numbers + 1, 1},
                                      nest = {numbers, 2, numbers + 1, 1};
    static const struct husk_wasi_dir dir = {
        "/data", NULL, -1, HUSK_WASI_DIR_MEM, HUSK_WASI_READ | HUSK_WASI_WRITE, 0};
    const struct husk_host_func rows[] = {
        {.module = "env", .name = "ask", .type = &ask, .fn = host_ask},
        {.module = "env", .name = "throws", .type = &throws, .fn = host_throws},
        {.module = "env", .name = "nest", .type = &nest, .fn = host_nest}};
    struct husk_wasi_options wasi = HUSK_WASI_OPTIONS_INIT;
    wasi.dirs = &dir;
    wasi.dirs_count = 1;
    wasi.private_max_bytes = 512 * 1024;
    int status = husk_imports_new(engine, ret_imports, err);
    if (status == 0)
        status = husk_imports_funcs(*ret_imports, rows, 3, err);
    if (status == 0)
        status = husk_imports_wasi(*ret_imports, &wasi, err);
    return status;
}

/* ---- helpers: threads that end and answer calls ---- */

static struct {
    pthread_t threads[HELPERS];
    pthread_mutex_t lock;
    pthread_cond_t came;
    struct job *first;
    bool has_ended;
} helpers = {.lock = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER};

/* The compiler's process is a child of ours whose name begins so. */
static int kill_workers(pid_t parent) {
    char command[192];
    snprintf(command, sizeof command,
             "for s in $(grep -ls '^PPid:.%ld$' /proc/[0-9]*/status); do"
             " grep -qs '^Name:.husk-compile' $s && echo $s; done",
             (long)parent);
    int killed = 0;
    char line[128];
    FILE *list = popen(command, "re");
    while (list != NULL && fgets(line, sizeof line, list) != NULL)
        killed += kill((pid_t)strtol(line + strlen("/proc/"), NULL, 10), SIGKILL) == 0;
    if (list != NULL)
        pclose(list);
    return killed;
}

static void do_job(struct job *job) {
    usleep(job->delay_us);
    switch (job->kind) {
    case JOB_CANCEL: husk_cancel_now(job->cancel); break;
    case JOB_INTERRUPT: husk_interrupt(job->sandbox); break;
    case JOB_RESUME:
        job->outcome = (struct husk_outcome)HUSK_OUTCOME_INIT;
        job->status = husk_call_resume(job->sandbox, job->answer, &job->outcome, &job->err);
        break;
    case JOB_KILL_WORKER: job->status = kill_workers(getpid()); break;
    }
    sem_post(&job->done);
}

static void *help(void *user) {
    (void)user;
    for (;;) {
        pthread_mutex_lock(&helpers.lock);
        while (helpers.first == NULL && !helpers.has_ended)
            pthread_cond_wait(&helpers.came, &helpers.lock);
        struct job *job = helpers.first;
        if (job != NULL)
            helpers.first = job->next;
        pthread_mutex_unlock(&helpers.lock);
        if (job == NULL)
            return NULL;
        do_job(job);
    }
}

void job_begin(struct job *job) {
    sem_init(&job->done, 0, 0);
    pthread_mutex_lock(&helpers.lock);
    job->next = helpers.first;
    helpers.first = job;
    pthread_cond_signal(&helpers.came);
    pthread_mutex_unlock(&helpers.lock);
}

void job_wait(struct job *job) {
    while (sem_wait(&job->done) != 0 && errno == EINTR) {
    }
    sem_destroy(&job->done);
}

/* ---- the shelf ---- */

void shelf_put(struct actor *actor, const struct saved *saved) {
    pthread_mutex_lock(&world.lock);
    struct saved *slot = &world.shelf[soak_below(actor, SHELF)];
    husk_image *old = slot->image;
    *slot = (struct saved){.image = husk_image_ref(saved->image), .state = saved->state};
    pthread_mutex_unlock(&world.lock);
    husk_image_unref(old);
}

struct saved shelf_take(struct actor *actor) {
    pthread_mutex_lock(&world.lock);
    struct saved saved = world.shelf[soak_below(actor, SHELF)];
    husk_image_ref(saved.image);
    pthread_mutex_unlock(&world.lock);
    return saved;
}

void world_empty(void) {
    for (unsigned i = 0; i < SHELF; i++) {
        husk_image_unref(world.shelf[i].image);
        world.shelf[i].image = NULL;
    }
    for (unsigned i = 0; i < BOXES; i++) {
        box_free(world.lot[i]);
        world.lot[i] = NULL;
    }
}

/* ---- beginning and end ---- */

static husk_image *image_of_family(unsigned family) {
    struct wat_lab lab = {.engine = world.engine};
    struct husk_error err;
    char text[sizeof soak_main + 16];
    snprintf(text, sizeof text, soak_main, family);
    const struct wat_module modules[] = {{.name = "lib", .wat = soak_lib},
                                         {.name = "main", .wat = text}};
    lab.imports = world.imports;
    wat_lab_open_linked(&lab, modules, 2, NULL);
    husk_sandbox_free(lab.sandbox);
    CHECK_OK(husk_image_func(lab.image, "sum", 0, &world.sum[family], &err), err);
    return lab.image;
}

/* A file system of 256 KiB, where this process may make one. No other process sees it, and it ends
 * with this one. */
static void open_full(void) {
    snprintf(world.full, sizeof world.full, "%s/full", world.folder);
    if (mkdir(world.full, 0700) == 0 && unshare(CLONE_NEWNS) == 0 &&
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        mount("husk-soak", world.full, "tmpfs", 0, "size=256k") == 0)
        return;
    rmdir(world.full);
    world.full[0] = '\0';
}

/* Those for spare VMs and for limits begin now, not in the middle of the run, and stay. */
static void begin_library_threads(void) {
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    husk_sandbox *sandbox = NULL;
    limits.wall_ns = 1000000;
    CHECK_OK(husk_sandbox_prepare(world.bases[0], world.imports, NULL, 1, &err), err);
    CHECK_OK(husk_sandbox_new(world.bases[0], world.imports, NULL, &sandbox, &err), err);
    CHECK_OK(husk_call(sandbox, CALL(.name = "spin", .limits = &limits), &outcome, &err), err);
    CHECK_EQ_U64(outcome.kind, HUSK_DEADLINE);
    husk_sandbox_free(sandbox);
}

void world_open(void) {
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    struct husk_error err;
    options.pool_max = 6;
    options.measure_times = true;
    snprintf(world.folder, sizeof world.folder, "/tmp/husk-soak-XXXXXX");
    CHECK(mkdtemp(world.folder) != NULL);
    open_full();
    CHECK_OK(husk_engine_new(&options, &world.engine, &err), err);
    CHECK_OK(soak_imports(world.engine, &world.imports, &err), err);
    for (unsigned family = 0; family < FAMILIES; family++)
        world.bases[family] = image_of_family(family);
    if (!ready_images_only())
        world.wasm = wat_to_wasm(soak_lib, &world.wasm_count);
    pthread_mutex_init(&world.lock, NULL);
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&world.turn, &attributes);
    for (unsigned i = 0; i < HELPERS; i++)
        CHECK(pthread_create(&helpers.threads[i], NULL, help, NULL) == 0);
    begin_library_threads();
}

void world_close(void) {
    pthread_mutex_lock(&helpers.lock);
    helpers.has_ended = true;
    pthread_cond_broadcast(&helpers.came);
    pthread_mutex_unlock(&helpers.lock);
    for (unsigned i = 0; i < HELPERS; i++)
        pthread_join(helpers.threads[i], NULL);
    for (unsigned family = 0; family < FAMILIES; family++)
        husk_image_unref(world.bases[family]);
    husk_imports_free(world.imports);
    husk_engine_unref(world.engine);
    free(world.wasm);
    if (world.full[0] != '\0') {
        CHECK_MSG(files_in(world.full) == 0, "a save left a file on the full file system");
        umount(world.full);
        rmdir(world.full);
    }
    CHECK_MSG(rmdir(world.folder) == 0, "a save left a file in %s", world.folder);
}
