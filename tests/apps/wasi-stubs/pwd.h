/* tests/apps/wasi-stubs/pwd.h: no users in WASI; without this, --sysroot=/usr would find the native
 * header. */
#ifndef APP_PWD_H
#define APP_PWD_H

#include <stddef.h>
#include <sys/types.h>

struct passwd {
    char *pw_name, *pw_dir;
    uid_t pw_uid;
};

static inline struct passwd *getpwuid(uid_t uid) {
    (void)uid;
    return NULL;
}

#endif
