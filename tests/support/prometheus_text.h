/*
 * tests/support/prometheus_text.h: a strict reader of Prometheus's text format 0.0.4, as this
 * project writes it. Every metric has HELP and TYPE before its samples, and its samples stand
 * together. Names, labels and numbers are well-formed. Counters end in _total. Histograms have
 * ascending bounds up to +Inf, counts that never fall, a sum and a count.
 */
#ifndef TESTS_SUPPORT_PROMETHEUS_TEXT_H
#define TESTS_SUPPORT_PROMETHEUS_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "husk.h"

#define PROMETHEUS_SAMPLES_MAX 1024
#define PROMETHEUS_NAME_MAX 80
#define PROMETHEUS_LABELS_MAX 320

struct prometheus_sample {
    char name[PROMETHEUS_NAME_MAX];
    char labels[PROMETHEUS_LABELS_MAX]; /* as written, without the braces */
    double number;
};

struct prometheus_text {
    struct prometheus_sample samples[PROMETHEUS_SAMPLES_MAX];
    size_t samples_count;
    char complaint[256]; /* what is wrong with the text */
};

bool prometheus_parse(const char *text, struct prometheus_text *ret_text);
/* The sample with this name and these labels, or NULL. */
const struct prometheus_sample *prometheus_find(const struct prometheus_text *text,
                                                const char *name, const char *labels);

/* Read the text of husk_engine_prometheus(). Fails the test if it is not well-formed. The result is
 * valid until the next call. */
const struct prometheus_text *prometheus_read(const husk_engine *engine);
/* Fail the test unless there is a sample with this name, these labels and this number. */
void prometheus_check(const struct prometheus_text *text, const char *name, const char *labels,
                      double number);

#endif
