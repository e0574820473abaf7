/* tests/apps/simd/intrinsics/emmintrin.h: x86 intrinsics, which SIMDe makes of wasm's SIMD. */
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/sse2.h>
