/*
 * host/vm/syspages.h: the pages that only ring 0 may touch, made by the host and never read from a
 * file: GDT, IDT, TSS with its I/O bitmap, exception stubs and stack, page tables.
 *
 * A template is built once per opened image and describes its fixed mappings; a space is one
 * sandbox's private (copy-on-write) copy, to which mappings are added as memory and tables grow.
 * The one rule: while a VM exists, an entry goes from not-present to present. It goes back only
 * together with its backing (sys_space_unmap()).
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
    uint32_t prot; /* of enum page_prot; PAGE_READ at least */
};

struct sys_template;
struct sys_space;

/* Mappings must not overlap one another or the system pages (HUSK_E_INVAL). Where gva and gpa are
 * both aligned to 2 MiB and the mapping covers 2 MiB, one large entry maps it. */
/* entry: vm_kvm_entry() of the VMs that will use it. */
int sys_template_new(enum vm_entry entry, const struct page_mapping *mappings, size_t count,
                     struct sys_template **ret_template, struct husk_error *err);
struct sys_template *sys_template_ref(struct sys_template *template);
void sys_template_unref(struct sys_template *template);

/* slot_idx_base: the space uses the memory slots from here on, at most SYS_SPACE_SLOTS_MAX. */
#define SYS_SPACE_SLOTS_MAX 16
int sys_space_new(struct sys_template *template, uint32_t slot_idx_base,
                  struct sys_space **ret_space, struct husk_error *err);
void sys_space_free(struct sys_space *space); /* after the VM is destroyed */
gpa_t sys_space_page_root(const struct sys_space *space);
uint8_t *sys_space_exception_stack_top(const struct sys_space *space); /* for vm_config */
/* Give the VM the space's slots, before it runs with them. Some may be given when it fails. */
int sys_space_attach(struct sys_space *space, const struct vm_ops *ops, struct vm *vm,
                     struct husk_error *err);
/* Take them away again, as many as were given. */
int sys_space_detach(struct sys_space *space, struct husk_error *err);
/* Map more (pages that are not mapped yet: HUSK_E_INVAL otherwise). Nothing is changed on failure.
 * The guest sees it from its next run on: no invalidation is needed, for x86 does not cache
 * not-present entries (SDM vol. 3A, 4.10.2.3). */
int sys_space_map(struct sys_space *space, const struct page_mapping *mapping,
                  struct husk_error *err);

/* Where guest-physical memory lies. Below HUSK_MEM0_GVA: the same as virtual. Linear memory i:
 * (i + 1) * 4 GiB. System pages and page tables: from 0xc0000000 up to 0xf0000000
 * (host/vm/syspages_layout_x86_64.h). */
gpa_t gpa_of_gva(uint64_t gva);

/* Can [*from, end) be taken away: is everything in it mapped, and whole? *from goes down to where a
 * large entry begins if it lies within one. */
bool sys_space_can_unmap(const struct sys_space *space, uint64_t *from, uint64_t end);
/* Take away what sys_space_can_unmap() allowed. In the same step, before the VM runs again, the
 * caller must discard the backing of these pages (madvise(MADV_DONTNEED) or mmap(MAP_FIXED) over
 * it), which is what drops the translations. */
void sys_space_unmap(struct sys_space *space, uint64_t gva, uint64_t bytes);

#endif
