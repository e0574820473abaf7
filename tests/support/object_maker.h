/* tests/support/object_maker.h: makes small x-86-64 ELF relocatables in memory, good and bad ones,
 * for the linker's tests. */
#ifndef OBJECT_MAKER_H
#define OBJECT_MAKER_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>

#define MAKER_SYMBOLS_MAX 16
#define MAKER_RELAS_MAX 16

struct object_maker {
    uint8_t text[256];
    size_t text_bytes;
    const char *data_name; /* a second section, or NULL */
    uint64_t data_flags;
    uint8_t data[64];
    size_t data_bytes;
    struct {
        const char *name;
        unsigned section; /* 0 undefined, 1 text, 2 data */
        uint64_t value, size;
        unsigned type; /* STT_… */
    } symbols[MAKER_SYMBOLS_MAX];
    size_t symbols_count;
    Elf64_Rela relas[MAKER_RELAS_MAX]; /* of .text */
    size_t relas_count;
};

/* Add a symbol. Returns its index in the object. */
uint32_t maker_symbol(struct object_maker *maker, const char *name, unsigned section,
                      uint64_t value, uint64_t size);
void maker_rela(struct object_maker *maker, uint64_t offset, uint32_t symbol, uint32_t kind,
                int64_t addend);
/* Make the object. Returns malloc()ed bytes. */
uint8_t *maker_finish(const struct object_maker *maker, size_t *ret_bytes);

#endif
