/* tests/apps/simd/intrinsics/immintrin.h: the x86 intrinsics that the programs use, which SIMDe makes of wasm's SIMD. */
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/sse4.1.h>
