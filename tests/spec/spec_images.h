/*
 * tests/spec/spec_images.h: compiles the programs of a file, each when its first command comes, and
 * knows where each instance is then, or why it is nowhere.
 */
#ifndef SPEC_IMAGES_H
#define SPEC_IMAGES_H

#include <stdbool.h>
#include <stddef.h>

#include "husk_compile.h"
#include "spec_script.h"

enum place_kind {
    PLACE_UNKNOWN, /* its program was not compiled yet */
    PLACE_IMAGE,
    PLACE_MISSING, /* its image needs a feature that is missing: `why` has its name */
    PLACE_BAD,     /* a fault: `why` says which */
    PLACE_REFUSED  /* does not link, says the compiler */
};

struct place {
    enum place_kind kind;
    size_t image, stage;
    bool is_last; /* of its image: its exports have no prefix */
    char why[512];
};

struct images {
    const struct script *script;
    const struct husk_compile_options *compile;
    struct place *places; /* of each instance */
    size_t images_count;
    size_t members_count; /* of the newest image */
    int fd; /* of the image that images_prepare() made, to be taken and closed; -1: none */
};

bool images_init(struct images *images, const struct script *script,
                 const struct husk_compile_options *compile);
void images_done(struct images *images);

/* Fill in the place of this instance, and of all of its program. Compiles at most one image. */
void images_prepare(struct images *images, size_t instance);

/* The name of an instance in an image that has several. */
#define IMAGES_NAME_BYTES 32
void images_name(size_t instance, char ret_name[IMAGES_NAME_BYTES]);

/* The features that a refusal names: "SIMD, tail calls". */
void images_features(const char *message, char *ret_text, size_t text_bytes);

#endif
