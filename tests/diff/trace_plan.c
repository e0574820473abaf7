/*
 * trace_plan.c: reads a plan. One pass splits the text into words, a second sorts the lines by
 * kind.
 */
#include "trace_plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trace_values.h"

char *file_bytes(const char *path, size_t *ret_count) {
    FILE *file = fopen(path, "rbe");
    char *bytes = NULL;
    size_t count = 0, room = 1 << 16;
    while (file != NULL) {
        char *grown = realloc(bytes, room + 1);
        if (grown == NULL)
            break;
        bytes = grown;
        count += fread(bytes + count, 1, room - count, file);
        if (count < room && ferror(file) == 0) {
            bytes[count] = '\0';
            *ret_count = count;
            (void)fclose(file);
            return bytes;
        }
        if (count < room)
            break;
        room *= 2;
    }
    fprintf(stderr, "husk_trace: cannot read %s: %s\n", path, strerror(errno));
    if (file != NULL)
        (void)fclose(file);
    free(bytes);
    return NULL;
}

static size_t count_char(const char *text, char wanted) {
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += *text == wanted;
    return count;
}

/* Cuts one line into words behind `words`; returns how many. */
static size_t cut_line(char *line, char **words) {
    size_t count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(line, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
        words[count++] = word;
    return count;
}

static void sort_line(struct plan *plan, struct plan_line line) {
    if (strcmp(line.words[0], "import") == 0)
        plan->imports[plan->imports_count++] = line;
    else if (strcmp(line.words[0], "watch") == 0)
        plan->watches[plan->watches_count++] = line;
    else
        plan->steps[plan->steps_count++] = line;
}

int plan_read(const char *path, struct plan *ret_plan) {
    struct plan plan = {0};
    size_t bytes = 0;
    plan.text = file_bytes(path, &bytes);
    if (plan.text == NULL)
        return -1;
    size_t lines = count_char(plan.text, '\n') + 1, spaces = count_char(plan.text, ' ');
    plan.words = calloc(lines + spaces, sizeof *plan.words);
    plan.imports = calloc(lines, sizeof *plan.imports);
    plan.watches = calloc(lines, sizeof *plan.watches);
    plan.steps = calloc(lines, sizeof *plan.steps);
    if (plan.words == NULL || plan.imports == NULL || plan.watches == NULL || plan.steps == NULL) {
        fprintf(stderr, "husk_trace: out of memory\n");
        plan_done(&plan);
        return -1;
    }
    char **words = plan.words, *rest = NULL;
    for (char *text = strtok_r(plan.text, "\n", &rest); text != NULL;
         text = strtok_r(NULL, "\n", &rest)) {
        struct plan_line line = {.words = words, .count = cut_line(text, words)};
        words += line.count;
        if (line.count > 0)
            sort_line(&plan, line);
    }
    *ret_plan = plan;
    return 0;
}

void plan_done(struct plan *plan) {
    free(plan->text);
    free(plan->words);
    free(plan->imports);
    free(plan->watches);
    free(plan->steps);
}

size_t plan_types(const char *text, int *types, size_t max) {
    size_t count = 0;
    while (strcmp(text, "-") != 0 && count < max) {
        size_t bytes = strcspn(text, ",");
        types[count++] = (int)value_type(text, bytes);
        if (text[bytes] == '\0')
            break;
        text += bytes + 1;
    }
    return count;
}
