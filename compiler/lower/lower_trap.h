/* compiler/lower/lower_trap.h: the trap kinds of abi/trap.def as constants for lowering. */
#ifndef COMPILER_LOWER_TRAP_H
#define COMPILER_LOWER_TRAP_H

enum lower_trap_kind {
#define HUSK_TRAP(name, number, message) TRAP_##name = (number),
#include "trap.def"
#undef HUSK_TRAP
};

#endif
