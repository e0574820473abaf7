"""The compiler: WebAssembly to images."""

from __future__ import annotations

import os
from _thread import get_ident
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from husk import _native, signals
from husk._convert import nanoseconds, number, text
from husk._fast import take
from husk._native import ffi, lib
from husk.engine import Engine
from husk.errors import CompilerMissingError, check, error_new
from husk.handles import c_path, new
from husk.image import Image, PathLike

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Where what is built is: an editable installation has these files in another folder.
_WORKER = Path(_native.__file__).parent / "husk-compile-worker"
_MISSING = (
    "this package was built without the compiler, because LLVM 19 or later was not found. Install "
    "it with its headers (Debian: llvm-19-dev), and install this package anew; or compile images "
    "elsewhere, and open them with husk.Image.open()"
)


class CompileOptions(TypedDict, total=False):
    """Options of husk.compile() and of all that compiles.

    level: of optimisation, 0 (fast to compile, and strict) to 3; without it 2. strict: traps
    exactly as in the standard. cpu: LLVM's name of a CPU; None is this machine, "x86-64-v2" for
    images that move. disable: features that the module must not use ("simd", or several). threads:
    0 is one for each core, at most 8. cpu_limit: seconds of CPU time; None: 600. memory_limit:
    bytes; 0: 8 GiB. progress: called with (functions done, of all). goes_on: asked 50 times a
    second; when it says False, compiling ends by OutOfTimeError. worker: the program
    husk-compile-worker; None: that of this package. allow_uncontained: compile also where the
    kernel has no seccomp filters, so for trusted modules.

    With a cache alone: optimise_in_background: an image of level 0 now, and `level` later (see
    husk.Cache). label: of a job in the background. cache_limit: bytes of the folder; 0: what was
    set for it.
    """

    level: int
    strict: bool
    cpu: str | None
    disable: str | Iterable[str] | None
    threads: int
    cpu_limit: float | None
    memory_limit: int
    progress: Callable[[int, int], object] | None
    goes_on: Callable[[], bool] | None
    worker: PathLike | None
    allow_uncontained: bool
    optimise_in_background: bool
    label: str | None
    cache_limit: int


_NAMES = frozenset(CompileOptions.__annotations__)
_OF_CACHES = frozenset({"optimise_in_background", "label", "cache_limit"})


def wasm_bytes(wasm: Buffer | PathLike) -> bytes:
    """The module's bytes; a str or path names its file."""
    if isinstance(wasm, (str, os.PathLike)):
        return Path(wasm).read_bytes()
    if isinstance(wasm, int) or wasm is None:  # bytes(5) would be five zeros
        raise TypeError(f"a module must be bytes or a path, not {type(wasm).__name__}")
    return bytes(wasm)


class _Progress:
    """The function that is told of progress. What it raises comes out of the compiling."""

    def __init__(
        self, function: Callable[[int, int], object], goes_on: Callable[[], bool] | None
    ) -> None:
        if not callable(function):
            raise TypeError(f"progress: a {type(function).__name__} cannot be called")
        self.function = function
        self._asked = goes_on
        self.raised: BaseException | None = None

    def goes_on(self) -> bool:
        """Whether to go on compiling."""
        return self.raised is None and (self._asked is None or self._asked())


@ffi.def_extern()  # type: ignore[untyped-decorator]
def husk_py_progress(user: Any, done: int, total: int) -> None:
    """Tell a function of progress, unless it raised before."""
    progress: _Progress = ffi.from_handle(user)
    if progress.raised is None:
        try:
            progress.function(done, total)
        except BaseException as raised:
            progress.raised = raised


class Options:
    """A struct husk_compile_options, and what it points to."""

    def __init__(self, given: Mapping[str, Any], *, cache: bytes | None = None) -> None:
        unknown = set(given) - _NAMES
        if unknown:
            raise TypeError(f"unknown option: {', '.join(sorted(unknown))}")
        if cache is None and given.keys() & _OF_CACHES:
            raise TypeError(f"{', '.join(sorted(_OF_CACHES))} need a cache")
        self._kept: list[Any] = []
        self._progress: _Progress | None = None
        self.struct = new("husk_compile_options")
        self.struct.cache_dir = ffi.NULL if cache is None else self._keep(cache)
        self._fill_code(given)
        self._fill_limits(given)
        self._fill_worker(given)

    def _keep(self, raw: bytes) -> Any:
        """A C text that lives as long as the options."""
        self._kept.append(ffi.new("char[]", raw))
        return self._kept[-1]

    def _text(self, given: Mapping[str, Any], name: str) -> Any:
        value = given.get(name)
        return ffi.NULL if value is None else self._keep(text(value, name))

    def _fill_code(self, given: Mapping[str, Any]) -> None:
        self.struct.opt_level = number(given.get("level", 2), "level", 3) or lib.HUSK_OPT_NONE
        self.struct.strict = bool(given.get("strict", False))
        self.struct.cpu = self._text(given, "cpu")
        disable = given.get("disable") or ()
        names = disable if isinstance(disable, str) else ",".join(disable)
        self.struct.disable = self._keep(text(names, "disable")) if names else ffi.NULL
        self.struct.optimise_in_background = bool(given.get("optimise_in_background", False))
        self.struct.label = self._text(given, "label")

    def _fill_limits(self, given: Mapping[str, Any]) -> None:
        self.struct.threads = number(given.get("threads", 0), "threads", 2**32 - 1)
        self.struct.cpu_limit_ns = nanoseconds(given.get("cpu_limit"), "cpu_limit")
        self.struct.memory_limit_bytes = number(given.get("memory_limit", 0), "memory_limit")
        self.struct.cache_limit_bytes = number(given.get("cache_limit", 0), "cache_limit")

    def _fill_worker(self, given: Mapping[str, Any]) -> None:
        worker = given.get("worker")
        self._has_worker = worker is not None or _WORKER.exists()
        # Always named: the library itself would look in more places than in this package.
        self.struct.worker_path = self._keep(c_path(_WORKER if worker is None else worker))
        self.struct.allow_uncontained = bool(given.get("allow_uncontained", False))
        take()
        if get_ident() == signals.main_thread:  # a signal's handler that raises ends the compiling
            self._ask(None)
        progress, goes_on = given.get("progress"), given.get("goes_on")
        if goes_on is not None:
            self._ask(goes_on)
        if progress is not None:
            self._progress = _Progress(progress, goes_on)
            self._kept.append(ffi.new_handle(self._progress))
            self.struct.progress = lib.husk_py_progress
            self.struct.progress_user = self._kept[-1]
            self._ask(self._progress.goes_on)  # what it raises ends the compiling, too

    def _ask(self, goes_on: Callable[[], bool] | None) -> None:
        """Have the library ask while it compiles: for signals, and a function."""
        self.struct.interrupted = signals.HOOK
        self.struct.interrupted_ns = signals.PERIOD_NS
        if goes_on is not None:
            self._kept.append(goes_on)
            self.struct.interrupted_user = ffi.cast("void *", id(goes_on))

    def check(self, status: int, err: Any) -> None:
        """Raise what the progress function or a signal's handler raised, or if the compiler
        failed."""
        if self._progress is not None and self._progress.raised is not None:
            raise self._progress.raised
        raised = take() if status == lib.HUSK_E_TIMEOUT else None
        if raised is not None:
            raise raised
        if status == lib.HUSK_E_NOT_FOUND and not self._has_worker:
            raise CompilerMissingError(_MISSING)
        check(status, err)


def compile(
    wasm: Buffer | PathLike,
    *,
    engine: Engine | None = None,
    cache: PathLike | bool | None = None,
    **options: Unpack[CompileOptions],
) -> Image:
    """Compile a module: its bytes, or the path of its file.

    cache: a folder for images, or True for that of the program `husk`; husk.Cache tells more than
    the image. For the other options see husk.CompileOptions. The module may come from anyone: it is
    compiled in a process that has no rights. On the main thread, Ctrl-C ends it.

    Raises BadWasmError, InvalidWasmError, UnsupportedError, LimitError (each with `offset`),
    CompilerError, OutOfTimeError, CompilerMissingError, SystemCallError.
    """
    if cache is not None and cache is not False:
        from husk.cache import Cache

        return Cache(None if cache is True else cache, engine=engine).compile(wasm, **options).image
    given = Options(options)
    raw = wasm_bytes(wasm)
    out, err = ffi.new("int *", -1), error_new()
    status = lib.husk_compile(raw, len(raw), given.struct, out, err)
    return open_compiled(given, status, err, out[0], engine)


def open_compiled(
    given: Options,
    status: int,
    err: Any,
    fd: int,
    engine: Engine | None,
    *,
    skips_hash: bool = True,
) -> Image:
    """Raise what went wrong, or open the image that the compiler wrote; close its descriptor."""
    try:
        given.check(status, err)
        return Image.open(fd, engine=engine, skips_hash=skips_hash)
    finally:
        if status == 0:
            os.close(fd)


def compile_to_file(
    wasm: Buffer | PathLike, path: PathLike, **options: Unpack[CompileOptions]
) -> None:
    """Compile a module to a file, which appears durably and at once, as by Image.save().

    Options and exceptions are those of husk.compile().
    """
    given = Options(options)
    raw, err = wasm_bytes(wasm), error_new()
    given.check(lib.husk_compile_to_file(raw, len(raw), given.struct, c_path(path), err), err)
