"""Functions of Python that the library calls while one of its functions runs."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from husk._native import ffi

STOP = -1
"""The status by which a callback ends a listing. The exception says why."""


class Visitor:
    """Carries what a function of Python raises through the library.

    `user` is the pointer for the library. Leaving the `with` block raises the exception in
    place of the library's error.
    """

    def __init__(self, function: Callable[[Any], object]) -> None:
        """Visit with a function of one argument."""
        self._function = function
        self._raised: BaseException | None = None
        self.user = ffi.new_handle(self)

    @staticmethod
    def of(user: Any) -> Visitor:
        """Get the visitor of a pointer."""
        visitor: Visitor = ffi.from_handle(user)
        return visitor

    def __call__(self, item: Any) -> int:
        """Call the function, unless it raised before. STOP: it raised."""
        if self._raised is None:
            try:
                self._function(item)
            except BaseException as raised:
                self._raised = raised
        return 0 if self._raised is None else STOP

    def __enter__(self) -> Visitor:
        """Return the visitor."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Raise what the function raised."""
        if self._raised is not None:
            raise self._raised from None


@ffi.def_extern(error=STOP)  # type: ignore[untyped-decorator]
def husk_py_write(user: Any, pointer: Any, count: int) -> int:
    """Pass bytes that the library writes on to the visitor."""
    return Visitor.of(user)(bytes(ffi.buffer(pointer, count)))
