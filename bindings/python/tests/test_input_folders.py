"""The folders of husk.sandbox on the host: none stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

BEGIN = """
import os, signal, sys
from husk.sandbox._input import folder_for
class Owner: pass
owners = [Owner() for _ in range(3)]
folders = [folder_for(one) for one in owners]
for folder in folders:
    (folder / "file").write_bytes(b"x")
"""
FORK = """
child = os.fork()
if child == 0:
    owners.clear()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
for folder in folders:
    (folder / "file").read_bytes()
"""
FORK_WITH_ITS_OWN = """
child = os.fork()
if child == 0:
    mine = Owner()
    folder_for(mine)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
ENDS = {
    "normal": "",
    "an exception": "raise ValueError",
    "collected": "owners.clear(); os.kill(os.getpid(), signal.SIGKILL)",
    "a fork": FORK,
    "a fork with its own": FORK_WITH_ITS_OWN,
}


def run(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BEGIN + program],
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("end", ENDS)
def test_nothing_stays(tmp_path: Path, end: str) -> None:
    done = run(tmp_path, ENDS[end])
    assert ("Error" in done.stderr) == (end == "an exception"), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_leaves_is_removed_later(tmp_path: Path) -> None:
    killed = run(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    (tmp_path / "mine").mkdir()
    assert run(tmp_path, "").returncode == 0 and left.exists()  # it may be a new one
    os.utime(left, (0, 0))
    with subprocess.Popen(
        [sys.executable, "-c", BEGIN + "print(folders[0].parent, flush=True); input()"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as alive:
        assert alive.stdin is not None and alive.stdout is not None
        home = Path(alive.stdout.readline().strip())
        assert not left.exists() and home.parent == tmp_path
        os.utime(home, (0, 0))
        assert run(tmp_path, "").returncode == 0
        assert len(list(home.iterdir())) == 3  # its process lives
        alive.communicate("\n")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
