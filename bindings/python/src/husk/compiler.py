"""The compiler: WebAssembly to images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from husk._native import ffi, lib

from husk.engine import Engine
from husk.errors import CompilerMissingError, check, error_new
from husk.handles import c_path, new
from husk.image import Image, PathLike

if TYPE_CHECKING:
    from typing_extensions import Buffer

_WORKER = Path(__file__).parent / "husk-compile-worker"
_MISSING = (
    "this package was built without the compiler, because LLVM 19 or later was not found. Install "
    "it with its headers (Debian: llvm-19-dev), and install this package anew; or compile images "
    "elsewhere, and open them with husk.Image.open()"
)


def wasm_bytes(wasm: Buffer | PathLike) -> bytes:
    """The module's bytes; a str or path names its file."""
    if isinstance(wasm, (str, os.PathLike)):
        return Path(wasm).read_bytes()
    return bytes(wasm)


class CompileOptions:
    """A struct husk_compile_options, and what it points to."""

    def __init__(
        self,
        *,
        level: int = 2,
        strict: bool = False,
        cpu: str | None = None,
        disable: str | None = None,
        threads: int = 0,
        cpu_limit: float | None = None,
        memory_limit: int = 0,
        worker: PathLike | None = None,
        allow_uncontained: bool = False,
    ) -> None:
        if level not in (0, 1, 2, 3):
            raise ValueError(f"level must be 0, 1, 2 or 3, not {level}")
        self.struct = new("husk_compile_options")
        self.struct.opt_level = level or lib.HUSK_OPT_NONE
        self.struct.strict = strict
        self.struct.threads = threads
        self.struct.cpu_limit_ns = 0 if cpu_limit is None else max(1, int(cpu_limit * 1e9))
        self.struct.memory_limit_bytes = memory_limit
        self.struct.allow_uncontained = allow_uncontained
        self._kept: list[Any] = []
        self.has_worker = worker is not None or _WORKER.exists()
        if self.has_worker:
            self.struct.worker_path = self.keep(c_path(worker or _WORKER))
        if cpu is not None:
            self.struct.cpu = self.keep(cpu.encode())
        if disable is not None:
            self.struct.disable = self.keep(disable.encode())

    def keep(self, raw: bytes) -> Any:
        """A C text that lives as long as the options."""
        self._kept.append(ffi.new("char[]", raw))
        return self._kept[-1]

    def check(self, status: int, err: Any) -> None:
        """Raise if the compiler failed; CompilerMissingError if it is not there."""
        if status == lib.HUSK_E_NOT_FOUND and not self.has_worker:
            raise CompilerMissingError(_MISSING)
        check(status, err)


def compile(
    wasm: Buffer | PathLike,
    *,
    engine: Engine | None = None,
    level: int = 2,
    strict: bool = False,
    cpu: str | None = None,
    disable: str | None = None,
    threads: int = 0,
    cpu_limit: float | None = None,
    memory_limit: int = 0,
    worker: PathLike | None = None,
    allow_uncontained: bool = False,
) -> Image:
    """Compile a module: its bytes, or the path of its file.

    level: 0 (fast to compile) to 3. strict: traps exactly as in the standard. cpu: "native", or
    "x86-64-v2" for images that move. disable: features that modules may not use ("simd,threads").
    threads: 0 is one per core, at most 8. cpu_limit: seconds of CPU time, default 600.
    memory_limit: bytes, default 8 GiB. The module may come from anyone: it is compiled in a process
    that has no rights.

    Raises BadWasmError, InvalidWasmError, UnsupportedError, LimitError (each with `offset`),
    CompilerError, OutOfTimeError, CompilerMissingError, SystemCallError.
    """
    options = CompileOptions(
        level=level,
        strict=strict,
        cpu=cpu,
        disable=disable,
        threads=threads,
        cpu_limit=cpu_limit,
        memory_limit=memory_limit,
        worker=worker,
        allow_uncontained=allow_uncontained,
    )
    raw = wasm_bytes(wasm)
    out = ffi.new("int *")
    err = error_new()
    options.check(lib.husk_compile(raw, len(raw), options.struct, out, err), err)
    return open_compiled(out[0], engine)


def open_compiled(fd: int, engine: Engine | None) -> Image:
    """Open the image that the compiler wrote a moment ago, and close its descriptor."""
    try:
        return Image.open(fd, engine=engine, skips_hash=True)
    finally:
        os.close(fd)


def validate(wasm: Buffer | PathLike) -> None:
    """Decode and validate a module, without compiling. Raises BadWasmError, InvalidWasmError,
    UnsupportedError, LimitError, each with `offset`."""
    raw = wasm_bytes(wasm)
    err = error_new()
    check(lib.husk_validate(raw, len(raw), err), err)
