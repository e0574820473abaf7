/*
 * cli/background.c: images that are optimised behind a run: whether, and what is said about it.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

bool background_is_allowed(void) {
    const char *text = getenv("HUSK_BACKGROUND");
    return text == NULL || strcmp(text, "0") != 0;
}

/* A job that goes on is news for whoever sits there. One that failed tells everybody why the
 * program is slow. */
void background_tell(const struct report *report, const char *path,
                     const struct husk_compiled *compiled) {
    const bool has_failed = compiled->background == HUSK_BACKGROUND_FAILED;
    const bool is_under_way = compiled->background == HUSK_BACKGROUND_BEGUN ||
                              compiled->background == HUSK_BACKGROUND_WAITS ||
                              compiled->background == HUSK_BACKGROUND_WORKS;
    if (report->is_json || (!has_failed && (!is_under_way || isatty(STDERR_FILENO) == 0)))
        return;
    char time[32];
    fprintf(stderr, "husk %s: ", report->command);
    put_text(stderr, path);
    fputs(" runs unoptimised: ", stderr);
    if (has_failed) {
        fputs("optimising it failed on ", stderr);
        fputs(local_time_text((int64_t)compiled->background_end_s, time), stderr);
        fputs(": ", stderr);
        put_text(stderr, compiled->background_error.message);
    } else {
        fputs("that is done in the background, for later runs", stderr);
        if (compiled->background == HUSK_BACKGROUND_WORKS && compiled->background_total != 0)
            fprintf(stderr, ": %u of %u functions", (unsigned)compiled->background_done,
                    (unsigned)compiled->background_total);
        fputs(" (husk cache jobs)", stderr);
    }
    fputc('\n', stderr);
}
