/*
 * oci/main.c: husk-oci, an OCI runtime for containers of WebAssembly. It has runc's command line:
 * it prepares the bundles of wasm containers, then executes runc (or crun) with the same words.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "oci.h"

#define FAILED 1        /* as runc */
#define EXEC_FAILED 255 /* as runc's exec */

static const char help[] =
    "husk-oci: an OCI runtime for containers of WebAssembly\n"
    "\n"
    "usage: husk-oci [OPTIONS] COMMAND [ARGUMENTS]     as for runc(8)\n"
    "\n"
    "create and run look at the bundle's config.json. If the container starts a .wasm module or "
    "an\n"
    "image that husk compile made, it is rewritten so that husk runs it in a virtual machine. "
    "Then\n"
    "runc (or crun) does all the rest, and everything for other containers.\n"
    "\n"
    "Settings: /etc/husk/oci.conf (HUSK_OCI_CONF names another file), HUSK_OCI_RUNTIME,\n"
    "HUSK_OCI_HUSK, HUSK_OCI_CACHE. See husk-oci(8) and docs/kubernetes.md.\n";

static int fail(const struct command_line *line, const struct husk_error *err, int code) {
    oci_report(line, err->message);
    return code;
}

static bool is_command(const struct command_line *line, const char *name) {
    return line->command != NULL && strcmp(line->command, name) == 0;
}

/* Returns only if it is not to go on. */
static int before_runtime(const struct command_line *line, const struct settings *settings,
                          const char *runtime) {
    struct husk_error err;
    if (is_command(line, "create") || is_command(line, "run"))
        return bundle_prepare(settings, line->bundle != NULL ? line->bundle : ".", &err) != 0
                   ? fail(line, &err, FAILED)
                   : 0;
    if (is_command(line, "exec") && container_is_wasm(runtime, line)) {
        error_set(&err, HUSK_E_UNSUPPORTED,
                  "exec is not possible in a wasm container: there is one program in it, which "
                  "runs in a virtual machine, and no shell");
        return fail(line, &err, EXEC_FAILED);
    }
    return 0;
}

int main(int argc, char **argv) {
    struct command_line line;
    struct settings settings;
    struct husk_error err;
    char runtime[4096];
    command_line_read(argc, argv, &line);
    if (line.command == NULL && (line.wants_help || argc == 1)) {
        fputs(help, stdout);
        return fflush(stdout) != 0 ? FAILED : 0;
    }
    int status = settings_load(&settings, &err);
    /* a node with wrong settings must still be able to end its containers */
    if (status != 0 && (is_command(&line, "create") || is_command(&line, "run")))
        return fail(&line, &err, FAILED);
    if (runtime_find(&settings, runtime, sizeof runtime, &err) != 0)
        return fail(&line, &err, FAILED);
    int code = before_runtime(&line, &settings, runtime);
    if (code != 0)
        return code;
    argv[0] = runtime;
    (void)execv(runtime, argv);
    error_sys(&err, errno, "cannot execute %s", runtime);
    return fail(&line, &err, FAILED);
}
