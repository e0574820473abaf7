/*
 * tests/support/fault_steps.h: all ways to take, restore, load, clone, map and save the state of a
 * sandbox, each with its n-th operation failing (fault_wraps.h), for every n; for a scripted VM
 * (tests/fake) and a real one (tests/kvm). After a failure
 *
 *   the sandbox is as it was, to the byte, WASI's state included; always if nothing that changes a
 *   machine had failed;
 *   or it says that it is poisoned (restores) or unloaded (loads), and nothing but a restore or
 *   load makes it usable;
 *   what is tried again succeeds; no VM is lost, and in the end no block, mapping or descriptor.
 */
#ifndef TESTS_SUPPORT_FAULT_STEPS_H
#define TESTS_SUPPORT_FAULT_STEPS_H

#include "fault_world.h"

/* Every step, each in a world of its own: nothing is left when that is closed. */
void fault_steps_run(const struct fault_lane *lane, enum fault_mode mode,
                     struct fault_counts *counts);
/* husk_image_save(), with and without a file that is there already; husk_image_save_fd(). */
void fault_saves_run(const struct fault_lane *lane, enum fault_mode mode,
                     struct fault_counts *counts);
/* All steps once, without faults. */
void fault_steps_once(struct fault_world *world);

#endif
