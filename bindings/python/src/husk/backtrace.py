"""The place where a guest's call ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from husk._native import ffi, lib


def name_escape(name: bytes) -> str:
    """Make a name from a module printable, on one line and without invisible characters."""
    out = ffi.new("char[]", 4 * len(name) + 1)
    lib.husk_name_escape(name, len(name), out, len(out))
    return str(ffi.string(out).decode())


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a guest's stack.

    func_name: "" if the module does not name it. wasm_offset: the byte in the module, or None.
    file, line, column: None and 0 if they are not known. repeats: how many further frames at the
    same place are left out.
    """

    func_idx: int
    func_name: str
    wasm_offset: int | None
    file: str | None
    line: int
    column: int
    repeats: int

    def __str__(self) -> str:
        text = self.func_name or f"function {self.func_idx}"
        if self.file is not None:
            text += f" ({self.file}:{self.line}:{self.column})"
        elif self.wasm_offset is not None:
            text += f" (wasm offset {self.wasm_offset:#x})"
        return text + (f", {self.repeats} more times" if self.repeats else "")


def _frame(frame: Any) -> Frame:
    return Frame(
        func_idx=frame.func_idx,
        func_name=name_escape(ffi.buffer(frame.func_name, frame.func_name_bytes)[:]),
        wasm_offset=None if frame.wasm_offset == lib.HUSK_NO_OFFSET else frame.wasm_offset,
        file=None if frame.file == ffi.NULL else name_escape(ffi.string(frame.file)),
        line=frame.line,
        column=frame.column,
        repeats=frame.repeats,
    )


def backtrace_new() -> Any:
    """A struct husk_backtrace for a function of the library."""
    backtrace = ffi.new("struct husk_backtrace *")
    backtrace.size = ffi.sizeof("struct husk_backtrace")
    return backtrace


class Backtrace(tuple[Frame, ...]):
    """The frames of a guest's stack, innermost first; at most 32 of them are listed.

    total: how many were counted on the stack, repeats included; there may be more.
    """

    total: int

    def __new__(cls, frames: Iterable[Frame] = (), total: int = 0) -> Backtrace:
        backtrace = super().__new__(cls, frames)
        backtrace.total = total
        return backtrace


def frames_of(backtrace: Any) -> Backtrace:
    """The frames that the library has found."""
    frames = [_frame(backtrace.frames[i]) for i in range(backtrace.frames_count)]
    return Backtrace(frames, backtrace.frames_total)
