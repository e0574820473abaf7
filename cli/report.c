/*
 * cli/report.c: how errors, traps and results are worded, as text on standard error or as JSON on standard
 * output.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "cli.h"

/* Bytes of the UTF-8 sequence at text, or 0 (The Unicode Standard, table 3-7). */
static size_t utf8_bytes(const unsigned char *text, size_t count) {
    unsigned char first = text[0];
    size_t bytes = first < 0x80   ? 1
                   : first < 0xc2 ? 0
                   : first < 0xe0 ? 2
                   : first < 0xf0 ? 3
                   : first < 0xf5 ? 4
                                  : 0;
    if (bytes == 0 || bytes > count)
        return 0;
    for (size_t i = 1; i < bytes; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if (first == 0xe0 && text[1] < 0xa0)
        return 0;
    if (first == 0xed && text[1] > 0x9f)
        return 0;
    if (first == 0xf0 && text[1] < 0x90)
        return 0;
    if (first == 0xf4 && text[1] > 0x8f)
        return 0;
    return bytes;
}

void json_string(FILE *out, const char *text, size_t count) {
    fputc('"', out);
    for (size_t i = 0; i < count;) {
        const unsigned char *at = (const unsigned char *)text + i;
        size_t bytes = utf8_bytes(at, count - i);
        if (bytes == 0)
            fputs("\\ufffd", out);
        else if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else if (*at < 0x20 || *at == 0x7f)
            fprintf(out, "\\u%04x", *at);
        else
            fwrite(at, 1, bytes, out);
        i += bytes ? bytes : 1;
    }
    fputc('"', out);
}

void json_text(FILE *out, const char *text) {
    if (text)
        json_string(out, text, strlen(text));
    else
        fputs("null", out);
}

void put_name(FILE *out, const char *name, size_t count) {
    for (size_t i = 0; i < count;) {
        const unsigned char *at = (const unsigned char *)name + i;
        size_t bytes = utf8_bytes(at, count - i);
        bool is_control =
            *at < 0x20 || *at == 0x7f || (bytes == 2 && at[0] == 0xc2 && at[1] < 0xa0); /* C0, DEL, C1 */
        if (bytes == 0 || is_control)
            for (size_t k = 0; k < (bytes ? bytes : 1); k++)
                fprintf(out, "\\%02x", at[k]);
        else
            fwrite(at, 1, bytes, out);
        i += bytes ? bytes : 1;
    }
}

int report_error(const struct report *report, const char *path, const struct husk_error *err) {
    if (report->is_json) {
        printf("{\"error\":{\"status\":\"%s\",\"file\":", husk_status_name(err->status));
        json_text(stdout, path);
        fputs(",\"message\":", stdout);
        json_text(stdout, err->message);
        if (err->offset != HUSK_NO_OFFSET)
            printf(",\"offset\":%" PRIu64, err->offset);
        if (err->sys_errno)
            printf(",\"errno\":%d", err->sys_errno);
        fputs("}}\n", stdout);
        return CLI_ERROR;
    }
    fprintf(stderr, "husk %s: ", report->command);
    if (path) {
        put_name(stderr, path, strlen(path));
        fputs(": ", stderr);
    }
    put_name(stderr, err->message, strlen(err->message));
    bool says_where = strstr(err->message, "at offset 0x") != NULL; /* the wasm validator's messages do */
    if (err->offset != HUSK_NO_OFFSET && !says_where)
        fprintf(stderr, " (at offset %#" PRIx64 ")", err->offset);
    fputc('\n', stderr);
    return CLI_ERROR;
}

int report_usage(const struct report *report, const char *format, ...) {
    va_list args;
    fprintf(stderr, "husk %s: ", report->command);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nTry 'husk %s --help'.\n", report->command);
    return CLI_USAGE;
}

/* getopt's two complaints: ':' an argument is missing, '?' unknown; opterr is 0 and the option string
 * starts with "+:". */
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
    }
    return "?";
}

static int outcome_code(const struct husk_outcome *outcome) {
    switch (outcome->kind) {
    case HUSK_RETURNED: return CLI_OK;
    case HUSK_TRAPPED: return CLI_TRAP;
    case HUSK_EXITED: return outcome->exit_code & 0xff;
    case HUSK_DEADLINE: return CLI_TIMEOUT;
    case HUSK_INTERRUPTED: return CLI_INTERRUPTED;
    case HUSK_GUEST_VIOLATION: return CLI_VIOLATION;
    }
    return CLI_ERROR;
}

static void frame_json(const struct husk_frame *frame) {
    printf("{\"func\":%" PRIu32 ",\"name\":", frame->func_idx);
    json_text(stdout, frame->func_name ? frame->func_name : "");
    if (frame->wasm_offset != HUSK_NO_OFFSET)
        printf(",\"offset\":%" PRIu64, frame->wasm_offset);
    if (frame->file) {
        fputs(",\"file\":", stdout);
        json_text(stdout, frame->file);
        printf(",\"line\":%" PRIu32 ",\"column\":%" PRIu32, frame->line, frame->column);
    }
    fputs("}", stdout);
}

static void outcome_json(const struct husk_outcome *outcome) {
    printf("{\"outcome\":\"%s\"", outcome_name(outcome->kind));
    if (outcome->kind == HUSK_EXITED)
        printf(",\"exit_code\":%" PRId32, outcome->exit_code);
    if (outcome->kind == HUSK_TRAPPED)
        printf(",\"trap\":%d", (int)outcome->trap);
    fputs(",\"message\":", stdout);
    json_text(stdout, outcome->message);
    fputs(",\"frames\":[", stdout);
    for (uint32_t i = 0; i < outcome->frames_count; i++) {
        if (i)
            fputs(",", stdout);
        frame_json(&outcome->frames[i]);
    }
    printf("],\"frames_total\":%" PRIu32 "}\n", outcome->frames_total);
}

/* 2: fib(func 12) at 0x1f3 (fib.c:14:3) */
static void frame_text(uint32_t idx, const struct husk_frame *frame) {
    fprintf(stderr, "  %2" PRIu32 ": ", idx);
    if (frame->func_name && frame->func_name[0])
        put_name(stderr, frame->func_name, strlen(frame->func_name));
    else
        fprintf(stderr, "<func %" PRIu32 ">", frame->func_idx);
    if (frame->wasm_offset != HUSK_NO_OFFSET && frame->wasm_offset != 0) /* 0: an imported function */
        fprintf(stderr, " at %#" PRIx64, frame->wasm_offset);
    if (frame->file) {
        fputs(" (", stderr);
        put_name(stderr, frame->file, strlen(frame->file));
        if (frame->line)
            fprintf(stderr, ":%" PRIu32, frame->line);
        if (frame->line && frame->column)
            fprintf(stderr, ":%" PRIu32, frame->column);
        fputs(")", stderr);
    }
    fputc('\n', stderr);
}

int report_outcome(const struct report *report, const struct husk_outcome *outcome) {
    if (report->is_json) {
        outcome_json(outcome);
        return outcome_code(outcome);
    }
    if (outcome->kind == HUSK_RETURNED || outcome->kind == HUSK_EXITED)
        return outcome_code(outcome);
    fprintf(stderr, "husk %s: %s", report->command, outcome->kind == HUSK_TRAPPED ? "trap: " : "");
    put_name(stderr, outcome->message, strlen(outcome->message));
    fputc('\n', stderr);
    for (uint32_t i = 0; i < outcome->frames_count; i++)
        frame_text(i, &outcome->frames[i]);
    if (outcome->frames_total > outcome->frames_count)
        fprintf(stderr, "  … %" PRIu32 " more\n", outcome->frames_total - outcome->frames_count);
    return outcome_code(outcome);
}

int finish_output(const struct report *report, int code) {
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    fprintf(stderr, "husk %s: cannot write to standard output\n", report->command);
    return CLI_ERROR;
}
