/* host/instance/caller.c: see caller.h. */
#include "caller.h"

#include <stdarg.h>
#include <stdio.h>

#include "image_internal.h"
#include "sandbox_internal.h"

husk_sandbox *husk_caller_sandbox(husk_caller *caller) {
    return caller->sandbox;
}

uint32_t husk_caller_memory(const husk_caller *caller) {
    return caller->memory_idx;
}

int husk_caller_fail(husk_caller *caller, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(caller->message, sizeof caller->message, format, args);
    va_end(args);
    caller->end = CALLER_FAILED;
    return HUSK_E_STATE;
}

int husk_caller_exit(husk_caller *caller, int32_t exit_code) {
    caller->end = CALLER_EXITED;
    caller->exit_code = exit_code;
    return HUSK_E_STATE;
}

int husk_caller_pending(husk_caller *caller) {
    caller->end = CALLER_PENDING;
    return HUSK_E_STATE;
}

static void answer_set(husk_sandbox *sandbox, uint32_t import, uint32_t end,
                       const uint32_t words[2]) {
    struct husk_mailbox *mailbox = sandbox->machine->arena.mailbox;
    hotset_host_writes(&sandbox->machine->hotset, &mailbox->known_import,
                       sizeof mailbox->known_import + sizeof mailbox->known_end +
                           sizeof mailbox->known_words);
    mailbox->known_import = import;
    mailbox->known_end = end;
    mailbox->known_words[0] = words[0];
    mailbox->known_words[1] = words[1];
}

/* The guest's code writes to memory 0 and at most 4 GiB of it. */
void caller_note_answer(const husk_caller *caller, uint32_t first, uint32_t second) {
    husk_sandbox *sandbox = caller->sandbox;
    const uint64_t bytes = sandbox->machine->arena.memories[caller->memory_idx].bytes;
    const uint64_t end = bytes - sizeof first;
    if (caller->memory_idx == 0 && bytes >= sizeof first)
        answer_set(sandbox, (uint32_t)(caller->func - sandbox->link.linked) + 1,
                   end < UINT32_MAX ? (uint32_t)end : UINT32_MAX,
                   (const uint32_t[2]){first, second});
}

void sandbox_forget_answer(husk_sandbox *sandbox) {
    if (sandbox->machine->arena.mailbox->known_import != 0)
        answer_set(sandbox, 0, 0, (const uint32_t[2]){0, 0});
}
