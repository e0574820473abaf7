/*
 * host/vm/syspages_tables_x86_64.c: builds 4-level page tables (SDM vol. 3A, section 4.5) in pages
 * that syspages_x86_64.c provides.
 *
 * A mapping is walked in steps of at most one 2 MiB region. A region becomes one large entry if it
 * is covered completely, has no table yet, and is aligned in guest-physical memory. Otherwise it
 * gets 4 KiB entries. tables_check() makes the same walk without writing, so tables_map() cannot
 * run out of pages half-way.
 */
#include "syspages_tables_x86_64.h"

#include <assert.h>
#include <string.h>

#include "error.h"
#include "layout.h"
#include "cpu_x86_64.h"

#define GVA_LIMIT (1ull << 47) /* the lower canonical half */
/* the fewest physical bits that any supported host gives (QEMU's TCG) */
#define GPA_LIMIT (1ull << 40)

enum { LEVEL_PTE = 0, LEVEL_PDE = 1, LEVEL_PDPTE = 2, LEVEL_PML4E = 3 };

static unsigned level_shift(int level) {
    return HUSK_PAGE_SHIFT + 9u * (unsigned)level;
}

static size_t level_index(uint64_t gva_v, int level) {
    return (gva_v >> level_shift(level)) % X86_PTE_COUNT;
}

void tables_add_chunk(struct page_tables *tables, const struct table_chunk *chunk) {
    assert(tables->chunks_count < SYS_SPACE_SLOTS_MAX);
    tables->chunks[tables->chunks_count++] = *chunk;
}

uint32_t tables_free_pages(const struct page_tables *tables) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < tables->chunks_count; i++)
        count += tables->chunks[i].pages_count - tables->chunks[i].pages_used;
    return count;
}

static uint64_t *tables_root(const struct page_tables *tables) {
    return (uint64_t *)(void *)tables->chunks[0].hva;
}

/* The table that an entry points to. The entry is the host's own, so the address is always in a
 * chunk. */
static uint64_t *tables_of_entry(const struct page_tables *tables, uint64_t entry) {
    uint64_t addr = entry & X86_PTE_ADDRESS;
    for (uint32_t i = 0; i < tables->chunks_count; i++) {
        const struct table_chunk *chunk = &tables->chunks[i];
        uint64_t bytes = (uint64_t)chunk->pages_count * HUSK_PAGE_SIZE;
        if (addr >= chunk->gpa && addr - chunk->gpa < bytes)
            return (uint64_t *)(void *)(chunk->hva + (addr - chunk->gpa));
    }
    assert(0 && "page table outside the pool");
    return NULL;
}

/* A table at `level` that serves gva_v. Not 0, which means none: the root's number is above. */
static uint32_t binding_of(uint64_t gva_v, int level) {
    return (uint32_t)(level + 1) << 28 | (uint32_t)(gva_v >> level_shift(level + 1));
}

/* The page that is bound to it, or a free one, or 0: the root is never it. */
static uint32_t bound_page(const struct page_tables *tables, uint32_t binding) {
    const uint32_t first = binding * 2654435761u >> 8;
    uint32_t free = 0;
    for (uint32_t i = 0; i < TABLES_BOUND_PAGES; i++) {
        const uint32_t idx = (first + i) % TABLES_BOUND_PAGES;
        if (tables->bound[idx] == binding)
            return idx;
        if (tables->bound[idx] == 0 && idx != 0 && free == 0)
            free = idx;
    }
    return free;
}

static uint64_t tables_take_page(struct page_tables *tables, uint64_t gva_v, int level) {
    struct table_chunk *chunks = tables->chunks;
    const uint32_t binding = binding_of(gva_v, level);
    const uint32_t idx =
        chunks[0].pages_count == TABLES_BOUND_PAGES ? bound_page(tables, binding) : 0;
    if (idx != 0) {
        chunks[0].pages_used += tables->bound[idx] == 0;
        tables->bound[idx] = binding;
        return chunks[0].gpa + (uint64_t)idx * HUSK_PAGE_SIZE;
    }
    for (uint32_t i = 0; i < tables->chunks_count; i++) {
        struct table_chunk *chunk = &tables->chunks[i];
        if (chunk->pages_used < chunk->pages_count)
            return chunk->gpa + (uint64_t)chunk->pages_used++ * HUSK_PAGE_SIZE;
    }
    assert(0 && "page-table pool exhausted");
    return 0;
}

/* The entry for gva_v at `level`, or NULL if a table above it is missing; ret_missing_level is then
 * that table's level. A large entry above counts as found: *ret_missing_level is set to -1 and its
 * entry is returned. */
static uint64_t *tables_find(const struct page_tables *tables, uint64_t gva_v, int level,
                             int *ret_missing_level) {
    uint64_t *table = tables_root(tables);
    *ret_missing_level = -1;
    for (int at = LEVEL_PML4E;; at--) {
        uint64_t *entry = &table[level_index(gva_v, at)];
        if (at == level || (*entry & X86_PTE_LARGE) != 0)
            return entry;
        if ((*entry & X86_PTE_PRESENT) == 0) {
            *ret_missing_level = at - 1;
            return NULL;
        }
        table = tables_of_entry(tables, *entry);
    }
}

/* One step of the walk: [gva, gva + bytes) within one 2 MiB region. */
struct map_step {
    uint64_t gva, gpa, bytes;
};

static struct map_step step_first(const struct page_mapping *mapping) {
    return (struct map_step){.gva = mapping->gva, .gpa = mapping->gpa.v};
}

static bool step_next(const struct page_mapping *mapping, struct map_step *step) {
    step->gva += step->bytes;
    step->gpa += step->bytes;
    uint64_t left = mapping->bytes - (step->gva - mapping->gva);
    uint64_t to_boundary = X86_LARGE_PAGE_BYTES - step->gva % X86_LARGE_PAGE_BYTES;
    step->bytes = left < to_boundary ? left : to_boundary;
    return left != 0;
}

/* Not in the lanes below memory 0: there, another module may have other pages in the same place
 * (sys_space_can_become()), and a shadow-paging host keeps what a large entry led to. In a memory,
 * a large entry and a table lead to the same pages with the same rights. */
static bool step_fits_large(const struct map_step *step) {
    return step->bytes == X86_LARGE_PAGE_BYTES && step->gpa % X86_LARGE_PAGE_BYTES == 0 &&
           (step->gva >= HUSK_MEM0_GVA || step->gva == step->gpa);
}

static int check_range(const struct page_mapping *mapping, struct husk_error *err) {
    uint64_t all = mapping->gva | mapping->gpa.v | mapping->bytes;
    if (all % HUSK_PAGE_SIZE != 0 || mapping->bytes == 0)
        return error_set(err, HUSK_E_INVAL, "mapping at 0x%llx is empty or not page-aligned",
                         (unsigned long long)mapping->gva);
    if (mapping->bytes > GVA_LIMIT || mapping->gva > GVA_LIMIT - mapping->bytes ||
        mapping->bytes > GPA_LIMIT || mapping->gpa.v > GPA_LIMIT - mapping->bytes)
        return error_set(err, HUSK_E_INVAL,
                         "mapping at 0x%llx of 0x%llx bytes is beyond the address space",
                         (unsigned long long)mapping->gva, (unsigned long long)mapping->bytes);
    if ((mapping->prot & PAGE_READ) == 0)
        return error_set(err, HUSK_E_INVAL, "mapping at 0x%llx is not readable",
                         (unsigned long long)mapping->gva);
    if ((mapping->prot & PAGE_WRITE) != 0 && (mapping->prot & PAGE_EXEC) != 0)
        return error_set(err, HUSK_E_INVAL, "mapping at 0x%llx would be writable and executable",
                         (unsigned long long)mapping->gva);
    return 0;
}

/* Is any page of the step mapped already? */
static bool step_overlaps(const struct page_tables *tables, const struct map_step *step) {
    int missing;
    for (uint64_t done = 0; done < step->bytes; done += HUSK_PAGE_SIZE) {
        const uint64_t *entry = tables_find(tables, step->gva + done, LEVEL_PTE, &missing);
        if (entry == NULL)
            return false; /* the whole region has no table */
        if ((*entry & X86_PTE_PRESENT) != 0)
            return true;
    }
    return false;
}

int tables_check(const struct page_tables *tables, const struct page_mapping *mapping,
                 uint32_t *ret_pages_needed, struct husk_error *err) {
    int status = check_range(mapping, err);
    if (status != 0)
        return status;
    /* Which table at each level was counted last: the walk ascends, so one number per level is
     * memory enough. */
    uint64_t counted[LEVEL_PML4E];
    memset(counted, 0xff, sizeof counted);
    uint32_t needed = 0;
    for (struct map_step step = step_first(mapping); step_next(mapping, &step);) {
        if (step_overlaps(tables, &step))
            return error_set(err, HUSK_E_INVAL, "pages at 0x%llx are mapped already",
                             (unsigned long long)step.gva);
        int lowest = step_fits_large(&step) ? LEVEL_PDE : LEVEL_PTE;
        int missing;
        tables_find(tables, step.gva, LEVEL_PTE, &missing);
        for (int level = missing; level >= lowest; level--) {
            uint64_t number = step.gva >> level_shift(level + 1);
            needed += counted[level] != number;
            counted[level] = number;
        }
    }
    *ret_pages_needed = needed;
    return 0;
}

/* The entry at `level`, making the tables above it. */
static uint64_t *tables_reach(struct page_tables *tables, uint64_t gva_v, int level) {
    uint64_t *table = tables_root(tables);
    for (int at = LEVEL_PML4E; at > level; at--) {
        uint64_t *entry = &table[level_index(gva_v, at)];
        if ((*entry & X86_PTE_PRESENT) == 0) /* what may be done is said by the last level alone */
            *entry = tables_take_page(tables, gva_v, at - 1) | X86_PTE_PRESENT | X86_PTE_WRITE |
                     X86_PTE_USER | X86_PTE_ACCESSED;
        table = tables_of_entry(tables, *entry);
    }
    return &table[level_index(gva_v, level)];
}

static uint64_t prot_bits(uint32_t prot) {
    uint64_t bits = X86_PTE_PRESENT | X86_PTE_ACCESSED;
    if ((prot & PAGE_WRITE) != 0)
        bits |= X86_PTE_WRITE | X86_PTE_DIRTY;
    if ((prot & PAGE_EXEC) == 0)
        bits |= X86_PTE_NX;
    if ((prot & PAGE_SUPERVISOR) == 0)
        bits |= X86_PTE_USER;
    return bits;
}

void tables_map(struct page_tables *tables, const struct page_mapping *mapping) {
    uint64_t bits = prot_bits(mapping->prot);
    for (struct map_step step = step_first(mapping); step_next(mapping, &step);) {
        int missing;
        const uint64_t *pde = tables_find(tables, step.gva, LEVEL_PDE, &missing);
        if (step_fits_large(&step) && (pde == NULL || (*pde & X86_PTE_PRESENT) == 0)) {
            *tables_reach(tables, step.gva, LEVEL_PDE) = step.gpa | bits | X86_PTE_LARGE;
            continue;
        }
        uint64_t *entry = tables_reach(tables, step.gva, LEVEL_PTE);
        for (uint64_t done = 0; done < step.bytes; done += HUSK_PAGE_SIZE)
            *entry++ = (step.gpa + done) | bits;
    }
}

/* Step through the present entries of a range: `entry` covers [*gva_v, *gva_v + bytes returned).
 * NULL entry: not mapped. */
static uint64_t entry_at(const struct page_tables *tables, uint64_t gva_v, uint64_t **ret_entry) {
    int missing;
    uint64_t *entry = tables_find(tables, gva_v, LEVEL_PTE, &missing);
    *ret_entry = entry != NULL && (*entry & X86_PTE_PRESENT) != 0 ? entry : NULL;
    /* Bit 7 means "large" in a PDE only; the host never sets it (PAT) in a PTE. */
    return *ret_entry != NULL && (*entry & X86_PTE_LARGE) != 0 ? X86_LARGE_PAGE_BYTES
                                                               : HUSK_PAGE_SIZE;
}

bool tables_can_unmap(const struct page_tables *tables, uint64_t gva_v, uint64_t bytes) {
    for (uint64_t at = gva_v; at < gva_v + bytes;) {
        uint64_t *entry;
        uint64_t covered = entry_at(tables, at, &entry);
        if (entry == NULL || at % covered != 0 || covered > gva_v + bytes - at)
            return false;
        at += covered;
    }
    return true;
}

void tables_unmap(struct page_tables *tables, uint64_t gva_v, uint64_t bytes) {
    for (uint64_t at = gva_v; at < gva_v + bytes;) {
        uint64_t *entry;
        uint64_t covered = entry_at(tables, at, &entry);
        *entry = 0;
        at += covered;
    }
}

/* A page that is bound must be bound to the same, and nothing may be bound to two pages. */
bool tables_can_become(const struct page_tables *tables, const struct page_tables *next) {
    if (!tables_are_bound(tables) || !tables_are_bound(next))
        return false;
    for (uint32_t i = 1; i < TABLES_BOUND_PAGES; i++) {
        const uint32_t wanted = next->bound[i];
        if (wanted != 0 && tables->bound[i] != 0 && tables->bound[i] != wanted)
            return false;
        for (uint32_t j = 1; j < TABLES_BOUND_PAGES && wanted != 0; j++)
            if (j != i && tables->bound[j] == wanted)
                return false;
    }
    return true;
}

void tables_become(struct page_tables *tables, const struct page_tables *next) {
    for (uint32_t i = 0; i < TABLES_BOUND_PAGES; i++) {
        if (tables->bound[i] == 0 && next->bound[i] != 0) {
            tables->bound[i] = next->bound[i];
            tables->chunks[0].pages_used++;
        }
        uint8_t *page = tables->chunks[0].hva + (size_t)i * HUSK_PAGE_SIZE;
        const uint8_t *source = next->chunks[0].hva + (size_t)i * HUSK_PAGE_SIZE;
        if ((i == 0 || tables->bound[i] != 0) && memcmp(page, source, HUSK_PAGE_SIZE) != 0)
            memcpy(page, source, HUSK_PAGE_SIZE);
    }
}
