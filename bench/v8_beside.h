/*
 * bench/v8_beside.h: another engine beside Husk: a process with V8 (node) that runs the same wasm
 * kernels when asked. One thread uses it.
 */
#ifndef V8_BESIDE_H
#define V8_BESIDE_H

#include <stdint.h>

struct v8_beside;

/* Start `node` (a path, or a name in PATH) with the kernels of `wasm_dir`. NULL: it could not be
 * started; the reason was printed. */
struct v8_beside *v8_beside_start(const char *node, const char *wasm_dir);
/* One run. Returns 0, or -1 if the process ended or answered nonsense. */
int v8_beside_run(struct v8_beside *v8, const char *kernel, uint32_t n, double *ret_ms,
                  uint64_t *ret_sum);
void v8_beside_stop(struct v8_beside *v8); /* NULL is fine */

#endif
