"""Limits of a call, and tokens that end calls."""

from __future__ import annotations

import copy
import threading
import weakref
from _thread import get_ident
from collections.abc import Callable
from typing import Any

from husk import signals
from husk._fast import start_ticks
from husk._native import ffi, lib
from husk.errors import check, error_new
from husk.handles import Callback, new, owned

_NS = 1_000_000_000
_FOREVER = 2**64 - 1


def _ns(seconds: float | None, what: str) -> int:
    """A limit in nanoseconds; None: no limit (0)."""
    if seconds is None:
        return 0
    if seconds != seconds or seconds < 0:
        raise ValueError(f"{what} must be a number of seconds, not {seconds}")
    # 0 means no limit to the library, so "no time at all" is one nanosecond.
    return min(max(1, int(seconds * _NS)), _FOREVER) if seconds != float("inf") else _FOREVER


class Cancel:
    """A token that ends the calls that carry it (Limits(cancel=…)), now and later, and no others.

    Any thread may cancel it, at any time. It stays cancelled. Raises OutOfMemoryError.
    """

    def __init__(self) -> None:
        out = ffi.new("husk_cancel **")
        err = error_new()
        check(lib.husk_cancel_new(out, err), err)
        self._pointer = owned(out[0], "husk_cancel_unref")
        self._is_cancelled = False
        self._children: weakref.WeakSet[Cancel] = weakref.WeakSet()
        self._lock = threading.RLock()  # the handler of a signal may cancel while it is held

    @property
    def pointer(self) -> Any:
        """The library's handle."""
        return self._pointer

    @property
    def is_cancelled(self) -> bool:
        """Whether cancel() was called."""
        return self._is_cancelled

    def cancel(self) -> None:
        """End all calls that carry the token: they raise Interrupted."""
        with self._lock:
            self._is_cancelled = True
            children = list(self._children)
        lib.husk_cancel_now(self._pointer)
        for child in children:
            child.cancel()

    def child(self) -> Cancel:
        """Another token, which is cancelled with this one, and may be cancelled alone."""
        child = Cancel()
        with self._lock:
            self._children.add(child)
            is_cancelled = self._is_cancelled
        if is_cancelled:
            child.cancel()
        return child


@ffi.def_extern()  # type: ignore[untyped-decorator]
def husk_py_passed_call(user: Any) -> None:
    """A limit passed while a call was pending. This is a thread of the library."""
    Callback.call(user)


class Limits:
    """Limits of calls. One object may serve any number of calls, also at the same time.

    wall: seconds from the start of the call. cpu: seconds of CPU time; without `wall` it limits
    waiting, too, to ten times as much, but at least one second. cancel: a token that ends the call.
    passed: a function for a pending call whose limit passes, called on a thread of the library. It
    must only leave a note: `event.set()`, or `loop.call_soon_threadsafe`. measure: exceptions have
    the times, also without limits.

    Granularity is about a millisecond; limits are never early. A host function that waits is not
    cut off: the call ends when it returns.
    """

    def __init__(
        self,
        *,
        wall: float | None = None,
        cpu: float | None = None,
        cancel: Cancel | None = None,
        passed: Callable[[], object] | None = None,
        measure: bool = False,
    ) -> None:
        self.wall = wall
        self.cpu = cpu
        self.cancel = cancel
        self.passed = passed
        self.measure = measure
        self._struct = new("husk_limits")
        self._main: Limits | None = None
        self._struct.wall_ns = _ns(wall, "wall")
        self._struct.cpu_ns = _ns(cpu, "cpu")
        self._struct.measure = measure
        if cancel is not None:
            # A share of its own: the attribute `cancel` may be given another token.
            self._share = owned(lib.husk_cancel_ref(cancel.pointer), "husk_cancel_unref")
            self._struct.cancel = self._share
        if passed is not None:
            self._callback = Callback(passed)
            self._struct.passed = ffi.addressof(lib, "husk_py_passed")
            self._struct.passed_user = self._callback.user

    @property
    def struct(self) -> Any:
        """The library's struct husk_limits."""
        return self._struct

    def on_main_thread(self) -> Limits:
        """For the package: the same limits for a call that signals interrupt."""
        if self._main is None:
            self._main = copy.copy(self)
            struct = ffi.new("struct husk_limits *", self._struct[0])
            struct.interrupted = signals.HOOK
            struct.interrupted_user = ffi.NULL
            struct.interrupted_ns = signals.PERIOD_NS
            self._main._struct = struct
        return self._main

    def asks(self, function: Callable[[], bool], seconds: float) -> None:
        """For the package: calls on other threads than the main one ask so often whether to go
        on."""
        self._asked = function
        self._struct.interrupted = signals.HOOK
        self._struct.interrupted_user = ffi.cast("void *", id(function))
        self._struct.interrupted_ns = _ns(seconds, "seconds")

    def __repr__(self) -> str:
        return f"Limits(wall={self.wall}, cpu={self.cpu}, cancel={self.cancel})"


_NONE = Limits().on_main_thread()
_TICKED = Limits().on_main_thread()
_TICKED.struct.interrupted_ns = 0


def limits_of(limits: Limits | None, timeout: float | None) -> Limits | None:
    """The limits of a call that was given one of the two, or none. On the main thread a call has
    some, because of signals."""
    if get_ident() != signals.main_thread:
        return limits_given(limits, timeout)
    if limits is None and timeout is None:
        return _NONE
    given = limits_given(limits, timeout)
    return None if given is None else given.on_main_thread()


def limits_of_plain(limits: Limits | None, kick_signal: int) -> tuple[Limits | None, int]:
    """For plain calls (husk._fast): their limits, and the signal that interrupts them, or 0.
    limits: limits_of(None, None). kick_signal: of the engine; 0 where a signal might disturb what
    the guest calls, as it is no period of the library's, which only interrupts the guest."""
    if limits is _NONE and kick_signal != 0 and start_ticks():
        return _TICKED, kick_signal
    return limits, 0


def limits_given(limits: Limits | None, timeout: float | None) -> Limits | None:
    """The limits that were given, or None."""
    if timeout is None:
        if limits is not None and not isinstance(limits, Limits):
            raise TypeError(f"a husk.Limits is wanted, not {type(limits).__name__}")
        return limits
    if limits is not None:
        raise TypeError("give limits or timeout, not both")
    return Limits(wall=timeout)
