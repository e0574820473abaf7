/*
 * cli/cmd_cache.c: husk cache: lists, measures, bounds and cleans the folder of compiled modules.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"

#define DAY_SECONDS 86400u
#define OLDER_DAYS_MAX 36500

struct cache {
    struct report report;
    char dir[4096];
    char **args; /* behind the verb */
    int args_count;
    struct husk_cache_clean_options clean;
    bool has_clean_option;
    uint64_t limit_bytes; /* of the environment, or 0 */
    uint64_t listed_count;
};

enum { OPT_CACHE_JSON = 256, OPT_OLDER, OPT_TO, OPT_ALL };

static const struct option cache_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"json", no_argument, NULL, OPT_CACHE_JSON},
    {"older", required_argument, NULL, OPT_OLDER},
    {"to", required_argument, NULL, OPT_TO},
    {"all", no_argument, NULL, OPT_ALL},
    {NULL, 0, NULL, 0},
};

static int cache_failed(const struct cache *cache, const struct husk_error *err) {
    return report_error(&cache->report, cache->dir, err);
}

/* "34.5 MiB", or "no limit". */
static const char *bytes_text(uint64_t bytes, char out[32]) {
    if (bytes == HUSK_CACHE_UNLIMITED)
        return "no limit";
    format_bytes(bytes, out, 32);
    return out;
}

/* The limit that this command's environment gives, else the folder's own. */
static uint64_t limit_of(const struct cache *cache, const struct husk_cache_info *info) {
    return cache->limit_bytes != 0 ? cache->limit_bytes : info->limit_bytes;
}

static void print_counts_json(const struct cache *cache, const struct husk_cache_info *info) {
    const uint64_t limit_bytes = limit_of(cache, info);
    fputs("{\"path\":", stdout);
    json_text(stdout, cache->dir);
    printf(",\"bytes\":%" PRIu64 ",\"limit\":", info->bytes);
    if (limit_bytes == HUSK_CACHE_UNLIMITED)
        fputs("null", stdout);
    else
        printf("%" PRIu64, limit_bytes);
    printf(",\"images\":%" PRIu64 ",\"notes\":%" PRIu64 ",\"unfinished\":%" PRIu64,
           info->images_count, info->notes_count, info->leftovers_count);
}

static void print_counts(const struct cache *cache, const struct husk_cache_info *info) {
    char bytes[32], limit[32];
    const uint64_t limit_bytes = limit_of(cache, info);
    printf("%s of %s%s: %" PRIu64 " images in ", bytes_text(info->bytes, bytes),
           limit_bytes == HUSK_CACHE_UNLIMITED ? "" : "at most ", bytes_text(limit_bytes, limit),
           info->images_count);
    put_text(stdout, cache->dir);
    putchar('\n');
}

/* ---- list ---- */

static int list_json(void *user, const struct husk_cache_entry *entry) {
    struct cache *cache = user;
    printf("%s{\"key\":\"%.64s\",\"bytes\":%" PRIu64 ",\"used\":%" PRId64 ",\"usable\":%s",
           cache->listed_count++ == 0 ? "" : ",", entry->name, entry->bytes, entry->used_s,
           entry->is_usable ? "true" : "false");
    if (entry->is_usable) {
        printf(",\"level\":%d,\"strict\":%s,\"cpu\":", entry->opt_level,
               entry->is_strict ? "true" : "false");
        json_text(stdout, entry->target_cpu);
        fputs(",\"compiler\":", stdout);
        json_text(stdout, entry->compiler);
        fputs(",\"sha256\":\"", stdout);
        for (size_t i = 0; i < sizeof entry->wasm_sha256; i++)
            printf("%02x", entry->wasm_sha256[i]);
        putchar('"');
    }
    if (entry->module_name[0] != '\0') {
        fputs(",\"name\":", stdout);
        json_text(stdout, entry->module_name);
    }
    if (entry->module_path[0] != '\0') {
        fputs(",\"file\":", stdout);
        json_text(stdout, entry->module_path);
    }
    putchar('}');
    return 0;
}

static int list_row(void *user, const struct husk_cache_entry *entry) {
    struct cache *cache = user;
    char bytes[32], time[32], level[32] = "?";
    const char *module = entry->module_path[0] != '\0' ? entry->module_path : entry->module_name;
    if (cache->listed_count++ == 0)
        printf("%-*s  %10s  %-16s  %-10s  %-14s  %s\n", KEY_SHOWN, "KEY", "SIZE", "LAST USED",
               "LEVEL", "CPU", "MODULE");
    if (entry->is_usable)
        snprintf(level, sizeof level, "-O%d%s", entry->opt_level,
                 entry->is_strict && entry->opt_level > 0 ? " strict" : "");
    const char *used = local_time_text(entry->used_s, time);
    printf("%.*s  %10s  %-16s", KEY_SHOWN, entry->name, bytes_text(entry->bytes, bytes),
           used[0] != '\0' ? used : "-");
    printf("  %-10s  ", level);
    put_text(stdout, entry->target_cpu);
    printf("%*s  ", (int)(strlen(entry->target_cpu) < 14 ? 14 - strlen(entry->target_cpu) : 0), "");
    put_text(stdout, !entry->is_usable ? "(not readable by this husk)" : module);
    putchar('\n');
    return 0;
}

static int verb_list(struct cache *cache) {
    struct husk_error err = {.offset = HUSK_NO_OFFSET};
    struct husk_cache_info info = HUSK_CACHE_INFO_INIT;
    if (husk_cache_info(cache->dir, &info, &err) != 0)
        return cache_failed(cache, &err);
    if (cache->report.is_json) {
        print_counts_json(cache, &info);
        fputs(",\"list\":[", stdout);
    }
    int status =
        husk_cache_list(cache->dir, cache->report.is_json ? list_json : list_row, cache, &err);
    if (cache->report.is_json)
        fputs("]}\n", stdout);
    if (status != 0)
        return cache_failed(cache, &err);
    if (!cache->report.is_json)
        print_counts(cache, &info);
    return CLI_OK;
}

/* ---- size, limit, path ---- */

static int verb_size(struct cache *cache) {
    struct husk_error err = {.offset = HUSK_NO_OFFSET};
    struct husk_cache_info info = HUSK_CACHE_INFO_INIT;
    if (husk_cache_info(cache->dir, &info, &err) != 0)
        return cache_failed(cache, &err);
    if (cache->report.is_json) {
        print_counts_json(cache, &info);
        fputs("}\n", stdout);
    } else {
        print_counts(cache, &info);
    }
    return CLI_OK;
}

static int print_limit(const struct cache *cache) {
    struct husk_error err = {.offset = HUSK_NO_OFFSET};
    struct husk_cache_info info = HUSK_CACHE_INFO_INIT;
    char text[32];
    if (husk_cache_info(cache->dir, &info, &err) != 0)
        return cache_failed(cache, &err);
    const uint64_t limit_bytes = limit_of(cache, &info);
    if (!cache->report.is_json)
        puts(bytes_text(limit_bytes, text));
    else if (limit_bytes == HUSK_CACHE_UNLIMITED)
        puts("{\"limit\":null}");
    else
        printf("{\"limit\":%" PRIu64 "}\n", limit_bytes);
    return CLI_OK;
}

static int verb_limit(struct cache *cache) {
    struct husk_error err = {.offset = HUSK_NO_OFFSET};
    uint64_t bytes = 0;
    if (cache->args_count == 0)
        return print_limit(cache);
    if (!parse_cache_limit(cache->args[0], &bytes))
        return report_usage(&cache->report,
                            "limit wants a size such as 10G, none or default, "
                            "not '%s'",
                            cache->args[0]);
    if (husk_cache_set_limit(cache->dir, bytes, &err) != 0 ||
        husk_cache_clean(cache->dir, NULL, NULL, &err) != 0)
        return cache_failed(cache, &err);
    return CLI_OK;
}

static int verb_path(struct cache *cache) {
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

/* ---- clean ---- */

static void print_cleaned(const struct cache *cache, const struct husk_cache_cleaned *cleaned) {
    char removed[32], left[32];
    if (cache->report.is_json)
        printf("{\"removed\":%" PRIu64 ",\"removed_bytes\":%" PRIu64 ",\"left\":%" PRIu64
               ",\"left_bytes\":%" PRIu64 ",\"failed\":%" PRIu64 "}\n",
               cleaned->removed_count, cleaned->removed_bytes, cleaned->left_count,
               cleaned->left_bytes, cleaned->failed_count);
    else
        printf("removed %" PRIu64 " files, %s; %" PRIu64 " files, %s, are left\n",
               cleaned->removed_count, bytes_text(cleaned->removed_bytes, removed),
               cleaned->left_count, bytes_text(cleaned->left_bytes, left));
}

static int verb_clean(struct cache *cache) {
    struct husk_error err = {.offset = HUSK_NO_OFFSET};
    struct husk_cache_cleaned cleaned = HUSK_CACHE_CLEANED_INIT;
    cache->clean.removes_unusable = true;
    if (cache->clean.unused_seconds != 0 && cache->clean.to_bytes == 0)
        cache->clean.to_bytes = HUSK_CACHE_UNLIMITED; /* by age alone */
    cache->clean.limit_bytes = cache->limit_bytes;
    if (husk_cache_clean(cache->dir, &cache->clean, &cleaned, &err) != 0)
        return cache_failed(cache, &err);
    if (cleaned.failed_count == 0) {
        print_cleaned(cache, &cleaned);
        return CLI_OK;
    }
    if (!cache->report.is_json)
        print_cleaned(cache, &cleaned);
    return cache_failed(cache, &cleaned.failure);
}

/* ---- Jobs: cache_jobs.c ---- */

static int verb_jobs(struct cache *cache) {
    return cache_jobs(&cache->report, cache->dir);
}

static int verb_stop(struct cache *cache) {
    return cache_stop(&cache->report, cache->dir, cache->args_count > 0 ? cache->args[0] : NULL);
}

static int verb_forget(struct cache *cache) {
    return cache_forget(&cache->report, cache->dir, cache->args_count > 0 ? cache->args[0] : NULL);
}

/* ---- The command ---- */

/* What stands behind husk cache; the first is the default. */
static const struct verb {
    const char *name;
    int (*run)(struct cache *cache);
    int args_max;
} verbs[] = {
    {"list", verb_list, 0},   {"size", verb_size, 0},     {"limit", verb_limit, 1},
    {"clean", verb_clean, 0}, {"path", verb_path, 0},     {"jobs", verb_jobs, 0},
    {"stop", verb_stop, 1},   {"forget", verb_forget, 1},
};

static const struct verb *find_verb(const char *name) {
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static int take_option(struct cache *cache, int option, char **argv) {
    uint64_t days = 0;
    if (option == OPT_CACHE_JSON) {
        cache->report.is_json = true;
        return CLI_OK;
    }
    cache->has_clean_option = true;
    switch (option) {
    case OPT_OLDER:
        if (!parse_number(optarg, OLDER_DAYS_MAX, &days) || days == 0)
            return report_usage(&cache->report,
                                "--older wants a number of days from 1 to %d, not '%s'",
                                OLDER_DAYS_MAX, optarg);
        cache->clean.unused_seconds = days * DAY_SECONDS;
        return CLI_OK;
    case OPT_TO:
        if (!parse_size(optarg, &cache->clean.to_bytes))
            return report_usage(&cache->report, "--to wants a size such as 500M, not '%s'", optarg);
        cache->clean.removes_all |= cache->clean.to_bytes == 0;
        return CLI_OK;
    case OPT_ALL: cache->clean.removes_all = true; return CLI_OK;
    default: return report_bad_option(&cache->report, argv);
    }
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
        int code = take_option(cache, option, argv);
        if (code != 0)
            return code;
    }
    const bool has_verb = optind < argc;
    const struct verb *verb = has_verb ? find_verb(argv[optind]) : &verbs[0];
    if (verb == NULL)
        return report_usage(&cache->report, "there is no command 'cache %s'", argv[optind]);
    cache->args = argv + optind + has_verb;
    cache->args_count = argc - optind - has_verb;
    if (cache->args_count > verb->args_max)
        return report_usage(&cache->report, "%s takes at most %d arguments, not %d", verb->name,
                            verb->args_max, cache->args_count);
    if (cache->has_clean_option && verb->run != verb_clean)
        return report_usage(&cache->report, "--older, --to and --all are for husk cache clean");
    *ret_verb = verb;
    return CLI_OK;
}

int cmd_cache(int argc, char **argv) {
    struct cache cache = {.report = {.command = "cache"}, .clean = HUSK_CACHE_CLEAN_OPTIONS_INIT};
    const struct verb *verb = NULL;
    int code = take_arguments(&cache, &verb, argc, argv);
    if (verb == NULL)
        return code;
    if (!cache_dir(cache.dir, sizeof cache.dir)) {
        struct husk_error err = {.offset = HUSK_NO_OFFSET};
        (void)cli_error(&err, HUSK_E_NOT_FOUND, "%s", NO_CACHE_TEXT);
        return report_error(&cache.report, "the cache", &err);
    }
    if (!cache_limit_wanted(&cache.limit_bytes))
        return report_usage(&cache.report, "%s", BAD_CACHE_LIMIT_TEXT);
    return finish_output(&cache.report, verb->run(&cache));
}
