/*
 * host/engine/labels.c: see labels.h. A counter in Prometheus must never fall, so a label keeps the
 * counts of its sandboxes when they are gone. The number of labels without a sandbox is limited:
 * the one that has been idle longest is forgotten. So an embedder that labels every request anew
 * does not fill the memory.
 */
#include "labels.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "name_text.h"

struct label {
    struct labelled *first;   /* list of the sandboxes that have it */
    uint32_t holds;           /* number of these sandboxes, and of those that are being made */
    uint64_t idle_since;      /* value of labels.releases when the last hold ended */
    struct tally_counts gone; /* counts of sandboxes that no longer have it */
    char text[];
};

int label_check(const char *text, struct husk_error *err) {
    const size_t bytes = strnlen(text, LIMIT_LABEL_BYTES + 1);
    char escape[13];
    if (bytes > LIMIT_LABEL_BYTES)
        return error_set(err, HUSK_E_LIMIT, "the label \"%s\" has more than %u bytes",
                         NAME_SHOWN(text), LIMIT_LABEL_BYTES);
    for (size_t at = 0; at < bytes;) {
        const size_t from = at;
        at += name_escape_character(text + at, bytes - at, escape);
        /* So Prometheus understands the remaining escapes: \\ and \" alone. */
        if (escape[0] == '\\' && isxdigit((unsigned char)escape[1]) != 0)
            return error_set(err, HUSK_E_INVAL,
                             "the label \"%s\" has at byte %zu what is not a visible character of "
                             "UTF-8; husk_name_escape() makes a label of any name",
                             NAME_SHOWN(text), from);
    }
    return 0;
}

/* ---- Labels, ascending ---- */

/* Find the row of a label, or the place where it belongs. */
static uint32_t row_of(const struct labels *labels, const char *text, bool *ret_is_there) {
    uint32_t low = 0, high = labels->count;
    *ret_is_there = false;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const int order = strcmp(labels->rows[middle]->text, text);
        if (order == 0) {
            *ret_is_there = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void row_remove(struct labels *labels, uint32_t idx) {
    free(labels->rows[idx]);
    labels->count--;
    memmove(&labels->rows[idx], &labels->rows[idx + 1],
            (labels->count - idx) * sizeof labels->rows[0]);
}

/* Insert a row. NULL: no memory. */
static struct label *row_insert(struct labels *labels, uint32_t idx, const char *text) {
    if (labels->count == labels->capacity) {
        const uint32_t capacity = labels->capacity == 0 ? 16 : 2 * labels->capacity;
        struct label **rows = realloc(labels->rows, capacity * sizeof rows[0]);
        if (rows == NULL)
            return NULL;
        labels->rows = rows;
        labels->capacity = capacity;
    }
    const size_t text_bytes = strlen(text) + 1;
    struct label *label = calloc(1, sizeof *label + text_bytes);
    if (label == NULL)
        return NULL;
    memcpy(label->text, text, text_bytes);
    memmove(&labels->rows[idx + 1], &labels->rows[idx],
            (labels->count - idx) * sizeof labels->rows[0]);
    labels->rows[idx] = label;
    labels->count++;
    return label;
}

/* Forget the label that has been idle longest. There is an idle label. */
static void forget_oldest(struct labels *labels) {
    uint32_t oldest = UINT32_MAX;
    for (uint32_t i = 0; i < labels->count; i++)
        if (labels->rows[i]->holds == 0 &&
            (oldest == UINT32_MAX ||
             labels->rows[i]->idle_since < labels->rows[oldest]->idle_since))
            oldest = i;
    row_remove(labels, oldest);
    labels->idle_count--;
}

int label_hold(struct labels *labels, const char *text, struct label **ret_label,
               struct husk_error *err) {
    bool is_there;
    pthread_mutex_lock(&labels->lock);
    const uint32_t idx = row_of(labels, text, &is_there);
    struct label *label = is_there ? labels->rows[idx] : row_insert(labels, idx, text);
    if (label != NULL) {
        labels->idle_count -= is_there && label->holds == 0;
        label->holds++;
    }
    pthread_mutex_unlock(&labels->lock);
    if (label == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a label");
    *ret_label = label;
    return 0;
}

/* Under the lock. */
static void release(struct labels *labels, struct label *label) {
    if (--label->holds != 0)
        return;
    label->idle_since = labels->releases++;
    if (++labels->idle_count > LIMIT_LABELS_IDLE)
        forget_oldest(labels);
}

void label_release(struct labels *labels, struct label *label) {
    if (label == NULL)
        return;
    pthread_mutex_lock(&labels->lock);
    release(labels, label);
    pthread_mutex_unlock(&labels->lock);
}

/* ---- Counts ---- */

void tally_read(const struct tally *tally, struct tally_counts *ret_counts) {
    for (unsigned i = 0; i < STAT_COUNT; i++)
        ret_counts->values[i] = atomic_load_explicit(&tally->values[i], memory_order_relaxed);
    for (unsigned i = 0; i < STAT_DURATIONS; i++)
        ret_counts->durations_ns[i] =
            atomic_load_explicit(&tally->durations[i].sum_ns, memory_order_relaxed);
    ret_counts->memory_bytes = atomic_load_explicit(&tally->memory_bytes, memory_order_relaxed);
}

/* Add the counts by which `now` exceeds `before`. Only counts: the caller adds current numbers. */
static void counts_add(struct tally_counts *sum, const struct tally_counts *now,
                       const struct tally_counts *before) {
    for (unsigned i = 0; i < STAT_COUNTERS; i++)
        sum->values[i] += now->values[i] - before->values[i];
    for (unsigned i = 0; i < STAT_DURATIONS; i++)
        sum->durations_ns[i] += now->durations_ns[i] - before->durations_ns[i];
}

void labelled_begin(struct labels *labels, struct labelled *labelled, struct label *take_label,
                    const struct tally *tally) {
    pthread_mutex_lock(&labels->lock);
    labelled->label = take_label;
    labelled->tally = tally;
    labelled->next = take_label->first;
    labelled->link = &take_label->first;
    if (labelled->next != NULL)
        labelled->next->link = &labelled->next;
    take_label->first = labelled;
    pthread_mutex_unlock(&labels->lock);
}

void labelled_end(struct labels *labels, struct labelled *labelled) {
    struct tally_counts now;
    if (labelled->label == NULL)
        return;
    pthread_mutex_lock(&labels->lock);
    tally_read(labelled->tally, &now);
    counts_add(&labelled->label->gone, &now, &labelled->before);
    labelled->before = now;
    *labelled->link = labelled->next;
    if (labelled->next != NULL)
        labelled->next->link = labelled->link;
    release(labels, labelled->label);
    labelled->label = NULL;
    pthread_mutex_unlock(&labels->lock);
}

static void label_sum(const struct label *label, struct label_sum *ret_sum) {
    struct tally_counts now;
    husk_name_escape(label->text, strlen(label->text), ret_sum->text, sizeof ret_sum->text);
    ret_sum->counts = label->gone;
    for (const struct labelled *each = label->first; each != NULL; each = each->next) {
        tally_read(each->tally, &now);
        counts_add(&ret_sum->counts, &now, &each->before);
        ret_sum->counts.values[STAT_hot_pages] += now.values[STAT_hot_pages];
        ret_sum->counts.memory_bytes += now.memory_bytes;
    }
}

int labels_sum(struct labels *labels, struct label_sum **ret_sums, uint32_t *ret_count) {
    struct label_sum *sums = NULL;
    int status = 0;
    pthread_mutex_lock(&labels->lock);
    const uint32_t count = labels->count;
    if (count > 0 && (sums = malloc(count * sizeof sums[0])) == NULL)
        status = HUSK_E_NOMEM;
    for (uint32_t i = 0; status == 0 && i < count; i++)
        label_sum(labels->rows[i], &sums[i]);
    pthread_mutex_unlock(&labels->lock);
    if (status != 0)
        return status;
    *ret_sums = sums;
    *ret_count = count;
    return 0;
}

void labels_init(struct labels *zeroed_labels) {
    pthread_mutex_init(&zeroed_labels->lock, NULL);
}

void labels_done(struct labels *labels) {
    for (uint32_t i = 0; i < labels->count; i++)
        free(labels->rows[i]);
    free(labels->rows);
    pthread_mutex_destroy(&labels->lock);
}
