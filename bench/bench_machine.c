/*
 * bench/bench_machine.c: says on which machine a benchmark runs, and what of Husk.
 */
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

static const char *kvm_kind_name(enum husk_hypervisor kind) {
    switch (kind) {
    case HUSK_HYPERVISOR_KVM_VMX: return "vmx";
    case HUSK_HYPERVISOR_KVM_SVM: return "svm";
    case HUSK_HYPERVISOR_KVM_PVM: return "pvm";
    case HUSK_HYPERVISOR_UNKNOWN: break;
    }
    return "unknown";
}

int bench_machine(const struct bench *bench, const char *revision) {
    struct husk_host_info info = HUSK_HOST_INFO_INIT;
    struct utsname os;
    char date[32];
    time_t now = time(NULL);
    struct tm utc;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    husk_engine_host_info(bench->engine, &info);
    if (uname(&os) != 0 || gmtime_r(&now, &utc) == NULL ||
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        return -1;
    printf("husk %s (%s), %s\n%s, %ld cores, Linux %s, KVM kind: %s\n", husk_version(), revision,
           date, info.cpu_name, cores, os.release, kvm_kind_name(info.hypervisor));
    const char *const pairs[][2] = {{"version", husk_version()},
                                    {"revision", revision},
                                    {"date", date},
                                    {"cpu", info.cpu_name},
                                    {"kernel", os.release},
                                    {"kvm", kvm_kind_name(info.hypervisor)}};
    fputs("{\"bench\":\"machine\"", bench->json);
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        fprintf(bench->json, ",\"%s\":", pairs[i][0]);
        json_string(bench->json, pairs[i][1]);
    }
    fprintf(bench->json, ",\"cores\":%ld}\n", cores);
    return 0;
}
