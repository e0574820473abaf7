/*
 * serve/serve_options.c: the command line of husk serve. Its options are of two kinds: those of the
 * server, and those of a route, which a line of the routes file may have, too, and which stand for
 * all routes if they are on the command line. So the words of the command line are read once for
 * the server, and once for each route.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "serve.h"

#define DEFAULT_LISTEN "127.0.0.1:8080"
#define DEFAULT_TIMEOUT_NS UINT64_C(30000000000)
#define DEFAULT_INIT_NS UINT64_C(60000000000)
#define DEFAULT_MAX_WAIT_NS UINT64_C(5000000000)
#define DEFAULT_CLIENT_NS UINT64_C(30000000000)
#define DEFAULT_DRAIN_NS UINT64_C(30000000000)
#define DEFAULT_MAX_BODY_BYTES (UINT64_C(16) << 20)
#define DEFAULT_MAX_BODIES_BYTES (UINT64_C(256) << 20)
#define DEFAULT_MAX_RESPONSE_BYTES (UINT64_C(64) << 20)
#define DEFAULT_MAX_MEMORY_BYTES (UINT64_C(256) << 20)
#define DEFAULT_MAX_PRIVATE_BYTES (UINT64_C(64) << 20)
#define DEFAULT_MAX_CONNECTIONS 1024u
#define MAX_CONNECTIONS_MAX 100000u
#define WORKERS_MAX 512u

enum {
    OPT_ENV = 256,
    OPT_ENV_FILE,
    OPT_INHERIT_ENV,
    OPT_DIR,
    OPT_MAX_PRIVATE,
    OPT_MAX_NAMES,
    OPT_MAX_OPEN,
    OPT_MAX_MEMORY,
    OPT_STACK,
    OPT_TIMEOUT,
    OPT_INIT_TIMEOUT,
    OPT_MAX_BODY,
    OPT_MAX_RESPONSE,
    OPT_WORKERS,
    OPT_HANDLER,
    OPT_REUSE,
    OPT_UNTIL,
    OPT_WARM,
    OPT_PASS_AUTHORIZATION,
    OPT_ARGV0,
    OPT_UNKNOWN_IMPORTS,
    OPT_CPU,
    OPT_STRICT,
    OPT_NO_BACKGROUND,
    OPT_NO_CACHE,
    OPT_SERVER, /* those from here on are the server's */
    OPT_LISTEN = OPT_SERVER,
    OPT_ROUTES,
    OPT_MAX_BODIES,
    OPT_MAX_CONNECTIONS,
    OPT_MAX_WAIT,
    OPT_CLIENT_TIMEOUT,
    OPT_DRAIN_TIMEOUT,
    OPT_ACCESS_LOG,
    OPT_METRICS,
    OPT_HEALTH,
    OPT_HTTP_THREADS,
    OPT_SERVER_END
};

static const struct option serve_options[] = {
    {"help", no_argument, NULL, 'h'},
    COMPILE_OPTION_ROWS,
    {"env", required_argument, NULL, OPT_ENV},
    {"env-file", required_argument, NULL, OPT_ENV_FILE},
    {"inherit-env", required_argument, NULL, OPT_INHERIT_ENV},
    {"dir", required_argument, NULL, OPT_DIR},
    {"max-private", required_argument, NULL, OPT_MAX_PRIVATE},
    {"max-names", required_argument, NULL, OPT_MAX_NAMES},
    {"max-open", required_argument, NULL, OPT_MAX_OPEN},
    {"max-memory", required_argument, NULL, OPT_MAX_MEMORY},
    {"stack", required_argument, NULL, OPT_STACK},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"init-timeout", required_argument, NULL, OPT_INIT_TIMEOUT},
    {"max-body", required_argument, NULL, OPT_MAX_BODY},
    {"max-response", required_argument, NULL, OPT_MAX_RESPONSE},
    {"workers", required_argument, NULL, OPT_WORKERS},
    {"handler", required_argument, NULL, OPT_HANDLER},
    {"reuse", no_argument, NULL, OPT_REUSE},
    {"until", required_argument, NULL, OPT_UNTIL},
    {"warm", required_argument, NULL, OPT_WARM},
    {"pass-authorization", no_argument, NULL, OPT_PASS_AUTHORIZATION},
    {"argv0", required_argument, NULL, OPT_ARGV0},
    {"unknown-imports", required_argument, NULL, OPT_UNKNOWN_IMPORTS},
    {"cpu", required_argument, NULL, OPT_CPU},
    {"strict", no_argument, NULL, OPT_STRICT},
    {"no-background", no_argument, NULL, OPT_NO_BACKGROUND},
    {"no-cache", no_argument, NULL, OPT_NO_CACHE},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"routes", required_argument, NULL, OPT_ROUTES},
    {"max-bodies", required_argument, NULL, OPT_MAX_BODIES},
    {"max-connections", required_argument, NULL, OPT_MAX_CONNECTIONS},
    {"max-wait", required_argument, NULL, OPT_MAX_WAIT},
    {"client-timeout", required_argument, NULL, OPT_CLIENT_TIMEOUT},
    {"drain-timeout", required_argument, NULL, OPT_DRAIN_TIMEOUT},
    {"access-log", optional_argument, NULL, OPT_ACCESS_LOG},
    {"metrics", required_argument, NULL, OPT_METRICS},
    {"health", required_argument, NULL, OPT_HEALTH},
    {"http-threads", required_argument, NULL, OPT_HTTP_THREADS},
    {NULL, 0, NULL, 0},
};

static bool is_servers(int option) {
    return option >= OPT_SERVER && option < OPT_SERVER_END;
}

static int take_size(const struct report *report, const char *option, uint64_t *ret_bytes) {
    if (parse_size(optarg, ret_bytes) && *ret_bytes > 0)
        return CLI_OK;
    return report_usage(report, "%s wants a size such as 64M, not '%s'", option, optarg);
}

/* At most a year, so that sums with times do not overflow. */
static int take_time(const struct report *report, const char *option, uint64_t *ret_ns) {
    uint64_t ns = 0;
    if (parse_duration(optarg, &ns) && ns > 0 && ns <= UINT64_C(31536000000000000)) {
        *ret_ns = ns;
        return CLI_OK;
    }
    return report_usage(report, "%s wants a time such as 500ms or 2s, not '%s'", option, optarg);
}

static int take_count(const struct report *report, const char *option, uint32_t max,
                      uint32_t *ret_count) {
    uint64_t count = 0;
    if (!parse_number(optarg, max, &count) || count == 0)
        return report_usage(report, "%s wants a number from 1 to %u, not '%s'", option, max,
                            optarg);
    *ret_count = (uint32_t)count;
    return CLI_OK;
}

/* ---- The server's ---- */

static const char *const access_names[] = {
    [ACCESS_NONE] = "none", [ACCESS_COMMON] = "common", [ACCESS_JSON] = "json"};

static int find_access_format(const char *name) {
    int format = ACCESS_JSON;
    while (format >= 0 && strcmp(name, access_names[format]) != 0)
        format--;
    return format;
}

static int take_access_log(struct server *server) {
    const int format = optarg != NULL ? find_access_format(optarg) : ACCESS_COMMON;
    if (format < 0)
        return report_usage(&server->report, "--access-log=%s: there are common, json and none",
                            optarg);
    server->access_format = (enum access_format)format;
    return CLI_OK;
}

/* --access-log json, in two words, as all other options can be given: no module has such a name. */
static void join_access_log(int argc, char **argv) {
    if (optarg == NULL && optind < argc && find_access_format(argv[optind]) >= 0)
        optarg = argv[optind++];
}

static int take_health(struct server *server) {
    server->health = strcmp(optarg, "none") == 0 ? NULL : optarg;
    if (server->health == NULL || server->health[0] == '/')
        return CLI_OK;
    return report_usage(&server->report,
                        "--health wants a path such as /healthz, or none, not "
                        "'%s'",
                        optarg);
}

static int take_server_option(struct server *server, int option) {
    const struct report *report = &server->report;
    switch (option) {
    case OPT_LISTEN: return take_listen_option(&server->run, "--listen", optarg);
    case OPT_ROUTES: server->routes_file = optarg; return CLI_OK;
    case OPT_MAX_BODIES: return take_size(report, "--max-bodies", &server->max_bodies_bytes);
    case OPT_MAX_CONNECTIONS:
        return take_count(report, "--max-connections", MAX_CONNECTIONS_MAX,
                          &server->max_connections);
    case OPT_MAX_WAIT: return take_time(report, "--max-wait", &server->max_wait_ns);
    case OPT_CLIENT_TIMEOUT: return take_time(report, "--client-timeout", &server->client_ns);
    case OPT_DRAIN_TIMEOUT: return take_time(report, "--drain-timeout", &server->drain_ns);
    case OPT_ACCESS_LOG: return take_access_log(server);
    case OPT_METRICS: return take_listen_option(&server->metrics_run, "--metrics", optarg);
    case OPT_HEALTH: return take_health(server);
    case OPT_HTTP_THREADS: return take_count(report, "--http-threads", 64, &server->http_threads);
    default: return CLI_OK;
    }
}

/* ---- A route's ---- */

static int take_unknown_imports(struct run *run) {
    if (strcmp(optarg, "trap") != 0 && strcmp(optarg, "refuse") != 0)
        return report_usage(&run->report, "--unknown-imports wants trap or refuse, not '%s'",
                            optarg);
    run->unknown_imports = optarg[0] == 't' ? HUSK_UNKNOWN_TRAP : HUSK_UNKNOWN_REFUSED;
    return CLI_OK;
}

static int take_until(struct route *route) {
    route->is_until_stdin = true;
    if (strcmp(optarg, "stdin") == 0)
        return CLI_OK;
    return report_usage(&route->run.report, "--until wants stdin, not '%s'", optarg);
}

static int take_warm(struct route *route) {
    const struct request_parts parts = {.method = "GET", .version = "HTTP/1.1", .target = optarg};
    struct request request;
    route->warm = optarg;
    if (optarg[0] == '/' && request_make(&request, &parts) == 0) {
        free(request.block);
        return CLI_OK;
    }
    return report_usage(&route->run.report, "--warm wants a path such as /, encoded, not '%s'",
                        optarg);
}

static int take_opt_level(struct run *run) {
    if (parse_opt_level(optarg, &run->compile.options.opt_level))
        return CLI_OK;
    return report_usage(&run->report, "-O wants 0, 1, 2 or 3, not '%s'", optarg);
}

/* A reload must not wait for whoever writes into a pipe, and at the start it may be one. */
static int take_env_file(struct run *run) {
    if (run->report.take != NULL && is_pipe(optarg))
        return report_usage(&run->report, "--env-file %s is a pipe, which was read once", optarg);
    return run_add_env_file(run, optarg);
}

static int take_guest_option(struct run *run, int option) {
    const struct report *report = &run->report;
    switch (option) {
    case OPT_ENV: return run_add_env(run, optarg);
    case OPT_ENV_FILE: return take_env_file(run);
    case OPT_INHERIT_ENV: return run_inherit_env(run, optarg);
    case OPT_DIR: return take_dir_option(run, optarg);
    case OPT_MAX_PRIVATE: return take_size(report, "--max-private", &run->private_max_bytes);
    case OPT_MAX_NAMES: return take_max_names_option(run, optarg);
    case OPT_MAX_OPEN: return take_max_open_option(run, optarg);
    case OPT_MAX_MEMORY:
        return take_size(report, "--max-memory", &run->sandbox_options.memory_max_bytes);
    case OPT_STACK: return take_size(report, "--stack", &run->sandbox_options.stack_bytes);
    case OPT_TIMEOUT: return take_time(report, "--timeout", &run->limits.wall_ns);
    case OPT_ARGV0: run->argv0 = optarg; return CLI_OK;
    case OPT_UNKNOWN_IMPORTS: return take_unknown_imports(run);
    case OPT_CPU: run->compile.options.cpu = optarg; return CLI_OK;
    case OPT_STRICT: run->compile.options.strict = true; return CLI_OK;
    case OPT_NO_BACKGROUND: run->has_no_background = true; return CLI_OK;
    case OPT_NO_CACHE: run->compile.is_uncached = true; return CLI_OK;
    case 'O': return take_opt_level(run);
    default: return take_compile_option(report, &run->compile, option);
    }
}

static int take_route_option(struct route *route, int option) {
    const struct report *report = &route->run.report;
    switch (option) {
    case OPT_INIT_TIMEOUT: return take_time(report, "--init-timeout", &route->init_ns);
    case OPT_MAX_BODY: return take_size(report, "--max-body", &route->max_body_bytes);
    case OPT_MAX_RESPONSE: return take_size(report, "--max-response", &route->max_response_bytes);
    case OPT_WORKERS: return take_count(report, "--workers", WORKERS_MAX, &route->workers_count);
    case OPT_HANDLER: route->handler = optarg; return CLI_OK;
    case OPT_REUSE: route->is_reused = true; return CLI_OK;
    case OPT_UNTIL: return take_until(route);
    case OPT_WARM: return take_warm(route);
    case OPT_PASS_AUTHORIZATION: route->passes_authorization = true; return CLI_OK;
    default: return take_guest_option(&route->run, option);
    }
}

/* ---- Words ---- */

/* Read the options among the words; what is no option comes behind them. From now on, argv[optind]
 * is the first of these. */
static int take_words(struct server *server, struct route *route, int argc, char **argv,
                      bool *ret_has_help) {
    int option, row = 0;
    optind = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":hO:", serve_options, &row)) != -1) {
        int code = CLI_OK;
        if (option == 'h' && ret_has_help != NULL) {
            *ret_has_help = true;
            return CLI_OK;
        }
        if (option == OPT_ACCESS_LOG)
            join_access_log(argc, argv);
        if (option == ':' || option == '?' || option == 'h')
            return report_bad_option(&server->report, argv);
        if (route == NULL && is_servers(option))
            code = take_server_option(server, option);
        else if (route != NULL && !is_servers(option))
            code = take_route_option(route, option);
        else if (route != NULL && route->is_of_file)
            code =
                report_usage(&server->report, "%s: option --%s is the server's, and not a route's",
                             server->routes_file, serve_options[row].name);
        if (code != 0)
            return code;
    }
    return CLI_OK;
}

/* The words up to "--". */
static int words_before_end(int argc, char **argv) {
    int count = 0;
    while (count < argc && strcmp(argv[count], "--") != 0)
        count++;
    return count;
}

static unsigned cores(void) {
    const long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > 64 ? 64 : (unsigned)count;
}

static void route_defaults(struct route *route, struct server *server) {
    route->server = server;
    route->run.report = server->report;
    route->run.compile.options = (struct husk_compile_options)HUSK_COMPILE_OPTIONS_INIT;
    route->run.sandbox_options = (struct husk_sandbox_options)HUSK_SANDBOX_OPTIONS_INIT;
    route->run.sandbox_options.memory_max_bytes = DEFAULT_MAX_MEMORY_BYTES;
    route->run.limits = (struct husk_limits)HUSK_LIMITS_INIT;
    route->run.limits.wall_ns = DEFAULT_TIMEOUT_NS;
    route->run.has_private_dirs = true;
    route->run.private_max_bytes = DEFAULT_MAX_PRIVATE_BYTES;
    route->init_ns = DEFAULT_INIT_NS;
    route->max_body_bytes = DEFAULT_MAX_BODY_BYTES;
    route->max_response_bytes = DEFAULT_MAX_RESPONSE_BYTES;
    route->workers_count = cores();
    pthread_mutex_init(&route->lock, NULL);
    pthread_cond_init(&route->changed, NULL);
}

/* The module, and behind "--" its arguments. */
static int take_module(struct route *route, int argc, char **argv, char **words) {
    struct run *run = &route->run;
    if (optind >= argc)
        return report_usage(&run->report, "which file? Name a .wasm module or a .husk image");
    if (optind + 1 < argc)
        return report_usage(&run->report,
                            "'%s': there is one module; its arguments stand behind --",
                            argv[optind + 1]);
    run->path = argv[optind];
    if (strcmp(run->path, "-") == 0)
        return report_usage(&run->report, "a module is a file, and not standard input");
    run->words = words;
    while (words[run->words_count] != NULL)
        run->words_count++;
    run->compile.is_in_background =
        !run->has_no_background && run->compile.options.opt_level == 0 && background_is_allowed();
    return CLI_OK;
}

static struct route *route_new(struct server *server, const struct route_source *source) {
    struct route *route = calloc(1, sizeof *route);
    if (route == NULL || (route->counters = calloc(1, sizeof *route->counters)) == NULL) {
        free(route);
        free(source->line);
        free((void *)source->words);
        return NULL;
    }
    route->source = *source;
    route->path = source->path;
    route->path_bytes = strcmp(source->path, "/") == 0 ? 0 : strlen(source->path);
    atomic_init(&route->counters->shares, 1);
    route_defaults(route, server);
    return route;
}

int route_make(struct server *server, const struct route_source *source, struct route **ret_route) {
    struct route *route = route_new(server, source);
    if (route == NULL)
        return report_usage(&server->report, "out of memory");
    int code = CLI_OK;
    if (server->routes_file != NULL) { /* the command line's first */
        code = take_words(server, route, server->argc, server->argv, NULL);
        route->is_of_file = true;
    }
    if (code == 0)
        code = take_words(server, route, source->argc, source->argv, NULL);
    if (code == 0)
        code = take_module(route, source->argc, source->argv, source->args);
    if (code == 0)
        *ret_route = route;
    else
        route_free(route);
    return code;
}

void route_free(struct route *route) {
    if (route == NULL)
        return;
    run_env_done(&route->run);
    dirs_done(&route->run);
    if (atomic_fetch_sub(&route->counters->shares, 1) == 1)
        free(route->counters);
    pthread_cond_destroy(&route->changed);
    pthread_mutex_destroy(&route->lock);
    free(route->source.line);
    free((void *)route->source.words);
    free(route);
}

/* The module of the command line, for all paths. */
static int take_one_route(struct server *server, int argc, char **argv, char **args) {
    static char root[] = "/";
    const struct route_source source = {.path = root, .argc = argc, .argv = argv, .args = args};
    struct route *route = NULL;
    const int code = route_make(server, &source, &route);
    if (code == 0 && !routes_add(&server->routes, route)) {
        route_free(route);
        return report_usage(&server->report, "out of memory");
    }
    return code;
}

int server_take_options(struct server *server, int argc, char **argv, bool *ret_is_done) {
    static char *no_words[] = {NULL};
    const int count = words_before_end(argc, argv);
    char **words = count < argc ? argv + count + 1 : no_words;
    server->max_wait_ns = DEFAULT_MAX_WAIT_NS;
    server->client_ns = DEFAULT_CLIENT_NS;
    server->drain_ns = DEFAULT_DRAIN_NS;
    server->max_bodies_bytes = DEFAULT_MAX_BODIES_BYTES;
    server->max_connections = DEFAULT_MAX_CONNECTIONS;
    server->http_threads = (cores() + 3) / 4;
    server->health = "/healthz";
    server->argc = count;
    server->argv = argv;
    int code = take_words(server, NULL, count, argv, ret_is_done);
    if (code != 0 || *ret_is_done)
        return code;
    if (server->routes_file == NULL)
        code = take_one_route(server, count, argv, words);
    else if (optind < count || words[0] != NULL)
        code = report_usage(&server->report, "'%s': with --routes, modules stand in that file",
                            optind < count ? argv[optind] : words[0]);
    else
        code = routes_read(server, &server->routes);
    if (code == 0 && server->run.listeners.count == 0 && getenv("LISTEN_FDS") == NULL)
        code = take_listen_option(&server->run, "--listen", DEFAULT_LISTEN);
    return code;
}

void server_options_done(struct server *server) {
    routes_done(&server->routes);
}
