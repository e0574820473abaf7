"""The one place where a request waits: for a socket, up to its deadline, or until it is cancelled.

Sockets never block. All time limits of a request are moments of time.monotonic(), so slow answers
in small parts do not stretch them.
"""

from __future__ import annotations

import select
import socket
import time
from typing import Protocol

from husk.sandbox._http._errors import HttpRefused

_CANCEL_SECONDS = 0.05  # how often a wait looks whether it is cancelled

READABLE, WRITABLE = select.POLLIN, select.POLLOUT


class Cancellable(Protocol):
    """husk.Cancel, or anything that says whether to stop."""

    @property
    def is_cancelled(self) -> bool: ...


class TooLate(Exception):
    """A moment passed that is not the end of the whole request."""


class Clock:
    """A request's time. end: the moment of its end. why: who set it."""

    def __init__(self, end: float, why: str, cancel: Cancellable | None) -> None:
        self.end = end
        self._why = why
        self._cancel = cancel

    def check(self) -> float:
        """The seconds that are left. Raises HttpRefused: there are none, or it is cancelled."""
        if self._cancel is not None and self._cancel.is_cancelled:
            raise HttpRefused("cancelled", "the request was cancelled")
        left = self.end - time.monotonic()
        if left <= 0:
            raise HttpRefused("time", f"the time for the request is over: {self._why}")
        return left

    def until(self, seconds: float) -> float:
        """The moment in so many seconds, or the request's end, if that is before."""
        return min(time.monotonic() + seconds, self.end)

    def wait(self, sock: socket.socket, events: int, moment: float) -> int:
        """What of the events happened, and others that poll(2) reports unasked.

        Raises HttpRefused, and TooLate: the moment passed first.
        """
        poll = select.poll()
        poll.register(sock, events)
        while True:
            left = min(self.check(), moment - time.monotonic())
            if left <= 0:
                raise TooLate
            part = left if self._cancel is None else min(left, _CANCEL_SECONDS)
            # poll's milliseconds are rounded up: waiting none of them would turn in a circle.
            ready = poll.poll(part * 1000)
            if ready:
                return ready[0][1]
