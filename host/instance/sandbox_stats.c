/*
 * host/instance/sandbox_stats.c: the embedder's pointer, the label and the counters of a sandbox.
 * They belong to the sandbox, whatever is loaded in it.
 */
#include "error.h"
#include "options.h"
#include "sandbox_internal.h"
#include "hot.h"

void *husk_sandbox_user(const husk_sandbox *sandbox) {
    return sandbox->user;
}

void husk_sandbox_set_user(husk_sandbox *sandbox, void *user) {
    sandbox->user = user;
}

int husk_sandbox_set_label(husk_sandbox *sandbox, const char *label, struct husk_error *err) {
    struct label *held = NULL;
    int status = 0;
    if (sandbox == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_sandbox_set_label: the sandbox is NULL");
    struct labels *labels = &sandbox->engine->labels;
    if (label != NULL && label[0] != '\0') {
        status = label_check(label, err);
        if (status == 0)
            status = label_hold(labels, label, &held, err);
    }
    if (status != 0)
        return error_while(err, status, "labelling a sandbox");
    labelled_end(labels, &sandbox->labelled);
    if (held != NULL)
        labelled_begin(labels, &sandbox->labelled, held, sandbox->tally);
    return 0;
}

/* Every row of the struct is set below: this number of counters, and 6 others. */
enum sandbox_row {
#define STAT(name, metric, label, help)
#define SANDBOX_STAT(name, metric, label, help) ROW_##name,
#include "stats.def"
#undef STAT
    ROW_COUNTERS
};
_Static_assert(sizeof(struct husk_sandbox_stats) ==
                   (ROW_COUNTERS + 6) * sizeof(uint64_t) + sizeof(size_t),
               "a row is missing");

int husk_sandbox_stats(const husk_sandbox *sandbox, struct husk_sandbox_stats *ret_stats) {
    struct husk_sandbox_stats stats;
    struct tally_counts now;
    int status =
        sandbox == NULL ? HUSK_E_INVAL : output_check("husk_sandbox_stats", ret_stats, NULL);
    if (status != 0)
        return status;
    tally_read(sandbox->tally, &now);
#define STAT(name, metric, label, help)
#define SANDBOX_STAT(name, metric, label, help) stats.name = now.values[STAT_##name];
#include "stats.def"
#undef STAT
#define DURATION(KIND, name, help) stats.name##_ns = now.durations_ns[HUSK_HISTOGRAM_##KIND];
#include "durations.def"
    stats.memory_bytes = now.memory_bytes;
    stats.hot_pages = now.values[STAT_hot_pages];
    output_fill(ret_stats, &stats, sizeof stats);
    return 0;
}
