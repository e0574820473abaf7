"""
Makes the plan of a module's run: what is imported, what is watched, and the calls. Every engine reads it and follows it line by line:

    import N func PARAMS RESULTS | memory MIN MAX [shared] | table TYPE MIN MAX | global mut|const TYPE:BITS
    watch memory|global|tables EXPORT-INDEX [TYPE]
    fresh                                          the next call gets a new instance
    call EXPORT-INDEX STUB-SEED RESULTS ARGUMENT…  an argument is TYPE:BITS, bits in hexadecimal, or null

V8's run tells which calls leave a state behind that other engines need not have. The plan for those has other verbs there; a new instance
follows after each. `last`: a call like any other. `beyond`: it left its memory; a short time limit where levels may miss that, because the call may
then do anything. `try`: a short time limit everywhere. `skip`: it is not run.

PARAMS and RESULTS are types with commas between, or - for none. Everything is a function of the module and the seed.
"""
import json
import random
import struct
import urllib.parse

import wasm_module as wasm

CALLS_MAX = 1200
# Bytes of memory that one engine may hash for one module: it is hashed after every call.
HASHED_BYTES_MAX = 3 << 30
STARTERS = (b"_initialize", b"__wasm_call_ctors", b"_start", b"__wbindgen_start", b"_init", b"init")

INTEGERS = [0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 100, 255, 256, 257, 1000, 1024, 4096, 65535, 65536, 65537]
INTEGERS += [0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFF00, 0xFFFF0000]
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, 3.14159, 100.0, -1000.25, 65536.0, 2147483647.0, 2147483648.0, -2147483649.0]
FLOATS += [4294967296.0, 1e10, 9223372036854775808.0, 1e-30, 1e30, float("inf"), float("-inf"), float("nan")]


def literal(kind, bits):
    return f"{wasm.TYPE_NAMES[kind]}:{bits:#x}"


def type_list(kinds):
    return ",".join(wasm.TYPE_NAMES[kind] for kind in kinds) or "-"


def zero(kind):
    return "null" if kind in (wasm.FUNCREF, wasm.EXTERNREF) else literal(kind, 0)


def float_bits(kind, value):
    if value != value:
        return 0x7FC00000 if kind == wasm.F32 else 0x7FF8000000000000
    if kind == wasm.F32:
        return struct.unpack("<I", struct.pack("<f", value))[0]
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def random_integer(rng, bits, memory_bytes):
    choice = rng.randrange(6)
    if choice == 0 and memory_bytes:
        return rng.randrange(memory_bytes) & ~7
    if choice == 1:
        return rng.getrandbits(bits)
    if choice == 2:
        return rng.randrange(64)
    if choice == 3 and bits == 64:
        return (1 << rng.randrange(64)) - rng.randrange(3) & (1 << 64) - 1
    return rng.choice(INTEGERS)


def random_value(rng, kind, memory_bytes):
    if kind == wasm.FUNCREF:
        return "null"
    if kind == wasm.EXTERNREF:
        return rng.choice(["null", f"externref:{rng.randrange(1, 9):#x}"])
    if kind in (wasm.F32, wasm.F64):
        value = rng.choice(FLOATS) if rng.randrange(2) else rng.randrange(-100000, 100000) / 64
        return literal(kind, float_bits(kind, value))
    return literal(kind, random_integer(rng, 32 if kind == wasm.I32 else 64, memory_bytes))


class Plan:
    def __init__(self, module, with_globals):
        self.module = module
        self.lines = []
        self.pages = sum(memory.low for memory in module.memories)
        self.put = None
        self.names = {i: name for i, (name, _, _) in enumerate(module.exports)}
        self._imports()
        self._watches(with_globals)

    def _imports(self):
        for i, (kind, detail) in enumerate(self.module.capped_imports()):
            if kind == wasm.FUNC:
                params, results = self.module.types[detail]
                if wasm.V128 in params + results:
                    raise wasm.Unreadable("an import that takes or gives a v128, which JavaScript has not")
                text = f"func {type_list(params)} {type_list(results)}"
            elif kind == wasm.TABLE:
                text = f"table {wasm.TYPE_NAMES[detail[0]]} {detail[1][0]} {detail[1][1]}"
            elif kind == wasm.MEMORY:
                text = f"memory {detail.low} {detail.high}" + (" shared" if detail.flags & wasm.SHARED else "")
            else:
                text = f"global {'mut' if detail[1] else 'const'} {self._imported_global(detail[0])}"
            self.lines.append(f"import {i} {text}")

    def _imported_global(self, kind):
        """A place in the middle of the memory, for modules that are told where their stack or data is."""
        middle = self.pages * 65536 // 2
        return literal(kind, middle) if kind in (wasm.I32, wasm.I64) else zero(kind)

    def _watches(self, with_globals):
        idx = len(self.module.exports)
        for _ in self.module.memories:
            self.lines.append(f"watch memory {idx}")
            idx += 1
        for i in self.module.watched_globals() if with_globals else []:
            self.lines.append(f"watch global {idx} {wasm.TYPE_NAMES[self.module.globals[i][0]]}")
            idx += 1
        if self.module.tables:
            self.lines.append(f"watch tables {idx}")
            idx += 1
        if self.module.memories:
            self.put = idx
            self.names[idx] = wasm.PUT.encode()

    def callable_exports(self):
        """(export index, parameter types) of the functions that JavaScript can call, too."""
        result = []
        for i, (_, kind, func) in enumerate(self.module.exports):
            if kind == wasm.FUNC and not self.names[i].startswith(wasm.ENTRY.encode()):
                params, results = self.module.types[self.module.funcs[func]]
                if wasm.V128 not in params + results:
                    result.append((i, params))
        return result

    def calls_by_seed(self, seed):
        """Starters, then every export with zeros; a fresh instance, the starters, and every export with random values and stubs."""
        rng = random.Random(seed)
        exports = self.callable_exports()
        starters = [e for e in exports if self.names[e[0]] in STARTERS]
        most = min(CALLS_MAX, HASHED_BYTES_MAX // max(1, self.pages * 65536)) // 2
        if len(exports) > most:
            exports = sorted(rng.sample(exports, most))
        memory_bytes = self.pages * 65536
        for idx, params in starters + [e for e in exports if e not in starters]:
            self.call(idx, 0, [zero(kind) for kind in params])
        self.lines.append("fresh")
        for idx, params in starters:
            self.call(idx, 0, [zero(kind) for kind in params])
        for idx, params in [e for e in exports if e not in starters]:
            self.call(idx, rng.getrandbits(31) | 1, [random_value(rng, kind, memory_bytes) for kind in params])

    def calls_by_list(self, text):
        """Lines `NAME [seed:N] ARGUMENT…`, or `fresh`. Arguments are like i32:300, f64:0.5, f64:0x3ff0000000000000 (bits), null. A name is
        written as in a URL where it has spaces or other unusual characters. Calls of what is not exported are left out. `text ADDRESS JSON`
        writes a text (in JSON) and a NUL to the first memory; up to 7 bytes behind them become 0, too; `bytes ADDRESS HEX` does so with bytes. The
        name diff:entry:N is the function at place N of the first table (entries_of()). Lines that begin with # say something."""
        idx_of = {name: i for i, name in self.names.items()}
        for line in text.splitlines():
            words = line.split()
            name = urllib.parse.unquote_to_bytes(words[0]) if words else None
            if words == ["fresh"]:
                self.lines.append("fresh")
            elif words and words[0] == "text":
                self.write(int(words[1], 0), json.loads(line.split(None, 2)[2]).encode() + b"\0")
            elif words and words[0] == "bytes":
                self.write(int(words[1], 0), bytes.fromhex(words[2]))
            elif name in idx_of:
                seed = int(words.pop(1)[len("seed:") :]) if words[1:] and words[1].startswith("seed:") else 0
                self.call(idx_of[name], seed, [parsed(word) for word in words[1:]])

    def as_list(self):
        """The calls as calls_by_list() reads them; one line a step."""
        lines = []
        for line in self.lines:
            words = line.split()
            if words[0] == "call":
                name = urllib.parse.quote(self.names[int(words[1])], safe="$_.-+/")
                lines.append(" ".join([name, f"seed:{words[2]}", *words[4:]]))
            elif words[0] == "fresh":
                lines.append("fresh")
        return lines

    def write(self, address, data):
        for at in range(0, len(data), 8):
            number = int.from_bytes(data[at : at + 8], "little")
            self.call(self.put, 0, [literal(self.module.address_type(), address + at), literal(wasm.I64, number)])

    def call(self, idx, seed, args):
        _, results = ((), ()) if idx == self.put else self.module.types[self.module.funcs[self.module.exports[idx][2]]]
        self.lines.append(" ".join(["call", str(idx), str(seed), type_list(results), *args]))


def entries_of(text):
    """The places in the first table that a list of calls names."""
    names = [urllib.parse.unquote(line.split()[0]) for line in text.splitlines() if line.strip()]
    return sorted({int(name[len(wasm.ENTRY) :]) for name in names if name.startswith(wasm.ENTRY)})


def parsed(word):
    """An argument as people write it, as the plan has it."""
    if word == "null":
        return word
    name, text = word.split(":")
    kind = {v: k for k, v in wasm.TYPE_NAMES.items()}[name]
    if kind in (wasm.F32, wasm.F64) and not text.startswith("0x"):
        return literal(kind, float_bits(kind, float(text)))
    return literal(kind, int(text, 0) & ((1 << 64) - 1 if kind in (wasm.I64, wasm.F64) else (1 << 32) - 1))


INEXACT = {"memory": "beyond", "stack": "try", "timeout": "skip"}


def annotated(plan_text, v8_ends, in_bounds):
    """The plan for the engines after V8. v8_ends: step to the kind of trap that ended it."""
    lines, step = [], -1
    for line in plan_text.splitlines():
        verb, _, rest = line.partition(" ")
        if verb not in ("import", "watch"):
            step += 1
            end = v8_ends.get(step)
            if verb == "call" and end in INEXACT:
                verb = "last" if end == "memory" and in_bounds else INEXACT[end]
        lines.append(f"{verb} {rest}".strip())
    return "\n".join(lines) + "\n"
