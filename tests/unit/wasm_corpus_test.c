/*
 * The decoder and the validator against the official test suite (WebAssembly 2.0), judged as strict
 * 2.0. Every module that the suite uses is accepted, every assert_invalid is refused as invalid,
 * every binary assert_malformed as malformed. Malformed text needs a text parser and is skipped.
 * Also the suite of 3.0, with all features on: valid modules are accepted, or refused with the name
 * of the feature (or for a limit); invalid modules are refused. The suites are unpacked by
 * tools/unpack-corpora into the build folder, or found in $HUSK_CORPORA_UNPACKED.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../spec/spec_json.h"
#include "../spec/spec_judge.h"
#include "harness.h"
#include "module.h"

struct tally {
    bool is_later; /* the suite of 3.0 */
    unsigned accepted, invalid, malformed, unsupported, wrong;
};

static char *file_read(const char *path, size_t *ret_bytes) {
    FILE *file = fopen(path, "rbe");
    if (file == NULL)
        return NULL;
    size_t cap = 1 << 20;
    size_t bytes = 0;
    char *data = malloc(cap);
    while (data != NULL) {
        bytes += fread(data + bytes, 1, cap - bytes, file);
        if (bytes < cap)
            break;
        cap *= 2;
        char *grown = realloc(data, cap);
        if (grown == NULL)
            free(data);
        data = grown;
    }
    (void)fclose(file);
    *ret_bytes = bytes;
    return data;
}

static int judge(const void *wasm, size_t count, const struct tally *tally,
                 struct husk_error *err) {
    struct wasm_module *module = NULL;
    if (!tally->is_later)
        return judge_wasm_2_0(wasm, count, err);
    int status = wasm_decode(wasm, count, &module, err);
    if (status == 0) {
        status = wasm_validate(module, err);
        wasm_module_free(module);
    }
    return status;
}

/* Of the suite of 3.0: what is unsupported need not be told apart further. */
static bool is_right_later(const char *type, int status, struct tally *tally) {
    tally->unsupported += status == HUSK_E_UNSUPPORTED || status == HUSK_E_LIMIT ? 1 : 0;
    if (strcmp(type, "assert_invalid") == 0 || strcmp(type, "assert_malformed") == 0) {
        tally->invalid++;
        return status != 0;
    }
    tally->accepted += status == 0 ? 1 : 0;
    return status == 0 || status == HUSK_E_UNSUPPORTED || status == HUSK_E_LIMIT;
}

/* Whether `status` is what the command asks for; counts it. */
static bool is_right(const char *type, int status, struct tally *tally) {
    if (tally->is_later)
        return is_right_later(type, status, tally);
    if (strcmp(type, "assert_invalid") == 0) {
        tally->invalid++;
        return status == HUSK_E_INVALID_WASM;
    }
    if (strcmp(type, "assert_malformed") == 0) {
        tally->malformed++; /* a later proposal's encoding is refused by name */
        return status == HUSK_E_BAD_WASM || status == HUSK_E_UNSUPPORTED;
    }
    tally->accepted++;
    return status == 0;
}

static void run_command(const char *dir, const struct json *command, struct tally *tally) {
    static const char *const types[] = {"module",
                                        "module_definition",
                                        "assert_invalid",
                                        "assert_malformed",
                                        "assert_unlinkable",
                                        "assert_uninstantiable",
                                        NULL};
    const char *type = json_text(command, "type");
    const char *file = json_text(command, "filename");
    bool is_wanted = false;
    for (size_t i = 0; type != NULL && types[i] != NULL; i++)
        is_wanted |= strcmp(type, types[i]) == 0;
    if (json_text(command, "binary_filename") != NULL)
        file = json_text(command, "binary_filename");
    if (!is_wanted || file == NULL || strstr(file, ".wasm") == NULL)
        return;
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    size_t count = 0;
    char *wasm = file_read(path, &count);
    CHECK_MSG(wasm != NULL, "cannot read %s", path);
    struct husk_error err = {0};
    int status = judge(wasm, count, tally, &err);
    free(wasm);
    if (!is_right(type, status, tally)) {
        tally->wrong++;
        printf("%s line %s: %s (%s): status %d %s\n", file, json_text(command, "line"), type,
               json_text(command, "text") != NULL ? json_text(command, "text") : "", status,
               err.message);
    }
}

static void run_script(const char *dir, const char *name, struct tally *tally) {
    char path[4096];
    size_t bytes = 0;
    size_t offset = 0;
    (void)snprintf(path, sizeof path, "%s/%s/%s.json", dir, name, name);
    char *text = file_read(path, &bytes);
    CHECK_MSG(text != NULL, "cannot read %s", path);
    struct json *script = json_parse(text, bytes, &offset);
    free(text);
    CHECK_MSG(script != NULL, "%s: bad JSON at %zu", path, offset);
    char script_dir[3072];
    (void)snprintf(script_dir, sizeof script_dir, "%s/%s", dir, name);
    const struct json *commands = json_get(script, "commands");
    for (const struct json *command = commands != NULL ? commands->items : NULL; command != NULL;
         command = command->next)
        run_command(script_dir, command, tally);
    json_free(script);
}

static void run_group(const char *group, struct tally *tally) {
    const char *unpacked = getenv("HUSK_CORPORA_UNPACKED");
    char dir[2048];
    (void)snprintf(dir, sizeof dir, "%s/wg-%s/%s",
                   unpacked != NULL ? unpacked : HUSK_TEST_BUILD_DIR "/corpora",
                   tally->is_later ? "3.0" : "2.0", group);
    struct dirent **entries = NULL;
    int count = scandir(dir, &entries, NULL, alphasort);
    if (count < 0) {
        SKIP("no %s: run tools/unpack-corpora, or set HUSK_CORPORA_UNPACKED", dir);
        return;
    }
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.')
            run_script(dir, entries[i]->d_name, tally);
        free(entries[i]);
    }
    free(entries);
}

static void check_group(const char *group, unsigned accepted_min, unsigned invalid_min,
                        unsigned malformed_min) {
    struct tally tally = {0};
    run_group(group, &tally);
    printf("%s: %u modules, %u invalid, %u malformed; %u judged wrongly\n", group, tally.accepted,
           tally.invalid, tally.malformed, tally.wrong);
    CHECK_EQ_U64(tally.wrong, 0);
    CHECK(tally.accepted >= accepted_min && tally.invalid >= invalid_min &&
          tally.malformed >= malformed_min);
}

TEST(core_group_is_judged_as_the_standard_says) {
    check_group("core", 1000, 1000, 700);
}

TEST(simd_group_is_judged_as_the_standard_says) {
    check_group("simd", 300, 300, 0);
}

TEST(nothing_of_3_0_is_misjudged) {
    static const char *const groups[] = {
        "core",     "bulk-memory", "multi-memory",      "simd", "relaxed-simd",
        "memory64", "exceptions",  "legacy-exceptions", "gc",   "custom"};
    struct tally tally = {.is_later = true};
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        run_group(groups[i], &tally);
    printf("3.0: %u modules accepted, %u invalid or malformed, %u unsupported; %u judged wrongly\n",
           tally.accepted, tally.invalid, tally.unsupported, tally.wrong);
    CHECK_EQ_U64(tally.wrong, 0);
    CHECK(tally.accepted >= 1500 && tally.invalid >= 3000 && tally.unsupported >= 500);
}

TEST_MAIN()
