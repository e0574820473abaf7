/* tests/spec/spec_images.c: see spec_images.h. */
#include "spec_images.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"

bool images_init(struct images *images, const struct script *script,
                 const struct husk_compile_options *compile) {
    *images = (struct images){.script = script, .compile = compile, .fd = -1};
    images->places = calloc(script->instances_count + 1, sizeof *images->places);
    return images->places != NULL;
}

void images_done(struct images *images) {
    free(images->places);
    images->places = NULL;
}

void images_name(size_t instance, char ret_name[IMAGES_NAME_BYTES]) {
    (void)snprintf(ret_name, IMAGES_NAME_BYTES, "i%zu", instance);
}

void images_features(const char *message, char *ret_text, size_t text_bytes) {
    static const char needs[] = "the module needs ";
    static const char uses[] = "uses ";
    const char *start = strstr(message, needs);
    const char *stop = ":";
    if (start != NULL) {
        start += strlen(needs);
    } else {
        start = strstr(message, uses);
        start = start != NULL ? start + strlen(uses) : message;
        stop = "(,:";
    }
    size_t length = strcspn(start, stop);
    while (length > 0 && start[length - 1] == ' ')
        length--;
    (void)snprintf(ret_text, text_bytes, "%.*s", (int)length, start);
    char *last = strstr(ret_text, " and ");
    if (last != NULL) {
        *last = ',';
        memmove(last + 1, last + 4, strlen(last + 4) + 1);
    }
}

static void place_lost(struct place *place, int status, const char *message) {
    place->kind = status == HUSK_E_UNSUPPORTED ? PLACE_MISSING : PLACE_BAD;
    if (status == HUSK_E_UNSUPPORTED)
        images_features(message, place->why, sizeof place->why);
    else
        (void)snprintf(place->why, sizeof place->why, "%s", message);
}

/* ---- the members of a program, in order of their start ---- */

struct members {
    size_t *idx;
    size_t count;
};

static const struct script_module *module_of(const struct images *images, size_t instance) {
    return &images->script->modules[images->script->instances[instance].module];
}

/* All from which an instance imports, directly or not, and itself. */
static void mark_needed(const struct script *script, size_t instance, bool *is_needed) {
    memset(is_needed, 0, script->instances_count);
    is_needed[instance] = true;
    for (size_t i = instance + 1; i > 0; i--) /* imports come from earlier ones */
        for (size_t k = 0; is_needed[i - 1] && k < script->instances[i - 1].imports_count; k++)
            is_needed[script->instances[i - 1].imports[k].instance] = true;
}

static bool find_members(const struct images *images, size_t instance, struct members *members) {
    const struct script *script = images->script;
    bool is_alone = script->instances[instance].kind == SCRIPT_UNLINKABLE;
    bool *is_needed = calloc(script->instances_count, 1);
    members->count = 0;
    members->idx = calloc(script->instances_count, sizeof *members->idx);
    if (is_needed != NULL && members->idx != NULL) {
        mark_needed(script, instance, is_needed);
        for (size_t i = 0; i < script->instances_count; i++) {
            bool is_member =
                is_alone ? is_needed[i]
                         : script->instances[i].program == script->instances[instance].program;
            if (is_member)
                members->idx[members->count++] = i;
        }
    }
    free(is_needed);
    return members->count > 0;
}

/* Those whose exporters are lost are lost, too. */
static void lose_importers(struct images *images, const struct members *members) {
    for (size_t i = 0; i < members->count; i++) {
        const struct script_instance *instance = &images->script->instances[members->idx[i]];
        struct place *place = &images->places[members->idx[i]];
        for (size_t k = 0; place->kind == PLACE_UNKNOWN && k < instance->imports_count; k++) {
            const struct place *from = &images->places[instance->imports[k].instance];
            if (from->kind == PLACE_MISSING || from->kind == PLACE_BAD)
                *place = *from;
        }
    }
}

static void lose_refused(struct images *images, const struct members *members) {
    for (size_t i = 0; i < members->count; i++) {
        const struct script_module *module = module_of(images, members->idx[i]);
        struct place *place = &images->places[members->idx[i]];
        if (place->kind == PLACE_UNKNOWN && module->status != 0)
            place_lost(place, module->status, module->err.message);
    }
    lose_importers(images, members);
}

static void keep_unlost(const struct images *images, struct members *members) {
    size_t count = 0;
    for (size_t i = 0; i < members->count; i++) {
        enum place_kind kind = images->places[members->idx[i]].kind;
        if (kind == PLACE_UNKNOWN || kind == PLACE_IMAGE)
            members->idx[count++] = members->idx[i];
    }
    members->count = count;
}

/* ---- compiling ---- */

static int compile_one(const struct images *images, size_t instance, int *ret_fd,
                       struct husk_error *err) {
    const struct script_module *module = module_of(images, instance);
    struct husk_compiled compiled = {.size = sizeof compiled, .fd = -1};
    int status = husk_compile_cached(module->wasm, module->count, images->compile, &compiled, err);
    if (status == 0)
        *ret_fd = compiled.fd;
    return status;
}

/* The ones that need missing features are lost, with their importers. */
static void lose_unsupported(struct images *images, const struct members *members) {
    for (size_t i = 0; i < members->count; i++) {
        struct husk_error err = {0};
        int fd = -1;
        int status = compile_one(images, members->idx[i], &fd, &err);
        if (status == HUSK_E_UNSUPPORTED)
            place_lost(&images->places[members->idx[i]], status, err.message);
        if (fd >= 0)
            (void)close(fd);
    }
    lose_importers(images, members);
}

/* ---- linking ---- */

struct linking {
    struct husk_module *modules;
    struct husk_alias *aliases;
    char (*names)[IMAGES_NAME_BYTES]; /* of instances */
};

static bool linking_init(const struct script *script, const struct members *members,
                         struct linking *linking) {
    size_t aliases = 1; /* never 0 */
    for (size_t i = 0; i < members->count; i++)
        aliases += script->instances[members->idx[i]].imports_count;
    *linking = (struct linking){
        .modules = calloc(members->count, sizeof *linking->modules),
        .aliases = calloc(aliases, sizeof *linking->aliases),
        .names = calloc(script->instances_count, sizeof *linking->names),
    };
    for (size_t i = 0; linking->names != NULL && i < script->instances_count; i++)
        images_name(i, linking->names[i]);
    return linking->modules != NULL && linking->aliases != NULL && linking->names != NULL;
}

static void linking_done(struct linking *linking) {
    free(linking->modules);
    free(linking->aliases);
    free(linking->names);
}

/* Registered names may change hands, so each import names the instance that it is from. */
static int compile_linked(struct images *images, const struct members *members,
                          struct husk_error *err) {
    struct husk_compile_options options = *images->compile;
    options.cache_dir = NULL;
    struct linking linking;
    int status = HUSK_E_NOMEM;
    if (linking_init(images->script, members, &linking)) {
        struct husk_alias *alias = linking.aliases;
        for (size_t i = 0; i < members->count; i++) {
            const struct script_instance *instance = &images->script->instances[members->idx[i]];
            const struct script_module *module = module_of(images, members->idx[i]);
            linking.modules[i] = (struct husk_module){.name = linking.names[members->idx[i]],
                                                      .wasm = module->wasm,
                                                      .count = module->count,
                                                      .aliases = alias,
                                                      .aliases_count = instance->imports_count};
            for (size_t k = 0; k < instance->imports_count; k++) {
                const struct script_import *import = &instance->imports[k];
                *alias++ = (struct husk_alias){.module = import->module,
                                               .name = import->field,
                                               .instance = linking.names[import->instance],
                                               .export_name = import->field};
            }
        }
        status = compile_staged(linking.modules, members->count, &options, &images->fd, err);
    }
    linking_done(&linking);
    return status;
}

static int compile_members(struct images *images, const struct members *members,
                           struct husk_error *err) {
    if (members->count == 1)
        return compile_one(images, members->idx[0], &images->fd, err);
    return compile_linked(images, members, err);
}

static void place_all(struct images *images, const struct members *members, size_t instance,
                      const struct place *found) {
    bool is_alone = images->script->instances[instance].kind == SCRIPT_UNLINKABLE;
    for (size_t i = 0; i < members->count; i++) {
        if (is_alone && members->idx[i] != instance)
            continue;
        struct place *place = &images->places[members->idx[i]];
        *place = *found;
        place->stage = i;
        place->is_last = i + 1 == members->count;
    }
}

static void compile_program(struct images *images, struct members *members, size_t instance) {
    struct husk_error err = {0};
    int status = compile_members(images, members, &err);
    if (status == HUSK_E_UNSUPPORTED && members->count > 1) {
        lose_unsupported(images, members);
        keep_unlost(images, members);
        if (members->count > 0)
            status = compile_members(images, members, &err);
    }
    if (members->count == 0)
        return;
    struct place found = {.kind = PLACE_IMAGE, .image = images->images_count};
    images->members_count = members->count;
    if (status == 0)
        images->images_count++;
    else if (status == HUSK_E_LINK && images->script->instances[instance].kind == SCRIPT_UNLINKABLE)
        found.kind = PLACE_REFUSED;
    else
        place_lost(&found, status, err.message);
    place_all(images, members, instance, &found);
}

void images_prepare(struct images *images, size_t instance) {
    struct members members = {.count = 0};
    struct place *place = &images->places[instance];
    if (place->kind != PLACE_UNKNOWN)
        return;
    if (find_members(images, instance, &members)) {
        lose_refused(images, &members);
        keep_unlost(images, &members);
        if (place->kind == PLACE_UNKNOWN)
            compile_program(images, &members, instance);
    }
    if (place->kind == PLACE_UNKNOWN)
        place_lost(place, HUSK_E_NOMEM, "out of memory");
    free(members.idx);
}
