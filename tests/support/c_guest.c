/* tests/support/c_guest.c: see c_guest.h. */
#include "c_guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "harness.h"
#include "ready_image.h"

#define TOOLS HUSK_TEST_SOURCE_DIR "/tools/"

/* Returns malloc()ed wasm, or NULL. */
static uint8_t *c_to_wasm(const char *source, const char *flags, size_t *ret_count) {
    char path[] = "/tmp/husk-test-XXXXXX", command[1024], wasm_path[64];
    struct husk_error err;
    uint8_t *wasm = NULL;
    int fd = mkstemp(path);
    CHECK(fd >= 0 && file_write_all(fd, source, strlen(source)) == 0);
    close(fd);
    snprintf(wasm_path, sizeof wasm_path, "%s.wasm", path);
    snprintf(command, sizeof command,
             "$(" TOOLS "find-llvm-tool clang) --target=wasm32-wasi --sysroot=/usr -Wno-deprecated "
             "$(" TOOLS "no-wasm-opt) -O2 -mexec-model=reactor %s -x c %s -o %s 2>/dev/null",
             flags, path, wasm_path);
    if (system(command) == 0)
        CHECK_OK(file_read(wasm_path, 64u << 20, &wasm, ret_count, &err), err);
    unlink(path);
    unlink(wasm_path);
    return wasm;
}

husk_image *c_guest_image(husk_engine *engine, const char *source, const char *flags,
                          const char *worker_path) {
    struct husk_error err;
    husk_image *image = NULL;
    uint8_t *wasm = NULL;
    size_t count = 0;
    int fd = ready_image_open(source, strlen(source));
    if (fd < 0 && !ready_images_only())
        wasm = c_to_wasm(source, flags, &count);
    if (wasm != NULL)
        fd = ready_image_compile(source, strlen(source), wasm, count, worker_path);
    free(wasm);
    if (fd < 0)
        return NULL;
    CHECK_OK(husk_image_open_fd(engine, fd, NULL, &image, &err), err);
    close(fd);
    return image;
}
