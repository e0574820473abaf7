"""A folder of compiled images, and jobs that optimise them in the background."""

from __future__ import annotations

import enum
import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, Unpack

from husk._convert import number, text
from husk._native import ffi, lib
from husk._visit import Visitor
from husk.compiler import CompileOptions, Options, open_compiled, wasm_bytes
from husk.errors import (
    BadImageError,
    Error,
    ImageVersionError,
    check,
    error_new,
    error_of,
)
from husk.handles import new
from husk.image import Image, PathLike

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

    from husk.engine import Engine

__all__ = [
    "Background",
    "BackgroundState",
    "Cache",
    "CacheEntry",
    "CacheInfo",
    "Cleaned",
    "Compiled",
    "Job",
]

ModuleFile: TypeAlias = PathLike | int
"""A path or an open descriptor of a wasm file."""


class BackgroundState(enum.IntEnum):
    """What is known of the optimised image.

    NONE: the image is it, or none was asked for. BEGUN: this call began the job. WAITS, WORKS:
    there is a job. FAILED, STOPPED: there is none any more. REFUSED: the folder cannot be written,
    or has too many jobs.
    """

    NONE = 0
    BEGUN = 1
    WAITS = 2
    WORKS = 3
    FAILED = 4
    STOPPED = 5
    REFUSED = 6


@dataclass(frozen=True)
class Background:
    """The optimised image of a husk.Compiled that has level 0."""

    state: BackgroundState
    done: int
    """Functions that the job has compiled, of `total`."""
    total: int
    ended: datetime | None
    """When it failed or was stopped."""
    error: Error | None
    """Why it failed, or was refused."""


@dataclass(frozen=True)
class Compiled:
    """An image that came through a cache."""

    image: Image
    was_cached: bool
    warning: Error | None
    """Why the image could not be cached; None: nothing was wrong."""
    background: Background


@dataclass(frozen=True)
class CacheInfo:
    """What a cache folder has. Bytes are those on the disk."""

    limit_bytes: int
    """That was set for the folder, or the default."""
    bytes: int
    images_count: int
    images_bytes: int
    notes_count: int
    """Notes about modules' files and jobs."""
    leftovers_count: int
    """Files that a process is writing, or that killed processes left."""


@dataclass(frozen=True)
class CacheEntry:
    """An image in a cache folder. All of it is as its file says, which may be damaged."""

    name: str
    """Of its file in the folder."""
    module_path: str
    """A file that was such a module when it was noted; or empty."""
    module_name: str
    target_cpu: str
    compiler: str
    bytes: int
    used: datetime
    """The last use, known to the hour."""
    wasm_sha256: str
    """In hexadecimal."""
    opt_level: int
    is_strict: bool
    is_usable: bool
    """False: damaged, or of another version of Husk; then texts are empty."""


@dataclass(frozen=True)
class Cleaned:
    """What husk.Cache.clean did."""

    removed_count: int
    removed_bytes: int
    left_count: int
    left_bytes: int
    failed_count: int
    """Files that could not be removed, and are left."""
    failure: Error | None
    """Of the first of them."""


@dataclass(frozen=True)
class Job:
    """A job that makes an image in the background, or that did not succeed."""

    key: str
    """Of the image, for husk.Cache.stop and husk.Cache.forget."""
    label: str
    state: BackgroundState
    opt_level: int
    pid: int
    """Of one that waits or works, if that is on this machine; else 0."""
    attempts: int
    done: int
    """Functions compiled, of `total`."""
    total: int
    begun: datetime
    ended: datetime | None
    wasm_bytes: int
    cpu_limit: float
    """Seconds."""
    memory_limit: int
    """Bytes."""
    error: Error | None


# ---- From C ----


def _time(seconds: int) -> datetime:
    """A time since 1970, which a damaged file may have as any number."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return (datetime.max if seconds > 0 else datetime.min).replace(tzinfo=UTC)


def _text(pointer: Any) -> str:
    return os.fsdecode(ffi.string(pointer))


def _error(struct: Any) -> Error | None:
    return error_of(struct.status, struct) if struct.status != 0 else None


def _job_of(job: Any) -> Job:
    return Job(
        key=_text(job.key),
        label=_text(job.label),
        state=BackgroundState(job.state),
        opt_level=job.opt_level,
        pid=job.pid,
        attempts=job.attempts,
        done=job.done,
        total=job.total,
        begun=_time(job.begin_s),
        ended=_time(job.end_s) if job.end_s else None,
        wasm_bytes=job.wasm_bytes,
        cpu_limit=job.cpu_limit_ns / 1e9,
        memory_limit=job.memory_limit_bytes,
        error=_error(job.error),
    )


def _entry_of(entry: Any) -> CacheEntry:
    return CacheEntry(
        name=_text(entry.name),
        module_path=_text(entry.module_path),
        module_name=_text(entry.module_name),
        target_cpu=_text(entry.target_cpu),
        compiler=_text(entry.compiler),
        bytes=entry.bytes,
        used=_time(entry.used_s),
        wasm_sha256=bytes(entry.wasm_sha256).hex(),
        opt_level=entry.opt_level,
        is_strict=entry.is_strict,
        is_usable=entry.is_usable,
    )


@ffi.def_extern(error=-1)  # type: ignore[untyped-decorator]
def husk_py_cache_entry(user: Any, entry: Any) -> int:
    """Pass an entry on to the visitor."""
    return Visitor.of(user)(entry)


@ffi.def_extern()  # type: ignore[untyped-decorator]
def husk_py_background_job(user: Any, job: Any) -> None:
    """Pass a job on to the visitor."""
    Visitor.of(user)(job)


def finish(
    given: Options,
    status: int,
    err: Any,
    compiled: Any,
    engine: Engine | None,
) -> Compiled:
    """Raise what went wrong, or open the image of a struct husk_compiled."""
    image = open_compiled(given, status, err, compiled.fd, engine, skips_hash=False)
    return Compiled(
        image=image,
        was_cached=compiled.was_cached,
        warning=_error(compiled.warning),
        background=Background(
            state=BackgroundState(compiled.background),
            done=compiled.background_done,
            total=compiled.background_total,
            ended=_time(compiled.background_end_s) if compiled.background_end_s else None,
            error=_error(compiled.background_error),
        ),
    )


@contextmanager
def _opened(file: ModuleFile) -> Iterator[int]:
    """Give the descriptor of a file; one that was opened here is closed afterwards."""
    if isinstance(file, int):
        yield number(file, "a descriptor", 2**31 - 1)
        return
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def cache_folder(cache: bool | str | os.PathLike[str]) -> bytes:
    """Give the folder of an argument `cache`: True is the default one."""
    return text(default_folder() if cache is True else cache, "cache")


def default_folder() -> Path:
    """Give the folder that the program `husk` uses, too: $XDG_CACHE_HOME/husk."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "husk"


class Cache:
    """A folder with compiled images, which is made when something is stored.

    Any thread and any process may use one folder at once. The key of an image is the hash of the
    wasm, the options that matter, the CPU and the compiler's version. When the images take more of
    the disk than the limit, those that were not used for the longest time are removed.

    `folder`: None is the folder of the program `husk`. `engine`: of the images; None is
    husk.default_engine.
    """

    DEFAULT_LIMIT: Final[int] = lib.HUSK_CACHE_DEFAULT_LIMIT_BYTES
    """Bytes that a folder may take, if no limit was set for it: 5 GiB."""
    UNLIMITED: Final[int] = lib.HUSK_CACHE_UNLIMITED
    """As a limit: there is none."""

    def __init__(
        self, folder: str | os.PathLike[str] | None = None, *, engine: Engine | None = None
    ) -> None:
        """Name the folder; nothing is read or written yet."""
        if folder is not None and os.fspath(folder) == "":
            raise ValueError("the cache's folder must not be empty")
        self.folder = default_folder() if folder is None else Path(folder)
        self._folder = text(self.folder, "folder")
        self._engine = engine

    def __repr__(self) -> str:
        """Show the folder."""
        return f"husk.Cache({str(self.folder)!r})"

    # ---- Compiling ----

    def compile(self, wasm: Buffer | PathLike, **options: Unpack[CompileOptions]) -> Compiled:
        """Compile a module, or take its image from the cache.

        `options` are those of husk.compile. With `optimise_in_background=True`, an
        image that the cache does not have is made at level 0 now, and a job makes the optimised one
        for a later call; `label` names the job, `cache_limit` is the folder's limit in bytes.

        A cache that cannot be written costs the caching, never the result; `warning` tells.
        """
        data = wasm_bytes(wasm)
        given = Options(options, cache=self._folder)
        compiled, err = new("husk_compiled"), error_new()
        status = lib.husk_compile_cached(data, len(data), given.struct, compiled, err)
        return finish(given, status, err, compiled, self._engine)

    def compile_file(self, file: ModuleFile, **options: Unpack[CompileOptions]) -> Compiled:
        """Compile a file, and note which it was, so that find() need not read it.

        Otherwise as husk.compile.
        """
        given = Options(options, cache=self._folder)
        compiled, err = new("husk_compiled"), error_new()
        with _opened(file) as fd:
            status = lib.husk_compile_cached_fd(fd, given.struct, compiled, err)
        return finish(given, status, err, compiled, self._engine)

    def find(self, file: ModuleFile, **options: Unpack[CompileOptions]) -> Image | None:
        """Find the image of a file that compile_file() noted, with the same options.

        None: there is none, or it is damaged; compile the file. As for make, a file is the same
        if its times are.
        """
        given = Options(options, cache=self._folder)
        compiled, err = new("husk_compiled"), error_new()
        with _opened(file) as fd:
            status = lib.husk_cache_find(fd, given.struct, compiled, err)
        if status == lib.HUSK_E_NOT_FOUND:
            return None
        try:
            return finish(given, status, err, compiled, self._engine).image
        except (BadImageError, ImageVersionError):
            return None

    # ---- The folder ----

    def info(self) -> CacheInfo:
        """Read the folder. One that does not exist has nothing."""
        info = new("husk_cache_info")
        err = error_new()
        check(lib.husk_cache_info(self._folder, info, err), err)
        return CacheInfo(**{name: getattr(info, name) for name in CacheInfo.__dataclass_fields__})

    def entries(self) -> list[CacheEntry]:
        """List the images, from the last used one to the one that is removed first."""
        entries: list[CacheEntry] = []
        err = error_new()
        with Visitor(lambda entry: entries.append(_entry_of(entry))) as visitor:
            status = lib.husk_cache_list(self._folder, lib.husk_py_cache_entry, visitor.user, err)
            check(status, err)
        return entries

    def __iter__(self) -> Iterator[CacheEntry]:
        """Iterate over entries()."""
        return iter(self.entries())

    def set_limit(self, limit_bytes: int | None) -> None:
        """Set the folder's limit, durably; None: the default again. Nothing is removed yet.

        Cache.UNLIMITED is no limit.
        """
        err = error_new()
        limit = 0 if limit_bytes is None else number(limit_bytes, "limit_bytes", minimum=1)
        check(lib.husk_cache_set_limit(self._folder, limit, err), err)

    def clean(
        self,
        *,
        to_bytes: int | None = None,
        limit_bytes: int | None = None,
        unused_seconds: int = 0,
        unusable: bool = False,
        everything: bool = False,
    ) -> Cleaned:
        """Remove images and notes, those first that were not used for the longest time.

        `to_bytes`: down to so many; None: to nine tenths of the limit, if they take more than it.
        `limit_bytes`: in place of the folder's limit. `unused_seconds`: remove those that were
        not used for so long. `unusable`: remove images that this library cannot read.
        `everything`: remove all, also unfinished files.
        """
        options = new("husk_cache_clean_options")
        options.to_bytes = 0 if to_bytes is None else number(to_bytes, "to_bytes", minimum=1)
        options.limit_bytes = (
            0 if limit_bytes is None else number(limit_bytes, "limit_bytes", minimum=1)
        )
        options.unused_seconds = number(unused_seconds, "unused_seconds")
        options.removes_unusable = bool(unusable)
        options.removes_all = bool(everything)
        cleaned = new("husk_cache_cleaned")
        err = error_new()
        check(lib.husk_cache_clean(self._folder, options, cleaned, err), err)
        return Cleaned(
            cleaned.removed_count,
            cleaned.removed_bytes,
            cleaned.left_count,
            cleaned.left_bytes,
            cleaned.failed_count,
            _error(cleaned.failure),
        )

    # ---- Jobs ----

    def jobs(self) -> list[Job]:
        """List the jobs that wait, work, failed or were stopped."""
        jobs: list[Job] = []
        err = error_new()
        with Visitor(lambda job: jobs.append(_job_of(job))) as visitor:
            status = lib.husk_background_list(
                self._folder, lib.husk_py_background_job, visitor.user, err
            )
            check(status, err)
        return jobs

    def stop(self, key: str) -> None:
        """End a job that waits or works, and wait until it has ended.

        Its image is not made in the background any more, until forget(). Raises
        husk.NotFoundError: no such job; husk.UnsupportedError: it is another machine's;
        husk.OutOfTimeError: it did not end in 30 seconds.
        """
        err = error_new()
        check(lib.husk_background_stop(self._folder, text(key, "key"), err), err)

    def forget(self, key: str) -> None:
        """Forget that a job failed or was stopped: the next call begins a new one.

        Raises husk.NotFoundError: no such job.
        """
        err = error_new()
        check(lib.husk_background_forget(self._folder, text(key, "key"), err), err)
