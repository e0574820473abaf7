/* tests/support/exception_place.h: the pending exception of guest_exception_build()'s image, for C
 * and for guest_code.S. */
#ifndef TESTS_SUPPORT_EXCEPTION_PLACE_H
#define TESTS_SUPPORT_EXCEPTION_PLACE_H

#define GUEST_EXCEPTION_GVA (0x20000000 + 0x100) /* in data (abi/layout.h) */

#endif
