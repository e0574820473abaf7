/* host/vm/thread_faults.h: the page faults of the calling thread. */
#ifndef HOST_THREAD_FAULTS_H
#define HOST_THREAD_FAULTS_H

#include <stdint.h>

/* Among them are those that KVM takes for the guest's first write to a page: they count as faults
 * of the thread that runs the guest (mm_account_fault() in the kernel; a test holds us to it).
 * Makes a system call. */
uint64_t thread_faults(void);

#endif
