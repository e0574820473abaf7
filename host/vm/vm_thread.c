/* host/vm/vm_thread.c: which kernels let a VM change its thread. */
#include <stdlib.h>
#include <sys/utsname.h>

#include "vm.h"

bool vm_may_change_thread(void) {
    struct utsname os;
    char *rest = NULL;
    if (uname(&os) != 0)
        return false;
    const unsigned long major = strtoul(os.release, &rest, 10);
    const unsigned long minor = *rest == '.' ? strtoul(rest + 1, NULL, 10) : 0;
    return major > 6 || (major == 6 && minor >= 13);
}
