"""Pools: several sandboxes of one snapshot, for requests that must not see each other."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from husk._fast import insist
from husk.errors import StateError
from husk.handles import Closing, Uncopied
from husk.image import Image
from husk.imports import Imports
from husk.instance import Sandbox
from husk.limits import Limits


class PoolTimeout(TimeoutError):
    """All sandboxes of a pool were in use for the whole time that the caller wanted to wait."""


class _Place:
    """The place of someone who wants a sandbox, or has one. `wake` is called under the pool's lock
    when the place is given, or the pool is closed. It returns False if they are gone."""

    __slots__ = ("is_clean", "is_given", "sandbox", "wake")

    def __init__(self, wake: Callable[[], bool]) -> None:
        self.wake = wake
        self.is_given = False
        self.is_clean = False  # restored, at the end
        self.sandbox: Sandbox | None = None  # None: it is made when the place is taken


# All places that somebody waits for or has. So nothing of them is garbage, and the collector, which
# may destroy the task that has one, frees nothing before the place has ended.
_lent: set[tuple[_Place, Pool]] = set()


class Pool(Uncopied, Closing):
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
        # Handlers of signals may use the pool while this thread has the lock, and raise: the lists
        # change in steps without calls, which are whole for them.
        self._lock = threading.RLock()
        self._waiting: deque[_Place] = deque()
        self._is_closed = False
        self._process = os.getpid()
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

    def _begin(self, place: _Place) -> None:
        """Wait for a sandbox, unless one is free."""
        self._check_process()
        with self._lock:
            self._check()
            _lent.add((place, self))
            self._waiting.append(place)
        self._serve()

    def _serve(self) -> None:
        """Give free sandboxes to those who wait longest."""
        with self._lock:
            while self._waiting:
                place = self._waiting[0]
                if not place.is_given:
                    if not self._idle:
                        return
                    place.sandbox, place.is_given = self._idle[-1], True
                    del self._idle[-1]
                is_there = place.wake()
                if self._waiting and self._waiting[0] is place:
                    del self._waiting[0]
                    if not is_there:
                        place.is_given = False
                        self._idle += [place.sandbox]
                        _lent.discard((place, self))

    def _stops_waiting(self, place: _Place) -> bool:
        """False: the place was given meanwhile."""
        with self._lock:
            if place.is_given:
                return False
            if place in self._waiting:
                self._waiting.remove(place)
            return True

    def _taken(self, place: _Place) -> Sandbox:
        """The sandbox of a place that was given."""
        if not place.is_given:
            raise StateError("the pool was closed")
        if place.sandbox is None:
            place.sandbox = self._make()
        return place.sandbox

    def _end(self, place: _Place) -> BufferError | None:
        """Give a place back, from whatever state. Returns an error if somebody still holds a buffer
        of the sandbox's memory. Handlers may raise in it; then it is called again (insist())."""
        if os.getpid() != self._process:  # a child made by fork() leaves the block
            return None
        held: BufferError | None = None
        if not self._stops_waiting(place) and not place.is_clean:
            held = self._clean(place)
            place.is_clean = True
        unused: Sandbox | None = None
        with self._lock:
            if place in self._waiting:
                self._waiting.remove(place)
            if place.is_given:
                place.is_given = False
                if self._is_closed:
                    unused = place.sandbox
                else:
                    self._idle += [place.sandbox]
        if unused is not None:
            unused.close()
        self._serve()
        _lent.discard((place, self))
        return held

    def _clean(self, place: _Place) -> BufferError | None:
        """Restore the sandbox, or replace it."""
        held: BufferError | None = None
        sandbox = place.sandbox
        if sandbox is None or self._is_closed:
            return None
        try:
            sandbox.restore(self.image)
            return None
        except BufferError as error:
            held = error
        except Exception:
            with suppress(Exception):  # it goes with its last user
                sandbox.close()
        place.sandbox = None  # if making one fails, who takes the place tries again, and is told
        with suppress(Exception):
            place.sandbox = self._make()
        return held

    # ---- Threads ----

    @contextmanager
    def take(self, timeout: float | None = None) -> Iterator[Sandbox]:
        """Take a sandbox: `with pool.take() as sandbox`. It is restored when the block ends.

        timeout: seconds to wait for one. Raises PoolTimeout; StateError if the pool is closed; and
        BufferError at the block's end if somebody still holds a buffer of its memory: that memory
        stays as it is, and a new sandbox takes its place.
        """
        woken = threading.Lock()
        woken.acquire()

        def wake() -> bool:
            with suppress(RuntimeError):  # the handler of a signal did it meanwhile
                woken.release()
            return True

        place = _Place(wake)
        try:
            self._begin(place)
            seconds = -1 if timeout is None else min(max(0, timeout), threading.TIMEOUT_MAX)
            if not woken.acquire(timeout=seconds) and self._stops_waiting(place):
                raise PoolTimeout(f"no sandbox of the pool was free for {timeout} s")
            yield self._taken(place)
        finally:
            held = insist(self._end, place)
            if held is not None:
                raise held

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
        import asyncio  # which takes long

        from husk import aio

        loop = asyncio.get_running_loop()
        woken = asyncio.Event()

        def wake() -> bool:
            try:
                loop.call_soon_threadsafe(woken.set)
            except RuntimeError:  # the loop is closed, and with it whoever waited
                return False
            return True

        place = _Place(wake)
        is_destroyed = False
        try:
            self._begin(place)
            await self._wait_async(place, woken, timeout)
            yield self._taken(place)
        except GeneratorExit:  # the task is destroyed, as its loop is gone: nothing can be awaited
            is_destroyed = True
            if place.sandbox is not None:
                aio.later(place.sandbox, lambda: self._end(place))
            raise
        finally:
            if place.sandbox is None:
                self._end(place)
            elif not is_destroyed:
                held = await aio.on_worker(place.sandbox, lambda: self._end(place), ends=True)
                if held is not None:
                    raise held

    async def _wait_async(self, place: _Place, woken: Any, timeout: float | None) -> None:
        import asyncio

        if place.is_given:
            return
        try:
            async with asyncio.timeout(timeout):
                await woken.wait()
        except TimeoutError:
            if self._stops_waiting(place):
                raise PoolTimeout(f"no sandbox of the pool was free for {timeout} s") from None

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
                place = self._waiting[0]
                place.wake()
                if self._waiting and self._waiting[0] is place:
                    del self._waiting[0]
        for sandbox in idle:
            if sandbox is not None:
                sandbox.close()

    def __repr__(self) -> str:
        return f"<husk.Pool of {self.size} sandboxes>"
