/* bench/kernels/dispatch.c: objects with tables of functions, called in an order that cannot be
 * predicted from the code. */
#include "kernel.h"

struct shape;
struct shape_ops {
    uint64_t (*area)(const struct shape *shape);
    void (*grow)(struct shape *shape, uint32_t by);
};

struct shape {
    const struct shape_ops *ops;
    uint32_t a, b;
};

static uint64_t square_area(const struct shape *shape) {
    return (uint64_t)shape->a * shape->a;
}

static void square_grow(struct shape *shape, uint32_t by) {
    shape->a = (shape->a + by) & 0xffff;
}

static uint64_t box_area(const struct shape *shape) {
    return (uint64_t)shape->a * shape->b;
}

static void box_grow(struct shape *shape, uint32_t by) {
    shape->a = (shape->a + by) & 0xffff;
    shape->b = (shape->b ^ by) & 0xffff;
}

static uint64_t disc_area(const struct shape *shape) {
    return (uint64_t)shape->a * shape->a * 355 / 113;
}

static void disc_grow(struct shape *shape, uint32_t by) {
    shape->a = (shape->a * 3 + by) & 0xffff;
}

static uint64_t ring_area(const struct shape *shape) {
    uint64_t outer = disc_area(shape);
    return outer - (uint64_t)shape->b * shape->b / 4;
}

static const struct shape_ops kinds[4] = {{square_area, square_grow},
                                          {box_area, box_grow},
                                          {disc_area, disc_grow},
                                          {ring_area, box_grow}};
static struct shape shapes[1024];

KERNEL(dispatch) {
    uint32_t seed = 47;
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        shapes[i].ops = &kinds[rng_next(&seed) >> 30];
        shapes[i].a = rng_next(&seed) & 0xfff;
        shapes[i].b = rng_next(&seed) & 0xfff;
    }
    uint64_t sum = SUM_START;
    for (uint32_t round = 0; round < n; round++) {
        for (size_t i = 0; i < COUNT_OF(shapes); i++) {
            struct shape *shape = &shapes[i];
            sum += shape->ops->area(shape);
            shape->ops->grow(shape, round);
        }
    }
    return sum;
}
