/*
 * Fuzz target: any bytes as the config.json of a container, as husk-oci reads and rewrites it. The
 * container's root is a folder of the target's own, whatever the text says, with a module and an
 * image in it. A config that was rewritten is JSON that husk-oci reads again, knows as its own, and
 * that starts husk.
 */
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest_image.h"
#include "oci.h"
#include "require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char home[64], root[80], image_path[96];

/* ---- The bundle ---- */

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place) {
    (void)info, (void)kind, (void)place;
    return remove(path);
}

static void remove_home(void) {
    (void)nftw(home, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void write_file(const char *name, const void *bytes, size_t count) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *file = fopen(path, "wbe");
    REQUIRE(file != NULL && fwrite(bytes, 1, count, file) == count && fclose(file) == 0);
}

static void make_home(void) {
    static const uint8_t module[8] = {0, 'a', 's', 'm', 1};
    size_t count;
    uint8_t *image = guest_image_make(&count);
    snprintf(home, sizeof home, "/dev/shm/husk-fuzz-oci-%ld", (long)getpid());
    snprintf(root, sizeof root, "%s/rootfs", home);
    snprintf(image_path, sizeof image_path, "%s/app.husk", root);
    REQUIRE(mkdir(home, 0700) == 0 && mkdir(root, 0700) == 0);
    atexit(remove_home);
    write_file("app.wasm", module, sizeof module);
    write_file("app.husk", image, count);
    free(image);
}

/* What rewriting made there: places of mounts. */
static int remove_made(const char *path, const struct stat *info, int kind, struct FTW *place) {
    (void)info, (void)kind;
    const bool is_own = place->level == 0 || strcmp(path + place->base, "app.wasm") == 0 ||
                        strcmp(path + place->base, "app.husk") == 0;
    return is_own && place->level <= 1 ? 0 : remove(path);
}

/* ---- The config ---- */

/* The kernel's answer to any path would be the machine's, not the input's. */
static void set_root(struct json_object *config) {
    struct json_object *object = json_object_new_object();
    REQUIRE(object != NULL);
    REQUIRE(json_object_object_add(object, "path", json_object_new_string("rootfs")) == 0);
    REQUIRE(json_object_object_add(config, "root", object) == 0);
}

static void check_rewritten(struct json_object *config) {
    struct json_object *again = NULL, *process = NULL, *args = NULL;
    bool is_rewritten = false;
    size_t count = 0;
    const char *text = json_object_to_json_string_length(config, JSON_C_TO_STRING_PLAIN, &count);
    REQUIRE(json_parse(text, count, &again, &err) == 0);
    REQUIRE(config_check_mark(again, &is_rewritten, &err) == 0 && is_rewritten);
    REQUIRE(json_object_object_get_ex(again, "process", &process));
    REQUIRE(json_object_object_get_ex(process, "args", &args));
    const char *program = json_object_get_string(json_object_array_get_idx(args, 0));
    REQUIRE(program != NULL && strcmp(program, OWN_HUSK) == 0);
    json_object_put(again);
}

static int rewrite(const struct bundle *bundle, struct json_object *config) {
    static const struct settings settings = {.husk = "/bin/true", .reserve_bytes = 1 << 20};
    struct guest_tree tree = {.root_fd = -1};
    struct program program = {.fd = -1};
    bool is_rewritten = false;
    const struct facts facts = {.tree = &tree,
                                .program = &program,
                                .settings = &settings,
                                .image_path = image_path,
                                .image_bytes = 4096,
                                .kvm_major = 10,
                                .kvm_minor = 232};
    int status = config_check_mark(config, &is_rewritten, &err);
    REQUIRE(status != 0 || !is_rewritten); /* the root is another one */
    if (status == 0)
        status = guest_tree_open(bundle, config, &tree, &err);
    if (status == 0)
        status = program_find(&tree, config, &program, &err);
    if (status == 0 && program.kind != PROGRAM_NATIVE) {
        status = config_rewrite(config, &facts, &err);
        if (status == 0)
            check_rewritten(config);
    }
    program_done(&program);
    guest_tree_done(&tree);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct json_object *config = NULL;
    struct bundle bundle = {.fd = -1};
    if (home[0] == '\0')
        make_home();
    err = (struct husk_error){0};
    int status = json_parse((const char *)data, size, &config, &err);
    REQUIRE((status == 0) == (config != NULL));
    if (status == 0) {
        set_root(config);
        REQUIRE(bundle_open(home, &bundle, &err) == 0);
        status = rewrite(&bundle, config);
        bundle_done(&bundle);
        (void)nftw(root, remove_made, 16, FTW_DEPTH | FTW_PHYS);
    }
    REQUIRE(status == 0 || (err.status == status && err.message[0] != '\0'));
    json_object_put(config);
    return 0;
}
