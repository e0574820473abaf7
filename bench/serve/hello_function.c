/*
 * A function that answers a request as hello_cgi.c does, and counts it, so that there is something
 * to restore.
 */
#include <stdint.h>

static const char answer[] = "Content-Type: text/plain\n\nhello, world\n";
static char request[65536];
static uint32_t requests_count;

__attribute__((export_name("malloc"))) void *malloc(unsigned long bytes) {
    return bytes <= sizeof request ? request : (void *)0;
}

__attribute__((export_name("husk_handle"))) uint64_t husk_handle(const char *text, uint32_t count) {
    (void)text, (void)count;
    requests_count++;
    return (uint64_t)(sizeof answer - 1) << 32 | (uint32_t)(uintptr_t)answer;
}
