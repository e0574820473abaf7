/*
 * host/image/image_save.h: between image_save.c, which writes a snapshot's file, and image_sections.c, which adds what people's tools want.
 */
#ifndef HOST_IMAGE_SAVE_H
#define HOST_IMAGE_SAVE_H

#include <elf.h>

#include "image_internal.h"

struct saver {
    const husk_image *image;
    int fd;
    uint64_t end; /* of the file */
    /* The note, then text, rodata, data, memories; ascending by address. Their place in the file is given when they are written. */
    Elf64_Phdr *headers;
    uint32_t headers_count;
    uint64_t descriptor_offset; /* of the note */
    struct husk_error *err;
};

/* image_sections.c, as what both files use may not be in the one that uses the other. */
int saver_put(struct saver *saver, uint64_t offset, const void *bytes, uint64_t count);
/* Section headers and symbols at the end of the file. Fills in the ELF header's fields about them. */
int saver_put_sections(struct saver *saver, Elf64_Ehdr *ehdr);

#endif
