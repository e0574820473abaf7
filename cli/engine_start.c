/*
 * cli/engine_start.c: makes the engine on a thread of its own while the main thread opens the file.
 * Both take milliseconds, and neither needs the other. Without a thread it is made when it is
 * needed.
 */
#include <string.h>

#include "run.h"

static void *start(void *user) {
    struct engine_start *engine_start = user;
    engine_start->status =
        husk_engine_new(&engine_start->options, &engine_start->engine, &engine_start->err);
    engine_start->ns = now_ns() - engine_start->begin_ns;
    return NULL;
}

void engine_start_begin(struct engine_start *engine_start,
                        const struct husk_engine_options *options) {
    *engine_start = (struct engine_start){.options = *options, .begin_ns = now_ns()};
    engine_start->has_thread =
        pthread_create(&engine_start->thread, NULL, start, engine_start) == 0;
}

int engine_start_end(struct engine_start *engine_start, husk_engine **ret_engine,
                     struct husk_error *err) {
    if (engine_start->has_thread)
        pthread_join(engine_start->thread, NULL);
    else
        start(engine_start);
    if (engine_start->status != 0)
        *err = engine_start->err;
    else
        *ret_engine = engine_start->engine;
    return engine_start->status;
}
