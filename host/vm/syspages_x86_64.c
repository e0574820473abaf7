/*
 * host/vm/syspages_x86_64.c: makes the system pages of host/vm/syspages_layout_x86_64.h. A template
 * is a sealed memfd, made once per opened image. A space maps it privately, so a thousand sandboxes
 * share the unchanged pages. Page tables must still be writable memory for the hypervisor: on AMD,
 * a nested walk of a guest page table counts as a write (APM vol. 2, 15.25.5).
 */
#include "syspages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "error.h"
#include "file.h"
#include "layout.h"
#include "pages.h"
#include "syspages_layout_x86_64.h"
#include "syspages_tables_x86_64.h"
#include "cpu_x86_64.h"

/* Table pages of the template that are free for growth: enough for some GiB before a space needs a
 * further slot. */
#define SPARE_PAGES 16u
#define FIRST_CHUNK_PAGES 128u /* of further slots; each one has twice as many as the one before */

struct sys_template {
    uint32_t refs;
    int fd;
    uint64_t bytes, gpa_end; /* the last are the pages below that address */
    enum vm_entry entry;
    uint8_t *base; /* the file's pages, read-only, to be compared with those of a space */
    struct page_tables tables; /* chunks[0].hva is in base; every space has its own */
};

struct sys_space {
    struct sys_template *template;
    uint8_t *base;  /* template->bytes, private */
    bool is_placed; /* base is in the caller's reservation, and in a slot of the caller */
    struct page_tables tables;
    uint32_t slot_idx_base;
    const struct vm_ops *ops; /* NULL until attached */
    struct vm *vm;
};

gpa_t gpa_of_gva(uint64_t gva) {
    const uint64_t window = (uint64_t)HUSK_MAX_MEM64_PAGES * HUSK_WASM_PAGE_SIZE;
    if (gva < HUSK_MEM0_GVA)
        return gpa(gva);
    if (gva < HUSK_MEM1_BASE_GVA)
        return gpa(HUSK_MEM0_GPA + (gva - HUSK_MEM0_GVA));
    uint64_t offset = gva - HUSK_MEM1_BASE_GVA;
    return gpa(HUSK_MEM0_GPA + offset / HUSK_MEM_STRIDE * window + offset % HUSK_MEM_STRIDE);
}

/* A code or data segment descriptor of ring 0: SDM vol. 3A, section 3.4.5. In 64-bit mode only
 * type, DPL, P and L count. */
static uint64_t descriptor_segment(unsigned type, bool is_code) {
    uint64_t access = type | 0x10u | 0x80u; /* S, P */
    uint64_t flags = is_code ? 0xau : 0xcu; /* G with L, or G with D/B */
    return 0xffffull | access << 40 | 0xfull << 48 | flags << 52;
}

/* No descriptor for ring 3: the host loads its segments, and it has no use for others. On kvm-pvm
 * an IRET of ring 3 is emulated, and takes any of its descriptors for CS and SS: one for data as
 * CS, and the VM was in 32-bit mode, for the next call, too. */
static void fill_gdt(uint64_t *gdt) {
    const unsigned code = 0xb, data = 0x3; /* accessed is preset: the CPU never writes the GDT */
    const uint64_t tss = SYS_TABLES_GVA + SYS_TSS_OFFSET;
    gdt[SYS_KERNEL_CS / 8] = descriptor_segment(code, true);
    gdt[SYS_KERNEL_DS / 8] = descriptor_segment(data, false);
    /* The busy 64-bit TSS, two entries long: section 7.2.3. */
    gdt[SYS_TSS_SELECTOR / 8] =
        (SYS_TSS_BYTES - 1) | (tss & 0xffffff) << 16 | 0x8bull << 40 | (tss >> 24 & 0xff) << 56;
    gdt[SYS_TSS_SELECTOR / 8 + 1] = tss >> 32;
}

/* SDM vol. 3A, section 7.7: RSP0 and IST1 are the exception stack; the I/O bitmap allows ring 3's
 * ports. */
static void fill_tss(uint8_t *tss) {
    const uint64_t stack_top = SYS_STACK_TOP_GVA;
    memcpy(tss + 0x04, &stack_top, sizeof stack_top);
    memcpy(tss + 0x24, &stack_top, sizeof stack_top);
    const uint16_t bitmap_offset = SYS_TSS_HEAD_BYTES;
    memcpy(tss + 0x66, &bitmap_offset, sizeof bitmap_offset);
    uint8_t *bitmap = tss + SYS_TSS_HEAD_BYTES;
    memset(bitmap, 0xff, SYS_TSS_BYTES - SYS_TSS_HEAD_BYTES);
    static const uint8_t ports[] = {HUSK_PORT_CALL_DONE, HUSK_PORT_HOST_CALL, HUSK_PORT_SERVICE,
                                    HUSK_PORT_UNCAUGHT};
    /* `out %eax` covers four ports, and the CPU wants the bit of each to be clear. */
    for (size_t i = 0; i < sizeof ports; i++)
        for (unsigned port = ports[i]; port < ports[i] + 4u; port++)
            bitmap[port / 8] &= (uint8_t) ~(1u << port % 8);
}

/* Interrupt gates with DPL 0: INT n from ring 3 is a #GP. Section 6.14.1. */
static void fill_idt(uint64_t *idt) {
    for (uint64_t vector = 0; vector < HUSK_EXCEPTION_VECTORS; vector++) {
        uint64_t stub = SYS_STUBS_GVA + vector * SYS_STUB_BYTES;
        const uint64_t ist = 1, type = 0x8e;
        idt[2 * vector] = (stub & 0xffff) | (uint64_t)SYS_KERNEL_CS << 16 | ist << 32 | type << 40 |
                          (stub >> 16 & 0xffff) << 48;
        idt[2 * vector + 1] = stub >> 32;
    }
}

/* All the code there is in ring 0. A page fault's CR2 is pushed, because reading it from outside is
 * a system call of its own. A stub ends with its OUT: the host sets all registers anew (behind it
 * is INT3, which would be an exception in ring 0, that is, a violation). */
static void fill_stub(uint8_t *stub, unsigned vector) {
    static const uint8_t push_cr2[] = {
        0x50,                   /* push %rax */
        0x0f, 0x20, 0xd0,       /* mov %cr2, %rax */
        0x48, 0x87, 0x04, 0x24, /* xchg %rax, (%rsp) */
    };
    memset(stub, 0xcc, SYS_STUB_BYTES);
    if (vector == X86_VECTOR_PF) {
        memcpy(stub, push_cr2, sizeof push_cr2);
        stub += sizeof push_cr2;
    }
    stub[0] = 0xe7; /* out %eax, imm8 */
    stub[1] = (uint8_t)(HUSK_PORT_EXCEPTION + vector);
}

/* entry_page_x86_64.S */
extern const uint8_t entry_page_sse[], entry_page_sse_end[], entry_page_xsave[],
    entry_page_xsave_end[], entry_page_pkru[], entry_page_pkru_end[], entry_touch[],
    entry_touch_end[];

static void fill_entry_page(uint8_t *page, enum vm_entry entry) {
    static const struct {
        const uint8_t *code, *end;
    } variants[] = {[VM_ENTRY_SSE] = {entry_page_sse, entry_page_sse_end},
                    [VM_ENTRY_XSAVE] = {entry_page_xsave, entry_page_xsave_end},
                    [VM_ENTRY_PKRU] = {entry_page_pkru, entry_page_pkru_end}};
    memset(page, 0xcc, HUSK_PAGE_SIZE);
    memcpy(page, variants[entry].code, (size_t)(variants[entry].end - variants[entry].code));
    memcpy(page + SYS_TOUCH_OFFSET, entry_touch, (size_t)(entry_touch_end - entry_touch));
}

static void fill_fixed_pages(uint8_t *base, enum vm_entry entry) {
    fill_gdt((uint64_t *)(void *)(base + SYS_GDT_OFFSET));
    fill_tss(base + SYS_TSS_OFFSET);
    fill_idt((uint64_t *)(void *)(base + SYS_IDT_OFFSET));
    for (unsigned vector = 0; vector < HUSK_EXCEPTION_VECTORS; vector++)
        fill_stub(base + HUSK_PAGE_SIZE + (size_t)vector * SYS_STUB_BYTES, vector);
    fill_entry_page(base + (SYS_ENTRY_GVA - SYS_TABLES_GVA), entry);
}

static const struct {
    uint64_t gva;
    uint32_t prot;
} fixed_pages[SYS_FIXED_PAGES] = {
    {SYS_TABLES_GVA, PAGE_READ | PAGE_SUPERVISOR},
    {SYS_STUBS_GVA, PAGE_READ | PAGE_EXEC | PAGE_SUPERVISOR},
    {SYS_STACK_GVA, PAGE_READ | PAGE_WRITE | PAGE_SUPERVISOR},
    {SYS_ENTRY_GVA, PAGE_READ | PAGE_EXEC},
};

static void map_fixed_pages(struct page_tables *tables, uint64_t gpa_value) {
    for (size_t i = 0; i < SYS_FIXED_PAGES; i++) {
        const struct page_mapping mapping = {.gva = fixed_pages[i].gva,
                                             .gpa = {gpa_value + i * HUSK_PAGE_SIZE},
                                             .bytes = HUSK_PAGE_SIZE,
                                             .prot = fixed_pages[i].prot};
        tables_map(tables, &mapping);
    }
}

static bool overlaps(const struct page_mapping *mapping, uint64_t from, uint64_t end) {
    return mapping->gpa.v < end && mapping->gpa.v + mapping->bytes > from;
}

static bool leads_to_system_pages(const struct page_mapping *mapping,
                                  const struct sys_template *template) {
    const uint64_t end = template->gpa_end;
    return overlaps(mapping, end - template->bytes, end) ||
           overlaps(mapping, SYS_FURTHER_GPA, SYS_FURTHER_GPA_END) ||
           (end == SYS_GPA_END && overlaps(mapping, SYS_TRIAL_GPA, SYS_TRIAL_GPA_END));
}

/* What every user mapping must respect besides tables_check(). */
static int check_user_mapping(const struct page_mapping *mapping,
                              const struct sys_template *template, struct husk_error *err) {
    if ((mapping->prot & ~(uint32_t)(PAGE_READ | PAGE_WRITE | PAGE_EXEC)) != 0)
        return error_set(err, HUSK_E_INVAL, "mapping at 0x%llx has unknown protection bits 0x%x",
                         (unsigned long long)mapping->gva, mapping->prot);
    if (mapping->gva < HUSK_SYS_END_GVA)
        return error_set(err, HUSK_E_INVAL, "mapping at 0x%llx would reach into the system pages",
                         (unsigned long long)mapping->gva);
    if (leads_to_system_pages(mapping, template))
        return error_set(err, HUSK_E_INVAL,
                         "mapping at 0x%llx would show the system pages to the guest",
                         (unsigned long long)mapping->gva);
    return 0;
}

/* An upper bound of the table pages that all mappings need: each one's need against empty
 * tables. */
static int count_pages(const struct page_mapping *mappings, size_t count, uint32_t *ret_pages,
                       struct husk_error *err) {
    uint64_t *root = aligned_alloc(HUSK_PAGE_SIZE, HUSK_PAGE_SIZE);
    if (root == NULL)
        return error_sys(err, ENOMEM, "no memory for a sandbox's page tables");
    memset(root, 0, HUSK_PAGE_SIZE);
    struct page_tables empty = {0};
    tables_add_chunk(&empty, &(struct table_chunk){(uint8_t *)root, 0, 1, 1});
    uint32_t total = 1 + 3 + SPARE_PAGES; /* root, those of the system pages */
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        uint32_t needed = 0;
        status = tables_check(&empty, &mappings[i], &needed, err);
        total += needed;
    }
    free(root);
    if (status == 0)
        *ret_pages = total;
    return status;
}

int sys_template_measure(const struct page_mapping *mappings, size_t count, uint64_t *ret_bytes,
                         struct husk_error *err) {
    uint32_t pages = 0;
    int status = count_pages(mappings, count, &pages, err);
    const uint64_t bytes = (uint64_t)(SYS_FIXED_PAGES + pages) * HUSK_PAGE_SIZE;
    if (status == 0)
        *ret_bytes = (bytes + SYS_STD_BYTES - 1) / SYS_STD_BYTES * SYS_STD_BYTES;
    return status;
}

uint64_t sys_template_bytes(const struct sys_template *template) {
    return template->bytes;
}

/* Fill the memfd's pages at `base`. */
static int template_fill(struct sys_template *template, uint8_t *base,
                         const struct page_mapping *mappings, size_t count,
                         struct husk_error *err) {
    fill_fixed_pages(base, template->entry);
    struct page_tables *tables = &template->tables;
    tables->chunks[0].hva = base + SYS_FIXED_PAGES * HUSK_PAGE_SIZE;
    tables->chunks[0].pages_used = 1;
    map_fixed_pages(tables, template->gpa_end - template->bytes);
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        uint32_t needed;
        status = tables_check(tables, &mappings[i], &needed, err);
        if (status == 0)
            status = check_user_mapping(&mappings[i], template, err);
        if (status == 0)
            tables_map(tables, &mappings[i]);
    }
    return status;
}

static int template_map(struct sys_template *template, struct husk_error *err) {
    void *base = mmap(NULL, template->bytes, PROT_READ, MAP_PRIVATE, template->fd, 0);
    if (base == MAP_FAILED)
        return error_sys(err, errno, "cannot map an image's page tables (" MAPPINGS_HINT ")");
    template->base = base;
    template->tables.chunks[0].hva = template->base + SYS_FIXED_PAGES *HUSK_PAGE_SIZE;
    return 0;
}

static int template_make(struct sys_template *template, const struct page_mapping *mappings,
                         size_t count, struct husk_error *err) {
    int status = sys_template_measure(mappings, count, &template->bytes, err);
    if (status != 0)
        return status;
    const struct table_chunk chunk = {
        .gpa = template->gpa_end - template->bytes + SYS_FIXED_PAGES * HUSK_PAGE_SIZE,
        .pages_count = (uint32_t)(template->bytes / HUSK_PAGE_SIZE) - SYS_FIXED_PAGES};
    tables_add_chunk(&template->tables, &chunk);
    template->fd = memfd_create("husk-system-pages", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (template->fd < 0)
        return error_sys(err, errno, "cannot make an anonymous file for an image's page tables");
    if (file_set_size(template->fd, template->bytes) != 0)
        return error_sys(err, errno, "cannot make an anonymous file for an image's page tables");
    void *base = mmap(NULL, template->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, template->fd, 0);
    if (base == MAP_FAILED)
        return error_sys(err, errno, "cannot map a sandbox's page tables (" MAPPINGS_HINT ")");
    status = template_fill(template, base, mappings, count, err);
    munmap(base, template->bytes);
    if (status == 0 && fcntl(template->fd, F_ADD_SEALS,
                             F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        return error_sys(err, errno, "cannot seal an image's page tables");
    return status == 0 ? template_map(template, err) : status;
}

int sys_template_new_below(gpa_t end, enum vm_entry entry, const struct page_mapping *mappings,
                           size_t count, struct sys_template **ret_template,
                           struct husk_error *err) {
    struct sys_template *template = calloc(1, sizeof *template);
    if (template == NULL)
        return error_sys(err, ENOMEM, "no memory for a sandbox's page tables");
    template->refs = 1;
    template->gpa_end = end.v;
    template->entry = entry;
    template->fd = -1;
    int status = template_make(template, mappings, count, err);
    if (status != 0) {
        sys_template_unref(template);
        return status;
    }
    *ret_template = template;
    return 0;
}

int sys_template_new(enum vm_entry entry, const struct page_mapping *mappings, size_t count,
                     struct sys_template **ret_template, struct husk_error *err) {
    return sys_template_new_below(gpa(SYS_GPA_END), entry, mappings, count, ret_template, err);
}

struct sys_template *sys_template_ref(struct sys_template *template) {
    __atomic_add_fetch(&template->refs, 1, __ATOMIC_RELAXED);
    return template;
}

void sys_template_unref(struct sys_template *template) {
    if (template == NULL || __atomic_sub_fetch(&template->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    if (template->base != NULL)
        munmap(template->base, template->bytes);
    if (template->fd >= 0)
        close(template->fd);
    free(template);
}

int sys_space_new_at(struct sys_template *template, uint8_t *place, uint32_t slot_idx_base,
                     struct sys_space **ret_space, struct husk_error *err) {
    struct sys_space *space = calloc(1, sizeof *space);
    if (space == NULL)
        return error_sys(err, ENOMEM, "no memory for a sandbox's page tables");
    void *base =
        mmap(place, template->bytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_NORESERVE | (place != NULL ? MAP_FIXED : 0), template->fd, 0);
    if (base == MAP_FAILED) {
        int sys_errno = errno;
        free(space);
        return error_sys(err, sys_errno, "cannot map a sandbox's page tables (" MAPPINGS_HINT ")");
    }
    space->template = sys_template_ref(template);
    space->base = base;
    space->is_placed = place != NULL;
    space->tables = template->tables;
    space->tables.chunks[0].hva = space->base + SYS_FIXED_PAGES * HUSK_PAGE_SIZE;
    space->slot_idx_base = slot_idx_base;
    *ret_space = space;
    return 0;
}

int sys_space_new(struct sys_template *template, uint32_t slot_idx_base,
                  struct sys_space **ret_space, struct husk_error *err) {
    return sys_space_new_at(template, NULL, slot_idx_base, ret_space, err);
}

void sys_space_free(struct sys_space *space) {
    if (space == NULL)
        return;
    for (uint32_t i = 1; i < space->tables.chunks_count; i++) /* the first is part of base */
        munmap(space->tables.chunks[i].hva,
               (size_t)space->tables.chunks[i].pages_count * HUSK_PAGE_SIZE);
    if (!space->is_placed)
        munmap(space->base, space->template->bytes);
    sys_template_unref(space->template);
    free(space);
}

gpa_t sys_space_page_root(const struct sys_space *space) {
    return gpa(space->tables.chunks[0].gpa);
}

uint8_t *sys_space_exception_stack_top(const struct sys_space *space) {
    return space->base + (SYS_STACK_TOP_GVA - SYS_TABLES_GVA);
}

/* Slot `idx` of the space: the template's pages, or a further chunk. */
static int space_set_slot(struct sys_space *space, uint32_t idx, struct husk_error *err) {
    const struct table_chunk *chunk = &space->tables.chunks[idx];
    if (idx == 0 && space->is_placed)
        return 0;
    gpa_t at = gpa(idx == 0 ? space->template->gpa_end - space->template->bytes : chunk->gpa);
    uint8_t *hva = idx == 0 ? space->base : chunk->hva;
    uint64_t bytes =
        idx == 0 ? space->template->bytes : (uint64_t)chunk->pages_count * HUSK_PAGE_SIZE;
    return space->ops->set_slot(space->vm, space->slot_idx_base + idx, at, hva, bytes, 0, err);
}

int sys_space_attach(struct sys_space *space, const struct vm_ops *ops, struct vm *vm,
                     struct husk_error *err) {
    space->ops = ops;
    space->vm = vm;
    int status = 0;
    for (uint32_t i = 0; i < space->tables.chunks_count && status == 0; i++)
        status = space_set_slot(space, i, err);
    return status; /* also on failure the VM has some of them: see sys_space_detach() */
}

/* Another slot full of table pages, with room for pages_needed. */
static int space_add_chunk(struct sys_space *space, uint32_t pages_needed, struct husk_error *err) {
    const uint32_t idx = space->tables.chunks_count;
    const struct table_chunk *last = &space->tables.chunks[idx - 1];
    struct table_chunk chunk = {
        .gpa =
            idx == 1 ? SYS_FURTHER_GPA : last->gpa + (uint64_t)last->pages_count * HUSK_PAGE_SIZE,
        .pages_count = idx == 1 ? FIRST_CHUNK_PAGES : 2 * last->pages_count};
    if (chunk.pages_count < pages_needed)
        chunk.pages_count = pages_needed;
    uint64_t bytes = (uint64_t)chunk.pages_count * HUSK_PAGE_SIZE;
    if (idx == SYS_SPACE_SLOTS_MAX || bytes > SYS_FURTHER_GPA_END - chunk.gpa)
        return error_set(err, HUSK_E_LIMIT, "page tables of this sandbox are full");
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return error_sys(err, errno, "cannot map a sandbox's page tables (" MAPPINGS_HINT ")");
    chunk.hva = base;
    tables_add_chunk(&space->tables, &chunk);
    int status = space->ops == NULL ? 0 : space_set_slot(space, idx, err);
    if (status != 0) {
        space->tables.chunks_count--;
        munmap(base, bytes);
    }
    return status;
}

int sys_space_map(struct sys_space *space, const struct page_mapping *mapping,
                  struct husk_error *err) {
    uint32_t needed;
    int status = tables_check(&space->tables, mapping, &needed, err);
    if (status == 0)
        status = check_user_mapping(mapping, space->template, err);
    uint32_t available = tables_free_pages(&space->tables);
    if (status == 0 && needed > available)
        status = space_add_chunk(space, needed - available, err);
    if (status == 0)
        tables_map(&space->tables, mapping);
    return status;
}

bool sys_space_can_unmap(const struct sys_space *space, uint64_t *from, uint64_t end) {
    if (!tables_can_unmap(&space->tables, *from, end - *from))
        *from &= ~(X86_LARGE_PAGE_BYTES - 1);
    return tables_can_unmap(&space->tables, *from, end - *from);
}

void sys_space_unmap(struct sys_space *space, uint64_t gva, uint64_t bytes) {
    tables_unmap(&space->tables, gva, bytes);
}

bool sys_space_can_become(const struct sys_space *space, const struct sys_template *template) {
    return space->is_placed && space->template->bytes == template->bytes &&
           space->template->gpa_end == template->gpa_end &&
           space->template->entry == template->entry &&
           tables_can_become(&space->tables, &template->tables);
}

void sys_space_become(struct sys_space *space, struct sys_template *template) {
    tables_become(&space->tables, &template->tables);
    sys_template_ref(template);
    sys_template_unref(space->template);
    space->template = template;
}

int sys_space_detach(struct sys_space *space, struct husk_error *err) {
    int status = 0;
    const uint32_t first = space->is_placed ? 1 : 0;
    for (uint32_t i = first; i < space->tables.chunks_count && status == 0 && space->ops != NULL;
         i++)
        status = space->ops->set_slot(space->vm, space->slot_idx_base + i, gpa(0), NULL, 0, 0, err);
    return status;
}

void sys_space_leave(struct sys_space *space) {
    if (space == NULL)
        return;
    space->ops = NULL;
    space->vm = NULL;
}
