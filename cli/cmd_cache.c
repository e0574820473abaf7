/*
 * cli/cmd_cache.c: husk cache: shows and cleans the folder of compiled modules.
 */
#include <getopt.h>
#include <string.h>

#include "cli.h"

struct cache {
    struct report report;
    char dir[4096];
    char **args; /* behind the verb */
    int args_count;
};

enum { OPT_CACHE_JSON = 256 };

static const struct option cache_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"json", no_argument, NULL, OPT_CACHE_JSON},
    {NULL, 0, NULL, 0},
};

static int cache_path(const struct cache *cache) {
    if (cache->report.is_json) {
        fputs("{\"path\":", stdout);
        json_text(stdout, cache->dir);
        fputs("}\n", stdout);
    } else {
        put_text(stdout, cache->dir);
        putchar('\n');
    }
    return CLI_OK;
}

static int jobs(const struct cache *cache) {
    return cache_jobs(&cache->report, cache->dir);
}

static int stop(const struct cache *cache) {
    return cache_stop(&cache->report, cache->dir, cache->args_count > 0 ? cache->args[0] : NULL);
}

static int forget(const struct cache *cache) {
    return cache_forget(&cache->report, cache->dir, cache->args_count > 0 ? cache->args[0] : NULL);
}

/* What stands behind husk cache; the first is the default. */
static const struct verb {
    const char *name;
    int (*run)(const struct cache *cache);
    int args_max;
} verbs[] = {
    {"path", cache_path, 0},
    {"jobs", jobs, 0},
    {"stop", stop, 1},
    {"forget", forget, 1},
};

static const struct verb *find_verb(const char *name) {
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

/* CLI_OK and no verb: the help was printed. */
static int take_arguments(struct cache *cache, const struct verb **ret_verb, int argc,
                          char **argv) {
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", cache_options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help_cache, stdout);
            return finish_output(&cache->report, CLI_OK);
        }
        if (option != OPT_CACHE_JSON)
            return report_bad_option(&cache->report, argv);
        cache->report.is_json = true;
    }
    const struct verb *verb = optind < argc ? find_verb(argv[optind]) : &verbs[0];
    if (verb == NULL)
        return report_usage(&cache->report, "there is no '%s' of the cache", argv[optind]);
    cache->args = argv + optind + (optind < argc);
    cache->args_count = argc - optind - (optind < argc);
    if (cache->args_count > verb->args_max)
        return report_usage(&cache->report, "%s does not take so many arguments", verb->name);
    *ret_verb = verb;
    return CLI_OK;
}

int cmd_cache(int argc, char **argv) {
    struct cache cache = {.report = {.command = "cache"}};
    const struct verb *verb = NULL;
    int code = take_arguments(&cache, &verb, argc, argv);
    if (verb == NULL)
        return code;
    if (!cache_dir(cache.dir, sizeof cache.dir)) {
        struct husk_error err = {.offset = HUSK_NO_OFFSET};
        (void)cli_error(&err, HUSK_E_NOT_FOUND, "%s", NO_CACHE_TEXT);
        return report_error(&cache.report, "the cache", &err);
    }
    return finish_output(&cache.report, verb->run(&cache));
}
