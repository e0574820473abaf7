"""Whose turn it is: one thread at a time uses a sandbox."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NoReturn

from husk._fast import Hold, Turn
from husk._native import ffi, lib
from husk.errors import StateError


class Turns:
    """The part of a Sandbox that keeps threads apart."""

    _pointer: Any

    def _begin_turns(self) -> Any:
        """Returns the library's user pointer of the sandbox, by which host functions find it."""
        # Held while a function of the library works on the sandbox, and not while a host function
        # runs. Never waited for: two threads at once are a mistake.
        self._lock = Turn(weakref.ref(self))
        # Held while another thread may look at the sandbox, which then must not be freed.
        self._guard = threading.RLock()
        self._process = os.getpid()
        return ffi.cast("void *", id(self._lock))

    @property
    def turn(self) -> Turn:
        """Who may use the sandbox, and how many calls run."""
        return self._lock

    @property
    def depth(self) -> int:
        """How many calls run, one inside the other."""
        return self._lock.depth

    @property
    def pointer(self) -> Any:
        """The library's handle."""
        if self._pointer is None:
            raise StateError("the sandbox is closed")
        return self._pointer

    def locked(self) -> AbstractContextManager[Any]:
        """The library's handle, for this thread alone. Raises StateError at once if another thread
        uses the sandbox, or if it is closed."""
        return Hold(self, self._lock, False)

    def running(self) -> AbstractContextManager[Any]:
        """The library's handle, for a function that runs the guest."""
        return Hold(self, self._lock, True)

    def refuse(self) -> NoReturn:
        """Somebody has the turn: another thread; or this one, which runs the __index__() of an
        argument, or a handler of a signal."""
        raise StateError("another thread uses the sandbox, or this one already does: one at a time")

    def host_begins(self) -> int:
        """A host function begins: whoever it calls may use the sandbox."""
        self._lock.release()
        return self.depth

    def host_ends(self, depth: int) -> None:
        """The guest goes on, once the calls inside the host function have ended."""
        stop: BaseException | None = None
        while not (self._lock.acquire() and self._is_at(depth)):
            try:
                time.sleep(0.001)  # another thread uses the sandbox, or its call runs
            except BaseException as error:  # of a signal's handler
                stop = error
        if stop is not None:
            raise stop

    def _is_at(self, depth: int) -> bool:
        is_there = self.depth == depth
        if not is_there:
            self._lock.release()
        return is_there

    def hold(self) -> None:
        """A host function ends by an exception, which a signal may have raised anywhere."""
        self._lock.is_held = True

    @contextmanager
    def guarded(self) -> Iterator[Any]:
        """The library's handle, for functions that any thread may call. The sandbox is not freed
        meanwhile. None: it is closed."""
        if os.getpid() != self._process:  # in a child of fork(), nobody may ever let go of it
            yield self._pointer
            return
        with self._guard:
            yield self._pointer

    def interrupt(self) -> None:
        """End the call that runs or is pending; if there is none, the next one. Any thread; also a
        signal handler. A husk.Cancel never hits another call."""
        with self.guarded() as pointer:
            if pointer is not None:
                lib.husk_interrupt(pointer)
