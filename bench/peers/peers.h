/*
 * bench/peers/peers.h: husk_peers: another engine beside Husk and native code, in one process and
 * in turns. Each part prints a table for people, and JSON lines.
 */
#ifndef BENCH_PEERS_H
#define BENCH_PEERS_H

#include "bench.h"
#include "wasmtime.h"

struct peers {
    struct bench bench;
    struct wasmtime wt;
};

/* The parts. Each returns 0, or prints the reason and returns -1. Compile goes first: it forks, and
 * a process that has compiled in Wasmtime has threads. */
int peers_compile(const struct peers *peers);
int peers_requests(const struct peers *peers);
int peers_kernels(const struct peers *peers);

#endif
