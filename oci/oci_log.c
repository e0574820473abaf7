/*
 * oci/oci_log.c: says what went wrong as runc does. containerd and Podman show the last line of the
 * file that --log names; people read standard error.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "auto.h"
#include "oci.h"

/* The text in quotes; what is not printable ASCII, and not UTF-8, is escaped. */
static void put_quoted(FILE *out, const char *text) {
    fputc('"', out);
    for (; *text != '\0'; text++) {
        const unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\')
            fprintf(out, "\\%c", byte);
        else if (byte < 0x20 || byte == 0x7f)
            fprintf(out, "\\u%04x", byte);
        else
            fputc(byte, out);
    }
    fputc('"', out);
}

static void write_line(FILE *out, bool is_json, const char *message) {
    char when[32] = "";
    struct tm tm;
    const time_t now = time(NULL);
    if (gmtime_r(&now, &tm) != NULL)
        (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
    fputs(is_json ? "{\"level\":\"error\",\"msg\":" : "time=\"", out);
    if (!is_json)
        fprintf(out, "%s\" level=error msg=", when);
    put_quoted(out, message);
    if (is_json)
        fprintf(out, ",\"time\":\"%s\"}", when);
    fputc('\n', out);
}

/* At once, so that lines of several processes do not mix. */
static void append(const char *path, const char *text, size_t count) {
    auto_fd fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0644);
    if (fd < 0 || write(fd, text, count) != (ssize_t)count)
        fprintf(stderr, "husk-oci: cannot write to the log %s\n", path);
}

void oci_report(const struct command_line *line, const char *message) {
    auto_free char *text = NULL;
    size_t count = 0;
    fprintf(stderr, "husk-oci: %s\n", message);
    FILE *out =
        line->log_path != NULL && line->log_path[0] != '\0' ? open_memstream(&text, &count) : NULL;
    if (out == NULL)
        return;
    write_line(out, line->is_log_json, message);
    if (fclose(out) == 0)
        append(line->log_path, text, count);
}
