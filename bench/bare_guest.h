/* bench/bare_guest.h: the guest of VMs made without libhusk (bare_vm.h, bare_slots.h). */
#ifndef BENCH_BARE_GUEST_H
#define BENCH_BARE_GUEST_H

#include <stdint.h>

#define BARE_GUEST_LARGE_PAGE 0x200000u
/* The guest writes from here on. */
#define BARE_GUEST_FIRST 0x20000u

void bare_guest_put(uint8_t *memory, uint32_t at, uint64_t entry);
/* Put the guest into memory, zeros from guest-physical 0 on, of which so many large pages are
 * mapped. pages: the number of pages that each run writes. */
void bare_guest_fill(uint8_t *memory, uint32_t large_pages, uint32_t pages);
/* Returns 0, or -1 with errno. */
int bare_guest_set_registers(int vcpu_fd, uint32_t pages);

#endif
