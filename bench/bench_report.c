/*
 * bench/bench_report.c: time, percentiles, JSON pieces, failures and files, for the parts of
 * husk_bench.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "husk_compile.h"

uint64_t bench_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t bench_cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int double_compare(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

struct spread spread_of(double *samples, size_t count) {
    qsort(samples, count, sizeof *samples, double_compare);
    return (struct spread){samples[count / 10], samples[count / 2],
                           samples[count - 1 - count / 10]};
}

double geomean_of(const double *values, size_t count) {
    double logs = 0;
    for (size_t i = 0; i < count; i++)
        logs += log(values[i]);
    return exp(logs / (double)count);
}

void json_spread(FILE *json, const char *name, struct spread spread) {
    fprintf(json, "\"%s\":{\"p10\":%.6g,\"p50\":%.6g,\"p90\":%.6g}", name, spread.p10, spread.p50,
            spread.p90);
}

void json_string(FILE *json, const char *text) {
    fputc('"', json);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(json, "\\%c", c);
        else if (c < 0x20)
            fprintf(json, "\\u%04x", c);
        else
            fputc(c, json);
    }
    fputc('"', json);
}

int bench_fail(const char *what, const struct husk_error *err) {
    fprintf(stderr, "husk_bench: %s: %s (%s)\n", what, err->message, husk_status_name(err->status));
    return -1;
}

int bench_fail_outcome(const char *what, int status, const struct husk_outcome *outcome,
                       const struct husk_error *err) {
    if (status != 0)
        return bench_fail(what, err);
    fprintf(stderr, "husk_bench: %s: the call ended otherwise than expected: %s\n", what,
            outcome->message);
    return -1;
}

static int module_read_fd(int fd, uint8_t **ret_bytes, size_t *ret_count) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -1;
    size_t count = (size_t)st.st_size;
    uint8_t *bytes = malloc(count + 1);
    size_t done = 0;
    while (bytes != NULL && done < count) {
        ssize_t got = read(fd, bytes + done, count - done);
        if (got <= 0) {
            free(bytes);
            return -1;
        }
        done += (size_t)got;
    }
    if (bytes == NULL)
        return -1;
    *ret_bytes = bytes;
    *ret_count = count;
    return 0;
}

int module_read(const char *path, uint8_t **ret_bytes, size_t *ret_count) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int result = fd < 0 ? -1 : module_read_fd(fd, ret_bytes, ret_count);
    if (result != 0)
        fprintf(stderr, "husk_bench: cannot read %s: %s\n", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return result;
}

int bench_load(const struct bench *bench, const char *name, husk_image **ret_image) {
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    struct husk_error err;
    char path[4096];
    uint8_t *wasm;
    size_t count;
    int fd;
    options.opt_level = bench->opt_level == 0  ? HUSK_OPT_NONE
                        : bench->opt_level < 0 ? 0
                                               : bench->opt_level;
    options.strict = bench->is_strict;
    options.worker_path = bench->worker_path;
    snprintf(path, sizeof path, "%s/%s.wasm", bench->wasm_dir, name);
    if (module_read(path, &wasm, &count) != 0)
        return -1;
    int status = husk_compile(wasm, count, &options, &fd, &err);
    free(wasm);
    if (status != 0)
        return bench_fail(path, &err);
    status = husk_image_open_fd(
        bench->engine, fd,
        &(struct husk_open_options){.size = sizeof(struct husk_open_options), .skips_hash = true},
        ret_image, &err);
    close(fd);
    return status == 0 ? 0 : bench_fail(path, &err);
}
