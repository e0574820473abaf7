/*
 * The decoder and the validator against the official test suite (WebAssembly 2.0), judged as strict
 * 2.0. Every module that the suite uses is accepted, every assert_invalid is refused as invalid,
 * every binary assert_malformed as malformed. Malformed text needs a text parser and is skipped.
 * Also the suites of 3.0 and of later proposals, with all features on. The suites are unpacked by
 * tools/unpack-corpora into the build folder, or found in $HUSK_CORPORA_UNPACKED.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../spec/spec_json.h"
#include "../spec/spec_judge.h"
#include "file.h"
#include "harness.h"
#include "module.h"

enum kind { MODULE, DEFINITION, INVALID, MALFORMED, UNLINKABLE, UNINSTANTIABLE, KINDS_COUNT };

static const struct {
    const char *type, *text;
    int status;
} kinds[KINDS_COUNT] = {
    [MODULE] = {"module", "modules", 0},
    [DEFINITION] = {"module_definition", "definitions", 0},
    [INVALID] = {"assert_invalid", "invalid", HUSK_E_INVALID_WASM},
    [MALFORMED] = {"assert_malformed", "malformed", HUSK_E_BAD_WASM},
    [UNLINKABLE] = {"assert_unlinkable", "unlinkable", 0},
    [UNINSTANTIABLE] = {"assert_uninstantiable", "uninstantiable", 0},
};

struct tally {
    const char *pack; /* "wg-2.0", … */
    bool is_strict_2_0;
    wasm_features_t disabled;
    unsigned right[KINDS_COUNT], wrong[KINDS_COUNT];
};

static uint8_t *read_whole(const char *path, size_t *ret_count) {
    struct husk_error err = {.message = ""};
    uint8_t *data = NULL;
    CHECK_OK(file_read(path, SIZE_MAX, &data, ret_count, &err), err);
    return data;
}

static int judge(const void *wasm, size_t count, const struct tally *tally,
                 struct husk_error *err) {
    struct wasm_module *module = NULL;
    if (tally->is_strict_2_0)
        return judge_wasm_2_0(wasm, count, err);
    int status = wasm_decode(wasm, count, &module, err);
    if (status == 0) {
        status = wasm_validate_features(module, WASM_FEATURES_ALL & ~tally->disabled, err);
        wasm_module_free(module);
    }
    return status;
}

/* By the strict rules of 2.0, a later proposal's encoding is refused by name. */
static bool is_right(enum kind kind, int status, const struct tally *tally) {
    return status == kinds[kind].status ||
           (tally->is_strict_2_0 && kind == MALFORMED && status == HUSK_E_UNSUPPORTED);
}

/* The kind of a command on a binary module; KINDS_COUNT: any other command. */
static enum kind command_kind(const struct json *command, const char **ret_file) {
    const char *type = json_text(command, "type");
    const char *file = json_text(command, "binary_filename");
    if (file == NULL)
        file = json_text(command, "filename");
    *ret_file = file;
    for (int kind = 0; type != NULL && file != NULL && kind < KINDS_COUNT; kind++)
        if (strcmp(type, kinds[kind].type) == 0 && strstr(file, ".wasm") != NULL)
            return (enum kind)kind;
    return KINDS_COUNT;
}

static void run_command(const char *dir, const struct json *command, struct tally *tally) {
    const char *file = NULL;
    enum kind kind = command_kind(command, &file);
    if (kind == KINDS_COUNT)
        return;
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    size_t count = 0;
    uint8_t *wasm = read_whole(path, &count);
    struct husk_error err = {0};
    int status = judge(wasm, count, tally, &err);
    free(wasm);
    if (is_right(kind, status, tally)) {
        tally->right[kind]++;
        return;
    }
    tally->wrong[kind]++;
    printf("%s line %s: %s (%s): status %d %s\n", file, json_text(command, "line"),
           kinds[kind].type, json_text(command, "text") != NULL ? json_text(command, "text") : "",
           status, err.message);
}

static void run_script(const char *dir, const char *name, struct tally *tally) {
    char path[4096];
    size_t bytes = 0;
    size_t offset = 0;
    (void)snprintf(path, sizeof path, "%s/%s/%s.json", dir, name, name);
    uint8_t *text = read_whole(path, &bytes);
    struct json *script = json_parse((const char *)text, bytes, &offset);
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
    (void)snprintf(dir, sizeof dir, "%s/%s/%s",
                   unpacked != NULL ? unpacked : HUSK_TEST_BUILD_DIR "/corpora", tally->pack,
                   group);
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

/* At least so many modules, assert_invalid and assert_malformed must be judged, none wrongly. */
static void check_group(const char *group, struct tally tally, const unsigned min[3]) {
    unsigned wrong = 0;
    run_group(group, &tally);
    printf("%s %s:", tally.pack, group);
    for (int kind = 0; kind < KINDS_COUNT; kind++) {
        wrong += tally.wrong[kind];
        if (tally.right[kind] + tally.wrong[kind] != 0)
            printf(" %s %u/%u,", kinds[kind].text, tally.right[kind],
                   tally.right[kind] + tally.wrong[kind]);
    }
    printf(" %u judged wrongly\n", wrong);
    CHECK_EQ_U64(wrong, 0);
    CHECK(tally.right[MODULE] + tally.wrong[MODULE] >= min[0]);
    CHECK(tally.right[INVALID] + tally.wrong[INVALID] >= min[1]);
    CHECK(tally.right[MALFORMED] + tally.wrong[MALFORMED] >= min[2]);
}

TEST(groups_of_2_0_are_judged_as_the_standard_says) {
    struct tally tally = {.pack = "wg-2.0", .is_strict_2_0 = true};
    check_group("core", tally, (const unsigned[]){1000, 1000, 700});
    check_group("simd", tally, (const unsigned[]){300, 300, 0});
}

static const struct group_row {
    const char *pack, *group;
    unsigned min[3];
} group_rows[] = {
    {"wg-3.0", "core", {1108, 1306, 707}},
    {"wg-3.0", "bulk-memory", {170, 273, 0}},
    {"wg-3.0", "multi-memory", {78, 2, 2}},
    {"wg-3.0", "simd", {474, 669, 0}},
    {"wg-3.0", "relaxed-simd", {8, 0, 0}},
    {"wg-3.0", "memory64", {276, 373, 1}},
    {"wg-3.0", "exceptions", {11, 16, 0}},
    {"wg-3.0", "legacy-exceptions", {6, 12, 0}},
    {"wg-3.0", "gc", {91, 64, 1}},
    {"wg-3.0", "custom", {6, 0, 0}},
    {"proposals", "custom-page-sizes", {33, 19, 108}},
    {"proposals", "wide-arithmetic", {2, 8, 0}},
};

TEST(groups_of_3_0_are_judged_as_the_standard_says) {
    for (size_t i = 0; i < sizeof group_rows / sizeof group_rows[0]; i++)
        check_group(group_rows[i].group, (struct tally){.pack = group_rows[i].pack},
                    group_rows[i].min);
    /* It was written on top of WebAssembly 1.0, which had one table and one memory. */
    const struct tally threads = {.pack = "proposals",
                                  .disabled =
                                      WASM_FEATURE_BIT(MULTI_MEMORY) | WASM_FEATURE_BIT(REFTYPES)};
    check_group("threads", threads, (const unsigned[]){114, 96, 0});
}

TEST_MAIN()
