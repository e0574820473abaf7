"""Sizes, names of files, and the files that a guest leaves."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_UNITS = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
_NAME_MAX = 255
_PATH_MAX = 4096
_PRIVATE_LEAST = 1 << 20  # for /tmp, and for what names and folders take
_PRIVATE_MOST = 8 << 30  # that the library has


def size_of(text: str | int, name: str) -> int:
    """Bytes of a size such as "64Mi". Raises TypeError, ValueError."""
    if isinstance(text, int) and not isinstance(text, bool):
        if text < 0:
            raise ValueError(f"{name} must not be negative")
        return text
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a size string")
    found = re.fullmatch(r"([0-9]{1,15})(|Ki|Mi|Gi|Ti)B?", text.strip(), re.ASCII)
    if found is None:
        raise ValueError(f'{name} must be a size such as "64Mi", not {text!r}')
    return int(found[1]) * _UNITS[found[2]]


def why_not(path: str) -> str | None:
    """Why a path must not be used below a folder; None: it may be."""
    if not path or len(path) > _PATH_MAX:
        return "its name is empty or too long"
    if "\0" in path or "\\" in path or any("\ud800" <= letter <= "\udfff" for letter in path):
        return "its name has a NUL, a backslash, or is no UTF-8"
    for part in path.split("/"):
        if part in ("", ".", "..") or len(part.encode()) > _NAME_MAX:
            return "its path is absolute, leads elsewhere, or has too long a name"
    return None


def checked(files: Mapping[str, bytes] | None) -> dict[str, bytes]:
    """Files for /input: names and contents are checked. Raises ValueError, TypeError."""
    given: dict[str, bytes] = {}
    for name, content in (files or {}).items():
        if not isinstance(name, str):
            raise TypeError(f"the name of a file must be a str, not {type(name).__name__}")
        path = name.removeprefix("/input/")
        reason = why_not(path)
        if reason is not None:
            raise ValueError(f"the file {name!r}: {reason}")
        if not isinstance(content, (bytes, bytearray, memoryview)):
            raise TypeError(f"the file {name!r} must be bytes, not {type(content).__name__}")
        given[path] = bytes(content)
    for path in given:
        folders = path.split("/")
        for count in range(1, len(folders)):
            if "/".join(folders[:count]) in given:
                raise ValueError(f"the file {path!r} is below another file")
    return given


def folder_files(folder: str | os.PathLike[str], total_max: int) -> dict[str, bytes]:
    """The regular files of a host's folder, with those of its folders; links are left out."""
    root = Path(folder)
    if not root.is_dir():
        raise NotADirectoryError(f"input_dir: {str(root)!r} is no folder")
    found: dict[str, bytes] = {}
    left = total_max
    for path, _folders, names in os.walk(root):
        for name in names:
            file = Path(path, name)
            if file.is_symlink() or not file.is_file():
                continue
            left -= file.stat().st_size
            if left < 0:
                raise ValueError(f"input_dir: more than {total_max} bytes: see max_total_size")
            found[file.relative_to(root).as_posix()] = file.read_bytes()
    return found


class Quota:
    """What a guest may leave in /output."""

    def __init__(self, file_max: int | None, total_max: int | None, count_max: int | None) -> None:
        self.file_max = file_max
        self.total_max = total_max
        self.count_max = count_max

    @property
    def private_max(self) -> int:
        """Bytes of the guest's own files while it runs; 0: the library's limit."""
        if self.total_max is None:
            return 0
        return min(max(self.total_max, _PRIVATE_LEAST), _PRIVATE_MOST)


class Collected:
    """The files that one request left. The guest chose names and sizes."""

    def __init__(self, quota: Quota) -> None:
        self.files: dict[str, bytes] = {}
        self.refused: dict[str, str] = {}
        self._quota = quota
        self._total = 0

    def add(self, path: str, content: bytes) -> None:
        """Take a file, or note why it is refused."""
        quota = self._quota
        reason = why_not(path)
        if reason is None and any(
            known.startswith(path + "/") or path.startswith(known + "/") for known in self.files
        ):
            reason = "it is a file and a folder"
        if reason is None and quota.file_max is not None and len(content) > quota.file_max:
            reason = f"it has {len(content)} bytes, and max_file_size is {quota.file_max}"
        rest = None if quota.total_max is None else quota.total_max - self._total
        if reason is None and rest is not None and len(content) > rest:
            reason = f"all files would have more than max_total_size, {quota.total_max} bytes"
        is_full = quota.count_max is not None and len(self.files) >= quota.count_max
        if reason is None and is_full and path not in self.files:
            reason = f"there are more than max_file_count, {quota.count_max}"
        if reason is None:
            self.files[path] = content
            self._total += len(content)
        elif len(self.refused) < 1000:
            self.refused[path[:_PATH_MAX]] = reason


class OutputFolder:
    """A folder of the host that has what the last request left in /output."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._names: list[str] = []

    def replace(self, files: Mapping[str, bytes]) -> dict[str, str]:
        """Remove the files of the request before, and write these. Returns those that cannot be
        written, and why: the guest chose the names."""
        for name in self._names:
            file = self.path / name
            with suppress(OSError):
                file.unlink(missing_ok=True)
            for folder in file.relative_to(self.path).parents:
                if folder.parts:
                    try:
                        (self.path / folder).rmdir()
                    except OSError:
                        break
        self._names = []
        refused: dict[str, str] = {}
        for name, content in files.items():
            file = self.path / name
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                if file.is_symlink():  # never through a link that somebody has put there
                    file.unlink()
                file.write_bytes(content)
            except OSError as error:
                refused[name] = f"it cannot be written to the folder: {error.strerror}"
            else:
                self._names.append(name)
        return refused
