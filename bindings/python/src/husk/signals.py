"""Signals while the main thread runs a guest.

Python notes a signal in C, and runs its handler in the main thread when that runs Python again. A
guest may keep it from that. So calls on the main thread ask in between
(husk_limits.interrupted): after each signal that this thread got, and in a period, because any
thread may get a signal. The handler runs then. If it raises, the guest's call ends, and raises the
same exception: KeyboardInterrupt for Ctrl-C. Otherwise the guest goes on.

A handler that raises may do so between any two steps of this package. So the hook is in C
(native/signals.c), and so is what must not be left half done.
"""

from __future__ import annotations

import atexit
import os
import threading
from _thread import get_ident

from husk._fast import end_hook, hook, take
from husk._native import ffi

PERIOD_NS = 20_000_000

HOOK = ffi.cast("int (*)(void *)", hook())
"""husk_limits.interrupted: for calls on the main thread, or with a function to ask."""

atexit.register(end_hook)

main_thread: int = threading.main_thread().ident or 0


def _after_fork() -> None:
    global main_thread
    main_thread = get_ident()


os.register_at_fork(after_in_child=_after_fork)


class _Raised(threading.local):
    """Of this thread: what a handler raised, while the calls around its own run."""

    old: BaseException | None = None


_raised = _Raised()


def raise_new(depth: int, raised: BaseException | None) -> None:
    """A call did not return: raise what a handler raised while it ran. raised: by a host function
    of the call. depth: the number of calls around this one."""
    error = take()
    if error is None and raised is not None and raised is _raised.old:
        error = raised  # a handler ended a call inside the host function
    _raised.old = error if depth != 0 else None
    if error is None:
        return
    try:
        raise error
    finally:
        del error, raised
