"""Threads for tools that are no coroutines, so that a request can end before its tool does.

Nothing can end a thread. One whose tool did not return in time is left to itself: it takes part
again when the tool returns, and there is a limit for how many of them there may be.
"""

from __future__ import annotations

import contextvars
import inspect
import os
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

THREADS_MAX = 64
_IDLE_SECONDS = 5.0


class TooManyThreads(RuntimeError):
    """So many tools have not returned that no more are called, or the system has no more."""


class ToolCall:
    """One call of a tool, on a thread. Exactly one of result and error is set when it has ended."""

    def __init__(
        self,
        function: Callable[[], Any],
        when_ended: Callable[[], object] | None = None,
        *,
        awaits: bool = True,
    ) -> None:
        self._function = function
        self._awaits = awaits
        self._context = contextvars.copy_context()
        self._when_ended = when_ended
        self._ended = threading.Lock()  # of nobody: released when it has ended
        self._ended.acquire()
        self._is_left = False
        self._task: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None
        self.result: Any = None
        self.error: BaseException | None = None

    def go(self) -> None:
        """On the thread: call the function, and run what it returned, if that is a coroutine and
        the call awaits those."""
        try:
            result = self._context.run(self._function)
            if self._awaits and inspect.iscoroutine(result):
                import asyncio

                result = self._context.run(asyncio.run, self._awaited(result))
            self.result = result
        except BaseException as error:
            self.error = error

    def tell(self) -> None:
        """On the thread: it has ended."""
        self._ended.release()
        if self._when_ended is not None:
            self._when_ended()

    async def _awaited(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        import asyncio

        task = asyncio.current_task()
        assert task is not None
        self._task = asyncio.get_running_loop(), task
        if self._is_left:
            coroutine.close()
            raise asyncio.CancelledError
        return await coroutine

    def leave(self) -> None:
        """Nobody waits for it any more. A coroutine is cancelled."""
        self._is_left = True
        if self._task is not None:
            loop, task = self._task
            with suppress(RuntimeError):  # the loop is closed: it has just ended
                loop.call_soon_threadsafe(task.cancel)

    def wait(self, seconds: float) -> bool:
        """Wait for its end. False: it has not ended yet."""
        return self._ended.acquire(timeout=seconds)


class _Thread(threading.Thread):
    """A daemon: a tool that never returns must not keep the interpreter from ending."""

    def __init__(self, free: deque[_Thread], all_of_them: set[_Thread]) -> None:
        super().__init__(name="husk-tool", daemon=True)
        self._free, self._all = free, all_of_them
        self.calls: SimpleQueue[ToolCall | None] = SimpleQueue()

    def run(self) -> None:
        """Make calls until nobody wants any."""
        while True:
            try:
                call = self.calls.get(timeout=_IDLE_SECONDS)
            except Empty:
                try:
                    self._free.remove(self)
                except ValueError:  # somebody has just taken it
                    continue
                self._all.discard(self)
                return
            if call is None:
                return
            call.go()
            self._free.append(self)  # before somebody hears of it, and wants the next one
            call.tell()
            del call  # or what it returned would live until the next one


class ToolThreads:
    """Those of one sandbox. They are started when they are needed, and end when they are idle."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._free: deque[_Thread] = deque()
        self._all: set[_Thread] = set()
        self._process = os.getpid()

    def start(self, call: ToolCall) -> ToolCall:
        """Begin a call. Raises TooManyThreads."""
        if os.getpid() != self._process:  # after fork() they are not here
            self._forget()
        try:
            thread = self._free.pop()
        except IndexError:
            if len(self._all) >= THREADS_MAX:
                raise TooManyThreads(
                    f"{THREADS_MAX} tools that earlier requests called have not returned yet"
                ) from None
            thread = self._begin()
        thread.calls.put(call)
        return call

    def _begin(self) -> _Thread:
        thread = _Thread(self._free, self._all)
        self._all.add(thread)
        try:
            thread.start()
        except BaseException as error:  # also of a signal's handler: it may have started
            self._all.discard(thread)
            thread.calls.put(None)
            if isinstance(error, RuntimeError):
                raise TooManyThreads(f"no thread for it: {error}") from error
            raise
        return thread
