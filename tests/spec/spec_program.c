/* tests/spec/spec_program.c: see spec_program.h. */
#include "spec_program.h"

#include <stdio.h>
#include <string.h>

#include "call.h"
#include "literals.h"

#define CALL_LIMIT_NS 20000000000u

static const struct husk_limits limits = {.size = sizeof(struct husk_limits),
                                          .wall_ns = CALL_LIMIT_NS};

static void performed_init(struct performed *done) {
    memset(done, 0, sizeof *done);
    done->outcome.size = sizeof done->outcome;
    done->status = HUSK_E_NOT_FOUND;
}

static void say(struct performed *done, const char *what, const char *name) {
    (void)snprintf(done->err.message, sizeof done->err.message, "%s %s", what, name);
}

void program_start(struct program *program, const husk_imports *imports, size_t stage,
                   struct performed *done) {
    performed_init(done);
    done->status = 0;
    if (program->sandbox == NULL)
        done->status =
            husk_sandbox_new(program->image, imports, NULL, &program->sandbox, &done->err);
    if (done->status == 0 && program->instances_count > 1)
        done->status = sandbox_start_instance(program->sandbox, (uint32_t)stage, &limits,
                                              &done->outcome, &done->err);
    else if (done->status == 0)
        done->status = husk_sandbox_start(program->sandbox, &limits, &done->outcome, &done->err);
}

static int find_func(const husk_image *image, const struct action *action, husk_func *ret_func,
                     size_t *ret_results) {
    struct husk_functype type;
    /* "" has no length to give, and needs none. */
    int status = husk_image_func(image, action->field, action->field_bytes, ret_func, NULL);
    if (status == 0)
        status = husk_image_func_type(image, *ret_func, &type, NULL);
    if (status == 0)
        *ret_results = type.results_count;
    return status;
}

void program_perform(const struct program *program, const struct action *action,
                     struct performed *done) {
    performed_init(done);
    if (program->sandbox == NULL) {
        say(done, "its module did not", "start");
        return;
    }
    if (action->is_get) {
        done->status = husk_global_get(program->sandbox, action->field, action->field_bytes,
                                       &done->results[0], &done->err);
        done->results_count = 1;
        return;
    }
    struct husk_value args[SPEC_VALUES_MAX];
    for (size_t i = 0; i < action->args.count; i++) {
        if (!spec_parse_value(action->args.words[i], &args[i])) {
            say(done, "argument", action->args.words[i]);
            return;
        }
    }
    husk_func func;
    done->status = find_func(program->image, action, &func, &done->results_count);
    if (done->status != 0 || done->results_count > SPEC_VALUES_MAX) {
        say(done, "no function", action->field);
        done->status = HUSK_E_NOT_FOUND;
        return;
    }
    done->status = husk_call(program->sandbox,
                             CALL(.func = func, .args = args, .args_count = action->args.count,
                                  .results = done->results, .results_count = done->results_count,
                                  .limits = &limits),
                             &done->outcome, &done->err);
}

void program_done(struct program *program) {
    husk_sandbox_free(program->sandbox);
    husk_image_unref(program->image);
    *program = (struct program){.image = NULL};
}

bool performed_returned(const struct performed *done) {
    return done->status == 0 && done->outcome.kind == HUSK_RETURNED;
}

bool performed_trapped(const struct performed *done, const char *text) {
    return done->status == 0 && done->outcome.kind == HUSK_TRAPPED &&
           done->outcome.trap != HUSK_TRAP_NONE && text != NULL &&
           done->outcome.trap == spec_trap(text);
}

bool performed_threw(const struct performed *done) {
    return done->status == 0 && done->outcome.kind == HUSK_THREW;
}

bool performed_refused(const struct performed *done) {
    return done->status == HUSK_E_LINK ||
           (done->status == 0 && done->outcome.kind == HUSK_TRAPPED &&
            done->outcome.trap == HUSK_TRAP_LINK);
}

void performed_describe(const struct performed *done, char *text, size_t text_bytes) {
    if (done->status != 0) {
        (void)snprintf(text, text_bytes, "error %s: %s", husk_status_name(done->status),
                       done->err.message);
    } else if (done->outcome.kind != HUSK_RETURNED) {
        (void)snprintf(text, text_bytes, "%s", done->outcome.message);
    } else {
        size_t used = (size_t)snprintf(text, text_bytes, "results");
        for (size_t i = 0; i < done->results_count && used + 60 < text_bytes; i++) {
            text[used++] = ' ';
            spec_print_value(&done->results[i], text + used, text_bytes - used);
            used += strlen(text + used);
        }
    }
}
