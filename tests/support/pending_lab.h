/*
 * tests/support/pending_lab.h: a guest whose host function env.ask(i32) -> i32 is pending, and
 * helpers for the suites about pending calls.
 */
#ifndef TESTS_SUPPORT_PENDING_LAB_H
#define TESTS_SUPPORT_PENDING_LAB_H

#include "wat.h"

struct pending_lab {
    struct wat_lab wat;
    int asked;          /* number of calls of env.ask */
    int32_t last;       /* its last argument */
    bool has_answer;    /* it answers at once with ten times the argument; else it is pending */
    unsigned sleeps_ms; /* time that it sleeps before it answers or is pending */
    const char *nests;  /* first it calls this export with the argument */
    int nested_status;  /* status of that call */
    struct husk_outcome nested;
    void (*hook)(struct pending_lab *lab, husk_sandbox *sandbox); /* called first; may be NULL */
};

/* Exports: "ask" (x: ask(x) + 1), "twice" (x: ask(x) + ask(x + 1)), "keep" (x: stores x, asks,
 * loads it), "double" (x), "spin" (x), "work" (x: so many rounds, and x); for husk_call_bytes()
 * "malloc" and "echo" (the output is the start of the input; asks for its length with that of the
 * input + 100); a memory, a global "g", a table "t". `more`: module fields; NULL: none. */
void pending_lab_open(struct pending_lab *lab, const char *more);
void pending_lab_close(struct pending_lab *lab);

/* Call an export, all of which are (i32) -> i32. Returns the status. *ret_result is -1 if it was
 * not written. */
int pending_call(struct pending_lab *lab, const char *name, int32_t argument,
                 const struct husk_limits *limits, int32_t *ret_result);
/* husk_call_many() of "ask" with 1 and 2; it becomes pending at the first. */
void pending_call_many(struct pending_lab *lab, struct husk_value results[2]);
/* Resume the call with a number as the answer. */
int pending_resume(struct pending_lab *lab, int32_t answer, int32_t *ret_result);
/* Check that the call is pending, and that `asked` was the last argument. */
void pending_check(struct pending_lab *lab, int32_t asked);
/* Resume the call with an answer, and check that it returns `expected`. */
void pending_returns(struct pending_lab *lab, int32_t answer, int32_t expected);

#endif
