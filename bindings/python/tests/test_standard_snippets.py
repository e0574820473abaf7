"""Snippets of bench/agents that need the standard library alone: what comes of them in a sandbox of
the small Python, beside the host's Python. Their versions differ, so tracebacks are compared by
the exception alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sandbox_guest import IS_SCIENTIFIC, MEMORY, options

from husk.sandbox import Sandbox

SOURCE = Path(os.environ.get("HUSK_SOURCE") or Path(__file__).parents[3])
sys.path.insert(0, str(SOURCE / "bench" / "agents"))

import snippets  # noqa: E402

pytestmark = pytest.mark.skipif(IS_SCIENTIFIC, reason="it has snippets of its own")

NAMES = (
    "standard",
    "regex",
    "datetime",
    "errors",
    "exits",
)  # those that write files would do so here

SNIPPETS = [
    snippet for snippet in snippets.read(*NAMES) if not {"scientific", "guest"} & {*snippet.options}
]

DIFFERENT = {
    "standard: functools": "a trap: the module's stack is too small for 60 calls through C",
    "standard: asyncio": "its event loop wants a pair of sockets, which the guest does not have",
    "standard: threads are refused or run": "the guest has no threads",
    "standard: global names": "call_tool and its like are names of __main__",
    "errors: traceback by hand": "CPython 3.11 shows no lines of what -c ran",
    "exits: a handler at the exit": "the interpreter goes on after the code: there is no exit",
    "exits: a destructor at the exit": "the same",
    "exits: an interrupt": "there are no signals in the guest: 1, not 130",
}
"""Snippets whose answers differ between versions or systems, and why."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(**options(), memory=MEMORY) as made:
        yield made


def on_host(snippet: snippets.Snippet) -> tuple[str, int, str]:
    """Standard output, exit status, and the exception."""
    command = [sys.executable, "-I", "-c", snippet.code]
    environment = {"PATH": "", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    done = subprocess.run(
        command, capture_output=True, stdin=subprocess.DEVNULL, env=environment, check=False
    )
    status = done.returncode if done.returncode >= 0 else 128 - done.returncode
    return done.stdout.decode(), status, kind(done.stderr.decode())


def kind(text: str) -> str:
    """The exception of a traceback, without what it says."""
    return (text.rstrip().splitlines() or [""])[-1].partition(":")[0]


def test_there_are_a_hundred() -> None:
    assert len(SNIPPETS) > 100


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.name)
def test_it_is_as_by_the_host(sandbox: Sandbox, snippet: snippets.Snippet) -> None:
    ended = snippets.on_husk(sandbox, snippet)
    ours: Any = (ended.stdout, ended.exit_code, kind(ended.stderr))
    if snippet.name in DIFFERENT:
        assert ours != on_host(snippet), "it does not differ any more"
    else:
        assert ours == on_host(snippet)
