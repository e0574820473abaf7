/* bench/kernel_memory.c: see kernel_memory.h. */
#include "kernel_memory.h"

#include <stdlib.h>
#include <string.h>

static void kind_add(struct kernel_memory *memory, const char *name, double kib) {
    for (uint32_t i = 0; i < memory->count; i++) {
        if (strcmp(memory->kinds[i].name, name) != 0)
            continue;
        memory->kinds[i].kib += kib;
        return;
    }
    if (memory->count == KERNEL_KINDS_MAX)
        return;
    struct kernel_kind *kind = &memory->kinds[memory->count++];
    snprintf(kind->name, sizeof kind->name, "%s", name);
    kind->kib = kib;
}

/* Rows "Name:   123 kB" of a file in /proc. */
static void read_rows(struct kernel_memory *memory, const char *path, const char *const *names) {
    char line[256];
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *colon = strchr(line, ':');
        if (colon == NULL)
            continue;
        *colon = '\0';
        for (size_t i = 0; names[i] != NULL; i++)
            if (strcmp(line, names[i]) == 0)
                kind_add(memory, names[i], strtod(colon + 1, NULL));
    }
    if (file != NULL)
        fclose(file);
}

/* proc_slabinfo(5): name, active objects, objects, bytes of one. */
static void read_slab(struct kernel_memory *memory) {
    char line[512], name[48], kind[64];
    unsigned long active, all, bytes;
    FILE *file = fopen("/proc/slabinfo", "re");
    memory->has_slab = file != NULL;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (line[0] == '#' || sscanf(line, "%47s %lu %lu %lu", name, &active, &all, &bytes) != 4)
            continue;
        snprintf(kind, sizeof kind, "slab: %s", name);
        kind_add(memory, kind, (double)active * (double)bytes / 1024);
    }
    if (file != NULL)
        fclose(file);
}

/* proc_vmallocinfo(5): range, bytes, caller+offset/size, pages=…. The bytes have a guard page. */
static void read_vmalloc(struct kernel_memory *memory) {
    char line[512], caller[64], kind[96];
    FILE *file = fopen("/proc/vmallocinfo", "re");
    memory->has_vmalloc = file != NULL;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *pages = strstr(line, " pages=");
        if (pages == NULL || strstr(line, " vmalloc") == NULL ||
            sscanf(line, "%*s %*u %63[^+ \n]", caller) != 1)
            continue;
        snprintf(kind, sizeof kind, "vmalloc: %.48s", caller);
        kind_add(memory, kind, 4 * strtod(pages + strlen(" pages="), NULL));
        kind_add(memory, "vmalloc", 4 * strtod(pages + strlen(" pages="), NULL));
    }
    if (file != NULL)
        fclose(file);
}

void kernel_memory_read(struct kernel_memory *ret_memory) {
    static const char *const machine[] = {"Slab", "KernelStack", "SecPageTables", "Percpu", NULL};
    static const char *const process[] = {"VmPTE", NULL};
    memset(ret_memory, 0, sizeof *ret_memory);
    read_rows(ret_memory, "/proc/meminfo", machine);
    read_rows(ret_memory, "/proc/self/status", process);
    read_slab(ret_memory);
    read_vmalloc(ret_memory);
}

double kernel_memory_of(const struct kernel_memory *memory, const char *name) {
    for (uint32_t i = 0; i < memory->count; i++)
        if (strcmp(memory->kinds[i].name, name) == 0)
            return memory->kinds[i].kib;
    return 0;
}

/* Kernel stacks are made by vmalloc(). */
double kernel_memory_total(const struct kernel_memory *memory) {
    const double vmalloc = kernel_memory_of(memory, "vmalloc");
    const double stacks = kernel_memory_of(memory, "KernelStack");
    return kernel_memory_of(memory, "Slab") + (memory->has_vmalloc ? vmalloc : stacks) +
           kernel_memory_of(memory, "SecPageTables") + kernel_memory_of(memory, "Percpu") +
           kernel_memory_of(memory, "VmPTE");
}
