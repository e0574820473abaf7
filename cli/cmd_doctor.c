/*
 * cli/cmd_doctor.c: husk doctor: can this machine compile and run modules? If not, it says what is
 * missing and how to get it. Each row is a real test; the last ones compile a small module and call
 * it in a VM.
 */
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli.h"
#include "known_faults.h"

/* (module (func (export "answer") (result i32) (i32.const 42))) */
static const uint8_t probe_wasm[] = {0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x05,
                                     0x01, 0x60, 0x00, 0x01, 0x7f, 0x03, 0x02, 0x01, 0x00, 0x07,
                                     0x0a, 0x01, 0x06, 0x61, 0x6e, 0x73, 0x77, 0x65, 0x72, 0x00,
                                     0x00, 0x0a, 0x06, 0x01, 0x04, 0x00, 0x41, 0x2a, 0x0b};

struct doctor {
    struct report report;
    unsigned rows, warnings, failures;
    husk_engine *engine;
    int image_fd;
};

/* A row that is not good is a warning if husk works without it, else a failure. */
enum verdict { ROW_OK, ROW_WARNING, ROW_MISSING };

static void row(struct doctor *doctor, const char *name, enum verdict verdict, const char *text) {
    static const char *const words[] = {"ok", "warning", "MISSING"};
    static const char *const levels[] = {"ok", "warning", "missing"};
    if (doctor->report.is_json) {
        printf("%s{\"check\":\"%s\",\"ok\":%s,\"level\":\"%s\",\"text\":",
               doctor->rows != 0 ? "," : "", name, verdict == ROW_OK ? "true" : "false",
               levels[verdict]);
        json_text(stdout, text);
        fputc('}', stdout);
    } else {
        printf("%-8s %-10s ", words[verdict], name);
        put_text(stdout, text);
        fputc('\n', stdout);
    }
    doctor->rows++;
    doctor->warnings += verdict == ROW_WARNING;
    doctor->failures += verdict == ROW_MISSING;
}

static const char *kvm_kind_name(enum husk_hypervisor kind) {
    switch (kind) {
    case HUSK_HYPERVISOR_KVM_VMX: return "hardware KVM (Intel VMX)";
    case HUSK_HYPERVISOR_KVM_SVM: return "hardware KVM (AMD SVM)";
    case HUSK_HYPERVISOR_KVM_PVM: return "PVM (KVM without hardware virtualization)";
    case HUSK_HYPERVISOR_UNKNOWN: break;
    }
    return "KVM of an unknown kind";
}

static void check_features(struct doctor *doctor, const struct husk_host_info *info) {
    char text[512] = "";
    size_t at = 0;
    for (unsigned bit = 0; bit < 64 && at < sizeof text; bit++) {
        const char *name = (info->cpu_features >> bit & 1) != 0 ? husk_cpu_feature_name(bit) : NULL;
        if (name == NULL)
            continue;
        int written = snprintf(text + at, sizeof text - at, "%s%s", at != 0 ? " " : "", name);
        at += written > 0 ? (size_t)written : 0;
    }
    row(doctor, "cpu", ROW_OK, info->cpu_name);
    if (text[0] != '\0')
        row(doctor, "features", ROW_OK, text);
    else
        row(doctor, "features", ROW_WARNING, "none beyond plain x86-64: modules run, but slower");
}

static void check_kvm(struct doctor *doctor) {
    struct husk_error err;
    struct husk_host_info info = HUSK_HOST_INFO_INIT;
    char text[256];
    if (husk_engine_new(NULL, &doctor->engine, &err) != 0) {
        row(doctor, "kvm", ROW_MISSING, err.message);
        return;
    }
    husk_engine_host_info(doctor->engine, &info);
    snprintf(text, sizeof text, "%s, API %d, %" PRIu32 " memory slots%s%s%s%s",
             kvm_kind_name(info.hypervisor), info.hypervisor_api, info.memslots_max,
             info.has_sync_regs ? ", sync regs" : "",
             info.has_immediate_exit ? ", immediate exit" : "",
             info.has_readonly_mem ? ", read-only memory" : "",
             info.has_msr_filter ? ", MSR filter" : "");
    row(doctor, "kvm", ROW_OK, text);
    check_features(doctor, &info);
}

/* A warning: husk works, and what surrounds it is known to be bad. */
static void check_kernel(struct doctor *doctor) {
    struct utsname name;
    struct version version;
    char faults[1024], text[1280];
    if (uname(&name) != 0)
        return;
    if (!kernel_version(name.release, name.version, &version)) {
        snprintf(text, sizeof text, "%s, numbered by its distribution: see its security notices",
                 name.release);
        row(doctor, "kernel", ROW_OK, text);
        return;
    }
    bool has_faults = kernel_faults_of(version, faults, sizeof faults) != 0;
    snprintf(text, sizeof text, "%s, %s", name.release,
             has_faults ? faults : "without a fault that this husk knows of");
    row(doctor, "kernel", has_faults ? ROW_WARNING : ROW_OK, text);
}

/* Contained, and only if that fails without: then it is the containment that is missing. */
static int compile_probe(struct doctor *doctor, struct husk_error *err) {
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    if (husk_compile(probe_wasm, sizeof probe_wasm, &options, &doctor->image_fd, err) == 0) {
        row(doctor, "contained", ROW_OK,
            "the compiler's process reaches no files, sockets or processes (seccomp)");
        return 0;
    }
    struct husk_error refusal = *err;
    options.allow_uncontained = true;
    int status = husk_compile(probe_wasm, sizeof probe_wasm, &options, &doctor->image_fd, err);
    if (status == 0)
        row(doctor, "contained", ROW_MISSING, refusal.message);
    return status;
}

static void check_compiler(struct doctor *doctor) {
    struct husk_error err;
    char text[256];
    uint64_t start = now_ns();
    if (compile_probe(doctor, &err) != 0) {
        row(doctor, "compiler", ROW_MISSING, err.message);
        return;
    }
    double ms = (double)(now_ns() - start) / 1e6;
    husk_image *image = NULL;
    struct husk_image_info info = HUSK_IMAGE_INFO_INIT;
    if (husk_image_open_fd(NULL, doctor->image_fd, NULL, &image, &err) != 0) {
        row(doctor, "compiler", ROW_MISSING, err.message);
        return;
    }
    husk_image_info(image, &info);
    snprintf(text, sizeof text, "%s for %s; a small module takes %.0f ms", info.compiler,
             info.target_cpu, ms);
    row(doctor, "compiler", ROW_OK, text);
    if (!llvm_is_tested(info.compiler))
        row(doctor, "llvm", ROW_WARNING, "this version of LLVM was not tested with this husk");
    husk_image_unref(image);
}

static int call_probe(struct doctor *doctor, uint64_t *ret_ns, struct husk_error *err) {
    husk_image *image = NULL;
    husk_sandbox *sandbox = NULL;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_value result = {.type = HUSK_I32};
    int status = husk_image_open_fd(
        doctor->engine, doctor->image_fd,
        &(struct husk_open_options){.size = sizeof(struct husk_open_options), .skips_hash = true},
        &image, err);
    if (status == 0)
        status = husk_sandbox_new(image, NULL, NULL, &sandbox, err);
    for (int i = 0; i < 2 && status == 0; i++) { /* the second call is the one that is timed */
        uint64_t start = now_ns();
        status = husk_call(sandbox,
                           &(struct husk_call){.size = sizeof(struct husk_call),
                                               .name = "answer",
                                               .results = &result,
                                               .results_count = 1},
                           &outcome, err);
        *ret_ns = now_ns() - start;
    }
    if (status == 0 && outcome.kind != HUSK_RETURNED)
        status = cli_error(err, HUSK_E_STATE, "%s", outcome.message);
    if (status == 0 && result.of.i32 != 42)
        status = cli_error(err, HUSK_E_STATE, "a module returned %d, not 42", result.of.i32);
    husk_sandbox_free(sandbox);
    husk_image_unref(image);
    return status;
}

static void check_run(struct doctor *doctor) {
    struct husk_error err;
    char text[128];
    uint64_t ns = 0;
    if (doctor->engine == NULL || doctor->image_fd < 0) {
        row(doctor, "run", ROW_MISSING, "not tried: see above");
        return;
    }
    if (call_probe(doctor, &ns, &err) != 0) {
        row(doctor, "run", ROW_MISSING, err.message);
        return;
    }
    snprintf(text, sizeof text, "a module ran in a VM of its own; a call takes %.1f us",
             (double)ns / 1e3);
    row(doctor, "run", ROW_OK, text);
}

/* Never ROW_MISSING: a cache that does not work costs time, not results. */
static void check_cache(struct doctor *doctor) {
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    struct husk_compiled compiled = HUSK_COMPILED_INIT;
    struct husk_error err;
    char dir[4096];
    if (!cache_dir(dir, sizeof dir)) {
        row(doctor, "cache", ROW_WARNING, NO_CACHE_TEXT);
        return;
    }
    if (doctor->image_fd < 0)
        return; /* said already */
    options.cache_dir = dir;
    int status = husk_compile_cached(probe_wasm, sizeof probe_wasm, &options, &compiled, &err);
    if (status != 0)
        row(doctor, "cache", ROW_WARNING, err.message);
    else
        row(doctor, "cache", compiled.warning.status != 0 ? ROW_WARNING : ROW_OK,
            compiled.warning.status != 0 ? compiled.warning.message : dir);
    if (status == 0)
        close(compiled.fd);
}

static void print_summary(const struct doctor *doctor) {
    if (doctor->report.is_json)
        printf("],\"ok\":%s}\n", doctor->failures != 0 ? "false" : "true");
    else if (doctor->failures != 0)
        puts("\nSomething is missing: see husk-doctor(1) for how to get it.");
    else if (doctor->warnings != 0)
        puts("\nModules can be compiled and run; see husk-doctor(1) for the warnings.");
}

static void check_all(struct doctor *doctor) {
    if (doctor->report.is_json)
        printf("{\"husk\":\"%s\",\"checks\":[", husk_version());
    check_kvm(doctor);
    check_kernel(doctor);
    check_compiler(doctor);
    check_run(doctor);
    check_cache(doctor);
    print_summary(doctor);
    if (doctor->image_fd >= 0)
        close(doctor->image_fd);
    husk_engine_unref(doctor->engine);
}

int cmd_doctor(int argc, char **argv) {
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'}, {"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
    struct doctor doctor = {.report = {.command = "doctor"}, .image_fd = -1};
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help_doctor, stdout);
            return finish_output(&doctor.report, CLI_OK);
        }
        if (option != 'j')
            return report_bad_option(&doctor.report, argv);
        doctor.report.is_json = true;
    }
    if (optind != argc)
        return report_usage(&doctor.report, "no arguments are wanted");
    check_all(&doctor);
    return finish_output(&doctor.report, doctor.failures != 0 ? CLI_INVALID : CLI_OK);
}
