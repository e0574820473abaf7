"""A folder of prepared snapshots, which processes share. The one that wants a snapshot first makes
it, and the others wait for it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from husk._native import ffi, lib
from husk.engine import default_engine
from husk.errors import BadImageError, CpuError, ImageVersionError, NotFoundError
from husk.image import Image

if TYPE_CHECKING:
    from husk.engine import Engine
    from husk.sandbox._interpreter import Progress
    from husk.sandbox._patience import Patience

LIMIT_BYTES = 8 << 30
"""Bytes of snapshots that a folder keeps. Those not used for the longest time go first."""

_LOOK_SECONDS = 0.05


def background_is_allowed() -> bool:
    """Whether jobs may begin that optimise: as for the program `husk`."""
    return os.environ.get("HUSK_BACKGROUND") != "0"


def open_shared(descriptor: int, engine: Engine | None) -> Image:
    """Open the snapshot of a descriptor. The hash, which finds damage of disks, is not checked
    where there is no disk: in a file in memory that nobody can change. Raises OSError, HuskError.
    """
    unchanging = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
    seals = 0
    with suppress(OSError):  # a file that has none
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    is_sealed = seals & unchanging == unchanging
    return Image.open(descriptor, engine=engine, skips_hash=is_sealed)


class Snapshots:
    """The folder. Nothing is read or written before the first snapshot is wanted."""

    def __init__(self, folder: Path, engine: Engine | None = None) -> None:
        self.folder = folder
        self.engine = engine

    def key(self, *parts: Any) -> str:
        """Name what a snapshot is made of: its module, imports and so on. Husk's version and the
        CPU are added."""
        engine = default_engine() if self.engine is None else self.engine
        version = ffi.string(lib.husk_version()).decode()
        text = json.dumps([parts, version, sorted(engine.host_info().cpu_features)])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.husk"

    def find(self, key: str) -> Image | None:
        """Open a snapshot. None: there is none that can be used here."""
        file = self._file(key)
        if not file.exists():
            return None
        try:
            image = Image.open(file, engine=self.engine)
        except (BadImageError, ImageVersionError, CpuError, NotFoundError, OSError):
            return None  # also one that may not be read: it is made anew
        with suppress(OSError):
            os.utime(file)
        return image

    def make(self, key: str, make: Callable[[], Image], on_progress: Progress) -> Image:
        """Open a snapshot, or make and save it. If another process makes it, wait for that."""
        with self.locked(key, on_progress):
            image = self.find(key)
            if image is None:
                image = make()
                self.save(key, image, on_progress)
            return image

    def save(self, key: str, image: Image, on_progress: Progress) -> None:
        """Save a snapshot. A folder that cannot be written costs the saving, never the result."""
        on_progress("save", 0.0)
        with suppress(OSError):
            image.save(self._file(key))
            self._clean(key)
        on_progress("save", 1.0)

    @contextmanager
    def locked(
        self, key: str, on_progress: Progress, patience: Patience | None = None
    ) -> Iterator[None]:
        """One process at a time makes a snapshot. The kernel drops the lock of one that dies.
        Raises OutOfTimeError, if nobody waits for it any more."""
        descriptor = -1
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self.folder / f"{key}.lock", flags, 0o666)
        if descriptor < 0:
            yield
            return
        try:
            waited = False
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not waited:
                        on_progress("wait for another process", 0.0)
                    waited = True
                    if patience is not None:
                        patience.check("wait for another process, which makes the same")
                    time.sleep(_LOOK_SECONDS)
                except OSError:  # a file system without locks: each makes its own
                    break
            yield
        finally:
            os.close(descriptor)

    def _clean(self, kept: str) -> None:
        """Remove what was not used for long, if all take more than the limit."""
        rows = []
        for file in self.folder.glob("*.husk"):
            with suppress(OSError):
                state = file.stat()
                rows.append((state.st_mtime_ns, state.st_blocks * 512, file))
        total = sum(count for _time, count, _file in rows)
        for _time, count, file in sorted(rows):
            if total <= LIMIT_BYTES:
                return
            if file != self._file(kept):
                with suppress(OSError):
                    file.unlink()
                total -= count
