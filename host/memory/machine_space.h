/*
 * host/memory/machine_space.h: the operations on a machine's address space that machine.c and
 * restore.c use in addition to machine.h. It makes, exchanges and frees page tables, slots and the
 * VM.
 */
#ifndef HOST_MACHINE_SPACE_H
#define HOST_MACHINE_SPACE_H

#include "machine.h"
#include "syspages.h"

/* Get the page tables of an instance with these sizes, and where everything has its place. The
 * caller has a share of the template. */
int machine_template(const struct machine *machine, husk_image *image, const struct sizing *sizes,
                     struct sys_template **ret_template, struct space_layout *ret_layout,
                     struct husk_error *err);
/* Make the page tables in their place in the arena. No VM has them yet. */
int machine_tables_new(struct sys_template *template, const struct arena *arena,
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
/* Give the VM the machine's memory and page tables. On failure, the VM may have a part of them.
 * is_new_vm: machine_vm_new() made it for these page tables. */
int machine_attach(struct machine *machine, bool is_new_vm, struct husk_error *err);
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

/* takeover.c. Make a machine that holds another module equal to the image, in the VM's slots as
 * they are, if that is possible. If not, nothing has changed. Failures are those of
 * machine_make_equal(). */
int machine_take_over(struct machine *machine, husk_image *image, const struct sizing *sizes,
                      bool *ret_is_possible, struct husk_error *err);
/* rebase.c. Map what differs in the image, from an address on, over the arena. The
 * image is the one that is mapped then. */
int machine_rebase(struct machine *machine, husk_image *image, uint64_t from_gva,
                   struct husk_error *err);
/* Merge the image's layers, if that is necessary: merging can fail, and must not do so between two
 * mappings. */
int machine_make_mappable(husk_image *image, struct husk_error *err);
/* Memory images that were mapped into linear memory give way to the image that is mapped. */
int machine_drop_overlays(struct machine *machine, struct husk_error *err);
/* machine.c. Copy the hot pages back, and count them. */
int machine_copy_hot(struct machine *machine, struct hot_counts *ret_counts,
                     struct husk_error *err);

#endif
