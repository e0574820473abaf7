"""Sandboxes that keep their state between requests, bounded in number and in idle time."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from husk.sandbox import Sandbox


class Session:
    """One sandbox. Requests of the same session take turns."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.id = secrets.token_urlsafe(16)  # who knows it may use it: no stranger can guess it
        self.sandbox = sandbox
        self.turn = asyncio.Lock()
        self.users = 0
        self.used_at = time.monotonic()
        self.was_cancelled = False
        """Its last run was, so that its state is lost, and nobody was told yet."""


class Sessions:
    """All of them, the one that was used last at the end. For one event loop."""

    def __init__(self, make: Callable[[], Sandbox], count_max: int, idle_seconds: float) -> None:
        self._make = make
        self._count_max = count_max
        self._idle_seconds = idle_seconds
        self._all: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._all)

    @contextmanager
    def use(self, name: str) -> Iterator[Session]:
        """A session, which does not end before the block does. "new": one that is made now; the
        block's exception ends that again, since its name reaches nobody.

        Raises ValueError: there is no such session, or no room.
        """
        self.expire()
        session = self._new() if name == "new" else self._find(name)
        session.users += 1
        try:
            yield session
        except BaseException:
            if name == "new":
                self._end(session)
            raise
        finally:
            session.users -= 1
            session.used_at = time.monotonic()
            if session.id in self._all:
                self._all.move_to_end(session.id)

    def _find(self, name: str) -> Session:
        session = self._all.get(name)
        if session is None:
            raise ValueError(
                f"there is no session {name[:80]!r}: sessions end after {self._idle_seconds:g} s "
                f"without use, or when {self._count_max} newer ones are there. "
                "Begin one by session='new'"
            )
        return session

    def _new(self) -> Session:
        if self._count_max == 0:
            raise ValueError("this server has no sessions: omit 'session' for a fresh state")
        if len(self._all) >= self._count_max:
            oldest = next((each for each in self._all.values() if each.users == 0), None)
            if oldest is None:
                raise ValueError(f"all {self._count_max} sessions are in use: try again later")
            self._end(oldest)
        session = Session(self._make())
        self._all[session.id] = session
        return session

    def expire(self) -> None:
        """End those that nobody used for long."""
        last = time.monotonic() - self._idle_seconds
        for session in list(self._all.values()):
            if session.users == 0 and session.used_at < last:
                self._end(session)

    def _end(self, session: Session) -> None:
        self._all.pop(session.id, None)
        session.sandbox.close()

    def close(self) -> None:
        """End all of them."""
        for session in list(self._all.values()):
            self._end(session)
