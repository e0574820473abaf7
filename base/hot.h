/*
 * base/hot.h: where machine code lies. Right after an exit of the guest few of the host's lines and
 * pages are in the CPU's caches; the first instruction on a page takes 0.1 us then. So the
 * functions that every call and every restore runs are HOT: the linker puts them together, in the
 * order of host/CMakeLists.txt. They are to be short. A part that is needed only sometimes is a
 * function of its own: RARE, so that it is not inlined, or COLD, if it makes errors; then the
 * compiler also moves the branches to it out of the way.
 */
#ifndef BASE_HOT_H
#define BASE_HOT_H

#define HOT __attribute__((hot))
#define RARE __attribute__((noinline))
#define COLD __attribute__((cold))

#endif
