/* bench/kernels/spectral.c: largest singular value of an infinite matrix's corner by power
 * iteration: f64 divisions, vectorisable. */
#include "kernel.h"

enum { SIZE = 256 };

static double element(uint32_t i, uint32_t k) {
    return 1.0 / (double)((i + k) * (i + k + 1) / 2 + i + 1);
}

static void multiply(const double *from, double *to) {
    for (uint32_t i = 0; i < SIZE; i++) {
        double total = 0;
        for (uint32_t k = 0; k < SIZE; k++)
            total += element(i, k) * from[k];
        to[i] = total;
    }
}

static void multiply_transposed(const double *from, double *to) {
    for (uint32_t i = 0; i < SIZE; i++) {
        double total = 0;
        for (uint32_t k = 0; k < SIZE; k++)
            total += element(k, i) * from[k];
        to[i] = total;
    }
}

KERNEL(spectral) {
    static double u[SIZE], v[SIZE], w[SIZE];
    for (int i = 0; i < SIZE; i++)
        u[i] = 1;
    for (uint32_t round = 0; round < n; round++) {
        multiply(u, w);
        multiply_transposed(w, v);
        multiply(v, w);
        multiply_transposed(w, u);
    }
    double uv = 0, vv = 0;
    for (int i = 0; i < SIZE; i++) {
        uv += u[i] * v[i];
        vv += v[i] * v[i];
    }
    return sum_mix_f64(SUM_START, __builtin_sqrt(uv / vv));
}
