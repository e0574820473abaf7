/* The same as link_runtime_test.c for the variant with 32-byte vectors. */
#define HUSK_VECTOR 1
#include "link_runtime_test.c"
