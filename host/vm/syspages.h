/*
 * host/vm/syspages.h: the system pages: GDT, IDT, TSS with its I/O bitmap, exception stubs and
 * stack, page tables. Only ring 0 may access them. The host makes them; no file contains them.
 *
 * A template is built once per opened image and describes its fixed mappings. A space is one
 * sandbox's private (copy-on-write) copy. Mappings are added to it as memory and tables grow. The
 * one rule: while a VM exists, an entry only changes from not-present to present. It becomes
 * not-present only together with its backing (sys_space_unmap()).
 */
#ifndef HOST_SYSPAGES_H
#define HOST_SYSPAGES_H

#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "husk.h"
#include "vm.h"

enum page_prot {
    PAGE_READ = 1,
    PAGE_WRITE = 2,
    PAGE_EXEC = 4
}; /* user pages; W and X together are refused */

struct page_mapping {
    uint64_t gva;
    gpa_t gpa;
    uint64_t bytes;
    uint32_t prot; /* bits of enum page_prot, with PAGE_READ */
};

struct sys_template;
struct sys_space;

/* Mappings must not overlap one another or the system pages (HUSK_E_INVAL). Where gva and gpa are
 * both aligned to 2 MiB and the mapping covers 2 MiB, one large entry maps it. */
/* entry: vm_kvm_entry() of the VMs that will use the template. */
int sys_template_new(enum vm_entry entry, const struct page_mapping *mappings, size_t count,
                     struct sys_template **ret_template, struct husk_error *err);
/* The same, with the system pages below another guest-physical address. */
int sys_template_new_below(gpa_t end, enum vm_entry entry, const struct page_mapping *mappings,
                           size_t count, struct sys_template **ret_template,
                           struct husk_error *err);
struct sys_template *sys_template_ref(struct sys_template *template);
void sys_template_unref(struct sys_template *template);

/* The system pages' length: SYS_STD_BYTES, or a greater multiple of it. */
uint64_t sys_template_bytes(const struct sys_template *template);
/* The same, before the template is made. Of the guest-physical addresses only those matter that
 * decide about large entries: those in memories, and those that are the virtual address. */
int sys_template_measure(const struct page_mapping *mappings, size_t count, uint64_t *ret_bytes,
                         struct husk_error *err);

/* slot_idx_base: the first memory slot that the space uses. It uses at most SYS_SPACE_SLOTS_MAX
 * slots. */
#define SYS_SPACE_SLOTS_MAX 16
int sys_space_new(struct sys_template *template, uint32_t slot_idx_base,
                  struct sys_space **ret_space, struct husk_error *err);
/* The same in a reservation of the caller: sys_template_bytes() at `place`. It is a part of a slot
 * that the caller gives to the VM: the guest-physical address is HUSK_MEM0_GPA - HUSK_PAGE_SIZE -
 * sys_template_bytes(). So the space uses slots only for further page tables. */
int sys_space_new_at(struct sys_template *template, uint8_t *place, uint32_t slot_idx_base,
                     struct sys_space **ret_space, struct husk_error *err);
void sys_space_free(struct sys_space *space); /* after the VM is destroyed */
gpa_t sys_space_page_root(const struct sys_space *space);
uint8_t *sys_space_exception_stack_top(const struct sys_space *space); /* for vm_config */
/* Give the VM the space's slots, before it runs with them. On failure, the VM may have some of
 * them. */
int sys_space_attach(struct sys_space *space, const struct vm_ops *ops, struct vm *vm,
                     struct husk_error *err);
/* Take away the slots that the VM has. */
int sys_space_detach(struct sys_space *space, struct husk_error *err);
/* The VM is about to be destroyed, with its slots: no VM has the space now. NULL is fine. */
void sys_space_leave(struct sys_space *space);
/* Map more pages. HUSK_E_INVAL if some are mapped already. Nothing changes on failure. The guest
 * sees the pages from its next run on. No invalidation is needed, because x86 does not cache
 * not-present entries (SDM vol. 3A, 4.10.2.3). */
int sys_space_map(struct sys_space *space, const struct page_mapping *mapping,
                  struct husk_error *err);

/* Memory 0. Everything below it in a machine's main slot ends there (host/memory/space_layout.h).
 */
#define HUSK_MEM0_GPA 0x140000000ull
#define SYS_STD_BYTES 0x40000ull

/* The guest-physical address of a guest-virtual one in linear memory: memory i is at 5 GiB + i * 8
 * GiB. Below HUSK_MEM0_GVA, both are equal here; a machine has another layout. */
gpa_t gpa_of_gva(uint64_t gva);

/* Can the space, in place, become one of another template, although its VM has run? A page-table
 * entry that leads to another table must lead to the same one, whatever the VM's earlier spaces
 * were: a shadow-paging host keeps such links for ever. So each page of the tables is bound to the
 * range of addresses that it first served. */
bool sys_space_can_become(const struct sys_space *space, const struct sys_template *template);
/* Do that. Before the VM runs again, the caller must discard the backing of every page whose entry
 * changes, as with sys_space_unmap(). */
void sys_space_become(struct sys_space *space, struct sys_template *template);

/* Can [*from, end) be unmapped? All of it must be mapped, by entries that lie inside the range. If
 * *from lies within a large entry, it is lowered to the start of that entry. */
bool sys_space_can_unmap(const struct sys_space *space, uint64_t *from, uint64_t end);
/* Unmap a range that sys_space_can_unmap() allowed. Before the VM runs again, the caller must
 * discard the backing of these pages (madvise(MADV_DONTNEED), or mmap(MAP_FIXED) over it). Only
 * that drops the translations. */
void sys_space_unmap(struct sys_space *space, uint64_t gva, uint64_t bytes);

#endif
