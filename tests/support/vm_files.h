/*
 * tests/support/vm_files.h: a guest in a VM for files_model.h: a module that exports what it
 * imports of WASI. So each operation goes through guest code, the host call and the handler.
 */
#ifndef TESTS_SUPPORT_VM_FILES_H
#define TESTS_SUPPORT_VM_FILES_H

#include "files_model.h"
#include "husk.h"

struct vm_files {
    husk_engine *engine;
    husk_image *image;
    husk_imports *imports;
    husk_sandbox *sandbox;
    husk_image *snapshot;
    char saved[128]; /* file for snapshots, or "": they are not saved */
    uint32_t loads;
};

/* With one directory, "/d" to the guest. Needs KVM and the compiler, or a ready image. */
void vm_files_open(struct vm_files *files, const struct husk_wasi_dir *dir);
void vm_files_close(struct vm_files *files);
/* Its `load` goes back by a restore, by another sandbox of the snapshot, by a clone of it, and by
 * the snapshot saved to a file, in turns. */
extern const struct files_api vm_files_api;

#endif
