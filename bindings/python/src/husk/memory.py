"""A guest's memories, globals and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from husk._buffer import Span
from husk._native import ffi, lib
from husk.errors import LimitError, ValueTypeError, check, error_new
from husk.handles import c_name
from husk.image import Extern, ExternKind
from husk.memory_image import MemoryImage, map_memory_image, memory_image
from husk.values import Type, brief, cell_get, cells_fill, cells_new

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from husk.instance import Sandbox

PAGE_BYTES = 65536


class Memory:
    """A linear memory. All works between calls, while a call is pending, and in host functions."""

    __slots__ = ("_sandbox", "idx")

    def __init__(self, sandbox: Sandbox, idx: int = 0) -> None:
        self._sandbox = sandbox
        self.idx = idx

    @property
    def size(self) -> int:
        """The size in bytes."""
        with self._sandbox.locked() as pointer:
            return int(lib.husk_memory_bytes(pointer, self.idx))

    @property
    def pages(self) -> int:
        """The size in pages of 64 KiB."""
        return self.size // PAGE_BYTES

    def __len__(self) -> int:
        return self.size

    def place(self, address: int, count: int) -> Any:
        """A struct husk_range. Raises LimitError for what cannot be in any memory."""
        if not (0 <= address < 1 << 64 and 0 <= count < 1 << 63):
            begin = brief(address)
            raise LimitError(f"[{begin}, {begin} + {brief(count)}) is out of bounds of the memory")
        return ffi.new("struct husk_range *", (address, count, self.idx))

    def read(self, address: int, count: int) -> bytes:
        """Copy `count` bytes out of the guest. Raises LimitError if any is out of bounds."""
        place = self.place(address, count)
        err = error_new()
        with self._sandbox.locked() as pointer:
            # The library copies nothing if the range is out of bounds, so no room is needed then.
            has_room = count <= lib.husk_memory_bytes(pointer, self.idx)
            out = bytearray(count if has_room else 1)
            with ffi.from_buffer(out, require_writable=True) as raw:
                check(lib.husk_memory_read(pointer, place, raw, err), err)
        return bytes(out)

    def write(self, address: int, data: Buffer) -> None:
        """Copy bytes into the guest. If one is out of bounds, none is copied: LimitError."""
        err = error_new()
        with (
            memoryview(data) as view,
            ffi.from_buffer(view) as raw,
            self._sandbox.locked() as pointer,
        ):
            place = self.place(address, view.nbytes)
            check(lib.husk_memory_write(pointer, place, raw, err), err)

    def copy(self, target: int, source: int, count: int) -> None:
        """Copy bytes inside the memory; the ranges may overlap. Raises LimitError."""
        self.write(target, self.read(source, count))

    def image(self, address: int, count: int) -> MemoryImage:
        """Copy a range into a memory image, which map() can map into any sandbox of the engine.

        Both are multiples of 4096. The range itself becomes copy-on-write over the image. Raises
        InvalidArgumentError (alignment), LimitError (out of bounds), StateError, OutOfMemoryError.
        """
        with self._sandbox.locked() as pointer:
            return memory_image(pointer, self.idx, address, count)

    def map(
        self, image: MemoryImage, address: int, *, offset: int = 0, count: int | None = None
    ) -> None:
        """Map an image, or `count` bytes of it from `offset` on, copy-on-write at an address. All
        are multiples of 4096. A restore removes the mapping. Raises as image()."""
        with self._sandbox.locked() as pointer:
            map_memory_image(pointer, self.idx, address, image, offset, count)

    def grow(self, pages: int) -> int:
        """Grow by pages of 64 KiB. Returns the size before, in pages. Buffers stay valid. Raises
        LimitError above the memory's maximum or memory_max; PoisonedError, OutOfMemoryError."""
        out = ffi.new("uint64_t *")
        err = error_new()
        with self._sandbox.locked() as pointer:
            check(lib.husk_memory_grow(pointer, self.idx, pages, out, err), err)
        return int(out[0])

    def buffer(
        self, address: int = 0, count: int | None = None, *, readonly: bool = False
    ) -> memoryview:
        """The bytes themselves, without a copy; default: all from `address` on.

        Whoever holds the memoryview, a slice or a numpy array of it holds the memory: until all are
        gone, restore(), unload(), load() and the return to a pool raise BufferError. The guest may
        change the bytes whenever it runs, and they stay mapped after close(). Restores look at
        these pages from now on. Raises LimitError.
        """
        with self._sandbox.locked() as pointer:
            if count is None:
                count = max(0, lib.husk_memory_bytes(pointer, self.idx) - address)
            number = memory_span(pointer, self.place(address, count))
            return memoryview(Span(self._sandbox.keeper, number, count, readonly))

    def read_str(self, address: int, count: int, encoding: str = "utf-8") -> str:
        """read(), decoded."""
        return self.read(address, count).decode(encoding)

    def __repr__(self) -> str:
        return f"<husk.Memory {self.idx}>"


def memory_span(pointer: Any, place: Any) -> int:
    """The address of a range of a sandbox's memory (husk_memory_span())."""
    err = error_new()
    out = ffi.new("void **")
    check(lib.husk_memory_span(pointer, place, out, err), err)
    return int(ffi.cast("uintptr_t", out[0]))


class Memories(Sequence[Memory]):
    """All memories of an instance, by index."""

    def __init__(self, sandbox: Sandbox, count: int) -> None:
        self._memories = [Memory(sandbox, i) for i in range(count)]

    def __getitem__(self, idx: Any) -> Any:
        return self._memories[idx]

    def __len__(self) -> int:
        return len(self._memories)


class Global:
    """An exported global."""

    __slots__ = ("_sandbox", "item", "name")

    def __init__(self, sandbox: Sandbox, item: Extern) -> None:
        self._sandbox = sandbox
        self.item = item
        self.name = item.name

    def get(self) -> Any:
        """Its value."""
        raw = c_name(self.name)
        out = ffi.new("struct husk_value *")
        err = error_new()
        with self._sandbox.locked() as pointer:
            check(lib.husk_global_get(pointer, raw, len(raw), out, err), err)
            return cell_get(self._sandbox, out)

    def set(self, value: Any) -> None:
        """Set its value. Raises ValueTypeError (another type, or an immutable global)."""
        raw = c_name(self.name)
        kind = self.item.type
        cell = cells_new([kind])  # type: ignore[list-item]
        err = error_new()
        with self._sandbox.locked() as pointer:
            cells_fill(self._sandbox, cell, [kind], [value])  # type: ignore[list-item]
            check(lib.husk_global_set(pointer, raw, len(raw), cell, err), err)

    @property
    def value(self) -> Any:
        """get() and set() as an attribute."""
        return self.get()

    @value.setter
    def value(self, value: Any) -> None:
        self.set(value)

    def __repr__(self) -> str:
        return f"<husk.Global {self.name} {self.item.type}>"


class Globals:
    """The exported globals by name: sandbox.globals["g"] = 1."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def _global(self, name: str) -> Global:
        return Global(self._sandbox, _export(self._sandbox, name, ExternKind.GLOBAL))

    def __getitem__(self, name: str) -> Any:
        return self._global(name).get()

    def __setitem__(self, name: str, value: Any) -> None:
        self._global(name).set(value)

    def __iter__(self) -> Iterator[str]:
        return iter(_names(self._sandbox, ExternKind.GLOBAL))

    def __len__(self) -> int:
        return len(_names(self._sandbox, ExternKind.GLOBAL))

    def __contains__(self, name: object) -> bool:
        return name in _names(self._sandbox, ExternKind.GLOBAL)


class Table:
    """A table of references: table[i], table[i] = ref, len(table), table.grow(n)."""

    __slots__ = ("_sandbox", "idx", "type")

    def __init__(self, sandbox: Sandbox, idx: int, kind: Type) -> None:
        self._sandbox = sandbox
        self.idx = idx
        self.type = kind

    def __len__(self) -> int:
        with self._sandbox.locked() as pointer:
            return int(lib.husk_table_size(pointer, self.idx))

    def _place(self, entry: int) -> int:
        count = len(self)
        place = entry + count if entry < 0 else entry
        if not 0 <= place < count:
            raise IndexError(f"the table has {count} entries, not {entry}")
        return place

    def __getitem__(self, entry: int) -> Any:
        place = self._place(entry)
        out = ffi.new("struct husk_value *")
        err = error_new()
        with self._sandbox.locked() as pointer:
            check(lib.husk_table_get(pointer, self.idx, place, out, err), err)
            return cell_get(self._sandbox, out)

    def __setitem__(self, entry: int, value: Any) -> None:
        place = self._place(entry)
        cell = cells_new([self.type])
        err = error_new()
        with self._sandbox.locked() as pointer:
            cells_fill(self._sandbox, cell, [self.type], [value])
            check(lib.husk_table_set(pointer, self.idx, place, cell, err), err)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def grow(self, entries: int) -> int:
        """Grow by null entries. Returns the size before. Raises LimitError, PoisonedError."""
        out = ffi.new("uint64_t *")
        err = error_new()
        with self._sandbox.locked() as pointer:
            check(lib.husk_table_grow(pointer, self.idx, entries, out, err), err)
        return int(out[0])

    def __repr__(self) -> str:
        return f"<husk.Table {self.idx} {self.type}>"


class Tables:
    """The exported tables by name."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def __getitem__(self, name: str) -> Table:
        item = _export(self._sandbox, name, ExternKind.TABLE)
        idx = self._sandbox.image.table_idx(name)
        return Table(self._sandbox, idx, Type(item.type))  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[str]:
        return iter(_names(self._sandbox, ExternKind.TABLE))

    def __len__(self) -> int:
        return len(_names(self._sandbox, ExternKind.TABLE))

    def __contains__(self, name: object) -> bool:
        return name in _names(self._sandbox, ExternKind.TABLE)


def _names(sandbox: Sandbox, kind: ExternKind) -> list[str]:
    return [item.name for item in sandbox.image.exports.list(kind)]


def _export(sandbox: Sandbox, name: str, kind: ExternKind) -> Extern:
    item = sandbox.image.exports.get(name)
    if item is None or item.kind is not kind:
        raise KeyError(name)
    return item


def memory_of_export(sandbox: Sandbox, item: Extern) -> Memory:
    """An exported memory; the index is that of the export."""
    if item.kind is not ExternKind.MEMORY:
        raise ValueTypeError(f"{item.name} is no memory")
    return Memory(sandbox, item.idx)
