/* tests/support/files_in.c: see files_in.h. */
#include "files_in.h"

#include <dirent.h>

#include "harness.h"

unsigned files_in(const char *folder) {
    unsigned count = 0;
    DIR *dir = opendir(folder);
    CHECK(dir != NULL);
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}
