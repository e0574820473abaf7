"""How long somebody waits for a snapshot that is being made."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from husk.errors import DeadlineExceeded, Interrupted, OutOfTimeError
from husk.limits import Cancel, Limits


class Patience:
    """Ends when its seconds are over, or when end() is called, from any thread."""

    def __init__(self, seconds: float | None = None) -> None:
        if seconds is not None and not seconds >= 0:
            raise ValueError(f"prepare_deadline must be a number of seconds, not {seconds}")
        self._seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds
        self._cancel = Cancel()

    def end(self) -> None:
        """Nobody waits any more."""
        self._cancel.cancel()

    def goes_on(self) -> bool:
        """Whether somebody still waits."""
        is_late = self._end is not None and time.monotonic() >= self._end
        return not is_late and not self._cancel.is_cancelled

    def left(self) -> float | None:
        """Seconds that are left; None: no end."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def limits(self) -> Limits:
        """For a call of the guest that is being prepared."""
        return Limits(wall=self.left(), cancel=self._cancel)

    def check(self, doing: str) -> None:
        """Raises OutOfTimeError, if nobody waits any more."""
        if not self.goes_on():
            raise self._error(doing)

    @contextmanager
    def bounds(self, doing: str) -> Iterator[None]:
        """A step, which ends early if nobody waits any more. It raises one error for that, however
        the step was ended."""
        self.check(doing)
        try:
            yield
        except (DeadlineExceeded, Interrupted, OutOfTimeError) as error:
            if self.goes_on():
                raise
            raise self._error(doing) from error

    def _error(self, doing: str) -> OutOfTimeError:
        if self._cancel.is_cancelled:
            return OutOfTimeError(f"nobody waits for the guest any more: it was to {doing}")
        return OutOfTimeError(
            f"the guest was not ready in the {self._seconds:g} s of prepare_deadline: it was to "
            f"{doing}. Steps that were finished are kept: give it more time, or make the snapshot "
            "before it is needed"
        )
