/* tests/support/files_in.h: counts a folder's entries, such as descriptors in /proc/self/fd. */
#ifndef TESTS_SUPPORT_FILES_IN_H
#define TESTS_SUPPORT_FILES_IN_H

/* Without those whose names begin with a dot. */
unsigned files_in(const char *folder);

#endif
