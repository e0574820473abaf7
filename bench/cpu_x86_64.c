/* bench/cpu_x86_64.c: see cpu_x86_64.h. */
#include "cpu_x86_64.h"

#include <cpuid.h>

/* AMD64 APM volume 3, E.3.2: family 1Ah is Zen 5. */
bool cpu_is_zen5(void) {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (__get_cpuid(0, &eax, &ebx, &ecx, &edx) == 0 || ebx != signature_AMD_ebx ||
        __get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0)
        return false;
    return ((eax >> 8) & 0xf) + ((eax >> 20) & 0xff) == 0x1a;
}
