/*
 * cli/cmd_serve.c: husk serve is a program of its own, husk-serve, beside husk: whoever runs a
 * module does not load an HTTP library.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define NAME "husk-serve"

static const struct report report_serve = {.command = "serve"};

/* The file of this name in the folder of the program that runs. */
static bool own_folder(char *out, size_t out_bytes) {
    const ssize_t count = readlink("/proc/self/exe", out, out_bytes - sizeof NAME);
    if (count <= 0 || (size_t)count >= out_bytes - sizeof NAME)
        return false;
    out[count] = '\0';
    char *slash = strrchr(out, '/');
    if (slash == NULL)
        return false;
    strcpy(slash + 1, NAME);
    return true;
}

int cmd_serve(int argc, char **argv) {
    char path[4096];
    struct husk_error err;
    (void)argc;
    if (own_folder(path, sizeof path))
        (void)execv(path, argv);
    if (errno == ENOENT)
        cli_error(&err, HUSK_E_NOT_FOUND,
                  NAME
                  " is not beside husk: install the package " NAME ", or, if husk was built "
                  "here, libmicrohttpd with headers (Debian: libmicrohttpd-dev), and build again");
    else
        cli_error(&err, HUSK_E_SYS, "cannot execute " NAME ": %s", strerror(errno));
    return report_error(&report_serve, NULL, &err);
}
