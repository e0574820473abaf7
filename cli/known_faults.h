/* cli/known_faults.h: see known_faults.c. */
#ifndef CLI_KNOWN_FAULTS_H
#define CLI_KNOWN_FAULTS_H

#include <stdbool.h>
#include <stddef.h>

struct version {
    unsigned major, minor, patch;
};

/* The stable release of a kernel, from uname(2)'s release and version. False if they do not say. */
bool kernel_version(const char *release, const char *build, struct version *ret_version);

/* How many known faults a kernel has. text gets them, as far as there is room. */
unsigned kernel_faults_of(struct version kernel, char *text, size_t text_bytes);

/* compiler: as an image names it, "husk 0.1.0 LLVM 22.1.8". */
bool llvm_is_tested(const char *compiler);

#endif
