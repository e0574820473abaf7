"""Sandboxes: instances of WebAssembly, each in a virtual machine of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from husk._buffer import Keeper
from husk._convert import text
from husk._fast import Calls
from husk._native import ffi, lib
from husk._wasi_calls import WasiOfSandbox
from husk._wasi_streams import take_raised
from husk.backtrace import Backtrace
from husk.bulk import call_bytes, call_many
from husk.calls import Prepared, backtrace_of, raise_ended
from husk.descriptors import check_with_room
from husk.engine import Engine, default_engine
from husk.errors import (
    Pending,
    StateError,
    check,
    error_new,
)
from husk.exports import Exported
from husk.handles import Closing, Uncopied, address, new, owned, pointer_of
from husk.image import Image, Snapshot
from husk.imports import HostFunction, Imports
from husk.limits import Limits, limits_given, limits_of, limits_of_plain
from husk.memory import Globals, Memories, Memory, Tables
from husk.pending import Waiting, resume
from husk.sandbox_options import LargePages, sandbox_options
from husk.stats import SandboxStats, sandbox_stats
from husk.turns import Turns
from husk.values import (
    ExternTable,
    FuncRef,
    FuncType,
    Type,
    func_of,
    functype_of,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from husk.aio import Run


_T = TypeVar("_T")


class _Given:
    """What an instance has of a set of imports: all that must live as long, and the objects that
    globals begin with."""

    def __init__(self, imports: Imports) -> None:
        self.kept = imports.kept()
        self.has_wasi = imports.has_wasi
        self.externs = ExternTable(imports.externs)


class Sandbox(Turns, WasiOfSandbox, Uncopied, Closing):
    """An instance of an image or a snapshot, in its own VM. No guest code runs before the first
    call.

    imports: what the module imports, a husk.Imports. memory_max: bytes of all memories together;
    default: as the module declares. table_max: entries of all tables. stack: bytes of native stack,
    16 KiB to 64 MiB; default 1 MiB. host_call_depth: guest, host function, guest, …; default 16.
    label: for the counters. user: anything; it is sandbox.user.

    One thread at a time uses a sandbox; another one gets StateError. Only interrupt(), and stats,
    are for any thread. A host function may use its sandbox, and so may a thread that it waits for.

    Raises LinkError (the message names the imports), LimitError, OutOfMemoryError, SystemCallError.
    """

    def __init__(
        self,
        image: Image | None,
        imports: Imports | None = None,
        *,
        engine: Engine | None = None,
        memory_max: int = 0,
        table_max: int = 0,
        stack: int = 0,
        host_call_depth: int = 0,
        large_pages: LargePages = "auto",
        label: str | None = None,
        user: Any = None,
    ) -> None:
        options, _label = sandbox_options(
            memory_max, table_max, stack, host_call_depth, large_pages, label
        )
        options.user = self._begin_turns()
        out = ffi.new("husk_sandbox **")
        err = error_new()
        if image is None:
            chosen = default_engine() if engine is None else engine
            check_with_room(
                lambda: lib.husk_sandbox_new_empty(chosen.pointer, options, out, err), err
            )
        else:
            given = pointer_of(image, Image)
            chosen = image.engine_for_sandbox()
            if engine is not None and engine is not chosen:
                raise ValueError("the image belongs to another engine")
            theirs = ffi.NULL if imports is None else pointer_of(imports, Imports)
            check_with_room(lambda: lib.husk_sandbox_new(given, theirs, options, out, err), err)
        self._adopt(out[0], chosen, user)
        if image is not None:
            self._loaded(image, imports)

    @classmethod
    def empty(cls, engine: Engine | None = None, **options: Any) -> Sandbox:
        """A sandbox without an instance, for load(). Options are those of Sandbox()."""
        return cls(None, engine=engine, **options)

    def _adopt(self, pointer: Any, engine: Engine, user: Any) -> None:
        """Begin as the object of the library's sandbox."""
        self._pointer = owned(pointer, "husk_sandbox_free")
        self._engine = engine
        self.user = user
        self._keeper = Keeper(self._pointer)
        self.raised: BaseException | None = None  # by a host function, which ended the call
        self.awaits: Run | None = None  # the call of a task, which may wait for coroutines
        # Calls of numbers without limits, which are most, never come to the method below.
        self._calls = Calls(self.call, self._lock)
        if type(self).call is Sandbox.call:
            self.__dict__["call"] = self._calls
        self._empty()

    def _empty(self) -> None:
        self._calls.forget()
        self._given: Image | None = None
        self._image: Image | None = None
        self._imports: _Given | None = None
        self._wasi_kept = {}
        self._prepared: dict[str, Prepared] = {}
        self._exported: Exported | None = None
        self._asked: Pending | None = None  # by a host function; see call_ended()
        self._pending: Pending | None = None
        self._waiting: Waiting | None = None
        self.externs = ExternTable()

    def _loaded(self, image: Image, imports: Imports | None) -> None:
        self._empty()
        self._imports = None if imports is None else _Given(imports)
        self._begin_as(image)

    def _begin_as(self, image: Image) -> None:
        """The state of the image: its objects, those of the imports, its pending call."""
        if image is not self._given:  # it may be closed later
            self._given = image
            self._image = copy.copy(image)
        self.externs = ExternTable(image.externs)
        if self._imports is not None:
            self.externs.add(self._imports.externs)
        self._standing(image)

    # ---- Using it ----

    @property
    def keeper(self) -> Keeper:
        """Counts the buffers of this instance's memory."""
        return self._keeper

    @property
    def engine(self) -> Engine:
        """The engine."""
        return self._engine

    @property
    def image(self) -> Image:
        """The image or snapshot that it was made of, loaded from or restored to last."""
        if self._image is None:
            raise StateError("nothing is loaded")
        return self._image

    @property
    def is_loaded(self) -> bool:
        """Whether there is an instance."""
        return self._image is not None

    def kept(self, kind: type[_T]) -> _T | None:
        """For the package: what Imports.keep() got of this type, or None."""
        given = () if self._imports is None else self._imports.kept
        return next((thing for thing in given if isinstance(thing, kind)), None)

    def close(self) -> None:
        """Free the sandbox; a pending call is abandoned. Memory stays mapped for buffers that
        somebody holds. Closing twice is fine. Raises StateError if a call runs."""
        if self._pointer is None:
            return
        with self.locked() as pointer:
            if self.depth != 0:
                raise StateError("a call is running in the sandbox")
            with self.guarded():
                self._pointer = None
                buffers = self._keeper.buffers
                self._keeper = Keeper(None)
                if buffers == 0:
                    ffi.release(pointer)
            self._empty()

    @property
    def is_closed(self) -> bool:
        """Whether close() was called."""
        return self._pointer is None

    def set_label(self, label: str | None) -> None:
        """Change the label for the counters; at most 128 bytes. Raises LimitError,
        InvalidArgumentError."""
        err = error_new()
        raw = ffi.NULL if label is None else text(label, "label")
        with self.locked() as pointer:
            check(lib.husk_sandbox_set_label(pointer, raw, err), err)

    def stats(self) -> SandboxStats:
        """Counts since the sandbox was made. Any thread, also while a call runs."""
        with self.guarded():
            return sandbox_stats(self.pointer)

    # ---- Calls ----

    def start(self, *, limits: Limits | None = None, timeout: float | None = None) -> None:
        """Run the module's initialisation and start function. The first call does the same."""
        chosen = limits_of(limits, timeout)
        outcome = new("husk_outcome")
        err = error_new()
        struct = ffi.NULL if chosen is None else chosen.struct
        with self.running() as pointer:
            check(lib.husk_sandbox_start(pointer, struct, outcome, err), err)
        self.finish(outcome, (), limits=chosen)

    def call(
        self,
        name: str,
        *args: Any,
        limits: Limits | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Call an exported function. Returns None, a value, or a tuple of several.

        timeout: seconds of wall time; or limits, for more. Raises how the call ended otherwise:
        Trap, Exited, DeadlineExceeded, Interrupted, GuestException, GuestViolation; what a host
        function raised; Pending. Raises NotFoundError, ValueTypeError, PoisonedError, StateError.
        """
        is_plain = limits is None and timeout is None
        limits = limits_of(limits, timeout)
        if is_plain:  # and so are the next ones on this thread: husk._fast makes them
            has_wasi = self._imports is not None and self._imports.has_wasi
            kept, kick = limits_of_plain(limits, 0 if has_wasi else self._engine.kick_signal)
            self._calls.allow(0 if kept is None else address(kept.struct), kept, kick)
        prepared = self._prepared.get(name)
        if prepared is None:
            prepared = self._prepare(name)
        with self.locked():
            if prepared.is_in_use:
                prepared = Prepared(self, name, prepared.func, prepared.type)
            return prepared.run(args, limits)

    async def call_async(
        self,
        name: str,
        *args: Any,
        limits: Limits | None = None,
        timeout: float | None = None,
    ) -> Any:
        """call() for asyncio: see husk.aio. Host functions may be coroutines. Cancelling the task
        ends the guest, and leaves the sandbox poisoned. A second task gets StateError."""
        from husk import aio

        return await aio.call(self, name, *args, limits=limits, timeout=timeout)

    def _prepare(self, name: str) -> Prepared:
        if self.is_closed:
            raise StateError("the sandbox is closed")
        func, functype = self.image.func(name)
        prepared = self._prepared[name] = Prepared(self, name, func, functype_of(functype))
        fast = prepared.fast()
        if fast is not None:
            self._calls.add(name, fast)
        return prepared

    def call_func(
        self,
        func: FuncRef,
        *args: Any,
        limits: Limits | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Call a function by its reference, such as an entry of a table."""
        prepared = Prepared(self, "the function", func_of(self, func), func.type)
        limits = limits_of(limits, timeout)
        with self.locked():
            return prepared.run(args, limits)

    def finish(self, outcome: Any, results: Sequence[Type], **waiting: Any) -> None:
        """Raise if a call did not return."""
        if outcome.kind != lib.HUSK_RETURNED:
            self.call_ended(outcome, results, **waiting)

    def call_ended(
        self,
        outcome: Any,
        results: Sequence[Type],
        *,
        output: Any = None,
        limits: Limits | None = None,
    ) -> NoReturn:
        """Raise how a call ended. The rest is for a call that is pending: what it will return, and
        its limits."""
        in_stream = take_raised(outcome)
        raised, self.raised = in_stream if self.raised is None else self.raised, None
        asked, self._asked = self._asked, None
        if outcome.kind == lib.HUSK_PENDING:
            self._waiting = Waiting(tuple(results), output, limits)
            if asked is None:
                asked = Pending(self, "wasi_snapshot_preview1", "", (), FuncType())
            self._pending = asked
            raise asked
        try:
            raise_ended(self, outcome, raised)
        finally:
            del raised, in_stream

    def call_bytes(
        self,
        name: str,
        data: Buffer = b"",
        *,
        keeps: bool = False,
        limits: Limits | None = None,
        timeout: float | None = None,
    ) -> bytes:
        """Call a function from bytes to bytes. The guest's own allocator gives the memory.

        keeps: free nothing in the guest; for a sandbox that is restored afterwards anyway. Raises
        as call(), and GuestError, NotFoundError (no allocator), ValueTypeError (another type).
        """
        return call_bytes(self, name, data, keeps, limits_of(limits, timeout))

    def call_str(self, name: str, text: str = "", **options: Any) -> str:
        """call_bytes() with UTF-8 text."""
        return self.call_bytes(name, text.encode(), **options).decode()

    def call_many(
        self,
        name: str,
        calls: Iterable[Sequence[Any]],
        *,
        limits: Limits | None = None,
        timeout: float | None = None,
    ) -> list[Any]:
        """Call a function many times, in few entries of the guest. Returns the results in order.

        The first call that does not return ends it: the exception has `results`, of the calls
        before it. Raises as call().
        """
        return call_many(self, name, calls, limits_of(limits, timeout))

    @property
    def backtrace(self) -> Backtrace:
        """Where the last call ended, if it did not return, or where a pending one waits."""
        with self.locked():
            return backtrace_of(self)

    # ---- Pending calls ----

    def pending_begins(self, host: HostFunction, args: tuple[Any, ...]) -> None:
        """For the package: a host function has no answer yet. The call is pending if it can be: not
        in another one."""
        self._asked = Pending(self, host.module, host.name, args, host.type)

    def _standing(self, image: Image) -> None:
        """The pending call that an image brings, if it has one."""
        self._pending = self._waiting = None
        standing = image.standing
        if standing is not None:
            args = image.pending_args if isinstance(image, Snapshot) else ()
            self._pending = Pending(self, standing.module, standing.name, args, standing.host_type)
            self._waiting = Waiting(standing.type.results, is_brought=True)

    @property
    def pending(self) -> Pending | None:
        """The call that waits for a host function's answer, or None."""
        return self._pending

    def pending_now(self) -> tuple[Pending | None, Waiting | None]:
        """For the package: the pending call, and what it returns."""
        return self._pending, self._waiting

    def pending_ends(self) -> None:
        """For the package: the pending call goes on."""
        self._pending = self._waiting = None

    def resume(
        self,
        *results: Any,
        error: BaseException | None = None,
        again: bool = False,
        limits: Limits | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Go on with the pending call. Returns and raises as the call that was begun.

        results: the host function's. error: what it raised, in place of results; a GuestException
        is thrown in the guest, others end the call, which raises them. again: call the host
        function again. limits, timeout: new ones, which begin now, in place of those of before.
        Without them a call that a snapshot brought has none, and others keep theirs.
        """
        return resume(self, results, error, again, limits_given(limits, timeout))

    # ---- State ----

    @property
    def memory(self) -> Memory:
        """The main memory."""
        return Memory(self, 0)

    @property
    def memories(self) -> Memories:
        """All memories, by index."""
        return Memories(self, self.image.info.memories_count)

    @property
    def globals(self) -> Globals:
        """The exported globals, by name."""
        return Globals(self)

    @property
    def tables(self) -> Tables:
        """The exported tables, by name."""
        return Tables(self)

    @property
    def exports(self) -> Exported:
        """All exports, by name or as attributes."""
        if self._exported is None:
            self._exported = Exported(self)
        return self._exported

    def func_ref(self, name: str) -> FuncRef:
        """A reference to an exported function, for tables, globals and arguments."""
        func, functype = self.image.func(name)
        return FuncRef(self, func, functype_of(functype))

    def _no_buffers(self, what: str) -> None:
        count = self._keeper.buffers
        if count:
            raise BufferError(f"{what}: buffers of the sandbox's memory are in use ({count})")

    def snapshot(self) -> Snapshot:
        """Take a snapshot, between calls or while one is pending. The sandbox does not change.

        Raises StateError (a call runs; not initialised), PoisonedError, OutOfMemoryError.
        """
        out = ffi.new("husk_image **")
        err = error_new()
        with self.locked() as pointer:
            check(lib.husk_sandbox_snapshot(pointer, out, err), err)
            return self.snapshot_of(out[0])

    def snapshot_of(self, pointer: Any) -> Snapshot:
        """For the package: the object of a snapshot that the library took."""
        snapshot = Snapshot(pointer, self._engine)
        snapshot.externs = ExternTable(self.externs)
        if self._pending is not None:
            snapshot.pending_args = self._pending.args_of_call
        return snapshot

    def restore(self, image: Image) -> None:
        """Make the sandbox equal to an image of its module: the one that it was made of, or a
        snapshot. It heals a poisoned sandbox, and abandons a pending call.

        Raises BufferError while anyone holds a buffer of its memory; InvalidArgumentError (an image
        of another module), LimitError, StateError, SystemCallError, OutOfMemoryError.
        """
        err = error_new()
        given = pointer_of(image, Image)
        with self.locked() as pointer:
            self._no_buffers("restore")
            check(lib.husk_sandbox_restore(pointer, given, err), err)
            self._begin_as(image)

    def unload(self) -> None:
        """Drop the instance, and keep the VM for load(). Raises BufferError, StateError."""
        err = error_new()
        with self.locked() as pointer:
            self._no_buffers("unload")
            check(lib.husk_sandbox_unload(pointer, err), err)
            self._empty()

    def load(self, image: Image, imports: Imports | None = None) -> None:
        """Load an image or a snapshot in place of the instance; limits stay. Raises BufferError,
        and as Sandbox()."""
        err = error_new()
        given = pointer_of(image, Image)
        theirs = ffi.NULL if imports is None else pointer_of(imports, Imports)
        with self.locked() as pointer:
            self._no_buffers("load")
            status = lib.husk_sandbox_load(pointer, given, theirs, err)
            if status != 0 and self._has_nothing():  # it failed half-way
                self._empty()
            check(status, err)
            self._loaded(image, imports)

    def _has_nothing(self) -> bool:
        """Whether the library has no instance in the sandbox."""
        try:
            backtrace_of(self)
        except StateError:
            return True
        return False

    def clone(self, *, user: Any = None) -> Sandbox:
        """Another sandbox in the same state, with the same imports and limits."""
        out = ffi.new("husk_sandbox **")
        err = error_new()
        with self.locked() as pointer:
            check_with_room(lambda: lib.husk_sandbox_clone(pointer, out, err), err)
        clone = type(self).__new__(type(self))
        lib.husk_sandbox_set_user(out[0], clone._begin_turns())
        clone._adopt(out[0], self._engine, user)
        clone._given, clone._image = self._given, self._image
        clone._imports = self._imports
        clone.externs = ExternTable(self.externs)
        if self._pending is not None and self._waiting is not None:
            clone.pending_like(self._pending, self._waiting)
        return clone

    def pending_like(self, pending: Pending, waiting: Waiting) -> None:
        """For the package: the pending call of the sandbox that this one was cloned from."""
        self._pending = Pending(
            self, pending.module, pending.name, pending.args_of_call, pending.type
        )
        self._waiting = waiting

    def park(self) -> None:
        """Give up the VM, and keep everything else; the next call gets a VM first. So thousands of
        sandboxes can wait. Raises StateError."""
        err = error_new()
        with self.locked() as pointer:
            check(lib.husk_sandbox_park(pointer, err), err)

    @property
    def is_parked(self) -> bool:
        """Whether it has no VM now."""
        with self.locked() as pointer:
            return bool(lib.husk_sandbox_is_parked(pointer))

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else repr(self._image) if self._image else "empty"
        return f"<husk.Sandbox {state}>"
