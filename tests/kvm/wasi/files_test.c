/*
 * Files of a guest in a VM against the kernel (files_model.h): a directory of the host, one in
 * private memory, and one that is copied on write; with snapshots, restores, clones and snapshots
 * that were saved to a file at random points. HUSK_TEST_ROUNDS sets how many operations (default
 * 10,000), and they are at least OPERATIONS_MIN.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness.h"
#include "vm_files.h"
#include "wat.h"

/* tools/run-hwkvm gives Bochs 10 rounds, which are whole snapshots in other suites. 200 operations
 * on each kind of directory take it some 13 seconds. */
#define OPERATIONS_MIN 200u

static uint32_t operations_wanted(void) {
    const char *text = getenv("HUSK_TEST_ROUNDS");
    const uint32_t wanted = text != NULL        ? (uint32_t)strtoul(text, NULL, 10)
                            : HARNESS_SANITIZED ? 1000
                                                : 10000;
    return wanted > OPERATIONS_MIN ? wanted : OPERATIONS_MIN;
}

static uint32_t open_files(void) {
    uint32_t count = 0;
    for (int fd = 0; fd < 4096; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void play(uint32_t kind, uint64_t seed) {
    struct vm_files files;
    struct files_home home;
    SKIP_WITHOUT_COMPILER();
    const uint32_t before = open_files();
    files_home_make(&home, kind != HUSK_WASI_DIR_MEM);
    const bool has_host = kind != HUSK_WASI_DIR_MEM;
    const struct husk_wasi_dir dir = {.guest_path = "/d",
                                      .host_path = has_host ? home.below : NULL,
                                      .host_fd = -1,
                                      .kind = kind,
                                      .rights = HUSK_WASI_READ | HUSK_WASI_WRITE};
    vm_files_open(&files, &dir);
    snprintf(files.saved, sizeof files.saved, "%s/saved.husk", home.path);
    const struct files_game game = {.api = &vm_files_api,
                                    .self = &files,
                                    .home = &home,
                                    .seed = seed,
                                    .operations = operations_wanted(),
                                    .is_on_host = kind == HUSK_WASI_DIR_HOST};
    files_play(&game);
    vm_files_close(&files);
    CHECK_EQ_U64(open_files(), before);
    files_home_remove(&home);
}

TEST(private_memory) {
    play(HUSK_WASI_DIR_MEM, 11);
}

TEST(copy_on_write) {
    play(HUSK_WASI_DIR_COW, 12);
}

TEST(a_directory_of_the_host) {
    play(HUSK_WASI_DIR_HOST, 13);
}

TEST_MAIN()
