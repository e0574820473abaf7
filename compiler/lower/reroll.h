/*
 * compiler/lower/reroll.h: internal header of reroll*.c, which turn loops that the guest's compiler
 * unrolled into loops of one round again. LLVM vectorises those without shuffles.
 *
 * A candidate is a loop of one block. The code of one iteration must be `rounds` times the same
 * code. "Image" means the same value one round later: each instruction of a round has an image in
 * the next round. An image has the same operation, and its operands are the images of the operands.
 * The operands that count are compared as linear forms instead.
 *
 *   reroll.c        finds loops, keeps those that are worth it
 *   reroll_forms.c  counters, and addresses made of them
 *   reroll_match.c  finds the images
 *   reroll_check.c  decides whether the images make the loop `rounds` equal parts: the only place
 *                   on which correctness rests, together with the guards of reroll_build.c
 *   reroll_build.c  makes the new loop, beside the old one
 */
#ifndef COMPILER_REROLL_H
#define COMPILER_REROLL_H

#include "lower.h"

/* A longer block is left alone. Searches take a time of this number squared. */
#define REROLL_VALUES_MAX 256
#define REROLL_TERMS_MAX 3
#define REROLL_OPERANDS_MAX 3
#define REROLL_ROUNDS_MAX 16
#define REROLL_SPANS_MAX 8
#define REROLL_EQUALS_MAX 8
#define REROLL_NONE (-1)

/* The sum of `offset` and the terms, modulo 2^width. A term's value is a counter (a phi to which
 * each iteration adds a constant) or does not change in the loop. */
struct reroll_form {
    bool is_linear;
    unsigned width; /* 32 or 64 */
    unsigned bits;  /* only so many low bits are right; less than width in parts of a form only */
    uint64_t offset;
    uint64_t step; /* what an iteration of the unrolled loop adds */
    uint32_t terms_count;
    struct reroll_term {
        LLVMValueRef value;
        uint64_t factor;
    } terms[REROLL_TERMS_MAX];
};

/* base + index + offset. The index is a form of 64 bits, or a zero-extended one of 32 bits. */
struct reroll_place {
    bool is_known;
    LLVMValueRef base;
    int form; /* the instruction whose form is the index; REROLL_NONE: there is none */
    bool is_extended;
    uint64_t offset;
};

enum reroll_kind {
    REROLL_COUNTER, /* a phi */
    REROLL_CARRIED, /* any other phi */
    REROLL_FORM,    /* a linear form: compared, and made anew */
    REROLL_PLACE,   /* the same, of an address */
    REROLL_PLAIN,   /* everything that has an image */
    REROLL_LOAD,
    REROLL_STORE,
    REROLL_CONTROL /* the exit's comparison and branch */
};

struct reroll_value {
    LLVMValueRef value;
    LLVMOpcode opcode;
    enum reroll_kind kind;
    uint32_t operands_count;
    LLVMValueRef operands[REROLL_OPERANDS_MAX];
    int operand_idx[REROLL_OPERANDS_MAX]; /* in the block; REROLL_NONE: outside */
    struct reroll_form form;
    struct reroll_place place;
    LLVMValueRef start; /* of a phi */
    int latch;          /* of a carried phi: the value for the next iteration */
    int image;
    bool is_head; /* belongs to the first round */
};

/* Indices of 32 bits with equal terms, which must not wrap: forms with offsets from that of `form`
 * + low to that + high. */
struct reroll_span {
    int form;
    int64_t low, high;
    LLVMValueRef first; /* reroll_build.c: i64, the index at `low` when the loop begins */
    LLVMValueRef index; /* the same in the new loop */
};

/* The place of `b` is that of `a` one round later, if it is when the loop begins. */
struct reroll_equal {
    int a, b;
};

struct reroll {
    struct lower_module *lm;
    LLVMBasicBlockRef block, entry, exit; /* entry: the block before the loop */
    LLVMValueRef branch;
    int exit_form; /* the loop ends when this form equals `bound` */
    LLVMValueRef bound;
    uint32_t rounds;
    uint32_t count;
    struct reroll_value values[REROLL_VALUES_MAX];
    struct reroll_equal equals[REROLL_EQUALS_MAX];
    uint32_t equals_count;
    struct reroll_span spans[REROLL_SPANS_MAX];
    uint32_t spans_count;
};

/* The index of a value in the block. */
int reroll_find(const struct reroll *loop, LLVMValueRef value);

/* reroll_forms.c */
void reroll_form_read(struct reroll *loop, struct reroll_value *value);
void reroll_place_read(struct reroll *loop, struct reroll_value *value);
bool reroll_forms_alike(const struct reroll_form *a, const struct reroll_form *b);
/* What one round adds to a form, as a signed number; false: there is no such number. */
bool reroll_round_step(const struct reroll *loop, const struct reroll_form *form, int64_t *ret);
int64_t reroll_signed(const struct reroll_form *form, uint64_t number);
/* Is `b` one round later than `a`? `may_ask`: if need be, a condition is added to `equals`. */
bool reroll_forms_follow(const struct reroll *loop, int a, int b);
bool reroll_places_follow(struct reroll *loop, int a, int b, bool may_ask);
/* The span of a place's index; NULL: too many. It grows if it has to. */
struct reroll_span *reroll_span_of(struct reroll *loop, int form);

/* reroll_match.c: tries to find all images for loop->rounds. */
bool reroll_match(struct reroll *loop);
/* Is `b` the same operation as `a`, on the images of its operands? */
bool reroll_is_image(struct reroll *loop, int a, int b, bool may_ask);

/* reroll_check.c: are the rounds equal, and does their order not matter? Marks the heads. */
bool reroll_check(struct reroll *loop);
/* The head whose value in the last round it is, or REROLL_NONE. */
int reroll_last_of(const struct reroll *loop, int value);
/* The value `rounds` later, or REROLL_NONE. */
int reroll_later(const struct reroll *loop, int value, uint32_t rounds);
bool reroll_used_outside(const struct reroll *loop, LLVMValueRef value);

/* reroll_build.c: rewrites the loop. Returns false, and nothing has changed, if it would never be
 * used. */
bool reroll_build(struct reroll *loop);

#endif
