"""Signals while the main thread runs a guest.

Python notes a signal in C, and runs its handler in the main thread when that runs Python again. A
guest may keep it from that. So calls on the main thread ask in between
(husk_limits.interrupted): after each signal that this thread got, and in a period, because any
thread may get a signal. The handler runs then. If it raises, the guest's call ends, and raises the
same exception: KeyboardInterrupt for Ctrl-C. Otherwise the guest goes on.
"""

from __future__ import annotations

import os
import threading
from _thread import get_ident
from signal import SIG_BLOCK, pthread_sigmask
from typing import Any

from husk._native import ffi, lib

PERIOD_NS = 20_000_000

HOOK = ffi.addressof(lib, "husk_py_ask_signals")
"""husk_limits.interrupted for calls on the main thread."""

main_thread: int = threading.main_thread().ident or 0


def _after_fork() -> None:
    global main_thread
    main_thread = get_ident()


os.register_at_fork(after_in_child=_after_fork)


class _Raised(threading.local):
    """Of this thread: what a handler raised while a guest ran, until its calls have ended."""

    new: BaseException | None = None
    old: BaseException | None = None


_raised = _Raised()


def _keep(kind: Any, error: BaseException, traceback: Any) -> int:
    """A handler raised before the function below had begun, or after it had ended."""
    _raised.new = error.with_traceback(traceback)
    return -1


@ffi.def_extern(error=-1, onerror=_keep)  # type: ignore[untyped-decorator]
def husk_py_interrupted(user: Any) -> int:
    """Run the handlers of signals that came, on the main thread. Elsewhere ask Limits.asks().
    Not 0: the call ends."""
    if user != ffi.NULL:
        return 0 if ffi.from_handle(user)() else -1
    try:
        pthread_sigmask(SIG_BLOCK, ())  # changes nothing, and runs handlers
    except BaseException as error:
        _raised.new = error
        return -1
    return 0


def raise_new(depth: int, raised: BaseException | None) -> None:
    """A call did not return: raise what a handler raised while it ran. raised: by a host function
    of the call. depth: the number of calls around this one."""
    error, _raised.new = _raised.new, None
    if error is None and raised is not None and raised is _raised.old:
        error = raised  # a handler ended a call inside the host function
    _raised.old = error if depth != 0 else None
    if error is None:
        return
    try:
        raise error
    finally:
        del error, raised
