/* bench/kernels/nbody.c: five bodies under gravity, n steps. Scalar f64 with divisions and square
 * roots. */
#include "kernel.h"

struct body {
    double x, y, z, vx, vy, vz, mass;
};

static struct body bodies[5];

static void bodies_make(void) {
    uint32_t seed = 3;
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        double *fields[6] = {&bodies[i].x,  &bodies[i].y,  &bodies[i].z,
                             &bodies[i].vx, &bodies[i].vy, &bodies[i].vz};
        for (int f = 0; f < 6; f++)
            *fields[f] = ((double)(rng_next(&seed) % 20000) - 10000.0) / (f < 3 ? 500.0 : 8000.0);
        bodies[i].mass = i == 0 ? 39.0 : 0.01 * (double)(i + 1);
    }
}

static void bodies_pull(struct body *a, struct body *b, double dt) {
    double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
    double distance2 = dx * dx + dy * dy + dz * dz + 0.01;
    double magnitude = dt / (distance2 * __builtin_sqrt(distance2));
    a->vx -= dx * b->mass * magnitude;
    a->vy -= dy * b->mass * magnitude;
    a->vz -= dz * b->mass * magnitude;
    b->vx += dx * a->mass * magnitude;
    b->vy += dy * a->mass * magnitude;
    b->vz += dz * a->mass * magnitude;
}

KERNEL(nbody) {
    bodies_make();
    for (uint32_t step = 0; step < n; step++) {
        for (size_t i = 0; i < COUNT_OF(bodies); i++)
            for (size_t k = i + 1; k < COUNT_OF(bodies); k++)
                bodies_pull(&bodies[i], &bodies[k], 0.001);
        for (size_t i = 0; i < COUNT_OF(bodies); i++) {
            bodies[i].x += 0.001 * bodies[i].vx;
            bodies[i].y += 0.001 * bodies[i].vy;
            bodies[i].z += 0.001 * bodies[i].vz;
        }
    }
    uint64_t sum = SUM_START;
    for (size_t i = 0; i < COUNT_OF(bodies); i++)
        sum = sum_mix_f64(sum_mix_f64(sum_mix_f64(sum, bodies[i].x), bodies[i].y), bodies[i].z);
    return sum;
}
