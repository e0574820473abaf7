"""Calls for asyncio: the guest runs on a worker thread, and the loop goes on.

Host functions may be coroutines (`async def`). Then the call is pending while the loop runs the
coroutine, in the task that made the call: no thread waits. So a thousand sandboxes can wait at once
on a handful of threads. A coroutine gets no husk.Caller; current() is its sandbox. A guest that
computes, or that sleeps in WASI, has a worker until it is done. Host functions that are no
coroutines run on that worker.

Cancelling the task ends the guest, and no other call: each call has a token of its own. The sandbox
is poisoned then, as after any call that was cut off. If a loop is closed while calls run, which
asyncio.run() never does, their guests end within a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from husk import workers
from husk.errors import Pending, StateError
from husk.limits import Cancel, Limits, limits_given

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from husk.instance import Sandbox
    from husk.values import Type

_T = TypeVar("_T")

# How often a call looks whether its loop was closed, which tells nobody.
_LOOK_SECONDS = 0.5

_current: ContextVar[Run | None] = ContextVar("husk_run", default=None)


def current() -> Sandbox:
    """The sandbox whose guest waits for this coroutine. Raises LookupError outside of a host
    function that is a coroutine."""
    run = _current.get()
    if run is None:
        raise LookupError("no guest waits for this task")
    return run.sandbox


def _settle(loop: asyncio.AbstractEventLoop, future: asyncio.Future[_T], set_it: Any) -> None:
    """From a worker: end the future, unless its loop is gone."""

    def settle() -> None:
        if not future.done():
            set_it()

    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(settle)


async def on_worker(
    key: Any,
    function: Callable[[], _T],
    interrupt: Callable[[], object] = lambda: None,
    *,
    ends: bool = False,
) -> _T:
    """Run a function on a worker, and wait until it has ended, also if the task is cancelled
    meanwhile. Then `interrupt` is called at once, and CancelledError is raised at the end.

    key: functions with the same one prefer the same thread. ends: the function ends something, so
    it runs in any case; otherwise one that has not begun is withdrawn if the task is cancelled.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def work() -> None:
        try:
            result = function()
        except StopIteration as error:  # futures do not carry it, as coroutines do not
            ended = RuntimeError("a host function raised StopIteration")
            ended.__cause__ = error
            _settle(loop, future, partial(future.set_exception, ended))
        except BaseException as error:
            # No variable of this function keeps it: if the loop is closed, the task goes at once.
            _settle(loop, future, partial(future.set_exception, error))
        else:
            _settle(loop, future, partial(future.set_result, result))

    job = workers.Job(work, lambda: (interrupt(), None)[1])
    workers.workers.submit(key, job)
    cancelled: asyncio.CancelledError | None = None
    try:
        while not future.done():
            try:
                await asyncio.shield(future)
            except asyncio.CancelledError as error:
                cancelled = error
                interrupt()
                if not ends and workers.workers.withdraw(job):
                    raise
            except BaseException:
                if not future.done():  # the task is destroyed
                    raise
        if cancelled is None:
            return future.result()
        future.exception()  # nobody will look at it
        raise cancelled
    finally:
        # The task was destroyed. While the worker has the job, nothing of it is garbage; after
        # that, the collector may have freed what `interrupt` needs.
        if not future.done() and not job.is_over:
            interrupt()
        del cancelled


def later(key: Any, function: Callable[[], object]) -> None:
    """Run a function on a worker, without waiting for it, unless the interpreter is ending."""
    with suppress(RuntimeError):
        workers.workers.submit(key, workers.Job(lambda: (function(), None)[1], lambda: None))


class Run:
    """One call of a task in progress."""

    def __init__(self, sandbox: Sandbox, limits: Limits | None) -> None:
        self.sandbox = sandbox
        self.parent = _current.get()
        self.awaited: tuple[Callable[..., Any], tuple[Any, ...]] | None = None
        self._loop = asyncio.get_running_loop()
        self._has_passed = False
        self._waiting: asyncio.Timeout | None = None
        given = Limits() if limits is None else limits
        self._given_passed = given.passed
        self._token = Cancel() if given.cancel is None else given.cancel.child()
        self.limits = Limits(
            wall=given.wall,
            cpu=given.cpu,
            cancel=self._token,
            passed=self._passed,
            measure=given.measure,
        )
        loop = self._loop
        self.limits.asks(lambda: not loop.is_closed(), _LOOK_SECONDS)

    # ---- A limit that passes while a coroutine runs ----

    def _passed(self) -> None:
        """On a thread of the library."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._end_waiting)
        if self._given_passed is not None:
            self._given_passed()

    def _end_waiting(self) -> None:
        self._has_passed = True
        if self._waiting is not None:
            self._waiting.reschedule(self._loop.time())

    # ---- The steps ----

    @contextmanager
    def _reserved(self) -> Iterator[None]:
        """One task at a time, except for calls that a coroutine makes in its own sandbox."""
        before = self.sandbox.awaits
        around = self.parent
        while around is not None and around is not before:
            around = around.parent
        if before is not None and around is None:
            raise StateError("another task has a call in the sandbox: one at a time may")
        self.sandbox.awaits = self
        try:
            yield
        finally:
            self.sandbox.awaits = before

    async def go(self, begin: Callable[[Limits], _T]) -> _T:
        """Make the call, and answer its host functions."""
        with self._reserved():
            step: Callable[[], Any] = lambda: begin(self.limits)  # noqa: E731
            while True:
                try:
                    return await on_worker(self.sandbox, step, self._token.cancel)
                except Pending:
                    if self.awaited is None:  # a function of the caller's own that is pending
                        raise
                except asyncio.CancelledError:
                    if self.awaited is not None:
                        await self._abandon()
                    raise
                step = await self._answer()

    async def _answer(self) -> Callable[[], Any]:
        """Run the coroutine that the guest waits for. Returns the step that follows."""
        assert self.awaited is not None
        function, args = self.awaited
        token = _current.set(self)
        try:
            async with asyncio.timeout(None) as self._waiting:
                if self._has_passed:
                    self._waiting.reschedule(self._loop.time())
                value = await function(*args)
        except asyncio.CancelledError:
            self._token.cancel()
            await self._abandon()
            raise
        except GeneratorExit:
            # The task is destroyed. Deliberately nothing of the library: if the collector does it,
            # it may have freed the token before. A restore abandons the pending call.
            raise
        except BaseException as error:
            kept = error
            self.awaited = None
            return lambda: self.sandbox.resume(error=kept)
        finally:
            self._waiting = None
            with suppress(ValueError):  # the collector destroys the task, in another context
                _current.reset(token)
        self.awaited = None
        return lambda: self._resume(value)

    def _resume(self, value: Any) -> Any:
        """On a worker: the coroutine returned."""
        pending = self.sandbox.pending
        try:
            results = () if pending is None else _results(pending.type.results, value)
            return self.sandbox.resume(*results)
        except Exception as misfit:
            if pending is None or self.sandbox.pending is not pending:
                raise  # the call has ended, or another coroutine is wanted
            return self.sandbox.resume(error=misfit)

    async def _abandon(self) -> None:
        """The task was cancelled, and so was the token: end the pending call."""
        self.awaited = None

        def end() -> None:
            if self.sandbox.pending is not None:
                self.sandbox.resume(error=StateError("the task was cancelled"))

        with suppress(Exception):
            await on_worker(self.sandbox, end, ends=True)


def _results(types: tuple[Type, ...], value: Any) -> tuple[Any, ...]:
    """What a host function returned, as one value for each result."""
    if not types:
        if value is not None:
            raise TypeError(f"a host function without results returned {value!r}")
        return ()
    return (value,) if len(types) == 1 else tuple(value)


async def call(
    sandbox: Sandbox,
    name: str,
    *args: Any,
    limits: Limits | None = None,
    timeout: float | None = None,
) -> Any:
    """Call an exported function, as Sandbox.call() does. The time limit begins when the guest does:
    on a busy day, a call waits for a worker before that; asyncio.timeout() counts all."""
    run = Run(sandbox, limits_given(limits, timeout))
    return await run.go(lambda chosen: sandbox.call(name, *args, limits=chosen))


async def call_bytes(
    sandbox: Sandbox,
    name: str,
    data: Buffer = b"",
    *,
    keeps: bool = False,
    limits: Limits | None = None,
    timeout: float | None = None,
) -> bytes:
    """Call a function from bytes to bytes, as Sandbox.call_bytes() does."""
    run = Run(sandbox, limits_given(limits, timeout))
    return await run.go(lambda chosen: sandbox.call_bytes(name, data, keeps=keeps, limits=chosen))
