"""husk.sandbox: the prepared snapshot in other processes, and how soon those can begin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sandbox_guest import IS_SCIENTIFIC, options

import husk
from husk.sandbox import Pool, Sandbox

IMPORTS = ("decimal",)

PROGRAM = """
import sys
from husk.sandbox import Sandbox

def told(what, part):
    raise SystemExit(f"nothing is to be made: {what}")

given = eval(sys.argv[1])
with Sandbox(on_progress=told, **given) as sandbox:
    for code in ("import sys; print('decimal' in sys.modules); import decimal",
                 "print(decimal.Decimal('0.1') * 3)"):
        result = sandbox.run(code)
        print(result.stdout + result.stderr, end="")
"""


@pytest.fixture(scope="module")
def parent() -> Any:
    with Sandbox(imports=IMPORTS, **options()) as sandbox:
        sandbox.run("import sys; sys.modules['decimal'].mark = 'of the parent'")
        yield sandbox


def child(given: dict[str, Any], *descriptors: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, repr(given)],
        pass_fds=descriptors,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


def test_another_process_has_it(parent: Sandbox, tmp_path: Path) -> None:
    given = {**options(), "imports": IMPORTS}
    given = {
        key: os.fspath(value) if isinstance(value, Path) else value for key, value in given.items()
    }
    if not IS_SCIENTIFIC:  # which has its library there
        given["cache_folder"] = os.fspath(tmp_path)
    descriptor = parent.share()
    try:
        assert not os.get_inheritable(descriptor)
        assert child({**given, "shared": descriptor}, descriptor) == "True\n0.3\n"
        assert not list(tmp_path.glob("**/*.husk"))
    finally:
        os.close(descriptor)


def test_it_is_the_first_state(parent: Sandbox) -> None:
    descriptor = parent.share()
    with Pool(2, imports=IMPORTS, shared=descriptor, **options()) as pool:
        pool.warm()
        os.close(descriptor)
        code = "import decimal; print(hasattr(decimal, 'mark'), decimal.Decimal(1) / 4)"
        for _ in range(4):
            assert pool.run(code).stdout == "False 0.25\n"


def test_a_saved_file_does_as_well(parent: Sandbox, tmp_path: Path) -> None:
    descriptor = parent.share()
    path = tmp_path / "snapshot.husk"
    husk.Image.open(descriptor).save(path)
    os.close(descriptor)
    with (
        path.open("rb") as file,
        Sandbox(imports=IMPORTS, shared=file.fileno(), **options()) as made,
    ):
        assert made.run("print(1)").stdout == "1\n"


def test_what_is_no_such_snapshot_is_refused(parent: Sandbox, tmp_path: Path) -> None:
    descriptor = parent.share()
    try:
        for imports in ((), ("decimal", "json")):
            with (
                Sandbox(imports=imports, shared=descriptor, **options()) as other,
                pytest.raises(ValueError, match="with these imports"),
            ):
                other.run("")
    finally:
        os.close(descriptor)
    with (
        Sandbox(imports=IMPORTS, shared=descriptor, **options()) as other,
        pytest.raises(OSError, match="Bad file descriptor"),
    ):
        other.run("")
    (tmp_path / "none").write_bytes(b"no image" * 1000)
    with (
        (tmp_path / "none").open("rb") as file,
        Sandbox(imports=IMPORTS, shared=file.fileno(), **options()) as other,
        pytest.raises(husk.BadImageError),
    ):
        other.run("")


def test_asyncio_is_left_to_who_needs_it() -> None:
    """It takes longer to import than all of husk.sandbox."""
    program = "import sys, husk.sandbox, husk.sandbox._standard, husk.sandbox._wasi_python; "
    program += "print(sorted({'asyncio', 'ssl'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"[]\n"
