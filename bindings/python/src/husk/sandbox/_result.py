"""What came of a request, and its output while it runs."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass, field

from husk.errors import (
    CallEnded,
    DeadlineExceeded,
    Exited,
    GuestViolation,
    Interrupted,
    Trap,
)

OnOutput = Callable[[str, str], object]
"""Gets "stdout" or "stderr", and a piece of text."""

TIME_CODE, TRAP_CODE = 124, 134
"""Exit codes of what did not end by itself, as shells have them."""


@dataclass
class Result:
    """What came of a request."""

    stdout: str
    stderr: str
    exit_code: int
    stopped: str = "exit"
    """Why it stopped: "exit" (by itself, also by an exception or sys.exit), "deadline", "cpu",
    "memory", "trap", "violation" (the guest's program was taken over), "cancelled"."""
    message: str = ""
    """More about that, if it was not by itself."""
    files: dict[str, bytes] = field(default_factory=dict)
    """What it left in /output, by path, if that was wanted."""
    refused_files: dict[str, str] = field(default_factory=dict)
    """Those that were beyond a limit or had a name that cannot be, and why."""
    is_cut: bool = False
    """Output was cut off; its end says so."""
    lost_state: bool = False
    """The session is again as it was when it was made, or as snapshot() or restore() left it."""

    @property
    def success(self) -> bool:
        """Whether the exit code is 0."""
        return self.exit_code == 0


class Sink:
    """Collects one stream, up to a limit."""

    def __init__(self, name: str, limit: int, on_output: OnOutput | None) -> None:
        self._name = name
        self._limit = limit
        self._on_output = on_output
        self._pieces: list[bytes] = []
        self._count = 0
        self._lost = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.error: Exception | None = None
        """What on_output raised: it gets no more."""

    def write(self, data: bytes) -> None:
        """Take what the guest wrote."""
        room = self._limit - self._count
        taken = data[:room] if room < len(data) else data
        self._lost += len(data) - len(taken)
        if taken:
            self._count += len(taken)
            self._pieces.append(taken)
            self._tell(self._decoder.decode(taken))

    def _tell(self, text: str) -> None:
        if text and self._on_output is not None and self.error is None:
            try:
                self._on_output(self._name, text)
            except Exception as error:
                self.error = error

    @property
    def is_cut(self) -> bool:
        """Whether bytes were lost."""
        return self._lost != 0

    def end(self) -> str:
        """All text."""
        text = b"".join(self._pieces).decode("utf-8", "replace")
        rest = self._decoder.decode(b"", final=True)
        if self._lost:
            rest += f"\n[{self._name} was cut off: {self._lost} bytes more]\n"
            text += f"\n[{self._name} was cut off: {self._lost} bytes more]\n"
        self._tell(rest)
        return text


def why_stopped(error: CallEnded) -> tuple[str, int]:
    """The value of Result.stopped, and an exit code, for how a call ended."""
    if isinstance(error, Exited):
        return "exit", error.code & 0xFF
    if isinstance(error, DeadlineExceeded):
        return ("cpu" if error.limit == "cpu" else "deadline"), TIME_CODE
    if isinstance(error, Interrupted):
        return "cancelled", TIME_CODE
    if isinstance(error, GuestViolation):
        return "violation", TRAP_CODE
    assert isinstance(error, Trap) or error is not None
    return "trap", TRAP_CODE
