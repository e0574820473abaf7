/*
 * tests/support/vcpu_attempts.h: a hostile image. Each export tries to change the vCPU's state from
 * ring 3; only "clean" does nothing. The image's first instruction is a host call (env.at_entry),
 * so the host can examine the vCPU as the next guest finds it. The code is in vcpu_attempts.S.
 */
#ifndef TESTS_SUPPORT_VCPU_ATTEMPTS_H
#define TESTS_SUPPORT_VCPU_ATTEMPTS_H

/* The parts of memory 0 that the attempts use. The host fills them before the call. */
/* byte: how the code ends if the attempt did not fault (enum attempt_ending) */
#define ATTEMPT_ENDING_GVA 0x40000000
#define ATTEMPT_GENERAL_GVA 0x40000100 /* 16 words for the general registers */
#define ATTEMPT_SCRATCH_GVA 0x40000400 /* zeros */
#define ATTEMPT_XSAVE_GVA 0x40001000   /* a valid XSAVE area for XRSTOR, full of noise */
#define ATTEMPT_XSAVE_BYTES 0x2000
#define ATTEMPT_OUT_GVA 0x40004000 /* for the stores of the attempts */

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
                      ENDING_SPIN, /* an endless loop, until the deadline */
                      ENDING_COUNT
};

struct attempt_row {
    uint32_t offset; /* of its code in the text */
    char name[28];
};

extern const uint8_t attempts_text[], attempts_text_end[], attempts_entry[], attempts_resume[],
    attempts_thunk[], attempts_clean[], attempts_stands[];
extern const struct attempt_row attempts_table[], attempts_table_end[];

/* Make the image file; the caller frees it. `tag` becomes part of the code, so images with
 * different tags are different modules. */
uint8_t *attempts_image_make(uint8_t tag, size_t *ret_count);
#endif

#endif
