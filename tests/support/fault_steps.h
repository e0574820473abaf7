/*
 * tests/support/fault_steps.h: all ways to take, restore, load, clone, map and save the state of a
 * sandbox. Each is run with its n-th operation failing (fault_wraps.h), for every n, on a scripted
 * VM (tests/fake) and on a real one (tests/kvm). After a failure:
 *
 *   the sandbox is byte for byte as it was, including WASI's state. This always holds if no
 *   operation that changes a machine failed.
 *   Otherwise it reports that it is poisoned (restores) or unloaded (loads), and only a restore or
 *   load makes it usable.
 *   A retry succeeds. No VM is lost, and at the end no block, mapping or descriptor.
 */
#ifndef TESTS_SUPPORT_FAULT_STEPS_H
#define TESTS_SUPPORT_FAULT_STEPS_H

#include "fault_world.h"

/* Run every step, each in a new world. Nothing is left when the world is closed. */
void fault_steps_run(const struct fault_lane *lane, enum fault_mode mode,
                     struct fault_counts *counts);
/* Run husk_image_save(), with and without an existing file, and husk_image_save_fd(). */
void fault_saves_run(const struct fault_lane *lane, enum fault_mode mode,
                     struct fault_counts *counts);
/* Run all steps once, without faults. */
void fault_steps_once(struct fault_world *world);

#endif
