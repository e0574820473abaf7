/* host/vm/thread_faults_x86_64.c: see thread_faults.h. */
#include "thread_faults.h"

#include <sys/resource.h>
#include <sys/syscall.h>

#include "hot.h"
#include "syscall_x86_64.h"

HOT uint64_t thread_faults(void) {
    struct rusage usage;
    if (syscall_now(SYS_getrusage, RUSAGE_THREAD, (long)&usage, 0, 0) != 0)
        return 0; /* it cannot fail */
    return (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt;
}
