/* tests/support/nested_call.c: see nested_call.h. */
#include "nested_call.h"

#include <pthread.h>

#include "harness.h"
#include "literals.h"

static void *spin_nested(void *argument) {
    struct nested_call *nested = argument;
    struct husk_error err;
    struct husk_limits options = HUSK_LIMITS_INIT;
    options.wall_ns = nested->wall_ns;
    nested->outcome.size = sizeof nested->outcome;
    atomic_store(&nested->has_begun, true);
    nested->status = husk_call(nested->sandbox, CALL(.name = "spin", .limits = &options),
                               &nested->outcome, &err);
    return NULL;
}

static int host_spins_inside(husk_caller *caller, void *user, const struct husk_value *args,
                             struct husk_value *results) {
    (void)args, (void)results;
    struct nested_call *nested = user;
    nested->sandbox = husk_caller_sandbox(caller);
    spin_nested(nested);
    return nested->status;
}

/* The same, made by another thread that the host function waits for: that one is inside KVM_RUN
 * then. */
static int host_has_another_thread_spin(husk_caller *caller, void *user,
                                        const struct husk_value *args, struct husk_value *results) {
    (void)args, (void)results;
    struct nested_call *nested = user;
    pthread_t thread;
    nested->sandbox = husk_caller_sandbox(caller);
    CHECK_EQ_I64(pthread_create(&thread, NULL, spin_nested, nested), 0);
    pthread_join(thread, NULL);
    return nested->status;
}

const husk_host_fn nested_spins[NESTED_SPINS] = {host_spins_inside, host_has_another_thread_spin};
