/* host/call/exceptions.c: see exceptions.h. */
#include "exceptions.h"

#include <stdio.h>
#include <string.h>

#include "caller.h"
#include "error.h"
#include "image_internal.h"
#include "name_text.h"
#include "options.h"
#include "outcome.h"
#include "sandbox_internal.h"
#include "values.h"

static struct husk_functype type_of(const husk_sandbox *sandbox, uint32_t tag_idx) {
    const struct image_code *code = sandbox->image->code;
    return image_functype(code, code->tags[tag_idx].type_idx);
}

/* The place of the pending exception, which the image has. image_check_data.c made sure that it is
 * in data, and has room for every tag's values. */
static struct husk_exception *pending_of(const husk_sandbox *sandbox) {
    const struct image_code *code = sandbox->image->code;
    return (void *)arena_span(&sandbox->machine->arena, code->module.exception_gva,
                              image_exception_bytes(code));
}

/* ---- from the guest ---- */

/* "uncaught exception: tag "name" (i32 5, f64 1.5)", as much as fits. */
static void describe(const husk_sandbox *sandbox, uint32_t tag_idx, char *text, size_t bytes) {
    const struct image_tag_name *name = &sandbox->image->code->tag_names[tag_idx];
    const struct husk_functype type = type_of(sandbox, tag_idx);
    struct name_text shown, shown_module;
    size_t used;
    if (name->name == NULL)
        used = (size_t)snprintf(text, bytes, "uncaught exception: tag %u", tag_idx);
    else
        used = (size_t)snprintf(text, bytes, "uncaught exception: tag \"%s%s%s\"",
                                name->module == NULL ? ""
                                                     : name_show(&shown_module, name->module->text,
                                                                 name->module->bytes),
                                name->module == NULL ? "" : ".",
                                name_show(&shown, name->name->text, name->name->bytes));
    if (type.params_count > 0)
        values_format(sandbox->link.thrown, type.params_count, text + used, bytes - used);
}

void exception_uncaught(husk_sandbox *sandbox, struct husk_outcome *outcome) {
    const struct image_code *code = sandbox->image->code;
    if (code->module.exception_gva == 0) {
        outcome_violation(sandbox, outcome, "the guest threw an exception, and has none");
        return;
    }
    const struct husk_exception *pending = pending_of(sandbox);
    const uint32_t number = *(const volatile uint32_t *)&pending->tag;
    if (number == 0 || number > code->tags_count) {
        outcome_violation(sandbox, outcome,
                          "the guest threw an exception of tag %u, which does not exist",
                          number - 1);
        return;
    }
    const struct husk_functype type = type_of(sandbox, number - 1);
    for (size_t i = 0; i < type.params_count; i++)
        sandbox->link.thrown[i] = value_from_slot(type.params[i], &pending->values[i]);
    char message[sizeof outcome->message];
    describe(sandbox, number - 1, message, sizeof message);
    outcome_threw(sandbox, number, message, outcome);
}

int husk_sandbox_exception(husk_sandbox *sandbox, struct husk_exception_info *ret_info,
                           struct husk_error *err) {
    if (sandbox == NULL || ret_info == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_sandbox_exception: a NULL argument");
    int status = sandbox_check_question(sandbox, "husk_exception_info", ret_info, err);
    if (status != 0)
        return status;
    if (sandbox->calls.thrown == 0)
        return error_set(err, HUSK_E_NOT_FOUND, "the last call did not end with an exception");
    static const struct image_name none = {"", 0};
    const uint32_t tag_idx = sandbox->calls.thrown - 1;
    const struct image_tag_name *tag_name = &sandbox->image->code->tag_names[tag_idx];
    const struct image_name *name = tag_name->name != NULL ? tag_name->name : &none;
    struct husk_exception_info info = {.tag = image_tag_make(sandbox->image->code, tag_idx),
                                       .name = name->text,
                                       .name_bytes = name->bytes,
                                       .tag_idx = tag_idx,
                                       .type = type_of(sandbox, tag_idx),
                                       .values = sandbox->link.thrown};
    info.values_count = info.type.params_count;
    if (tag_name->module != NULL) {
        info.module = tag_name->module->text;
        info.module_bytes = tag_name->module->bytes;
    }
    output_fill(ret_info, &info, sizeof info);
    return 0;
}

/* ---- into the guest ---- */

int exception_check(const husk_sandbox *sandbox, const struct husk_throw *given,
                    struct exception *ret_exception, struct husk_error *err) {
    const struct image_code *code = sandbox->image->code;
    struct husk_throw copy;
    if (given == NULL)
        return error_set(err, HUSK_E_INVAL, "the exception is NULL");
    int status = throw_read(given, &copy, err);
    if (status != 0)
        return status;
    const uint32_t tag_idx = image_tag_idx(code, copy.tag);
    if (tag_idx == UINT32_MAX)
        return image_tag_refuse(code, copy.tag, err);
    if (copy.values == NULL && copy.values_count > 0)
        return error_set(err, HUSK_E_INVAL, "the values of the exception are NULL");
    if (code->module.throw_gva == 0)
        return error_set(err, HUSK_E_UNSUPPORTED,
                         "the image has no code with which a host function can throw");
    const struct husk_functype type = type_of(sandbox, tag_idx);
    if (copy.values_count != type.params_count)
        return error_set(err, HUSK_E_TYPE, "%zu values given; exceptions of this tag have %zu",
                         copy.values_count, type.params_count);
    status =
        values_check(type.params, type.params_count, copy.values, copy.values_count, "value", err);
    if (status == 0)
        *ret_exception = (struct exception){.tag_idx = tag_idx, .values = copy.values};
    return status;
}

int husk_caller_throw(husk_caller *caller, const struct husk_throw *given) {
    struct husk_error err;
    struct exception exception;
    int status = exception_check(caller->sandbox, given, &exception, &err);
    if (status != 0) {
        husk_caller_fail(caller, "a host function cannot throw this: %.200s", err.message);
        return status;
    }
    const size_t count = type_of(caller->sandbox, exception.tag_idx).params_count;
    if (count > 0) /* they may be those of a throw that this one replaces */
        memmove(caller->thrown, exception.values, count * sizeof *caller->thrown);
    caller->tag_idx = exception.tag_idx;
    caller->end = CALLER_THREW;
    return HUSK_E_STATE;
}

void exception_put(husk_sandbox *sandbox, const struct exception *exception) {
    struct husk_exception *pending = pending_of(sandbox);
    const struct husk_functype type = type_of(sandbox, exception->tag_idx);
    hotset_host_writes(&sandbox->machine->hotset, pending,
                       sizeof *pending + type.params_count * sizeof pending->values[0]);
    pending->tag = exception->tag_idx + 1;
    for (size_t i = 0; i < type.params_count; i++)
        value_to_slot(&exception->values[i], &pending->values[i]);
}
