/*
 * tests/support/vcpu_attempts.h: a hostile image whose exports each try to change the vCPU's state
 * from ring 3, and one, "clean", that does nothing. Every call begins with a host call
 * (env.at_entry) as the image's first instruction, so that the host can look at the vCPU as the
 * next guest finds it. Written in vcpu_attempts.S.
 */
#ifndef TESTS_SUPPORT_VCPU_ATTEMPTS_H
#define TESTS_SUPPORT_VCPU_ATTEMPTS_H

/* What the attempts use of memory 0. The host fills it before the call. */
/* byte: how an attempt that survived ends (enum attempt_ending) */
#define ATTEMPT_ENDING_GVA 0x40000000
#define ATTEMPT_GENERAL_GVA 0x40000100 /* 16 words for the general registers */
#define ATTEMPT_SCRATCH_GVA 0x40000400 /* zeros */
#define ATTEMPT_XSAVE_GVA 0x40001000   /* an XSAVE area that XRSTOR takes, full of noise */
#define ATTEMPT_XSAVE_BYTES 0x2000
#define ATTEMPT_OUT_GVA 0x40004000 /* for what the attempts store */

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

enum attempt_ending { /* the order of vcpu_attempts.S */
                      ENDING_RETURN,
                      ENDING_TRAP,
                      ENDING_UD2,
                      ENDING_PORT,
                      ENDING_UNFINISHED_IN, /* a violation in the middle of an instruction */
                      ENDING_SINGLE_STEP,
                      ENDING_PAGE_FAULT,
                      ENDING_LOST_STACK,
                      ENDING_SPIN, /* until the deadline */
                      ENDING_COUNT
};

struct attempt_row {
    uint32_t offset; /* in the text */
    char name[28];
};

extern const uint8_t attempts_text[], attempts_text_end[], attempts_entry[], attempts_resume[],
    attempts_thunk[], attempts_clean[];
extern const struct attempt_row attempts_table[], attempts_table_end[];

/* The image file; the caller frees it. `tag` becomes part of the code: images of different tags are
 * different modules. */
uint8_t *attempts_image_make(uint8_t tag, size_t *ret_count);
#endif

#endif
