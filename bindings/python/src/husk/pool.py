"""Pools: several sandboxes of one snapshot, for requests that must not see each other."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any

from husk.errors import StateError
from husk.handles import Uncopied
from husk.image import Image
from husk.imports import Imports
from husk.limits import Limits
from husk.sandbox import Sandbox


class PoolTimeout(TimeoutError):
    """All sandboxes of a pool were in use for the whole time that the caller wanted to wait."""


class _Waiter:
    """Someone who waits for a sandbox. `wake` is called once, under the pool's lock. Then the place
    is theirs, or the pool is closed (is_given False). It returns False if they are gone."""

    __slots__ = ("is_given", "is_over", "sandbox", "wake")

    def __init__(self, wake: Callable[[], bool]) -> None:
        self.wake = wake
        self.is_over = False
        self.is_given = False
        self.sandbox: Sandbox | None = None


class Pool(Uncopied):
    """Sandboxes of one image or snapshot, which requests take in turn.

    Each use begins with the state of the snapshot, whatever came before: a sandbox is restored when
    it is given back, also after a call that was cut off. If a restore fails, a new sandbox takes
    its place.

    image: an Image or a Snapshot. size: the number of sandboxes, which are made now. imports, and
    the options: those of husk.Sandbox.

    Any thread, and any task of any loop, may use a pool. Who waits longest is served first. A child
    made by fork() cannot use it: StateError.
    """

    def __init__(
        self, image: Image, size: int, imports: Imports | None = None, **options: Any
    ) -> None:
        if size < 1:
            raise ValueError(f"a pool needs at least one sandbox, not {size}")
        self.image = image
        self.size = size
        self._make: Callable[[], Sandbox] = lambda: Sandbox(image, imports, **options)
        self._lock = threading.Lock()
        self._waiting: deque[_Waiter] = deque()
        self._is_closed = False
        self._process = os.getpid()
        self._in_use: set[Sandbox] = set()
        # None: a place whose sandbox is made when it is taken, as making one failed.
        self._idle: list[Sandbox | None] = []
        try:
            for _ in range(size):
                self._idle.append(self._make())
        except BaseException:
            self.close()
            raise

    # ---- Places ----

    def _check_process(self) -> None:
        # Before the lock is taken: in a child of fork(), nobody may ever let go of it.
        if os.getpid() != self._process:
            raise StateError("the pool belongs to the process that made it; make one here")

    def _check(self) -> None:
        if self._is_closed:
            raise StateError("the pool is closed")

    def _begin(self, wake: Callable[[], bool]) -> _Waiter:
        """Get a place, or a place in the queue."""
        waiter = _Waiter(wake)
        self._check_process()
        with self._lock:
            self._check()
            if self._idle and not self._waiting:
                self._give(waiter, self._idle.pop())
            else:
                self._waiting.append(waiter)
        return waiter

    @staticmethod
    def _give(waiter: _Waiter, sandbox: Sandbox | None) -> None:
        waiter.sandbox = sandbox
        waiter.is_given = waiter.is_over = True

    def _leave(self, waiter: _Waiter) -> bool:
        """The waiter does not wait any longer. True: it has a place by now."""
        with self._lock:
            if not waiter.is_over:
                self._waiting.remove(waiter)
                waiter.is_over = True
            return waiter.is_given

    def _taken(self, waiter: _Waiter) -> Sandbox:
        """The sandbox of a place that was given."""
        if not waiter.is_given:
            raise StateError("the pool was closed")
        sandbox = waiter.sandbox
        if sandbox is None:
            try:
                sandbox = self._make()
            except BaseException:
                self._free(None)
                raise
        with self._lock:
            self._in_use.add(sandbox)
        return sandbox

    def _free(self, sandbox: Sandbox | None) -> None:
        """A place is free: for whoever waits longest."""
        with self._lock:
            if not self._is_closed:
                while self._waiting:
                    waiter = self._waiting.popleft()
                    self._give(waiter, sandbox)
                    if waiter.wake():
                        return
                self._idle.append(sandbox)
                return
        if sandbox is not None:
            sandbox.close()

    def _give_back(self, sandbox: Sandbox) -> None:
        """Restore a sandbox, or replace it, and free its place. Raises BufferError if somebody
        still holds a buffer of its memory."""
        if os.getpid() != self._process:  # a child made by fork() leaves the block
            return
        with self._lock:
            self._in_use.discard(sandbox)
        held: BufferError | None = None
        kept: Sandbox | None = sandbox
        try:
            if not self._is_closed:
                sandbox.restore(self.image)
        except BufferError as error:
            held = error
            kept = self._replacement()
        except Exception:
            kept = self._replacement(sandbox)
        except BaseException:  # of a signal's handler
            self._free(self._replacement(sandbox))
            raise
        self._free(kept)
        if held is not None:
            raise held

    def _replacement(self, broken: Sandbox | None = None) -> Sandbox | None:
        try:
            if broken is not None:
                broken.close()
        except Exception:
            pass  # it goes with its last user
        try:
            return self._make()
        except Exception:
            return None  # who takes the place tries again, and gets the error

    # ---- Threads ----

    @contextmanager
    def take(self, timeout: float | None = None) -> Iterator[Sandbox]:
        """Take a sandbox: `with pool.take() as sandbox`. It is restored when the block ends.

        timeout: seconds to wait for one. Raises PoolTimeout; StateError if the pool is closed; and
        BufferError at the block's end if somebody still holds a buffer of its memory: that memory
        stays as it is, and a new sandbox takes its place.
        """
        sandbox = self._take(timeout)
        try:
            yield sandbox
        finally:
            self._give_back(sandbox)

    def _take(self, timeout: float | None) -> Sandbox:
        woken = threading.Semaphore(0)

        def wake() -> bool:
            woken.release()
            return True

        waiter = self._begin(wake)
        try:
            is_woken = waiter.is_over or woken.acquire(timeout=timeout)
        except BaseException:  # of a signal's handler
            if self._leave(waiter):
                self._free(waiter.sandbox)
            raise
        if not is_woken and not self._leave(waiter):
            raise PoolTimeout(f"no sandbox of the pool was free for {timeout} s")
        return self._taken(waiter)

    def call(
        self, name: str, *args: Any, limits: Limits | None = None, timeout: float | None = None
    ) -> Any:
        """Call a function in a sandbox of its own, and restore that. Arguments, results and
        exceptions are those of Sandbox.call(). timeout: of the call, not of the wait before it."""
        with self.take() as sandbox:
            return sandbox.call(name, *args, limits=limits, timeout=timeout)

    # ---- Tasks ----

    @asynccontextmanager
    async def take_async(self, timeout: float | None = None) -> AsyncIterator[Sandbox]:
        """Take a sandbox: `async with pool.take_async() as sandbox`. See take()."""
        from husk import aio  # which needs asyncio, and that takes long to import

        sandbox = await self._take_async(timeout)
        try:
            yield sandbox
        finally:
            await aio.on_worker(sandbox, lambda: self._give_back(sandbox))

    async def _take_async(self, timeout: float | None) -> Sandbox:
        import asyncio

        loop = asyncio.get_running_loop()
        woken = asyncio.Event()

        def wake() -> bool:
            try:
                loop.call_soon_threadsafe(woken.set)
            except RuntimeError:  # the loop is closed, and with it whoever waited
                return False
            return True

        waiter = self._begin(wake)
        try:
            if not waiter.is_over:
                async with asyncio.timeout(timeout):
                    await woken.wait()
        except BaseException as error:
            if isinstance(error, TimeoutError) and self._leave(waiter):
                return self._taken(waiter)
            if self._leave(waiter):
                self._free(waiter.sandbox)
            if isinstance(error, TimeoutError):
                raise PoolTimeout(f"no sandbox of the pool was free for {timeout} s") from None
            raise
        return self._taken(waiter)

    async def call_async(
        self, name: str, *args: Any, limits: Limits | None = None, timeout: float | None = None
    ) -> Any:
        """As call(), for tasks: see Sandbox.call_async()."""
        async with self.take_async() as sandbox:
            return await sandbox.call_async(name, *args, limits=limits, timeout=timeout)

    # ---- The end ----

    @property
    def idle(self) -> int:
        """How many sandboxes nobody uses now."""
        self._check_process()
        with self._lock:
            return len(self._idle)

    @property
    def waiting(self) -> int:
        """How many threads and tasks wait for a sandbox."""
        self._check_process()
        with self._lock:
            return len(self._waiting)

    def close(self) -> None:
        """Free the sandboxes. Those in use are freed when they are given back; whoever waits gets a
        StateError. Closing twice is nothing."""
        if os.getpid() != self._process:
            return
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            while self._waiting:
                waiter = self._waiting.popleft()
                waiter.is_over = True
                waiter.wake()
        for sandbox in idle:
            if sandbox is not None:
                sandbox.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<husk.Pool of {self.size} sandboxes>"
