"""The files that a guest wrote into private directories, in a snapshot."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from typing import Any

from husk._native import ffi, lib
from husk._visit import Visitor
from husk.errors import check, error_new

__all__ = ["File", "FileKind"]


class FileKind(enum.IntEnum):
    """HIDDEN: the guest removed it; the directory below a `cow` one has a file of this name."""

    REGULAR = 0
    DIRECTORY = 1
    SYMLINK = 2
    HIDDEN = 3


@dataclass(frozen=True)
class File:
    """A file of a snapshot's private directories. The guest chose the names: check them."""

    dir_idx: int
    """Which of husk.Wasi.dirs, private ones alone."""
    kind: FileKind
    path: bytes
    """From that directory, without a leading "/"; "." is the directory itself. Maybe no UTF-8."""
    target: bytes
    """Of a symbolic link; else empty."""
    size: int
    """Bytes of a regular file, or of a link's target."""
    mtime_ns: int
    """Since 1970."""
    links_count: int
    """Names of this file."""

    @property
    def name(self) -> str:
        """The path as a str, as `os.fsdecode` makes it."""
        return os.fsdecode(self.path)


def _file_of(file: Any) -> File:
    return File(
        dir_idx=file.dir_idx,
        kind=FileKind(file.kind),
        path=bytes(ffi.buffer(file.path, file.path_bytes)),
        target=bytes(ffi.buffer(file.target, file.target_bytes)),
        size=file.bytes,
        mtime_ns=file.mtime_ns,
        links_count=file.links_count,
    )


@ffi.def_extern(error=-1)  # type: ignore[untyped-decorator]
def husk_py_image_file(user: Any, file: Any) -> int:
    """Pass a file on to the visitor."""
    return Visitor.of(user)(file)


def image_files(image: Any) -> list[File]:
    """List the private files of a husk_image *: each directory before its entries."""
    files: list[File] = []
    err = error_new()
    with Visitor(lambda file: files.append(_file_of(file))) as visitor:
        check(lib.husk_image_files(image, lib.husk_py_image_file, visitor.user, err), err)
    return files
