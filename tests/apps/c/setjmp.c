/*
 * tests/apps/c/setjmp.c: what C promises of setjmp() and longjmp(). Prints the same wherever it is
 * built.
 */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

static jmp_buf outer, inner, places[4];

__attribute__((noinline)) static void jump_from(int depth, jmp_buf where, int value) {
    char kept[64]; /* a frame of its own */
    memset(kept, depth, sizeof kept);
    if (depth == 0)
        longjmp(where, value);
    jump_from(depth - 1, where, value);
    printf("not here %d\n", kept[depth % 64]);
}

static void values(void) {
    static const int given[] = {1, 0, -1, 2147483647};
    for (volatile int i = 0; i < 4; i++) {
        int got = setjmp(outer);
        if (got == 0)
            jump_from(i, outer, given[i]);
        printf("longjmp %d: setjmp %d\n", given[i], got);
    }
}

static void places_in_one_function(void) {
    volatile int visits = 0;
    for (volatile int i = 0; i < 4; i++)
        if (setjmp(places[i]) != 0)
            printf("the loop's place, %d\n", i);
    if (setjmp(outer) != 0)
        printf("outer, after %d\n", visits);
    if (setjmp(inner) != 0)
        printf("inner, after %d\n", visits);
    visits++;
    if (visits == 1)
        jump_from(3, outer, 1);
    if (visits == 2)
        jump_from(0, inner, 1);
    if (visits == 3)
        jump_from(1, places[2], 1);
}

__attribute__((noinline)) static void pass_on(int depth, jmp_buf above) {
    jmp_buf mine;
    if (setjmp(mine) != 0) {
        printf("passed on at %d\n", depth);
        longjmp(above, depth + 1);
    }
    if (depth == 0)
        longjmp(mine, 1);
    pass_on(depth - 1, mine);
}

/* Frames of the same function: the jump finds the one that called setjmp(). */
__attribute__((noinline)) static int recurse(int depth, int target) {
    if (setjmp(places[depth]) != 0)
        return depth * 100;
    if (depth == 3)
        longjmp(places[target], 1);
    return recurse(depth + 1, target) + 1;
}

static long long often(void) {
    volatile long long sum = 0;
    for (volatile int i = 0; i < 100000; i++) {
        int got = setjmp(outer);
        if (got == 0)
            jump_from(i % 6, outer, i + 1);
        sum += got;
    }
    return sum;
}

int main(void) {
    values();
    places_in_one_function();
    int got = setjmp(outer);
    if (got == 0)
        pass_on(3, outer);
    printf("passed on: %d\n", got);
    for (volatile int target = 0; target < 4; target++)
        printf("recursion to %d: %d\n", target, recurse(0, target));
    printf("often: %lld\n", often());
    return 0;
}
