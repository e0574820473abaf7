"""Folders of the host that guests read, as /input.

All of a process are in one folder, which goes with the last of them, at the process's end at the
latest. A process that is killed leaves that one. It is locked as long as its process lives, so the
next process that makes such a folder knows which ones are left, and removes them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
import time
import weakref
from pathlib import Path

_PREFIX = "husk-inputs-"
_NEW_SECONDS = 60.0
"""A younger folder may be one that its process is about to lock."""


class _Home:
    """The folder of this process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a finalizer may run while it is held
        self._forget()
        self._has_swept = False

    def _forget(self) -> None:
        self._path: Path | None = None
        self._descriptor = -1
        self._count = 0

    def after_fork(self) -> None:
        """In a child: all is the parent's."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._lock = threading.RLock()
        self._forget()

    def enter(self) -> Path:
        """Make a folder."""
        with self._lock:
            if self._path is None:
                self._begin()
            assert self._path is not None
            self._count += 1
            try:
                return Path(tempfile.mkdtemp(prefix="", dir=self._path))
            except BaseException:
                self._drop()
                raise

    def _begin(self) -> None:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            with contextlib.suppress(OSError):  # a file system without locks: nobody removes it
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.rmdir(path)
            raise
        self._path = path
        if not self._has_swept:
            self._has_swept = True
            _sweep(path.parent)

    def leave(self, path: Path, process: int) -> None:
        """Remove a folder, in the process that made it."""
        if os.getpid() != process:
            return
        shutil.rmtree(path, ignore_errors=True)
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        self._count -= 1
        if self._count != 0 or self._path is None:
            return
        shutil.rmtree(self._path, ignore_errors=True)
        os.close(self._descriptor)
        self._forget()


def _sweep(folder: Path) -> None:
    """Remove what killed processes of this user left."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX):
                with contextlib.suppress(OSError):
                    _remove_left(entry.path)


def _remove_left(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if status.st_uid == os.geteuid() and status.st_mtime < time.time() - _NEW_SECONDS:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(descriptor)


_home = _Home()
os.register_at_fork(after_in_child=_home.after_fork)


def folder_for(owner: object) -> Path:
    """A folder that goes with its owner. Raises OSError."""
    path = _home.enter()
    weakref.finalize(owner, _home.leave, path, os.getpid())
    return path
