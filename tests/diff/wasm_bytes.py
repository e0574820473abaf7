"""tests/diff/wasm_bytes.py: bytes of WebAssembly, for gen-loops. A value is its code."""

I32, I64 = 0x7F, 0x7E

OPS = {  # of i32 and i64
    "eqz": (0x45, 0x50),
    "eq": (0x46, 0x51),
    "ne": (0x47, 0x52),
    "lt_s": (0x48, 0x53),
    "lt_u": (0x49, 0x54),
    "gt_s": (0x4A, 0x55),
    "gt_u": (0x4B, 0x56),
    "le_s": (0x4C, 0x57),
    "le_u": (0x4D, 0x58),
    "ge_s": (0x4E, 0x59),
    "ge_u": (0x4F, 0x5A),
    "add": (0x6A, 0x7C),
    "sub": (0x6B, 0x7D),
    "mul": (0x6C, 0x7E),
    "rem_u": (0x70, 0x82),
    "and": (0x71, 0x83),
    "or": (0x72, 0x84),
    "xor": (0x73, 0x85),
    "shl": (0x74, 0x86),
    "shr_s": (0x75, 0x87),
    "shr_u": (0x76, 0x88),
    "rotl": (0x77, 0x89),
    "extend8_s": (0xC0, 0xC2),
    "extend16_s": (0xC1, 0xC3),
}
LOADS = {
    I32: ((0x28, 4), (0x2C, 1), (0x2D, 1), (0x2E, 2), (0x2F, 2)),
    I64: ((0x29, 8), (0x31, 1), (0x33, 2), (0x34, 4), (0x35, 4)),
}
STORES = {I32: ((0x36, 4), (0x3A, 1), (0x3B, 2)), I64: ((0x37, 8), (0x3C, 1), (0x3D, 2), (0x3E, 4))}


def uleb(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def sleb(number):
    out = bytearray()
    while not -64 <= number < 64:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number & 0x7F)
    return bytes(out)


def bits_of(kind):
    return 32 if kind == I32 else 64


def signed(number, bits):
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> (bits - 1) else number


def const(kind, number):
    return (b"\x41" if kind == I32 else b"\x42") + sleb(signed(number, bits_of(kind)))


def op(name, kind, *operands):
    return b"".join(operands) + bytes([OPS[name][kind == I64]])


def get(local):
    return b"\x20" + uleb(local)


def put(local, value):
    return value + b"\x21" + uleb(local)


def convert(value, kind, wanted, is_signed=False):
    if kind == wanted:
        return value
    return value + (b"\xa7" if wanted == I32 else b"\xac" if is_signed else b"\xad")


def access(code, align_log2, offset, *operands):
    return b"".join(operands) + bytes([code]) + uleb(align_log2) + uleb(offset)


def if_else(condition, then, otherwise=b""):
    return condition + b"\x04\x40" + then + (b"\x05" + otherwise if otherwise else b"") + b"\x0b"


def select(kind, first, second, condition):
    return first + second + condition + b"\x1b"


def section(number, items):
    body = uleb(len(items)) + b"".join(items)
    return bytes([number]) + uleb(len(body)) + body
