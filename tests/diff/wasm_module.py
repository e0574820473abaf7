"""
Reads the parts of a wasm binary that the differential tests need, and rewrites it so that every engine can run it alike:

- imports get names of their own, so that two with one name are told apart;
- memories and tables get a maximum, so that growing fails at the same size everywhere;
- every memory and every mutable number among the globals is exported, and a function is added that sums up the tables;
- a function is added that writes 8 bytes to the first memory, for calls that need a text;
- functions of the first table are exported that a list of calls names by their place there.

Code, data and element segments are copied as they are (core specification 2.0, section 5.5).
"""

from typing import NamedTuple, Optional

I32, I64, F32, F64, V128, FUNCREF, EXTERNREF, EXNREF = 0x7F, 0x7E, 0x7D, 0x7C, 0x7B, 0x70, 0x6F, 0x69
TYPE_NAMES = {I32: "i32", I64: "i64", F32: "f32", F64: "f64", V128: "v128", FUNCREF: "funcref", EXTERNREF: "externref", EXNREF: "exnref"}
FUNC, TABLE, MEMORY, GLOBAL = 0, 1, 2, 3

# How far memories and tables may grow beyond what they start with; and what they may start with (wasm pages, entries).
GROW_PAGES, GROW_ENTRIES = 128, 1000
PAGES_MAX = 4096

PREFIX = "diff:"
PUT = PREFIX + "put"
ENTRY = PREFIX + "entry:"  # and the place in the first table


HAS_MAX, SHARED, IS_64 = 1, 2, 4  # flags of limits


class Limits(NamedTuple):
    low: int
    high: Optional[int] = None
    flags: int = 0  # without HAS_MAX


class Unreadable(Exception):
    """The module is broken, or has something that this reader does not know."""


class Reader:
    """A cursor over bytes."""

    def __init__(self, data):
        self.data, self.pos = data, 0

    def at_end(self):
        return self.pos >= len(self.data)

    def byte(self):
        self.pos += 1
        if self.pos > len(self.data):
            raise Unreadable("unexpected end")
        return self.data[self.pos - 1]

    def take(self, count):
        self.pos += count
        if self.pos > len(self.data):
            raise Unreadable("unexpected end")
        return self.data[self.pos - count : self.pos]

    def leb(self):
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def name(self):
        return self.take(self.leb())

    def limits(self):
        flags = self.byte()
        if flags & ~(HAS_MAX | SHARED | IS_64):
            raise Unreadable(f"limits with flags {flags:#x}")
        low = self.leb()
        return Limits(low, self.leb() if flags & HAS_MAX else None, flags & ~HAS_MAX)

    def type(self):
        kind = self.byte()
        if kind not in TYPE_NAMES:
            raise Unreadable(f"type {kind:#x}")
        return kind

    def types(self):
        return [self.type() for _ in range(self.leb())]

    def skip_constant(self):
        """Over a constant expression, to behind its `end`."""
        while True:
            opcode = self.byte()
            if opcode == 0x0B:
                return
            if opcode in (0x41, 0x42, 0x23, 0xD2):  # i32.const, i64.const, global.get, ref.func
                self.leb()
            elif opcode == 0x43:
                self.take(4)
            elif opcode == 0x44:
                self.take(8)
            elif opcode == 0xD0:  # ref.null
                self.byte()
            elif opcode == 0xFD:  # v128.const
                self.leb()
                self.take(16)
            elif not 0x6A <= opcode <= 0x7E:  # arithmetic of extended constants
                raise Unreadable(f"opcode {opcode:#x} in a constant expression")


def leb(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed_leb(value):
    out = bytearray()
    while True:
        byte = value & 0x7F
        value >>= 7
        if (value == 0 and not byte & 0x40) or (value == -1 and byte & 0x40):
            out.append(byte)
            return bytes(out)
        out.append(byte | 0x80)


def name_bytes(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return leb(len(raw)) + raw


def vector(items):
    return leb(len(items)) + b"".join(items)


def limits_bytes(limits):
    if limits.high is None:
        return bytes([limits.flags]) + leb(limits.low)
    return bytes([limits.flags | HAS_MAX]) + leb(limits.low) + leb(limits.high)


def capped(limits, grow):
    return limits._replace(high=min(limits.low + grow, 65536 if limits.high is None else limits.high))


class Module:
    """types: (params, results); imports: (kind, detail); funcs: type indices, imported ones first; tables: (type, limits);
    memories: limits; globals: (type, is_mutable); exports: (name, kind, index)."""

    def __init__(self, data):
        self.types, self.imports, self.funcs, self.tables = [], [], [], []
        self.memories, self.globals, self.exports, self.sections = [], [], [], []
        self.own_funcs = []
        self.entries = {}  # of the first table: place to function, as far as segments with a constant place say
        self.has_start = False
        reader = Reader(data)
        if reader.take(8) != b"\0asm\1\0\0\0":
            raise Unreadable("not a wasm module of version 1")
        while not reader.at_end():
            number = reader.byte()
            payload = reader.take(reader.leb())
            self.sections.append((number, payload))
            self._read_section(number, Reader(payload))

    def _read_section(self, number, reader):
        parts = {1: self._type, 2: self._import, 3: self._function, 4: self._table, 5: self._memory, 6: self._global, 7: self._export}
        if number == 8:
            self.has_start = True
        if number in parts:
            for _ in range(reader.leb()):
                parts[number](reader)
        if number == 9:
            self._elements(reader)

    def _type(self, reader):
        if reader.byte() != 0x60:
            raise Unreadable("a type that is no function type")
        self.types.append((reader.types(), reader.types()))

    def _import(self, reader):
        reader.name(), reader.name()
        kind = reader.byte()
        if kind == FUNC:
            detail = reader.leb()
            self.funcs.append(detail)
        elif kind == TABLE:
            detail = (reader.type(), reader.limits())
            self.tables.append(detail)
        elif kind == MEMORY:
            detail = reader.limits()
            self.memories.append(detail)
        elif kind == GLOBAL:
            detail = (reader.type(), reader.byte() == 1)
            self.globals.append(detail)
        else:
            raise Unreadable(f"import of kind {kind}")
        self.imports.append((kind, detail))

    def _function(self, reader):
        self.own_funcs.append(reader.leb())
        self.funcs.append(self.own_funcs[-1])

    def _table(self, reader):
        self.tables.append((reader.type(), reader.limits()))

    def _memory(self, reader):
        self.memories.append(reader.limits())

    def _global(self, reader):
        self.globals.append((reader.type(), reader.byte() == 1))
        reader.skip_constant()

    def _export(self, reader):
        self.exports.append((reader.name(), reader.byte(), reader.leb()))

    def _elements(self, reader):
        """Of segments of the commonest kind, functions for the first table at a constant place. Others, and what follows them, are left out."""
        for _ in range(reader.leb()):
            if reader.leb() != 0 or reader.byte() != 0x41:  # i32.const
                return
            place = reader.leb()  # small, so that its sign does not matter
            reader.byte()
            for i in range(reader.leb()):
                self.entries[place + i] = reader.leb()

    def export_entry(self, place):
        """Makes an export for a function of the first table; before the module is planned and rewritten."""
        name = f"{ENTRY}{place}".encode()
        if place in self.entries and all(name != other for other, _, _ in self.exports):
            self.exports.append((name, FUNC, self.entries[place]))

    def imported(self, kind):
        return [detail for k, detail in self.imports if k == kind]

    def capped_imports(self):
        result = []
        for kind, detail in self.imports:
            if kind == TABLE:
                detail = (detail[0], capped(detail[1], GROW_ENTRIES))
            elif kind == MEMORY:
                detail = capped(detail, GROW_PAGES)
            result.append((kind, detail))
        return result

    def watched_globals(self):
        """Indices of the mutable globals that hold numbers."""
        return [i for i, (kind, is_mutable) in enumerate(self.globals) if is_mutable and kind in (I32, I64, F32, F64)]

    def rewritten(self, with_globals):
        """The module as the engines get it. with_globals: whether globals are exported, too, which tells a compiler that they are seen."""
        own = {number: payload for number, payload in self.sections if number != 0}
        exports = [name_bytes(name) + bytes([kind]) + leb(idx) for name, kind, idx in self.exports]
        exports += [name_bytes(f"{PREFIX}m{i}") + bytes([MEMORY]) + leb(i) for i in range(len(self.memories))]
        if with_globals:
            exports += [name_bytes(f"{PREFIX}g{i}") + bytes([GLOBAL]) + leb(i) for i in self.watched_globals()]
        if self.tables:
            exports.append(name_bytes(PREFIX + "tables") + bytes([FUNC]) + leb(len(self.funcs)))
            self._add_table_sum(own)
        if self.memories:
            exports.append(name_bytes(PUT) + bytes([FUNC]) + leb(len(self.funcs) + (1 if self.tables else 0)))
            self._add_function(own, bytes([2, self.address_type(), I64, 0]), b"\0\x20\0\x20\1\x37\0\0\x0b")  # i64.store
        if self.imports:
            own[2] = vector([self._import_bytes(i, *item) for i, item in enumerate(self.capped_imports())])
        tables = self.tables[len(self.imported(TABLE)) :]
        if tables:
            own[4] = vector([bytes([kind]) + limits_bytes(capped(limits, GROW_ENTRIES)) for kind, limits in tables])
        memories = self.memories[len(self.imported(MEMORY)) :]
        if memories:
            own[5] = vector([limits_bytes(capped(limits, GROW_PAGES)) for limits in memories])
        own[7] = vector(exports)
        order = [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11]
        out = b"".join(bytes([n]) + leb(len(own[n])) + own[n] for n in order if n in own)
        return b"\0asm\1\0\0\0" + out

    def _import_bytes(self, idx, kind, detail):
        out = name_bytes("i") + name_bytes(str(idx)) + bytes([kind])
        if kind == FUNC:
            return out + leb(detail)
        if kind == TABLE:
            return out + bytes([detail[0]]) + limits_bytes(detail[1])
        if kind == MEMORY:
            return out + limits_bytes(detail)
        return out + bytes([detail[0], int(detail[1])])

    def _add_table_sum(self, own):
        body = b"".join(self._table_sum(i, limits.flags & IS_64) for i, (_, limits) in enumerate(self.tables))
        self._add_function(own, b"\0\1" + bytes([I32]), leb(1) + leb(2) + bytes([I32]) + body + b"\x20\x00\x0b")  # two locals; local.get 0; end

    def address_type(self):
        """Of the first memory."""
        return I64 if self.memories[0].flags & IS_64 else I32

    @staticmethod
    def _add_function(own, functype, body):
        types = Reader(own.get(1, b"\0"))
        count = types.leb()
        own[1] = leb(count + 1) + types.data[types.pos :] + b"\x60" + functype
        funcs = Reader(own.get(3, b"\0"))
        funcs_count = funcs.leb()
        own[3] = leb(funcs_count + 1) + funcs.data[funcs.pos :] + leb(count)
        codes = Reader(own.get(10, b"\0"))
        codes_count = codes.leb()
        own[10] = leb(codes_count + 1) + codes.data[codes.pos :] + leb(len(body)) + body

    @staticmethod
    def _table_sum(table, is_64):
        """local 0 = local 0 * 31 + size; for local 1 from 0 to min(size, 500): local 0 = local 0 * 33 + (entry is null)"""
        idx, limit = leb(table), b"\x41" + signed_leb(500)
        size = b"\xfc\x10" + idx + (b"\xa7" if is_64 else b"")
        add = lambda factor, code: b"\x20\x00\x41" + signed_leb(factor) + b"\x6c" + code + b"\x6a\x21\x00"
        loop = b"\x20\x01" + size + b"\x4f\x20\x01" + limit + b"\x4f\x72\x0d\x01"  # br_if 1 (i >= size | i >= limit)
        loop += add(33, b"\x20\x01" + (b"\xad" if is_64 else b"") + b"\x25" + idx + b"\xd1") + b"\x20\x01\x41\x01\x6a\x21\x01\x0c\x00"
        return add(31, size) + b"\x41\x00\x21\x01\x02\x40\x03\x40" + loop + b"\x0b\x0b"


def code_count(data):
    """How many functions a module has itself."""
    return len(Module(data).own_funcs)


def with_traps_for(data, chosen):
    """The module with the bodies of some of its functions (numbers among its own) replaced by `unreachable`."""
    out = [b"\0asm\1\0\0\0"]
    for number, payload in Module(data).sections:
        if number == 10:
            reader = Reader(payload)
            bodies = [reader.take(reader.leb()) for _ in range(reader.leb())]
            bodies = [b"\0\0\x0b" if i in chosen else body for i, body in enumerate(bodies)]
            payload = vector([leb(len(body)) + body for body in bodies])
        if number != 0:
            out.append(bytes([number]) + leb(len(payload)) + payload)
    return b"".join(out)
