/* bench/kernels/mandelbrot.c: escape times over an n × n grid. f64 in a tight loop with a
 * data-dependent exit. */
#include "kernel.h"

static uint32_t escape_time(double cx, double cy) {
    double x = 0, y = 0;
    uint32_t count = 0;
    while (count < 200) {
        double x2 = x * x, y2 = y * y;
        if (x2 + y2 > 4.0)
            break;
        y = 2 * x * y + cy;
        x = x2 - y2 + cx;
        count++;
    }
    return count;
}

KERNEL(mandelbrot) {
    uint64_t sum = SUM_START;
    for (uint32_t row = 0; row < n; row++) {
        for (uint32_t column = 0; column < n; column++) {
            uint32_t count = escape_time(3.0 * column / n - 2.2, 2.6 * row / n - 1.3);
            sum = sum_mix(sum, count);
        }
    }
    return sum;
}
