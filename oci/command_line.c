/*
 * oci/command_line.c: what husk-oci must know of a command line that is meant for runc. runc reads
 * it with Go's flag package: -name and --name mean the same, a value stands behind "=" or is the
 * next word.
 */
#include <string.h>

#include "oci.h"

/* Options that take a value: runc's, and those of crun that it does not have. */
static const char *const global_values[] = {"log",  "log-format", "log-level",      "root",
                                            "criu", "rootless",   "cgroup-manager", NULL};
static const char *const create_values[] = {"bundle",       "b",        "console-socket",
                                            "pidfd-socket", "pid-file", "preserve-fds",
                                            "config",       "f",        NULL};
static const char *const exec_values[] = {"console-socket",
                                          "pidfd-socket",
                                          "cwd",
                                          "env",
                                          "e",
                                          "user",
                                          "u",
                                          "process",
                                          "p",
                                          "additional-gids",
                                          "g",
                                          "pid-file",
                                          "process-label",
                                          "apparmor",
                                          "cap",
                                          "c",
                                          "preserve-fds",
                                          "cgroup",
                                          NULL};

static bool is_among(const char *const *names, const char *name, size_t bytes) {
    for (; *names != NULL; names++)
        if (strlen(*names) == bytes && strncmp(*names, name, bytes) == 0)
            return true;
    return false;
}

struct option {
    const char *name;
    size_t name_bytes;
    const char *value; /* NULL: none */
};

/* Reads the option at argv[*at], and moves *at to its last word. false: that is no option. */
static bool option_read(int argc, char **argv, const char *const *with_value, int *at,
                        struct option *ret_option) {
    const char *word = argv[*at];
    if (word[0] != '-' || word[1] == '\0')
        return false;
    word += word[1] == '-' ? 2 : 1;
    *ret_option = (struct option){.name = word, .name_bytes = strcspn(word, "=")};
    if (word[ret_option->name_bytes] == '=')
        ret_option->value = word + ret_option->name_bytes + 1;
    else if (is_among(with_value, word, ret_option->name_bytes) && *at + 1 < argc)
        ret_option->value = argv[++*at];
    return true;
}

static bool option_is(const struct option *option, const char *name) {
    return option->name_bytes == strlen(name) &&
           strncmp(option->name, name, option->name_bytes) == 0;
}

static void take_global(const struct option *option, struct command_line *line) {
    if (option_is(option, "log"))
        line->log_path = option->value;
    else if (option_is(option, "log-format"))
        line->is_log_json = option->value != NULL && strcmp(option->value, "json") == 0;
    else if (option_is(option, "root"))
        line->root = option->value;
    else if (option_is(option, "help") || option_is(option, "h"))
        line->wants_help = true;
}

/* runc takes options of create and run behind the container's name, too; those of exec end there,
 * because the program's words follow. */
static void take_command(int argc, char **argv, int at, struct command_line *line) {
    const bool is_exec = strcmp(line->command, "exec") == 0;
    struct option option;
    for (; at < argc; at++) {
        if (strcmp(argv[at], "--") == 0) {
            if (line->id == NULL && at + 1 < argc)
                line->id = argv[at + 1];
            return;
        }
        if (option_read(argc, argv, is_exec ? exec_values : create_values, &at, &option)) {
            if (!is_exec && (option_is(&option, "bundle") || option_is(&option, "b")))
                line->bundle = option.value;
        } else {
            if (line->id == NULL)
                line->id = argv[at];
            if (is_exec)
                return;
        }
    }
}

void command_line_read(int argc, char **argv, struct command_line *ret_line) {
    struct option option;
    *ret_line = (struct command_line){0};
    for (int at = 1; at < argc; at++) {
        if (option_read(argc, argv, global_values, &at, &option)) {
            take_global(&option, ret_line);
            continue;
        }
        ret_line->command = argv[at];
        take_command(argc, argv, at + 1, ret_line);
        return;
    }
}
