/*
 * compiler/lower/lower_identity.c: see lower_identity.h. A vector of 64 or 128 bits is looked at in
 * words of 64 bits, each as one double and as two floats, because a vector's type says nothing
 * about what its lanes are used for.
 */
#include "lower_identity.h"

#include <string.h>

LLVMTypeRef lower_lane_of(LLVMValueRef value) {
    LLVMTypeRef type = LLVMTypeOf(value);
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
}

bool lower_is_float(LLVMValueRef value) {
    LLVMTypeKind kind = LLVMGetTypeKind(lower_lane_of(value));
    return kind == LLVMFloatTypeKind || kind == LLVMDoubleTypeKind;
}

bool lower_is_vector(LLVMValueRef value) {
    return LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMVectorTypeKind;
}

/* A constant's bits, as a number of that many bits; 0 bits: neither an integer nor a float. */
static unsigned constant_bits(struct lower_module *lm, LLVMValueRef value, uint64_t *ret_bits) {
    if (LLVMIsAConstantFP(value) != NULL)
        value = LLVMConstBitCast(value, LLVMTypeOf(value) == lm->f32 ? lm->i32 : lm->i64);
    if (LLVMIsAConstantInt(value) == NULL)
        return 0;
    *ret_bits = LLVMConstIntGetZExtValue(value);
    return LLVMGetIntTypeWidth(LLVMTypeOf(value));
}

unsigned lower_lane_bits(LLVMTypeRef lane) {
    if (LLVMGetTypeKind(lane) == LLVMFloatTypeKind)
        return 32;
    return LLVMGetTypeKind(lane) == LLVMDoubleTypeKind ? 64 : LLVMGetIntTypeWidth(lane);
}

unsigned lower_constant_words(struct lower_module *lm, LLVMValueRef constant,
                              uint64_t ret_words[2]) {
    uint64_t words[2] = {0}, bits;
    if (!LLVMIsConstant(constant) || !lower_is_vector(constant) || LLVMIsUndef(constant))
        return 0;
    unsigned width = lower_lane_bits(lower_lane_of(constant));
    unsigned total = width * LLVMGetVectorSize(LLVMTypeOf(constant));
    if (width < 8 || (total != 64 && total != 128))
        return 0;
    for (unsigned i = 0; i < total / width; i++) {
        LLVMValueRef lane = LLVMGetAggregateElement(constant, i);
        if (lane == NULL || constant_bits(lm, lane, &bits) != width)
            return 0;
        words[i * width / 64] |= bits << i * width % 64;
    }
    memcpy(ret_words, words, sizeof words);
    return total / 64;
}

/* Of an f32: +-0, or +-1, or at most 8 digits (binary). */
static bool is_identity32(uint64_t bits, enum identity identity) {
    if (identity == IDENTITY_PART)
        return (bits & 0xffff) == 0;
    return (bits & 0x7fffffff) == (identity == IDENTITY_ZERO ? 0 : 0x3f800000);
}

static bool is_identity64(uint64_t bits, enum identity identity) {
    if (identity == IDENTITY_PART)
        return (bits & 0x1fffffffffff) == 0;
    return (bits & 0x7fffffffffffffff) == (identity == IDENTITY_ZERO ? 0 : 0x3ff0000000000000);
}

static bool word_is_identity(uint64_t bits, enum identity identity) {
    return is_identity64(bits, identity) || is_identity32(bits & 0xffffffff, identity) ||
           is_identity32(bits >> 32, identity);
}

bool lower_is_identity(struct lower_module *lm, LLVMValueRef constant, enum identity identity) {
    uint64_t words[2];
    if (lower_is_vector(constant)) {
        unsigned count = lower_constant_words(lm, constant, words);
        return (count > 0 && word_is_identity(words[0], identity)) ||
               (count > 1 && word_is_identity(words[1], identity));
    }
    unsigned width = constant_bits(lm, constant, words);
    return width == 32 ? is_identity32(words[0], identity)
                       : width == 64 && is_identity64(words[0], identity);
}

static bool is_nan32(uint64_t bits) {
    return (bits & 0x7fffffff) > 0x7f800000;
}

bool lower_may_be_nan(struct lower_module *lm, LLVMValueRef constant) {
    uint64_t words[2];
    if (lower_is_vector(constant)) {
        unsigned count = lower_constant_words(lm, constant, words);
        for (unsigned i = 0; i < count; i++)
            if ((words[i] & 0x7fffffffffffffff) > 0x7ff0000000000000 ||
                is_nan32(words[i] & 0xffffffff) || is_nan32(words[i] >> 32))
                return true;
        return count == 0 && !LLVMIsUndef(constant);
    }
    LLVMBool loses;
    double number = LLVMIsAConstantFP(constant) ? LLVMConstRealGetDouble(constant, &loses) : 0;
    return number != number;
}

bool lower_holds_identity(struct lower_module *lm, LLVMValueRef constant, enum identity identity) {
    uint64_t bits;
    if (lower_is_vector(constant))
        return lower_is_identity(lm, constant, identity);
    unsigned width = constant_bits(lm, constant, &bits);
    if (width == 64)
        return word_is_identity(bits, identity);
    return width == 32 && is_identity32(bits, identity);
}

/* The integers 0, 1 and -1, of any width: all have such a byte. */
static bool word_holds_integer(uint64_t word, enum identity identity) {
    for (unsigned shift = 0; shift < 64; shift += 8) {
        uint8_t byte = word >> shift & 0xff;
        if (identity == IDENTITY_ZERO ? byte == 0
                                      : identity == IDENTITY_ONE && (byte == 1 || byte == 0xff))
            return true;
    }
    return false;
}

bool lower_holds_integer(struct lower_module *lm, LLVMValueRef constant, enum identity identity) {
    uint64_t words[2] = {0};
    if (lower_is_vector(constant)) {
        unsigned count = lower_constant_words(lm, constant, words);
        return (count > 0 && word_holds_integer(words[0], identity)) ||
               (count > 1 && word_holds_integer(words[1], identity));
    }
    unsigned width = constant_bits(lm, constant, words);
    uint64_t minus_one = width >= 64 ? UINT64_MAX : ((uint64_t)1 << width) - 1;
    return width != 0 && (identity == IDENTITY_ZERO ? words[0] == 0
                                                    : identity == IDENTITY_ONE &&
                                                          (words[0] == 1 || words[0] == minus_one));
}
