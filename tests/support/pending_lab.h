/*
 * tests/support/pending_lab.h: a guest whose host function env.ask(i32) -> i32 is pending, and what
 * suites about pending calls do with it.
 */
#ifndef TESTS_SUPPORT_PENDING_LAB_H
#define TESTS_SUPPORT_PENDING_LAB_H

#include "wat.h"

struct pending_lab {
    struct wat_lab wat;
    int asked;          /* how often */
    int32_t last;       /* what was asked */
    bool has_answer;    /* at once, ten times the argument; else it is pending */
    unsigned sleeps_ms; /* before that */
    const char *nests;  /* call this export with the argument first */
    int nested_status;  /* of that */
    struct husk_outcome nested;
    void (*hook)(struct pending_lab *lab, husk_sandbox *sandbox); /* or NULL; called first */
};

/* Exports: "ask" (x: ask(x) + 1), "twice" (x: ask(x) + ask(x + 1)), "keep" (x: stores x, asks,
 * loads it), "double" (x), "spin" (x), "work" (x: so many rounds, and x); for husk_call_bytes()
 * "malloc" and "echo" (the output is the start of the input; asks for its length with that of the
 * input + 100); a memory, a global "g", a table "t". `more`: module fields; NULL: none. */
void pending_lab_open(struct pending_lab *lab, const char *more);
void pending_lab_close(struct pending_lab *lab);

/* All are (i32) -> i32. Returns the status; -1 stays in *result if it was not written. */
int pending_call(struct pending_lab *lab, const char *name, int32_t argument,
                 const struct husk_limits *limits, int32_t *ret_result);
/* Answer with a number. */
int pending_resume(struct pending_lab *lab, int32_t answer, int32_t *ret_result);
/* Must be pending, with this as what was asked. */
void pending_check(struct pending_lab *lab, int32_t asked);
/* Must return this. */
void pending_returns(struct pending_lab *lab, int32_t answer, int32_t expected);

#endif
