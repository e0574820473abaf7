/*
 * host/memory/machine_space.h: what machine.c and restore.c ask of a machine's address space,
 * besides machine.h: page tables, slots and the VM are made, exchanged and freed here.
 */
#ifndef HOST_MACHINE_SPACE_H
#define HOST_MACHINE_SPACE_H

#include "machine.h"

/* Page tables of what an instance of these sizes starts with; in no VM yet. */
int machine_tables_new(const struct machine *machine, husk_image *image, const struct sizing *sizes,
                       struct sys_space **ret_tables, struct husk_error *err);
/* A VM and its vCPU that will have these tables. It has no memory yet. */
int machine_vm_new(struct machine *machine, const struct sys_space *tables, struct husk_error *err);
void machine_vm_free(struct machine *machine); /* before the memory that it has */
/* Give the VM the machine's memory and page tables. Some of it may be given when it fails. */
int machine_attach(struct machine *machine, struct husk_error *err);
/* The VM lets go of the memory that it has, as much as was given; then it can be freed. */
int machine_detach(struct machine *machine, struct husk_error *err);
/* Make the first `bytes` of a memory accessible to the host, and the VM's. The guest cannot reach
 * more than before. */
int machine_cover(struct machine *machine, uint32_t mem_idx, uint64_t bytes,
                  struct husk_error *err);
/* Can the guest's pages [*from, end) be taken away? *from may become less: some pages go only
 * together. */
bool machine_can_unmap(const struct machine *machine, uint64_t *from, uint64_t end);
/* Take away what machine_can_unmap() allowed: page-table entries and the private pages behind them,
 * in one step (syspages.h). What lies below those shows again. */
int machine_unmap(struct machine *machine, uint64_t gva_value, uint64_t bytes,
                  struct husk_error *err);

#endif
