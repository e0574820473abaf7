/*
 * cli/cache_jobs.c: husk cache jobs, stop and forget: the jobs that optimise images in the
 * background. They are named by the first digits of their keys.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"

static const char *state_name(uint32_t state) {
    switch (state) {
    case HUSK_BACKGROUND_WAITS: return "waits";
    case HUSK_BACKGROUND_WORKS: return "works";
    case HUSK_BACKGROUND_STOPPED: return "stopped";
    default: return "failed";
    }
}

static bool is_alive(const struct husk_background_job *job) {
    return job->state == HUSK_BACKGROUND_WAITS || job->state == HUSK_BACKGROUND_WORKS;
}

/* ---- jobs ---- */

const char *local_time_text(int64_t seconds, char out[32]) {
    const time_t at = (time_t)seconds;
    struct tm tm;
    if (localtime_r(&at, &tm) == NULL || strftime(out, 32, "%F %R", &tm) == 0)
        out[0] = '\0';
    return out;
}

static void print_job(const struct husk_background_job *job) {
    char bytes[32], memory[32], time[32];
    format_bytes(job->wasm_bytes, bytes, sizeof bytes);
    format_bytes(job->memory_limit_bytes, memory, sizeof memory);
    printf("%.*s  %-7s  ", KEY_SHOWN, job->key, state_name(job->state));
    put_text(stdout, job->label[0] != '\0' ? job->label : "(no name)");
    printf(" (%s) to -O%d", bytes, (int)job->opt_level);
    if (job->state == HUSK_BACKGROUND_WORKS && job->total != 0)
        printf(", %u of %u functions", (unsigned)job->done, (unsigned)job->total);
    if (is_alive(job) && job->pid != 0)
        printf(", process %u", (unsigned)job->pid);
    fputs(is_alive(job) ? ", since " : ", ", stdout);
    const uint64_t at_s = is_alive(job) || job->end_s == 0 ? job->begin_s : job->end_s;
    fputs(local_time_text((int64_t)at_s, time), stdout);
    if (is_alive(job))
        printf("; limits %g s, %s", (double)job->cpu_limit_ns / 1e9, memory);
    if (job->state == HUSK_BACKGROUND_FAILED) {
        fputs(": ", stdout);
        put_text(stdout, job->error.message);
    }
    putchar('\n');
}

static void visit_text(void *user, const struct husk_background_job *job) {
    (void)user;
    print_job(job);
}

static void visit_json(void *user, const struct husk_background_job *job) {
    bool *is_first = user;
    printf("%s{\"key\":\"%s\",\"state\":\"%s\",\"label\":", *is_first ? "" : ",", job->key,
           state_name(job->state));
    json_text(stdout, job->label);
    printf(",\"level\":%d,\"pid\":%u,\"attempts\":%u,\"functions_done\":%u,\"functions\":%u"
           ",\"begin\":%llu,\"end\":%llu,\"wasm_bytes\":%llu,\"cpu_limit_ns\":%llu"
           ",\"memory_limit_bytes\":%llu",
           (int)job->opt_level, (unsigned)job->pid, (unsigned)job->attempts, (unsigned)job->done,
           (unsigned)job->total, (unsigned long long)job->begin_s, (unsigned long long)job->end_s,
           (unsigned long long)job->wasm_bytes, (unsigned long long)job->cpu_limit_ns,
           (unsigned long long)job->memory_limit_bytes);
    if (job->error.status != 0) {
        printf(",\"error\":{\"status\":\"%s\",\"message\":", husk_status_name(job->error.status));
        json_text(stdout, job->error.message);
        putchar('}');
    }
    putchar('}');
    *is_first = false;
}

int cache_jobs(const struct report *report, const char *dir) {
    struct husk_error err;
    bool is_first = true;
    if (report->is_json)
        fputs("{\"jobs\":[", stdout);
    int status =
        husk_background_list(dir, report->is_json ? visit_json : visit_text, &is_first, &err);
    if (report->is_json)
        fputs("]}\n", stdout);
    return status == 0 ? CLI_OK : report_error(report, dir, &err);
}

/* ---- stop, forget ---- */

struct keys {
    const char *prefix; /* NULL: of all */
    bool is_alive;      /* those that wait or work; else the others */
    char (*items)[65];
    size_t count;
    bool has_no_memory;
};

static void visit_key(void *user, const struct husk_background_job *job) {
    struct keys *keys = user;
    if (is_alive(job) != keys->is_alive ||
        (keys->prefix != NULL && strncmp(job->key, keys->prefix, strlen(keys->prefix)) != 0))
        return;
    char(*items)[65] = realloc(keys->items, (keys->count + 1) * sizeof *items);
    keys->has_no_memory |= items == NULL;
    if (items == NULL)
        return;
    keys->items = items;
    memcpy(keys->items[keys->count++], job->key, sizeof job->key);
}

static int find_keys(const struct report *report, const char *dir, struct keys *keys) {
    struct husk_error err;
    if (keys->prefix != NULL && keys->prefix[0] == '\0')
        return report_usage(report, "a key has digits; husk cache jobs shows them");
    if (husk_background_list(dir, visit_key, keys, &err) != 0)
        return report_error(report, dir, &err);
    if (keys->has_no_memory)
        return report_usage(report, "out of memory");
    if (keys->prefix == NULL || keys->count == 1)
        return CLI_OK;
    cli_error(&err, keys->count == 0 ? HUSK_E_NOT_FOUND : HUSK_E_INVAL,
              keys->count != 0 ? "several jobs have keys that begin so: give more digits"
              : keys->is_alive ? "no job that waits or works has such a key (husk cache jobs)"
                               : "no job that failed or was stopped has such a key (husk cache "
                                 "jobs)");
    return report_error(report, keys->prefix, &err);
}

static int each(const struct report *report, const char *dir, const char *prefix, bool is_stop) {
    struct keys keys = {.prefix = prefix, .is_alive = is_stop};
    struct husk_error err;
    int code = find_keys(report, dir, &keys);
    for (size_t i = 0; i < keys.count && code == 0; i++) {
        int status =
            (is_stop ? husk_background_stop : husk_background_forget)(dir, keys.items[i], &err);
        if (status != 0 && status != HUSK_E_NOT_FOUND) /* it ended by itself */
            code = report_error(report, keys.items[i], &err);
    }
    free(keys.items);
    return code;
}

int cache_stop(const struct report *report, const char *dir, const char *key) {
    return each(report, dir, key, true);
}

int cache_forget(const struct report *report, const char *dir, const char *key) {
    return each(report, dir, key, false);
}
