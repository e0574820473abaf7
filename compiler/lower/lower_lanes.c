/*
 * compiler/lower/lower_lanes.c: see lower_lanes.h. LLVM drops lanes that nothing reads, and with
 * them a load of which every lane is dropped. It is beside lower_strict.c, whose rules for scalars
 * it repeats for lanes.
 */
#include "lower_lanes.h"

#include "lower_identity.h"

/* How the bits of a mask lie in lanes: `group` bits each. */
struct shape {
    unsigned count, group;
};

static struct shape shape_of(LLVMValueRef vector) {
    unsigned bits = lower_lane_bits(lower_lane_of(vector));
    return (struct shape){LLVMGetVectorSize(LLVMTypeOf(vector)), bits < 8 ? 1 : bits / 8};
}

static uint64_t low_bits(unsigned count) {
    return count >= 64 ? UINT64_MAX : ((uint64_t)1 << count) - 1;
}

static uint64_t lane_bits_at(struct shape shape, unsigned lane) {
    return low_bits(shape.group) << lane * shape.group;
}

uint64_t lower_lanes_all(LLVMValueRef vector) {
    struct shape shape = shape_of(vector);
    return low_bits(shape.count * shape.group);
}

static uint64_t all_of(LLVMValueRef value) {
    if (lower_is_vector(value))
        return lower_lanes_all(value);
    LLVMTypeRef type = LLVMTypeOf(value);
    return LLVMGetTypeKind(type) == LLVMIntegerTypeKind ? low_bits(LLVMGetIntTypeWidth(type))
                                                        : UINT64_MAX;
}

/* Whole lanes of `to` where a bit of the same lane of `from` is set. */
static uint64_t lane_by_lane(uint64_t bits, struct shape from, struct shape to) {
    uint64_t result = 0;
    for (unsigned i = 0; i < from.count; i++)
        if ((bits & lane_bits_at(from, i)) != 0)
            result |= lane_bits_at(to, i);
    return result;
}

static uint64_t bytes_to_bits(uint64_t bytes) {
    uint64_t bits = 0;
    for (unsigned i = 0; i < 8; i++)
        if ((bytes >> i & 1) != 0)
            bits |= (uint64_t)0xff << 8 * i;
    return bits;
}

static uint64_t bits_to_bytes(uint64_t bits) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < 8; i++)
        if ((bits >> 8 * i & 0xff) != 0)
            bytes |= (uint64_t)1 << i;
    return bytes;
}

static uint64_t bitcast_bits(LLVMValueRef user, LLVMValueRef value, uint64_t bits) {
    bool is_from_vector = lower_is_vector(value), is_to_vector = lower_is_vector(user);
    if ((is_from_vector && lower_lane_bits(lower_lane_of(value)) < 8) ||
        (is_to_vector && lower_lane_bits(lower_lane_of(user)) < 8))
        return is_from_vector != is_to_vector ? bits : all_of(user);
    if (is_from_vector && is_to_vector)
        return bits;
    bool is_word = lower_lane_bits(LLVMTypeOf(is_from_vector ? user : value)) <= 64;
    if (!is_word)
        return all_of(user);
    return is_from_vector ? bytes_to_bits(bits) : bits_to_bytes(bits);
}

static uint64_t shuffle_bits(LLVMValueRef user, LLVMValueRef value, uint64_t bits) {
    struct shape from = shape_of(value), to = shape_of(user);
    uint64_t result = 0;
    for (unsigned i = 0; i < to.count; i++) {
        int source = LLVMGetMaskValue(user, i);
        if (source < 0)
            continue;
        bool is_second = (unsigned)source >= from.count;
        unsigned lane = (unsigned)source - (is_second ? from.count : 0);
        if (LLVMGetOperand(user, is_second ? 1 : 0) == value)
            result |= (bits >> lane * from.group & low_bits(from.group)) << i * to.group;
    }
    return result;
}

static uint64_t extract_bits(LLVMValueRef user, LLVMValueRef value, uint64_t bits) {
    LLVMValueRef idx = LLVMGetOperand(user, 1);
    if (!lower_is_vector(value) || LLVMIsAConstantInt(idx) == NULL)
        return all_of(user);
    struct shape shape = shape_of(value);
    uint64_t lane = bits >> LLVMConstIntGetZExtValue(idx) * shape.group & low_bits(shape.group);
    return shape.group == 1 && all_of(user) == 1 ? lane : bytes_to_bits(lane);
}

static uint64_t insert_bits(LLVMValueRef user, LLVMValueRef value, uint64_t bits) {
    LLVMValueRef idx = LLVMGetOperand(user, 2);
    if (LLVMIsAConstantInt(idx) == NULL)
        return all_of(user);
    struct shape shape = shape_of(user);
    unsigned lane = (unsigned)LLVMConstIntGetZExtValue(idx);
    if (lower_is_vector(value))
        return bits & ~lane_bits_at(shape, lane);
    return (bits_to_bytes(bits) & low_bits(shape.group)) << lane * shape.group;
}

/* The lane of a constant; false if there is none. */
static bool get_lane(LLVMValueRef vector, unsigned lane, uint64_t *ret_number) {
    LLVMValueRef number = LLVMIsConstant(vector) ? LLVMGetAggregateElement(vector, lane) : NULL;
    if (number == NULL || LLVMIsAConstantInt(number) == NULL)
        return false;
    *ret_number = LLVMConstIntGetZExtValue(number);
    return true;
}

/* One lane of an operation with the lane of a constant. */
static uint64_t with_constant(LLVMOpcode opcode, bool is_left, uint64_t bytes, uint64_t number,
                              uint64_t lane_bytes) {
    unsigned width = (unsigned)__builtin_popcountll(lane_bytes) * 8;
    uint64_t bits = bytes_to_bits(bytes);
    switch (opcode) {
    case LLVMAnd: return bits_to_bytes(bits & number);
    case LLVMOr: return bits_to_bytes(bits & ~number);
    case LLVMXor: return bytes;
    case LLVMMul: return number == 0 || bytes == 0 ? 0 : lane_bytes;
    case LLVMShl:
        if (is_left)
            return number < width ? bits_to_bytes(bits << number) & lane_bytes : 0;
        break;
    case LLVMLShr:
        if (is_left)
            return number < width ? bits_to_bytes(bits >> number) : 0;
        break;
    default: break;
    }
    return bytes != 0 ? lane_bytes : 0;
}

static bool is_bitwise(LLVMOpcode opcode) {
    return opcode == LLVMAnd || opcode == LLVMOr || opcode == LLVMXor;
}

static uint64_t binary_bits(LLVMValueRef user, LLVMValueRef value, uint64_t bits) {
    LLVMOpcode opcode = LLVMGetInstructionOpcode(user);
    LLVMValueRef left = LLVMGetOperand(user, 0), right = LLVMGetOperand(user, 1);
    struct shape shape = shape_of(user);
    uint64_t result = 0, number;
    if (left == right && (opcode == LLVMXor || opcode == LLVMSub))
        return 0;
    for (unsigned i = 0; i < shape.count; i++) {
        uint64_t lane = bits >> i * shape.group & low_bits(shape.group);
        if (get_lane(left == value ? right : left, i, &number))
            lane = with_constant(opcode, left == value, lane, number, low_bits(shape.group));
        else if (lane != 0 && !is_bitwise(opcode))
            lane = low_bits(shape.group);
        result |= lane << i * shape.group;
    }
    return result;
}

/* A comparison with the least or the greatest number may come out one way always. */
static bool is_decided(LLVMIntPredicate predicate, uint64_t number, unsigned width) {
    uint64_t sign = (uint64_t)1 << (width - 1);
    switch (predicate) {
    case LLVMIntULT:
    case LLVMIntUGE: return number == 0;
    case LLVMIntUGT:
    case LLVMIntULE: return number == low_bits(width);
    case LLVMIntSLT:
    case LLVMIntSGE: return number == sign;
    case LLVMIntSGT:
    case LLVMIntSLE: return number == sign - 1;
    default: return false;
    }
}

static LLVMIntPredicate swapped(LLVMIntPredicate predicate) {
    switch (predicate) {
    case LLVMIntULT: return LLVMIntUGT;
    case LLVMIntUGE: return LLVMIntULE;
    case LLVMIntUGT: return LLVMIntULT;
    case LLVMIntULE: return LLVMIntUGE;
    case LLVMIntSLT: return LLVMIntSGT;
    case LLVMIntSGE: return LLVMIntSLE;
    case LLVMIntSGT: return LLVMIntSLT;
    case LLVMIntSLE: return LLVMIntSGE;
    default: return predicate;
    }
}

static uint64_t compare_bits(LLVMValueRef user, LLVMValueRef value, uint64_t bits) {
    LLVMValueRef left = LLVMGetOperand(user, 0), right = LLVMGetOperand(user, 1);
    uint64_t result = lane_by_lane(bits, shape_of(value), shape_of(user)), number;
    if (LLVMIsAICmpInst(user) == NULL)
        return result;
    LLVMIntPredicate predicate = LLVMGetICmpPredicate(user);
    if (left == right)
        return 0;
    if (right == value)
        predicate = swapped(predicate);
    for (unsigned i = 0; i < shape_of(user).count; i++)
        if (get_lane(left == value ? right : left, i, &number) &&
            is_decided(predicate, number, lower_lane_bits(lower_lane_of(value))))
            result &= ~((uint64_t)1 << i);
    return result;
}

static uint64_t cast_bits(LLVMValueRef user, LLVMValueRef value, uint64_t bits, bool is_exact) {
    struct shape from = shape_of(value), to = shape_of(user);
    uint64_t result = 0;
    if (!is_exact)
        return lane_by_lane(bits, from, to);
    /* lower bytes stay, and others are cut off or are 0 */
    for (unsigned i = 0; i < from.count; i++) {
        uint64_t lane = bits >> i * from.group & low_bits(from.group);
        result |= (lane & low_bits(to.group)) << i * to.group;
    }
    return result;
}

static uint64_t select_bits(LLVMValueRef user, LLVMValueRef value, uint64_t bits) {
    if (LLVMGetOperand(user, 1) == LLVMGetOperand(user, 2) && LLVMGetOperand(user, 0) == value)
        return 0;
    if (LLVMGetOperand(user, 0) != value)
        return bits;
    return lower_is_vector(value) ? lane_by_lane(bits, shape_of(value), shape_of(user))
                                  : all_of(user);
}

uint64_t lower_lanes_result(LLVMValueRef user, LLVMValueRef value, uint64_t bits) {
    LLVMOpcode opcode = LLVMGetInstructionOpcode(user);
    bool is_same_type = LLVMTypeOf(user) == LLVMTypeOf(value);
    switch (opcode) {
    case LLVMPHI: return bits;
    case LLVMBitCast: return bitcast_bits(user, value, bits);
    case LLVMShuffleVector: return shuffle_bits(user, value, bits);
    case LLVMExtractElement: return extract_bits(user, value, bits);
    case LLVMInsertElement: return insert_bits(user, value, bits);
    case LLVMICmp:
    case LLVMFCmp: return compare_bits(user, value, bits);
    case LLVMSelect: return select_bits(user, value, bits);
    case LLVMZExt:
    case LLVMTrunc:
        return cast_bits(user, value, bits,
                         shape_of(value).group * 8 == lower_lane_bits(lower_lane_of(value)));
    case LLVMSExt:
    case LLVMFPExt:
    case LLVMFPTrunc:
    case LLVMSIToFP:
    case LLVMUIToFP: return cast_bits(user, value, bits, false);
    default: break;
    }
    if (LLVMIsABinaryOperator(user))
        return binary_bits(user, value, bits);
    if (is_same_type && bits != 0) /* FNeg, and intrinsics that work lane by lane */
        return lane_by_lane(bits, shape_of(value), shape_of(user));
    return bits != 0 ? all_of(user) : 0;
}
