/*
 * tests/fuzz_replay.c: runs a fuzz target (LLVMFuzzerTestOneInput) without libFuzzer, as a normal
 * test. It runs every file and folder of files that the command line names, then a fixed number of
 * mutations of them. The seed is fixed, so a run is reproducible. A crash, a sanitizer report or a
 * time-out of the run is a failure; nothing else is checked here.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_BYTES_MAX (4u << 20)
#define MUTATIONS_DEFAULT 2000u

struct input {
    uint8_t *data;
    size_t bytes;
};

static struct input *inputs;
static size_t inputs_count;
static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint64_t random_next(void) { /* xorshift64 */
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static size_t random_below(size_t limit) {
    return limit == 0 ? 0 : (size_t)(random_next() % limit);
}

static int add_file(const char *path) {
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        perror(path);
        return -1;
    }
    uint8_t *data = malloc(INPUT_BYTES_MAX);
    struct input *grown = realloc(inputs, (inputs_count + 1) * sizeof *inputs);
    if (data == NULL || grown == NULL) {
        free(data);
        inputs = grown != NULL ? grown : inputs;
        (void)fclose(file);
        return -1;
    }
    inputs = grown;
    size_t bytes = fread(data, 1, INPUT_BYTES_MAX, file);
    (void)fclose(file);
    uint8_t *exact = malloc(bytes != 0 ? bytes : 1);
    if (exact != NULL) {
        memcpy(exact, data, bytes);
        inputs[inputs_count++] = (struct input){exact, bytes};
    }
    free(data);
    return exact != NULL ? 0 : -1;
}

static int add_path(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0) {
        perror(path);
        return -1;
    }
    if (!S_ISDIR(info.st_mode))
        return add_file(path);
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, NULL, alphasort);
    int status = count < 0 ? -1 : 0;
    for (int i = 0; i < count; i++) {
        char child[4096];
        int length = snprintf(child, sizeof child, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && length > 0 && (size_t)length < sizeof child &&
            add_path(child) != 0)
            status = -1;
        free(entries[i]);
    }
    free(entries);
    return status;
}

/* One random edit in place; may shorten the input. */
static size_t mutate(uint8_t *data, size_t bytes) {
    if (bytes == 0)
        return 0;
    size_t at = random_below(bytes);
    switch (random_below(5)) {
    case 0: data[at] ^= (uint8_t)(1u << random_below(8)); return bytes;
    case 1: data[at] = (uint8_t)random_next(); return bytes;
    case 2: data[at] = random_below(2) != 0 ? 0xff : 0x80; return bytes;
    case 3: return at;
    default: {
        size_t from = random_below(bytes);
        size_t longest = bytes - (from > at ? from : at);
        memmove(data + at, data + from, random_below(longest < 32 ? longest : 32));
        return bytes;
    }
    }
}

static int run_mutations(unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        const struct input *input = &inputs[random_below(inputs_count)];
        uint8_t *copy = malloc(input->bytes != 0 ? input->bytes : 1);
        if (copy == NULL)
            return -1;
        memcpy(copy, input->data, input->bytes);
        size_t bytes = input->bytes;
        for (size_t edits = 1 + random_below(4); edits > 0; edits--)
            bytes = mutate(copy, bytes);
        (void)LLVMFuzzerTestOneInput(copy, bytes);
        free(copy);
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *slash = strrchr(argv[0], '/');
    unsigned mutations = MUTATIONS_DEFAULT;
    int first = 1;
    if (argc > 2 && strcmp(argv[1], "--mutations") == 0) {
        mutations = (unsigned)strtoul(argv[2], NULL, 10);
        first = 3;
    }
    int status = 0;
    for (int i = first; i < argc; i++)
        status |= add_path(argv[i]);
    if (inputs_count == 0) {
        puts("no inputs");
        status = -1;
    }
    for (size_t i = 0; i < inputs_count; i++)
        (void)LLVMFuzzerTestOneInput(inputs[i].data, inputs[i].bytes);
    if (inputs_count != 0)
        status |= run_mutations(mutations);
    for (size_t i = 0; i < inputs_count; i++)
        free(inputs[i].data);
    /* One test per input, and one for all mutations. */
    printf("%u mutations\n%s: %zu passed, %d failed, 0 skipped\n", mutations,
           slash != NULL ? slash + 1 : argv[0], status == 0 ? inputs_count + 1 : 0,
           status == 0 ? 0 : 1);
    free(inputs);
    return status == 0 ? 0 : 1;
}
