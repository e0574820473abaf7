/* tests/apps/simd/intrinsics/nmmintrin.h: x86 intrinsics, which SIMDe makes of wasm's SIMD. */
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/sse4.2.h>
