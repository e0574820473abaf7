/*
 * host/memory/spare.c: see spare.h. A wish is an image with limits and sizes, and the machines that
 * are ready for it. The thread makes machines outside the lock, one at a time, and looks for the
 * wish again afterwards: it may have changed or gone.
 */
#include "spare.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "error.h"
#include "host_limits.h"
#include "image_internal.h"
#include "machine_space.h"
#include "ports.h"
#include "read_pages.h"

/* After a failure the thread waits before it tries again: twice as long each time. */
#define RETRY_MIN_NS 50000000ull
#define RETRY_MAX_NS 10000000000ull
/* Pages of the read-only part that the first call is expected to touch, as long as nobody has shown
 * which ones it does. */
#define WARM_TEXT_PAGES 32u
/* Of those that sandboxes of the image are known to write. */
#define WARM_HOT_PAGES 512u
/* And those that every call touches: of the stack, of the mailbox, and the entry. */
#define WARM_PAGES_MAX (3u + READ_PAGES_MAX + WARM_HOT_PAGES)
/* A signal of the process may fall into the run. */
#define WARM_TRIES 100

struct spare_wish {
    husk_image *image; /* referenced */
    struct husk_sandbox_options limits;
    struct sizing sizes;
    uint32_t count, ready_count;
    struct machine *ready;
};

/* ---- making one ---- */

static int sizing_copy(const struct sizing *from, const struct image_code *code,
                       struct sizing *ret_copy) {
    const size_t count = sizing_words(code->memories_count, code->tables_count);
    uint64_t *words = malloc((count + 1u) * sizeof *words);
    if (words == NULL)
        return HUSK_E_NOMEM;
    memcpy(words, from->memory_bytes, count * sizeof *words);
    *ret_copy = *from;
    sizing_place(ret_copy, words, code->memories_count, code->tables_count);
    return 0;
}

/* Guest addresses, for vm_regs_touch(). */
struct touch_list {
    uint64_t *places; /* in the mailbox */
    uint32_t count;
};

static void touch_add(struct touch_list *list, uint64_t gva_value, bool is_written) {
    list->places[list->count++] = gva_value | (is_written ? VM_TOUCH_WRITES : 0);
}

static void list_pages(struct machine *machine, struct touch_list *list) {
    husk_image *image = machine->mapped;
    const uint64_t ro_end = HUSK_TEXT_GVA + image->code->ro_bytes;
    touch_add(list, HUSK_STACK_TOP_GVA - HUSK_PAGE_SIZE, true);
    touch_add(list, HUSK_MAILBOX_GVA, true);
    touch_add(list, image->code->module.entry_gva & ~1ull, false);
    pthread_mutex_lock(&image->template_lock);
    for (uint32_t i = 0; i < WARM_TEXT_PAGES && image->read_gvas == NULL; i++)
        if (HUSK_TEXT_GVA + (uint64_t)i * HUSK_PAGE_SIZE < ro_end)
            touch_add(list, HUSK_TEXT_GVA + (uint64_t)i * HUSK_PAGE_SIZE, false);
    for (uint32_t i = 0; i < image->read_count; i++)
        if (image->read_gvas[i] < ro_end ||
            arena_span(&machine->arena, image->read_gvas[i], HUSK_PAGE_SIZE) != NULL)
            touch_add(list, image->read_gvas[i], false);
    for (uint32_t i = 0; i < image->hot_count && i < WARM_HOT_PAGES; i++)
        if (arena_span(&machine->arena, image->hot_gvas[i], HUSK_PAGE_SIZE) != NULL)
            touch_add(list, image->hot_gvas[i], true);
    pthread_mutex_unlock(&image->template_lock);
}

static int run_touch(struct machine *machine, const struct touch_list *list,
                     struct husk_error *err) {
    struct vm_exit exit = {.kind = VM_EXIT_KICKED};
    struct vm_regs regs;
    int status = 0;
    vm_regs_touch(HUSK_MAILBOX_GVA, list->count, &regs);
    machine_set_regs(machine, &regs);
    for (int i = 0; i < WARM_TRIES && status == 0 && exit.kind == VM_EXIT_KICKED; i++)
        status = machine_run(machine, &exit, err);
    if (status == 0 && (exit.kind != VM_EXIT_PORT || exit.port != HUSK_PORT_CALL_DONE))
        status = error_set(err, HUSK_E_SYS, "a new VM did not run as it must");
    return status;
}

/* The guest takes its first page faults now: code of the entry page touches the pages. */
static int touch_pages(struct machine *machine, struct husk_error *err) {
    struct touch_list list = {.places = (uint64_t *)(void *)machine->arena.mailbox};
    enum { LIST_BYTES_MAX = WARM_PAGES_MAX * sizeof(uint64_t) };
    _Static_assert(LIST_BYTES_MAX <= HUSK_MBOX_BYTES, "the list is in the mailbox");
    hotset_host_writes(&machine->hotset, list.places, LIST_BYTES_MAX);
    list_pages(machine, &list);
    int status = run_touch(machine, &list, err);
    memset(list.places, 0, list.count * sizeof *list.places);
    return status;
}

/* Afterwards the memory is equal to the image again, and the pages that were written are known. */
static int warm_up(struct machine *machine, struct husk_error *err) {
    struct hot_counts counts;
    int status = vm_may_change_thread() ? touch_pages(machine, err) : 0;
    if (status == 0)
        status = machine_find_written(machine, err);
    if (status != 0)
        return status;
    machine_change_begin(machine);
    status = machine_copy_hot(machine, &counts, err);
    if (status == 0)
        machine_change_end(machine);
    return status;
}

/* Takes over the sizes. NULL: the error says why. */
static struct machine *spare_make(husk_image *image, const struct husk_sandbox_options *limits,
                                  struct sizing *take_sizes, struct husk_error *err) {
    struct machine *machine = machine_new(image->engine, limits);
    if (machine == NULL) {
        error_set(err, HUSK_E_NOMEM, "no memory for a sandbox");
        sizing_done(take_sizes);
        return NULL;
    }
    tally_begin(&machine->tally);
    if (machine_make_equal(machine, image, take_sizes, false, err) != 0) {
        sizing_done(take_sizes);
    } else if (warm_up(machine, err) == 0) {
        stat_count(&machine->tally, STAT_spares_made);
        machine->is_fresh = true;
        return machine;
    }
    stat_count(&machine->tally, STAT_spare_failures);
    machine_free(machine);
    return NULL;
}

/* ---- the thread ---- */

/* Under the lock. */
static struct spare_wish *wish_find(const struct spares *spares, const husk_image *image,
                                    const struct husk_sandbox_options *limits) {
    for (uint32_t i = 0; i < spares->wishes_count; i++)
        if (spares->wishes[i].image == image &&
            machine_limits_equal(&spares->wishes[i].limits, limits))
            return &spares->wishes[i];
    return NULL;
}

/* In turn, so that one that cannot be fulfilled does not hold up the others. */
static struct spare_wish *wish_unfulfilled(struct spares *spares) {
    for (uint32_t i = 0; i < spares->wishes_count; i++) {
        struct spare_wish *wish = &spares->wishes[spares->turn++ % spares->wishes_count];
        if (wish->ready_count < wish->count)
            return wish;
    }
    return NULL;
}

/* Under the lock, which is given up meanwhile. Returns whether it worked. */
static bool fulfil(husk_engine *engine, const struct spare_wish *wish) {
    struct spares *spares = &engine->spares;
    husk_image *image = husk_image_ref(wish->image);
    const struct husk_sandbox_options limits = wish->limits;
    struct husk_error err = {0};
    struct sizing sizes;
    struct machine *machine = NULL;
    int status = sizing_copy(&wish->sizes, image->code, &sizes);
    pthread_mutex_unlock(&spares->lock);
    if (status == 0)
        machine = spare_make(image, &limits, &sizes, &err);
    else
        error_set(&err, status, "no memory for a sandbox");
    if (machine == NULL)
        engine_log(engine, HUSK_LOG_WARNING, "a spare VM could not be made: %s", err.message);
    const bool has_worked = machine != NULL;
    pthread_mutex_lock(&spares->lock);
    struct spare_wish *now = wish_find(spares, image, &limits);
    if (machine != NULL && now != NULL && now->ready_count < now->count) {
        machine->next_idle = now->ready;
        now->ready = machine;
        now->ready_count++;
        machine = NULL;
    }
    pthread_mutex_unlock(&spares->lock);
    machines_free(machine, false);
    husk_image_unref(image);
    pthread_mutex_lock(&spares->lock);
    return has_worked;
}

static void wait_until(struct spares *spares, uint64_t end_ns) {
    const struct timespec until = clock_timespec(end_ns);
    while (!spares->is_stopping && clock_ns(CLOCK_MONOTONIC) < end_ns)
        pthread_cond_timedwait(&spares->wake, &spares->lock, &until);
}

static void *spares_main(void *argument) {
    husk_engine *engine = argument;
    struct spares *spares = &engine->spares;
    uint64_t retry_ns = RETRY_MIN_NS;
    pthread_setname_np(pthread_self(), "husk-spares");
    pthread_mutex_lock(&spares->lock);
    while (!spares->is_stopping) {
        const struct spare_wish *wish = wish_unfulfilled(spares);
        if (wish == NULL) {
            pthread_cond_wait(&spares->wake, &spares->lock);
        } else if (fulfil(engine, wish)) {
            retry_ns = RETRY_MIN_NS;
        } else {
            wait_until(spares, clock_ns(CLOCK_MONOTONIC) + retry_ns);
            retry_ns = 2 * retry_ns < RETRY_MAX_NS ? 2 * retry_ns : RETRY_MAX_NS;
        }
    }
    pthread_mutex_unlock(&spares->lock);
    return NULL;
}

/* All signals stay with the embedder's threads. */
static int thread_start(husk_engine *engine, struct husk_error *err) {
    sigset_t all, old;
    if (engine->spares.is_started)
        return 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&engine->spares.thread, NULL, spares_main, engine);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0)
        return error_sys(err, rc, "cannot start the thread that makes spare VMs");
    engine->spares.is_started = true;
    return 0;
}

/* ---- wishes ---- */

/* Takes over the sizes. */
static int wish_add(struct spares *spares, husk_image *image,
                    const struct husk_sandbox_options *limits, struct sizing *take_sizes,
                    struct husk_error *err) {
    struct spare_wish *wishes = spares->wishes;
    if (spares->wishes_count == LIMIT_SPARE_IMAGES) {
        sizing_done(take_sizes);
        return error_set(err, HUSK_E_LIMIT, "spare VMs are kept for %u images already",
                         LIMIT_SPARE_IMAGES);
    }
    if (wishes == NULL)
        wishes = spares->wishes = calloc(LIMIT_SPARE_IMAGES, sizeof *wishes);
    if (wishes == NULL) {
        sizing_done(take_sizes);
        return error_set(err, HUSK_E_NOMEM, "no memory for the list of spare VMs");
    }
    wishes[spares->wishes_count++] = (struct spare_wish){
        .image = husk_image_ref(image), .limits = *limits, .sizes = *take_sizes};
    return 0;
}

/* Under the lock: those that are too many leave the list. */
static struct machine *wish_cut(struct spare_wish *wish) {
    struct machine *list = NULL;
    while (wish->ready_count > wish->count) {
        struct machine *machine = wish->ready;
        wish->ready = machine->next_idle;
        wish->ready_count--;
        machine->next_idle = list;
        list = machine;
    }
    return list;
}

/* Under the lock. Returns the image, whose share the caller drops outside of it. */
static husk_image *wish_remove(struct spares *spares, struct spare_wish *wish) {
    husk_image *image = wish->image;
    sizing_done(&wish->sizes);
    *wish = spares->wishes[--spares->wishes_count];
    return image;
}

/* Under the lock. Takes over the sizes. */
static int want(husk_engine *engine, husk_image *image, const struct husk_sandbox_options *limits,
                struct sizing *take_sizes, struct husk_error *err) {
    struct spares *spares = &engine->spares;
    struct spare_wish *wish = wish_find(spares, image, limits);
    if (wish != NULL) {
        sizing_done(&wish->sizes);
        wish->sizes = *take_sizes;
        return 0;
    }
    int status = thread_start(engine, err);
    if (status != 0) {
        sizing_done(take_sizes);
        return status;
    }
    return wish_add(spares, image, limits, take_sizes, err);
}

int spares_want(husk_image *image, const struct husk_sandbox_options *limits,
                struct sizing *take_sizes, uint32_t count, struct husk_error *err) {
    husk_engine *engine = image->engine;
    struct spares *spares = &engine->spares;
    struct machine *dropped = NULL;
    husk_image *gone = NULL;
    int status = 0;
    pthread_mutex_lock(&spares->lock);
    if (spares->is_stopping)
        status = error_set(err, HUSK_E_STATE, "the engine's last share was dropped");
    if (status == 0 && count > 0)
        status = want(engine, image, limits, take_sizes, err);
    else
        sizing_done(take_sizes);
    struct spare_wish *wish = status == 0 ? wish_find(spares, image, limits) : NULL;
    if (wish != NULL) {
        wish->count = count;
        dropped = wish_cut(wish);
        gone = count == 0 ? wish_remove(spares, wish) : NULL;
        pthread_cond_signal(&spares->wake);
    }
    pthread_mutex_unlock(&spares->lock);
    machines_free(dropped, false);
    husk_image_unref(gone);
    return status;
}

/* To wake the thread takes as long as some calls, and it would make the next machine beside the new
 * sandbox's first call: that changes the process's mappings, which interrupts all CPUs that run the
 * process. So a spare machine is made when a sandbox is freed, as long as half of them are left. */
static void wake_later(struct spares *spares, const struct spare_wish *wish) {
    if (2 * wish->ready_count >= wish->count)
        atomic_store_explicit(&spares->owes_wake, true, memory_order_relaxed);
    else
        pthread_cond_signal(&spares->wake);
}

struct machine *spares_take(husk_engine *engine, const husk_image *image,
                            const struct husk_sandbox_options *limits) {
    struct spares *spares = &engine->spares;
    if (atomic_load_explicit(&spares->wishes_count, memory_order_relaxed) == 0)
        return NULL;
    pthread_mutex_lock(&spares->lock);
    struct spare_wish *wish = wish_find(spares, image, limits);
    struct machine *machine = wish != NULL ? wish->ready : NULL;
    if (machine != NULL) {
        wish->ready = machine->next_idle;
        wish->ready_count--;
        wake_later(spares, wish);
    }
    pthread_mutex_unlock(&spares->lock);
    return machine;
}

void spares_learn(struct machine *machine) {
    struct spares *spares = &machine->engine->spares;
    if (atomic_load_explicit(&spares->wishes_count, memory_order_relaxed) != 0 &&
        machine->mapped != NULL && machine->engine->process == process_number())
        read_pages_learn(machine);
}

void spares_refill(husk_engine *engine) {
    struct spares *spares = &engine->spares;
    if (!atomic_load_explicit(&spares->owes_wake, memory_order_relaxed) ||
        engine->process != process_number()) /* see spares_close() */
        return;
    pthread_mutex_lock(&spares->lock);
    atomic_store_explicit(&spares->owes_wake, false, memory_order_relaxed);
    pthread_cond_signal(&spares->wake);
    pthread_mutex_unlock(&spares->lock);
}

/* One wish at a time: what is freed must not be freed under the lock. Returns whether there was
 * one. */
static bool drop_one(struct spares *spares) {
    struct machine *machines = NULL;
    husk_image *image = NULL;
    pthread_mutex_lock(&spares->lock);
    if (spares->wishes_count > 0) {
        machines = spares->wishes[0].ready;
        image = wish_remove(spares, &spares->wishes[0]);
    } else {
        free(spares->wishes);
        spares->wishes = NULL;
    }
    pthread_mutex_unlock(&spares->lock);
    machines_free(machines, false);
    husk_image_unref(image);
    return image != NULL;
}

/* Other threads may still make sandboxes. In a forked child the thread is not there, and the lock
 * may be held for ever. */
void spares_close(husk_engine *engine) {
    struct spares *spares = &engine->spares;
    if (engine->process != process_number())
        return;
    pthread_mutex_lock(&spares->lock);
    spares->is_stopping = true;
    const bool is_started = spares->is_started;
    spares->is_started = false;
    pthread_cond_signal(&spares->wake);
    pthread_mutex_unlock(&spares->lock);
    if (is_started)
        pthread_join(spares->thread, NULL);
    while (drop_one(spares)) {
    }
}
