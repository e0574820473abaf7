/* tests/support/prometheus_text.c: see prometheus_text.h. */
#include "prometheus_text.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "name_text.h"

enum metric_type { TYPE_NONE, TYPE_COUNTER, TYPE_GAUGE, TYPE_HISTOGRAM };

struct parser {
    struct prometheus_text *text;
    char metric[PROMETHEUS_NAME_MAX]; /* of the last HELP */
    enum metric_type type;            /* NONE: TYPE is still to come */
    char seen[128][PROMETHEUS_NAME_MAX];
    size_t seen_count;
    size_t samples_first; /* of this metric */
};

__attribute__((format(printf, 2, 3))) static bool complain(struct parser *parser,
                                                           const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(parser->text->complaint, sizeof parser->text->complaint, format, args);
    va_end(args);
    return false;
}

/* Copies a name; returns what follows it, or NULL. */
static const char *take_name(const char *at, char *ret_name) {
    size_t count = 0;
    while ((isalnum((unsigned char)at[count])) != 0 || at[count] == '_' || at[count] == ':')
        count++;
    if (count == 0 || count >= PROMETHEUS_NAME_MAX || (isdigit((unsigned char)at[0])) != 0)
        return NULL;
    memcpy(ret_name, at, count);
    ret_name[count] = 0;
    return at + count;
}

static bool ends_with(const char *text, const char *end) {
    size_t count = strlen(text), end_count = strlen(end);
    return count >= end_count && strcmp(text + count - end_count, end) == 0;
}

static const struct prometheus_sample *find(const struct prometheus_text *text, size_t from,
                                            const char *name, const char *labels) {
    for (size_t i = from; i < text->samples_count; i++)
        if (strcmp(text->samples[i].name, name) == 0 &&
            strcmp(text->samples[i].labels, labels) == 0)
            return &text->samples[i];
    return NULL;
}

const struct prometheus_sample *prometheus_find(const struct prometheus_text *text,
                                                const char *name, const char *labels) {
    return find(text, 0, name, labels);
}

/* ---- a metric's samples, when all are there ---- */

static bool end_histogram(struct parser *parser) {
    const struct prometheus_text *text = parser->text;
    char part[PROMETHEUS_NAME_MAX + 8];
    double bound = -INFINITY, below = 0;
    snprintf(part, sizeof part, "%s_bucket", parser->metric);
    for (size_t i = parser->samples_first; i < text->samples_count; i++) {
        const struct prometheus_sample *sample = &text->samples[i];
        if (strcmp(sample->name, part) != 0)
            continue;
        char *end;
        if (strncmp(sample->labels, "le=\"", 4) != 0)
            return complain(parser, "%s{%s}: no le", part, sample->labels);
        double now = strtod(sample->labels + 4, &end);
        if (strcmp(end, "\"") != 0 || !(now > bound))
            return complain(parser, "%s{%s}: not an ascending bound", part, sample->labels);
        if (sample->number < below)
            return complain(parser, "%s{%s}: fewer than below it", part, sample->labels);
        bound = now;
        below = sample->number;
    }
    if (bound != INFINITY)
        return complain(parser, "%s: no bucket +Inf", parser->metric);
    snprintf(part, sizeof part, "%s_count", parser->metric);
    const struct prometheus_sample *count = find(text, parser->samples_first, part, "");
    if (count == NULL || count->number != below)
        return complain(parser, "%s: missing, or not the bucket +Inf", part);
    snprintf(part, sizeof part, "%s_sum", parser->metric);
    if (find(text, parser->samples_first, part, "") == NULL)
        return complain(parser, "%s: missing", part);
    return true;
}

static bool end_metric(struct parser *parser) {
    if (parser->metric[0] == '\0')
        return true;
    if (parser->type == TYPE_NONE || parser->samples_first == parser->text->samples_count)
        return complain(parser, "%s: no type, or no samples", parser->metric);
    return parser->type != TYPE_HISTOGRAM || end_histogram(parser);
}

/* ---- lines ---- */

static bool take_help(struct parser *parser, const char *line) {
    if (!end_metric(parser))
        return false;
    char name[PROMETHEUS_NAME_MAX];
    const char *rest = take_name(line, name);
    if (rest == NULL || rest[0] != ' ' || rest[1] == '\0')
        return complain(parser, "HELP of nothing, or without a text: %s", line);
    for (size_t i = 0; i < parser->seen_count; i++)
        if (strcmp(parser->seen[i], name) == 0)
            return complain(parser, "%s: a second time", name);
    if (parser->seen_count == sizeof parser->seen / sizeof parser->seen[0])
        return complain(parser, "too many metrics for this reader");
    strcpy(parser->seen[parser->seen_count++], name);
    strcpy(parser->metric, name);
    parser->type = TYPE_NONE;
    parser->samples_first = parser->text->samples_count;
    return true;
}

static bool take_type(struct parser *parser, const char *line) {
    char name[PROMETHEUS_NAME_MAX];
    const char *rest = take_name(line, name);
    if (rest == NULL || strcmp(name, parser->metric) != 0 || parser->type != TYPE_NONE)
        return complain(parser, "TYPE without HELP before it, or twice: %s", line);
    parser->type = strcmp(rest, " counter") == 0     ? TYPE_COUNTER
                   : strcmp(rest, " gauge") == 0     ? TYPE_GAUGE
                   : strcmp(rest, " histogram") == 0 ? TYPE_HISTOGRAM
                                                     : TYPE_NONE;
    if (parser->type == TYPE_NONE)
        return complain(parser, "unknown type: %s", line);
    if (ends_with(name, "_total") != (parser->type == TYPE_COUNTER))
        return complain(parser, "%s: counters end in _total, and nothing else does", name);
    return true;
}

/* The text of a label up to its closing quotation mark: UTF-8, in which a backslash stands before a
 * backslash, a quotation mark or an n. NULL: it is none. */
static const char *take_label_text(const char *at) {
    char escape[13];
    for (; *at != '"'; at++) {
        if (*at == '\0' || *at == '\n')
            return NULL;
        if (*at == '\\' && (*++at == '\0' || strchr("\\\"n", *at) == NULL))
            return NULL;
        if ((unsigned char)*at >= 0x80) {
            at += name_escape_character(at, strlen(at), escape) - 1;
            if (escape[0] == '\\')
                return NULL;
        }
    }
    return at;
}

/* {name="text",…} */
static const char *take_labels(const char *at, char *ret_labels) {
    char name[PROMETHEUS_NAME_MAX];
    const char *from = ++at;
    for (;; at++) {
        at = take_name(at, name);
        if (at == NULL || at[0] != '=' || at[1] != '"')
            return NULL;
        at = take_label_text(at + 2);
        if (at == NULL)
            return NULL;
        if (*++at != ',')
            break;
    }
    if (*at != '}' || at - from >= PROMETHEUS_LABELS_MAX)
        return NULL;
    memcpy(ret_labels, from, (size_t)(at - from));
    ret_labels[at - from] = 0;
    return at + 1;
}

static bool is_of_metric(const struct parser *parser, const char *name) {
    size_t count = strlen(parser->metric);
    if (parser->metric[0] == '\0' || strncmp(name, parser->metric, count) != 0)
        return false;
    const char *part = name + count;
    if (parser->type != TYPE_HISTOGRAM)
        return *part == '\0';
    return strcmp(part, "_bucket") == 0 || strcmp(part, "_sum") == 0 || strcmp(part, "_count") == 0;
}

static bool take_sample(struct parser *parser, const char *line) {
    struct prometheus_text *text = parser->text;
    struct prometheus_sample sample = {.labels = ""};
    const char *at = take_name(line, sample.name);
    if (at != NULL && *at == '{')
        at = take_labels(at, sample.labels);
    if (at == NULL || *at != ' ')
        return complain(parser, "not a sample: %s", line);
    char *end;
    if ((isdigit((unsigned char)*++at)) == 0) /* nothing here is negative */
        return complain(parser, "not a number: %s", line);
    sample.number = strtod(at, &end);
    if (*end != '\0')
        return complain(parser, "not a number: %s", line);
    if (parser->type == TYPE_NONE || !is_of_metric(parser, sample.name))
        return complain(parser, "a sample of another metric: %s", line);
    if (prometheus_find(text, sample.name, sample.labels) != NULL)
        return complain(parser, "a second time: %s", line);
    if (text->samples_count == PROMETHEUS_SAMPLES_MAX)
        return complain(parser, "too many samples for this reader");
    text->samples[text->samples_count++] = sample;
    return true;
}

static bool take_line(struct parser *parser, const char *line) {
    if (strncmp(line, "# HELP ", 7) == 0)
        return take_help(parser, line + 7);
    if (strncmp(line, "# TYPE ", 7) == 0)
        return take_type(parser, line + 7);
    return take_sample(parser, line);
}

bool prometheus_parse(const char *text, struct prometheus_text *ret_text) {
    static struct parser parser;
    char line[512];
    memset(&parser, 0, sizeof parser);
    parser.text = ret_text;
    ret_text->samples_count = 0;
    ret_text->complaint[0] = 0;
    while (*text != '\0') {
        const char *end = strchr(text, '\n');
        if (end == NULL || (size_t)(end - text) >= sizeof line)
            return complain(&parser, "the last line does not end, or one is too long");
        memcpy(line, text, (size_t)(end - text));
        line[end - text] = 0;
        if (!take_line(&parser, line))
            return false;
        text = end + 1;
    }
    return end_metric(&parser);
}

/* ---- the engine's ---- */

struct page {
    char *bytes;
    size_t count;
};

static int page_write(void *user, const void *bytes, size_t count) {
    struct page *page = user;
    page->bytes = realloc(page->bytes, page->count + count + 1);
    CHECK(page->bytes != NULL);
    memcpy(page->bytes + page->count, bytes, count);
    page->count += count;
    page->bytes[page->count] = 0;
    return 0;
}

const struct prometheus_text *prometheus_read(const husk_engine *engine) {
    static struct prometheus_text text;
    struct page page = {0};
    CHECK_EQ_I64(husk_engine_prometheus(engine, page_write, &page), 0);
    CHECK_EQ_U64(strlen(page.bytes), page.count);
    CHECK_MSG(prometheus_parse(page.bytes, &text), "%s", text.complaint);
    free(page.bytes);
    return &text;
}

void prometheus_check(const struct prometheus_text *text, const char *name, const char *labels,
                      double number) {
    const struct prometheus_sample *sample = prometheus_find(text, name, labels);
    CHECK_MSG(sample != NULL, "no %s{%s}", name, labels);
    CHECK_MSG(sample->number == number, "%s{%s} is %.17g, not %.17g", name, labels, sample->number,
              number);
}
