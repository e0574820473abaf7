/*
 * host/engine/labels.h: the labels of sandboxes (husk_sandbox_options.label), and the counts of
 * each label: of the sandboxes that have it, and of those that had it. Any thread may call any
 * function here. One lock of the engine protects all lists.
 */
#ifndef HOST_LABELS_H
#define HOST_LABELS_H

#include <pthread.h>

#include "host_limits.h"
#include "stats.h"

/* The values of a tally (stats.h) at one moment, or a sum of such values. */
struct tally_counts {
    uint64_t values[STAT_COUNT];
    uint64_t durations_ns[STAT_DURATIONS];
    uint64_t memory_bytes;
};
void tally_read(const struct tally *tally, struct tally_counts *ret_counts);

struct label;

struct labels {
    pthread_mutex_t lock;
    struct label **rows; /* ascending by text; the array and its labels are owned */
    uint32_t count, capacity;
    uint32_t idle_count; /* labels that no sandbox holds; see LIMIT_LABELS_IDLE */
    uint64_t releases;   /* number of labels that became idle so far */
};

/* A sandbox's entry in the list of its label. All zero: it has no label. */
struct labelled {
    struct label *label; /* held; NULL: none */
    const struct tally *tally;
    struct tally_counts before; /* the part of the tally that earlier labels have counted */
    struct labelled *next, **link;
};

/* Check that a text can be a label. HUSK_E_INVAL, HUSK_E_LIMIT. */
int label_check(const char *text, struct husk_error *err);
/* Hold the label of a checked text, for one more sandbox. Give the hold to labelled_begin(), or
 * release it. HUSK_E_NOMEM. */
int label_hold(struct labels *labels, const char *text, struct label **ret_label,
               struct husk_error *err);
void label_release(struct labels *labels, struct label *label); /* NULL is fine */

/* From now on the tally's counts also count for the label; so do its earlier counts that no label
 * has. Takes over the hold. */
void labelled_begin(struct labels *labels, struct labelled *labelled, struct label *take_label,
                    const struct tally *tally);
/* End that. The label keeps the counts so far. Does nothing if there is no label. */
void labelled_end(struct labels *labels, struct labelled *labelled);

struct label_sum {
    char text[2 * LIMIT_LABEL_BYTES + 1]; /* escaped for Prometheus */
    struct tally_counts counts;
};
/* Sum up all labels, ascending by text. The caller frees the array with free(); NULL: there are no
 * labels. HUSK_E_NOMEM. */
int labels_sum(struct labels *labels, struct label_sum **ret_sums, uint32_t *ret_count);

void labels_init(struct labels *zeroed_labels);
void labels_done(struct labels *labels); /* all labels must be idle */

#endif
