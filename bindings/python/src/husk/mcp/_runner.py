"""Runs requests: in a sandbox of a pool, or in that of a session."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio

from husk.errors import HuskError
from husk.mcp._arguments import Arguments
from husk.mcp._sessions import Sessions
from husk.sandbox import Pool, Result, Sandbox
from husk.sandbox._modules import SCIENTIFIC

_WAITING_MAX = 64
_LOOK_SECONDS = 1.0
_FIGURES_SECONDS = 20.0

# Figures that the code left open become files. It has a namespace apart from the session's.
_FIGURES = """exec('''
import sys
plot = sys.modules.get("matplotlib.pyplot")
for number in plot.get_fignums() if plot else ():
    plot.figure(number).savefig(f"/output/figure-{number}.png")
if plot:
    plot.close("all")
''', {})"""

Told = Callable[[float, str], Awaitable[object]]
"""Gets the seconds that a request has waited, and what for."""


class Refused(Exception):
    """The request cannot be run: the text says why, for the model."""


@dataclass
class Outcome:
    """What came of a request."""

    result: Result
    session: str | None = None
    was_cancelled: bool = False
    """The session's state was lost before, by a request that was cancelled."""


class Runner:
    """For one event loop. sandbox_options: those of Sandbox. setup: for each sandbox, once."""

    def __init__(
        self,
        *,
        sandbox_options: dict[str, Any],
        setup: Callable[[Sandbox], object],
        at_once: int,
        sessions: int,
        session_idle: float,
    ) -> None:
        self._state = ("", 0.0)
        options = {**sandbox_options, "on_progress": self._progress}

        def make() -> Sandbox:
            sandbox = Sandbox(**options)
            setup(sandbox)
            return sandbox

        self._has_figures = (options.get("module") or "").replace("_", "-") == SCIENTIFIC
        self._pool = Pool(at_once, setup=setup, **options)
        self._places = asyncio.Semaphore(at_once)
        self._waiting = 0
        self._preparing: asyncio.Future[None] | None = None
        self._tell: Callable[[str], object] = lambda _line: None
        self.sessions = Sessions(make, sessions, session_idle)

    # ---- Preparing the snapshot ----

    def _progress(self, what: str, part: float) -> None:
        if what != self._state[0]:
            self._tell(what)
        self._state = (what, part)

    def prepare(self, tell: Callable[[str], object] = lambda _line: None) -> asyncio.Future[None]:
        """Begin to make the snapshot, unless it is being made or is there. tell: gets each step.

        In a daemon thread, for which the end of the server does not wait: the first compiling ever
        takes minutes, and its child process ends with this one.
        """
        done = self._preparing
        if done is not None and not (done.done() and done.exception() is not None):
            return done
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        # An exception of one for which nobody waits was told, and is no news.
        future.add_done_callback(lambda each: each.cancelled() or each.exception())
        self._preparing, self._tell = future, tell

        def settle(error: Exception | None) -> None:
            if not future.done():
                future.set_result(None) if error is None else future.set_exception(error)

        def work() -> None:
            problem: Exception | None = None
            try:
                self._pool.run("", deadline=None, cpu=None)
            except Exception as error:
                tell(f"the guest cannot be prepared: {error}")
                problem = error
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(settle, problem)

        threading.Thread(target=work, name="husk-mcp-prepare", daemon=True).start()
        return future

    @property
    def is_preparing(self) -> bool:
        """Whether the snapshot is being made."""
        return self._preparing is not None and not self._preparing.done()

    async def _prepared(self, told: Told) -> None:
        future = self.prepare(self._tell)
        begin = time.monotonic()
        while not future.done():
            await asyncio.wait([future], timeout=_LOOK_SECONDS)
            if not future.done():
                what, part = self._state
                await told(time.monotonic() - begin, f"{what or 'begin'} {part:.0%}")
        try:
            future.result()
        except (HuskError, ImportError, OSError, ValueError) as error:
            raise Refused(f"the guest cannot be prepared: {error}") from error

    # ---- Requests ----

    async def run(self, given: Arguments, told: Told) -> Outcome:
        """Run a request. Cancelling ends the guest before this returns. Raises Refused."""
        if self._waiting >= _WAITING_MAX:
            raise Refused(f"{_WAITING_MAX} requests wait already: try again later")
        self._waiting += 1
        try:
            await self._prepared(told)
            if given.session is not None:
                return await self._in_session(given, given.session)
            async with self._places, self._pool.session_async() as sandbox:
                return Outcome(await self._go(sandbox, given))
        except (HuskError, OSError, TypeError, ValueError) as error:
            raise Refused(str(error)) from error
        finally:
            self._waiting -= 1

    async def _in_session(self, given: Arguments, name: str) -> Outcome:
        with self.sessions.use(name) as session:
            async with session.turn, self._places:
                was_cancelled, session.was_cancelled = session.was_cancelled, True
                result = await self._go(session.sandbox, given)
                session.was_cancelled = False
                return Outcome(result, session.id, was_cancelled)

    async def _go(self, sandbox: Sandbox, given: Arguments) -> Result:
        end = time.monotonic() + given.deadline
        options: dict[str, Any] = {"output": True, "deadline": given.deadline}
        result = await _whole(sandbox.run_async(given.code, files=given.files, **options))
        if self._has_figures and result.stopped == "exit" and not result.lost_state:
            rest = min(_FIGURES_SECONDS, max(0.5, end - time.monotonic()))
            await self._add_figures(sandbox, result, rest)
        return result

    async def _add_figures(self, sandbox: Sandbox, result: Result, deadline: float) -> None:
        more = await _whole(sandbox.run_async(_FIGURES, output=True, deadline=deadline))
        result.lost_state = more.lost_state
        if more.exit_code != 0:
            last = more.stderr.strip().splitlines()[-1:] or [more.message]
            result.stderr += f"[open figures could not be saved: {last[0]}]\n"
        result.refused_files = {**more.refused_files, **result.refused_files}
        result.files = {**more.files, **result.files}

    def close(self) -> None:
        """Free all sandboxes that are idle. Requests have ended before."""
        self.sessions.close()
        self._pool.close()


async def _whole(running: Coroutine[Any, Any, Result]) -> Result:
    """Await a run. If this is cancelled, the guest is ended, and has ended when this returns.

    The run is a task of its own: a scope of anyio cancels its task again and again until that
    leaves the scope, and the run needs a few steps to end a guest.
    """
    task = asyncio.ensure_future(running)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([task])
        raise
