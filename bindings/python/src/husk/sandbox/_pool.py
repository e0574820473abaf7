"""Several sandboxes of one snapshot, which requests take in turn."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from husk.errors import StateError
from husk.pool import PoolTimeout
from husk.sandbox._api import Sandbox
from husk.sandbox._result import Result


class Pool:
    """Sandboxes for requests of strangers: each run() begins with the state of the snapshot.

    size: how many run at the same time; others wait. Options: those of Sandbox. setup: called with
    each sandbox once, to register tools and allow domains. Any thread and any task may use it.
    """

    def __init__(
        self, size: int, *, setup: Callable[[Sandbox], object] | None = None, **options: Any
    ) -> None:
        if size < 1:
            raise ValueError(f"a pool needs at least one sandbox, not {size}")
        self.size = size
        self._idle: deque[Sandbox] = deque()
        self._waiting: deque[Callable[[Sandbox], bool]] = deque()
        self._lock = threading.Lock()
        self._is_closed = False
        for _ in range(size):
            sandbox = Sandbox(**options)
            if setup is not None:
                setup(sandbox)
            self._idle.append(sandbox)

    def warm(self) -> None:
        """Make the snapshot and all sandboxes that are idle now. Otherwise first runs do it."""
        with self._lock:
            idle = list(self._idle)
        for sandbox in idle:
            sandbox.run("", deadline=None, cpu=None)

    # ---- Runs ----

    def run(self, code: str, *, wait: float | None = None, **options: Any) -> Result:
        """Run code from a clean state. Options are those of Sandbox.run(). wait: seconds to wait
        for a sandbox. Raises husk.PoolTimeout, StateError (the pool is closed)."""
        with self.session(wait) as sandbox:
            return sandbox.run(code, **options)

    async def run_async(self, code: str, *, wait: float | None = None, **options: Any) -> Result:
        """run(), for tasks."""
        async with self.session_async(wait) as sandbox:
            return await sandbox.run_async(code, **options)

    @contextmanager
    def session(self, wait: float | None = None) -> Iterator[Sandbox]:
        """A sandbox from a clean state, which keeps its state until the block ends."""
        given: list[Sandbox] = []
        woken = threading.Event()

        def take(sandbox: Sandbox) -> bool:
            given.append(sandbox)
            woken.set()
            return True

        self._ask(take)
        if not woken.wait(wait) and self._stops_waiting(take, given):
            raise PoolTimeout(f"no sandbox of the pool was free for {wait} s")
        if not given:
            raise StateError("the pool was closed")
        try:
            yield given[0]
        finally:
            self._give_back(given[0])

    @asynccontextmanager
    async def session_async(self, wait: float | None = None) -> AsyncIterator[Sandbox]:
        """session(), for tasks."""
        import asyncio

        loop = asyncio.get_running_loop()
        given: list[Sandbox] = []
        woken = asyncio.Event()

        def take(sandbox: Sandbox) -> bool:
            given.append(sandbox)
            try:
                loop.call_soon_threadsafe(woken.set)
            except RuntimeError:  # the loop is closed, and with it whoever waited
                return False
            return True

        self._ask(take)
        try:
            async with asyncio.timeout(wait):
                await woken.wait()
        except BaseException as error:
            if self._stops_waiting(take, given):
                if isinstance(error, TimeoutError):
                    raise PoolTimeout(f"no sandbox of the pool was free for {wait} s") from None
                raise
            if not isinstance(error, TimeoutError):
                if given:
                    self._give_back(given[0])
                raise
        if not given:
            raise StateError("the pool was closed")
        try:
            yield given[0]
        finally:
            self._give_back(given[0])

    # ---- Places ----

    def _ask(self, take: Callable[[Sandbox], bool]) -> None:
        with self._lock:
            if self._is_closed:
                raise StateError("the pool is closed")
            if self._idle:
                take(self._idle.pop())
            else:
                self._waiting.append(take)

    def _stops_waiting(self, take: Callable[[Sandbox], bool], given: list[Sandbox]) -> bool:
        """False: a sandbox was given meanwhile, or the pool was closed."""
        with self._lock:
            if given or take not in self._waiting:
                return False
            self._waiting.remove(take)
            return True

    def _give_back(self, sandbox: Sandbox) -> None:
        sandbox.forget()
        with self._lock:
            if not self._is_closed:
                while self._waiting:
                    if self._waiting.popleft()(sandbox):
                        return
                self._idle.append(sandbox)
                return
        sandbox.close()

    # ---- The end ----

    def close(self) -> None:
        """Free the sandboxes; those in use when they are given back. Closing twice is nothing."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, deque()
        for sandbox in idle:
            sandbox.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_args: object) -> None:
        self.close()
