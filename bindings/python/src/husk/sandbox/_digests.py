"""Hashes of large files, which a folder remembers."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

_SETTLED_NS = 2_000_000_000


def digest_of(file: Path, notes: Path | None) -> str:
    """The SHA-256 of a file. notes: a folder that remembers it.

    As for make, a file is the same if its times are. One that has just changed is not remembered:
    it could change again within the resolution of its times. Raises OSError.
    """
    state = file.stat()
    stamp = [state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns]
    note = None
    if notes is not None:
        name = hashlib.sha256(os.fsencode(file.absolute())).hexdigest()[:16]
        note = notes / f"digest-{name}.json"
        with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
            kept = json.loads(note.read_text())
            if kept["stamp"] == stamp:
                return str(kept["sha256"])
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
        after = os.fstat(opened.fileno())
    age = time.time_ns() - max(state.st_mtime_ns, state.st_ctime_ns)
    is_same = (after.st_ino, after.st_ctime_ns) == (state.st_ino, state.st_ctime_ns)
    if note is not None and is_same and age > _SETTLED_NS:
        with suppress(OSError):
            write_whole(note, json.dumps({"stamp": stamp, "sha256": found}).encode())
    return found


def write_whole(file: Path, data: bytes) -> None:
    """Write a file, which appears at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".new-", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(data)
        os.replace(name, file)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
