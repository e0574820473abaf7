/* bench/kernels/interp.c: a small register machine that interprets a loop: one big switch,
 * unpredictable indirect jumps. */
#include "kernel.h"

enum op {
    OP_LOADI,
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_XOR,
    OP_SHR,
    OP_AND,
    OP_LOAD,
    OP_STORE,
    OP_JNZ,
    OP_JLT,
    OP_MOV,
    OP_HALT
};

struct instruction {
    uint8_t op, a, b, c;
    int32_t imm;
};

/* r0: rounds left; r1, r2: values; r3: inner counter; r4: 1; r5: address; r6: limit */
static const struct instruction program[] = {
    {OP_LOADI, 4, 0, 0, 1},
    {OP_LOADI, 6, 0, 0, 40},
    {OP_LOADI, 1, 0, 0, 12345},
    /* 3: outer */ {OP_LOADI, 3, 0, 0, 0},
    /* 4: inner */ {OP_LOADI, 2, 0, 0, 1103515},
    {OP_MUL, 1, 1, 2, 0},
    {OP_ADD, 1, 1, 3, 0},
    {OP_LOADI, 2, 0, 0, 7},
    {OP_SHR, 5, 1, 2, 0},
    {OP_LOADI, 2, 0, 0, 255},
    {OP_AND, 5, 5, 2, 0},
    {OP_LOAD, 7, 5, 0, 0},
    {OP_XOR, 7, 7, 1, 0},
    {OP_STORE, 7, 5, 0, 0},
    {OP_ADD, 3, 3, 4, 0},
    {OP_JLT, 0, 3, 6, 4},
    {OP_MOV, 8, 7, 0, 0},
    {OP_SUB, 0, 0, 4, 0},
    {OP_JNZ, 0, 0, 0, 3},
    {OP_HALT, 0, 0, 0, 0},
};

static uint32_t heap[256];

static uint32_t program_run(const struct instruction *code, uint32_t *r) {
    for (const struct instruction *at = code;;) {
        const struct instruction *i = at++;
        switch ((enum op)i->op) {
        case OP_LOADI: r[i->a] = (uint32_t)i->imm; break;
        case OP_ADD: r[i->a] = r[i->b] + r[i->c]; break;
        case OP_SUB: r[i->a] = r[i->b] - r[i->c]; break;
        case OP_MUL: r[i->a] = r[i->b] * r[i->c]; break;
        case OP_XOR: r[i->a] = r[i->b] ^ r[i->c]; break;
        case OP_SHR: r[i->a] = r[i->b] >> (r[i->c] & 31); break;
        case OP_AND: r[i->a] = r[i->b] & r[i->c]; break;
        case OP_LOAD: r[i->a] = heap[r[i->b] & 255]; break;
        case OP_STORE: heap[r[i->b] & 255] = r[i->a]; break;
        case OP_JNZ: at = r[i->a] != 0 ? code + i->imm : at; break;
        case OP_JLT: at = r[i->b] < r[i->c] ? code + i->imm : at; break;
        case OP_MOV: r[i->a] = r[i->b]; break;
        case OP_HALT: return r[8];
        }
    }
}

KERNEL(interp) {
    uint32_t registers[16] = {n};
    for (uint32_t i = 0; i < COUNT_OF(heap); i++)
        heap[i] = i * 2654435761u;
    uint64_t sum = sum_mix(SUM_START, program_run(program, registers));
    for (uint32_t i = 0; i < COUNT_OF(heap); i++)
        sum = sum_mix(sum, heap[i]);
    return sum;
}
