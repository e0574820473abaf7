/*
 * host/memory/machine_space.h: the operations on a machine's address space that machine.c and
 * restore.c use in addition to machine.h. It makes, exchanges and frees page tables, slots and the
 * VM.
 */
#ifndef HOST_MACHINE_SPACE_H
#define HOST_MACHINE_SPACE_H

#include "machine.h"

/* Make the page tables for a new instance with these sizes. No VM has them yet. */
int machine_tables_new(const struct machine *machine, husk_image *image, const struct sizing *sizes,
                       struct sys_space **ret_tables, struct husk_error *err);
/* Make a VM and its vCPU for these tables. It has no memory yet. */
int machine_vm_new(struct machine *machine, const struct sys_space *tables, struct husk_error *err);
void machine_vm_free(struct machine *machine); /* before its memory is freed */
/* park.c. Destroy the VM, and keep the memory. */
void machine_vm_drop(struct machine *machine);
/* Move the VM, without slots, to a machine without memory and VM. If that fails, the VM stays, and
 * lacks some of its slots. */
int machine_vm_move(struct machine *machine, struct machine *bare);
/* Give memory without a VM the VM of a machine without memory, or a new one. If that fails, the
 * memory has no VM. The VM of `bare` may then have some slots. */
int machine_vm_adopt(struct machine *machine, struct machine *bare, struct husk_error *err);
int machine_vm_make(struct machine *machine, struct husk_error *err);
/* Give the VM the machine's memory and page tables. On failure, the VM may have a part of them. */
int machine_attach(struct machine *machine, struct husk_error *err);
/* Take the VM's memory away, as much as it has. Then the memory can be freed. */
int machine_detach(struct machine *machine, struct husk_error *err);
/* Make the first `bytes` of a memory accessible to the host, and give them to the VM. The guest
 * cannot reach more than before. */
int machine_cover(struct machine *machine, uint32_t mem_idx, uint64_t bytes,
                  struct husk_error *err);
/* Can the guest's pages [*from, end) be unmapped? *from may be lowered, because some pages can only
 * be unmapped together. */
bool machine_can_unmap(const struct machine *machine, uint64_t *from, uint64_t end);
/* Unmap a range that machine_can_unmap() allowed: page-table entries and their private pages, in
 * one step (syspages.h). The mapped contents show again. */
int machine_unmap(struct machine *machine, uint64_t gva_value, uint64_t bytes,
                  struct husk_error *err);

#endif
