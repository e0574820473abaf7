/*
 * examples/guests/wide_size.h: a size_t of 64 bits in a library's own source. Libraries such as
 * zstd take sizeof(size_t) for the width of the CPU's registers and read half as many bits at once
 * where it is 4; wasm32 has registers of 64 bits all the same. Compile all of the library, and what
 * includes its headers, with -include wide_size.h (docs/guests.md, "Libraries that look at the size
 * of size_t"). The C library's headers come first and keep theirs: arguments are converted.
 */
#ifndef EXAMPLES_GUESTS_WIDE_SIZE_H
#define EXAMPLES_GUESTS_WIDE_SIZE_H

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#define size_t unsigned long long

#endif
