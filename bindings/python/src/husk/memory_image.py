"""Copies of ranges of memory that can be mapped, copy-on-write, into sandboxes of one engine."""

from __future__ import annotations

from typing import Any

from husk._convert import number
from husk._native import ffi, lib
from husk.errors import StateError, check, error_new
from husk.handles import Closing, owned


class MemoryImage(Closing):
    """A copy of a range of a guest's memory, which Memory.image() makes and Memory.map() maps.

    Any number of sandboxes of the same engine can map one, and any number of threads may use it.
    It may be closed while it is mapped.
    """

    def __init__(self, pointer: Any) -> None:
        self._pointer = owned(pointer, "husk_memory_image_unref")

    @property
    def pointer(self) -> Any:
        """The library's handle."""
        if self._pointer is None:
            raise StateError("the memory image is closed")
        return self._pointer

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return int(lib.husk_memory_image_bytes(self.pointer))

    def __len__(self) -> int:
        return self.size

    def __copy__(self) -> MemoryImage:
        return MemoryImage(lib.husk_memory_image_ref(self.pointer))

    def close(self) -> None:
        """Drop this share of the image. What is mapped stays."""
        self._pointer = None


def _range(mem_idx: int, addr: int, count: int) -> Any:
    return ffi.new("struct husk_range *", (number(addr, "addr"), number(count, "count"), mem_idx))


def memory_image(sandbox: Any, mem_idx: int, addr: int, count: int) -> MemoryImage:
    """Make an image of a range of a memory of a `husk_sandbox *`."""
    out, err = ffi.new("husk_memory_image **"), error_new()
    place = _range(mem_idx, addr, count)
    check(lib.husk_memory_image_new(sandbox, place, out, err), err)
    return MemoryImage(out[0])


def map_memory_image(
    sandbox: Any, mem_idx: int, addr: int, image: MemoryImage, offset: int, count: int | None
) -> None:
    """Map an image, or a part of it, into a memory of a `husk_sandbox *`."""
    if not isinstance(image, MemoryImage):
        raise TypeError(f"a husk.MemoryImage is wanted, not {type(image).__name__}")
    number(offset, "offset")
    if count is None:
        count = max(image.size - offset, 0)
    err, place = error_new(), _range(mem_idx, addr, count)
    check(lib.husk_memory_image_map(sandbox, place, image.pointer, offset, err), err)
