/*
 * cli/main.c: the husk command: picks the subcommand.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static int cmd_help(int argc, char **argv);
static int cmd_version(int argc, char **argv);

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
};

static const struct command commands[] = {
    {"run", cmd_run, help_run},
    {"snapshot", cmd_snapshot, help_snapshot},
    {"compile", cmd_compile, help_compile},
    {"inspect", cmd_inspect, help_inspect},
    {"validate", cmd_validate, help_validate},
    {"serve", cmd_serve, help_serve},
    {"cache", cmd_cache, help_cache},
    {"doctor", cmd_doctor, help_doctor},
    {"help", cmd_help, help_husk},
    {"version", cmd_version, help_husk},
};

static const struct report report_main = {.command = "help"};

static const struct command *find_command(const char *name) {
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return find_command("help");
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
        return find_command("version");
    return NULL;
}

static int no_such_command(const char *name) {
    fprintf(stderr, "husk: there is no command '%s'", name);
    size_t bytes = strlen(name);
    if (bytes > 5 && strcmp(name + bytes - 5, ".wasm") == 0)
        fprintf(stderr, "; to run a module: husk run %s", name);
    fputs("\nTry 'husk help'.\n", stderr);
    return CLI_USAGE;
}

static int cmd_help(int argc, char **argv) {
    const struct command *command = argc > 1 ? find_command(argv[1]) : NULL;
    if (argc > 1 && command == NULL)
        return no_such_command(argv[1]);
    fputs(command != NULL ? command->help : help_husk, stdout);
    return finish_output(&report_main, CLI_OK);
}

static int cmd_version(int argc, char **argv) {
    (void)argc;
    (void)argv;
    printf("husk %s\n", husk_version());
    return finish_output(&report_main, CLI_OK);
}

static bool was_closed[STDERR_FILENO + 1];

/* A standard stream that is closed must not become the number of a file that is opened here: the
 * guest, and messages, would write to it. What takes the place cannot be read or written either. */
static void reserve_standard_streams(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        was_closed[fd] = fcntl(fd, F_GETFD) < 0;
        if (was_closed[fd])
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
}

int standard_stream(int fd) {
    return was_closed[fd] ? -1 : fd;
}

int main(int argc, char **argv) {
    reserve_standard_streams();
    /* a file that may not become so large (ulimit -f) is an error that is told */
    (void)signal(SIGXFSZ, SIG_IGN);
    if (argc < 2) {
        fputs(help_husk, stderr);
        return CLI_USAGE;
    }
    const struct command *command = find_command(argv[1]);
    return command != NULL ? command->run(argc - 1, argv + 1) : no_such_command(argv[1]);
}
