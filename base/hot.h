/*
 * base/hot.h: where machine code lies. Right after an exit of the guest few of the host's lines and
 * pages are in the CPU's caches; the first instruction on a page takes 0.1 us then. So the
 * functions that every call and every restore runs are HOT: the linker puts them together, in the
 * order of host/CMakeLists.txt. They are to be short. A part that is needed only sometimes is a
 * function of its own: RARE, so that it is not inlined, or COLD, if it makes errors; then the
 * compiler also moves the branches to it out of the way.
 *
 * Branches cost more than instructions. After an exit the CPU may predict none: then each branch
 * that is taken costs 6 ns (AMD Zen 3), also a call, a return or a jump, and a line of code that
 * runs from start to end 3 ns. So a function that is FLAT contains all that it calls from its own
 * file, and LIKELY and UNLIKELY say which way lies straight on.
 */
#ifndef BASE_HOT_H
#define BASE_HOT_H

#define HOT __attribute__((hot))
#define RARE __attribute__((noinline))
#define COLD __attribute__((cold))
#define FLAT __attribute__((flatten))
#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#endif
