/* bench/v8_beside.c: see v8_beside.h. The script is v8_beside.mjs. */
#include "v8_beside.h"

#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct v8_beside {
    pid_t pid;
    FILE *to, *from;
};

static int spawn_node(const char *node, const char *wasm_dir, const int in[2], const int out[2],
                      pid_t *ret_pid) {
    char *const argv[] = {(char *)node, HUSK_BENCH_V8_SCRIPT, (char *)wasm_dir, NULL};
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0)
        return -1;
    int status = posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    if (status == 0)
        status = posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    if (status == 0)
        status = posix_spawnp(ret_pid, node, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return status;
}

/* The ends of the pipes that the process does not get are closed there by exec. */
static struct v8_beside *start(const char *node, const char *wasm_dir, int in[2], int out[2]) {
    struct v8_beside *v8 = calloc(1, sizeof *v8);
    if (v8 == NULL)
        return NULL;
    v8->to = fdopen(in[1], "we");
    v8->from = fdopen(out[0], "re");
    if (v8->to != NULL && v8->from != NULL && spawn_node(node, wasm_dir, in, out, &v8->pid) == 0)
        return v8;
    free(v8);
    return NULL;
}

struct v8_beside *v8_beside_start(const char *node, const char *wasm_dir) {
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) {
        perror("husk_bench: pipe2");
        return NULL;
    }
    struct v8_beside *v8 = start(node, wasm_dir, in, out);
    if (v8 == NULL)
        fprintf(stderr, "husk_bench: cannot start %s; --v8 wants node, version 24 or later\n",
                node);
    close(in[0]);
    close(out[1]);
    return v8;
}

int v8_beside_run(struct v8_beside *v8, const char *kernel, uint32_t n, double *ret_ms,
                  uint64_t *ret_sum) {
    char line[128];
    double ns;
    if (fprintf(v8->to, "%s %u\n", kernel, n) < 0 || fflush(v8->to) != 0 ||
        fgets(line, sizeof line, v8->from) == NULL ||
        sscanf(line, "%lf %" SCNx64, &ns, ret_sum) != 2) {
        fprintf(stderr, "husk_bench: V8 did not run %s\n", kernel);
        return -1;
    }
    *ret_ms = ns / 1e6;
    return 0;
}

void v8_beside_stop(struct v8_beside *v8) {
    if (v8 == NULL)
        return;
    fclose(v8->to);
    fclose(v8->from);
    waitpid(v8->pid, NULL, 0);
    free(v8);
}
