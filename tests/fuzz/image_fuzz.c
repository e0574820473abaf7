/*
 * tests/fuzz/image_fuzz.c: any bytes as an image. The first byte tells how to read the rest. 0: the
 * file itself. Other values: patches of a good image (tests/support/guest_image.c), of a good
 * snapshot if bit 6 is set, or of one with a standing call if bit 7 is. A patch has 4 bytes: a
 * 24-bit offset and the new byte. An image that opens is inspected, made into a sandbox of a
 * scripted VM, and called; a standing or pending call goes on. The input determines the actions,
 * registers and mailbox of the "guest", and the answers of the host. The call is repeated in the
 * used VM. Before and after the calls a snapshot is taken and saved, and the saved file must open.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest_image.h"
#include "husk.h"
#include "layout.h"
#include "mailbox.h"
#include "ports.h"
#include "vm_fake.h"
#include "literals.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct script {
    const uint8_t *data;
    size_t size, at;
    unsigned exits;
};

static uint8_t next_byte(struct script *script) {
    return script->at < script->size ? script->data[script->at++] : 0;
}

static void guest(struct vcpu *vcpu, void *user, struct vm_exit *ret_exit) {
    struct script *script = user;
    struct husk_mailbox *mailbox = fake_virtual(vcpu->vm, HUSK_MAILBOX_GVA, HUSK_MBOX_BYTES);
    static const uint8_t ports[] = {HUSK_PORT_CALL_DONE, HUSK_PORT_HOST_CALL, HUSK_PORT_SERVICE,
                                    HUSK_PORT_UNCAUGHT};
    uint8_t what = next_byte(script);
    uint64_t number = next_byte(script) | (uint64_t)next_byte(script) << 8;
    if (++script->exits > 50)
        return; /* call done */
    ret_exit->kind = (what & 3) == 3 ? VM_EXIT_EXCEPTION : VM_EXIT_PORT;
    ret_exit->port = ports[what >> 2 & 3];
    mailbox->import_idx = what >> 6;
    mailbox->service_op = what >> 4 & 3;
    mailbox->service_arg[0] = what >> 7;
    mailbox->service_arg[1] = number;
    ret_exit->fault.kind = (what & 0x40) != 0 ? VM_FAULT_PAGE : VM_FAULT_INSTRUCTION;
    ret_exit->fault.address =
        (what & 0x20) != 0 ? HUSK_MEM0_GVA + number * 64 : HUSK_STACK_TOP_GVA - number * 4096;
    vcpu->regs.rip = HUSK_TEXT_GVA + (number & 0x3ff);
    vcpu->regs.rsp = HUSK_STACK_TOP_GVA - (number >> 8) * 8;
    vcpu->regs.rbp = HUSK_STACK_TOP_GVA - (number & 0xff) * 8;
}

static int host(husk_caller *caller, void *user, const struct husk_value *args,
                struct husk_value *results) {
    struct husk_throw throws = HUSK_THROW_INIT;
    struct husk_exception_info info = HUSK_EXCEPTION_INFO_INIT;
    results[0] = args[0];
    if (args[0].of.i64 % 4 == 2)
        return husk_caller_pending(caller);
    throws.values = args;
    throws.values_count = 1;
    if (args[0].of.i64 % 2 == 0 || husk_image_tag(user, "oops", 0, &throws.tag, NULL) != 0)
        return 0;
    if (husk_sandbox_exception(husk_caller_sandbox(caller), &info, NULL) == 0)
        abort(); /* this function made no call */
    return husk_caller_throw(caller, &throws);
}

/* All of it, so that sanitizers see what was not copied. */
static uint64_t look_at_exception(husk_sandbox *sandbox) {
    struct husk_exception_info info = HUSK_EXCEPTION_INFO_INIT;
    uint64_t sum = 0;
    if (husk_sandbox_exception(sandbox, &info, NULL) != 0)
        return 0;
    for (size_t i = 0; i < info.values_count; i++)
        sum += info.values[i].of.ref;
    return sum + strlen(info.name) + (info.module != NULL ? strlen(info.module) : 0);
}

static void call_exports(husk_sandbox *sandbox, const husk_image *image) {
    for (size_t i = 0; i < husk_image_exports_count(image) && i < 20; i++) {
        struct husk_extern item = HUSK_EXTERN_INIT;
        struct husk_outcome outcome = HUSK_OUTCOME_INIT;
        struct husk_value args[4], results[4];
        if (husk_image_export(image, i, &item) != 0)
            abort();
        if (item.kind != HUSK_EXTERN_FUNC || item.func.params_count > 4 ||
            item.func.results_count > 4)
            continue;
        for (size_t j = 0; j < item.func.params_count; j++)
            args[j] = (struct husk_value){.type = item.func.params[j]};
        husk_func func;
        if (husk_image_func(image, item.name, item.name_bytes, &func, NULL) != 0)
            continue;
        int status =
            husk_call(sandbox,
                      CALL(.func = func, .args = args, .args_count = item.func.params_count,
                           .results = results, .results_count = item.func.results_count),
                      &outcome, NULL);
        if (look_at_exception(sandbox) != 0 && status == 0 && outcome.kind != HUSK_THREW)
            abort();
    }
}

/* A snapshot is of the host's own making, whatever the image was: it may be refused, but not saved
 * in vain. */
static void save_and_open(husk_engine *engine, husk_sandbox *sandbox) {
    husk_image *snapshot = NULL, *opened = NULL;
    char path[64];
    snprintf(path, sizeof path, "/dev/shm/husk-fuzz-%ld", (long)getpid());
    if (husk_sandbox_snapshot(sandbox, &snapshot, NULL) != 0)
        return;
    if (husk_image_save(snapshot, path, NULL) == 0) {
        struct husk_error err;
        if (husk_image_open(engine, path, NULL, &opened, &err) != 0) {
            fprintf(stderr, "saved, but: %s\n", err.message);
            abort();
        }
        unlink(path);
    }
    husk_image_unref(opened);
    husk_image_unref(snapshot);
}

static int count_file(void *user, const struct husk_image_file *file) {
    size_t *count = user;
    *count += file->path_bytes + file->target_bytes;
    return 0;
}

/* All that can be asked of a call that stands, in the image and in the sandbox. */
static void look_at_standing(husk_sandbox *sandbox, const husk_image *image) {
    struct husk_standing standing = HUSK_STANDING_INIT;
    struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
    const bool is_standing = husk_image_standing(image, &standing, NULL) == 0;
    if (husk_image_backtrace(image, &backtrace, NULL) != 0 ||
        husk_sandbox_backtrace(sandbox, &backtrace, NULL) != 0)
        abort();
    if (is_standing && strlen(standing.name) > standing.name_bytes)
        abort();
}

/* A call that is pending, now or in the image, ends or stands again. */
static void go_on(husk_sandbox *sandbox, struct script *script) {
    for (int i = 0; i < 4; i++) {
        const uint8_t how = next_byte(script);
        struct husk_value results[4];
        const struct husk_value value = {.type = HUSK_I64, .of.i64 = how};
        struct husk_outcome outcome = HUSK_OUTCOME_INIT;
        struct husk_answer answer = HUSK_ANSWER_INIT;
        answer.is_again = (how & 1) != 0;
        answer.values = answer.is_again ? NULL : &value;
        answer.values_count = answer.is_again ? 0 : 1;
        answer.results = results;
        answer.results_count = how >> 1 & 3;
        if ((how & 8) != 0) /* each of them */
            answer.results_count = (size_t)i;
        (void)husk_call_resume(sandbox, &answer, &outcome, NULL);
        (void)look_at_exception(sandbox);
    }
}

/* Twice: in a new VM, and in that VM again when it comes back from the pool as the first run left
 * it. */
static void look_and_call(husk_engine *engine, husk_image *image, struct vm_backend *backend) {
    static const husk_type i64_type = HUSK_I64;
    const struct husk_functype type = {&i64_type, 1, &i64_type, 1};
    struct husk_wasi_options wasi = HUSK_WASI_OPTIONS_INIT;
    husk_imports *imports = NULL;
    wasi.random_seed = 1;
    if (husk_imports_new(engine, &imports, NULL) != 0 ||
        husk_imports_wasi(imports, &wasi, NULL) != 0 ||
        husk_imports_funcs(
            imports,
            &(struct husk_host_func){
                .module = "env", .name = "host", .type = &type, .fn = host, .user = image},
            1, NULL) != 0 ||
        husk_imports_unknown(imports, HUSK_UNKNOWN_TRAP, NULL) != 0)
        abort();
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    options.memory_max_bytes = 64 << 20;
    size_t count = 0;
    if (husk_image_files(image, count_file, &count, NULL) != 0)
        abort();
    for (int round = 0; round < 2; round++) {
        husk_sandbox *sandbox = NULL;
        if (husk_sandbox_new(image, imports, &options, &sandbox, NULL) == 0) {
            look_at_standing(sandbox, image);
            save_and_open(engine, sandbox);
            go_on(sandbox, backend->user);
            call_exports(sandbox, image);
            save_and_open(engine, sandbox);
            go_on(sandbox, backend->user);
        }
        husk_sandbox_free(sandbox);
    }
    husk_imports_free(imports);
    husk_engine_trim(engine, 0); /* the pool, or the next input would depend on this one */
    if (backend->vms != 0)
        abort();
}

/* A good image, or snapshot, with the input's patches; ret_used: how many bytes of the input were
 * patches. */
static uint8_t *patched(const uint8_t *data, size_t size, size_t *ret_count, size_t *ret_used) {
    uint8_t *bytes = (data[0] & 0x80) != 0   ? guest_standing_make(ret_count)
                     : (data[0] & 0x40) != 0 ? guest_snapshot_make(ret_count)
                                             : guest_exception_make(ret_count);
    size_t at = 0, count = data[0] % 64;
    for (at = 1; count > 0 && at + 4 <= size; at += 4, count--) {
        size_t offset = data[at] | (size_t)data[at + 1] << 8 | (size_t)data[at + 2] << 16;
        bytes[offset % *ret_count] = data[at + 3];
    }
    *ret_used = at;
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct vm_backend backend;
    static husk_engine *engine; /* one for the whole run */
    struct script script = {.data = data, .size = size};
    struct husk_error err = {0};
    husk_image *image = NULL;
    uint8_t *own = NULL;
    backend = (struct vm_backend){.guest = guest, .user = &script};
    if (engine == NULL && fake_engine_new(&backend, &engine, NULL) != 0)
        abort();
    bool is_verified = size % 2 == 1; /* of files: patches would never get past it */
    if (size > 0 && data[0] != 0)
        is_verified = false, data = own = patched(data, size, &size, &script.at);
    else if (size > 0)
        data++, size--;
    int status = husk_image_open_buffer(engine, (struct husk_buffer){data, size},
                                        is_verified ? NULL : SKIP_HASH, &image, &err);
    if ((status == 0) != (image != NULL) ||
        (status != 0 && (err.status != status || err.message[0] == '\0')))
        abort();
    if (status == 0)
        look_and_call(engine, image, &backend);
    husk_image_unref(image);
    free(own);
    return 0;
}
