/* bench/kernels/fft.c: radix-2 complex FFT of 4096 points in f64, forward and back, n times.
 * Strided loads, own sine tables. */
#include "kernel.h"

enum { POINTS = 4096, BITS = 12 };
static double re[POINTS], im[POINTS], cosines[POINTS / 2], sines[POINTS / 2];

/* Rotation by 2π / POINTS again and again, renormalised, so that no libm is needed. */
static void tables_make(void) {
    const double step_sin = 0.0015339801862847655, step_cos = 0.99999882345170188;
    double c = 1, s = 0;
    for (int i = 0; i < POINTS / 2; i++) {
        cosines[i] = c;
        sines[i] = s;
        double next = c * step_cos - s * step_sin;
        s = s * step_cos + c * step_sin;
        double norm = 1 / __builtin_sqrt(next * next + s * s);
        c = next * norm;
        s *= norm;
    }
}

static void points_reorder(void) {
    for (uint32_t i = 0; i < POINTS; i++) {
        uint32_t k = 0;
        for (int bit = 0; bit < BITS; bit++)
            k |= ((i >> bit) & 1) << (BITS - 1 - bit);
        if (k > i) {
            double swap = re[i];
            re[i] = re[k];
            re[k] = swap;
            swap = im[i];
            im[i] = im[k];
            im[k] = swap;
        }
    }
}

static void transform(double direction) {
    points_reorder();
    for (uint32_t half = 1; half < POINTS; half *= 2) {
        uint32_t stride = POINTS / 2 / half;
        for (uint32_t start = 0; start < POINTS; start += 2 * half) {
            for (uint32_t i = 0; i < half; i++) {
                uint32_t a = start + i, b = a + half;
                double c = cosines[i * stride], s = direction * sines[i * stride];
                double tr = re[b] * c - im[b] * s, ti = re[b] * s + im[b] * c;
                re[b] = re[a] - tr;
                im[b] = im[a] - ti;
                re[a] += tr;
                im[a] += ti;
            }
        }
    }
}

KERNEL(fft) {
    uint32_t seed = 79;
    tables_make();
    for (int i = 0; i < POINTS; i++) {
        re[i] = (double)(rng_next(&seed) & 1023);
        im[i] = 0;
    }
    for (uint32_t round = 0; round < n; round++) {
        transform(-1);
        transform(1);
        for (int i = 0; i < POINTS; i++) {
            re[i] /= (double)POINTS;
            im[i] /= (double)POINTS;
        }
    }
    uint64_t sum = SUM_START;
    for (int i = 0; i < POINTS; i++)
        sum = sum_mix_f64(sum_mix_f64(sum, re[i]), im[i]);
    return sum;
}
