"""Calls that wait for the answer of a host function, and go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from husk._native import ffi, lib
from husk.calls import value_of
from husk.errors import Error, GuestException, StateError, check, error_new
from husk.handles import new
from husk.imports import throw_new
from husk.limits import Limits, limits_of
from husk.values import Type, cells_fill, cells_new, cells_read

if TYPE_CHECKING:
    from husk.instance import Sandbox


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a pending call returns: values of these types, or bytes (struct husk_bytes). And its
    limits, which the library tells when they pass."""

    results: tuple[Type, ...]
    output: Any = None
    limits: Limits | None = None
    is_brought: bool = False  # by a snapshot: its limits begin when it is resumed


class Answer:
    """A struct husk_answer, and what it points to."""

    def __init__(self, sandbox: Sandbox, waiting: Waiting, limits: Limits | None) -> None:
        self._sandbox = sandbox
        self.struct = new("husk_answer")
        self.cells = cells_new(waiting.results)
        self._kept: list[Any] = []
        if waiting.output is None:
            self.struct.results = self.cells
            self.struct.results_count = len(waiting.results)
        else:
            self.struct.bytes = waiting.output
        if waiting.is_brought or limits is not None:
            limits = limits_of(limits, None)
        if limits is not None:
            self.struct.limits = limits.struct

    def values(self, types: tuple[Type, ...], values: tuple[Any, ...]) -> None:
        """The host function returns."""
        cells = cells_new(types)
        cells_fill(self._sandbox, cells, types, values)
        self._kept.append(cells)
        self.struct.values = cells
        self.struct.values_count = len(types)

    def error(self, error: BaseException) -> None:
        """The host function fails, or throws."""
        if isinstance(error, GuestException):
            throw, kept = throw_new(self._sandbox, error)
            self._kept += [throw, kept]
            self.struct.exception = throw
            return
        message = ffi.new("char[]", f"{type(error).__name__} in a host function".encode())
        self._kept.append(message)
        self.struct.message = message
        self.struct.status = error.status if isinstance(error, Error) else lib.HUSK_E_STATE


def resume(
    sandbox: Sandbox,
    results: tuple[Any, ...],
    error: BaseException | None,
    again: bool,
    limits: Limits | None,
) -> Any:
    """Sandbox.resume()."""
    outcome = new("husk_outcome")
    err = error_new()
    with sandbox.running() as pointer:
        pending, waiting = sandbox.pending_now()
        if pending is None or waiting is None:
            raise StateError("no call is pending")
        answer = Answer(sandbox, waiting, limits)
        if again:
            answer.struct.is_again = True
        elif error is not None:
            answer.error(error)
        else:
            answer.values(pending.type.results, results)
        # A host function may be pending again before husk_call_resume() returns.
        sandbox.pending_ends()
        if error is not None and not isinstance(error, GuestException):
            sandbox.raised = error
        status = lib.husk_call_resume(pointer, answer.struct, outcome, err)
        if status != 0:
            sandbox.raised = None
            if status not in _CALL_HAS_ENDED:
                sandbox.pending_like(pending, waiting)
            check(status, err)
        sandbox.finish(
            outcome, waiting.results, output=waiting.output, limits=limits or waiting.limits
        )
    if waiting.output is not None:
        return output_of(waiting.output)
    return value_of(cells_read(sandbox, answer.cells, len(waiting.results)))


_CALL_HAS_ENDED = (lib.HUSK_E_SYS, lib.HUSK_E_GUEST, lib.HUSK_E_NOMEM)


def output_of(output: Any) -> bytes:
    """The bytes that a function from bytes to bytes returned."""
    try:
        return bytes(ffi.buffer(output.output, output.output_count))
    finally:
        lib.free(output.output)
        output.output = ffi.NULL
