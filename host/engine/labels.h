/*
 * host/engine/labels.h: the labels of sandboxes (husk_sandbox_options.label), and what was counted
 * under each of them: by the sandboxes that have it, and by those that had it. Every function may
 * be called by any thread; all lists are under the engine's one lock.
 */
#ifndef HOST_LABELS_H
#define HOST_LABELS_H

#include <pthread.h>

#include "host_limits.h"
#include "stats.h"

/* A tally (stats.h) at one moment, or a sum of such. */
struct tally_counts {
    uint64_t values[STAT_COUNT];
    uint64_t durations_ns[STAT_DURATIONS];
    uint64_t memory_bytes;
};
void tally_read(const struct tally *tally, struct tally_counts *ret_counts);

struct label;

struct labels {
    pthread_mutex_t lock;
    struct label **rows; /* ascending by text; owned, as each of them is */
    uint32_t count, capacity;
    uint32_t idle_count; /* of them; see LIMIT_LABELS_IDLE */
    uint64_t releases;   /* so far */
};

/* A sandbox's place in the list of its label. Zeroed: it has none. */
struct labelled {
    struct label *label; /* held; NULL: none */
    const struct tally *tally;
    struct tally_counts before; /* what other labels, earlier ones, have of the tally */
    struct labelled *next, **link;
};

/* Can this text be a label? HUSK_E_INVAL, HUSK_E_LIMIT. */
int label_check(const char *text, struct husk_error *err);
/* The label of a checked text, for one sandbox more. Given away by labelled_begin(), or released.
 * HUSK_E_NOMEM. */
int label_hold(struct labels *labels, const char *text, struct label **ret_label,
               struct husk_error *err);
void label_release(struct labels *labels, struct label *label); /* NULL is fine */

/* From now on what the tally counts is counted under the label, too, and what it has counted under
 * none. Takes over the hold. */
void labelled_begin(struct labels *labels, struct labelled *labelled, struct label *take_label,
                    const struct tally *tally);
/* The label keeps what was counted. Nothing is done without one. */
void labelled_end(struct labels *labels, struct labelled *labelled);

struct label_sum {
    char text[2 * LIMIT_LABEL_BYTES + 1]; /* escaped for Prometheus */
    struct tally_counts counts;
};
/* Of all labels, ascending by text, one array for free(); NULL if there are none. HUSK_E_NOMEM. */
int labels_sum(struct labels *labels, struct label_sum **ret_sums, uint32_t *ret_count);

void labels_init(struct labels *zeroed_labels);
void labels_done(struct labels *labels); /* all are idle */

#endif
