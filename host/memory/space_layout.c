/* host/memory/space_layout.c: see space_layout.h. */
#include "space_layout.h"

#include "layout.h"
#include "mailbox.h"
#include "pages.h"
#include "syspages.h"

/* Between the lanes: a host-side overrun of one cannot reach the next. */
#define GUARD_BYTES ((uint64_t)HUSK_PAGE_SIZE)
/* Enough for most small modules. With the default stack, all lanes then take 2 MiB. */
#define LANE_MIN_BYTES 0x50000ull

/* Few different lengths, so that other modules fit. */
static uint64_t lane_bytes(uint64_t bytes) {
    uint64_t lane = LANE_MIN_BYTES;
    while (lane < bytes)
        lane *= 2;
    return lane;
}

struct space_layout space_layout_of(const struct space_parts *parts) {
    struct space_layout layout = {.parts = *parts};
    layout.sys = GUARD_BYTES + parts->sys_bytes;
    layout.stack = layout.sys + GUARD_BYTES + parts->stack_bytes;
    layout.mailbox = layout.stack + HUSK_MBOX_BYTES; /* one mapping with the stack */
    layout.data = layout.mailbox + GUARD_BYTES + lane_bytes(parts->data_bytes);
    layout.ro = layout.data + GUARD_BYTES + lane_bytes(parts->is_ro_apart ? 0 : parts->ro_bytes);
    layout.low_bytes = large_page_up(layout.ro);
    return layout;
}

gpa_t space_layout_gpa(const struct space_layout *layout, uint64_t gva_value) {
    if (gva_value >= HUSK_MEM0_GVA)
        return gpa_of_gva(gva_value);
    if (gva_value >= HUSK_STACK_LOW_GVA)
        return gpa(HUSK_MEM0_GPA - layout->stack + layout->parts.stack_bytes -
                   (HUSK_STACK_TOP_GVA - gva_value));
    if (gva_value >= HUSK_MAILBOX_GVA)
        return gpa(HUSK_MEM0_GPA - layout->mailbox + (gva_value - HUSK_MAILBOX_GVA));
    if (gva_value >= HUSK_DATA_GVA)
        return gpa(HUSK_MEM0_GPA - layout->data + (gva_value - HUSK_DATA_GVA));
    if (layout->parts.is_ro_apart)
        return gpa(gva_value);
    return gpa(HUSK_MEM0_GPA - layout->ro + (gva_value - HUSK_TEXT_GVA));
}
