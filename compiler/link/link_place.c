/* compiler/link/link_place.c: which part of an image a section of an object belongs to. */
#include <string.h>

#include "linker_internal.h"

enum place section_place(const struct elfobj_section *section) {
    uint64_t flags = section->header.sh_flags;
    if (section->header.sh_size == 0 || section->header.sh_type == SHT_NOTE ||
        section->header.sh_type == SHT_NULL)
        return PLACE_NONE;
    if ((flags & SHF_ALLOC) == 0) {
        bool is_line = strcmp(section->name, ".debug_line") == 0 ||
                       strcmp(section->name, ".debug_line_str") == 0;
        return is_line && section->data != NULL ? PLACE_DEBUG : PLACE_NONE;
    }
    if (section->data == NULL || (flags & (SHF_WRITE | SHF_TLS)) != 0)
        return PLACE_BAD;
    if (strcmp(section->name, ".eh_frame") == 0)
        return PLACE_EH_FRAME;
    if (strncmp(section->name, LSDA_SECTION, strlen(LSDA_SECTION)) == 0)
        return PLACE_LSDA;
    return (flags & SHF_EXECINSTR) != 0 ? PLACE_TEXT : PLACE_RODATA;
}
