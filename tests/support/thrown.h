/* tests/support/thrown.h: the exception that ended a lab's last call. The functions end the test on
 * failure. */
#ifndef TESTS_SUPPORT_THROWN_H
#define TESTS_SUPPORT_THROWN_H

#include "wat.h"

static inline struct husk_exception_info exception_of(struct wat_lab *lab) {
    struct husk_exception_info info = HUSK_EXCEPTION_INFO_INIT;
    CHECK_EQ_U64(lab->outcome.kind, HUSK_THREW);
    CHECK_OK(husk_sandbox_exception(lab->sandbox, &info, &lab->err), lab->err);
    return info;
}

static inline void check_no_exception(struct wat_lab *lab) {
    struct husk_exception_info info = HUSK_EXCEPTION_INFO_INIT;
    CHECK_STATUS(husk_sandbox_exception(lab->sandbox, &info, &lab->err), HUSK_E_NOT_FOUND);
    CHECK(info.values == NULL && info.size == sizeof info);
}

static inline husk_tag tag_of(struct wat_lab *lab, const char *name) {
    husk_tag tag;
    CHECK_OK(husk_image_tag(lab->image, name, 0, &tag, &lab->err), lab->err);
    return tag;
}

#endif
