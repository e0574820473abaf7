/*
 * cli/report.c: prints errors, traps and results, as text on standard error or as JSON on standard
 * output.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

/* Bytes of the UTF-8 sequence at text, or 0; *ret_code_point (The Unicode Standard, table 3-7). */
static size_t utf8_bytes(const unsigned char *text, size_t count, uint32_t *ret_code_point) {
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = text[0];
    size_t bytes = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (bytes == 0 || bytes > count || first > 0xf4)
        return 0;
    uint32_t code = bytes == 1 ? first : first & (0x7fu >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (text[i] & 0x3fu);
    }
    if (code < least[bytes] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return 0;
    *ret_code_point = code;
    return bytes;
}

/* Does this character show itself? Quotation marks and backslashes do. */
static bool is_seen(const unsigned char *text, size_t bytes) {
    char escaped[16];
    return *text == '"' || *text == '\\' ||
           husk_name_escape((const char *)text, bytes, escaped, sizeof escaped) == bytes;
}

static void json_escape(FILE *out, uint32_t code_point) {
    if (code_point >= 0x10000) {
        fprintf(out, "\\u%04x", 0xd800 + ((code_point - 0x10000) >> 10));
        code_point = 0xdc00 + ((code_point - 0x10000) & 0x3ff);
    }
    fprintf(out, "\\u%04x", code_point);
}

void json_string(FILE *out, const char *text, size_t count) {
    fputc('"', out);
    for (size_t i = 0; i < count;) {
        const unsigned char *at = (const unsigned char *)text + i;
        uint32_t code_point = 0xfffd;
        size_t bytes = utf8_bytes(at, count - i, &code_point);
        if (bytes == 0 || !is_seen(at, bytes))
            json_escape(out, code_point);
        else if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else
            fwrite(at, 1, bytes, out);
        i += bytes != 0 ? bytes : 1;
    }
    fputc('"', out);
}

void json_text(FILE *out, const char *text) {
    if (text != NULL)
        json_string(out, text, strlen(text));
    else
        fputs("null", out);
}

/* Character by character: one may become four escapes. */
static void put_escaped(FILE *out, const char *text, size_t count, bool is_name) {
    for (size_t i = 0; i < count;) {
        char escaped[16];
        uint32_t code_point;
        size_t bytes = utf8_bytes((const unsigned char *)text + i, count - i, &code_point);
        if (bytes == 0)
            bytes = 1;
        husk_name_escape(text + i, bytes, escaped, sizeof escaped);
        bool is_quoting = text[i] == '"' || text[i] == '\\';
        if (is_quoting && !is_name)
            fputc(text[i], out);
        else
            fputs(escaped, out);
        i += bytes;
    }
}

void put_name(FILE *out, const char *name, size_t count) {
    put_escaped(out, name, count, true);
}

void put_text(FILE *out, const char *text) {
    put_escaped(out, text, strlen(text), false);
}

int report_error(const struct report *report, const char *path, const struct husk_error *err) {
    if (report->is_json) {
        printf("{\"error\":{\"status\":\"%s\",\"file\":", husk_status_name(err->status));
        json_text(stdout, path);
        fputs(",\"message\":", stdout);
        json_text(stdout, err->message);
        if (err->offset != HUSK_NO_OFFSET)
            printf(",\"offset\":%" PRIu64, err->offset);
        if (err->sys_errno != 0)
            printf(",\"errno\":%d", err->sys_errno);
        fputs("}}\n", stdout);
        return CLI_ERROR;
    }
    fprintf(stderr, "husk %s: ", report->command);
    if (path != NULL) {
        put_text(stderr, path);
        fputs(": ", stderr);
    }
    put_text(stderr, err->message);
    /* the wasm validator's messages do */
    bool says_where = strstr(err->message, "at offset 0x") != NULL;
    if (err->offset != HUSK_NO_OFFSET && !says_where)
        fprintf(stderr, " (at offset %#" PRIx64 ")", err->offset);
    fputc('\n', stderr);
    return CLI_ERROR;
}

void report_warning(const struct report *report, const char *what, const struct husk_error *cause) {
    fprintf(stderr, "husk %s: warning: %s: ", report->command, what);
    put_text(stderr, cause->message);
    fputc('\n', stderr);
}

int report_usage(const struct report *report, const char *format, ...) {
    va_list args;
    char text[2048];
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (report->take != NULL) {
        report->take(text);
        return CLI_USAGE;
    }
    fprintf(stderr, "husk %s: ", report->command);
    put_text(stderr, text);
    fprintf(stderr, "\nTry 'husk %s --help'.\n", report->command);
    return CLI_USAGE;
}

/* getopt's two complaints: ':' an argument is missing, '?' unknown; opterr is 0 and the option
 * string starts with "+:". */
int report_bad_option(const struct report *report, char **argv) {
    const char *word = argv[optind - 1];
    if (optopt > 0 && optopt < 128 && word[0] == '-' && word[1] != '-')
        return report_usage(report, "bad option -%c, or its argument is missing", optopt);
    return report_usage(report, "bad option '%s', or its argument is missing or not wanted", word);
}

/* ---- Outcomes ---- */

static const char *outcome_name(enum husk_outcome_kind kind) {
    switch (kind) {
    case HUSK_RETURNED: return "returned";
    case HUSK_TRAPPED: return "trapped";
    case HUSK_EXITED: return "exited";
    case HUSK_DEADLINE: return "deadline";
    case HUSK_INTERRUPTED: return "interrupted";
    case HUSK_GUEST_VIOLATION: return "violation";
    case HUSK_PENDING: return "pending";
    case HUSK_THREW: return "threw";
    }
    return "?";
}

static int outcome_code(const struct husk_outcome *outcome) {
    switch (outcome->kind) {
    case HUSK_RETURNED: return CLI_OK;
    case HUSK_TRAPPED:
    case HUSK_THREW: return CLI_TRAP;
    case HUSK_EXITED: return outcome->exit_code & 0xff;
    case HUSK_DEADLINE: return CLI_TIMEOUT;
    case HUSK_INTERRUPTED: return CLI_INTERRUPTED;
    case HUSK_GUEST_VIOLATION: return CLI_VIOLATION;
    case HUSK_PENDING: break; /* the command has no such host functions */
    }
    return CLI_ERROR;
}

static void frame_json(const struct husk_frame *frame) {
    printf("{\"func\":%" PRIu32 ",\"name\":", frame->func_idx);
    json_string(stdout, frame->func_name != NULL ? frame->func_name : "", frame->func_name_bytes);
    if (frame->wasm_offset != HUSK_NO_OFFSET)
        printf(",\"offset\":%" PRIu64, frame->wasm_offset);
    if (frame->file != NULL) {
        fputs(",\"file\":", stdout);
        json_text(stdout, frame->file);
        printf(",\"line\":%" PRIu32 ",\"column\":%" PRIu32, frame->line, frame->column);
    }
    if (frame->repeats != 0)
        printf(",\"repeats\":%" PRIu32, frame->repeats);
    fputs("}", stdout);
}

static const char *limit_name(enum husk_limit_kind limit) {
    switch (limit) {
    case HUSK_LIMIT_NONE: break;
    case HUSK_LIMIT_WALL: return "wall";
    case HUSK_LIMIT_CPU: return "cpu";
    case HUSK_LIMIT_WAIT: return "wait";
    }
    return "?";
}

static void exception_json(const struct husk_exception_info *exception) {
    fputs(",\"exception\":{", stdout);
    if (exception->module != NULL) {
        fputs("\"module\":", stdout);
        json_string(stdout, exception->module, exception->module_bytes);
        fputs(",", stdout);
    }
    fputs("\"name\":", stdout);
    json_string(stdout, exception->name, exception->name_bytes);
    printf(",\"tag\":%" PRIu32 ",\"values\":[", exception->tag_idx);
    for (size_t i = 0; i < exception->values_count; i++) {
        fputs(i != 0 ? "," : "", stdout);
        print_value_json(stdout, &exception->values[i]);
    }
    fputs("]}", stdout);
}

void frames_json(const struct husk_backtrace *backtrace) {
    fputs(",\"frames\":[", stdout);
    for (uint32_t i = 0; i < backtrace->frames_count; i++) {
        if (i != 0)
            fputs(",", stdout);
        frame_json(&backtrace->frames[i]);
    }
    printf("],\"frames_total\":%" PRIu32, backtrace->frames_total);
}

static void outcome_json(const struct husk_outcome *outcome, const struct husk_backtrace *backtrace,
                         const struct husk_exception_info *exception) {
    printf("{\"outcome\":\"%s\"", outcome_name(outcome->kind));
    if (outcome->kind == HUSK_EXITED)
        printf(",\"exit_code\":%" PRId32, outcome->exit_code);
    if (outcome->kind == HUSK_TRAPPED)
        printf(",\"trap\":%d", (int)outcome->trap);
    if (outcome->kind == HUSK_DEADLINE)
        printf(",\"limit\":\"%s\"", limit_name(outcome->limit));
    if (outcome->kind == HUSK_THREW)
        exception_json(exception);
    fputs(",\"message\":", stdout);
    json_text(stdout, outcome->message);
    frames_json(backtrace);
    printf(",\"state_is_exact\":%s}\n", outcome->state_is_exact ? "true" : "false");
}

static void frame_name(FILE *out, const struct husk_frame *frame) {
    if (frame->func_name != NULL && frame->func_name_bytes != 0)
        put_name(out, frame->func_name, frame->func_name_bytes);
    else
        fprintf(out, "<func %" PRIu32 ">", frame->func_idx);
}

/* 2: fib at 0x1f3 (fib.c:14:3) */
static void frame_text(FILE *out, uint32_t number, const struct husk_frame *frame) {
    fprintf(out, "  %2" PRIu32 ": ", number);
    frame_name(out, frame);
    /* 0: an imported function */
    if (frame->wasm_offset != HUSK_NO_OFFSET && frame->wasm_offset != 0)
        fprintf(out, " at %#" PRIx64, frame->wasm_offset);
    if (frame->file != NULL) {
        fputs(" (", out);
        put_text(out, frame->file);
        if (frame->line != 0)
            fprintf(out, ":%" PRIu32, frame->line);
        if (frame->line != 0 && frame->column != 0)
            fprintf(out, ":%" PRIu32, frame->column);
        fputs(")", out);
    }
    fputc('\n', out);
}

static bool is_same_frame(const struct husk_frame *a, const struct husk_frame *b) {
    return a->func_idx == b->func_idx && a->wasm_offset == b->wasm_offset && a->repeats == 0 &&
           b->repeats == 0;
}

/* How many of the frames from `at` on are the `period` frames at `at`, over and over; these
 * included. */
static uint32_t run_of(const struct husk_backtrace *backtrace, uint32_t at, uint32_t period) {
    uint32_t end = at + period;
    while (end < backtrace->frames_count &&
           is_same_frame(&backtrace->frames[end], &backtrace->frames[end - period]))
        end++;
    return (end - at) / period * period;
}

/* Functions that call each other in a circle of at most 8: shown once, if the circle is run through
 * three times. Returns how many of the listed frames that were, at least 1. */
static uint32_t frames_text(FILE *out, const struct husk_backtrace *backtrace, uint32_t at,
                            uint32_t number) {
    uint32_t period = 1;
    while (period <= 8 &&
           (at + period > backtrace->frames_count || run_of(backtrace, at, period) < 3 * period))
        period++;
    if (period > 8) {
        const struct husk_frame *frame = &backtrace->frames[at];
        frame_text(out, number, frame);
        if (frame->repeats != 0) {
            fprintf(out, "      … %" PRIu32 " more of ", frame->repeats);
            frame_name(out, frame);
            fputc('\n', out);
        }
        return 1;
    }
    uint32_t count = run_of(backtrace, at, period);
    for (uint32_t i = 0; i < period; i++)
        frame_text(out, number + i, &backtrace->frames[at + i]);
    fprintf(out, "      … %" PRIu32 " more of the same %" PRIu32 "\n", count - period, period);
    return count;
}

void backtrace_text(FILE *out, const struct husk_backtrace *backtrace) {
    uint32_t number = 0;
    for (uint32_t at = 0; at < backtrace->frames_count;) {
        uint32_t next = at + frames_text(out, backtrace, at, number);
        for (; at < next; at++)
            number += 1 + backtrace->frames[at].repeats;
    }
    if (backtrace->frames_total > number)
        fprintf(out, "  … %" PRIu32 " more\n", backtrace->frames_total - number);
}

#define REPORT_SECONDS_MAX 2

static volatile sig_atomic_t code_if_blocked;

static void leave_unreported(int signal) {
    (void)signal;
    _exit(code_if_blocked);
}

/* The guest may have filled the pipe or terminal that the report goes to, and nobody may ever read
 * it: a time limit holds for the report, too. */
static void limit_report(int code) {
    struct sigaction action = {.sa_handler = leave_unreported};
    sigset_t alarm_signal;
    code_if_blocked = code;
    sigemptyset(&alarm_signal);
    sigaddset(&alarm_signal, SIGALRM);
    (void)sigaction(SIGALRM, &action, NULL);
    (void)sigprocmask(SIG_UNBLOCK, &alarm_signal, NULL);
    (void)alarm(REPORT_SECONDS_MAX);
}

/* What the toolchains throw (tool conventions: EHScheme.md). */
static const char *exception_prefix(const struct husk_exception_info *exception) {
    if (strcmp(exception->name, "__cpp_exception") == 0)
        return "C++ exception: ";
    return strcmp(exception->name, "__c_longjmp") == 0 ? "longjmp without its setjmp: " : "";
}

static const char *outcome_prefix(const struct husk_outcome *outcome,
                                  const struct husk_exception_info *exception) {
    if (outcome->kind == HUSK_TRAPPED)
        return "trap: ";
    return outcome->kind == HUSK_THREW ? exception_prefix(exception) : "";
}

int report_outcome(const struct report *report, husk_sandbox *sandbox,
                   const struct husk_outcome *outcome) {
    struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
    struct husk_exception_info exception = HUSK_EXCEPTION_INFO_INIT;
    exception.name = "";
    if (outcome->kind == HUSK_DEADLINE || outcome->kind == HUSK_INTERRUPTED)
        limit_report(outcome_code(outcome));
    if (outcome->kind != HUSK_RETURNED && outcome->kind != HUSK_EXITED)
        (void)husk_sandbox_backtrace(sandbox, &backtrace, NULL); /* or none */
    if (outcome->kind == HUSK_THREW)
        (void)husk_sandbox_exception(sandbox, &exception, NULL);
    if (report->is_json) {
        outcome_json(outcome, &backtrace, &exception);
        return outcome_code(outcome);
    }
    if (outcome->kind == HUSK_RETURNED || outcome->kind == HUSK_EXITED)
        return outcome_code(outcome);
    fprintf(stderr, "husk %s: %s", report->command, outcome_prefix(outcome, &exception));
    put_text(stderr, outcome->message);
    fputc('\n', stderr);
    backtrace_text(stderr, &backtrace);
    return outcome_code(outcome);
}

void end_by_sigpipe(void) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    (void)sigaction(SIGPIPE, &action, NULL);
    (void)sigprocmask(SIG_UNBLOCK, &pipe, NULL);
    (void)raise(SIGPIPE);
    _exit(128 + SIGPIPE);
}

/* A pipe or socket without a reader, now; stdio does not keep the errno of a write that failed. */
static bool has_no_reader(int fd) {
    struct pollfd state = {.fd = fd, .events = POLLOUT};
    return poll(&state, 1, 0) == 1 && (state.revents & POLLERR) != 0;
}

/* Is standard output a file that has reached this process's limit? */
static bool is_at_size_limit(int fd) {
    struct rlimit limit;
    struct stat st;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
           fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (rlim_t)st.st_size >= limit.rlim_cur;
}

int finish_output(const struct report *report, int code) {
    errno = 0;
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return code;
    int number = errno; /* 0: an earlier write failed */
    if (has_no_reader(STDOUT_FILENO))
        end_by_sigpipe();
    const char *why = number != 0 ? strerror(number) : NULL;
    if (is_at_size_limit(STDOUT_FILENO))
        why = "the file size limit of this process is reached (ulimit -f)";
    fprintf(stderr, "husk %s: cannot write to standard output%s%s\n", report->command,
            why != NULL ? ": " : "", why != NULL ? why : "");
    return CLI_ERROR;
}
