"""The time that making a snapshot may take, and the limits of the sandboxes that it is for."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from agents_guest import Collected
from sandbox_guest import IS_SCIENTIFIC, options

import husk
from husk.sandbox import Sandbox, _standard
from husk.sandbox._patience import Patience
from husk.sandbox._standard import StandardPython

pytestmark = pytest.mark.skipif(IS_SCIENTIFIC, reason="that would be compiled anew")


@pytest.fixture
def compiled(tmp_path: Path) -> dict[str, Any]:
    """Options with a cache folder that has the image, and no snapshot."""
    given = options()
    Sandbox(**given).run("")
    for file in Path(given["cache_folder"]).iterdir():
        if file.is_file():
            os.link(file, tmp_path / file.name)
    return {**given, "cache_folder": tmp_path}


def test_a_deadline_that_cannot_be() -> None:
    for wrong in (-1, float("nan")):
        with pytest.raises(ValueError, match="prepare_deadline must be a number of seconds"):
            Sandbox(prepare_deadline=wrong)


def test_compiling_ends_at_the_deadline(tmp_path: Path) -> None:
    with Sandbox(**{**options(), "cache_folder": tmp_path}, prepare_deadline=0.3) as sandbox:
        for _ in range(2):  # each run has the time anew
            begun = time.monotonic()
            with pytest.raises(husk.OutOfTimeError, match=r"0\.3 s of prepare_deadline.*compile"):
                sandbox.run("print(1)")
            assert 0.3 <= time.monotonic() - begun < 8


def test_imports_end_at_the_deadline(
    compiled: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_standard, "_BEGIN", "while True: pass")
    with Sandbox(**compiled, prepare_deadline=2) as sandbox:
        begun = time.monotonic()
        with pytest.raises(TimeoutError, match="it was to initialise, and import"):
            sandbox.run("print(1)")
        assert time.monotonic() - begun < 10
    monkeypatch.undo()
    with Sandbox(**compiled, prepare_deadline=100) as sandbox:
        assert sandbox.run("print(1)").stdout == "1\n"


def test_nobody_waits_for_another_process_for_ever(compiled: dict[str, Any]) -> None:
    folder = Path(compiled["cache_folder"])
    python = StandardPython(compiled["module_path"])
    python.prepare((), cache_folder=folder, level=0)
    (snapshot,) = folder.glob("sandbox/*.husk")
    snapshot.unlink()
    with snapshot.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        begun = time.monotonic()
        with pytest.raises(husk.OutOfTimeError, match="another process"):
            python.prepare((), cache_folder=folder, level=0, patience=Patience(0.2))
        assert time.monotonic() - begun < 8


def test_nobody_waits_for_another_thread_for_ever(compiled: dict[str, Any]) -> None:
    reached, goes_on = threading.Event(), threading.Event()

    def progress(what: str, _part: float) -> None:
        if what == "initialise":
            reached.set()
            goes_on.wait(60)

    with (
        Sandbox(**compiled, on_progress=progress) as slow,
        Sandbox(**compiled, prepare_deadline=0.2) as other,
    ):
        thread = threading.Thread(target=slow.run, args=("",))
        thread.start()
        try:
            assert reached.wait(60)
            with pytest.raises(husk.OutOfTimeError, match="another thread"):
                other.run("")
        finally:
            goes_on.set()
            thread.join()
        assert other.run("print(1)").stdout == "1\n"


def test_a_task_that_is_cancelled_ends_the_compiler(tmp_path: Path) -> None:
    async def main() -> None:
        with Sandbox(**{**options(), "cache_folder": tmp_path}) as sandbox:
            task = asyncio.create_task(sandbox.run_async("print(1)"))
            await asyncio.sleep(0.3)
            begun = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - begun < 8

    asyncio.run(main())


CTRL_C = """
import sys
from husk.sandbox import Sandbox, _standard
sandbox = Sandbox(module_path=sys.argv[1], cache_folder=sys.argv[2], level=0,
                  on_progress=lambda what, part: print(what, flush=True))
try:
    sandbox.run("print(1)")
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_ends_the_compiler(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CTRL_C, str(options()["module_path"]), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "compile\n"
        begun = time.monotonic()
        other.send_signal(signal.SIGINT)
        assert other.communicate()[0].splitlines()[-1] == "interrupted"
        assert time.monotonic() - begun < 8 and other.returncode == 0


def test_a_snapshot_is_for_sandboxes_of_any_limit(compiled: dict[str, Any]) -> None:
    folder = Path(compiled["cache_folder"])
    python = StandardPython(compiled["module_path"])
    for memory_max in (24 << 20, 0, 1 << 30):
        prepared = python.prepare((), cache_folder=folder, level=0, memory_max=memory_max)
    assert len(list(folder.glob("sandbox/*.husk"))) == 1
    for memory_max, is_enough in ((64 << 20, False), (256 << 20, True)):
        collected = Collected()
        imports = prepared.guest_imports()
        with husk.Sandbox(
            prepared.image, imports, memory_max=memory_max, **prepared.sandbox_options
        ) as sandbox:
            code = prepared.run(sandbox, "x = bytes(100 << 20)", collected.request)
        assert (code == 0, collected.request.memory_ran_out) == (is_enough, not is_enough)
