/*
 * tests/support/files_guest.h: an import group with a private layer. Its function is "env"."host"
 * of guest_image.c. It reads and writes single words of the layer's region, without host/files. So
 * a test can say which pages are written. Page 0 of a layer says how much of it is in use: a test
 * that takes snapshots leaves it alone.
 */
#ifndef TESTS_SUPPORT_FILES_GUEST_H
#define TESTS_SUPPORT_FILES_GUEST_H

#include "guest_lab.h"
#include "vm_fake.h"

/* Define "env"."host" with a layer of at most so many bytes; 0: none. */
void files_guest_define(husk_imports *imports, uint64_t bytes);
/* A lab whose imports and sandbox have the layer. */
void files_lab_open(struct guest_lab *lab, uint64_t bytes);

/* By the guest's call of the function: write the first word of a page. Covers the page. */
void files_put(husk_sandbox *sandbox, uint32_t page_idx, uint32_t word);
/* The word; 0 where nothing is covered. */
uint32_t files_get(husk_sandbox *sandbox, uint32_t page_idx);

/* The same image and function on a scripted VM, whose guest does nothing. Tests use the layer
 * between calls, by sandbox_files(). */
struct files_world {
    struct vm_backend backend;
    husk_engine *engine;
    husk_imports *imports;
    husk_image *image;
    husk_sandbox *sandbox;
    struct husk_error err;
};
void files_world_open(struct files_world *world, uint64_t bytes);
void files_world_close(struct files_world *world);

#endif
