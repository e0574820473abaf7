/* tests/spec/spec_write.c: see spec_write.h. */
#include "spec_write.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void write_name(FILE *out, const char *name, size_t bytes) {
    if (name == NULL) {
        fputs(" -", out);
        return;
    }
    fputs(" x", out);
    for (size_t i = 0; i < bytes; i++)
        fprintf(out, "%02x", (unsigned)(unsigned char)name[i]);
}

void write_text(FILE *out, const char *text) {
    write_name(out, text, text != NULL ? strlen(text) : 0);
}

/* Numbers are decimal in the suite, signed or not, and hex in a pack; NaN patterns stay words. */
static void write_bits(FILE *out, const char *text) {
    if (strncmp(text, "nan:", 4) == 0)
        fputs(text, out);
    else if (text[0] == '-')
        fprintf(out, "%llx", (unsigned long long)strtoll(text, NULL, 10));
    else
        fprintf(out, "%llx", strtoull(text, NULL, 10));
}

static void write_lanes(FILE *out, const struct json *value) {
    const char *lane = json_text(value, "lane_type");
    const struct json *lanes = json_get(value, "value");
    fprintf(out, "%s:", lane != NULL ? lane : "?");
    for (const struct json *item = lanes != NULL ? lanes->items : NULL; item != NULL;
         item = item->next) {
        write_bits(out, item->text != NULL ? item->text : "?");
        if (item->next != NULL)
            fputc(',', out);
    }
}

static bool is_number(const char *type) {
    return strchr("if", type[0]) != NULL && (type[1] == '3' || type[1] == '6');
}

static void write_value(FILE *out, const struct json *value) {
    const char *type = json_text(value, "type");
    const char *text = json_text(value, "value");
    fprintf(out, "%s:", type != NULL ? type : "?");
    if (type == NULL)
        fputc('?', out);
    else if (strcmp(type, "v128") == 0)
        write_lanes(out, value);
    else if (text == NULL)
        fputs("any", out);
    else if (is_number(type))
        write_bits(out, text);
    else
        fputs(text, out);
}

void write_values(FILE *out, const struct json *values) {
    fprintf(out, " %zu", json_count(values));
    for (const struct json *value = values != NULL ? values->items : NULL; value != NULL;
         value = value->next) {
        const struct json *choices = json_get(value, "values");
        fputs(choices != NULL ? " either:" : " ", out);
        if (choices == NULL)
            write_value(out, value);
        for (const struct json *choice = choices != NULL ? choices->items : NULL; choice != NULL;
             choice = choice->next) {
            write_value(out, choice);
            if (choice->next != NULL)
                fputc('|', out);
        }
    }
}

void write_image(FILE *out, size_t image, size_t instances, int fd) {
    off_t bytes = lseek(fd, 0, SEEK_END);
    void *data = bytes > 0 ? mmap(NULL, (size_t)bytes, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (data == MAP_FAILED) {
        fprintf(out, "image %zu %zu 0\n\n", image, instances);
        return;
    }
    fprintf(out, "image %zu %zu %zu\n", image, instances, (size_t)bytes);
    fwrite(data, 1, (size_t)bytes, out);
    fputc('\n', out);
    (void)munmap(data, (size_t)bytes);
}
